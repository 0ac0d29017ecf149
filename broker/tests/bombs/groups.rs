//! Members that say much, in ever new groups: refused when groups have all the memory that they may take, while everybody
//! else is served; and let in again when others have gone.

use bytes::Bytes;
use heliostat_broker::Cluster;
use heliostat_wire::ErrorCode;
use heliostat_wire::message::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest,
    join_group::JoinGroupRequestProtocol,
    leave_group::MemberIdentity,
    offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
};

use super::{ALONE, MIB, TOPIC, resident_bytes};
use crate::client::{Client, PATIENCE, start};

/// What groups may take, and the requests, the answers and what an allocator keeps: some are made at a time.
const BYTES_MAX: usize = 512 * MIB;

/// Joins a group alone, which ends its rebalance at once; the member's id and its generation.
async fn join(client: &mut Client, group: &str, metadata: &Bytes) -> Result<(String, i32), ErrorCode> {
    let request = JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 1_800_000,
        rebalance_timeout_ms: 1_800_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: metadata.clone(),
        }],
        ..Default::default()
    };
    // Since version 4 a member is given an id first.
    let response = client.send_version(&request, 3).await;
    match ErrorCode::from_code(response.error_code) {
        ErrorCode::None => Ok((response.member_id, response.generation_id)),
        error => Err(error),
    }
}

async fn sync(client: &mut Client, group: &str, (member, generation): &(String, i32)) -> ErrorCode {
    let request = SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: *generation,
        member_id: member.clone(),
        ..Default::default()
    };
    ErrorCode::from_code(client.send_version(&request, 3).await.error_code)
}

async fn heartbeat(client: &mut Client, group: &str, (member, generation): &(String, i32)) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id: *generation,
        member_id: member.clone(),
        ..Default::default()
    };
    ErrorCode::from_code(client.send_version(&request, 3).await.error_code)
}

async fn leave(client: &mut Client, group: &str, (member, _): &(String, i32)) -> ErrorCode {
    let request = LeaveGroupRequest {
        group_id: group.to_owned(),
        members: vec![MemberIdentity {
            member_id: member.clone(),
            ..Default::default()
        }],
        ..Default::default()
    };
    ErrorCode::from_code(client.send_version(&request, 4).await.members[0].error_code)
}

async fn commit(
    client: &mut Client,
    group: &str,
    (member, generation): (&str, i32),
    metadata: &str,
) -> ErrorCode {
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        generation_id_or_member_epoch: generation,
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 7,
                committed_metadata: Some(metadata.to_owned()),
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let response = client.send_version(&request, 7).await;
    ErrorCode::from_code(response.topics[0].partitions[0].error_code)
}

/// A member of the consumer protocol says for the first time what it reads.
async fn heartbeat_of_consumer(client: &mut Client, group: &str, reads: Vec<String>) -> ErrorCode {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: "m".to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(reads),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    ErrorCode::from_code(client.send(&request).await.error_code)
}

async fn cluster() -> (Cluster, Client) {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic(TOPIC, 1, &[]).await;
    (cluster, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_ever_new_groups_take_bounded_memory_and_give_it_back_when_they_leave() {
    const GROUPS: usize = 1_000;
    let _alone = ALONE.lock().await;
    let (cluster, mut client) = cluster().await;
    let mut healthy = Client::of(&cluster).await;
    let member = join(&mut healthy, "healthy", &Bytes::new()).await.unwrap();
    assert_eq!(sync(&mut healthy, "healthy", &member).await, ErrorCode::None);
    let own = (member.0.as_str(), member.1);
    assert_eq!(commit(&mut healthy, "healthy", own, "x").await, ErrorCode::None);

    let metadata = Bytes::from(vec![0; MIB - 100]);
    let before = resident_bytes();
    let (mut members, mut refused) = (Vec::new(), 0);
    for number in 0..GROUPS {
        let group = format!("g{number}");
        match join(&mut client, &group, &metadata).await {
            // Every other one is stored, which takes as much again.
            Ok(member) => {
                if number % 2 == 0 {
                    assert_eq!(sync(&mut client, &group, &member).await, ErrorCode::None);
                }
                members.push((group, member));
            }
            Err(error) => {
                assert_eq!(error, ErrorCode::CoordinatorNotAvailable);
                refused += 1;
            }
        }
    }
    let grown = resident_bytes().saturating_sub(before);
    eprintln!("{} joined, {refused} did not; {} MiB", members.len(), grown / MIB);
    assert!(members.len() >= 100, "{}", members.len());
    assert!(grown < BYTES_MAX, "{} MiB", grown / MIB);

    // What takes no more than it did goes on, and so does everything else.
    assert_eq!(heartbeat(&mut healthy, "healthy", &member).await, ErrorCode::None);
    assert_eq!(commit(&mut healthy, "healthy", own, "y").await, ErrorCode::None);
    assert_eq!(healthy.metadata(&[TOPIC]).await.topics[0].error_code, 0);
    // Consumers of the other protocol find no room either.
    let reads = (0..4_000).map(|number| format!("{number:0>250}")).collect();
    let answer = heartbeat_of_consumer(&mut client, "new", reads).await;
    assert_eq!(answer, ErrorCode::CoordinatorNotAvailable);

    for (group, member) in &members {
        assert_eq!(leave(&mut client, group, member).await, ErrorCode::None);
    }
    let again = join(&mut client, "again", &metadata).await;
    assert!(again.is_ok(), "{again:?}");
    assert_eq!(
        heartbeat_of_consumer(&mut client, "new", vec!["t".to_owned()]).await,
        ErrorCode::None
    );
    cluster.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_holds_next_to_nothing_takes_little_memory() {
    const GROUPS: usize = 10_000;
    // It is counted as 8 KiB.
    const EACH_MAX: usize = 16 * 1024;
    let _alone = ALONE.lock().await;
    let (cluster, mut client) = cluster().await;
    let before = resident_bytes();
    for number in 0..GROUPS {
        let group = format!("simple-{number}");
        assert_eq!(commit(&mut client, &group, ("", -1), "").await, ErrorCode::None);
    }
    let each = resident_bytes().saturating_sub(before) / GROUPS;
    eprintln!("{each} bytes each");
    assert!(each < EACH_MAX, "{each} bytes");
    cluster.shutdown(PATIENCE).await;
}
