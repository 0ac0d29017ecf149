//! What others may see: status, metrics, the HTTP server. It reaches into nobody.

pub mod status;
