//! What groups may take in memory, all together.

use heliostat_wire::message::ConsumerGroupHeartbeatRequest;
use heliostat_wire::message::sync_group::SyncGroupRequestAssignment;

use super::*;

const ROOM: usize = 100_000;

fn open_with_room(path: &Path, memory_max: usize) -> Coordinator {
    let config = GroupConfig {
        memory_max,
        ..config()
    };
    Coordinator::open(path, config, Images::default()).unwrap()
}

async fn sync(
    coordinator: &Coordinator,
    group: &str,
    (member, generation): (&str, i32),
    assignment: usize,
) -> ErrorCode {
    let request = SyncGroupRequest {
        group_id: group.into(),
        member_id: member.into(),
        generation_id: generation,
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member.into(),
            assignment: vec![0; assignment].into(),
        }],
        ..Default::default()
    };
    ErrorCode::from_code(coordinator.sync_group(request).await.error_code)
}

async fn join_consumer(coordinator: &Coordinator, group: &str, member: &str, topic: &str) -> ErrorCode {
    let client = Client {
        id: "app".into(),
        host: "/127.0.0.1".into(),
    };
    let request = ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![topic.into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let response = coordinator.consumer_group_heartbeat(client, 1, request).await;
    ErrorCode::from_code(response.error_code)
}

const FULL: ErrorCode = ErrorCode::CoordinatorNotAvailable;

#[tokio::test]
async fn whatever_makes_groups_grow_is_refused_where_there_is_no_room_and_all_of_it_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = open_with_room(&directory.path().join("groups"), ROOM);
    let large = vec![0; ROOM / 2];
    let small = vec![0; ROOM / 8];
    // Each text counts twice.
    assert_eq!(join(&coordinator, "g", "", &large).await.error_code, FULL.code());
    assert_eq!(coordinator.list_groups(&[], &[]), []);
    assert_eq!(coordinator.room.taken(), 0);
    let joined = join(&coordinator, "g", "", &small).await;
    let member = (joined.member_id.as_str(), joined.generation_id);
    assert_eq!(joined.error_code, 0);
    assert_eq!(sync(&coordinator, "g", member, ROOM / 2).await, FULL);
    assert_eq!(sync(&coordinator, "g", member, ROOM / 8).await, ErrorCode::None);
    // What takes the place of something as large is no more than that.
    let again = join(&coordinator, "g", member.0, &small).await;
    assert_eq!((again.error_code, again.generation_id), (0, 2));
    let member = (member.0, 2);
    assert_eq!(
        join(&coordinator, "g", member.0, &large).await.error_code,
        FULL.code()
    );
    assert_eq!(sync(&coordinator, "g", member, 0).await, ErrorCode::None);

    let name = "x".repeat(ROOM / 8);
    let (second, third) = ("y".repeat(ROOM / 5), "z".repeat(ROOM / 5));
    assert_eq!(
        join_consumer(&coordinator, "h", "a", &name).await,
        ErrorCode::None
    );
    assert_eq!(join_consumer(&coordinator, "h", "b", &second).await, FULL);
    assert_eq!(join_consumer(&coordinator, "i", "c", &third).await, FULL);
    assert_eq!(
        commit(&coordinator, "g", member, "t", 7, "").await,
        ErrorCode::None
    );
    assert_eq!(commit(&coordinator, "g", member, &second, 7, "").await, FULL);
    assert_eq!(
        commit(&coordinator, "g", member, "t", 8, "").await,
        ErrorCode::None
    );
    assert!(coordinator.room.taken() <= ROOM);

    let gone = vec![super::super::coordinator::identity(member.0.into(), None)];
    assert_eq!(coordinator.leave_group("g", gone).await.error_code, 0);
    assert_eq!(
        join_consumer(&coordinator, "h", "b", &second).await,
        ErrorCode::None
    );
    assert_eq!(coordinator.delete_group("g").await, ErrorCode::None);
    let leaves = |member: &str| ConsumerGroupHeartbeatRequest {
        group_id: "h".into(),
        member_id: member.into(),
        member_epoch: -1,
        ..Default::default()
    };
    for member in ["a", "b"] {
        let client = Client {
            id: String::new(),
            host: String::new(),
        };
        let left = coordinator
            .consumer_group_heartbeat(client, 1, leaves(member))
            .await;
        assert_eq!(left.error_code, 0);
    }
    assert_eq!(coordinator.delete_group("h").await, ErrorCode::None);
    let nothing_is_taken = || async { coordinator.room.taken() == 0 };
    until("the end of the groups", nothing_is_taken).await;
    coordinator.shutdown().await;
}

#[tokio::test]
async fn a_start_takes_what_is_there_and_counts_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("groups");
    let coordinator = open_with_room(&path, ROOM);
    let (member, generation) = stable(&coordinator, "g", &[0; ROOM / 8]).await;
    let own = (member.as_str(), generation);
    assert_eq!(
        commit(&coordinator, "g", own, "t", 7, "note").await,
        ErrorCode::None
    );
    assert_eq!(join_consumer(&coordinator, "h", "a", "t").await, ErrorCode::None);
    let taken = || async { coordinator.room.taken() };
    let before = taken().await;
    coordinator.shutdown().await;

    let coordinator = open_with_room(&path, 1);
    assert_eq!(coordinator.room.taken(), before);
    assert_eq!(heartbeat(&coordinator, "g", own).await, ErrorCode::None);
    assert_eq!(
        commit(&coordinator, "g", own, "t", 8, "note").await,
        ErrorCode::None
    );
    assert_eq!(fetch(&coordinator, "g", "t").await, 8);
    assert_eq!(commit(&coordinator, "g", own, "u", 8, "").await, FULL);
    assert_eq!(join(&coordinator, "new", "", b"").await.error_code, FULL.code());
    // Members that were there come back, and are a group again.
    let again = join(&coordinator, "g", own.0, &[0; ROOM / 8]).await;
    assert_eq!((again.error_code, again.generation_id), (0, generation + 1));
    assert_eq!(
        sync(&coordinator, "g", (own.0, generation + 1), 0).await,
        ErrorCode::None
    );
    assert!(coordinator.room.taken() <= before);
    coordinator.shutdown().await;
}
