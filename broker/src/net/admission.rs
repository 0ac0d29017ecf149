//! Which connections are let in: not too many, from no address too many, and none too fast.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{quota::Quotas, state::settings::Settings};

/// Connections that are kept waiting before they are closed, because their address has opened too many. They take a
/// socket each; more of them are closed at once.
const DELAYED_MAX: usize = 500;

/// Counts connections, over all listeners of a cluster.
#[derive(Debug)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    delayed: Arc<Semaphore>,
    per_address_max: usize,
    overrides: BTreeMap<IpAddr, usize>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
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
    _address: AddressPlace,
}

#[derive(Debug)]
struct AddressPlace {
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Admission {
    /// Places for at most `connections_max` connections.
    pub(super) fn new(connections_max: usize, settings: &Settings) -> Self {
        Admission {
            places: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            delayed: Arc::new(Semaphore::new(DELAYED_MAX)),
            per_address_max: settings.connections_per_ip_max,
            overrides: settings.connections_per_ip_overrides.clone(),
            by_address: Arc::default(),
        }
    }

    /// Decides on a new connection.
    pub(super) fn judge(&self, address: IpAddr, quotas: &Quotas) -> Verdict {
        let address = address.to_canonical();
        let Ok(permit) = self.places.clone().try_acquire_owned() else {
            return Verdict::Close("max.connections is reached");
        };
        let Some(place) = self.place_for(address) else {
            return Verdict::Close("max.connections.per.ip is reached");
        };
        let delay = quotas.record_connection(address);
        if delay.is_zero() {
            return Verdict::Serve(Place {
                _permit: permit,
                _address: place,
            });
        }
        match self.delayed.clone().try_acquire_owned() {
            Ok(permit) => Verdict::Delay(delay, permit),
            Err(_) => Verdict::Close("connection_creation_rate is exceeded"),
        }
    }

    fn place_for(&self, address: IpAddr) -> Option<AddressPlace> {
        let max = self
            .overrides
            .get(&address)
            .copied()
            .unwrap_or(self.per_address_max);
        let mut by_address = lock(&self.by_address);
        let count = by_address.get(&address).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        by_address.insert(address, count + 1);
        Some(AddressPlace {
            address,
            by_address: self.by_address.clone(),
        })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut by_address = lock(&self.by_address);
        match by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            // Addresses without connections are not kept.
            _ => drop(by_address.remove(&self.address)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
