//! What built-in clusters tell in `/metrics`: quotas and who is kept waiting by them, the log cleaner, partitions whose disk is full.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use heliostat_wire::message::alter_client_quotas::{EntityData, EntryData, OpData};
use heliostat_wire::message::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, ApiKey, ResponseHeader, decode_message,
    encode_request,
};

use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::built_in::BuiltIn;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::ports::Ports;
use crate::support::rec::Rec;
use crate::support::{wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const ASKING: Duration = Duration::from_secs(10);
const TOPIC: &str = "orders";

/// Sets a quota of everybody with this client id.
#[track_caller]
fn limit(cluster: SocketAddr, client_id: &str, quota: &str, limit: f64) {
    let request = AlterClientQuotasRequest {
        entries: vec![EntryData {
            entity: vec![EntityData {
                entity_type: "client-id".to_owned(),
                entity_name: Some(client_id.to_owned()),
            }],
            ops: vec![OpData {
                key: quota.to_owned(),
                value: limit,
                remove: false,
            }],
        }],
        validate_only: false,
    };
    let frame = encode_request(&request, 1, 1, Some("test")).expect("a request that can be written");
    let mut stream = TcpStream::connect(cluster).expect("connect to the cluster");
    stream.set_read_timeout(Some(ASKING)).expect("set a limit");
    stream.write_all(&frame.concat()).expect("send a request");
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).expect("a whole answer");
    let mut answer = answer.into();
    ResponseHeader::decode(&mut answer, ApiKey::AlterClientQuotas, 1).expect("a header");
    let answer: AlterClientQuotasResponse = decode_message(answer, 1).expect("an answer that can be read");
    assert_eq!(answer.entries[0].error_code, 0, "{answer:?}");
}

fn records(count: usize) -> Vec<Rec> {
    (0..count)
        .map(|_| Rec {
            value: Some(vec![7; 1_000]),
            ..Rec::default()
        })
        .collect()
}

/// The value of the one series of a metric whose labels hold all of these texts.
fn value(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    metrics.lines().find_map(|line| {
        let (series, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let fits = series.starts_with('{') && labels.iter().all(|label| series.contains(label));
        fits.then(|| value.parse().expect("a number"))
    })
}

#[test]
fn clients_that_are_kept_waiting_show_with_their_quotas() {
    let ports = Ports::reserve(1);
    let http_address = ports.address();
    let cluster = BuiltIn::start(1, &["--http", &http_address.to_string()]);
    let address: SocketAddr = cluster.bootstrap().parse().expect("an address");
    let metrics = || {
        let answer = http::get(http_address, "/metrics", ASKING).expect("metrics");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };
    let before = metrics();
    assert!(!before.contains("heliostat_broker_quota"), "{before}");
    assert!(before.contains("heliostat_build_info"), "{before}");
    assert_eq!(
        value(&before, "heliostat_broker_read_only_partitions", &["broker"]),
        Some(0.0)
    );

    let client = Client::new(cluster.bootstrap());
    client.create_topic(TOPIC, 1, &[]);
    limit(address, "greedy", "producer_byte_rate", 5_000.0);
    limit(address, "hungry", "consumer_byte_rate", 6_000.0);
    limit(address, "busy", "request_percentage", 0.001);
    let named = |name| client.with(&[("client.id", name)]);
    named("greedy").produce(TOPIC, &records(100), Producing::default());
    let hungry = named("hungry").consumer();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Beginning)
        .expect("a valid offset");
    hungry.assign(&list).expect("assign");
    let busy = named("busy");
    for (client_id, quota, limit, seconds) in [
        ("greedy", "producer_byte_rate", 5_000.0, 0.1),
        ("hungry", "consumer_byte_rate", 6_000.0, 0.1),
        ("busy", "request_percentage", 0.001, 0.0),
    ] {
        let labels = [
            r#"cluster="broker""#.to_owned(),
            format!("quota=\"{quota}\""),
            r#"user="""#.to_owned(),
            format!("client_id=\"{client_id}\""),
        ];
        let labels = labels.each_ref().map(String::as_str);
        wait_for(LIMIT, &format!("{quota} shows, and that it was exceeded"), || {
            let _ = hungry.poll(Duration::ZERO);
            if client_id == "busy" {
                busy.partitions(TOPIC);
            }
            let now = metrics();
            let of = |name: &str| value(&now, &format!("heliostat_broker_quota_{name}"), &labels);
            // What a consumer was not given because of its quota does not count in its rate.
            let shows = of("limit") == Some(limit)
                && of("rate").is_some_and(|rate| client_id != "greedy" || rate > limit)
                && of("throttled_total").is_some_and(|times| times >= 1.0)
                && of("throttled_seconds_total").is_some_and(|total| total > seconds);
            shows.then_some(()).ok_or(now)
        });
    }
}

#[test]
fn a_partition_whose_disk_is_full_shows_until_there_is_room_and_compaction_is_counted() {
    let (source, ports) = (Ports::reserve(1), Ports::reserve(1));
    let topology = format!(
        "name: t\nlayout: active-standby\nclusters:\n  a: {{ built_in: {{ port: {} }} }}\n  b: {{ built_in: {{ port: {}, properties: {{ log.cleaner.backoff.ms: 50 }} }} }}\nprimary: a\nstandby: b\n",
        source.port(0),
        ports.port(0)
    );
    let daemon = Daemon::start(&topology);
    let client = Client::new(ports.address().to_string());
    client.create_topic(TOPIC, 1, &[]);
    client.create_topic(
        "keys",
        1,
        &[("cleanup.policy", "compact"), ("segment.bytes", "1048576")],
    );
    // Enough to fill a segment, which is the smallest that there may be: the last one is not compacted.
    let keyed: Vec<Rec> = records(1_500)
        .into_iter()
        .map(|record| Rec {
            key: Some(b"same".to_vec()),
            ..record
        })
        .collect();
    for some in keyed.chunks(300) {
        client.produce("keys", some, Producing::default());
    }
    wait_until(LIMIT, "compaction shows", || {
        let dropped = daemon.metric(r#"heliostat_broker_cleaner_dropped_records_total{cluster="b"}"#);
        let rounds = daemon.metric(r#"heliostat_broker_cleaner_rounds_total{cluster="b"}"#);
        dropped.is_some_and(|count| count > 0.0) && rounds.is_some_and(|count| count > 0.0)
    });

    let faults = "/api/v1/clusters/b/faults";
    let full = format!(r#"{{"kind":"full-disk","room_bytes":0,"topic":"{TOPIC}"}}"#);
    let added = http::post(daemon.http(), faults, &full, ASKING).expect("add a fault");
    assert_eq!(added.status, 201, "{}", added.body);
    // The producer tries again and again, until there is room.
    let producing = {
        let client = client.clone();
        std::thread::spawn(move || client.produce(TOPIC, &records(1), Producing::default()))
    };
    let count = || daemon.metric(r#"heliostat_broker_read_only_partitions{cluster="b"}"#);
    let series = format!(r#"{{cluster="b",topic="{TOPIC}",partition="0"}}"#);
    let series = format!("heliostat_broker_partition_read_only_since_seconds{series}");
    let since = || daemon.metric(&series);
    wait_for(LIMIT, "the partition shows as read-only", || {
        match (count(), since()) {
            (Some(1.0), Some(since)) if since > 1.7e9 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let id = added
        .body
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>();
    let removed = http::delete(daemon.http(), &format!("{faults}/{id}"), ASKING).expect("remove it");
    assert_eq!(removed.status, 200, "{}", removed.body);
    wait_until(LIMIT, "it takes records again", || {
        count() == Some(0.0) && since().is_none()
    });
    let written = producing.join().expect("the record is written");
    assert_eq!(written, [(0, 0)]);
}
