//! The APIs: one file for each, and the one table that lists them.
//!
//! A handler is a function from a [`Context`] and a request to a response. What is common to all of them happens
//! here: the header, unknown APIs and versions, decoding and encoding.

mod answers;
mod coordinated;
mod distinct;
mod in_process;
mod operations;
mod reply;
mod resource;
mod throttle;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use heliostat_wire::message::{ApiKey, RequestHeader};
use tracing::warn;

use crate::{
    broker::Broker,
    fault,
    quota::ANONYMOUS,
    sasl::{Admission, Sasl, Session},
};
pub(crate) use answers::Held;
pub(crate) use metadata::brokers as metadata_brokers;
pub(crate) use reply::{Later, Reply};

/// Who is at the other end of a connection, and where it ends.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The client's address.
    pub(crate) address: IpAddr,
    /// The client's port.
    pub(crate) port: u16,
    /// The address that the client connected to.
    pub(crate) local_address: IpAddr,
    /// The node that it connected to.
    pub(crate) node_id: i32,
    /// Whether it is known who the client is; `None` where nobody is asked.
    pub(crate) session: Option<Arc<Session>>,
}

impl Peer {
    /// The client's address and port.
    pub(crate) fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

/// What a handler knows besides the request.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The cluster, as all nodes share it.
    pub(crate) broker: Arc<Broker>,
    /// The connection's ends.
    pub(crate) peer: Peer,
    /// The version of the request, and so of the response.
    pub(crate) api_version: i16,
    /// The name that the client gives itself.
    pub(crate) client_id: String,
}

/// A row of the table.
pub(crate) struct Api {
    /// The API.
    pub(crate) key: ApiKey,
    /// The versions that are accepted.
    pub(crate) versions: RangeInclusive<i16>,
    handler: fn(Call) -> Pin<Box<dyn Future<Output = Reply> + Send>>,
}

/// An API that a built-in cluster answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportedApi {
    /// Kafka's number for it.
    pub key: i16,
    /// Kafka's name of it.
    pub name: &'static str,
    /// The versions that are accepted.
    pub versions: RangeInclusive<i16>,
}

/// A request whose header has been read.
#[derive(Clone)]
struct Call {
    context: Context,
    correlation_id: i32,
    /// Bytes of the whole request, without its size.
    request_bytes: usize,
    body: Bytes,
}

macro_rules! table {
    ($($key:ident, $versions:expr => $module:ident;)*) => {
        $(mod $module;)*

        /// Every API that this broker answers.
        pub(crate) static TABLE: &[Api] = &[$(
            Api {
                key: ApiKey::$key,
                versions: $versions,
                handler: |call| Box::pin(reply::run(call, $module::handle)),
            },
        )*];
    };
}

// The versions are those of Kafka 4.1: some clients tell a broker's release from them.
table! {
    Produce, 3..=13 => produce;
    Fetch, 4..=18 => fetch;
    ListOffsets, 1..=10 => list_offsets;
    ApiVersions, 0..=4 => api_versions;
    Metadata, 0..=13 => metadata;
    DescribeCluster, 0..=2 => describe_cluster;
    DescribeQuorum, 0..=2 => describe_quorum;
    UpdateFeatures, 0..=2 => update_features;
    CreateTopics, 2..=7 => create_topics;
    DeleteTopics, 1..=6 => delete_topics;
    CreatePartitions, 0..=3 => create_partitions;
    DescribeConfigs, 1..=4 => describe_configs;
    AlterConfigs, 0..=2 => alter_configs;
    IncrementalAlterConfigs, 0..=1 => incremental_alter_configs;
    DeleteRecords, 0..=2 => delete_records;
    OffsetForLeaderEpoch, 2..=4 => offset_for_leader_epoch;
    InitProducerId, 0..=5 => init_producer_id;
    AddPartitionsToTxn, 0..=5 => add_partitions_to_txn;
    AddOffsetsToTxn, 0..=4 => add_offsets_to_txn;
    EndTxn, 0..=5 => end_txn;
    TxnOffsetCommit, 0..=5 => txn_offset_commit;
    WriteTxnMarkers, 1..=1 => write_txn_markers;
    DescribeProducers, 0..=0 => describe_producers;
    DescribeTransactions, 0..=0 => describe_transactions;
    ListTransactions, 0..=2 => list_transactions;
    FindCoordinator, 0..=6 => find_coordinator;
    JoinGroup, 0..=9 => join_group;
    SyncGroup, 0..=5 => sync_group;
    Heartbeat, 0..=4 => heartbeat;
    LeaveGroup, 0..=5 => leave_group;
    OffsetCommit, 2..=9 => offset_commit;
    OffsetFetch, 1..=9 => offset_fetch;
    ListGroups, 0..=5 => list_groups;
    DescribeGroups, 0..=6 => describe_groups;
    DeleteGroups, 0..=2 => delete_groups;
    OffsetDelete, 0..=0 => offset_delete;
    DescribeClientQuotas, 0..=1 => describe_client_quotas;
    AlterClientQuotas, 0..=1 => alter_client_quotas;
    DescribeAcls, 1..=3 => describe_acls;
    CreateAcls, 1..=3 => create_acls;
    DeleteAcls, 1..=3 => delete_acls;
    SaslHandshake, 0..=1 => sasl_handshake;
    SaslAuthenticate, 0..=2 => sasl_authenticate;
    DescribeUserScramCredentials, 0..=0 => describe_user_scram_credentials;
    AlterUserScramCredentials, 0..=0 => alter_user_scram_credentials;
    DescribeLogDirs, 1..=4 => describe_log_dirs;
    ElectLeaders, 0..=2 => elect_leaders;
    AlterPartitionReassignments, 0..=1 => alter_partition_reassignments;
    ListPartitionReassignments, 0..=0 => list_partition_reassignments;
    ConsumerGroupHeartbeat, 0..=1 => consumer_group_heartbeat;
    ConsumerGroupDescribe, 0..=1 => consumer_group_describe;
    ListConfigResources, 0..=1 => list_config_resources;
    DescribeTopicPartitions, 0..=0 => describe_topic_partitions;
}

impl Context {
    /// The node that the client talks to.
    pub(crate) fn node_id(&self) -> i32 {
        self.peer.node_id
    }

    /// The user that the client is.
    pub(crate) fn user(&self) -> &str {
        let session = self.peer.session.as_deref();
        session.and_then(Session::user).unwrap_or(ANONYMOUS)
    }

    /// Whether it is known who the client is, or nobody asks.
    pub(crate) fn is_known(&self) -> bool {
        let session = self.peer.session.as_deref();
        session.is_none_or(|session| session.user().is_some())
    }

    /// What is needed to find out who the client is; `None` where nobody asks.
    pub(crate) fn sasl(&self) -> Option<(&Sasl, &Session)> {
        Some((self.broker.sasl()?, self.peer.session.as_deref()?))
    }

    /// Whether the client talks to the node that coordinates this group.
    pub(crate) fn is_coordinator(&self, group_id: &str) -> bool {
        self.broker
            .coordinator(group_id)
            .is_some_and(|node| node.id == self.node_id())
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.key.name(), self.versions)
    }
}

/// Every API that a built-in cluster answers, in the order of the table.
pub fn supported_apis() -> Vec<SupportedApi> {
    let row = |api: &Api| SupportedApi {
        key: api.key.code(),
        name: api.key.name(),
        versions: api.versions.clone(),
    };
    TABLE.iter().map(row).collect()
}

/// Whether requests of this API and version are answered.
pub(crate) fn supports(key: ApiKey, version: i16) -> bool {
    TABLE
        .iter()
        .any(|api| api.key == key && api.versions.contains(&version))
}

/// Whether the request waits for something that may never happen, such as records or other members.
pub(crate) fn may_wait(frame: &[u8]) -> bool {
    let waiting = [ApiKey::Fetch, ApiKey::JoinGroup, ApiKey::SyncGroup];
    let key = frame.first_chunk().map(|key| i16::from_be_bytes(*key));
    waiting.iter().any(|api| Some(api.code()) == key)
}

/// Whether the request may begin before those in front of it are answered, because the order of its own kind is all
/// that matters to it.
pub(crate) fn may_be_answered_later(frame: &[u8]) -> bool {
    let key = frame.first_chunk().map(|key| i16::from_be_bytes(*key));
    key == Some(ApiKey::Produce.code())
}

/// Whether the request changes more than one thing, of which a half must not be left because its connection is cut.
fn is_seen_through(key: ApiKey) -> bool {
    use ApiKey::{
        AlterClientQuotas, AlterConfigs, AlterPartitionReassignments, AlterUserScramCredentials,
        CreatePartitions, CreateTopics, DeleteTopics, IncrementalAlterConfigs, Metadata,
    };
    matches!(
        key,
        AlterClientQuotas
            | AlterConfigs
            | AlterPartitionReassignments
            | AlterUserScramCredentials
            | CreatePartitions
            | CreateTopics
            | DeleteTopics
            | IncrementalAlterConfigs
            // Asking for a topic can create it.
            | Metadata
    )
}

/// Answers one frame.
pub(crate) async fn handle(broker: &Arc<Broker>, peer: &Peer, mut frame: Bytes) -> Reply {
    let request_bytes = frame.len();
    let header = match RequestHeader::decode(&mut frame) {
        Ok(header) => header,
        Err(error) => return Reply::Close(format!("a request has no readable header: {error}")),
    };
    let Some(api) = TABLE.iter().find(|api| api.key.code() == header.api_key) else {
        return Reply::Close(format!("the API {} is not supported", header.api_key));
    };
    if let Some(session) = peer.session.as_deref()
        && let Some(refused) = turn_away(broker, peer, session, &header, api, &frame)
    {
        return refused;
    }
    if !api.versions.contains(&header.api_version) {
        if api.key == ApiKey::ApiVersions {
            return api_versions::unsupported(header.correlation_id);
        }
        return Reply::Close(format!(
            "version {} of {} is not supported",
            header.api_version,
            api.key.name()
        ));
    }
    let context = Context {
        broker: broker.clone(),
        peer: peer.clone(),
        api_version: header.api_version,
        client_id: header.client_id.unwrap_or_default(),
    };
    let call = Call {
        context,
        correlation_id: header.correlation_id,
        request_bytes,
        body: frame,
    };
    let reply = (api.handler)(call);
    let reply = if is_seen_through(api.key) {
        finished(tokio::spawn(reply)).await
    } else {
        reply.await
    };
    let reply = match peer.session.as_deref().and_then(Session::failure) {
        Some(reason) => refused(broker, Some(reply), reason),
        None => reply,
    };
    if let Reply::Close(reason) = &reply {
        warn!(
            api = api.key.name(),
            version = header.api_version,
            reason,
            "a request cannot be answered"
        );
    }
    reply
}

/// Takes a token that comes without a header (SaslHandshake version 0).
pub(crate) fn take_token(broker: &Broker, session: &Session, token: &[u8]) -> Reply {
    let Some(sasl) = broker.sasl() else {
        return Reply::Close("this listener takes no tokens".to_owned());
    };
    match session.authenticate(broker, sasl, token) {
        Ok((answer, _)) => reply::bare(answer),
        Err((_, reason)) => refused(broker, None, reason),
    }
}

/// What becomes of a request that cannot be handled as long as it is not known who the client is; `None` if it can.
fn turn_away(
    broker: &Broker,
    peer: &Peer,
    session: &Session,
    header: &RequestHeader,
    api: &Api,
    body: &Bytes,
) -> Option<Reply> {
    let answer = match session.admit(api.key) {
        Admission::Handled => return None,
        Admission::Unknown(reason) => {
            if let Some(sasl) = broker.sasl() {
                let client_id = header.client_id.as_deref().unwrap_or_default();
                sasl.note_without_credentials(broker, peer, client_id, &reason);
            }
            return Some(Reply::Close(reason));
        }
        Admission::Closed(reason) => return Some(Reply::Close(reason)),
        Admission::Refused => fault::illegal_sasl_state(broker, peer, api.key, header, body.clone()),
    };
    Some(refused(broker, answer, session.failure().unwrap_or_default()))
}

fn refused(broker: &Broker, answer: Option<Reply>, reason: String) -> Reply {
    Reply::Refused {
        answer: answer.map(Box::new),
        delay: broker.settings().failed_authentication_delay,
        reason,
    }
}

/// Does what blocks for as long as the file system does, without keeping other connections waiting.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finished(tokio::task::spawn_blocking(throttle::counted(work))).await
}

/// What a task has come to; it goes on without the one that waits here.
async fn finished<T>(task: tokio::task::JoinHandle<T>) -> T {
    match task.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going away, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_encoded_and_decoded() {
        for api in TABLE {
            let known = api.key.versions();
            assert!(
                known.contains(api.versions.start()) && known.contains(api.versions.end()),
                "{api:?}"
            );
            assert_eq!(
                TABLE.iter().filter(|other| other.key == api.key).count(),
                1,
                "{api:?}"
            );
        }
    }
}
