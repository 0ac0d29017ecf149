//! Kafka on the wire: frames, messages and the record batch v2 view.
//!
//! [`message`] holds one file per API with its request and its response, and the table of all APIs.
//! Everything there is built on the checked [`buf::Reader`] and [`buf::Writer`].
//! [`batch`] and [`record`] look into what Produce and Fetch carry, without copying it; [`convert`] makes of the one
//! what the other takes.
//! [`client`] speaks to brokers: connections, leaders, coordinators, and pipelines for Produce and Fetch; [`socket`]
//! sets the sockets of both sides.

pub mod batch;
pub mod buf;
pub mod builder;
pub mod client;
pub mod compression;
pub mod convert;
pub mod error;
pub mod message;
mod payload;
pub mod record;
pub mod socket;
mod uuid;

pub use error::{DecodeError, EncodeError, ErrorCode};
pub use payload::{FileSlice, Payload};
pub use uuid::{ParseUuidError, Uuid};
