//! What an operator can set about groups.

use std::time::Duration;

use super::consumer::assignor::Assignor;
use super::room::ROOM_BYTES;
use crate::state::Image;

/// Settings of the group coordinator; the defaults are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`: how long the first member of an empty group waits for others.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout: Duration,
    /// `group.max.size`, in members.
    pub max_size: usize,
    /// What is set for the consumer protocol alone.
    pub consumer: ConsumerConfig,
    /// `offset.metadata.max.bytes`: the longest text that may come with a committed offset.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`: how long a group without members, or a topic that nobody reads any more, keeps offsets.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// The most memory that all groups take together, in bytes, about. Kafka has no such limit.
    pub memory_max: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            max_size: i32::MAX as usize,
            consumer: ConsumerConfig::default(),
            offset_metadata_max_bytes: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check_interval: Duration::from_secs(10 * 60),
            memory_max: ROOM_BYTES,
        }
    }
}

/// Settings of groups of the consumer protocol; the defaults are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// `group.consumer.assignors`: the names of those that members may ask for, the default first.
    pub assignors: Vec<String>,
    /// `group.consumer.session.timeout.ms`, for groups that have none of their own.
    pub session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`, for groups that have none of their own.
    pub heartbeat_interval: Duration,
    /// `group.consumer.max.size`, in members.
    pub max_size: usize,
    /// `group.consumer.migration.policy`.
    pub migration: MigrationPolicy,
}

/// Whether a group with members may change from one protocol to the other. One without members always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationPolicy {
    /// A classic group becomes one of the consumer protocol when a member of that protocol joins.
    pub upgrade: bool,
    /// The group becomes a classic one again when its last member of the consumer protocol is gone.
    pub downgrade: bool,
}

/// What one group's members are held to, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub session_timeout_ms: i64,
    pub heartbeat_interval_ms: i32,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            assignors: Assignor::ALL
                .iter()
                .map(|assignor| assignor.name().to_owned())
                .collect(),
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            max_size: i32::MAX as usize,
            migration: MigrationPolicy::default(),
        }
    }
}

impl Default for MigrationPolicy {
    fn default() -> Self {
        Self {
            upgrade: true,
            downgrade: true,
        }
    }
}

impl MigrationPolicy {
    /// The policy of this name: `disabled`, `upgrade`, `downgrade` or `bidirectional`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let (upgrade, downgrade) = match name.trim().to_ascii_lowercase().as_str() {
            "disabled" => (false, false),
            "upgrade" => (true, false),
            "downgrade" => (false, true),
            "bidirectional" => (true, true),
            _ => return None,
        };
        Some(Self { upgrade, downgrade })
    }
}

impl ConsumerConfig {
    /// The assignors that members may ask for.
    pub(super) fn assignors(&self) -> Vec<Assignor> {
        self.assignors
            .iter()
            .filter_map(|name| Assignor::from_name(name))
            .collect()
    }

    /// The assignor of groups whose members ask for none.
    pub(super) fn default_assignor(&self) -> Assignor {
        self.assignors().first().copied().unwrap_or(Assignor::Uniform)
    }

    /// What counts for a group: its own configuration before the broker's.
    pub(super) fn for_group(&self, group_id: &str, image: &Image) -> Limits {
        let own = image.group_configs(group_id);
        let millis = |name: &str, broker: Duration| {
            let own = own.get(name).and_then(|value| value.trim().parse().ok());
            own.unwrap_or(i64::try_from(broker.as_millis()).unwrap_or(i64::MAX))
        };
        let heartbeat = millis(HEARTBEAT_INTERVAL, self.heartbeat_interval);
        Limits {
            session_timeout_ms: millis(SESSION_TIMEOUT, self.session_timeout),
            heartbeat_interval_ms: i32::try_from(heartbeat).unwrap_or(i32::MAX),
        }
    }
}

/// A group's own session timeout.
pub(crate) const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
/// A group's own heartbeat interval.
pub(crate) const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";
