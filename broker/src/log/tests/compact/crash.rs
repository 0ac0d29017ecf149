//! A process that dies while it replaces segments.

use super::*;

pub(super) type Outcome = (std::collections::BTreeMap<String, String>, i64);

fn fill(bench: &Bench) {
    for i in 0..24 {
        let (a, b) = (format!("k{}", i % 5), format!("only{i}"));
        let producer = BatchBuilder::new().producer(9, 0, 3 * i);
        let value = if i % 7 == 3 { String::new() } else { format!("{i}") };
        let dead = if i < 20 { "alive" } else { "" };
        let other = if i % 3 == 0 { b.as_str() } else { "x" };
        bench.append(&keyed(producer, &[(&a, &value), (other, "y"), ("dead", dead)]));
    }
    roll(bench);
}

/// What a consumer ends up with, and the end of the log.
pub(super) fn outcome(log: &Log) -> Outcome {
    (
        texts(log)
            .into_iter()
            .map(|(_, key, value)| (key, value))
            .collect(),
        log.log_end_offset(),
    )
}

#[test]
fn after_every_step_the_log_is_there_and_can_be_cleaned() {
    let bench = Bench::new(compacted());
    fill(&bench);
    clean(&bench);
    fill_more(&bench);
    let before = outcome(&bench.log());
    let copies = in_memory();
    let (root, target) = (bench.root.path().to_owned(), copies.path().to_owned());
    let mut step = 0;
    watch(Some(Box::new(move |_| {
        copy(&root, &target.join(step.to_string()));
        step += 1;
    })));
    let done = clean_at(&bench, NOW + 5_000);
    watch(None);
    done.unwrap();
    let after = texts(&bench.log());
    assert_ne!(outcome(&bench.log()), before, "tombstones are gone");
    let steps = std::fs::read_dir(copies.path()).unwrap().count();
    assert!(steps > 40, "{steps} steps");
    for step in 0..steps {
        check(&copies.path().join(step.to_string()), &before, &after, step);
    }
}

fn fill_more(bench: &Bench) {
    for i in 0..30 {
        put(
            bench,
            &[(&format!("k{}", i % 3), &format!("later {i}")), ("x", "z")],
        );
    }
    roll(bench);
}

/// The copy is opened; it dies again at each step of putting things in order; and it is cleaned.
fn check(root: &Path, before: &Outcome, after: &[(i64, String, String)], step: usize) {
    let second = in_memory();
    let (from, target) = (root.to_owned(), second.path().to_owned());
    let mut again = 0;
    watch(Some(Box::new(move |_| {
        copy(&from, &target.join(again.to_string()));
        again += 1;
    })));
    check_one(root, before, after, &format!("step {step}"));
    watch(None);
    for entry in std::fs::read_dir(second.path()).unwrap() {
        let path = entry.unwrap().path();
        check_one(
            &path,
            before,
            after,
            &format!("step {step}, again {}", path.display()),
        );
    }
}

fn check_one(root: &Path, before: &Outcome, after: &[(i64, String, String)], what: &str) {
    let manager = LogManager::open(LogManagerOptions::new(root), NOW, &|_| compacted()).unwrap();
    watch(None);
    let log = manager.get(TOPIC, 0).unwrap();
    let (keys, end) = outcome(&log);
    assert_eq!(end, before.1, "{what}");
    // Tombstones that are due may be gone already.
    let alive = |keys: &std::collections::BTreeMap<String, String>| -> Vec<(String, String)> {
        keys.iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    assert_eq!(alive(&keys), alive(&before.0), "{what}");
    let repeated = keyed(
        BatchBuilder::new().producer(9, 0, 69),
        &[("k3", "23"), ("x", "y"), ("dead", "")],
    );
    assert!(log.append(&repeated, 0, NOW).unwrap().duplicate, "{what}");
    let names: Vec<String> = std::fs::read_dir(log.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let odd = |name: &&String| {
        [".cleaned", ".swap", ".deleted"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    assert!(names.iter().find(odd).is_none(), "{what}: {names:?}");
    if let Some(turn) = manager.cleaner().turn(&log, NOW + 5_000) {
        manager
            .cleaner()
            .clean(&turn, &CleanerOptions::default(), NOW + 5_000)
            .unwrap();
    }
    assert_eq!(texts(&log), after, "{what}");
}

#[test]
fn files_that_do_not_belong_together_are_not_put_in_place() {
    let mut bench = Bench::new(compacted());
    fill(&bench);
    let before = read_all(&bench.log(), 0, 1_000);
    bench.kill();
    let name = |suffix: &str| bench.dir().join(format!("00000000000000000000{suffix}"));
    // A power cut may have kept one of the renames only.
    std::fs::write(name(".log.swap"), b"").unwrap();
    std::fs::write(name(".index.cleaned"), b"").unwrap();
    bench.start();
    assert_eq!(read_all(&bench.log(), 0, 1_000), before);
    assert!(
        !bench
            .names()
            .iter()
            .any(|name| name.ends_with("swap") || name.ends_with("cleaned"))
    );
}
