//! What the map keeps: of topics that were deleted and made again, and of a source that is away.

use heliostat::offsets::index::BLOCKS_MAX;
use heliostat::offsets::record::{BlockId, Key, MapRecord, bytes, topic_name};

use super::*;
use crate::support::exact::{Exact, Sides};

/// The blocks that the map holds of the mirror's partition: which each is, and where it ends on the target.
#[track_caller]
fn blocks(rig: &Rig) -> BTreeMap<BlockId, i64> {
    let mut blocks = BTreeMap::new();
    for record in rig.standby.read(&topic_name("primary")) {
        let read = MapRecord::read(record.key.as_deref().unwrap_or_default(), record.value.as_deref());
        match read {
            Some(MapRecord::Block(topic, 0, id, Some(block))) if topic == MIRROR => {
                blocks.insert(id, block.target_position);
            }
            Some(MapRecord::Block(topic, 0, id, None)) if topic == MIRROR => drop(blocks.remove(&id)),
            _ => {}
        }
    }
    blocks
}

/// Waits until exactly these blocks are left.
#[track_caller]
fn wait_blocks(rig: &Rig, expected: &BTreeMap<BlockId, i64>) {
    wait_for(
        LIMIT,
        "what the mirror does not have any more is taken back",
        || {
            let left = blocks(rig);
            if left == *expected {
                Ok(())
            } else {
                Err(format!("{left:?} and not {expected:?}"))
            }
        },
    );
}

#[test]
fn blocks_of_what_the_mirror_has_lost_are_taken_back_and_no_others() {
    let rig = Rig::start("");
    rig.primary.create_topic(TOPIC, 1, &[]);
    let mut daemon = Daemon::start(&rig.file);
    // Each life of a daemon has blocks of its own.
    for life in 0..4 {
        if life > 0 {
            daemon.restart();
        }
        let records = values(&format!("life-{life}"), 0, 20);
        rig.primary.produce(TOPIC, &records, Producing::default());
        rig.copy(&mut daemon, TOPIC);
    }
    let before = blocks(&rig);
    assert!(before.len() >= 4, "{before:?}");
    // Within the third life: its block is still needed.
    rig.standby.delete_records(MIRROR, 0, 45);
    daemon.restart();
    let mut expected = before.clone();
    expected.retain(|_, end| *end > 45);
    wait_blocks(&rig, &expected);
    rig.expect_true(0);
    // All of it: the block from which copying goes on is never taken back.
    let end = rig.standby.end_offsets(MIRROR)[0];
    rig.standby.delete_records(MIRROR, 0, end);
    let (last, _) = expected.last_key_value().expect("the last block stays");
    let expected = BTreeMap::from([(*last, expected[last])]);
    wait_blocks(&rig, &expected);
    let (code, out, err) = rig.offsets(&[
        "--topic",
        TOPIC,
        "--partition",
        "0",
        "--offset",
        "30",
        "-o",
        "csv",
    ]);
    assert_eq!((code, out, err.as_str()), (0, format!("{MIRROR},0,{end}\n"), ""));
    daemon.process().kill();
    rig.primary
        .produce(TOPIC, &values("after", 0, 20), Producing::default());
    daemon.restart();
    rig.copy(&mut daemon, TOPIC);
    rig.expect_true(0);
    let sides = Sides {
        source: rig.primary.clone(),
        topic: TOPIC.to_owned(),
        target: rig.standby.clone(),
        mirror: MIRROR.to_owned(),
        alias: "primary".to_owned(),
    };
    Exact::read(&sides).expect_whole_map();
    assert_eq!(
        rig.standby.read(MIRROR).len(),
        20,
        "what was copied before is not copied again"
    );

    // A mirror that is made again begins a map of its own.
    let old = blocks(&rig);
    rig.standby.delete_topic(MIRROR);
    daemon.restart();
    wait_for(LIMIT, "no block of the mirror before is left", || {
        let left = blocks(&rig);
        if !left.is_empty() && old.keys().all(|id| !left.contains_key(id)) {
            Ok(())
        } else {
            Err(format!("{left:?} of {old:?}"))
        }
    });
    rig.copy(&mut daemon, TOPIC);
    rig.expect_true(0);
    Exact::read(&sides).expect_equal().expect_whole_map();
}

/// Compacts a topic of the target, but for its newest segment.
#[track_caller]
fn compact(rig: &Rig, topic: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let compacted = runtime
        .expect("a runtime")
        .block_on(rig.clusters[1].cluster().compact(topic));
    assert!(compacted.is_ok(), "{compacted:?}");
}

#[test]
fn blocks_without_number_are_taken_back_bit_by_bit() {
    let rig = Rig::start("");
    rig.primary.create_topic(TOPIC, 1, &[]);
    rig.primary
        .produce(TOPIC, &values("v", 0, 20), Producing::default());
    let mut daemon = Daemon::start(&rig.file);
    rig.copy(&mut daemon, TOPIC);
    rig.standby.delete_records(MIRROR, 0, 20);
    rig.standby.alter_topic(
        &topic_name("primary"),
        &[
            ("cleanup.policy", "compact"),
            ("segment.bytes", "1048576"),
            ("min.cleanable.dirty.ratio", "0"),
        ],
    );
    // As if there had been many owners, more than a daemon knows the blocks of at once.
    daemon.stop(LIMIT);
    let map = topic_name("primary");
    let last = rig.standby.read(&map).pop().expect("the last block");
    let mut block: Value =
        serde_json::from_slice(last.value.as_deref().unwrap_or_default()).expect("a block in JSON");
    let others = (0..BLOCKS_MAX + 1_000).map(|number| {
        let key = Key {
            topic: MIRROR.to_owned(),
            partition: Some(0),
            block: Some(number as i64 % 20),
            owner: Some((number as i64 + 1_000, 0)),
        };
        block["producer_id"] = (number + 1_000).into();
        let value = serde_json::to_vec(&block).expect("JSON");
        Rec::new(0, Some(&bytes(&key)), Some(&value))
    });
    let mut records: Vec<Rec> = others.collect();
    records.push(Rec::new(0, last.key.as_deref(), last.value.as_deref()));
    rig.standby.produce(&map, &records, Producing::default());
    let all = blocks(&rig);
    assert!(all.len() > BLOCKS_MAX + 1_000);
    daemon.restart();
    wait_for(LIMIT, "only the last block is left", || {
        let left = blocks(&rig).len();
        if left == 1 {
            Ok(())
        } else {
            Err(format!("{left} blocks"))
        }
    });
    // A daemon that starts with all of that in the topic, and all that took it back, knows as much.
    daemon.process().kill();
    daemon.restart();
    // The newest segment is never compacted: another one has to begin.
    let last = vec![records.remove(records.len() - 1); 12_000];
    rig.standby.produce(&map, &last, Producing::default());
    let others = || {
        let is_other = |record: &&Rec| record.value.is_some() && record.key != last[0].key;
        rig.standby.read(&map).iter().filter(is_other).count()
    };
    assert!(others() > BLOCKS_MAX + 1_000);
    compact(&rig, &map);
    let left = others();
    assert!(left < 10, "{left} blocks that were taken back");
    rig.primary
        .produce(TOPIC, &values("later", 0, 20), Producing::default());
    rig.copy(&mut daemon, TOPIC);
    rig.expect_true(0);
}

#[test]
fn a_source_that_is_away_is_needed_for_its_groups_only() {
    let Rig {
        primary,
        standby: _standby,
        file,
        directory,
        clusters: [source, _target],
    } = Rig::start("");
    primary.create_topic(TOPIC, 1, &[]);
    primary.produce(TOPIC, &values("v", 0, 10), Producing::default());
    let mut daemon = Daemon::start(&file);
    wait_for(LIMIT, "all is copied", || {
        let flow = daemon.flow("primary->standby");
        let position = flow
            .partitions
            .first()
            .and_then(|partition| partition.target_position);
        if position == Some(10) {
            Ok(())
        } else {
            Err(format!("{position:?}"))
        }
    });
    assert_eq!(daemon.stop(END).code(), Some(0));
    source.stop();
    let run = |arguments: &[&str]| {
        let all = [&["offsets", "t.yaml", "--log-level", "error"], arguments].concat();
        let output = heliostat(&all, Some(directory.path()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = run(&["--topic", TOPIC, "--partition", "0", "--offset", "7", "-o", "csv"]);
    assert_eq!((code, out.as_str()), (Some(0), "primary.orders,0,7\n"), "{err}");
    assert!(err.contains("note: cluster primary"), "{err}");
    let (code, _, err) = run(&["--group", "billing"]);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("cluster primary"), "{err}");
}

#[test]
fn a_topic_that_was_deleted_and_made_again_is_not_the_one_before() {
    let rig = Rig::start(", on_recreated: follow");
    rig.primary.create_topic(TOPIC, 1, &[]);
    rig.primary
        .produce(TOPIC, &values("old", 0, 10), Producing::default());
    let mut daemon = Daemon::start(&rig.file);
    rig.copy(&mut daemon, TOPIC);
    rig.primary.delete_topic(TOPIC);
    rig.primary.create_topic(TOPIC, 1, &[]);
    rig.primary
        .produce(TOPIC, &values("new", 0, 20), Producing::default());
    // Nothing of the new one is copied: its first record will be behind those of the old one.
    let end = rig.standby.end_offsets(MIRROR)[0];
    let said = rig.all(TOPIC, 0, 20, &[]);
    assert!(
        said.values()
            .all(|said| *said == ("beyond what is copied".to_owned(), end)),
        "{said:?}"
    );
    let (code, _, err) = rig.offsets(&[
        "--reverse",
        "--topic",
        MIRROR,
        "--partition",
        "0",
        "--offset",
        "3",
    ]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("was deleted and made again"), "{err}");
    daemon.restart();
    rig.copy(&mut daemon, TOPIC);
    rig.expect_true(0);
    let back = rig.all(MIRROR, 0, end - 1, &["--reverse"]);
    assert!(
        back.values()
            .all(|said| *said == ("before the mirror".to_owned(), 0)),
        "{back:?}"
    );

    // The same for the mirror.
    rig.standby.delete_topic(MIRROR);
    daemon.restart();
    rig.copy(&mut daemon, TOPIC);
    rig.expect_true(0);
}
