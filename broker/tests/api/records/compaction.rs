//! Compaction of a topic, as configs and requests ask for it.

use heliostat_broker::CompactError;

use super::*;
use crate::configs::{BROKER, SET, TOPIC, alter};

/// A segment holds four batches, so that at most four of forty records are in the active one.
const CONFIGS: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("internal.segment.bytes", "300")];

async fn put(client: &mut Client, key: &str, value: &str) {
    let mut builder = BatchBuilder::new();
    builder.push(NewRecord {
        timestamp: NOW,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
    });
    let response = produce(client, "table", 0, builder.build().unwrap().into()).await;
    assert_eq!(response.error_code, 0);
}

async fn fill_table(client: &mut Client) {
    for i in 0..40 {
        put(client, &format!("k{}", i % 4), &format!("{i}")).await;
    }
}

async fn rows(client: &mut Client) -> Vec<String> {
    let (mut rows, mut next) = (Vec::new(), 0);
    loop {
        let partition = fetch(client, "table", next).await;
        let records = partition.records;
        rows.extend(values(&records));
        let records = records.into_bytes().unwrap();
        let last = Batches::new(&records).last().unwrap();
        next = last.unwrap().header().next_offset();
        if next >= partition.high_watermark {
            return rows;
        }
    }
}

/// The error and the low watermark.
async fn delete_up_to(client: &mut Client, offset: i64) -> (i16, i64) {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "table".to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset,
            }],
        }],
        ..Default::default()
    };
    let result = client.send(&request).await.topics.remove(0).partitions.remove(0);
    (result.error_code, result.low_watermark)
}

#[tokio::test]
async fn the_cleaner_follows_its_configs_while_the_cluster_runs() {
    let cluster = start(&[("log.cleaner.backoff.ms", "3600000")]).await;
    let client = &mut Client::of(&cluster).await;
    client.create_topic("table", 1, &CONFIGS).await;
    fill_table(client).await;
    assert_eq!(rows(client).await.len(), 40);
    let quick = [
        ("log.cleaner.backoff.ms", SET, Some("1")),
        ("log.cleaner.threads", SET, Some("2")),
    ];
    assert_eq!(alter(client, BROKER, "", &quick).await, 0);
    let deadline = Instant::now() + PATIENCE;
    // The records are gone a moment before the round is counted.
    while rows(client).await.len() > 8 || cluster.cleaner_facts().rounds == 0 {
        assert!(Instant::now() < deadline, "{:?}", rows(client).await);
    }
    let left = rows(client).await;
    assert!(
        left.ends_with(&["36".into(), "37".into(), "38".into(), "39".into()]),
        "{left:?}"
    );
    cluster.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_topic_is_compacted_on_demand_if_its_policy_says_so() {
    let cluster = start(&[("log.cleaner.enable", "false")]).await;
    let client = &mut Client::of(&cluster).await;
    client.create_topic("table", 1, &CONFIGS).await;
    fill_table(client).await;
    let reports = cluster.compact("table").await.unwrap();
    assert!(reports.iter().map(|report| report.records_dropped).sum::<u64>() >= 32);
    assert!(rows(client).await.len() <= 8);
    assert_eq!(cluster.compact("table").await.unwrap(), [], "nothing is dirty");
    assert!(matches!(
        cluster.compact("none").await,
        Err(CompactError::UnknownTopic(_))
    ));
    assert_eq!(
        alter(client, TOPIC, "table", &[("cleanup.policy", SET, Some("delete"))]).await,
        0
    );
    assert!(matches!(
        cluster.compact("table").await,
        Err(CompactError::Policy(_))
    ));
    cluster.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn records_of_a_topic_that_is_only_compacted_are_not_deleted_by_request() {
    let cluster = start(&[]).await;
    let client = &mut Client::of(&cluster).await;
    client.create_topic("table", 1, &CONFIGS).await;
    fill_table(client).await;
    assert_eq!(delete_up_to(client, 3).await.0, ErrorCode::PolicyViolation.code());
    let both = [("cleanup.policy", SET, Some("compact,delete"))];
    assert_eq!(alter(client, TOPIC, "table", &both).await, 0);
    assert_eq!(delete_up_to(client, 3).await, (0, 3));
    cluster.shutdown(PATIENCE).await;
}
