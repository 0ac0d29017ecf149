//! A disk that refuses a step of replacing segments, while the process goes on.

use std::cell::Cell;
use std::rc::Rc;

use super::crash::outcome;
use super::*;

/// When the next round may begin after one that failed.
const LATER: i64 = NOW + 61_000;

/// Latest value of each key that has one, and the end of the log.
fn alive(log: &Log) -> (Vec<(String, String)>, i64) {
    let (keys, end) = outcome(log);
    let alive = keys.into_iter().filter(|(_, value)| !value.is_empty());
    (alive.collect(), end)
}

/// One large segment that was cleaned, and dirty ones behind it.
fn prepared() -> Bench {
    let bench = Bench::in_memory(compacted());
    for i in 0..6 {
        put(&bench, &[(&format!("only{i}"), "kept"), ("x", &i.to_string())]);
    }
    roll(&bench);
    clean(&bench);
    dirty(&bench, 1);
    bench
}

fn dirty(bench: &Bench, round: i32) {
    for i in 0..5 {
        let value = format!("{round} {i}");
        put(bench, &[(&format!("only{}", i % 2), &value), ("x", &value)]);
    }
    roll(bench);
}

/// Lets a step fail, or that one and all that follow. Tells whether it came that far.
fn refuse_step(place: usize, all_that_follow: bool) -> Rc<Cell<bool>> {
    let hit = Rc::new(Cell::new(false));
    let (told, mut next) = (Rc::clone(&hit), 0);
    refuse(Some(Box::new(move |_| {
        let refused = next == place || (all_that_follow && next > place);
        next += 1;
        told.set(told.get() || refused);
        refused
    })));
    hit
}

/// What a start makes of a directory in which a process was killed.
fn after_kill(root: &Path) -> (Vec<(String, String)>, i64) {
    let manager = LogManager::open(LogManagerOptions::new(root), NOW, &|_| compacted()).unwrap();
    let log = manager.get(TOPIC, 0).unwrap();
    let names = std::fs::read_dir(log.dir()).unwrap();
    let names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.ends_with(".swap")), "{names:?}");
    alive(&log)
}

#[test]
fn nothing_is_lost_by_a_step_that_fails() {
    for all_that_follow in [false, true] {
        let mut place = 0;
        while fails_at(place, all_that_follow) {
            place += 1;
        }
        assert!(place > 20, "{place} steps");
    }
}

/// `false` if the round has no such step.
fn fails_at(place: usize, all_that_follow: bool) -> bool {
    let what = format!("step {place}, and all that follow: {all_that_follow}");
    let mut bench = prepared();
    let mut before = alive(&bench.log());
    let hit = refuse_step(place, all_that_follow);
    let result = clean_at(&bench, NOW);
    if !hit.get() {
        refuse(None);
        result.unwrap();
        return false;
    }
    assert_eq!(alive(&bench.log()), before, "{what}");
    if all_that_follow {
        // Nothing can be done meanwhile, and nothing is made worse.
        dirty(&bench, 2);
        before = alive(&bench.log());
        bench.log().maintain(NOW).unwrap();
        clean_at(&bench, LATER).unwrap_err();
        assert_eq!(alive(&bench.log()), before, "{what}");
    }
    refuse(None);
    let copies = in_memory();
    copy(bench.root.path(), &copies.path().join("at once"));
    assert_eq!(after_kill(&copies.path().join("at once")), before, "{what}");

    dirty(&bench, 3);
    before = alive(&bench.log());
    let (root, target) = (bench.root.path().to_owned(), copies.path().to_owned());
    let mut step = 0;
    watch(Some(Box::new(move |_| {
        copy(&root, &target.join(step.to_string()));
        step += 1;
    })));
    let done = clean_at(&bench, LATER + 61_000);
    watch(None);
    done.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(alive(&bench.log()), before, "{what}");
    let steps = std::fs::read_dir(copies.path()).unwrap().count() - 1;
    for step in 0..steps {
        let found = after_kill(&copies.path().join(step.to_string()));
        assert_eq!(found, before, "{what}, killed at step {step} of the next round");
    }
    bench.log().maintain(LATER + 200_000).unwrap();
    let odd = [".cleaned", ".swap", ".deleted"];
    let names = bench.names();
    assert!(
        !names.iter().any(|name| odd.iter().any(|end| name.ends_with(end))),
        "{what}: {names:?}"
    );
    bench.restart();
    assert_eq!(alive(&bench.log()), before, "{what}");
    true
}

#[test]
fn a_segment_that_is_half_in_its_place_can_be_deleted_and_nothing_comes_back() {
    let mut place = 0;
    loop {
        let mut bench = prepared();
        let hit = refuse_step(place, true);
        let _ = clean_at(&bench, NOW);
        if !hit.get() {
            refuse(None);
            return;
        }
        let log = bench.log();
        log.set_config(LogConfig {
            delete: true,
            ..compacted()
        });
        let end = log.delete_records(-1).unwrap();
        // What cannot be done now is done later.
        let _ = log.enforce_retention(NOW);
        refuse(None);
        log.enforce_retention(NOW).unwrap();
        drop(log);
        bench.kill();
        std::fs::remove_file(bench.root.path().join("log-start-offset-checkpoint")).unwrap();
        bench.start();
        assert_eq!(
            (bench.log().log_start_offset(), bench.log().log_end_offset()),
            (end, end),
            "step {place}"
        );
        place += 1;
    }
}
