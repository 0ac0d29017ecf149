//! What disks and clocks that fail do to what the broker keeps beside records.

use std::time::Instant;

use heliostat_broker::{Fault, FaultKind};
use heliostat_wire::{
    ErrorCode,
    message::{
        DeleteRecordsRequest, OffsetCommitRequest, OffsetFetchRequest,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};

use super::{add, counts};
use crate::{
    client::{Client, PATIENCE, start},
    records::{batch, fetch, produce},
};

async fn delete_before(client: &mut Client, offset: i64) -> (ErrorCode, i64) {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset,
            }],
        }],
        timeout_ms: 10_000,
    };
    let response = client.send(&request).await;
    let partition = &response.topics[0].partitions[0];
    (
        ErrorCode::from_code(partition.error_code),
        partition.low_watermark,
    )
}

#[tokio::test]
async fn where_a_log_starts_moves_only_if_that_can_be_written_down() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let produced = produce(&mut client, "t", 0, batch(&["a", "b", "c", "d", "e"])).await;
    assert_eq!(produced.error_code, 0);
    let mut start = 0;
    for kind in [FaultKind::FullDisk, FaultKind::FailedFsync] {
        let id = add(&cluster, Fault::new(kind));
        let refused = delete_before(&mut client, start + 2).await;
        assert_eq!(refused.0, ErrorCode::KafkaStorageError, "{kind:?}");
        assert!(counts(&cluster, id).0 > 0);
        cluster.control().remove_fault(id).unwrap();
        assert_eq!(fetch(&mut client, "t", start).await.log_start_offset, start);
        start += 2;
        assert_eq!(delete_before(&mut client, start).await, (ErrorCode::None, start));
    }
    cluster.shutdown(PATIENCE).await;
}

/// `None` while the group is being removed.
async fn committed(client: &mut Client) -> Option<i64> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".to_owned(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "t".to_owned(),
                partition_indexes: vec![0],
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = client.send_version(&request, 8).await;
    let group = &response.groups[0];
    if group.error_code == ErrorCode::CoordinatorNotAvailable.code() {
        return None;
    }
    assert_eq!(group.error_code, 0, "{group:?}");
    Some(group.topics[0].partitions[0].committed_offset)
}

#[tokio::test]
async fn a_clock_that_runs_ahead_makes_committed_offsets_old() {
    let cluster = start(&[("offsets.retention.check.interval.ms", "20")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 5,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let response = client.send_version(&request, 8).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    assert_eq!(committed(&mut client).await, Some(5));
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let ahead = Fault {
        ahead_ms: Some(8 * DAY_MS),
        ..Fault::new(FaultKind::Clock)
    };
    add(&cluster, ahead);
    let began = Instant::now();
    while committed(&mut client).await != Some(-1) {
        assert!(began.elapsed() < PATIENCE, "the offset stays");
    }
    cluster.shutdown(PATIENCE).await;
}
