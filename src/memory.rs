//! How the C library keeps the memory of this process.

use std::time::Duration;

/// How often memory is given back: it takes some milliseconds.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(30);

/// What is set, to what, and the variable with which a user says otherwise.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SETTINGS: [(libc::c_int, libc::c_int, &str); 4] = [
    (libc::M_ARENA_MAX, 1, "MALLOC_ARENA_MAX"),
    (libc::M_TRIM_THRESHOLD, 16 << 20, "MALLOC_TRIM_THRESHOLD_"),
    (libc::M_MMAP_THRESHOLD, 4 << 20, "MALLOC_MMAP_THRESHOLD_"),
    (libc::M_TOP_PAD, 1 << 20, "MALLOC_TOP_PAD_"),
];

/// Keep freed memory where every thread finds it, unless the environment says otherwise. To be called before other threads are started.
///
/// Batches of a megabyte come and go by the hundred in a second. glibc would give the memory of each back to the system, which clears it for the
/// next one: a third of what it cost a built-in broker to take large batches was that. What lies idle is given back now and then:
/// [`give_back_now_and_then`].
///
/// glibc gives each of many threads a part of memory (an arena) of its own, and what is freed in one is of no use to the others: with a thousand
/// topics a third of the memory lay idle so. Records are moved without being copied, so that little is allocated for each, and threads do not
/// stand in each other's way.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (setting, value, variable) in SETTINGS {
        if std::env::var_os(variable).is_none() {
            #[allow(unsafe_code, reason = "the C library has no other way, and takes any number")]
            // SAFETY: only this thread runs, and the call sets a number of the allocator.
            unsafe {
                libc::mallopt(setting, value);
            }
        }
    }
}

/// From now on, give memory that lies idle back to the system now and then: what a start with thousands of topics, or an answer of megabytes,
/// needed for a moment.
pub async fn give_back_now_and_then() {
    let mut interval = tokio::time::interval(GIVE_BACK_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // All who want memory wait meanwhile, but nobody for a worker of the runtime. That it fails means that the process ends.
        let _ = tokio::task::spawn_blocking(give_back).await;
    }
}

fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[allow(
            unsafe_code,
            reason = "the C library has no other way, and locks what it looks at"
        )]
        // SAFETY: any thread may call it at any time.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
