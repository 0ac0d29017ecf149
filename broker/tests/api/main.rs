//! The built-in cluster over real sockets, with our own codec as the client.

mod client;
mod cluster;
mod configs;
mod connections;
mod groups;
mod records;
mod topics;
mod versions;
