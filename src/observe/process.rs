//! What the operating system says of this process.

use std::fs;

/// The resources of a process at one moment. What the system does not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// When it started, in seconds since 1970.
    pub started_at_seconds: Option<f64>,
    /// Time that all its threads spent on a processor, in user code and in the kernel, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory that it holds now, in bytes.
    pub resident_bytes: Option<u64>,
}

impl Process {
    /// This process. Three small files of /proc are read; where there are none, every field is absent.
    pub fn current() -> Process {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Process::parse(
            &read("/proc/self/stat"),
            &read("/proc/self/status"),
            &read("/proc/stat"),
            rustix::param::clock_ticks_per_second() as f64,
        )
    }

    fn parse(stat: &str, status: &str, system: &str, ticks_per_second: f64) -> Process {
        // The second field is the program's name in parentheses, which may itself hold spaces and parentheses: the
        // fields are counted from the last one. The first field after it is number 3 in proc(5).
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .unwrap_or_default();
        let seconds = |number: usize| -> Option<f64> {
            Some(fields.get(number - 3)?.parse::<u64>().ok()? as f64 / ticks_per_second)
        };
        let boot_seconds = value_of(system, "btime").map(|value| value as f64);
        Process {
            started_at_seconds: boot_seconds
                .zip(seconds(22))
                .map(|(boot, since_boot)| boot + since_boot),
            cpu_seconds: seconds(14).zip(seconds(15)).map(|(user, kernel)| user + kernel),
            resident_bytes: value_of(status, "VmRSS:").and_then(|kib| kib.checked_mul(1024)),
        }
    }
}

/// The number that follows a key at the beginning of a line.
fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_may_hold_anything() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 3000 0 0\n";
        let process = Process::parse(
            stat,
            "Name:\ta\nVmRSS:\t   2048 kB\n",
            "cpu 1 2\nbtime 1000\n",
            100.0,
        );
        assert_eq!(
            process,
            Process {
                started_at_seconds: Some(1030.0),
                cpu_seconds: Some(3.0),
                resident_bytes: Some(2 << 20)
            }
        );
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        for text in ["", ")", "7 (a", "7 (a) R x y", "VmRSS: none", "VmRSS:"] {
            assert_eq!(Process::parse(text, text, text, 100.0), Process::default());
        }
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let process = Process::current();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age = now - process.started_at_seconds.unwrap();
        assert!((-2.0..3600.0).contains(&age), "started {age} s ago");
        assert!(process.resident_bytes.unwrap() > 1 << 20);
        assert!(process.cpu_seconds.is_some());
    }
}
