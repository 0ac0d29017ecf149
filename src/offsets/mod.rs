//! The offset map: where each run of source offsets landed on the target, kept on the target itself.
//!
//! It is the only home of progress. A daemon that takes a partition over reads the position there and goes on; nothing is ever decided
//! by state on local disk. [`segments`] holds the arithmetic, [`epochs`] tells whether a log is still the one that was read, [`record`] what is written to the map topic, [`store`] reads the topic itself and [`writer`] writes to it, [`pause`] what somebody has paused and [`first`] which
//! daemon begins, which are kept there too.

pub mod epochs;
pub mod first;
#[cfg(test)]
mod hostile;
pub mod index;
mod left_out;
pub mod lookup;
pub mod pause;
pub mod read;
pub mod record;
pub mod segments;
pub mod store;
pub mod translate;
pub mod writer;
