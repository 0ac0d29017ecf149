//! Sources of long ago: one whose Fetch is of before version 12, so that its answers do not say that the log is another one than was read, and
//! logs with the message formats of before Kafka 0.11.

use std::time::Duration;

use crate::support::built_in::BuiltIn;
use crate::support::clients::{Client, Producing};
use crate::support::cut_back::cut_back;
use crate::support::daemon::Daemon;
use crate::support::kafka::Kafka;
use crate::support::rec::Rec;
use crate::support::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

const TOPIC: &str = "orders";
const MIRROR: &str = "source.orders";

/// How the built-in cluster says which versions of Fetch it has, and how Kafka 2.6 does: the API, the first and the last version, no tags.
const FETCH: [u8; 7] = [0, 1, 0, 4, 0, 18, 0];
const OLD_FETCH: [u8; 7] = [0, 1, 0, 4, 0, 11, 0];

/// How many go together: a log is cut between batches.
const BATCH: usize = 8;

fn write(client: &Client, name: &str, count: usize) {
    let records: Vec<Rec> = (0..count)
        .map(|number| Rec::new(0, None, Some(format!("{name} {number}").as_bytes())))
        .collect();
    for batch in records.chunks(BATCH) {
        client.produce(TOPIC, batch, Producing::default());
    }
}

fn text(value: Option<Vec<u8>>) -> Option<String> {
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

fn values(client: &Client, topic: &str) -> Vec<String> {
    let records = client.read(topic).into_iter();
    records
        .map(|record| text(record.value).unwrap_or_default())
        .collect()
}

/// Waits until the daemon has copied all that the source has now.
#[track_caller]
fn wait_copied(source: &Client, daemon: &Daemon) {
    let end = source.end_offsets(TOPIC)[0];
    wait_for(LIMIT, "all is copied", || {
        let found = daemon.flow("source->target").partitions;
        match found.first() {
            Some(found) if found.position == Some(end) => Ok(()),
            found => Err(format!("not up to {end}: {found:?}")),
        }
    });
}

#[test]
fn a_log_that_was_cut_back_and_grew_again_between_two_fetches_is_copied_from_where_it_was_cut() {
    let (mut source, line) = BuiltIn::start_behind(&["--config", "log.flush.policy=os"]);
    line.rewrite(Some((&FETCH, &OLD_FETCH)));
    let target = BuiltIn::start(1, &["--config", "group.min.session.timeout.ms=1000"]);
    let [from, to] = [source.bootstrap(), target.bootstrap()].map(Client::new);
    from.create_topic(TOPIC, 1, &[]);
    write(&from, "before", 60);
    let daemon = Daemon::start(&format!(
        "name: old\nlayout: custom\nclusters:\n  \
           source: {{ bootstrap_servers: \"{}\" }}\n  \
           target: {{ bootstrap_servers: \"{}\" }}\n\
         flows: [{{ name: source->target, session_timeout: 1s, discovery_interval: 200ms }}]\n",
        line.address(),
        target.bootstrap()
    ));
    wait_copied(&from, &daemon);
    let before = values(&to, MIRROR);
    assert_eq!(before.len(), 60);

    // The daemon sees nothing of what happens meanwhile, and its group nothing of that.
    line.stall(true);
    source.stop();
    let cut = cut_back(&source.data(), TOPIC, 0, 36);
    source.restart();
    write(&from, "after", 60);
    line.stall(false);
    wait_copied(&from, &daemon);
    let now = values(&from, TOPIC);
    let wanted: Vec<String> = before
        .into_iter()
        .chain(now[cut as usize..].iter().cloned())
        .collect();
    wait_for(
        LIMIT,
        "the mirror has what replaced the end of the log",
        || match values(&to, MIRROR) {
            found if found == wanted => Ok(()),
            found => Err(format!("it has {found:?}")),
        },
    );
    assert!(daemon.log().contains("cut back"), "{}", daemon.log());
}

/// A time before this format of records was there.
const LONG_AGO: i64 = 1_400_000_000_000;

/// A message as Kafka wrote it until 0.9 (format 0, without a timestamp) or 0.10 (format 1).
fn message(offset: i64, timestamp: Option<i64>, key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut content = vec![u8::from(timestamp.is_some()), 0];
    content.extend(timestamp.into_iter().flat_map(i64::to_be_bytes));
    for field in [Some(key), value] {
        let length = field.map_or(-1, |field| field.len() as i32);
        content.extend(length.to_be_bytes());
        content.extend(field.unwrap_or_default());
    }
    let size = content.len() as i32 + 4;
    let head = [
        &offset.to_be_bytes()[..],
        &size.to_be_bytes(),
        &crc32(&content).to_be_bytes(),
    ];
    [&head.concat()[..], &content].concat()
}

/// CRC-32 as of zip files, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    })
}

#[test]
fn records_of_message_formats_0_and_1_below_a_kafka_of_today_are_copied_exactly_once() {
    let Some(mut source) = Kafka::start("records of long ago", &[]) else {
        return;
    };
    let target = BuiltIn::start(1, &["--config", "group.min.session.timeout.ms=1000"]);
    let [from, to] = [source.bootstrap(), target.bootstrap()].map(Client::new);
    from.create_topic(TOPIC, 1, &[]);
    source.stop();
    // With holes, as compaction left them, and a null at the end of each format.
    let old = |offset: i64| {
        let timestamp = (offset >= 30).then_some(LONG_AGO + offset);
        let value = format!("long ago {offset}");
        let value = (offset % 30 != 28).then_some(value.as_bytes());
        message(offset, timestamp, b"key", value)
    };
    let segment: Vec<u8> = (0..60).step_by(2).flat_map(old).collect();
    let log = source.data().join(format!("{TOPIC}-0/00000000000000000000.log"));
    std::fs::write(&log, segment).expect("write a segment");
    for index in ["index", "timeindex"] {
        let _ = std::fs::remove_file(log.with_extension(index));
    }
    source.restart();
    assert_eq!(from.end_offsets(TOPIC), [59]);
    write(&from, "today", 20);

    let mut daemon = Daemon::start(&format!(
        "name: old\nlayout: custom\nclusters:\n  \
           source: {{ bootstrap_servers: \"{}\" }}\n  \
           target: {{ bootstrap_servers: \"{}\" }}\n\
         flows: [{{ name: source->target, session_timeout: 1s, discovery_interval: 200ms }}]\n",
        source.bootstrap(),
        target.bootstrap()
    ));
    wait_copied(&from, &daemon);
    write(&from, "later", 20);
    daemon.process().kill();
    daemon.restart();
    wait_copied(&from, &daemon);
    let status = daemon.stop(LIMIT);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    // The client of these tests does not read such formats.
    let mirror: Vec<(i64, Option<String>)> = to
        .read(MIRROR)
        .into_iter()
        .map(|record| (record.timestamp, text(record.value)))
        .collect();
    let wanted = (0..60).step_by(2).map(|offset| {
        let value = (offset % 30 != 28).then(|| format!("long ago {offset}"));
        (if offset < 30 { -1 } else { LONG_AGO + offset }, value)
    });
    assert_eq!(mirror[..30], wanted.collect::<Vec<_>>());
    let since = mirror[30..].iter().filter_map(|(_, value)| value.clone());
    let wanted = ["today", "later"]
        .into_iter()
        .flat_map(|name| (0..20).map(move |number| format!("{name} {number}")));
    assert_eq!(since.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
}
