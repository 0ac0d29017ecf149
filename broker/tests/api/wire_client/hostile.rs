//! Answers that are broken, by the thousand: an error each time, and never a panic or a wait without an end.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use heliostat_wire::{
    Payload, Uuid,
    client::{CoordinatorType, Error, Lane},
    message::{
        ApiKey, FetchRequest, FetchResponse, FindCoordinatorResponse, MetadataRequest, MetadataResponse,
        fetch::{FetchableTopicResponse, PartitionData},
        find_coordinator::Coordinator,
        metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
};

use super::{
    fake::{Answer, Asked, Fake, asks_versions, good, versions},
    hasty, made, soon,
};

const ROUNDS: u64 = 2_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

fn proper(asked: &Asked, port: i32) -> Answer {
    let all: Vec<_> = [ApiKey::Metadata, ApiKey::Fetch, ApiKey::FindCoordinator]
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
        config.reconnect_backoff = std::time::Duration::ZERO;
        config.request_timeout = std::time::Duration::from_millis(50);
        config.connect_timeout = std::time::Duration::from_millis(50);
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
