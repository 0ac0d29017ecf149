//! Brokers that know no topic ids, and brokers that know no fetch sessions.

use std::sync::{Arc, Mutex, OnceLock};

use heliostat_wire::{
    Payload,
    builder::{BatchBuilder, NewRecord},
    client::{Client, Fetcher, FetcherConfig},
    message::{
        ApiKey, FetchRequest, FetchResponse, MetadataResponse, decode_message,
        fetch::{FetchableTopicResponse, PartitionData},
        metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
};
use tokio::sync::mpsc;

use super::{
    config,
    fake::{Answer, Asked, Fake, asks_versions, good, versions},
    made, soon,
};

const PARTITIONS: i32 = 3;
const SESSION: i32 = 4711;

/// What the server has been asked, as session epoch and the partitions of the request.
type Seen = Arc<Mutex<Vec<(i32, i32, Vec<i32>)>>>;

fn metadata(port: u16) -> MetadataResponse {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 5,
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 5,
            host: "127.0.0.1".to_owned(),
            port: i32::from(port),
            rack: None,
        }],
        topics: vec![MetadataResponseTopic {
            name: Some("t".to_owned()),
            partitions: (0..PARTITIONS).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// One record at every offset that is named in the request, and nothing of what is not.
fn records(asked: &Asked, seen: &Seen) -> Answer {
    let request: FetchRequest = decode_message(asked.body.clone(), asked.header.api_version).unwrap();
    let named: Vec<_> = request
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .cloned()
        .collect();
    let indexes = named.iter().map(|partition| partition.partition).collect();
    seen.lock()
        .unwrap()
        .push((request.session_id, request.session_epoch, indexes));
    assert!(request.topics.iter().all(|topic| topic.topic == "t"));
    let data = named.iter().map(|partition| {
        let mut builder = BatchBuilder::new().base_offset(partition.fetch_offset);
        builder.push(NewRecord {
            value: Some(b"x"),
            ..Default::default()
        });
        PartitionData {
            partition_index: partition.partition,
            high_watermark: i64::MAX,
            records: Payload::Memory(builder.build().unwrap().into()),
            ..Default::default()
        }
    });
    let topic = FetchableTopicResponse {
        topic: "t".to_owned(),
        partitions: data.collect(),
        ..Default::default()
    };
    let aside = request.session_epoch < 0;
    let response = FetchResponse {
        session_id: if aside { 0 } else { SESSION },
        responses: vec![topic],
        ..Default::default()
    };
    good(asked, &response)
}

async fn server(fetch_max: i16, seen: Seen) -> Client {
    let port = Arc::new(OnceLock::new());
    let own = port.clone();
    let fake = Fake::start(move |asked| {
        if asks_versions(asked) {
            return good(
                asked,
                &versions(&[(ApiKey::Metadata, Some(8)), (ApiKey::Fetch, Some(fetch_max))]),
            );
        }
        match ApiKey::from_code(asked.header.api_key) {
            Some(ApiKey::Metadata) => good(asked, &metadata(*own.get().unwrap())),
            _ => records(asked, &seen),
        }
    })
    .await;
    port.set(fake.address.port()).unwrap();
    made(config(&[fake.address]))
}

#[tokio::test]
async fn topics_go_by_name_with_and_without_sessions() {
    for fetch_max in [4, 6, 7, 12, 18] {
        let seen = Seen::default();
        let client = server(fetch_max, seen.clone()).await;
        let (out, mut fetched) = mpsc::channel(1);
        let fetcher = Fetcher::new(client, FetcherConfig::default(), out);
        for slot in 0..PARTITIONS {
            fetcher.want(slot as u32, "t".into(), slot, 0, None);
        }
        let mut read = [0i64; PARTITIONS as usize];
        soon(async {
            while read.iter().any(|next| *next < 20) {
                for one in fetched.recv().await.unwrap() {
                    let next = &mut read[one.slot as usize];
                    assert_eq!(one.at, *next);
                    assert!(!one.result.unwrap().records.is_empty());
                    *next += 1;
                    fetcher.want(one.slot, "t".into(), one.slot as i32, *next, None);
                }
            }
        })
        .await;
        let seen = seen.lock().unwrap();
        if fetch_max < 7 {
            assert!(seen.iter().all(|seen| (seen.0, seen.1) == (0, -1)), "{seen:?}");
            continue;
        }
        // What is not asked aside is one session, whose epochs follow each other.
        let polls: Vec<_> = seen.iter().filter(|seen| seen.1 >= 0).collect();
        assert_eq!((polls[0].0, polls[0].1), (0, 0), "{polls:?}");
        for (poll, epoch) in polls[1..].iter().zip(1..) {
            assert_eq!((poll.0, poll.1), (SESSION, epoch));
        }
    }
}
