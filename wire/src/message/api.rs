//! The table of all APIs.

use std::ops::RangeInclusive;

use crate::buf::Wire;

/// A request or a response.
pub trait Message: Wire + ThrottleTime + std::fmt::Debug + Clone + Default + Send + Sync + 'static {
    /// The API that it belongs to.
    const KEY: ApiKey;
}

/// The field `throttle_time_ms` of those messages that have it: all responses but the oldest.
pub trait ThrottleTime {
    /// For how long the broker is going to keep the client waiting, in milliseconds; 0 where there is no such field.
    fn throttle_time_ms(&self) -> i32;

    /// Sets the field; does nothing where there is none.
    fn set_throttle_time_ms(&mut self, throttle_time_ms: i32);
}

/// A request, which knows its response.
pub trait Request: Message {
    /// What answers it.
    type Response: Message;
}

macro_rules! apis {
    ($($name:ident = $key:literal, $versions:expr, flexible $flexible:expr, $module:ident :: $request:ident, $response:ident;)*) => {
        /// An API of Kafka's protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                $name = $key,
            )*
        }

        impl ApiKey {
            /// Every API of the table.
            pub const ALL: &'static [ApiKey] = &[$(ApiKey::$name),*];

            /// The API with this number.
            pub fn from_code(code: i16) -> Option<ApiKey> {
                match code {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name of the API.
            pub fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }

            /// The versions that can be encoded and decoded.
            pub fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(ApiKey::$name => $versions,)*
                }
            }

            /// The first flexible version: compact lengths, and tagged fields at the end of each struct.
            pub fn flexible_since(self) -> i16 {
                match self {
                    $(ApiKey::$name => $flexible,)*
                }
            }
        }

        $(
            pub use super::$module::{$request, $response};

            impl Message for super::$module::$request {
                const KEY: ApiKey = ApiKey::$name;
            }

            impl Message for super::$module::$response {
                const KEY: ApiKey = ApiKey::$name;
            }

            impl Request for super::$module::$request {
                type Response = super::$module::$response;
            }
        )*

        /// Calls a generic function for every message.
        #[cfg(test)]
        macro_rules! for_each_message {
            ($call:ident) => {
                $(
                    $call::<crate::message::$module::$request>();
                    $call::<crate::message::$module::$response>();
                )*
            };
        }
        #[cfg(test)]
        pub(super) use for_each_message;
    };
}

apis! {
    Produce = 0, 3..=13, flexible 9, produce::ProduceRequest, ProduceResponse;
    Fetch = 1, 4..=18, flexible 12, fetch::FetchRequest, FetchResponse;
    ListOffsets = 2, 1..=10, flexible 6, list_offsets::ListOffsetsRequest, ListOffsetsResponse;
    Metadata = 3, 0..=13, flexible 9, metadata::MetadataRequest, MetadataResponse;
    OffsetCommit = 8, 2..=9, flexible 8, offset_commit::OffsetCommitRequest, OffsetCommitResponse;
    OffsetFetch = 9, 1..=9, flexible 6, offset_fetch::OffsetFetchRequest, OffsetFetchResponse;
    FindCoordinator = 10, 0..=6, flexible 3,
        find_coordinator::FindCoordinatorRequest, FindCoordinatorResponse;
    JoinGroup = 11, 0..=9, flexible 6, join_group::JoinGroupRequest, JoinGroupResponse;
    Heartbeat = 12, 0..=4, flexible 4, heartbeat::HeartbeatRequest, HeartbeatResponse;
    LeaveGroup = 13, 0..=5, flexible 4, leave_group::LeaveGroupRequest, LeaveGroupResponse;
    SyncGroup = 14, 0..=5, flexible 4, sync_group::SyncGroupRequest, SyncGroupResponse;
    DescribeGroups = 15, 0..=6, flexible 5, describe_groups::DescribeGroupsRequest, DescribeGroupsResponse;
    ListGroups = 16, 0..=5, flexible 3, list_groups::ListGroupsRequest, ListGroupsResponse;
    SaslHandshake = 17, 0..=1, flexible NEVER, sasl_handshake::SaslHandshakeRequest, SaslHandshakeResponse;
    ApiVersions = 18, 0..=4, flexible 3, api_versions::ApiVersionsRequest, ApiVersionsResponse;
    CreateTopics = 19, 2..=7, flexible 5, create_topics::CreateTopicsRequest, CreateTopicsResponse;
    DeleteTopics = 20, 1..=6, flexible 4, delete_topics::DeleteTopicsRequest, DeleteTopicsResponse;
    DeleteRecords = 21, 0..=2, flexible 2, delete_records::DeleteRecordsRequest, DeleteRecordsResponse;
    InitProducerId = 22, 0..=5, flexible 2, init_producer_id::InitProducerIdRequest, InitProducerIdResponse;
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4,
        offset_for_leader_epoch::OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
    AddPartitionsToTxn = 24, 0..=5, flexible 3,
        add_partitions_to_txn::AddPartitionsToTxnRequest, AddPartitionsToTxnResponse;
    AddOffsetsToTxn = 25, 0..=4, flexible 3,
        add_offsets_to_txn::AddOffsetsToTxnRequest, AddOffsetsToTxnResponse;
    EndTxn = 26, 0..=5, flexible 3, end_txn::EndTxnRequest, EndTxnResponse;
    WriteTxnMarkers = 27, 1..=1, flexible 1,
        write_txn_markers::WriteTxnMarkersRequest, WriteTxnMarkersResponse;
    TxnOffsetCommit = 28, 0..=5, flexible 3,
        txn_offset_commit::TxnOffsetCommitRequest, TxnOffsetCommitResponse;
    DescribeAcls = 29, 1..=3, flexible 2, describe_acls::DescribeAclsRequest, DescribeAclsResponse;
    CreateAcls = 30, 1..=3, flexible 2, create_acls::CreateAclsRequest, CreateAclsResponse;
    DeleteAcls = 31, 1..=3, flexible 2, delete_acls::DeleteAclsRequest, DeleteAclsResponse;
    DescribeConfigs = 32, 1..=4, flexible 4,
        describe_configs::DescribeConfigsRequest, DescribeConfigsResponse;
    AlterConfigs = 33, 0..=2, flexible 2, alter_configs::AlterConfigsRequest, AlterConfigsResponse;
    DescribeLogDirs = 35, 1..=4, flexible 2,
        describe_log_dirs::DescribeLogDirsRequest, DescribeLogDirsResponse;
    SaslAuthenticate = 36, 0..=2, flexible 2,
        sasl_authenticate::SaslAuthenticateRequest, SaslAuthenticateResponse;
    CreatePartitions = 37, 0..=3, flexible 2,
        create_partitions::CreatePartitionsRequest, CreatePartitionsResponse;
    DeleteGroups = 42, 0..=2, flexible 2, delete_groups::DeleteGroupsRequest, DeleteGroupsResponse;
    ElectLeaders = 43, 0..=2, flexible 2, elect_leaders::ElectLeadersRequest, ElectLeadersResponse;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1,
        incremental_alter_configs::IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
    AlterPartitionReassignments = 45, 0..=1, flexible 0,
        alter_partition_reassignments::AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
    ListPartitionReassignments = 46, 0..=0, flexible 0,
        list_partition_reassignments::ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
    OffsetDelete = 47, 0..=0, flexible NEVER, offset_delete::OffsetDeleteRequest, OffsetDeleteResponse;
    DescribeClientQuotas = 48, 0..=1, flexible 1,
        describe_client_quotas::DescribeClientQuotasRequest, DescribeClientQuotasResponse;
    AlterClientQuotas = 49, 0..=1, flexible 1,
        alter_client_quotas::AlterClientQuotasRequest, AlterClientQuotasResponse;
    DescribeUserScramCredentials = 50, 0..=0, flexible 0,
        describe_user_scram_credentials::DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse;
    AlterUserScramCredentials = 51, 0..=0, flexible 0,
        alter_user_scram_credentials::AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse;
    DescribeCluster = 60, 0..=2, flexible 0,
        describe_cluster::DescribeClusterRequest, DescribeClusterResponse;
    DescribeProducers = 61, 0..=0, flexible 0,
        describe_producers::DescribeProducersRequest, DescribeProducersResponse;
    DescribeTransactions = 65, 0..=0, flexible 0,
        describe_transactions::DescribeTransactionsRequest, DescribeTransactionsResponse;
    ListTransactions = 66, 0..=2, flexible 0,
        list_transactions::ListTransactionsRequest, ListTransactionsResponse;
    ConsumerGroupHeartbeat = 68, 0..=1, flexible 0,
        consumer_group_heartbeat::ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse;
    ConsumerGroupDescribe = 69, 0..=1, flexible 0,
        consumer_group_describe::ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse;
    ListConfigResources = 74, 0..=1, flexible 0,
        list_config_resources::ListConfigResourcesRequest, ListConfigResourcesResponse;
    DescribeTopicPartitions = 75, 0..=0, flexible 0,
        describe_topic_partitions::DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
}

/// Stands for "no version is flexible".
const NEVER: i16 = i16::MAX;

impl ApiKey {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Whether this version is flexible.
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_since()
    }

    /// The version of the request header: 2 has tagged fields.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response header: 1 has tagged fields. That of ApiVersions never has them, because a
    /// client must be able to read it before it knows what the broker speaks (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && self != ApiKey::ApiVersions {
            1
        } else {
            0
        }
    }
}
