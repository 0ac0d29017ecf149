//! Kafka on the wire: frames, messages and the record batch v2 view.
//!
//! [`message`] holds one file per API with its request and its response, and the table of all APIs.
//! Everything there is built on the checked [`buf::Reader`] and [`buf::Writer`].

pub mod buf;
pub mod error;
pub mod message;
mod uuid;

pub use error::{DecodeError, EncodeError, ErrorCode};
pub use uuid::{ParseUuidError, Uuid};
