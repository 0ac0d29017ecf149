//! Whether a preparation may still claim its partition.

use std::sync::atomic::{AtomicU8, Ordering};

const LOOKS: u8 = 0;
const CLAIMS: u8 = 1;
const TAKEN_BACK: u8 = 2;

/// Shared by a preparation and whoever has asked for it. A claim fences the owner before, so one that nobody wants any more must not be made; and
/// who gives a partition up has to wait for its preparation only if that has claimed it.
#[derive(Debug, Default)]
pub struct Permit(AtomicU8);

impl Permit {
    /// It is about to claim, if it may.
    pub(super) fn claims(&self) -> bool {
        self.change(CLAIMS)
    }

    /// The partition is not wanted any more. Whether nothing was claimed, nor will be.
    pub fn take_back(&self) -> bool {
        self.change(TAKEN_BACK)
    }

    fn change(&self, to: u8) -> bool {
        let changed = self
            .0
            .compare_exchange(LOOKS, to, Ordering::AcqRel, Ordering::Acquire);
        changed.is_ok() || changed == Err(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_back_is_not_claimed_and_what_was_claimed_is_not_taken_back() {
        let one = Permit::default();
        assert!(one.claims() && one.claims() && !one.take_back() && one.claims());
        let other = Permit::default();
        assert!(other.take_back() && other.take_back() && !other.claims());
    }
}
