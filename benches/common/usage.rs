//! What a process has used, as Linux tells it.

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

fn processor_time(stat: &str) -> Duration {
    // The second field, the name, is in brackets and may contain spaces; utime and stime are the 14th and 15th.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|text| text.parse::<f64>().ok())
        .sum();
    Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
}
