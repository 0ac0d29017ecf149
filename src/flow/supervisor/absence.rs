//! A cluster was away and is back: what failed meanwhile is tried again at once, not when its own wait is over.

use super::*;

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
}
