//! A cluster is away: what failed meanwhile is tried again once it is back, not when its own wait is over; and who cannot reach the source leaves the
//! work to those who perhaps can.
//!
//! The group is one of the target's, and hears of a daemon that has lost its source alone as of any other. So such a daemon leaves it, as long as
//! somebody else is in it: the last one stays, since nobody would be better off, and when the source is back it need not wait for the group.

use rand::RngExt as _;

use super::*;

/// Daemons that lose the source at the same moment do not all leave at the same moment.
const NOT_AT_ONCE: Duration = Duration::from_secs(1);

/// Whether this daemon shares the work.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Others do it, until the source answers.
    pub(super) is_left: bool,
    /// It is being asked how many are in the group.
    is_asking: bool,
    /// It is not left before.
    stays_until: Option<Instant>,
}

impl Supervisor {
    /// See whether a cluster has come back since the last look.
    pub(super) fn after_an_absence(&mut self) {
        let is_away = !(self.clusters.0.is_there() && self.clusters.1.is_there());
        if !std::mem::replace(&mut self.was_away, is_away) || is_away {
            return;
        }
        let now = Instant::now();
        for partition in self.mine.values_mut() {
            match &mut partition.phase {
                Phase::Due(at) | Phase::Draining(at) => *at = now,
                Phase::Preparing | Phase::Copying | Phase::Pausing | Phase::Paused => {}
            }
        }
        self.view.absence_ended();
    }

    /// Whether the source has been silent for so long that others should do the work: so that they have it within the session time-out, what they take
    /// to hear of it included.
    pub(super) fn has_lost_source(&self) -> bool {
        let silent = self.clusters.0.silent_for();
        silent.is_some_and(|silent| silent >= self.flow.session_timeout / 2)
    }

    /// Leave the work to others when the source is silent, and share it again when it answers.
    pub(super) fn heed_a_silent_source(&mut self) {
        if self.sharing.is_left && self.clusters.0.is_there() {
            self.share_again("it answers again");
        }
        let stays = self
            .sharing
            .stays_until
            .is_some_and(|until| Instant::now() < until);
        let may_leave = self.member.is_some() && !stays && self.has_lost_source();
        if self.sharing.is_asking || !(self.sharing.is_left || may_leave) {
            return;
        }
        self.sharing.is_asking = true;
        let (discovery, group) = (self.discovery.clone(), group_id(&self.flow.source));
        let moment = rand::rng().random_range(Duration::ZERO..NOT_AT_ONCE);
        self.beside(Report::Members(None), async move {
            tokio::time::sleep(moment).await;
            Report::Members(discovery.target.group_members(&group).await.ok())
        });
    }

    /// It is known how many are in the group, or that it cannot be asked.
    pub(super) fn on_members(&mut self, count: Option<usize>) {
        self.sharing.is_asking = false;
        match (self.sharing.is_left, count) {
            (true, Some(0)) => {
                // Two that come back together would leave together.
                let session = self.flow.session_timeout;
                let stays = rand::rng().random_range(session / 2..session * 3 / 2);
                self.sharing.stays_until = Some(Instant::now() + stays);
                self.share_again("it does not answer, and nobody else is in the group");
            }
            (false, Some(2..)) if self.has_lost_source() => self.leave_to_others(),
            _ => {}
        }
    }

    fn leave_to_others(&mut self) {
        let Some(member) = &self.member else { return };
        let silent = self.clusters.0.silent_for().unwrap_or_default().as_secs();
        tracing::warn!(flow = %self.flow.name,
            "{} has not answered for {silent} s: the work is left to the other daemons of the group until it does", self.flow.source);
        member.subscribe(Vec::new());
        self.subscribed = Vec::new();
        self.sharing.is_left = true;
        self.view.left_to_others(true);
        self.end_alone();
    }

    fn share_again(&mut self, why: &str) {
        tracing::info!(flow = %self.flow.name, "this daemon shares the work of copying from {} again: {why}", self.flow.source);
        self.sharing.is_left = false;
        self.view.left_to_others(false);
        self.subscribe(false);
    }
}
