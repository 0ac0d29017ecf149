//! The memory that answers take from the moment in which they are made until their clients have taken them, over all
//! connections. Records of fetches count elsewhere: see `fetch/memory.rs`.
//!
//! Small answers are free: a connection may owe one of them whatever the others do, so that nobody who asks for little
//! ever waits here. A larger one needs room. Where there is none, an answer that only tells something is thrown away,
//! its client waits for as much room as it took, and it is made again; one that cannot be made again, because the
//! request has changed something, has some room of its own, and where that is taken too its connection is closed, as
//! if it had been cut before the answer got through. Who does not read gives way to those that wait.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use heliostat_wire::message::ApiKey;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Answers up to this size, in bytes, take no room.
const FREE_BYTES: usize = 64 * 1024;

/// Room for all larger ones.
const BYTES_MAX: usize = 128 << 20;

/// Room besides for those that cannot be made again.
const LASTING_BYTES_MAX: usize = 64 << 20;

/// Room is counted in units of this many bytes.
const UNIT_BYTES: usize = 1024;

/// How long a client waits for room before its connection is closed.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a client whose answer takes room may read nothing while others wait for it.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// How long it may take its time at first, and for how long it may take room at all, while others wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
const TAKING_MAX: Duration = Duration::from_secs(30);

/// Requests of more bytes than this are worked on a few at a time: what becomes of one may take a hundred times as much.
const LARGE_REQUEST_BYTES: usize = 64 * 1024;
const LARGE_REQUESTS_MAX: usize = 4;

/// So many requests whose answers are put together by others than the one who writes them are worked on at a time.
const GATHERED_MAX: usize = 32;

static ROOM: Semaphore = Semaphore::const_new(BYTES_MAX / UNIT_BYTES);
static LASTING_ROOM: Semaphore = Semaphore::const_new(LASTING_BYTES_MAX / UNIT_BYTES);
static WAITING: AtomicUsize = AtomicUsize::new(0);

static LARGE_REQUESTS: Semaphore = Semaphore::const_new(LARGE_REQUESTS_MAX);
static GATHERED: Semaphore = Semaphore::const_new(GATHERED_MAX);

/// The room of one answer. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _permit: SemaphorePermit<'static>,
    bytes: usize,
}

/// Leave to work on a request.
#[derive(Debug)]
pub(super) struct Turn(
    #[allow(dead_code, reason = "it is given back when it is dropped")] [Option<SemaphorePermit<'static>>; 2],
);

/// There is no room for an answer of so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full(pub(super) usize);

struct Waiting;

/// Waits until the request may be worked on.
pub(super) async fn turn(api: ApiKey, request_bytes: usize) -> Turn {
    // Those that wait for what others do would keep these out; records are no things that are answered one by one.
    let waits = matches!(
        api,
        ApiKey::Produce | ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup
    );
    let large = match request_bytes > LARGE_REQUEST_BYTES && !waits {
        true => LARGE_REQUESTS.acquire().await.ok(),
        false => None,
    };
    let gathered = match is_gathered(api) {
        true => GATHERED.acquire().await.ok(),
        false => None,
    };
    Turn([large, gathered])
}

/// Whether the answer is put together by a group, a coordinator or a thread, and then handed over.
fn is_gathered(api: ApiKey) -> bool {
    use ApiKey::{
        ConsumerGroupDescribe, DescribeGroups, DescribeLogDirs, DescribeTransactions, ListTransactions,
        OffsetFetch,
    };
    matches!(
        api,
        ConsumerGroupDescribe
            | DescribeGroups
            | DescribeLogDirs
            | DescribeTransactions
            | ListTransactions
            | OffsetFetch
    )
}

/// Whether a request can be answered anew: it only asks for something.
pub(super) fn can_be_made_again(api: ApiKey) -> bool {
    use ApiKey::{
        ConsumerGroupDescribe, DescribeClientQuotas, DescribeConfigs, DescribeGroups, DescribeLogDirs,
        DescribeProducers, DescribeTopicPartitions, DescribeTransactions, DescribeUserScramCredentials,
        FindCoordinator, ListConfigResources, ListGroups, ListOffsets, ListPartitionReassignments,
        ListTransactions, Metadata, OffsetFetch, OffsetForLeaderEpoch,
    };
    matches!(
        api,
        ConsumerGroupDescribe
            | DescribeClientQuotas
            | DescribeConfigs
            | DescribeGroups
            | DescribeLogDirs
            | DescribeProducers
            | DescribeTopicPartitions
            | DescribeTransactions
            | DescribeUserScramCredentials
            | FindCoordinator
            | ListConfigResources
            | ListGroups
            | ListOffsets
            | ListPartitionReassignments
            | ListTransactions
            // Topics that it creates are there the second time.
            | Metadata
            | OffsetFetch
            | OffsetForLeaderEpoch
    )
}

/// Room for an answer that has been made; `None` if it needs none.
pub(super) fn hold(bytes: usize, can_be_made_again: bool) -> Result<Option<Held>, Full> {
    if bytes <= FREE_BYTES {
        return Ok(None);
    }
    let permit = ROOM.try_acquire_many(units(bytes, BYTES_MAX)).or_else(|full| {
        if can_be_made_again {
            return Err(full);
        }
        LASTING_ROOM.try_acquire_many(units(bytes, LASTING_BYTES_MAX))
    });
    match permit {
        Ok(permit) => Ok(Some(Held {
            _permit: permit,
            bytes,
        })),
        Err(_) => Err(Full(bytes)),
    }
}

/// Waits for room for an answer that is about to be made; `None` if there is none for a long time.
pub(super) async fn wait(Full(bytes): Full) -> Option<Held> {
    let _waiting = Waiting::new();
    let permit = timeout(WAIT_MAX, ROOM.acquire_many(units(bytes, BYTES_MAX))).await;
    Some(Held {
        _permit: permit.ok()?.ok()?,
        bytes,
    })
}

impl Held {
    /// For how many bytes it is.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a client has to give way to others that has taken so many bytes of this answer in this time, and none of
    /// them in the last of it.
    pub(crate) fn has_to_give_way(&self, taken: usize, elapsed: Duration, silent: Duration) -> bool {
        if WAITING.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let expected = self.bytes as f64 * elapsed.as_secs_f64() / TAKING_MAX.as_secs_f64();
        silent > SILENCE_MAX || (elapsed > PATIENCE && (taken as f64) < expected)
    }
}

/// One that is larger than all room gets all of it.
fn units(bytes: usize, most: usize) -> u32 {
    u32::try_from(bytes.min(most).div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

impl Waiting {
    fn new() -> Self {
        WAITING.fetch_add(1, Ordering::Relaxed);
        Waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because there is one room in a process.
    #[tokio::test]
    async fn who_waits_gets_the_room_of_who_has_read() {
        assert!(matches!(hold(FREE_BYTES, true), Ok(None)));
        let all = hold(usize::MAX, true).unwrap().unwrap();
        let (long, none) = (2 * PATIENCE, Duration::ZERO);
        assert!(!all.has_to_give_way(0, long, long), "nobody waits");
        assert_eq!(hold(FREE_BYTES + 1, true).unwrap_err(), Full(FREE_BYTES + 1));
        assert!(
            matches!(hold(FREE_BYTES, true), Ok(None)),
            "little is always free"
        );
        let lasting = hold(usize::MAX, false).unwrap().unwrap();
        assert!(hold(FREE_BYTES + 1, false).is_err());
        drop(lasting);
        let waiting = tokio::spawn(wait(Full(1 << 20)));
        while WAITING.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let half = usize::MAX / 2;
        assert!(all.has_to_give_way(0, long, none));
        assert!(!all.has_to_give_way(half, long, none));
        assert!(all.has_to_give_way(half, long, long));
        assert!(!all.has_to_give_way(0, none, none), "it has just begun");
        drop(all);
        assert_eq!(waiting.await.unwrap().unwrap().bytes(), 1 << 20);
    }
}
