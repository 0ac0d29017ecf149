//! A process that is killed at any moment keeps its word: what it acknowledged is there afterwards.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const CHILD: &str = "HELIOSTAT_TEST_CRASH_DIR";
const NAME: &str = "log::tests::crash::what_was_acknowledged_survives_kill_9";
const ROUNDS: usize = 6;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return append_for_ever(&PathBuf::from(dir));
    }
    let mut bench = Bench::new(small());
    bench.log().flush(NOW).unwrap();
    let mut acknowledged = 0;
    for round in 1..=ROUNDS {
        bench.kill();
        acknowledged = run_and_kill(bench.root.path(), round * 37).max(acknowledged);
        bench.start();
        let log = bench.log();
        assert!(
            log.log_end_offset() > acknowledged,
            "{acknowledged} was acknowledged in round {round}"
        );
        let all = read_all(&log, 0, 5000);
        let offsets: Vec<i64> = Batches::new(&all)
            .map(|batch| batch.unwrap().header().base_offset)
            .collect();
        assert_eq!(
            offsets,
            (0..log.log_end_offset()).collect::<Vec<_>>(),
            "each once, in order, without a gap"
        );
        let last = log.log_end_offset() - 1;
        let again = bench.append(&produced(9, 0, i32::try_from(last).unwrap(), 1));
        assert!(
            again.duplicate && again.base_offset == last,
            "the state of the producer is that of the log"
        );
    }
    assert!(acknowledged > 200);
}

/// Lets a process append until it has acknowledged so many batches, and kills it; returns the last offset it named.
fn run_and_kill(dir: &std::path::Path, batches: usize) -> i64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let named = |line: String| line.strip_prefix("acknowledged ")?.parse::<i64>().ok();
    let mut acknowledged: Vec<i64> = lines
        .by_ref()
        .map_while(Result::ok)
        .filter_map(named)
        .take(batches)
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // What is still in the pipe was acknowledged before the end, except for a line that is cut short.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    acknowledged.extend(
        rest.iter()
            .take(rest.len().saturating_sub(1))
            .cloned()
            .filter_map(named),
    );
    acknowledged
        .last()
        .copied()
        .expect("the process has acknowledged something")
}

fn append_for_ever(dir: &std::path::Path) {
    let manager = LogManager::open(LogManagerOptions::new(dir), NOW, &|_| small()).unwrap();
    let log = manager.get(TOPIC, 0).unwrap();
    for round in 0.. {
        let sequence = i32::try_from(log.log_end_offset()).unwrap();
        let appended = log.append(&produced(9, 0, sequence, 1), 0, NOW).unwrap();
        println!("acknowledged {}", appended.last_offset);
        if round % 50 == 0 {
            manager.maintain(NOW);
        }
    }
}
