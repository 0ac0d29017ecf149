//! An offset map that cannot be written for long: copying waits where too much would have to be remembered, and loses nothing.

use heliostat::observe::status::State;
use heliostat::offsets::record::{MapRecord, topic_name};
use serde_json::json;

use super::pair::{Pair, QUICK_GROUPS};
use super::refused::sides_of;
use super::{FLOW, LIMIT, finish};
use crate::support::built_in::InProcess;
use crate::support::clients::{Client, Producing};
use crate::support::rec::Rec;
use crate::support::{wait_for, wait_still};

/// Has a hole before each record, so that its map is long.
const HOLEY: &str = "holey";

/// Has none.
const PLAIN: &str = "plain";

/// Records of a topic that have a hole before each.
const RECORDS: usize = 23_000;

/// So many segments of one partition may wait: 64 blocks of 256. One batch more may arrive.
const WAITING_MAX: u64 = 64 * 256;
const BATCH_MAX: u64 = 6_000;

/// Every other record has a key that comes again, and goes when the log is compacted.
#[track_caller]
fn fill(source: &InProcess, client: &Client) {
    let configs = [("cleanup.policy", "compact"), ("segment.bytes", "1048576")];
    client.create_topic(HOLEY, 1, &configs);
    let records: Vec<Rec> = (0..RECORDS)
        .flat_map(|number| {
            let kept = Rec::new(
                0,
                Some(number.to_string().as_bytes()),
                Some(format!("{number:.<200}").as_bytes()),
            );
            [Rec::new(0, Some(b"again"), Some(b"")), kept]
        })
        .collect();
    client.produce(HOLEY, &records, Producing::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let compacted = runtime
        .expect("a runtime")
        .block_on(source.cluster().compact(HOLEY));
    assert!(compacted.is_ok(), "{compacted:?}");
}

/// Waits until it is on record where the copy of a topic begins.
#[track_caller]
fn wait_begun(target: &Client, mirror: &str) {
    wait_for(LIMIT, "it is on record where the copy begins", || {
        if target.partitions(&topic_name("source")).is_none() {
            return Err("there is no map".to_owned());
        }
        let records = target.read(&topic_name("source"));
        let is_block = |record: &Rec| {
            let key = record.key.as_deref().unwrap_or_default();
            matches!(MapRecord::read(key, record.value.as_deref()), Some(MapRecord::Block(topic, ..)) if topic == mirror)
        };
        match records.iter().any(is_block) {
            true => Ok(()),
            false => Err(format!("{} records in the map", records.len())),
        }
    });
}

fn held_up(engine: &str) {
    let keeps_all = [QUICK_GROUPS, &[("log.cleaner.enable", "false")]].concat();
    let pair = Pair {
        source: InProcess::start(1, &[]),
        target: InProcess::start(1, &keeps_all),
    };
    let clients = pair.clients();
    fill(&pair.source, &clients.0);
    clients.0.create_topic(PLAIN, 1, &[]);
    pair.source
        .add_fault(json!({ "kind": "error", "api": "Fetch", "error": "NOT_LEADER_OR_FOLLOWER" }));
    let daemon = pair.daemon(engine);
    for topic in [HOLEY, PLAIN] {
        wait_begun(&clients.1, &format!("source.{topic}"));
    }
    pair.target.add_fault(
        json!({ "kind": "error", "api": "Produce", "error": "TOPIC_AUTHORIZATION_FAILED",
                "topic": topic_name("source") }),
    );
    pair.source.cluster().control().clear_faults();

    let of = |topic: &str| {
        let partitions = daemon.flow(FLOW).partitions;
        let found = partitions.into_iter().find(|partition| partition.topic == topic);
        found.ok_or_else(|| format!("there is no {topic}"))
    };
    wait_for(LIMIT, "it is held up", || {
        let found = of(HOLEY)?;
        let reason = found.reason.as_deref().unwrap_or_default();
        let is_named = reason.contains("until what is copied is on record") && reason.contains("offset map");
        if found.state == State::Stalled && is_named {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    let copied = || of(HOLEY).expect("it is there").records_total;
    wait_still(LIMIT, "nothing more of it is copied", copied);
    let copied = copied();
    assert!(
        (WAITING_MAX / 2..WAITING_MAX + BATCH_MAX).contains(&copied),
        "{copied} records were copied"
    );
    // Its neighbour makes no more facts than there is room for.
    let records: Vec<Rec> = (0..500)
        .map(|number: u32| Rec::new(0, None, Some(&number.to_be_bytes())))
        .collect();
    clients.0.produce(PLAIN, &records, Producing::default());
    wait_for(LIMIT, "its neighbour is copied", || match of(PLAIN)? {
        found if found.records_total == 500 => Ok(()),
        found => Err(format!("{found:?}")),
    });

    pair.target.cluster().control().clear_faults();
    finish(&sides_of(&clients, HOLEY), vec![daemon])
        .expect_equal()
        .expect_whole_map();
}

#[test]
fn what_the_map_cannot_take_holds_copying_up_until_it_can_and_nothing_is_lost() {
    held_up("");
}

#[test]
fn the_same_with_the_engine_librdkafka() {
    held_up(", engine: librdkafka");
}
