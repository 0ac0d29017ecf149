//! Groups that change between the classic protocol and KIP-848's while they have members.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use heliostat_broker::{Cluster, ClusterConfig};
use heliostat_wire::ErrorCode;
use heliostat_wire::message::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, ListGroupsRequest, SyncGroupRequest, join_group::JoinGroupRequestProtocol,
    sync_group::SyncGroupRequestAssignment,
};

use crate::client::{Client, PATIENCE, start};

const GROUP: &str = "workers";
/// Partitions 0 and 1 of `t`, as a consumer writes them.
const BOTH: &[u8] = b"\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01";
const NOTHING: &[u8] = b"\0\0\0\0";

fn assignment(partitions: &[u8]) -> Bytes {
    [b"\0\x01", partitions, b"\xff\xff\xff\xff"].concat().into()
}

async fn join_classic(
    client: &mut Client,
    member: &str,
    owned: &[u8],
    rebalance_timeout_ms: i32,
) -> JoinGroupResponse {
    let metadata = [b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff", owned].concat();
    let request = JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "cooperative-sticky".to_owned(),
            metadata: metadata.into(),
        }],
        ..Default::default()
    };
    // Members bring no id in this version, and are given one at once.
    client.send_version(&request, 3).await
}

/// What the member is told to read, or why it is not.
async fn sync_classic(client: &mut Client, member: &str, generation_id: i32) -> Result<Bytes, i16> {
    let request = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id,
        member_id: member.to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("cooperative-sticky".to_owned()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member.to_owned(),
            assignment: assignment(BOTH),
        }],
        ..Default::default()
    };
    let response = client.send(&request).await;
    match response.error_code {
        0 => Ok(response.assignment),
        code => Err(code),
    }
}

async fn beat_classic(client: &mut Client, member: &str, generation_id: i32) -> i16 {
    let request = HeartbeatRequest {
        group_id: GROUP.to_owned(),
        generation_id,
        member_id: member.to_owned(),
        group_instance_id: None,
    };
    client.send(&request).await.error_code
}

async fn beat(client: &mut Client, epoch: i32) -> ConsumerGroupHeartbeatResponse {
    let joins = epoch == 0;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: "modern".to_owned(),
        member_epoch: epoch,
        rebalance_timeout_ms: if joins { 60_000 } else { -1 },
        subscribed_topic_names: joins.then(|| vec!["t".to_owned()]),
        topic_partitions: joins.then(Vec::new),
        ..Default::default()
    };
    client.send(&request).await
}

async fn group_type(client: &mut Client) -> String {
    let listed = client.send(&ListGroupsRequest::default()).await.groups;
    listed
        .into_iter()
        .map(|group| format!("{} {}", group.group_type, group.group_state))
        .collect()
}

/// A classic group with one member, which reads both partitions of `t`; with the member's id.
async fn classic_group(client: &mut Client, rebalance_timeout_ms: i32) -> String {
    client.create_topic("t", 2, &[]).await;
    let id = join_classic(client, "", NOTHING, rebalance_timeout_ms)
        .await
        .member_id;
    assert_eq!(sync_classic(client, &id, 1).await, Ok(assignment(BOTH)));
    id
}

/// REBALANCE_IN_PROGRESS.
const REBALANCE: i16 = 27;

#[tokio::test]
async fn a_group_is_upgraded_shared_stored_and_downgraded() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig {
        data: Some(directory.path().join("data")),
        ..Default::default()
    };
    let cluster = Cluster::start(config.clone()).await.unwrap();
    let mut client = Client::of(&cluster).await;
    let id = classic_group(&mut client, 30_000).await;
    let joined = beat(&mut client, 0).await;
    assert_eq!((joined.error_code, joined.member_epoch), (0, 2));
    assert_eq!(group_type(&mut client).await, "consumer Reconciling");
    assert_eq!(beat_classic(&mut client, &id, 1).await, REBALANCE);
    let joined = join_classic(&mut client, &id, BOTH, 30_000).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    let kept = sync_classic(&mut client, &id, 1).await.unwrap();

    // All of it is on disk: who speaks what, who has what, and who is to give up what.
    cluster.shutdown(PATIENCE).await;
    let cluster = Cluster::start(config.clone()).await.unwrap();
    let mut client = Client::of(&cluster).await;
    assert_eq!(beat_classic(&mut client, &id, 1).await, REBALANCE);
    assert_eq!(sync_classic(&mut client, &id, 1).await.as_ref(), Ok(&kept));
    let owned = kept.slice(2..kept.len() - 4);
    let joined = join_classic(&mut client, &id, &owned, 30_000).await;
    assert_eq!(joined.generation_id, 2);
    assert_eq!(sync_classic(&mut client, &id, 2).await, Ok(kept));
    assert_eq!(beat_classic(&mut client, &id, 2).await, 0);
    let given = beat(&mut client, 2).await.assignment.unwrap();
    assert_eq!(given.topic_partitions[0].partitions.len(), 1);
    assert_eq!(group_type(&mut client).await, "consumer Stable");

    assert_eq!(beat(&mut client, -1).await.error_code, 0);
    assert_eq!(group_type(&mut client).await, "classic PreparingRebalance");
    assert_eq!(beat_classic(&mut client, &id, 2).await, REBALANCE);
    let joined = join_classic(&mut client, &id, &owned, 30_000).await;
    assert_eq!((joined.generation_id, joined.leader), (3, id.clone()));
    assert_eq!(sync_classic(&mut client, &id, 3).await, Ok(assignment(BOTH)));
    cluster.shutdown(PATIENCE).await;
    let cluster = Cluster::start(config).await.unwrap();
    let mut client = Client::of(&cluster).await;
    assert_eq!(group_type(&mut client).await, "classic Stable");
    assert_eq!(beat_classic(&mut client, &id, 3).await, 0);
}

#[tokio::test]
async fn the_policy_says_what_a_group_with_members_may_become() {
    for (policy, upgraded, in_the_end) in [
        ("disabled", ErrorCode::GroupIdNotFound, "classic Stable"),
        ("Downgrade", ErrorCode::GroupIdNotFound, "classic Stable"),
        ("upgrade", ErrorCode::None, "consumer Assigning"),
        ("BIDIRECTIONAL", ErrorCode::None, "classic PreparingRebalance"),
    ] {
        let cluster = Cluster::start(ClusterConfig {
            properties: BTreeMap::from([("group.consumer.migration.policy".to_owned(), policy.to_owned())]),
            ..Default::default()
        })
        .await
        .unwrap();
        let mut client = Client::of(&cluster).await;
        classic_group(&mut client, 30_000).await;
        assert_eq!(beat(&mut client, 0).await.error_code, upgraded.code(), "{policy}");
        beat(&mut client, -1).await;
        assert_eq!(group_type(&mut client).await, in_the_end, "{policy}");
    }
}

#[tokio::test]
async fn a_classic_member_that_does_not_join_again_in_time_is_taken_out() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let id = classic_group(&mut client, 300).await;
    let mut epoch = beat(&mut client, 0).await.member_epoch;
    assert_eq!(beat_classic(&mut client, &id, 1).await, REBALANCE);
    let began = Instant::now();
    let mut partitions = 0;
    while partitions < 2 {
        assert!(began.elapsed() < PATIENCE, "the member keeps its partitions");
        let response = beat(&mut client, epoch).await;
        epoch = response.member_epoch;
        let told = response
            .assignment
            .map_or(Vec::new(), |assignment| assignment.topic_partitions);
        partitions = told
            .iter()
            .map(|topic| topic.partitions.len())
            .max()
            .unwrap_or(partitions);
    }
    let unknown = ErrorCode::UnknownMemberId.code();
    assert_eq!(beat_classic(&mut client, &id, 1).await, unknown);
}
