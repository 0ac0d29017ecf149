//! Answers that refuse a request with one error code, in the places where a broker of its version puts it.

mod groups;
mod others;
mod records;
mod topics;
mod transactions;

use bytes::Bytes;
use heliostat_wire::{
    ErrorCode, Uuid,
    message::{ApiKey, Request, decode_message, encode_response},
};

use crate::{
    api::{Peer, Reply},
    broker::Broker,
};

/// A request that can be refused.
trait Refusable: Request {
    /// Whether it names topics.
    const NAMES_TOPICS: bool = false;

    /// The topics that it names.
    fn topics(&self) -> Vec<Named<'_>> {
        Vec::new()
    }

    /// The answer; `None` if the client wants none, whose connection is closed then, as Kafka does.
    fn refuse(self, refusal: &Refusal<'_>) -> Option<Self::Response>;
}

/// A topic as a request names it.
enum Named<'a> {
    Name(&'a str),
    Id(Uuid),
}

/// How a request is refused.
pub(super) struct Refusal<'a> {
    pub(super) broker: &'a Broker,
    pub(super) peer: &'a Peer,
    pub(super) version: i16,
    pub(super) error: ErrorCode,
    /// A text for the answers that have one.
    pub(super) message: String,
}

impl Refusal<'_> {
    fn code(&self) -> i16 {
        self.error.code()
    }

    fn message(&self) -> Option<String> {
        Some(self.message.clone())
    }
}

macro_rules! refusable {
    ($($name:ident $request:ident,)*) => {
        /// The answer that refuses this request; `None` if it cannot be read, or if there is no such answer.
        pub(super) fn refuse(key: ApiKey, correlation_id: i32, body: Bytes, refusal: &Refusal<'_>) -> Option<Reply> {
            match key {
                $(ApiKey::$name => answer::<heliostat_wire::message::$request>(correlation_id, body, refusal),)*
                #[allow(unreachable_patterns)]
                _ => None,
            }
        }

        /// Whether the request names the topic.
        pub(super) fn names(key: ApiKey, version: i16, body: Bytes, topic: &str, broker: &Broker) -> bool {
            match key {
                $(ApiKey::$name => is_named::<heliostat_wire::message::$request>(version, body, topic, broker),)*
                #[allow(unreachable_patterns)]
                _ => false,
            }
        }

        /// Whether requests of this API can be refused, and whether they name topics.
        pub(super) fn abilities(key: ApiKey) -> Option<bool> {
            match key {
                $(ApiKey::$name => Some(<heliostat_wire::message::$request as Refusable>::NAMES_TOPICS),)*
                #[allow(unreachable_patterns)]
                _ => None,
            }
        }
    };
}

refusable! {
    Produce ProduceRequest,
    Fetch FetchRequest,
    ListOffsets ListOffsetsRequest,
    Metadata MetadataRequest,
    OffsetCommit OffsetCommitRequest,
    OffsetFetch OffsetFetchRequest,
    FindCoordinator FindCoordinatorRequest,
    JoinGroup JoinGroupRequest,
    Heartbeat HeartbeatRequest,
    LeaveGroup LeaveGroupRequest,
    SyncGroup SyncGroupRequest,
    DescribeGroups DescribeGroupsRequest,
    ListGroups ListGroupsRequest,
    SaslHandshake SaslHandshakeRequest,
    ApiVersions ApiVersionsRequest,
    CreateTopics CreateTopicsRequest,
    DeleteTopics DeleteTopicsRequest,
    DeleteRecords DeleteRecordsRequest,
    InitProducerId InitProducerIdRequest,
    OffsetForLeaderEpoch OffsetForLeaderEpochRequest,
    AddPartitionsToTxn AddPartitionsToTxnRequest,
    AddOffsetsToTxn AddOffsetsToTxnRequest,
    EndTxn EndTxnRequest,
    WriteTxnMarkers WriteTxnMarkersRequest,
    TxnOffsetCommit TxnOffsetCommitRequest,
    DescribeAcls DescribeAclsRequest,
    CreateAcls CreateAclsRequest,
    DescribeConfigs DescribeConfigsRequest,
    AlterConfigs AlterConfigsRequest,
    DescribeLogDirs DescribeLogDirsRequest,
    SaslAuthenticate SaslAuthenticateRequest,
    CreatePartitions CreatePartitionsRequest,
    DeleteGroups DeleteGroupsRequest,
    ElectLeaders ElectLeadersRequest,
    IncrementalAlterConfigs IncrementalAlterConfigsRequest,
    AlterPartitionReassignments AlterPartitionReassignmentsRequest,
    ListPartitionReassignments ListPartitionReassignmentsRequest,
    OffsetDelete OffsetDeleteRequest,
    DescribeClientQuotas DescribeClientQuotasRequest,
    AlterClientQuotas AlterClientQuotasRequest,
    DescribeCluster DescribeClusterRequest,
    DescribeQuorum DescribeQuorumRequest,
    UpdateFeatures UpdateFeaturesRequest,
    DescribeProducers DescribeProducersRequest,
    DescribeTopicPartitions DescribeTopicPartitionsRequest,
    ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest,
    ConsumerGroupDescribe ConsumerGroupDescribeRequest,
    ListConfigResources ListConfigResourcesRequest,
    DescribeTransactions DescribeTransactionsRequest,
    ListTransactions ListTransactionsRequest,
    DeleteAcls DeleteAclsRequest,
    DescribeUserScramCredentials DescribeUserScramCredentialsRequest,
    AlterUserScramCredentials AlterUserScramCredentialsRequest,
}

fn answer<R: Refusable>(correlation_id: i32, body: Bytes, refusal: &Refusal<'_>) -> Option<Reply> {
    // What cannot be read is for the real handler to turn down.
    let request = decode_message::<R>(body, refusal.version).ok()?;
    let Some(response) = request.refuse(refusal) else {
        return Some(Reply::Close(format!("{} was refused by a fault", R::KEY.name())));
    };
    let frame = encode_response(&response, refusal.version, correlation_id).ok()?;
    Some(Reply::Frame(frame))
}

fn is_named<R: Refusable>(version: i16, body: Bytes, topic: &str, broker: &Broker) -> bool {
    let Ok(request) = decode_message::<R>(body, version) else {
        return false;
    };
    let id = broker.image().topic(topic).map(|topic| topic.id);
    request.topics().iter().any(|named| match named {
        Named::Name(name) => *name == topic,
        Named::Id(named) => Some(*named) == id,
    })
}

/// Both forms of a name: some versions have one, some the other.
fn named(name: &str, id: Uuid) -> Named<'_> {
    if id.is_zero() {
        Named::Name(name)
    } else {
        Named::Id(id)
    }
}
