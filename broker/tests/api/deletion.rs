//! A topic's deletion that is interrupted, wherever: nothing of the topic comes back, and nothing else goes with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use heliostat_broker::{
    Cluster, ClusterConfig,
    log::{DiskFault, DiskOperation, DiskRefusal},
};
use heliostat_wire::{
    ErrorCode,
    message::{
        CreateTopicsRequest, DeleteTopicsRequest, OffsetCommitRequest, OffsetFetchRequest,
        delete_topics::DeleteTopicState,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};

use crate::{
    client::{Client, PATIENCE, topic},
    records::{batch, fetch, produce, values},
};

const PARTITIONS: i32 = 3;

async fn start(directory: &Path) -> (Cluster, Client) {
    let config = ClusterConfig {
        data: Some(directory.to_owned()),
        ..Default::default()
    };
    let cluster = Cluster::start(config).await.unwrap();
    let client = Client::of(&cluster).await;
    (cluster, client)
}

/// A topic to delete and one to keep, with records and committed offsets.
async fn fill(client: &mut Client) {
    for name in ["t", "u"] {
        client.create_topic(name, PARTITIONS, &[]).await;
        for partition in 0..PARTITIONS {
            let appended = produce(client, name, partition, batch(&["old"])).await;
            assert_eq!(appended.error_code, 0);
        }
        commit(client, name, 1).await;
    }
}

async fn commit(client: &mut Client, topic: &str, committed_offset: i64) {
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let response = client.send_version(&request, 8).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
}

async fn committed(client: &mut Client, topic: &str) -> i64 {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".to_owned(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic.to_owned(),
                partition_indexes: vec![0],
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = client.send_version(&request, 8).await;
    assert_eq!(response.groups[0].error_code, 0);
    response.groups[0].topics[0].partitions[0].committed_offset
}

async fn delete(client: &mut Client) {
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some("t".to_owned()),
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(client.send(&request).await.responses[0].error_code, 0);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn logs_of_t(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("t-") && !name.ends_with("-delete")
        })
        .collect()
}

#[tokio::test]
async fn a_process_that_dies_while_it_deletes_a_topic_finishes_at_its_next_start() {
    let root = tempfile::tempdir().unwrap();
    let [live, before, after] = ["live", "before", "after"].map(|name| root.path().join(name));
    let (cluster, mut client) = start(&live).await;
    fill(&mut client).await;
    copy(&live, &before);
    delete(&mut client).await;
    copy(&live, &after);
    cluster.shutdown(PATIENCE).await;

    // The state is written first, then the logs lose their names one after another, and the groups come last.
    for step in 0..=PARTITIONS + 1 {
        let directory = root.path().join(step.to_string());
        copy(&before, &directory);
        fs::copy(after.join("state"), directory.join("state")).unwrap();
        for partition in 0..step.min(PARTITIONS) {
            let log = directory.join(format!("t-{partition}"));
            fs::rename(log, directory.join(format!("t-{partition}.{step:032x}-delete"))).unwrap();
        }
        if step > PARTITIONS {
            fs::copy(after.join("groups"), directory.join("groups")).unwrap();
        }

        let (cluster, mut client) = start(&directory).await;
        let unknown = client.metadata(&["t"]).await.topics[0].error_code;
        assert_eq!(unknown, ErrorCode::UnknownTopicOrPartition.code(), "step {step}");
        assert_eq!(logs_of_t(&directory), Vec::<PathBuf>::new(), "step {step}");
        client.create_topic("t", PARTITIONS, &[]).await;
        assert_eq!(committed(&mut client, "t").await, -1, "step {step}");
        let empty = fetch(&mut client, "t", 0).await;
        assert_eq!((empty.error_code, empty.high_watermark), (0, 0), "step {step}");
        commit(&mut client, "t", 7).await;
        // Killed, and then stopped: what belongs to the new topic stays.
        let killed = root.path().join(format!("{step}-killed"));
        copy(&directory, &killed);
        cluster.shutdown(PATIENCE).await;
        for directory in [killed, directory] {
            let (cluster, mut client) = start(&directory).await;
            assert_eq!(committed(&mut client, "t").await, 7, "step {step}");
            assert_eq!(committed(&mut client, "u").await, 1, "step {step}");
            assert_eq!(
                values(&fetch(&mut client, "u", 0).await.records),
                ["old"],
                "step {step}"
            );
            cluster.shutdown(PATIENCE).await;
        }
    }
}

/// A disk that takes nothing from the groups.
#[derive(Debug)]
struct NoGroups;

impl DiskFault for NoGroups {
    fn before(&self, operation: DiskOperation<'_>) -> Result<(), DiskRefusal> {
        let (DiskOperation::Write { path, .. }
        | DiskOperation::Sync { path }
        | DiskOperation::Create { path }) = operation;
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            Some(name) if name.starts_with("groups") => {
                Err(io::Error::from(io::ErrorKind::StorageFull).into())
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_topic_is_not_made_again_before_the_offsets_of_its_predecessor_are_gone() {
    let root = tempfile::tempdir().unwrap();
    let (cluster, mut client) = start(root.path()).await;
    fill(&mut client).await;
    cluster.disk().inject(Some(Arc::new(NoGroups)));
    delete(&mut client).await;
    let request = CreateTopicsRequest {
        topics: vec![topic("t", 1, &[]), topic("v", 1, &[])],
        ..Default::default()
    };
    let made = client.send(&request).await;
    let codes: Vec<_> = made
        .topics
        .iter()
        .map(|topic| ErrorCode::from_code(topic.error_code))
        .collect();
    assert_eq!(codes, [ErrorCode::KafkaStorageError, ErrorCode::None]);
    cluster.disk().inject(None);
    client.create_topic("t", 1, &[]).await;
    assert_eq!(committed(&mut client, "t").await, -1);
    assert_eq!(committed(&mut client, "u").await, 1);
    cluster.shutdown(PATIENCE).await;
}
