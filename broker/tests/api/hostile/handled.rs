//! Broken frames that the broker works on without a socket between, by the million: broken requests of every
//! kind, and produced batches whose checksum is right again, so that it is their records that are looked at.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes};
use heliostat_broker::{Cluster, ClusterConfig};
use heliostat_wire::{
    ErrorCode, Uuid,
    batch::BatchMut,
    builder::{BatchBuilder, NewRecord},
    compression::Compression,
    message::{ApiKey, CreateTopicsRequest, ProduceResponse, ResponseHeader, decode_message, encode_request},
    record::HeaderView,
};
use tokio::time::timeout;

use super::{
    frames::{Sample, good_frames},
    mutation::{Random, SEED, break_once, broken, count_panics},
};
use crate::{
    client::{Client, topic},
    records::{NOW, batch, fetch, id_of, produce, produce_request, values},
};

/// Frames that handlers work on, and how many of them are produced batches.
const FRAMES: usize = 1_000_000;
const BATCHES: usize = 250_000;

/// So many are worked on at a time: some wait, as a join waits for other members.
const WORKERS: usize = 32;

/// For how long one that waits is waited for. Then it is dropped, as when its client leaves.
const ANSWER_PATIENCE: Duration = Duration::from_millis(20);

/// Where a batch says how long it is, and from where on that counts.
const LENGTH_AT: usize = 8;
const LENGTH_FROM: usize = 12;

/// The versions of Produce.
const FIRST_VERSION: i16 = 3;
const VERSIONS: usize = 11;

/// Where broken batches go: a topic that no broken frame will name.
const TOPIC: &str = "broken-batches";

/// After so many frames the topic that all others name is made again, in case that one of them has deleted it.
const RENEWAL: usize = 1000;

/// How often each outcome came.
type Outcomes = BTreeMap<Option<i16>, usize>;

/// Good batches of many kinds.
fn good_batches() -> Vec<Vec<u8>> {
    let header = [HeaderView {
        key: b"h",
        value: Some(b"header"),
    }];
    let kinds = Compression::ALL.into_iter().flat_map(|codec| {
        let plain = BatchBuilder::new().compression(codec, None);
        let sequenced = BatchBuilder::new().compression(codec, None).producer(7, 0, 0);
        [plain, sequenced]
    });
    let fill = |mut builder: BatchBuilder| {
        for number in 0..5 {
            builder.push(NewRecord {
                timestamp: NOW + number,
                key: (number != 1).then_some(b"key"),
                value: (number != 2).then_some(b"a value, a value, a value"),
                headers: if number == 3 { &header } else { &[] },
            });
        }
        builder.build().unwrap()
    };
    kinds.map(fill).collect()
}

/// Breaks a batch, and then sets its length and its checksum right.
fn broken_batch(good: &[u8], random: &mut Random) -> Bytes {
    let mut batch = good.to_vec();
    for _ in 0..=random.below(3) {
        break_once(&mut batch, random);
    }
    if batch.len() > LENGTH_FROM {
        let length = i32::try_from(batch.len() - LENGTH_FROM).unwrap();
        batch[LENGTH_AT..LENGTH_FROM].copy_from_slice(&length.to_be_bytes());
    }
    if let Ok(mut batch) = BatchMut::parse(&mut batch) {
        batch.seal();
    }
    batch.into()
}

/// Produces a broken batch, and says what came of it; `None` if there was no answer.
async fn produce_broken(
    cluster: &Cluster,
    topic_id: Uuid,
    records: Bytes,
    random: &mut Random,
) -> Option<i16> {
    let version = FIRST_VERSION + random.below(VERSIONS) as i16;
    let mut request = produce_request(topic_id, random.below(2) as i32, records);
    request.topic_data[0].name = TOPIC.to_owned();
    request.acks = 1;
    let frame: Bytes = encode_request(&request, version, 7, None).ok()?.concat().into();
    let mut answer = timeout(ANSWER_PATIENCE, cluster.answer(frame.slice(4..)))
        .await
        .ok()??;
    answer.advance(4);
    ResponseHeader::decode(&mut answer, ApiKey::Produce, version).unwrap();
    let response: ProduceResponse = decode_message(answer, version).unwrap();
    Some(response.responses[0].partition_responses[0].error_code)
}

/// Creates the topic of the frames, if it is not there.
async fn create_again(cluster: &Cluster) {
    let request = CreateTopicsRequest {
        topics: vec![topic("t", 2, &[])],
        ..Default::default()
    };
    let frame = encode_request(&request, 7, 7, None).unwrap().concat();
    cluster.answer(Bytes::from(frame).slice(4..)).await;
}

/// Works until all frames are taken.
async fn work(
    cluster: Arc<Cluster>,
    frames: Arc<Vec<Sample>>,
    topic_id: Uuid,
    turns: Arc<AtomicUsize>,
    seed: u64,
) -> Outcomes {
    let batches = good_batches();
    let mut outcomes = Outcomes::new();
    loop {
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        if turn >= FRAMES {
            return outcomes;
        }
        if turn % RENEWAL == 1 {
            create_again(&cluster).await;
        }
        // Each frame follows from the seed and its turn, whoever works on it.
        let mut random = Random(seed ^ (turn as u64).rotate_left(20));
        if turn.is_multiple_of(FRAMES / BATCHES) {
            let records = broken_batch(&batches[random.below(batches.len())], &mut random);
            let outcome = produce_broken(&cluster, topic_id, records, &mut random).await;
            *outcomes.entry(outcome).or_default() += 1;
        } else {
            let sample = &frames[random.below(frames.len())];
            let frame = Bytes::from(broken(&sample.frame, &mut random).split_off(4));
            let _ = timeout(ANSWER_PATIENCE, cluster.answer(frame)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_broken_frames_and_batches_are_handled() {
    let seed: u64 = std::env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("{SEED}={seed}");
    let panics = count_panics();
    // What they change is written down each time: in memory, where the system has a place for it.
    let in_memory = tempfile::tempdir_in("/dev/shm");
    let directory = in_memory.or_else(|_| tempfile::tempdir()).unwrap();
    let cluster = started(directory.path()).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 2, &[]).await;
    client.create_topic(TOPIC, 2, &[]).await;
    let frames = Arc::new(good_frames(id_of(&mut client, "t").await));
    let (topic_id, turns) = (id_of(&mut client, TOPIC).await, Arc::new(AtomicUsize::new(0)));
    let cluster = Arc::new(cluster);
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (cluster, frames, turns) = (cluster.clone(), frames.clone(), turns.clone());
            tokio::spawn(work(cluster, frames, topic_id, turns, seed))
        })
        .collect();
    let mut outcomes = Outcomes::new();
    for worker in workers {
        for (outcome, times) in worker.await.unwrap() {
            *outcomes.entry(outcome).or_default() += times;
        }
    }
    assert_eq!(panics.load(Ordering::SeqCst), 0, "{SEED}={seed}");
    // Most get as far as their records: few are refused for their form or their checksum.
    let named: Vec<_> = outcomes
        .iter()
        .map(|(code, times)| (code.map(ErrorCode::from_code), times))
        .collect();
    eprintln!("{named:?}");
    let times = |code: ErrorCode| outcomes.get(&Some(code.code())).copied().unwrap_or(0);
    assert!(times(ErrorCode::None) > BATCHES / 100, "{named:?}, {SEED}={seed}");
    assert!(
        times(ErrorCode::InvalidRecord) > BATCHES / 10,
        "{named:?}, {SEED}={seed}"
    );
    assert!(
        times(ErrorCode::CorruptMessage) < BATCHES / 2,
        "{named:?}, {SEED}={seed}"
    );

    // Nothing of it has confused the broker, nor does it after a restart.
    client.create_topic("after", 1, &[]).await;
    let produced = produce(&mut client, "after", 0, batch(&["still", "here"])).await;
    assert_eq!(produced.error_code, 0, "{SEED}={seed}");
    drop(client);
    let cluster = Arc::into_inner(cluster).expect("nobody works on it any more");
    cluster.shutdown(Duration::from_secs(1)).await;
    let cluster = started(directory.path()).await;
    let mut client = Client::of(&cluster).await;
    let fetched = fetch(&mut client, "after", 0).await;
    assert_eq!(values(&fetched.records), ["still", "here"], "{SEED}={seed}");
}

async fn started(directory: &Path) -> Cluster {
    let properties = [
        ("auto.create.topics.enable", "false"),
        // Whether what is kept survives a power cut is not the question here.
        ("log.flush.policy", "os"),
    ];
    let config = ClusterConfig {
        data: Some(directory.to_owned()),
        properties: properties
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Default::default()
    };
    Cluster::start(config).await.unwrap()
}
