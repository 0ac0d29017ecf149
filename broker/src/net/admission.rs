//! Which connections are let in: not too many, from no address too many, and none too fast.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{broker::Broker, quota::Quotas, state::keys::address_counts};

/// Connections that are kept waiting before they are closed, because their address has opened too many. They take a
/// socket each; more of them are closed at once.
const DELAYED_MAX: usize = 500;

/// Counts connections.
#[derive(Debug)]
pub(super) struct Admission {
    /// What the process has room for, over all listeners of the cluster.
    places: Arc<Semaphore>,
    delayed: Arc<Semaphore>,
    counts: Arc<Mutex<Counts>>,
}

/// How many connections one node may have, as it is configured at the moment.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) node: i32,
    pub(super) connections: usize,
    pub(super) per_address: usize,
    pub(super) overrides: BTreeMap<IpAddr, usize>,
    /// Connections that may be accepted in a second, if that has a limit.
    pub(super) accept_max: Option<f64>,
}

/// How many there are, for each node.
#[derive(Debug, Default)]
struct Counts {
    of_nodes: HashMap<i32, usize>,
    of_addresses: HashMap<(i32, IpAddr), usize>,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is served, as long as the place is held.
    Serve(Place),
    /// It is closed after a while, in which its client does not try again (KIP-612).
    Delay(Duration, OwnedSemaphorePermit),
    /// It is closed at once, which tells a client more than a connection on which nothing ever happens.
    Close(&'static str),
}

/// A connection's place.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

#[derive(Debug)]
struct Counted {
    node: i32,
    address: IpAddr,
    counts: Arc<Mutex<Counts>>,
}

impl Limits {
    /// What is set for the node, or for all, or was at the start.
    pub(super) fn of(broker: &Broker, node: i32) -> Self {
        let image = broker.image();
        let layers = broker.layers_of(&image, node);
        let number = |name| layers.broker_value(name).trim().parse().unwrap_or(usize::MAX);
        Limits {
            node,
            connections: number("max.connections"),
            per_address: number("max.connections.per.ip"),
            overrides: address_counts(layers.broker_value("max.connections.per.ip.overrides"))
                .unwrap_or_default(),
            accept_max: i32::try_from(number("max.connection.creation.rate"))
                .ok()
                .filter(|max| *max < i32::MAX)
                .map(f64::from),
        }
    }
}

impl Admission {
    /// Places for at most `connections_max` connections.
    pub(super) fn new(connections_max: usize) -> Self {
        Admission {
            places: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            delayed: Arc::new(Semaphore::new(DELAYED_MAX)),
            counts: Arc::default(),
        }
    }

    /// Decides on a new connection.
    pub(super) fn judge(&self, address: IpAddr, limits: &Limits, quotas: &Quotas) -> Verdict {
        let address = address.to_canonical();
        let Ok(permit) = self.places.clone().try_acquire_owned() else {
            return Verdict::Close("the process has no room for more connections");
        };
        let counted = match self.count(address, limits) {
            Ok(counted) => counted,
            Err(reason) => return Verdict::Close(reason),
        };
        let delay = quotas.record_connection(address);
        if delay.is_zero() {
            return Verdict::Serve(Place {
                _permit: permit,
                _counted: counted,
            });
        }
        match self.delayed.clone().try_acquire_owned() {
            Ok(permit) => Verdict::Delay(delay, permit),
            Err(_) => Verdict::Close("connection_creation_rate is exceeded"),
        }
    }

    fn count(&self, address: IpAddr, limits: &Limits) -> Result<Counted, &'static str> {
        let node = limits.node;
        let of_address = limits.overrides.get(&address).copied();
        let mut counts = lock(&self.counts);
        let on_node = counts.of_nodes.get(&node).copied().unwrap_or(0);
        if on_node >= limits.connections {
            return Err("max.connections is reached");
        }
        let key = (node, address);
        let count = counts.of_addresses.get(&key).copied().unwrap_or(0);
        if count >= of_address.unwrap_or(limits.per_address) {
            return Err("max.connections.per.ip is reached");
        }
        counts.of_nodes.insert(node, on_node + 1);
        counts.of_addresses.insert(key, count + 1);
        Ok(Counted {
            node,
            address,
            counts: self.counts.clone(),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.of_nodes.get_mut(&self.node) {
            *count = count.saturating_sub(1);
        }
        let key = (self.node, self.address);
        match counts.of_addresses.get_mut(&key) {
            Some(count) if *count > 1 => *count -= 1,
            // Addresses without connections are not kept.
            _ => drop(counts.of_addresses.remove(&key)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
