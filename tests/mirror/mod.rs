//! A mirror holds the records of its source, under the name that the file says, and the daemon knows how far it is.

mod batches;
mod events;
mod lag;
mod names;
mod pause;
mod records;
mod refused;
mod resume;
mod states;
