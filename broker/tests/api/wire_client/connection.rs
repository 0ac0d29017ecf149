//! Connections: order, ends, time-outs, versions, throttling.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use heliostat_broker::{Fault, FaultKind};
use heliostat_wire::{
    ErrorCode,
    client::{Config, Error, Lane, Manner},
    message::{
        ApiKey, ApiVersionsResponse, FetchRequest, HeartbeatRequest, ListOffsetsRequest, MetadataRequest,
        MetadataResponse, OffsetFetchRequest,
        list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
    },
};
use tokio::net::TcpListener;

use super::{
    client_of, config,
    fake::{Asked, Fake, asks_versions, good, in_version, versions},
    fault, hasty, made, soon,
};
use crate::client::{start, start_nodes};

const LANE: Lane = Lane(0);

fn about(topic: String) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic,
            partitions: vec![ListOffsetsPartition::default()],
        }],
        ..Default::default()
    }
}

#[tokio::test]
async fn answers_are_those_to_their_requests() {
    let cluster = start(&[]).await;
    let client = client_of(&cluster);
    let connection = client.connection(1, LANE).await.unwrap();
    let mut pending = Vec::new();
    soon(async {
        for number in 0..500 {
            let answer = connection.start(about(format!("topic-{number}"))).await.unwrap();
            // Every third does not wait for its answer.
            if number % 3 > 0 {
                pending.push((number, answer));
            }
        }
        for (number, answer) in pending {
            assert_eq!(answer.await.unwrap().topics[0].name, format!("topic-{number}"));
        }
    })
    .await;
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn a_connection_that_is_cut_says_what_may_have_been_sent() {
    let cluster = start(&[]).await;
    let client = client_of(&cluster);
    for takes_effect in [false, true] {
        cluster
            .control()
            .add_fault(Fault {
                takes_effect: Some(takes_effect),
                count: Some(1),
                ..fault(FaultKind::Cut, "OffsetFetch")
            })
            .unwrap();
        let connection = client.connection(1, LANE).await.unwrap();
        let first = connection.start(OffsetFetchRequest::default()).await.unwrap();
        let error = soon(first).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Closed {
                    node: 1,
                    sent: true,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.may_have_been_sent() && error.is_retriable() && error.code().is_none());
        let late = connection.send(OffsetFetchRequest::default()).await.unwrap_err();
        assert!(matches!(late, Error::Closed { sent: false, .. }), "{late}");
        assert!(connection.is_closed());
        // The next one is another connection.
        soon(client.to(1, LANE, MetadataRequest::default()))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_ends_the_connection() {
    let cluster = start(&[]).await;
    let client = made(hasty(cluster.addresses()));
    cluster
        .control()
        .add_fault(Fault {
            delay_ms: Some(3_600_000),
            ..fault(FaultKind::Delay, "Heartbeat")
        })
        .unwrap();
    let connection = client.connection(1, LANE).await.unwrap();
    let began = Instant::now();
    let slow = connection.start(HeartbeatRequest::default()).await.unwrap();
    let behind = connection.start(MetadataRequest::default()).await.unwrap();
    // Another lane is not held up.
    soon(client.to(1, Lane(1), MetadataRequest::default()))
        .await
        .unwrap();
    assert!(began.elapsed() < Duration::from_millis(300));
    let error = soon(slow).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TimedOut {
                node: 1,
                api: "Heartbeat",
                sent: true,
                ..
            }
        ),
        "{error}"
    );
    let error = soon(behind).await.unwrap_err();
    assert!(matches!(error, Error::Closed { sent: true, .. }), "{error}");
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "{:?}",
        began.elapsed()
    );
    soon(client.to(1, LANE, MetadataRequest::default()))
        .await
        .unwrap();
}

#[tokio::test]
async fn who_asks_a_broker_to_wait_waits_longer() {
    let cluster = start(&[]).await;
    let client = made(hasty(cluster.addresses()));
    let poll = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        ..Default::default()
    };
    let connection = client.connection(1, LANE).await.unwrap();
    cluster
        .control()
        .add_fault(Fault {
            delay_ms: Some(500),
            ..fault(FaultKind::Delay, "Fetch")
        })
        .unwrap();
    let manner = Manner {
        broker_waits: Duration::from_secs(5),
        ..Default::default()
    };
    soon(connection.send_as(poll.clone(), manner)).await.unwrap();
    assert!(matches!(connection.send(poll).await, Err(Error::TimedOut { .. })));
}

#[tokio::test]
async fn dropping_connection_and_client_ends_the_tasks() {
    let fake = Fake::start(|asked| {
        if asks_versions(asked) {
            return good(asked, &versions(&[(ApiKey::Metadata, None)]));
        }
        (Vec::new(), true)
    })
    .await;
    let client = made(config(&[fake.address]));
    let asking = tokio::spawn(async move { client.any(MetadataRequest::default()).await });
    soon(async {
        while fake.seen.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    asking.abort();
    let metrics = tokio::runtime::Handle::current().metrics();
    // What is left are the tasks of the fake: one that listens, and the connection's until it sees the end.
    soon(async {
        while metrics.num_alive_tasks() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn where_any_broker_will_do_another_one_is_asked_after_one_that_says_nothing() {
    let was_asked = Arc::new(AtomicBool::new(false));
    let node = || {
        let was_asked = was_asked.clone();
        Fake::start(move |asked| {
            if asks_versions(asked) {
                return good(asked, &versions(&[(ApiKey::Metadata, None)]));
            }
            match was_asked.swap(true, Ordering::Relaxed) {
                true => good(asked, &MetadataResponse::default()),
                false => (Vec::new(), true),
            }
        })
    };
    let (one, other) = (node().await, node().await);
    // Long before the first of them counts as gone.
    let patience = Config {
        request_timeout: Duration::from_secs(3_600),
        ..config(&[one.address, other.address])
    };
    soon(made(patience).any(MetadataRequest::default()))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_that_says_nothing_holds_nobody_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let client = made(hasty(&[address]));
    let began = Instant::now();
    let outcomes = tokio::join!(
        client.leader("t", 0),
        client.controller(),
        client.any(MetadataRequest::default())
    );
    for error in [
        outcomes.0.unwrap_err(),
        outcomes.1.unwrap_err(),
        outcomes.2.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        assert!(
            error.to_string().contains(&address.to_string()) && !error.may_have_been_sent(),
            "{error}"
        );
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    let cluster = start(&[]).await;
    let client = made(hasty(&[address, cluster.addresses()[0]]));
    assert_eq!(client.controller().await.unwrap(), 1);
    client.close().await;
    assert!(matches!(client.leader("t", 0).await, Err(Error::ClientClosed)));
    assert!(matches!(
        client.any(MetadataRequest::default()).await,
        Err(Error::ClientClosed)
    ));
}

fn old_broker(asked: &Asked, names_itself: bool) -> (Vec<u8>, bool) {
    let mut old = versions(&[(ApiKey::Metadata, Some(7)), (ApiKey::Produce, Some(7))]);
    if asks_versions(asked) && asked.header.api_version > 2 {
        old.api_keys.clear();
        if names_itself {
            old = versions(&[(ApiKey::ApiVersions, Some(2))]);
        }
        old.error_code = ErrorCode::UnsupportedVersion.code();
        return in_version(asked, &old, 0);
    }
    match asks_versions(asked) {
        true => good::<ApiVersionsResponse>(asked, &old),
        false => good(asked, &MetadataResponse::default()),
    }
}

#[tokio::test]
async fn old_brokers_are_spoken_to_in_their_versions() {
    for (names_itself, expected) in [(true, 2), (false, 0)] {
        let fake = Fake::start(move |asked| old_broker(asked, names_itself)).await;
        let client = made(config(&[fake.address]));
        soon(client.any(MetadataRequest::default())).await.unwrap();
        let seen: Vec<_> = fake
            .seen
            .lock()
            .unwrap()
            .iter()
            .map(|seen| (seen.0, seen.1))
            .collect();
        assert_eq!(seen, [(18, 4), (18, expected), (3, 7)]);
        let error = soon(client.any(OffsetFetchRequest::default())).await.unwrap_err();
        assert!(
            matches!(error, Error::Unsupported { broker: None, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_broker_that_throttles_is_left_alone_for_so_long() {
    let fake = Fake::start(|asked| {
        if asks_versions(asked) {
            return good(asked, &versions(&[(ApiKey::Metadata, None)]));
        }
        let throttled = MetadataResponse {
            throttle_time_ms: 200,
            ..Default::default()
        };
        good(asked, &throttled)
    })
    .await;
    // The time in which the broker takes no requests does not count as its silence.
    let client = made(Config {
        request_timeout: Duration::from_millis(100),
        ..config(&[fake.address])
    });
    for _ in 0..3 {
        soon(client.any(MetadataRequest::default())).await.unwrap();
    }
    let seen: Vec<_> = fake.seen.lock().unwrap().iter().map(|seen| seen.2).collect();
    for pair in seen[1..].windows(2) {
        assert!(
            pair[1] - pair[0] >= Duration::from_millis(190),
            "{:?}",
            pair[1] - pair[0]
        );
    }
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn a_node_that_was_away_is_connected_to_again() {
    let cluster = start_nodes(2, &[]).await;
    let client = client_of(&cluster);
    soon(client.to(2, LANE, MetadataRequest::default()))
        .await
        .unwrap();
    cluster.control().stop_node(2).await.unwrap();
    let error = soon(client.to(2, LANE, MetadataRequest::default()))
        .await
        .unwrap_err();
    assert!(error.is_retriable(), "{error}");
    cluster.control().start_node(2).await.unwrap();
    soon(async { while client.to(2, LANE, MetadataRequest::default()).await.is_err() {} }).await;
    let unknown = soon(client.to(9, LANE, MetadataRequest::default()))
        .await
        .unwrap_err();
    assert!(matches!(unknown, Error::UnknownNode { node: 9 }), "{unknown}");
}
