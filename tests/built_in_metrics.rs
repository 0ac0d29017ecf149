//! What built-in clusters tell in `/metrics`: quotas and who is kept waiting by them, the log cleaner, partitions whose disk is full.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use heliostat_wire::message::alter_client_quotas::{EntityData, EntryData, OpData};
use heliostat_wire::message::{AlterClientQuotasRequest, encode_request};

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

/// Lets everybody whose client id is `greedy` produce so many bytes a second.
#[track_caller]
fn limit_produce(cluster: SocketAddr, bytes_per_second: f64) {
    let request = AlterClientQuotasRequest {
        entries: vec![EntryData {
            entity: vec![EntityData {
                entity_type: "client-id".to_owned(),
                entity_name: Some("greedy".to_owned()),
            }],
            ops: vec![OpData {
                key: "producer_byte_rate".to_owned(),
                value: bytes_per_second,
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
fn a_client_that_is_kept_waiting_shows_with_its_quota() {
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

    let client = Client::new(cluster.bootstrap()).with(&[("client.id", "greedy")]);
    client.create_topic(TOPIC, 1, &[]);
    limit_produce(address, 5_000.0);
    client.produce(TOPIC, &records(100), Producing::default());
    let greedy = [
        r#"cluster="broker""#,
        r#"quota="producer_byte_rate""#,
        r#"user="""#,
        r#"client_id="greedy""#,
    ];
    wait_until(LIMIT, "the quota shows, and that it was exceeded", || {
        let now = metrics();
        let of = |name: &str| value(&now, &format!("heliostat_broker_quota_{name}"), &greedy);
        of("limit") == Some(5_000.0)
            && of("rate").is_some_and(|rate| rate > 5_000.0)
            && of("throttled_total").is_some_and(|times| times >= 1.0)
            && of("throttled_seconds_total").is_some_and(|seconds| seconds > 0.1)
    });
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
