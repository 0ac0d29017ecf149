//! Answers that are broken, by the thousand: an error each time, and never a panic or a wait without an end.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use heliostat_wire::{
    Payload, Uuid,
    client::{Client, CoordinatorType, Error, Fetcher, FetcherConfig, Lane, Outgoing, Sender, SenderConfig},
    message::{
        ApiKey, FetchRequest, FetchResponse, FindCoordinatorResponse, MetadataRequest, MetadataResponse,
        ProduceResponse,
        fetch::{FetchableTopicResponse, PartitionData},
        find_coordinator::Coordinator,
        metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        produce::{PartitionProduceResponse, TopicProduceResponse},
    },
};
use tokio::sync::mpsc;

use super::{
    fake::{Answer, Asked, Fake, asks_versions, good, versions},
    hasty, made, soon,
};
use crate::hostile::mutation::Random;

const ROUNDS: u64 = 2_000;

fn proper(asked: &Asked, port: i32) -> Answer {
    let all: Vec<_> = [
        ApiKey::Metadata,
        ApiKey::Fetch,
        ApiKey::FindCoordinator,
        ApiKey::Produce,
    ]
    .iter()
    .map(|api| (*api, None))
    .collect();
    let host = || "127.0.0.1".to_owned();
    match ApiKey::from_code(asked.header.api_key).unwrap() {
        ApiKey::ApiVersions => good(asked, &versions(&all)),
        ApiKey::Metadata => good(
            asked,
            &MetadataResponse {
                brokers: vec![MetadataResponseBroker {
                    node_id: 1,
                    host: host(),
                    port,
                    rack: Some("r".to_owned()),
                }],
                controller_id: 1,
                topics: vec![MetadataResponseTopic {
                    name: Some("t".to_owned()),
                    topic_id: Uuid::from_bytes([7; 16]),
                    partitions: vec![MetadataResponsePartition {
                        leader_id: 1,
                        replica_nodes: vec![1],
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        ApiKey::FindCoordinator => good(
            asked,
            &FindCoordinatorResponse {
                coordinators: vec![Coordinator {
                    key: "g".to_owned(),
                    node_id: 1,
                    host: host(),
                    port,
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        ApiKey::Produce => good(
            asked,
            &ProduceResponse {
                responses: vec![TopicProduceResponse {
                    topic_id: Uuid::from_bytes([7; 16]),
                    partition_responses: vec![PartitionProduceResponse::default()],
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        _ => good(
            asked,
            &FetchResponse {
                responses: vec![FetchableTopicResponse {
                    topic_id: Uuid::from_bytes([7; 16]),
                    partitions: vec![PartitionData {
                        records: Payload::Memory(Bytes::from_static(&[1; 100])),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
    }
}

/// Breaks an answer: bytes anywhere, numbers likely to be lengths, its end, or nothing at all.
fn broken(answer: Answer, random: &mut Random) -> Answer {
    let (mut bytes, goes_on) = answer;
    // Sizes that promise more than comes only make the client wait until its time is out: few of them are enough.
    let from = if random.below(50) == 0 { 0 } else { 4 };
    for _ in 0..=random.below(3) {
        let at = from + random.below(bytes.len() - from);
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let number = [-1i32, i32::MAX, i32::MIN, 0x7fff, 0x00ff_ffff][random.below(5)].to_be_bytes();
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            _ => {
                bytes.truncate(at.max(8));
                let size = (bytes.len() - 4) as i32;
                bytes[..4].copy_from_slice(&size.to_be_bytes());
                return (bytes, random.below(2) == 0);
            }
        }
    }
    (bytes, goes_on)
}

fn no_panic<T>(outcome: Result<T, Error>) -> bool {
    if let Err(Error::Closed { reason, .. }) = &outcome {
        assert_ne!(&**reason, "its task died");
    }
    outcome.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_answers_are_errors() {
    let seed = Arc::new(AtomicU64::new(0));
    let (count, breaks_versions) = (seed.clone(), seed.clone());
    let fake = Fake::start(move |asked| {
        let mut random = Random(count.fetch_add(1, Ordering::Relaxed));
        // The port of the answer is whatever the request says: it is not connected to twice.
        let answer = proper(asked, 1);
        if asks_versions(asked) && random.below(8) > 0 {
            return answer;
        }
        broken(answer, &mut random)
    })
    .await;
    let mut outcomes = [0u32; 2];
    while breaks_versions.load(Ordering::Relaxed) < ROUNDS {
        let mut config = hasty(&[fake.address]);
        config.reconnect_backoff = Duration::ZERO;
        config.request_timeout = Duration::from_millis(50);
        config.connect_timeout = Duration::from_millis(50);
        let client = made(config);
        for _ in 0..4 {
            let fine = [
                no_panic(soon(client.any(MetadataRequest::default())).await),
                no_panic(soon(client.any(FetchRequest::default())).await),
                no_panic(soon(client.leader("t", 0)).await),
                no_panic(soon(client.metadata(&["t".to_owned()])).await),
            ];
            for fine in fine {
                outcomes[usize::from(fine)] += 1;
            }
        }
        no_panic(soon(client.coordinator(CoordinatorType::Group, "g")).await);
        no_panic(soon(client.to(1, Lane(1), MetadataRequest::default())).await);
    }
    assert!(outcomes[0] > 100 && outcomes[1] > 100, "{outcomes:?}");
}

/// Pipelines over answers that are broken: every batch is reported once, and what is wanted is told something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_answers_leave_no_batch_unreported() {
    let (count, port) = (AtomicU64::new(1 << 32), Arc::new(OnceLock::new()));
    let own = port.clone();
    let fake = Fake::start(move |asked| {
        let mut random = Random(count.fetch_add(1, Ordering::Relaxed));
        let answer = proper(asked, *own.get().unwrap());
        if matches!(
            ApiKey::from_code(asked.header.api_key),
            Some(ApiKey::ApiVersions | ApiKey::Metadata)
        ) {
            return answer;
        }
        broken(answer, &mut random)
    })
    .await;
    port.set(i32::from(fake.address.port())).unwrap();
    // Who asks again and again for a leader is kept waiting, so that a few rounds each are quicker than many of one.
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let mut config = hasty(&[fake.address]);
        config.reconnect_backoff = Duration::ZERO;
        config.reconnect_backoff_max = Duration::ZERO;
        config.request_timeout = Duration::from_millis(30);
        clients.spawn(rounds(made(config)));
    }
    let mut outcomes = [0; 3];
    while let Some(more) = soon(clients.join_next()).await {
        for (sum, more) in outcomes.iter_mut().zip(more.unwrap()) {
            *sum += more;
        }
    }
    assert!(
        outcomes.iter().all(|count| *count > 20),
        "{outcomes:?} acked, failed, read"
    );
}

/// How many batches were acknowledged, how many were not, and how often something was read.
async fn rounds(client: Client) -> [usize; 3] {
    let (out, mut reports) = mpsc::channel(1);
    let quick = SenderConfig {
        timeout: Duration::ZERO,
        ..Default::default()
    };
    let sender = Sender::new(client.clone(), quick, out);
    let (out, mut fetched) = mpsc::channel(1);
    let fetcher = Fetcher::new(client, FetcherConfig::default(), out);
    let mut outcomes = [0; 3];
    for round in 0..4 {
        sender.open(0, None);
        for tag in 0..3 {
            sender.send(Outgoing {
                slot: 0,
                topic: "t".into(),
                partition: 0,
                tag: round * 3 + tag,
                batch: Bytes::from_static(&[0; 80]),
            });
        }
        let mut tags = Vec::new();
        soon(async {
            while tags.len() < 3 {
                for report in reports.recv().await.unwrap() {
                    tags.push(report.tag);
                    outcomes[usize::from(report.result.is_err())] += 1;
                }
            }
        })
        .await;
        assert_eq!(tags, [round * 3, round * 3 + 1, round * 3 + 2]);
        fetcher.want(0, "t".into(), 0, 0, None);
        let told = soon(fetched.recv()).await.unwrap();
        outcomes[2] += told.iter().filter(|told| told.result.is_ok()).count();
    }
    outcomes
}
