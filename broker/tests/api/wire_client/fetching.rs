//! Reading partitions: every record once, nobody waits for others, and little is said about what is idle.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use heliostat_broker::{Cluster, Fault, FaultKind};
use heliostat_wire::{
    ErrorCode, Payload,
    batch::Batches,
    client::{
        Client, Connecting, Data, Error, FetchFailure, Fetched, Fetcher, FetcherConfig, Stream, Tcp,
        Transport,
    },
    message::{DeleteTopicsRequest, delete_topics::DeleteTopicState},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};

use super::{client_of, config, fault, hasty, made, soon};
use crate::{
    client::{Client as Plain, start_nodes},
    records::{batch, id_of, produce, produce_request, values},
};

struct Reading {
    fetcher: Fetcher,
    fetched: mpsc::Receiver<Vec<Fetched>>,
    early: Vec<Fetched>,
}

impl Reading {
    fn new(client: Client, config: FetcherConfig) -> Reading {
        let (out, fetched) = mpsc::channel(2);
        Reading {
            fetcher: Fetcher::new(client, config, out),
            fetched,
            early: Vec::new(),
        }
    }

    fn want(&self, slot: u32, offset: i64) {
        self.fetcher.want(slot, "t".into(), slot as i32, offset, None);
    }

    async fn next(&mut self) -> Fetched {
        soon(async {
            while self.early.is_empty() {
                self.early = self.fetched.recv().await.unwrap();
            }
        })
        .await;
        self.early.remove(0)
    }

    /// The next records, and whose they are; news are passed over.
    async fn records(&mut self) -> (u32, Data) {
        loop {
            let fetched = self.next().await;
            let data = fetched.result.unwrap();
            if !data.records.is_empty() {
                return (fetched.slot, data);
            }
        }
    }

    /// The next error, and whose it is.
    async fn failure(&mut self) -> (u32, FetchFailure) {
        loop {
            let fetched = self.next().await;
            if let Err(failure) = fetched.result {
                return (fetched.slot, failure);
            }
        }
    }
}

fn texts(data: &Data) -> Vec<String> {
    values(&Payload::Memory(data.records.clone()))
}

fn end(data: &Data) -> i64 {
    let last = Batches::new(&data.records).last().unwrap().unwrap();
    let header = last.header();
    header.base_offset + i64::from(header.last_offset_delta) + 1
}

async fn cluster_with(nodes: u16, partitions: i32) -> Cluster {
    let cluster = start_nodes(nodes, &[("default.replication.factor", &nodes.to_string())]).await;
    Plain::of(&cluster).await.create_topic("t", partitions, &[]).await;
    cluster
}

/// Writes to whoever leads the partition.
async fn write(cluster: &Cluster, partition: i32, texts: &[&str]) {
    let leader = cluster.control().partition("t", partition).unwrap().0.unwrap();
    let mut plain = Plain::connect(cluster.addresses()[leader as usize - 1]).await;
    let told = produce(&mut plain, "t", partition, batch(texts)).await;
    assert_eq!(told.error_code, 0);
}

fn patient() -> FetcherConfig {
    FetcherConfig {
        max_wait: Duration::from_secs(15),
        ..Default::default()
    }
}

#[tokio::test]
async fn every_record_is_read_once_and_in_order() {
    let cluster = cluster_with(3, 6).await;
    let mut reading = Reading::new(
        client_of(&cluster),
        FetcherConfig {
            // So little that every answer has a batch or two.
            partition_max_bytes: 100,
            max_bytes: 400,
            ..patient()
        },
    );
    const BATCHES: usize = 30;
    for slot in 0..6 {
        reading.want(slot, 0);
    }
    let writing = async {
        for number in 0..BATCHES {
            for partition in 0..6 {
                write(&cluster, partition, &[&format!("{partition}-{number}"), "x"]).await;
            }
        }
    };
    let reads = async {
        let mut read: HashMap<u32, Vec<String>> = HashMap::new();
        while read.values().map(Vec::len).sum::<usize>() < 6 * 2 * BATCHES {
            let (slot, data) = reading.records().await;
            read.entry(slot).or_default().extend(texts(&data));
            reading.want(slot, end(&data));
        }
        read
    };
    let ((), read) = tokio::join!(writing, reads);
    for (slot, texts) in read {
        let expected: Vec<_> = (0..BATCHES).map(|number| format!("{slot}-{number}")).collect();
        assert!(texts.iter().step_by(2).eq(&expected), "slot {slot}: {texts:?}");
    }
}

#[tokio::test]
async fn what_becomes_wanted_does_not_wait_for_others() {
    let cluster = cluster_with(1, 4).await;
    for partition in 1..4 {
        write(&cluster, partition, &["x"]).await;
    }
    let mut reading = Reading::new(client_of(&cluster), patient());
    let began = Instant::now();
    // The log's ends are told at once, and only when they change.
    reading.want(0, 0);
    let news = reading.next().await;
    assert_eq!((news.slot, news.at), (0, 0));
    assert_eq!(news.result.unwrap().high_watermark, 0);
    for slot in 1..4 {
        reading.want(slot, 0);
        assert_eq!(reading.records().await.0, slot);
    }
    // It is at the end now, aside and with a poll out; then there is more, also of what was wanted before it.
    reading.want(3, 1);
    write(&cluster, 3, &["y"]).await;
    let (slot, data) = reading.records().await;
    assert_eq!((slot, data.high_watermark, data.log_start_offset), (3, 2, 0));
    write(&cluster, 0, &["z"]).await;
    assert_eq!(reading.records().await.0, 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn errors_that_do_not_pass_are_told_at_once() {
    let cluster = cluster_with(2, 2).await;
    write(&cluster, 0, &["a", "b"]).await;
    let mut reading = Reading::new(client_of(&cluster), FetcherConfig::default());
    reading.want(0, 7);
    let (slot, failure) = reading.failure().await;
    assert_eq!(
        (slot, failure.error.code()),
        (0, Some(ErrorCode::OffsetOutOfRange))
    );
    reading.fetcher.want(5, "none".into(), 0, 0, None);
    let (slot, failure) = reading.failure().await;
    assert_eq!(
        (slot, failure.error.code()),
        (5, Some(ErrorCode::UnknownTopicOrPartition))
    );
    cluster
        .control()
        .add_fault(Fault {
            error: Some("TOPIC_AUTHORIZATION_FAILED".to_owned()),
            topic: Some("t".to_owned()),
            ..fault(FaultKind::Error, "Fetch")
        })
        .unwrap();
    reading.want(1, 0);
    let (slot, failure) = reading.failure().await;
    assert_eq!(
        (slot, failure.error.code()),
        (1, Some(ErrorCode::TopicAuthorizationFailed))
    );
    cluster.control().clear_faults();
    reading.want(0, 0);
    assert_eq!(texts(&reading.records().await.1), ["a", "b"]);
}

#[tokio::test]
async fn a_log_that_went_another_way_is_told_by_its_epochs() {
    let cluster = cluster_with(2, 1).await;
    write(&cluster, 0, &["a", "b"]).await;
    let leader = cluster.control().partition("t", 0).unwrap().0.unwrap();
    cluster.control().move_leader("t", 0, 3 - leader).await.unwrap();
    write(&cluster, 0, &["c", "d"]).await;
    let mut reading = Reading::new(client_of(&cluster), FetcherConfig::default());
    reading.fetcher.want(0, "t".into(), 0, 2, Some(0));
    assert_eq!(texts(&reading.records().await.1), ["c", "d"]);
    reading.fetcher.want(0, "t".into(), 0, 3, Some(0));
    let (_, failure) = reading.failure().await;
    assert_eq!(failure.diverging, Some((0, 2)), "{failure:?}");
    assert!(matches!(failure.error, Error::Diverging { end_offset: 2, .. }));
}

#[tokio::test]
async fn what_passes_is_not_told() {
    let cluster = cluster_with(3, 3).await;
    let mut reading = Reading::new(client_of(&cluster), FetcherConfig::default());
    for slot in 0..3 {
        reading.want(slot, 0);
    }
    let mut ends = [0; 3];
    for round in 0..8 {
        let leader = cluster.control().partition("t", 0).unwrap().0.unwrap();
        let error = |code: &str| Fault {
            error: Some(code.to_owned()),
            count: Some(2),
            ..fault(FaultKind::Error, "Fetch")
        };
        let add = |fault| {
            cluster.control().add_fault(fault).unwrap();
        };
        match round {
            0 => cluster
                .control()
                .move_leader("t", 0, leader % 3 + 1)
                .await
                .unwrap(),
            1 => add(Fault {
                count: Some(3),
                ..fault(FaultKind::Cut, "Fetch")
            }),
            2 => add(error("NOT_LEADER_OR_FOLLOWER")),
            3 => add(error("FETCH_SESSION_ID_NOT_FOUND")),
            4 => add(error("INVALID_FETCH_SESSION_EPOCH")),
            5 => add(error("KAFKA_STORAGE_ERROR")),
            6 => cluster.control().stop_node(leader).await.unwrap(),
            _ => cluster
                .control()
                .start_node((1..=3).find(|node| *node != leader).unwrap_or(1))
                .await
                .unwrap_or(()),
        }
        for partition in 0..3 {
            write(&cluster, partition, &[&format!("{partition}-{round}")]).await;
        }
        for _ in 0..3 {
            let (slot, data) = reading.records().await;
            assert_eq!(texts(&data), [format!("{slot}-{round}")]);
            ends[slot as usize] += 1;
            assert_eq!(end(&data), ends[slot as usize]);
            reading.want(slot, ends[slot as usize]);
        }
    }
    assert_eq!(ends, [8; 3]);
}

#[tokio::test]
async fn what_does_not_pass_in_time_is_told() {
    let cluster = cluster_with(1, 1).await;
    let mut reading = Reading::new(made(hasty(cluster.addresses())), FetcherConfig::default());
    reading.want(0, 0);
    reading.next().await.result.unwrap();
    cluster.control().stop_node(1).await.unwrap();
    let began = Instant::now();
    let (_, failure) = reading.failure().await;
    assert!(failure.error.is_retriable(), "{failure:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_read_from_there() {
    let cluster = cluster_with(1, 1).await;
    write(&cluster, 0, &["old"]).await;
    let mut reading = Reading::new(client_of(&cluster), FetcherConfig::default());
    reading.want(0, 0);
    assert_eq!(texts(&reading.records().await.1), ["old"]);
    let mut plain = Plain::of(&cluster).await;
    let delete = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some("t".to_owned()),
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(plain.send(&delete).await.responses[0].error_code, 0);
    plain.create_topic("t", 1, &[]).await;
    write(&cluster, 0, &["new"]).await;
    reading.want(0, 0);
    assert_eq!(texts(&reading.records().await.1), ["new"]);
}

#[tokio::test]
async fn what_was_stopped_is_not_told() {
    let cluster = cluster_with(1, 2).await;
    let mut reading = Reading::new(client_of(&cluster), patient());
    reading.want(0, 0);
    reading.want(1, 0);
    for _ in 0..2 {
        reading.next().await.result.unwrap();
    }
    reading.fetcher.stop(0);
    write(&cluster, 0, &["x"]).await;
    write(&cluster, 1, &["y"]).await;
    assert_eq!(reading.records().await.0, 1);
    // It may be wanted again, by another name.
    reading.fetcher.want(7, "t".into(), 0, 0, None);
    assert_eq!(reading.records().await.0, 7);
    reading.fetcher.stop(7);
    reading.fetcher.stop(7);
}

/// TCP that counts what goes through it.
#[derive(Default)]
struct Counting {
    sent: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
}

struct Counted {
    inner: Box<dyn Stream>,
    sent: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
}

impl Transport for Counting {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let counted = Counted {
                inner: Tcp.connect(host, port).await?,
                sent: self.sent.clone(),
                received: self.received.clone(),
            };
            Ok(Box::new(counted) as Box<dyn Stream>)
        })
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.received
            .fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        outcome
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &outcome {
            self.sent.fetch_add(*written, Ordering::Relaxed);
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn idle_partitions_cost_nothing() {
    let cluster = cluster_with(1, 201).await;
    let counting = Arc::new(Counting::default());
    let client = Client::new(config(cluster.addresses()), counting.clone());
    let mut reading = Reading::new(client, patient());
    for slot in 0..=200 {
        reading.want(slot, 0);
    }
    let mut plain = Plain::of(&cluster).await;
    let id = id_of(&mut plain, "t").await;
    let mut worst = Duration::ZERO;
    let mut before = (0, 0);
    const WARM: i64 = 5;
    for number in 0..40 {
        if number == WARM {
            before = (
                counting.sent.load(Ordering::Relaxed),
                counting.received.load(Ordering::Relaxed),
            );
        }
        plain.send(&produce_request(id, 200, batch(&["x"]))).await;
        let began = Instant::now();
        let (slot, data) = reading.records().await;
        assert_eq!((slot, end(&data)), (200, number + 1));
        if number >= WARM {
            worst = worst.max(began.elapsed());
        }
        reading.want(200, number + 1);
    }
    assert!(worst < Duration::from_secs(2), "{worst:?}");
    let each =
        |counter: &AtomicUsize, before| (counter.load(Ordering::Relaxed) - before) / (40 - WARM as usize);
    let (sent, received) = (each(&counting.sent, before.0), each(&counting.received, before.1));
    // A full request has more than 7,000 bytes.
    assert!(
        sent < 400 && received < 600,
        "{sent} bytes sent and {received} received for each record"
    );
}

/// How soon a test's node has to have answered for what it told to count.
const LATELY: Duration = Duration::from_secs(1);

/// Waits until the log of partition 0 is known to end there, or until it is not known.
async fn ends(reading: &Reading, expected: Option<i64>) {
    soon(async {
        let told = || reading.fetcher.log_ends(0, LATELY);
        while told().map(|ends| ends.high_watermark) != expected {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn where_logs_end_is_known_without_a_question_as_long_as_their_leader_answers() {
    let cluster = cluster_with(1, 2).await;
    let config = FetcherConfig {
        max_wait: Duration::from_millis(100),
        ..FetcherConfig::default()
    };
    let mut reading = Reading::new(client_of(&cluster), config);
    assert_eq!(reading.fetcher.log_ends(0, LATELY), None, "nobody reads it");
    reading.want(0, 0);
    ends(&reading, Some(0)).await;
    write(&cluster, 0, &["a", "b"]).await;
    let (slot, data) = reading.records().await;
    assert_eq!((slot, end(&data)), (0, 2));
    assert_eq!(reading.fetcher.log_ends(0, LATELY), None, "nobody waits for more");
    reading.want(0, 2);
    ends(&reading, Some(2)).await;
    cluster
        .control()
        .add_fault(Fault {
            delay_ms: Some(3_600_000),
            ..fault(FaultKind::Delay, "Fetch")
        })
        .unwrap();
    ends(&reading, None).await;
}

#[tokio::test]
async fn who_does_not_take_what_was_read_gets_no_more() {
    let cluster = cluster_with(1, 50).await;
    let large = "x".repeat(50_000);
    for partition in 0..50 {
        write(&cluster, partition, &[&large]).await;
    }
    let counting = Arc::new(Counting::default());
    let client = Client::new(config(cluster.addresses()), counting.clone());
    let mut reading = Reading::new(
        client,
        FetcherConfig {
            max_bytes: 100_000,
            ..Default::default()
        },
    );
    for slot in 0..50 {
        reading.want(slot, 0);
    }
    // Until the answers stand still: two are in the channel, and one with each of the two who ask.
    let mut last = (0, Instant::now());
    soon(async {
        while last.0 == 0 || last.1.elapsed() < Duration::from_millis(300) {
            tokio::task::yield_now().await;
            let received = counting.received.load(Ordering::Relaxed);
            if received != last.0 {
                last = (received, Instant::now());
            }
        }
    })
    .await;
    assert!(last.0 < 6 * 160_000, "{}", last.0);
    let mut slots: Vec<_> = Vec::new();
    while slots.len() < 50 {
        slots.push(reading.records().await.0);
    }
    slots.sort_unstable();
    assert!(slots.into_iter().eq(0..50));
}
