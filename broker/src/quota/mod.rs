//! Quotas: how much each client may produce, fetch and ask for, and how long it is kept waiting when it does more
//! (KIP-13, KIP-55, KIP-124, KIP-219, KIP-599, KIP-612).
//!
//! Without quotas a request costs one look at a number. With them, what is used is counted for whoever shares the
//! quota, over all nodes.

mod bucket;
pub mod entity;
mod mutations;
mod rate;
mod usage;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use entity::{AddressLimits, Limit, Limits};
pub(crate) use entity::{CLIENT_ID, IP, QuotaMap, USER};
pub use entity::{QuotaEntity, QuotaValues};
pub(crate) use mutations::Mutations;
use rate::Rate;
pub(crate) use rate::Windows;
pub use usage::ClientUsage;
use usage::{Addresses, Usages};

/// Every client is this user where nobody has to say who they are.
pub(crate) const ANONYMOUS: &str = "ANONYMOUS";

/// What a quota is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKind {
    /// Bytes of produce requests in a second.
    Produce,
    /// Bytes of answers to fetches in a second.
    Fetch,
    /// Percent of a thread's time.
    Request,
    /// Partitions that are created and deleted in a second.
    ControllerMutation,
}

/// All quotas, and what was used of them.
#[derive(Debug)]
pub(crate) struct Quotas {
    /// A bit for each kind that any client has a quota of, and one for addresses.
    active: AtomicU8,
    table: RwLock<Arc<Table>>,
    usages: [Mutex<Usages>; QuotaKind::ALL.len()],
    addresses: Mutex<Addresses>,
    /// By node.
    accepted: Mutex<HashMap<i32, Rate>>,
    /// `quota.window.*`.
    windows: Windows,
    /// `controller.quota.window.*`.
    controller_windows: Windows,
    began: Instant,
}

/// The quotas, by what they are on.
#[derive(Debug, Default)]
struct Table {
    clients: [Limits; QuotaKind::ALL.len()],
    addresses: AddressLimits,
}

const ADDRESSES_BIT: u8 = 1 << 7;

impl QuotaKind {
    /// Every kind.
    pub const ALL: [QuotaKind; 4] = [
        QuotaKind::Produce,
        QuotaKind::Fetch,
        QuotaKind::Request,
        QuotaKind::ControllerMutation,
    ];

    /// Kafka's name of the quota.
    pub fn key(self) -> &'static str {
        match self {
            QuotaKind::Produce => "producer_byte_rate",
            QuotaKind::Fetch => "consumer_byte_rate",
            QuotaKind::Request => "request_percentage",
            QuotaKind::ControllerMutation => "controller_mutation_rate",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The quota of addresses: connections that may be opened in a second.
pub(crate) const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

impl Quotas {
    /// Without quotas.
    pub(crate) fn new(windows: Windows, controller_windows: Windows) -> Self {
        Quotas {
            active: AtomicU8::new(0),
            table: RwLock::default(),
            usages: Default::default(),
            addresses: Mutex::default(),
            accepted: Mutex::default(),
            windows,
            controller_windows,
            began: Instant::now(),
        }
    }

    /// Makes these quotas take effect. What was used before still counts.
    pub(crate) fn set(&self, quotas: &QuotaMap) {
        let table = Table {
            clients: QuotaKind::ALL.map(|kind| Limits::new(quotas, kind.key())),
            addresses: AddressLimits::new(quotas, CONNECTION_CREATION_RATE),
        };
        let mut active = 0;
        for kind in QuotaKind::ALL {
            if table.clients[kind as usize].is_empty() {
                *lock(&self.usages[kind as usize]) = Usages::default();
            } else {
                active |= kind.bit();
            }
        }
        if table.addresses.is_empty() {
            *lock(&self.addresses) = Addresses::default();
        } else {
            active |= ADDRESSES_BIT;
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.active.store(active, Ordering::Release);
    }

    /// Whether any client has a quota at all.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire) != 0
    }

    /// Whether any client has a quota of this kind.
    pub(crate) fn has(&self, kind: QuotaKind) -> bool {
        self.active.load(Ordering::Acquire) & kind.bit() != 0
    }

    /// Takes note of what a client has used, which it may take back with a negative amount. Returns for how long the
    /// client is to be kept waiting.
    pub(crate) fn record(&self, kind: QuotaKind, user: &str, client_id: &str, amount: f64) -> Duration {
        let Some(limit) = self.limit(kind, user, client_id) else {
            return Duration::ZERO;
        };
        let (now_ms, windows) = (self.now_ms(), self.windows(kind));
        let throttle = lock(&self.usages[kind as usize]).record(kind, limit, amount, now_ms, windows);
        match kind {
            // One long request is no reason to keep a client waiting for long (KIP-124).
            QuotaKind::Request => throttle.min(self.windows.length),
            _ => throttle,
        }
    }

    /// The most that a client may use at once, if there is a limit.
    pub(crate) fn burst(&self, kind: QuotaKind, user: &str, client_id: &str) -> Option<f64> {
        let limit = self.limit(kind, user, client_id)?;
        Some(limit.value * self.windows(kind).burst_seconds())
    }

    /// Takes note of a connection from this address. Returns for how long it is to be kept waiting before it is closed,
    /// or zero if it may go on.
    pub(crate) fn record_connection(&self, address: IpAddr) -> Duration {
        if self.active.load(Ordering::Acquire) & ADDRESSES_BIT == 0 {
            return Duration::ZERO;
        }
        let address = address.to_canonical();
        let Some(limit) = self.table().addresses.find(address) else {
            return Duration::ZERO;
        };
        let throttle = lock(&self.addresses).record(address, limit, self.now_ms(), self.windows);
        throttle.min(self.windows.length)
    }

    /// Takes note of any connection to a node, which may accept so many in a second. Returns for how long it is to accept
    /// no other.
    pub(crate) fn record_accept(&self, node: i32, max: Option<f64>) -> Duration {
        let Some(max) = max else {
            return Duration::ZERO;
        };
        let (mut nodes, now_ms) = (lock(&self.accepted), self.now_ms());
        let accepted = nodes.entry(node).or_default();
        accepted.record(1.0, now_ms, self.windows);
        accepted
            .excess(max, now_ms, self.windows)
            .min(self.windows.length)
    }

    /// What clients with quotas have used of late.
    pub(crate) fn usage(&self) -> Vec<ClientUsage> {
        let now_ms = self.now_ms();
        let kinds = QuotaKind::ALL.into_iter().filter(|kind| self.has(*kind));
        kinds
            .flat_map(|kind| lock(&self.usages[kind as usize]).list(kind, now_ms, self.windows(kind)))
            .collect()
    }

    fn limit(&self, kind: QuotaKind, user: &str, client_id: &str) -> Option<Limit> {
        if !self.has(kind) {
            return None;
        }
        self.table().clients[kind as usize].find(user, client_id)
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn windows(&self, kind: QuotaKind) -> Windows {
        match kind {
            QuotaKind::ControllerMutation => self.controller_windows,
            _ => self.windows,
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows {
        samples: 11,
        length: Duration::from_secs(1),
    };

    type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

    fn quotas(entries: &[(Entity<'_>, &str, f64)]) -> Quotas {
        let quotas = Quotas::new(WINDOWS, WINDOWS);
        let entity = |parts: &[(&str, Option<&str>)]| {
            let parts = parts
                .iter()
                .map(|(kind, name)| (kind.to_string(), name.map(str::to_owned)));
            QuotaEntity(parts.collect())
        };
        let map = entries
            .iter()
            .map(|(parts, key, value)| (entity(parts), QuotaValues::from([(key.to_string(), *value)])));
        quotas.set(&map.collect());
        quotas
    }

    #[test]
    fn clients_of_a_default_quota_do_not_share_it_and_those_of_a_user_do() {
        let by_client = quotas(&[(&[(CLIENT_ID, None)], "producer_byte_rate", 10.0)]);
        assert!(!by_client.record(QuotaKind::Produce, "u", "a", 1000.0).is_zero());
        assert!(by_client.record(QuotaKind::Produce, "u", "b", 1.0).is_zero());
        assert!(by_client.record(QuotaKind::Fetch, "u", "a", 1000.0).is_zero());
        let by_user = quotas(&[(&[(USER, Some("u"))], "producer_byte_rate", 10.0)]);
        assert!(!by_user.record(QuotaKind::Produce, "u", "a", 1000.0).is_zero());
        assert!(!by_user.record(QuotaKind::Produce, "u", "b", 1.0).is_zero());
        assert!(by_user.record(QuotaKind::Produce, "other", "a", 1000.0).is_zero());
        assert_eq!(by_user.usage().len(), 1);
        assert!(by_user.usage()[0].throttled_ms > 0);
    }

    #[test]
    fn a_request_is_waited_for_no_longer_than_one_sample() {
        let quotas = quotas(&[(&[(USER, None)], "request_percentage", 1.0)]);
        assert_eq!(quotas.record(QuotaKind::Request, "u", "a", 1e6), WINDOWS.length);
    }

    #[test]
    fn addresses_have_their_own_quotas() {
        let quotas = quotas(&[(&[(IP, None)], CONNECTION_CREATION_RATE, 1.0)]);
        let (one, other) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        let refused = (0..20)
            .filter(|_| !quotas.record_connection(one).is_zero())
            .count();
        assert_eq!(refused, 10, "ten in a burst");
        assert!(quotas.record_connection("::ffff:127.0.0.1".parse().unwrap()) > Duration::ZERO);
        assert!(quotas.record_connection(other).is_zero());
    }

    #[test]
    fn each_node_counts_its_own_connections() {
        let quotas = Quotas::new(WINDOWS, WINDOWS);
        let paused = (0..20)
            .filter(|_| !quotas.record_accept(1, Some(1.0)).is_zero())
            .count();
        assert_eq!(paused, 10, "ten in a burst");
        assert!(quotas.record_accept(2, Some(1.0)).is_zero());
        assert!(quotas.record_accept(1, None).is_zero());
        assert!(quotas.record_accept(1, Some(100.0)).is_zero());
    }

    #[test]
    fn a_quota_that_is_removed_is_forgotten() {
        let quotas = quotas(&[(&[(USER, None)], "consumer_byte_rate", 1.0)]);
        assert!(quotas.record(QuotaKind::Fetch, "u", "a", 1e6) > Duration::from_secs(100));
        quotas.set(&QuotaMap::new());
        assert!(!quotas.is_active());
        assert!(quotas.record(QuotaKind::Fetch, "u", "a", 1e6).is_zero());
        assert_eq!(quotas.burst(QuotaKind::Fetch, "u", "a"), None);
    }
}
