//! Transactions over the wire.

mod protocol;
mod script;
