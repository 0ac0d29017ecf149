//! What an acknowledgement promises, on disks that take their time or fail.

use std::{
    io,
    sync::{Arc, Condvar, Mutex},
};

use heliostat_broker::log::{DiskFault, DiskOperation, DiskRefusal};

use super::*;

/// A disk whose flushes wait until they are let through, or fail.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Open,
    Closed,
    Broken,
}

impl Gate {
    fn on(cluster: &Cluster, state: State) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        gate.set(state);
        cluster.disk().inject(Some(gate.clone()));
        gate
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap() = state;
        self.moved.notify_all();
    }
}

impl DiskFault for Gate {
    fn before(&self, operation: DiskOperation<'_>) -> Result<(), DiskRefusal> {
        let DiskOperation::Sync { .. } = operation else {
            return Ok(());
        };
        let state = self.state.lock().unwrap();
        let waited = self
            .moved
            .wait_timeout_while(state, PATIENCE, |state| *state == State::Closed);
        match *waited.unwrap().0 {
            State::Broken => Err(io::Error::other("the disk is broken").into()),
            _ => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_while_a_flush_runs_and_nothing_is_seen_before_it_ends() {
    let cluster = start(&[]).await;
    let (mut all, mut one) = (Client::of(&cluster).await, Client::of(&cluster).await);
    all.create_topic("t", 1, &[]).await;
    let topic_id = id_of(&mut all, "t").await;
    let gate = Gate::on(&cluster, State::Closed);
    for value in ["a", "b"] {
        all.write(&produce_request(topic_id, 0, batch(&[value])), 13)
            .await;
    }
    // Both are in the log as soon as it does not end before the offset behind them.
    let appended = async { while fetch(&mut one, "t", 2).await.error_code != 0 {} };
    tokio::time::timeout(PATIENCE, appended).await.unwrap();
    let unseen = fetch(&mut one, "t", 0).await;
    assert_eq!((unseen.high_watermark, unseen.records.len()), (0, 0));
    let waiting = FetchRequest {
        max_wait_ms: PATIENCE.as_millis() as i32,
        ..fetch_request(topic_id, vec![from_offset(0, 0)])
    };
    one.write(&waiting, 18).await;
    gate.set(State::Open);
    // The answers come in the order of the requests; the first one's correlation id is the one before the last.
    let first = all.read_frame().await.expect("an answer to the first");
    assert!(!first.is_empty());
    let second = all.read::<ProduceRequest>(13).await;
    let second = &second.responses[0].partition_responses[0];
    assert_eq!((second.error_code, second.base_offset), (0, 1));
    let seen = only(one.read::<FetchRequest>(18).await);
    assert!(seen.high_watermark >= 1, "{}", seen.high_watermark);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_fails_or_takes_too_long_is_no_acknowledgement() {
    for policy in ["group", "each"] {
        let cluster = start(&[("log.flush.policy", policy)]).await;
        let mut client = Client::of(&cluster).await;
        client.create_topic("good", 1, &[]).await;
        client.create_topic("t", 1, &[]).await;
        assert_eq!(produce(&mut client, "t", 0, batch(&["a"])).await.error_code, 0);
        if policy == "group" {
            let gate = Gate::on(&cluster, State::Closed);
            let slow = produce(&mut client, "good", 0, batch(&["a"])).await;
            assert_eq!(slow.error_code, ErrorCode::RequestTimedOut.code());
            gate.set(State::Open);
            // Its flush must be over before the next one fails.
            while fetch(&mut client, "good", 0).await.high_watermark == 0 {}
        }
        let gate = Gate::on(&cluster, State::Broken);
        let failed = produce(&mut client, "t", 0, batch(&["b"])).await;
        assert_eq!(failed.error_code, ErrorCode::KafkaStorageError.code());
        assert_eq!(failed.base_offset, -1);
        gate.set(State::Open);
        // Readers and neighbours carry on.
        assert_eq!(values(&fetch(&mut client, "t", 0).await.records), ["a"]);
        assert_eq!(produce(&mut client, "good", 0, batch(&["b"])).await.error_code, 0);
    }
}

#[tokio::test]
async fn a_client_that_gives_no_time_gets_that_of_a_flush() {
    let cluster = start(&[("log.flush.policy", "group")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let topic_id = id_of(&mut client, "t").await;
    for offset in 0..5 {
        let mut request = produce_request(topic_id, 0, batch(&["a"]));
        request.timeout_ms = 0;
        client.write(&request, 13).await;
        let answer = client.read::<ProduceRequest>(13).await;
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
}

#[tokio::test]
async fn as_kafka_does_nothing_is_forced_to_disk_where_that_is_wanted() {
    let cluster = start(&[("log.flush.policy", "os")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let _gate = Gate::on(&cluster, State::Broken);
    assert_eq!(produce(&mut client, "t", 0, batch(&["a"])).await.error_code, 0);
    assert_eq!(values(&fetch(&mut client, "t", 0).await.records), ["a"]);
}
