//! Two clusters within the test, whose requests can be made to fail, late, or lost.

use super::{LIMIT, TOPIC, forget_members, log, sides, topology};
use crate::support::built_in::InProcess;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::exact::Sides;
use crate::support::wait_until;

/// Members that are gone are missed after a second.
pub(super) const QUICK_GROUPS: &[(&str, &str)] = &[("group.min.session.timeout.ms", "1000")];

/// A source and a target.
pub(super) struct Pair {
    pub(super) source: InProcess,
    pub(super) target: InProcess,
}

impl Pair {
    #[track_caller]
    pub(super) fn start() -> Pair {
        Pair {
            source: InProcess::start(1, &[]),
            target: InProcess::start(1, QUICK_GROUPS),
        }
    }

    /// With the topic that is copied on the source.
    #[track_caller]
    pub(super) fn with_topic(partitions: i32) -> (Pair, Sides) {
        let pair = Pair::start();
        let (source, target) = pair.clients();
        source.create_topic(TOPIC, partitions, &[]);
        (pair, sides(source, target))
    }

    pub(super) fn clients(&self) -> (Client, Client) {
        (
            Client::new(self.source.bootstrap()),
            Client::new(self.target.bootstrap()),
        )
    }

    /// A topology of one flow, with further settings of the flow.
    pub(super) fn topology(&self, settings: &str) -> String {
        topology(&self.source.bootstrap(), &self.target.bootstrap(), settings)
    }

    /// A daemon that logs much, and is ready.
    #[track_caller]
    pub(super) fn daemon(&self, settings: &str) -> Daemon {
        let mut daemon = Daemon::spawn(&self.topology(settings), &log());
        daemon.wait_ready();
        daemon
    }

    pub(super) fn forget_members(&self) {
        forget_members(&self.target.bootstrap());
    }
}

/// Waits until a request was met by a fault.
#[track_caller]
pub(super) fn wait_hit(cluster: &InProcess, fault: u64) {
    wait_until(LIMIT, "a request is met by the fault", || {
        cluster.fault(fault).hit > 0
    });
}
