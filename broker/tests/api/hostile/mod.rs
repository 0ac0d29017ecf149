//! Clients that mean harm: frames that are nearly right, requests that ask for too much, connections that are left.

pub mod frames;
mod handled;
pub mod mutation;
mod repeated;
mod transactions;

use std::time::Instant;

use bytes::Bytes;
use heliostat_wire::{
    ErrorCode,
    batch::BatchMut,
    builder::{BatchBuilder, NewRecord},
    compression::Compression,
    message::{
        DeleteTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest, delete_topics::DeleteTopicState,
        produce::PartitionProduceData,
    },
};
use tokio::net::TcpStream;

use crate::{
    client::{Client, PATIENCE, start, topic},
    records::{NOW, from_offset, id_of},
};

/// A fetch that waits for as long as the protocol can say, for records that will never come.
async fn endless_fetch(client: &mut Client, topic: &str) -> FetchRequest {
    let topic_id = id_of(client, topic).await;
    FetchRequest {
        max_wait_ms: i32::MAX,
        min_bytes: i32::MAX,
        ..crate::records::fetch_request(topic_id, vec![from_offset(0, 0)])
    }
}

/// Waits until a cluster that is full takes another client.
async fn wait_for_a_place(cluster: &heliostat_broker::Cluster) {
    let began = Instant::now();
    loop {
        let mut next = Client::of(cluster).await;
        next.write(&MetadataRequest::default(), 9).await;
        if next.read_frame().await.is_some() {
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "the place of a client that has gone is not given back"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_fetch_ends_with_its_client() {
    let cluster = start(&[("max.connections", "1")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let fetch = endless_fetch(&mut client, "t").await;
    client.write(&fetch, 17).await;
    drop(client);
    wait_for_a_place(&cluster).await;
}

#[tokio::test]
async fn a_fetch_ends_with_its_client_also_if_that_has_sent_more() {
    let cluster = start(&[("max.connections", "1")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let fetch = endless_fetch(&mut client, "t").await;
    for _ in 0..200 {
        client.write(&fetch, 17).await;
    }
    drop(client);
    wait_for_a_place(&cluster).await;
}

#[tokio::test]
async fn a_fetch_waits_no_longer_than_a_connection_may_be_idle() {
    let cluster = start(&[("connections.max.idle.ms", "2000")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let fetch = endless_fetch(&mut client, "t").await;
    let response = client.send_version(&fetch, 17).await;
    assert_eq!(response.error_code, 0);
}

#[tokio::test]
async fn a_response_names_no_more_bad_records_than_it_can_hold() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client
        .create_topic("t", 3, &[("message.timestamp.before.max.ms", "1000")])
        .await;
    let mut builder = BatchBuilder::new().compression(Compression::Zstd, None);
    for _ in 0..800 {
        builder.push(NewRecord {
            timestamp: NOW,
            ..NewRecord::default()
        });
    }
    let records = Bytes::from(builder.build().unwrap());
    let mut request: ProduceRequest =
        crate::records::produce_request(id_of(&mut client, "t").await, 0, Bytes::new());
    let partitions = (0..3).map(|index| PartitionProduceData {
        index,
        records: records.clone(),
    });
    request.topic_data[0].partition_data = partitions.collect();
    let response = client.send(&request).await;
    let partitions = &response.responses[0].partition_responses;
    assert!(
        partitions
            .iter()
            .all(|partition| partition.error_code == ErrorCode::InvalidTimestamp.code())
    );
    let named: Vec<_> = partitions
        .iter()
        .map(|partition| partition.record_errors.len())
        .collect();
    assert_eq!((named[0], named[1], named[2]), (800, 200, 0));
}

#[tokio::test]
async fn a_batch_that_promises_more_records_than_it_has_is_refused() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new().compression(codec, None);
        builder.push(NewRecord::default());
        let mut batch = builder.build().unwrap();
        batch[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
        batch[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
        BatchMut::parse(&mut batch).unwrap().seal();
        let produced = crate::records::produce(&mut client, "t", 0, batch.into()).await;
        assert_eq!(
            produced.error_code,
            ErrorCode::InvalidRecord.code(),
            "{codec}: {:?}",
            produced.error_message
        );
    }
}

/// A batch of a few kilobytes whose records decompress to more than any batch may.
fn bomb() -> Bytes {
    const HEADER_BYTES: usize = 61;
    const ATTRIBUTES_LOW_BYTE: usize = 22;
    let mut builder = BatchBuilder::new();
    builder.push(NewRecord::default());
    let mut batch = builder.build().unwrap();
    batch.truncate(HEADER_BYTES);
    let zeros = vec![0; heliostat_broker::log::MAX_DECOMPRESSED_BYTES + 1];
    batch.extend_from_slice(&heliostat_wire::compression::compress(Compression::Zstd, None, &zeros).unwrap());
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[ATTRIBUTES_LOW_BYTE] |= Compression::Zstd as u8;
    BatchMut::parse(&mut batch).unwrap().seal();
    batch.into()
}

#[tokio::test]
async fn a_bomb_is_refused_and_others_are_served_meanwhile() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let request: ProduceRequest = crate::records::produce_request(id_of(&mut client, "t").await, 0, bomb());
    let mut attackers = Vec::new();
    for _ in 0..3 {
        let mut attacker = Client::of(&cluster).await;
        attacker.write(&request, 13).await;
        attackers.push(attacker);
    }
    let good = crate::records::batch(&["still", "served"]);
    let produced = crate::records::produce(&mut client, "t", 0, good).await;
    assert_eq!(produced.error_code, 0, "{:?}", produced.error_message);
    for attacker in &mut attackers {
        let response = attacker.read::<ProduceRequest>(13).await;
        let code = response.responses[0].partition_responses[0].error_code;
        // What it grows to is no record.
        assert_eq!(code, ErrorCode::InvalidRecord.code());
    }
}

#[tokio::test]
async fn a_topic_may_be_created_while_it_is_deleted() {
    const ROUNDS: usize = 40;
    let cluster = start(&[]).await;
    let mut deleter = Client::of(&cluster).await;
    let mut creator = Client::of(&cluster).await;
    creator.create_topic("t", 5, &[]).await;
    for _ in 0..ROUNDS {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some("t".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        };
        deleter.write(&request, 6).await;
        let created = loop {
            let request = heliostat_wire::message::CreateTopicsRequest {
                topics: vec![topic("t", 5, &[])],
                ..Default::default()
            };
            let code = creator.send(&request).await.topics[0].error_code;
            if code != ErrorCode::TopicAlreadyExists.code() {
                break code;
            }
        };
        assert_eq!(created, 0);
        deleter.read::<DeleteTopicsRequest>(6).await;
    }
}

#[tokio::test]
async fn connections_that_are_broken_off_leave_nothing() {
    let cluster = start(&[]).await;
    let files = || std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count());
    let before = files();
    for turn in 0..2000u32 {
        let stream = TcpStream::connect(cluster.addresses()[0]).await.unwrap();
        let part = [0, 0, 1, 0, 0, 3];
        let _ = stream.try_write(&part[..turn as usize % part.len()]);
    }
    let began = Instant::now();
    // Other tests of this process have connections too.
    while files() > before + 500 {
        assert!(began.elapsed() < PATIENCE, "{} files, {before} before", files());
        tokio::task::yield_now().await;
    }
}

/// Flexible versions could say longer texts than classic ones; what one client says must not be more than the others can be
/// told.
#[tokio::test]
async fn a_name_that_older_clients_could_not_be_told_is_refused() {
    use heliostat_wire::message::{JoinGroupRequest, ListGroupsRequest};
    let cluster = start(&[]).await;
    for (length, is_taken) in [(32_767, true), (32_768, false)] {
        let mut client = Client::of(&cluster).await;
        let join = JoinGroupRequest {
            group_id: "g".repeat(length),
            session_timeout_ms: 10_000,
            protocol_type: "consumer".to_owned(),
            ..Default::default()
        };
        client.write(&join, 9).await;
        assert_eq!(client.read_frame().await.is_some(), is_taken, "{length} bytes");
    }
    let mut client = Client::of(&cluster).await;
    let listed = client.send_version(&ListGroupsRequest::default(), 0).await;
    assert_eq!(listed.groups.len(), 1);
}
