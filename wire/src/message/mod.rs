//! The messages of Kafka's protocol: one file per API, each with the request and the response.
//!
//! Both sides use them: a broker decodes requests and encodes responses, a client the reverse. A message holds
//! the fields of all its versions; a field that a version does not have is left out when encoding, and has its
//! default after decoding.
//!
//! Trailing bytes after a message are ignored, as Kafka's own brokers ignore them.

// Fields and nested structs have Kafka's own names, which its protocol guide explains.
#![allow(missing_docs)]

#[macro_use]
mod dsl;

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod update_features;
pub mod write_txn_markers;

mod api;
mod frame;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod sample;

pub use api::*;
pub use frame::{
    RequestHeader, ResponseHeader, decode_message, decode_request, encode_request, encode_response,
};
