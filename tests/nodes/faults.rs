//! Every kind of fault by command: it is added, has its effect, is listed, and is gone when it is removed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heliostat_wire::builder::{BatchBuilder, NewRecord};
use heliostat_wire::message::produce::{PartitionProduceData, TopicProduceData};
use heliostat_wire::message::{
    ApiVersionsRequest, ProduceRequest, ProduceResponse, Request, ResponseHeader, decode_message,
    encode_request,
};

use super::{LIMIT, TOPIC, succeed};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::daemon::heliostat;
use crate::support::ports::Ports;
use crate::support::wait_until;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(20);
/// What slow requests and slow disks are told to take.
const SLOW: Duration = Duration::from_millis(300);
/// Kafka's numbers of NOT_ENOUGH_REPLICAS and KAFKA_STORAGE_ERROR.
const NOT_ENOUGH_REPLICAS: i16 = 19;
const KAFKA_STORAGE_ERROR: i16 = 56;

/// What shows that a fault is there.
enum Effect {
    /// A record is refused with this code.
    Refused(i16),
    /// A record takes so long.
    Slow,
    /// A request has no answer.
    Unanswered,
    /// A record is stamped with a time that is an hour ahead.
    Ahead,
}

/// Sends a request on a connection of its own; none if that ends without an answer.
fn ask<R: Request>(address: SocketAddr, request: &R, version: i16) -> Option<R::Response> {
    let frame = encode_request(request, version, 1, Some("test")).expect("a request that can be written");
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER)).expect("set a limit");
    stream.write_all(&frame.concat()).ok()?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).ok()?;
    let mut answer = answer.into();
    ResponseHeader::decode(&mut answer, R::KEY, version).expect("a header");
    Some(decode_message(answer, version).expect("an answer that can be read"))
}

/// Writes a record; the error code, and the time that it was stamped with.
fn write(address: SocketAddr) -> Option<(i16, i64)> {
    let mut batch = BatchBuilder::new();
    batch.push(NewRecord {
        timestamp: 1,
        key: None,
        value: Some(b"value"),
        headers: &[],
    });
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.to_owned(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: batch.build().expect("a batch").into(),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer: ProduceResponse = ask(address, &request, 9)?;
    let partition = &answer.responses[0].partition_responses[0];
    Some((partition.error_code, partition.log_append_time_ms))
}

fn asks_for_versions(address: SocketAddr) -> bool {
    let request = ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
    };
    ask(address, &request, 3).is_some()
}

#[track_caller]
fn assert_effect(address: SocketAddr, effect: &Effect, fault: &str) {
    let began = Instant::now();
    match effect {
        Effect::Refused(code) => {
            assert_eq!(write(address).map(|(code, _)| code), Some(*code), "{fault}");
        }
        Effect::Slow => {
            assert_eq!(write(address).map(|(code, _)| code), Some(0), "{fault}");
            assert!(began.elapsed() >= SLOW, "{fault}: {:?}", began.elapsed());
        }
        Effect::Unanswered => assert!(!asks_for_versions(address), "{fault}"),
        Effect::Ahead => {
            let (code, stamped) = write(address).expect("an answer");
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let ahead = stamped - now.expect("after 1970").as_millis() as i64;
            assert!(
                code == 0 && ahead > 3_500_000,
                "{fault}: {code}, {ahead} ms ahead"
            );
        }
    }
}

#[test]
fn every_kind_of_fault_is_added_and_removed_by_command() {
    let ports = Ports::reserve(1);
    let http = ports.address().to_string();
    let url = format!("http://{http}");
    let cluster = BuiltIn::start(1, &["--http", &http]);
    let address: SocketAddr = cluster.bootstrap().parse().expect("an address");
    let stamped = [("message.timestamp.type", "LogAppendTime")];
    Client::new(cluster.bootstrap()).create_topic(TOPIC, 1, &stamped);
    let run = |arguments: &str| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        succeed(heliostat(
            &[&["fault"], &arguments[..], &["--url", &url]].concat(),
            None,
        ))
    };
    let refused = Effect::Refused(KAFKA_STORAGE_ERROR);
    for (number, (fault, effect)) in (1..).zip([
        (
            "error --api Produce --error NOT_ENOUGH_REPLICAS --count 1",
            Effect::Refused(NOT_ENOUGH_REPLICAS),
        ),
        ("delay --delay 300ms --api Produce", Effect::Slow),
        ("cut --api ApiVersions", Effect::Unanswered),
        ("refuse --broker 1", Effect::Unanswered),
        ("slow-disk --delay 300ms --topic orders", Effect::Slow),
        ("clock --ahead 1h", Effect::Ahead),
        (
            "full-disk --room 0 --topic orders",
            Effect::Refused(KAFKA_STORAGE_ERROR),
        ),
        ("failed-fsync --topic orders", refused),
    ]) {
        assert_eq!(run(&format!("add {fault}")), format!("{number}\n"), "{fault}");
        assert_effect(address, &effect, fault);
        let listed = run("list");
        let line = listed
            .lines()
            .find(|line| line.contains(fault.split(' ').next().unwrap_or_default()));
        assert!(line.is_some(), "{fault}: {listed}");
        assert_eq!(
            run(&format!("remove {number}")),
            format!("fault {number} is removed\n")
        );
        assert_eq!(run("list").trim(), "no faults");
        // What a bad disk has made read-only is tried again after a second.
        wait_until(LIMIT, &format!("all is well after {fault}"), || {
            write(address).is_some_and(|(code, _)| code == 0) && asks_for_versions(address)
        });
    }
}
