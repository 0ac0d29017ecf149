//! Six facts about writing that hold on Apache Kafka 3.4, 3.9 and 4.2, on which a writer may build.

use super::script::Session;
use crate::client::{Client, PATIENCE, start};
use heliostat_broker::Cluster;
use heliostat_wire::builder::{BatchBuilder, NewRecord};
use heliostat_wire::message::{
    ProduceRequest,
    produce::{PartitionProduceData, TopicProduceData},
};

async fn session(cluster: &Cluster) -> Session {
    Session::start(cluster.addresses()[0]).await
}

async fn holds(script: &str, expected: &str) {
    let cluster = start(&[]).await;
    let said = session(&cluster).await.run_all(script).await;
    let answers: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with('>'))
        .map(str::trim)
        .collect();
    assert_eq!(
        answers.join("\n"),
        expected.replace("\n         ", "\n"),
        "{said}"
    );
    cluster.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_producer_with_a_transactional_id_may_write_outside_of_transactions() {
    holds(
        "init v=4
         put 0 0 v=9 plain=true noid=true
         put 0 1 v=9 plain=true noid=true
         read 0",
        "NONE (0) P1 epoch 0
         NONE (0) at 0
         NONE (0) at 1
         NONE (0) stable 2 of 2
         0 to 0 plain P1 epoch 0
         1 to 1 plain P1 epoch 0",
    )
    .await;
}

#[tokio::test]
async fn a_newer_epoch_that_the_log_has_not_heard_of_keeps_nobody_out() {
    holds(
        "init v=4
         put 0 0 v=9 plain=true
         init v=4
         put 0 1 v=9 plain=true epoch=-1",
        "NONE (0) P1 epoch 0
         NONE (0) at 0
         NONE (0) P1 epoch 1
         NONE (0) at 1",
    )
    .await;
}

#[tokio::test]
async fn an_empty_transaction_that_is_aborted_leaves_a_marker_that_keeps_older_epochs_out() {
    holds(
        "init v=4
         put 0 0 v=9 plain=true
         init v=4
         add 0
         end abort v=4
         read 0
         put 0 1 v=9 plain=true epoch=-1",
        "NONE (0) P1 epoch 0
         NONE (0) at 0
         NONE (0) P1 epoch 1
         partition 0 NONE (0)
         NONE (0)
         NONE (0) stable 2 of 2
         0 to 0 plain P1 epoch 0
         1 to 1 marker P1 epoch 1
         INVALID_PRODUCER_EPOCH (47) at -1",
    )
    .await;
}

#[tokio::test]
async fn a_batch_of_a_newer_epoch_keeps_older_ones_out_without_a_marker() {
    holds(
        "init v=4
         put 0 0 v=9 plain=true
         init v=4
         put 0 1 v=9 plain=true
         put 0 0 v=9 plain=true
         put 0 1 v=9 plain=true epoch=-1
         read 0",
        "NONE (0) P1 epoch 0
         NONE (0) at 0
         NONE (0) P1 epoch 1
         OUT_OF_ORDER_SEQUENCE_NUMBER (45) at -1
         NONE (0) at 1
         INVALID_PRODUCER_EPOCH (47) at -1
         NONE (0) stable 2 of 2
         0 to 0 plain P1 epoch 0
         1 to 1 plain P1 epoch 1",
    )
    .await;
}

#[tokio::test]
async fn the_new_epoch_goes_on_right_behind_the_marker() {
    holds(
        "init v=4
         put 0 0 v=9 plain=true
         init v=4
         add 0
         end abort v=4
         put 0 0 v=9 plain=true
         latest 0
         read 0 from=2",
        "NONE (0) P1 epoch 0
         NONE (0) at 0
         NONE (0) P1 epoch 1
         partition 0 NONE (0)
         NONE (0)
         NONE (0) at 2
         3 3
         NONE (0) stable 3 of 3
         2 to 2 plain P1 epoch 1",
    )
    .await;
}

#[tokio::test]
async fn two_hundred_requests_in_flight_are_appended_in_order_and_none_twice() {
    const REQUESTS: i32 = 200;
    let cluster = start(&[]).await;
    let mut session = session(&cluster).await;
    session.run_all("init v=4").await;
    let (producer_id, epoch) = session.producer_id_and_epoch();
    let request = |sequence: i32| {
        let mut batch = BatchBuilder::new().producer(producer_id, epoch, sequence);
        batch.push(NewRecord {
            timestamp: 1_700_000_000_000,
            value: Some(b"value"),
            ..NewRecord::default()
        });
        ProduceRequest {
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: session.topic().to_owned(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: batch.build().unwrap().into(),
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    };
    let mut client = Client::of(&cluster).await;
    for sequence in 0..REQUESTS {
        client.write(&request(sequence), 9).await;
    }
    for sequence in 0..REQUESTS {
        let frame = client.read_frame().await.unwrap();
        let response = frame
            .windows(8)
            .any(|bytes| bytes == i64::from(sequence).to_be_bytes());
        assert!(response, "request {sequence} was not appended at its place");
    }
    let mut answers = Vec::new();
    for sequence in [REQUESTS - 1, REQUESTS - 5, REQUESTS - 6, REQUESTS + 1] {
        let response = client.send_version(&request(sequence), 9).await;
        let partition = &response.responses[0].partition_responses[0];
        answers.push((partition.error_code, partition.base_offset));
    }
    assert_eq!(answers, [(0, 199), (0, 195), (45, -1), (45, -1)]);
    assert_eq!(session.run_all("latest 0").await, "> latest 0\n  200 200\n");
    cluster.shutdown(PATIENCE).await;
}
