//! Transactions that end while a disk is full, or while a partition has no leader.

use std::{net::SocketAddr, time::Instant};

use heliostat_broker::{Fault, FaultKind};
use heliostat_wire::{
    ErrorCode,
    message::{
        DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest, InitProducerIdResponse,
        ProduceRequest,
        fetch::PartitionData,
        produce::{PartitionProduceData, TopicProduceData},
    },
};

use tokio::task::LocalSet;

use super::script::Session;

use crate::{
    client::{Client, PATIENCE, start, start_nodes},
    nodes::{at, create},
    records::{fetch_request, fill, from_offset, id_of},
};

/// Ends a transaction in three partitions and a group while only so much can be written, and looks at it again when
/// there is room. Returns whether it was decided at once.
async fn end_with_room(room: u64, commit: bool) -> bool {
    let cluster = start(&[]).await;
    let mut session = Session::start(cluster.addresses()[0]).await;
    session.run_all("init\nput 0 0\nput 1 0\nput 2 0\ncommit 5").await;
    let full = Fault {
        room_bytes: Some(room),
        ..Fault::new(FaultKind::FullDisk)
    };
    let id = cluster.control().add_fault(full).unwrap();
    let end = if commit { "end commit" } else { "end abort" };
    let case = format!("{end} with room for {room} bytes");
    let mut said = session.run_all(end).await;
    let open = session.run_all("read 0").await;
    cluster.control().remove_fault(id).unwrap();
    let (began, decided) = (Instant::now(), said.contains("  NONE"));
    while !said.contains("  NONE") {
        let retriable = ["COORDINATOR_NOT_AVAILABLE", "CONCURRENT_TRANSACTIONS"];
        assert!(
            retriable.iter().any(|error| said.contains(error)),
            "{case}: {said}"
        );
        // What was not decided is not to be seen.
        assert!(open.contains("stable 0 of 1\n"), "{case}: {open}");
        assert!(began.elapsed() < PATIENCE, "{case}: {said}");
        said = session.run_all(end).await;
    }
    let state = if commit { "CompleteCommit" } else { "CompleteAbort" };
    session.run_all(&format!("until {state}")).await;
    for partition in 0..3 {
        let said = session.run_all(&format!("read {partition}")).await;
        // A marker is written once, or again if nobody knows whether it is on the disk.
        assert!(
            said.contains("stable 2 of 2") || said.contains("stable 3 of 3"),
            "{case}: {said}"
        );
        assert_eq!(said.contains("aborted: P1 from 0"), !commit, "{case}: {said}");
    }
    let offset = if commit { 5 } else { -1 };
    let said = session.run_all("offsets stable=true").await;
    assert!(said.contains(&format!("NONE (0) {offset}\n")), "{case}: {said}");
    // The next transaction is not in its way.
    let began = Instant::now();
    while !session.run_all("put 0 0").await.contains("NONE (0)") {
        assert!(
            began.elapsed() < PATIENCE,
            "{case}: nothing can be written any more"
        );
    }
    cluster.shutdown(PATIENCE).await;
    decided
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_delays_the_end_of_a_transaction_and_does_not_halve_it() {
    // From "not even the decision" to "all but the last note of the coordinator".
    let rooms = (0..16).map(|step| step * 71);
    let set = LocalSet::new();
    let runs: Vec<_> = rooms
        .map(|room| set.spawn_local(end_with_room(room, room % 3 != 0)))
        .collect();
    let decided = set.run_until(async {
        let mut decided = Vec::new();
        for run in runs {
            decided.push(run.await.unwrap());
        }
        decided
    });
    let decided = decided.await;
    assert!(decided.contains(&true) && decided.contains(&false), "{decided:?}");
}

/// What Kafka takes from a broker's wall clock is wrong with it, also the timeouts of transactions.
#[tokio::test]
async fn a_clock_that_runs_ahead_ends_transactions_whose_time_seems_over() {
    let soon = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
    let cluster = start(&[(soon, "20")]).await;
    let mut session = Session::start(cluster.addresses()[0]).await;
    session.run_all("init timeout=60000\nput 0 0").await;
    let ahead = Fault {
        ahead_ms: Some(59_000 / 2),
        ..Fault::new(FaultKind::Clock)
    };
    let id = cluster.control().add_fault(ahead.clone()).unwrap();
    // Half of the time is not over.
    assert_eq!(
        session
            .run_all("put 0 1\nend commit\nput 0 0")
            .await
            .matches("NONE (0)")
            .count(),
        3
    );
    cluster.control().remove_fault(id).unwrap();
    let ahead = Fault {
        ahead_ms: Some(120_000),
        ..ahead
    };
    cluster.control().add_fault(ahead).unwrap();
    let said = session.run_all("until CompleteAbort\nend commit v=4").await;
    assert!(
        said.contains("INVALID_PRODUCER_EPOCH") || said.contains("PRODUCER_FENCED"),
        "{said}"
    );
    cluster.shutdown(PATIENCE).await;
}

async fn end(client: &mut Client, given: &InitProducerIdResponse) -> ErrorCode {
    let request = EndTxnRequest {
        transactional_id: "id".to_owned(),
        producer_id: given.producer_id,
        producer_epoch: given.producer_epoch,
        committed: true,
    };
    ErrorCode::from_code(client.send(&request).await.error_code)
}

async fn put(address: SocketAddr, index: i32, given: &InitProducerIdResponse) {
    let mut client = Client::connect(address).await;
    let topic_id = id_of(&mut client, "t").await;
    let batch = heliostat_wire::builder::BatchBuilder::new()
        .producer(given.producer_id, given.producer_epoch, 0)
        .transactional();
    let request = ProduceRequest {
        transactional_id: Some("id".to_owned()),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            topic_id,
            partition_data: vec![PartitionProduceData {
                index,
                records: fill(batch, &["x"]),
            }],
            ..Default::default()
        }],
    };
    let response = client.send(&request).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

async fn committed(client: &mut Client, partition: i32) -> PartitionData {
    let topic_id = id_of(client, "t").await;
    let mut request = fetch_request(topic_id, vec![from_offset(partition, 0)]);
    (request.isolation_level, request.max_wait_ms) = (1, 0);
    client
        .send(&request)
        .await
        .responses
        .remove(0)
        .partitions
        .remove(0)
}

async fn state(client: &mut Client) -> (String, usize) {
    let request = DescribeTransactionsRequest {
        transactional_ids: vec!["id".to_owned()],
    };
    let state = client.send(&request).await.transaction_states.remove(0);
    (state.transaction_state, state.topics.len())
}

#[tokio::test]
async fn a_transaction_waits_for_the_leader_of_a_partition_and_ends_when_it_is_back() {
    let cluster = start_nodes(2, &[]).await;
    create(&cluster, "t", &[], &[&[1], &[2]]).await;
    let mut client = at(&cluster, 1).await;
    let request = InitProducerIdRequest {
        transactional_id: Some("id".to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    // Node 1 becomes the coordinator, wherever it was before.
    cluster.control().stop_node(2).await.unwrap();
    let given = client.send(&request).await;
    assert_eq!(given.error_code, 0);
    cluster.control().start_node(2).await.unwrap();
    put(cluster.addresses()[0], 0, &given).await;
    put(cluster.addresses()[1], 1, &given).await;
    cluster.control().stop_node(2).await.unwrap();

    assert_eq!(end(&mut client, &given).await, ErrorCode::None);
    assert_eq!(state(&mut client).await, ("PrepareCommit".to_owned(), 1));
    let here = committed(&mut client, 0).await;
    assert_eq!((here.last_stable_offset, here.high_watermark), (2, 2));
    // Whoever comes next has to wait.
    let next = client.send(&request).await;
    assert_eq!(next.error_code, ErrorCode::ConcurrentTransactions.code());

    cluster.control().start_node(2).await.unwrap();
    let began = Instant::now();
    while state(&mut client).await.0 != "CompleteCommit" {
        assert!(began.elapsed() < PATIENCE, "the transaction does not end");
    }
    let there = committed(&mut at(&cluster, 2).await, 1).await;
    assert_eq!((there.last_stable_offset, there.high_watermark), (2, 2));
    assert_eq!(there.aborted_transactions, Some(Vec::new()));
    // However often the other one was tried, the first one has got one marker.
    assert_eq!(committed(&mut client, 0).await.high_watermark, 2);
    assert_eq!(client.send(&request).await.error_code, 0);
    cluster.shutdown(PATIENCE).await;
}
