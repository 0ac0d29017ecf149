//! Transactions over the wire.

mod crash;
mod facts;
mod fencing;
mod protocol;
mod script;
mod troubled;
mod views;
