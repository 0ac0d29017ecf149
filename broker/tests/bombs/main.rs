//! Requests that claim little and would grow to gigabytes, or claim gigabytes and hold nothing: refused, with memory bounded.
//!
//! A process of its own, so that its memory is only what these requests take.

#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "../api/client.rs"]
mod client;
mod groups;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use heliostat_wire::{
    ErrorCode, Uuid,
    batch::BatchMut,
    builder::{BatchBuilder, NewRecord},
    compression::{Compression, compress},
    message::{
        ApiKey, FindCoordinatorRequest, FindCoordinatorResponse, ProduceRequest, ProduceResponse,
        ResponseHeader, decode_message, encode_request,
        produce::{PartitionProduceData, TopicProduceData},
    },
    record::put_varint,
};
use tokio::io::AsyncWriteExt;

use client::{Client, PATIENCE, start};

const TOPIC: &str = "t";
const MIB: usize = 1 << 20;

/// What the bytes are that come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// No records at all.
    Zeros,
    /// One record, whose value is all there is.
    OneValue,
    /// One record, and then something else.
    Trailing,
    /// A batch that says it has as many records as a number can say, and has empty ones.
    Many,
}

const CONTENTS: [Content; 4] = [
    Content::Zeros,
    Content::OneValue,
    Content::Trailing,
    Content::Many,
];

impl Content {
    /// How it begins, what it goes on with, and how many records it promises.
    fn parts(self, size: usize) -> (Vec<u8>, Vec<u8>, i32) {
        let zeros = vec![0; MIB];
        match self {
            Content::Zeros => (Vec::new(), zeros, 1),
            Content::OneValue => {
                // Attributes, timestamp, offset, no key; the last zero is the number of headers.
                let mut body = vec![0, 0, 0, 1];
                put_varint(&mut body, i64::try_from(size - 1).unwrap());
                let mut record = Vec::new();
                put_varint(&mut record, i64::try_from(body.len() + size).unwrap());
                record.extend(body);
                (record, zeros, 1)
            }
            Content::Trailing => (vec![12, 0, 0, 0, 1, 1, 0], zeros, 1),
            // Their offsets are wrong, which is seen when they are read.
            Content::Many => (Vec::new(), [12, 0, 0, 0, 1, 1, 0].repeat(MIB / 7), i32::MAX),
        }
    }
}

/// A batch whose records come to about `size` bytes.
fn bomb(codec: Compression, content: Content, size: usize) -> Bytes {
    const HEADER_BYTES: usize = 61;
    let (beginning, unit, count) = content.parts(size);
    let times = size / unit.len();
    let packed = |bytes: &[u8]| compress(codec, None, bytes).unwrap();
    let (first, next) = (packed(&beginning), packed(&unit));
    let payload = match codec {
        // Both are what follows of each other.
        Compression::Gzip | Compression::Zstd => [first, next.repeat(times)].concat(),
        Compression::Snappy => [first, next[16..].repeat(times)].concat(),
        Compression::Lz4 => {
            // A header of 7 bytes, and an end mark of 4, between which there are blocks.
            let blocks = |frame: &[u8]| frame[7..frame.len() - 4].to_vec();
            [&next[..7], &blocks(&first), &blocks(&next).repeat(times), &[0; 4]].concat()
        }
        Compression::None => unreachable!("it does not grow"),
    };
    let mut builder = BatchBuilder::new();
    builder.push(NewRecord::default());
    let mut batch = builder.build().unwrap();
    batch.truncate(HEADER_BYTES);
    batch.extend(payload);
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[21..23].copy_from_slice(&codec.id().to_be_bytes());
    batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    BatchMut::parse(&mut batch).unwrap().seal();
    batch.into()
}

async fn produce(address: SocketAddr, topic_id: Uuid, records: Bytes) -> (ErrorCode, String) {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            topic_id,
            partition_data: vec![PartitionProduceData { index: 0, records }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut client = Client::connect(address).await;
    let response: ProduceResponse = client.send(&request).await;
    let partition = &response.responses[0].partition_responses[0];
    let message = partition.error_message.clone().unwrap_or_default();
    (ErrorCode::from_code(partition.error_code), message)
}

/// The most memory that this process has had at a time.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// What this process has at the moment.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A request of half a megabyte, whose answer takes thirty times as much.
fn much() -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        // There is no such type, and each key is told so.
        key_type: 9,
        coordinator_keys: vec!["k".to_owned(); 250_000],
        ..Default::default()
    }
}

/// One test after the other: each looks at the memory of the process.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_ask_for_much_and_do_not_read_take_bounded_memory_and_keep_nobody_waiting() {
    const SILENT: usize = 72;
    // 128 MiB of answers on their way, four that are being made (50 MiB each), the requests (36 MiB), the answer that is
    // read here, and what an allocator keeps. Without a bound the answers alone would take 72 times 15 MB.
    const BYTES_MAX: usize = 512 * MIB;
    let _alone = ALONE.lock().await;
    let cluster = start(&[]).await;
    let address = cluster.addresses()[0];
    let mut healthy = Client::connect(address).await;
    healthy.create_topic(TOPIC, 1, &[]).await;
    // Made before and read afterwards: only what the broker takes is counted.
    let request = encode_request(&much(), 6, 1, Some("test")).unwrap().concat();
    let before = resident_bytes();
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        let mut client = Client::connect(address).await;
        client.stream.write_all(&request).await.unwrap();
        silent.push(client);
    }
    // Who asks for little is not affected; who asks for much and reads gets it when those that do not were cut.
    let mut patient = Client::connect(address).await;
    patient.stream.write_all(&request).await.unwrap();
    let asked = tokio::spawn(async move { patient.read_frame().await });
    let (mut most, mut slowest) = (0, Duration::ZERO);
    while !asked.is_finished() {
        let began = Instant::now();
        assert_eq!(healthy.metadata(&[TOPIC]).await.topics[0].error_code, 0);
        slowest = slowest.max(began.elapsed());
        most = most.max(resident_bytes().saturating_sub(before));
    }
    let mut answer = asked.await.unwrap().expect("the connection was closed");
    ResponseHeader::decode(&mut answer, ApiKey::FindCoordinator, 6).unwrap();
    let answer: FindCoordinatorResponse = decode_message(answer, 6).unwrap();
    assert_eq!(answer.coordinators.len(), 250_000);
    eprintln!("{} MiB, the slowest small answer took {slowest:?}", most / MIB);
    assert!(most < BYTES_MAX, "{} MiB", most / MIB);
    assert!(slowest < PATIENCE / 2, "{slowest:?}");
}

/// A frame that says which request it is, and then holds this.
async fn send_raw(address: SocketAddr, api: i16, version: i16, rest: &[u8]) -> Option<Bytes> {
    let mut frame = [api.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend([0, 0, 0, 1, 0xff, 0xff]);
    frame.extend(rest);
    let mut client = Client::connect(address).await;
    let size = u32::try_from(frame.len()).unwrap().to_be_bytes();
    client
        .stream
        .write_all(&[&size[..], &frame].concat())
        .await
        .unwrap();
    client.read_frame().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_grow_to_gigabytes_is_refused_and_takes_little_memory() {
    use Compression::{Gzip, Lz4, Snappy, Zstd};
    let _alone = ALONE.lock().await;
    let cluster = start(&[]).await;
    let address = cluster.addresses()[0];
    let mut client = Client::connect(address).await;
    let configs = [("max.message.bytes", "80000000")];
    client.create_topic(TOPIC, 1, &configs).await;
    let topic_id = client.metadata(&[TOPIC]).await.topics[0].topic_id;
    let mut bombs = Vec::new();
    for codec in [Gzip, Snappy, Lz4, Zstd] {
        for content in CONTENTS {
            // Snappy makes at most 21 bytes of one.
            let size = if codec == Snappy { 512 * MIB } else { 1 << 30 };
            bombs.push((codec, content, bomb(codec, content, size)));
        }
    }
    let before = peak_bytes();
    let sent = bombs.into_iter().map(|(codec, content, records)| {
        tokio::spawn(async move { (codec, content, produce(address, topic_id, records).await) })
    });
    for answer in sent.collect::<Vec<_>>() {
        let (codec, content, (error, message)) = answer.await.unwrap();
        // What is no batch of records is so for Kafka too. The other two it would read to their ends.
        let expected = match content {
            Content::Zeros | Content::Trailing => ErrorCode::InvalidRecord,
            Content::OneValue | Content::Many => ErrorCode::MessageTooLarge,
        };
        assert_eq!(error, expected, "{codec} {content:?}: {message}");
    }
    claims(address).await;
    let grown = peak_bytes() - before;
    // The requests are there twice, one batch may be decompressed to 256 MiB, and others to 8 MiB each. Together they
    // would have come to 14 GiB.
    assert!(grown < 768 * MIB, "{grown} bytes");
    let end = client.metadata(&[TOPIC]).await;
    assert_eq!(end.topics[0].error_code, 0);
}

/// Frames that claim to hold more than they do, and such as hold very many small things.
async fn claims(address: SocketAddr) {
    const METADATA: (i16, i16) = (3, 13);
    const API_VERSIONS: (i16, i16) = (18, 4);
    const ADD_PARTITIONS_TO_TXN: (i16, i16) = (24, 5);
    const HUGE: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let no_tags = [0].as_slice();
    let many_tags: Vec<u8> = (0..1 << 20).fold(vec![0x80, 0x80, 0x40], |mut tags, tag: u32| {
        // The number of the tag in three bytes, and its length.
        tags.extend([
            tag as u8 | 0x80,
            (tag >> 7) as u8 | 0x80,
            (tag >> 14) as u8 & 0x7f,
            0,
        ]);
        tags
    });
    let million = [0x81, 0x80, 0x40].as_slice();
    let cases: [(&str, (i16, i16), Vec<u8>); 9] = [
        ("tags in the header", METADATA, HUGE.to_vec()),
        ("a tag of that length", METADATA, [&[1, 9], &HUGE[..]].concat()),
        ("a tag that is cut short", METADATA, vec![1, 9, 5, 0]),
        ("topics", METADATA, [no_tags, &HUGE].concat()),
        (
            "a topic's name",
            METADATA,
            [no_tags, &[2], &[0; 16], &HUGE].concat(),
        ),
        ("a text", API_VERSIONS, [no_tags, &HUGE].concat()),
        (
            "tags at the end",
            API_VERSIONS,
            [no_tags, &[2, b'a', 2, b'b'], &HUGE].concat(),
        ),
        ("transactions", ADD_PARTITIONS_TO_TXN, [no_tags, &HUGE].concat()),
        // A million transactions whose texts are cut short.
        (
            "what is in them",
            ADD_PARTITIONS_TO_TXN,
            [no_tags, million, &[1; 1 << 20]].concat(),
        ),
    ];
    for (what, (api, version), rest) in cases {
        assert_eq!(send_raw(address, api, version, &rest).await, None, "{what}");
    }
    // Kafka would keep them; nobody asks for them.
    let rest = [&many_tags[..], &[2, b'a', 2, b'b', 0]].concat();
    let answer = send_raw(address, API_VERSIONS.0, API_VERSIONS.1, &rest).await;
    assert!(answer.is_some_and(|answer| answer.len() > 100));
}
