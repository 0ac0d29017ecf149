//! Who coordinates a group or a transactional id.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::{
    error::Error,
    together::{Together, backoff},
};
use crate::{
    ErrorCode,
    message::{FindCoordinatorResponse, find_coordinator::Coordinator},
};

/// What a key of a coordinator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i8)]
pub enum CoordinatorType {
    /// A group.
    Group = 0,
    /// A transactional id.
    Transaction = 1,
}

/// A kind and a key.
pub(super) type Key = (CoordinatorType, String);

/// Coordinators that are known, and the questions about them.
#[derive(Debug, Default)]
pub(super) struct Coordinators {
    known: Mutex<HashMap<Key, Found>>,
    pub(super) groups: Together<String>,
    pub(super) transactions: Together<String>,
}

#[derive(Debug, Clone)]
struct Found {
    node: Result<i32, Error>,
    asked: Instant,
    /// How many answers in a row did not help.
    failures: u32,
    /// It is not the coordinator any more.
    stale: bool,
}

/// As many as are remembered; beyond that all are forgotten, and asked for again.
const COORDINATORS_MAX: usize = 20_000;

impl Coordinators {
    pub(super) fn questions(&self, kind: CoordinatorType) -> &Together<String> {
        match kind {
            CoordinatorType::Group => &self.groups,
            CoordinatorType::Transaction => &self.transactions,
        }
    }

    /// The node, or the moment before which it is not asked for.
    pub(super) fn get(&self, key: &Key) -> Result<i32, Instant> {
        match self.known().get(key) {
            None => Err(Instant::now()),
            Some(found) => match &found.node {
                Ok(node) if !found.stale => Ok(*node),
                _ => Err(found.asked + backoff(found.failures)),
            },
        }
    }

    /// The node, or what the cluster said, after it was asked.
    pub(super) fn verdict(&self, key: &Key) -> Result<i32, Error> {
        let missing = || Error::Nonsense {
            api: "FindCoordinator",
            reason: format!("it does not tell of {:?}", key.1),
        };
        self.known().get(key).ok_or_else(missing)?.node.clone()
    }

    /// Whether a question about a key went out since then and was answered.
    pub(super) fn asked_since(&self, key: &Key, since: Instant) -> bool {
        self.known().get(key).is_some_and(|found| found.asked >= since)
    }

    /// A node says that it is not the coordinator, or is not there.
    pub(super) fn stale(&self, key: &Key) {
        if let Some(found) = self.known().get_mut(key)
            && !found.stale
        {
            found.stale = true;
            found.failures = found.failures.saturating_add(1);
        }
    }

    /// Takes what was told of a key.
    pub(super) fn take(&self, key: Key, told: &Coordinator, asked: Instant) {
        let code = ErrorCode::from_code(told.error_code);
        let node = match code {
            ErrorCode::None if told.node_id >= 0 => Ok(told.node_id),
            ErrorCode::None => Err(ErrorCode::CoordinatorNotAvailable),
            code => Err(code),
        };
        let node = node.map_err(|code| Error::Broker {
            code,
            what: match &told.error_message {
                Some(message) => format!("asked who coordinates {:?} ({message})", key.1),
                None => format!("asked who coordinates {:?}", key.1),
            },
        });
        let mut known = self.known();
        if known.len() >= COORDINATORS_MAX {
            known.clear();
        }
        let before = known.remove(&key);
        let failures = match (&before, &node) {
            // The same node again, after a complaint: it may be right, and is asked for less often.
            (Some(before), Ok(node)) if before.stale && before.node.as_ref().is_ok_and(|old| old == node) => {
                before.failures
            }
            (_, Ok(_)) => 0,
            (before, Err(_)) => before
                .as_ref()
                .map_or(0, |before| before.failures)
                .saturating_add(1),
        };
        known.insert(
            key,
            Found {
                node,
                asked,
                failures,
                stale: false,
            },
        );
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Found>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an answer of an old version tells of the one key that it was asked for.
pub(super) fn only(key: &str, response: &FindCoordinatorResponse) -> Coordinator {
    Coordinator {
        key: key.to_owned(),
        node_id: response.node_id,
        host: response.host.clone(),
        port: response.port,
        error_code: response.error_code,
        error_message: response.error_message.clone(),
    }
}
