//! What hostile, slow and idle clients can do: nothing to the others.

use std::time::{Duration, Instant};

use heliostat_wire::message::{ApiVersionsRequest, MetadataRequest};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::client::{Client, PATIENCE, start};

#[tokio::test]
async fn frames_that_are_no_requests_end_the_connection() {
    let cluster = start(&[]).await;
    let hostile: [&[u8]; 6] = [
        &[0xff, 0xff, 0xff, 0xff],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0],
        &[0, 0, 0, 3, 0, 3, 0],
        // Metadata version 9 with two thousand million topics.
        &[
            0, 0, 0, 16, 0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x07,
        ],
        // Metadata version 4 with as many.
        &[
            0, 0, 0, 14, 0, 3, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff,
        ],
    ];
    for bytes in hostile {
        let mut client = Client::of(&cluster).await;
        client.stream.write_all(bytes).await.unwrap();
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.read_frame().await, None, "{bytes:?}");
    }
    let mut client = Client::of(&cluster).await;
    assert_eq!(client.metadata(&[]).await.brokers.len(), 1);
}

#[tokio::test]
async fn requests_that_come_at_once_are_answered_in_order() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    for _ in 0..50 {
        client.write(&ApiVersionsRequest::default(), 2).await;
        client.write(&MetadataRequest::default(), 1).await;
    }
    for correlation_id in 1..=100i32 {
        let frame = client.read_frame().await.unwrap();
        assert_eq!(frame[..4], correlation_id.to_be_bytes());
    }
}

#[tokio::test]
async fn a_request_may_arrive_byte_by_byte() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let frame = heliostat_wire::message::encode_request(&MetadataRequest::default(), 9, 1, Some("slow"))
        .unwrap()
        .concat();
    for byte in frame {
        client.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(client.read_frame().await.is_some());
}

/// The slow one sends more than a line from far away would bring, all the time, and would need minutes for all of it.
#[tokio::test]
async fn who_takes_all_room_for_a_request_and_sends_it_slowly_gives_way() {
    const ROOM: usize = 16 << 20;
    let room = ROOM.to_string();
    let properties = [
        ("queued.max.request.bytes", room.as_str()),
        ("auto.create.topics.enable", "false"),
    ];
    let cluster = start(&properties).await;
    let mut slow = Client::of(&cluster).await;
    let announced = u32::try_from(ROOM).unwrap().to_be_bytes();
    slow.stream.write_all(&announced).await.unwrap();
    let sending = tokio::spawn(async move {
        let mut turns = tokio::time::interval(Duration::from_millis(50));
        loop {
            turns.tick().await;
            if slow.stream.write_all(&[0; 8 << 10]).await.is_err() {
                return;
            }
        }
    });
    let mut other = Client::of(&cluster).await;
    let names: Vec<String> = (0..2_000)
        .map(|number| format!("a-topic-number-{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(other.metadata(&names).await.topics.len(), names.len());
    timeout(PATIENCE, sending).await.expect("it is cut").unwrap();
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let cluster = start(&[("connections.max.idle.ms", "50")]).await;
    let mut client = Client::of(&cluster).await;
    assert_eq!(client.metadata(&[]).await.brokers.len(), 1);
    let began = Instant::now();
    assert_eq!(client.read_frame().await, None);
    assert!(began.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_at_once() {
    let cluster = start(&[("max.connections", "1")]).await;
    let mut first = Client::of(&cluster).await;
    assert_eq!(first.metadata(&[]).await.brokers.len(), 1);
    let mut second = Client::of(&cluster).await;
    assert_eq!(second.read_frame().await, None);
    assert_eq!(first.metadata(&[]).await.brokers.len(), 1);
}
