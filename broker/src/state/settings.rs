//! The properties that a cluster was started with, as typed values.

use std::{collections::BTreeMap, time::Duration};

use super::keys::BROKER_KEYS;
use crate::group::{ConsumerConfig, MigrationPolicy};
use crate::log::FlushPolicy;

/// What the broker itself goes by. Topics' defaults are not here: see [`crate::configs`].
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) auto_create_topics: bool,
    pub(crate) rack: Option<String>,
    pub(crate) cleaner_enable: bool,
    pub(crate) connections_max_idle: Duration,
    /// Zero without a limit.
    pub(crate) connections_max_reauth: Duration,
    pub(crate) controller_quota_window_num: usize,
    pub(crate) controller_quota_window_size: Duration,
    pub(crate) failed_authentication_delay: Duration,
    pub(crate) default_replication_factor: i16,
    pub(crate) delete_topic_enable: bool,
    pub(crate) fetch_max_bytes: usize,
    pub(crate) group_consumer: ConsumerConfig,
    pub(crate) group_initial_rebalance_delay: Duration,
    pub(crate) group_max_session_timeout: Duration,
    pub(crate) group_max_size: usize,
    pub(crate) group_min_session_timeout: Duration,
    pub(crate) flush_group_interval: Duration,
    pub(crate) flush_policy: FlushPolicy,
    pub(crate) retention_check_interval: Duration,
    pub(crate) fetch_session_cache_slots: usize,
    pub(crate) num_partitions: i32,
    pub(crate) offset_metadata_max_bytes: usize,
    pub(crate) offsets_retention_check_interval: Duration,
    pub(crate) offsets_retention: Duration,
    pub(crate) queued_max_request_bytes: usize,
    pub(crate) quota_window_num: usize,
    pub(crate) quota_window_size: Duration,
    pub(crate) sasl_max_receive_bytes: usize,
    pub(crate) socket_request_max_bytes: usize,
    /// `None` leaves it to the system.
    pub(crate) socket_send_buffer_bytes: Option<usize>,
    pub(crate) transaction_timeout_check_interval: Duration,
    pub(crate) transaction_max_timeout: Duration,
    pub(crate) transaction_expiration_check_interval: Duration,
    pub(crate) transactional_id_expiration: Duration,
}

impl Settings {
    /// Reads properties, whose values have been checked.
    pub(crate) fn new(properties: &BTreeMap<String, String>) -> Self {
        let values = Values(properties);
        Settings {
            auto_create_topics: values.boolean("auto.create.topics.enable"),
            rack: Some(values.text("broker.rack").to_owned()).filter(|rack| !rack.is_empty()),
            cleaner_enable: values.boolean("log.cleaner.enable"),
            connections_max_idle: values.millis("connections.max.idle.ms"),
            controller_quota_window_num: values.size("controller.quota.window.num"),
            controller_quota_window_size: values.seconds("controller.quota.window.size.seconds"),
            connections_max_reauth: values.millis("connections.max.reauth.ms"),
            failed_authentication_delay: values.millis("connection.failed.authentication.delay.ms"),
            default_replication_factor: values.number("default.replication.factor") as i16,
            delete_topic_enable: values.boolean("delete.topic.enable"),
            fetch_max_bytes: values.size("fetch.max.bytes"),
            group_consumer: ConsumerConfig {
                assignors: values.list("group.consumer.assignors"),
                session_timeout: values.millis("group.consumer.session.timeout.ms"),
                heartbeat_interval: values.millis("group.consumer.heartbeat.interval.ms"),
                max_size: values.size("group.consumer.max.size"),
                migration: MigrationPolicy::from_name(values.text("group.consumer.migration.policy"))
                    .unwrap_or_default(),
            },
            group_initial_rebalance_delay: values.millis("group.initial.rebalance.delay.ms"),
            group_max_session_timeout: values.millis("group.max.session.timeout.ms"),
            group_max_size: values.size("group.max.size"),
            group_min_session_timeout: values.millis("group.min.session.timeout.ms"),
            flush_group_interval: values.millis("log.flush.group.interval.ms"),
            flush_policy: match values.text("log.flush.policy").to_ascii_lowercase().as_str() {
                "os" => FlushPolicy::Os,
                "each" => FlushPolicy::Each,
                _ => FlushPolicy::GroupCommit,
            },
            retention_check_interval: values.millis("log.retention.check.interval.ms"),
            fetch_session_cache_slots: values.size("max.incremental.fetch.session.cache.slots"),
            num_partitions: values.number("num.partitions") as i32,
            offset_metadata_max_bytes: values.size("offset.metadata.max.bytes"),
            offsets_retention_check_interval: values.millis("offsets.retention.check.interval.ms"),
            offsets_retention: Duration::from_secs(60 * values.number("offsets.retention.minutes") as u64),
            queued_max_request_bytes: match values.number("queued.max.request.bytes") {
                ..=0 => usize::MAX,
                bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
            },
            quota_window_num: values.size("quota.window.num"),
            quota_window_size: values.seconds("quota.window.size.seconds"),
            sasl_max_receive_bytes: values.size("sasl.server.max.receive.size"),
            socket_request_max_bytes: values.size("socket.request.max.bytes"),
            socket_send_buffer_bytes: usize::try_from(values.number("socket.send.buffer.bytes")).ok(),
            transaction_timeout_check_interval: values
                .millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            transaction_max_timeout: values.millis("transaction.max.timeout.ms"),
            transaction_expiration_check_interval: values
                .millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
            transactional_id_expiration: values.millis("transactional.id.expiration.ms"),
        }
    }
}

/// Values that were checked when the properties were taken in, so what does not parse here is a mistake in the table.
struct Values<'a>(&'a BTreeMap<String, String>);

impl Values<'_> {
    fn text(&self, name: &str) -> &str {
        let default = BROKER_KEYS
            .iter()
            .find(|key| key.name == name)
            .map(|key| key.default);
        match (self.0.get(name), default) {
            (Some(value), Some(_)) => value.trim(),
            (None, Some(default)) => default,
            (_, None) => unreachable!("{name} is not in the table"),
        }
    }

    fn boolean(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name)
            .parse()
            .unwrap_or_else(|_| unreachable!("{name} was checked to be a number"))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let elements = self.text(name).split(',').map(str::trim);
        elements
            .filter(|element| !element.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn size(&self, name: &str) -> usize {
        self.number(name).max(0) as usize
    }

    fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(self.number(name).max(0) as u64)
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name).max(0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_what_was_set() {
        let settings = Settings::new(&BTreeMap::from([("num.partitions".to_owned(), " 4 ".to_owned())]));
        assert_eq!(settings.num_partitions, 4);
        assert_eq!(settings.socket_request_max_bytes, 100 << 20);
        assert_eq!(settings.offsets_retention, Duration::from_secs(7 * 24 * 60 * 60));
        assert!(settings.auto_create_topics);
        assert_eq!(settings.rack, None);
        assert_eq!(settings.flush_policy, FlushPolicy::GroupCommit);
    }
}
