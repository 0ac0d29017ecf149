//! Copying exactly once without transactions.
//!
//! A partition that is taken is *claimed* (its transactional id gets the next epoch), older writers are *fenced* (a marker of the new epoch
//! makes the log refuse them), and what they have written after the last fact of the offset map is *recovered*: the target's tail
//! is counted and held against the source. From there on copying is plain idempotent producing.

mod align;
mod claim;
mod former;
mod held;
mod lease;
mod pairs;
mod probe;
mod reader;
mod recover;
mod survival;
mod tail;
mod take;

pub use claim::{Claim, reach, transactional_id};
pub use lease::{Lease, period};
pub use probe::{Fences, probe};
pub use survival::{Agreement, Told};
pub use take::{Anchor, NotTaken, Sides, take};
