//! What a process has used, as Linux tells it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Linux counts processor time for user space in hundredths of a second, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used since it started.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time, in user code and in the kernel, of all its threads.
    pub cpu: Duration,
    /// The most memory that it held at once, in bytes.
    pub peak_memory: u64,
    /// What it holds now, in bytes.
    #[allow(dead_code, reason = "not every benchmark asks for it")]
    pub memory: u64,
}

/// Asks for the usage of a process that runs.
pub fn of(pid: u32) -> Usage {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {path}: {error}"))
    };
    let status = read("status");
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kilobytes.unwrap_or_default() * 1024
    };
    Usage {
        cpu: processor_time(&read("stat")),
        peak_memory: bytes("VmHWM:"),
        memory: bytes("VmRSS:"),
    }
}

/// Processor time of the thread that asks.
#[allow(dead_code, reason = "not every benchmark asks for it")]
pub fn of_this_thread() -> Duration {
    let path = "/proc/thread-self/stat";
    let stat = fs::read_to_string(path).unwrap_or_else(|error| panic!("read {path}: {error}"));
    processor_time(&stat)
}

/// Processor time of a process's threads that have the same name: name, in user code, in the kernel. What threads used that have ended is left out.
#[allow(dead_code, reason = "not every benchmark asks for it")]
pub fn of_threads(pid: u32) -> Vec<(String, Duration, Duration)> {
    let mut threads: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    for task in tasks {
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else {
            continue;
        };
        let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
        let Some((name, _)) = name else { continue };
        // Clients number their threads.
        let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || "-:/#_".contains(letter));
        let ticks = ticks(&stat);
        let sum = threads.entry(name.to_owned()).or_default();
        (sum.0, sum.1) = (sum.0 + ticks[0], sum.1 + ticks[1]);
    }
    let seconds = |ticks: f64| Duration::from_secs_f64(ticks / TICKS_PER_SECOND);
    let threads = threads.into_iter();
    threads
        .map(|(name, (user, kernel))| (name, seconds(user), seconds(kernel)))
        .collect()
}

fn processor_time(stat: &str) -> Duration {
    Duration::from_secs_f64(ticks(stat).iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// In user code, and in the kernel.
fn ticks(stat: &str) -> [f64; 2] {
    // The second field, the name, is in brackets and may contain spaces; utime and stime are the 14th and 15th.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut ticks = after_name
        .split_whitespace()
        .skip(11)
        .map(|text| text.parse().unwrap_or_default());
    [ticks.next().unwrap_or_default(), ticks.next().unwrap_or_default()]
}
