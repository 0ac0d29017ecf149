//! The coordinator as the broker uses it: on a real file, with real tasks.

mod room;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_wire::ErrorCode;
use heliostat_wire::message::heartbeat::HeartbeatRequest;
use heliostat_wire::message::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use heliostat_wire::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use heliostat_wire::message::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use heliostat_wire::message::sync_group::SyncGroupRequest;
use heliostat_wire::message::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use super::{Client, Coordinator, GroupConfig, OpenError};
use crate::state::Images;

fn config() -> GroupConfig {
    GroupConfig {
        initial_rebalance_delay: Duration::ZERO,
        ..GroupConfig::default()
    }
}

fn open(path: &Path) -> Coordinator {
    Coordinator::open(path, config(), Images::default()).unwrap()
}

async fn join(coordinator: &Coordinator, group: &str, member_id: &str, metadata: &[u8]) -> JoinGroupResponse {
    let client = Client {
        id: "app".into(),
        host: "/127.0.0.1".into(),
    };
    let protocol = JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: Bytes::copy_from_slice(metadata),
    };
    let request = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    coordinator.join_group(client, 3, request).await
}

/// One member joins and is assigned nothing in particular; its id and generation.
async fn stable(coordinator: &Coordinator, group: &str, metadata: &[u8]) -> (String, i32) {
    let joined = join(coordinator, group, "", metadata).await;
    assert_eq!(joined.error_code, 0);
    let request = SyncGroupRequest {
        group_id: group.into(),
        member_id: joined.member_id.clone(),
        generation_id: joined.generation_id,
        ..Default::default()
    };
    assert_eq!(coordinator.sync_group(request).await.error_code, 0);
    (joined.member_id, joined.generation_id)
}

async fn commit(
    coordinator: &Coordinator,
    group: &str,
    member: (&str, i32),
    topic: &str,
    offset: i64,
    metadata: &str,
) -> ErrorCode {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: 4,
        committed_metadata: Some(metadata.into()),
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        member_id: member.0.into(),
        generation_id_or_member_epoch: member.1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let response = coordinator.commit_offsets(8, request).await;
    ErrorCode::from_code(response.topics[0].partitions[0].error_code)
}

const NOBODY: (&str, i32) = ("", -1);

async fn fetch(coordinator: &Coordinator, group: &str, topic: &str) -> i64 {
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.into(),
        partition_indexes: vec![0],
    }];
    let request = OffsetFetchRequestGroup {
        group_id: group.into(),
        topics: Some(topics),
        ..Default::default()
    };
    let response = coordinator.fetch_offsets(request, true).await;
    let partition = &response.topics[0].partitions[0];
    if partition.error_code == 0 {
        partition.committed_offset
    } else {
        -i64::from(partition.error_code)
    }
}

async fn heartbeat(coordinator: &Coordinator, group: &str, member: (&str, i32)) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: group.into(),
        member_id: member.0.into(),
        generation_id: member.1,
        group_instance_id: None,
    };
    coordinator.heartbeat(request).await
}

/// Waits until `condition` holds, for ten seconds at most.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn offsets_and_members_survive_an_end_without_warning() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("groups");
    let coordinator = open(&path);
    let (member, generation) = stable(&coordinator, "g", b"").await;
    assert_eq!(
        commit(&coordinator, "g", (&member, generation), "t", 42, "m").await,
        ErrorCode::None
    );
    assert_eq!(
        commit(&coordinator, "simple", NOBODY, "t", 7, "").await,
        ErrorCode::None
    );

    // A copy of the file at this moment is what a process that is killed now leaves behind.
    let copy = directory.path().join("copy");
    std::fs::copy(&path, &copy).unwrap();
    let restarted = open(&copy);
    assert_eq!(fetch(&restarted, "g", "t").await, 42);
    assert_eq!(fetch(&restarted, "simple", "t").await, 7);
    assert_eq!(
        heartbeat(&restarted, "g", (&member, generation)).await,
        ErrorCode::None
    );
    assert_eq!(
        commit(&restarted, "g", (&member, generation), "t", 43, "").await,
        ErrorCode::None
    );
    let listed: Vec<_> = restarted
        .list_groups(&[], &[])
        .into_iter()
        .map(|g| (g.group_id, g.group_state))
        .collect();
    assert_eq!(
        listed,
        [
            ("g".into(), "Stable".into()),
            ("simple".into(), "Empty".to_owned())
        ]
    );
    restarted.shutdown().await;
    coordinator.shutdown().await;
}

#[tokio::test]
async fn a_group_that_waits_holds_up_no_other_and_is_told_when_the_broker_stops() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = std::sync::Arc::new(open(&directory.path().join("groups")));
    stable(&coordinator, "g", b"").await;
    let waiting = {
        let coordinator = coordinator.clone();
        tokio::spawn(async move { join(&coordinator, "g", "", b"").await })
    };
    let is_preparing =
        || async { coordinator.describe_group(5, "g").await.group_state == "PreparingRebalance" };
    until("a rebalance", is_preparing).await;
    stable(&coordinator, "other", b"").await;
    assert!(!waiting.is_finished());

    coordinator.shutdown().await;
    assert_eq!(
        waiting.await.unwrap().error_code,
        ErrorCode::CoordinatorNotAvailable.code()
    );
    assert_eq!(
        heartbeat(&coordinator, "g", NOBODY).await,
        ErrorCode::CoordinatorNotAvailable
    );
    assert_eq!(
        join(&coordinator, "new", "", b"").await.error_code,
        ErrorCode::CoordinatorNotAvailable.code()
    );
}

#[tokio::test]
async fn a_group_is_deleted_only_when_it_is_empty_and_then_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("groups");
    let coordinator = open(&path);
    assert_eq!(coordinator.delete_group("g").await, ErrorCode::GroupIdNotFound);
    stable(&coordinator, "busy", b"").await;
    assert_eq!(coordinator.delete_group("busy").await, ErrorCode::NonEmptyGroup);
    assert_eq!(
        commit(&coordinator, "g", NOBODY, "t", 7, "").await,
        ErrorCode::None
    );
    assert_eq!(coordinator.delete_group("g").await, ErrorCode::None);
    assert_eq!(fetch(&coordinator, "g", "t").await, -1);
    assert_eq!(coordinator.describe_group(5, "g").await.group_state, "Dead");
    assert_eq!(
        commit(&coordinator, "h", NOBODY, "t", 7, "").await,
        ErrorCode::None
    );
    coordinator.shutdown().await;

    let coordinator = open(&path);
    let ids: Vec<_> = coordinator
        .list_groups(&[], &[])
        .into_iter()
        .map(|g| g.group_id)
        .collect();
    assert_eq!(ids, ["busy", "h"]);
    assert_eq!(
        coordinator
            .list_groups(&["sTable".into()], &["Classic".into()])
            .len(),
        1
    );
    assert_eq!(coordinator.list_groups(&[], &["consumer".into()]).len(), 0);
    coordinator.shutdown().await;
}

#[tokio::test]
async fn offsets_of_a_deleted_topic_are_gone_in_all_groups() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = open(&directory.path().join("groups"));
    for group in ["g", "h"] {
        for topic in ["t", "u"] {
            assert_eq!(
                commit(&coordinator, group, NOBODY, topic, 7, "").await,
                ErrorCode::None
            );
        }
    }
    coordinator.topic_deleted("t").await.unwrap();
    for group in ["g", "h"] {
        assert_eq!(
            (
                fetch(&coordinator, group, "t").await,
                fetch(&coordinator, group, "u").await
            ),
            (-1, 7)
        );
    }
    coordinator.shutdown().await;
}

#[tokio::test]
async fn offsets_of_topics_that_members_read_cannot_be_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = open(&directory.path().join("groups"));
    let reads_t = [0, 1, 0, 0, 0, 1, 0, 1, b't'];
    let (member, generation) = stable(&coordinator, "g", &reads_t).await;
    for topic in ["t", "u"] {
        assert_eq!(
            commit(&coordinator, "g", (&member, generation), topic, 7, "").await,
            ErrorCode::None
        );
    }
    let codes = coordinator
        .delete_offsets("g", vec![("t".into(), 0), ("u".into(), 0), ("u".into(), 9)])
        .await;
    assert_eq!(
        codes,
        Ok(vec![
            ErrorCode::GroupSubscribedToTopic,
            ErrorCode::None,
            ErrorCode::None
        ])
    );
    assert_eq!(
        (
            fetch(&coordinator, "g", "t").await,
            fetch(&coordinator, "g", "u").await
        ),
        (7, -1)
    );
    assert_eq!(
        coordinator.delete_offsets("none", vec![]).await,
        Err(ErrorCode::GroupIdNotFound)
    );
    coordinator.shutdown().await;
}

#[tokio::test]
async fn a_transactions_offsets_survive_a_restart_and_show_when_it_commits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("groups");
    let coordinator = open(&path);
    let partition = TxnOffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 9,
        ..Default::default()
    };
    let request = TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        group_id: "g".into(),
        producer_id: 5,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let response = coordinator.commit_transactional_offsets(request).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    let unstable = -i64::from(ErrorCode::UnstableOffsetCommit.code());
    assert_eq!(fetch(&coordinator, "g", "t").await, unstable);
    coordinator.shutdown().await;

    let coordinator = open(&path);
    assert_eq!(fetch(&coordinator, "g", "t").await, unstable);
    coordinator.end_transaction("g", 5, true).await.unwrap();
    coordinator.end_transaction("g", 5, false).await.unwrap();
    coordinator.end_transaction("nobody", 5, true).await.unwrap();
    assert_eq!(fetch(&coordinator, "g", "t").await, 9);
    coordinator.shutdown().await;
}

#[tokio::test]
async fn unused_offsets_expire_and_their_group_with_them() {
    let directory = tempfile::tempdir().unwrap();
    let config = GroupConfig {
        offsets_retention: Duration::from_millis(50),
        offsets_retention_check_interval: Duration::from_millis(10),
        ..config()
    };
    let coordinator = Coordinator::open(&directory.path().join("groups"), config, Images::default()).unwrap();
    let reads_t = [0, 1, 0, 0, 0, 1, 0, 1, b't'];
    let (member, generation) = stable(&coordinator, "g", &reads_t).await;
    for topic in ["t", "u"] {
        assert_eq!(
            commit(&coordinator, "g", (&member, generation), topic, 7, "").await,
            ErrorCode::None
        );
    }
    assert_eq!(
        commit(&coordinator, "simple", NOBODY, "t", 7, "").await,
        ErrorCode::None
    );
    let only_g_is_left = || async { coordinator.list_groups(&[], &[]).len() == 1 };
    until("the end of the simple group", only_g_is_left).await;
    let unread_is_gone = || async { fetch(&coordinator, "g", "u").await == -1 };
    until("the end of the offset that nobody uses", unread_is_gone).await;
    assert_eq!(fetch(&coordinator, "g", "t").await, 7);
    coordinator.shutdown().await;
}

#[tokio::test]
async fn wrong_requests_get_kafkas_errors() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = open(&directory.path().join("groups"));
    assert_eq!(
        commit(&coordinator, "g", ("m", 3), "t", 7, "").await,
        ErrorCode::IllegalGeneration
    );
    let too_long = "x".repeat(4097);
    assert_eq!(
        commit(&coordinator, "g", NOBODY, "t", 7, &too_long).await,
        ErrorCode::OffsetMetadataTooLarge
    );
    assert_eq!(
        commit(&coordinator, "g", NOBODY, "t", 7, &too_long[1..]).await,
        ErrorCode::None
    );
    assert_eq!(
        commit(&coordinator, "", NOBODY, "t", 7, "").await,
        ErrorCode::None
    );
    assert_eq!(
        heartbeat(&coordinator, "none", ("m", 3)).await,
        ErrorCode::UnknownMemberId
    );
    assert_eq!(
        heartbeat(&coordinator, "", ("m", 3)).await,
        ErrorCode::InvalidGroupId
    );
    assert_eq!(
        join(&coordinator, "none", "m", b"").await.error_code,
        ErrorCode::UnknownMemberId.code()
    );
    let described = coordinator.describe_group(6, "none").await;
    assert_eq!(
        (described.error_code, described.group_state.as_str()),
        (ErrorCode::GroupIdNotFound.code(), "Dead")
    );
    coordinator.shutdown().await;
}

#[tokio::test]
async fn entries_of_an_unknown_kind_stop_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("groups");
    let (mut journal, _) = crate::state::journal::Journal::open(&path).unwrap();
    journal.put(&[(b"zzz".to_vec(), Some(b"1".to_vec()))]).unwrap();
    assert!(matches!(
        Coordinator::open(&path, config(), Images::default()),
        Err(OpenError::UnknownEntry { .. })
    ));
}
