//! What becomes of facts on their way into the offset map, and what is not copied for want of it.

use super::{Account, Facts};

impl Account {
    /// Facts that were taken are written.
    pub fn written(&self, facts: &Facts) {
        let mut inner = self.lock();
        inner.ledger.written(facts.blocks.len());
        inner.unwritten = None;
    }

    /// Facts that were taken did not get written, as far as anyone knows. They are offered again as they are, before all others.
    pub fn unwritten(&self, facts: Facts, why: &str) {
        let mut inner = self.lock();
        inner.ledger.freeze(&facts.blocks);
        inner.repeated = Some(facts);
        inner.unwritten = Some(why.to_owned());
    }

    /// Whether facts that were taken are neither written nor offered again.
    pub fn is_being_written(&self) -> bool {
        let inner = self.lock();
        inner.repeated.is_none() && inner.ledger.is_taken()
    }

    /// Whether nothing more may be sent for now: so many facts wait for the offset map as there is room for.
    pub fn is_held_up(&self) -> bool {
        let inner = self.lock();
        inner.ledger.is_full(inner.holes)
    }

    /// Whether so many facts wait that they should be written soon.
    pub fn is_pressing(&self) -> bool {
        self.lock().ledger.is_pressing()
    }

    /// Why it does not go on, if it is held up because the offset map cannot be written.
    pub fn held_up_by(&self) -> Option<String> {
        let inner = self.lock();
        let is_full = inner.ledger.is_full(inner.holes);
        inner.unwritten.clone().filter(|_| is_full)
    }
}
