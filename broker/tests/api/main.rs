//! The built-in cluster over real sockets, with our own codec as the client.

mod client;
mod cluster;
mod configs;
mod connections;
mod consumer_groups;
mod consumer_restart;
mod consumer_script;
mod consumer_topics;
mod deletion;
mod faults;
mod fetch_sessions;
mod group_offsets;
mod group_script;
mod groups;
mod hostile;
mod lost_state;
mod nodes;
mod protocol_migration;
mod quotas;
mod records;
mod sasl;
mod security;
mod topics;
mod transactions;
mod versions;
mod wire_client;
