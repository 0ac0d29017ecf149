//! A source whose Fetch is of before version 12: its answers do not say that the log is another one than was read.

use std::time::Duration;

use crate::support::built_in::BuiltIn;
use crate::support::clients::{Client, Producing};
use crate::support::cut_back::cut_back;
use crate::support::daemon::Daemon;
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

fn values(client: &Client, topic: &str) -> Vec<String> {
    let value = |record: Rec| String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
    client.read(topic).into_iter().map(value).collect()
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
