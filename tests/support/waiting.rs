//! Waiting for a condition, with a deadline.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until `holds` returns true. Panics, naming `what`, when it does not within `limit`.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(limit, what, || {
        if holds() { Ok(()) } else { Err("it does not hold") }
    });
}

/// Waits until `look` returns a value. Panics when it does not within `limit`, with `what` and the last error, which
/// should say how far things have come.
#[track_caller]
pub fn wait_for<T, E: Display>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(error) if started.elapsed() >= limit => {
                panic!("waited {limit:?} in vain until {what}: {error}")
            }
            Err(_) => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Waits until a value has not changed for half a second. Panics when it goes on changing for `limit`.
#[track_caller]
pub fn wait_still<T: PartialEq + std::fmt::Debug>(limit: Duration, what: &str, mut value: impl FnMut() -> T) {
    const STILL: Duration = Duration::from_millis(500);
    let mut last = value();
    let mut since = Instant::now();
    wait_for(limit, what, || {
        let now = value();
        if now != last {
            last = now;
            since = Instant::now();
        }
        if since.elapsed() >= STILL {
            Ok(())
        } else {
            Err(format!("it was {last:?} a moment ago"))
        }
    });
}

/// Panics unless a condition holds from now on for all of `duration`.
#[track_caller]
pub fn hold(duration: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < duration {
        assert!(
            holds(),
            "after {:?} it was no longer so that {what}",
            started.elapsed()
        );
        thread::sleep(LOOK_AGAIN);
    }
}
