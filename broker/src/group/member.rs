//! One member of a group.

use bytes::Bytes;
use heliostat_wire::message::join_group::JoinGroupRequest;

use super::Ticket;
use super::room::{MEMBER_BYTES, texts};

/// Who sends a request, as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The client id of the request's header; empty when it has none.
    pub id: String,
    /// The peer's address in the form that Kafka uses, `/127.0.0.1`.
    pub host: String,
}

/// A member: what it said when it joined, what it was assigned, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub id: String,
    /// `group.instance.id`: with it, a member is static (KIP-345).
    pub instance_id: Option<String>,
    pub client: Client,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// Names and metadata of the protocols that the member supports, its favourite first.
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    pub awaiting_join: Option<Ticket>,
    pub awaiting_sync: Option<Ticket>,
    /// The member waits for its first join to complete: it does not know its generation, and cannot send heartbeats.
    pub is_new: bool,
    /// When the session ends if nothing is heard, in milliseconds of the timer clock.
    pub session_deadline: Option<i64>,
}

impl Member {
    pub fn new(id: String, client: &Client, request: &JoinGroupRequest) -> Self {
        Self {
            id,
            instance_id: request.group_instance_id.clone(),
            client: client.clone(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: protocols_of(request),
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
            session_deadline: None,
        }
    }

    /// The metadata for a protocol; empty when the member does not have it.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, m)| m.clone())
            .unwrap_or_default()
    }

    pub fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What it takes in memory for who it is and what it says, in bytes.
    pub fn said_bytes(&self) -> usize {
        let names = [&self.id, &self.client.id, &self.client.host].map(String::as_str);
        let protocols = self.protocols.iter();
        let said: usize = protocols
            .map(|(name, metadata)| name.len() + metadata.len())
            .sum();
        MEMBER_BYTES + texts(names.into_iter().chain(self.instance_id.as_deref())) + 2 * said
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.said_bytes() + 2 * self.assignment.len()
    }

    /// Starts the session anew.
    pub fn heard(&mut self, now: i64) {
        self.session_deadline = Some(now + i64::from(self.session_timeout_ms));
    }

    /// Takes over what a rejoining member says about itself.
    pub fn update(&mut self, request: &JoinGroupRequest) {
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms = request.rebalance_timeout_ms;
        self.protocols = protocols_of(request);
    }
}

/// The most that a member may say about itself, and that it may be assigned, in bytes. Kafka has such a limit for the whole
/// group, and the same error: what it stores has to fit into a record of its topic of offsets.
pub(super) const METADATA_MAX: usize = 1 << 20;

/// What a member says about itself, in bytes.
pub(super) fn metadata_size(request: &JoinGroupRequest) -> usize {
    request
        .protocols
        .iter()
        .map(|p| p.name.len() + p.metadata.len())
        .sum()
}

/// What a member takes in memory that is made of this request, in bytes.
pub(super) fn bytes_of(client: &Client, request: &JoinGroupRequest) -> usize {
    let instance_id = request.group_instance_id.as_deref();
    // An id that it is yet to be given begins with one of these.
    let new = instance_id.unwrap_or(&client.id);
    let id = Some(request.member_id.as_str()).filter(|id| !id.is_empty());
    let names = [id.unwrap_or(new), &client.id, &client.host];
    MEMBER_BYTES + texts(names.into_iter().chain(instance_id)) + 2 * metadata_size(request)
}

pub(super) fn protocols_of(request: &JoinGroupRequest) -> Vec<(String, Bytes)> {
    request
        .protocols
        .iter()
        // A copy: a slice would keep the whole request in memory for as long as the member is there.
        .map(|p| (p.name.clone(), Bytes::copy_from_slice(&p.metadata)))
        .collect()
}
