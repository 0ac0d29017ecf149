//! Clients that were not let in: a count and a line of the log for each. Of clients that do not say who they are there may be very
//! many, since each tries again once a second: of them not every one gets a line.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::info;

use super::Session;
use crate::{api::Peer, broker::Broker};

/// After this time the log names an address again whose clients do not say who they are.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// So many such addresses are named within that time.
const TOLD_MAX: usize = 64;

/// How many connections of clients were closed because it was not clear who they are, since the cluster was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedClients {
    /// Those that said who they are, and could not prove it, or not with a mechanism that is enabled.
    pub refused: u64,
    /// Those that did not say it, and asked for something else.
    pub without_credentials: u64,
}

/// The counts, and whom the log has named of late.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    refused: AtomicU64,
    without_credentials: AtomicU64,
    told: Mutex<HashMap<IpAddr, Instant>>,
}

impl Refusals {
    pub(super) fn counts(&self) -> RefusedClients {
        RefusedClients {
            refused: self.refused.load(Ordering::Relaxed),
            without_credentials: self.without_credentials.load(Ordering::Relaxed),
        }
    }

    /// A client could not prove who it is.
    pub(super) fn refused(&self, broker: &Broker, peer: &Peer, reason: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let claim = peer.session.as_deref().map(Session::claim).unwrap_or_default();
        info!(
            cluster = broker.name(),
            node = peer.node_id,
            address = %peer.socket_address(),
            user = claim.user,
            client_id = claim.client_id,
            reason,
            "authentication failed"
        );
    }

    /// A client asked for something without having said who it is.
    pub(super) fn without_credentials(&self, broker: &Broker, peer: &Peer, client_id: &str, reason: &str) {
        self.without_credentials.fetch_add(1, Ordering::Relaxed);
        if self.is_told_now(peer.address, Instant::now()) {
            info!(
                cluster = broker.name(),
                node = peer.node_id,
                address = %peer.socket_address(),
                client_id = super::shown(client_id),
                reason,
                "a client did not say who it is: it is cut; the next such line about its address comes in a minute at the earliest"
            );
        }
    }

    fn is_told_now(&self, address: IpAddr, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.duration_since(*at) < TOLD_AGAIN);
        if told.len() >= TOLD_MAX || told.contains_key(&address) {
            return false;
        }
        told.insert(address, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_is_named_once_a_minute_and_many_do_not_fill_the_log() {
        let refusals = Refusals::default();
        let began = Instant::now();
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from(number));
        assert!(refusals.is_told_now(address(1), began));
        assert!(!refusals.is_told_now(address(1), began + TOLD_AGAIN / 2));
        assert!(refusals.is_told_now(address(2), began + TOLD_AGAIN / 2));
        assert!(refusals.is_told_now(address(1), began + TOLD_AGAIN));
        let now = began + 3 * TOLD_AGAIN;
        let named = (0..10_000).filter(|number| refusals.is_told_now(address(*number), now));
        assert_eq!(named.count(), TOLD_MAX);
    }
}
