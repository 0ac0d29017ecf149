//! What one log makes of its topic's configuration: the values, typed.

use std::collections::BTreeMap;

use heliostat_wire::batch::TimestampType;
use heliostat_wire::compression::Compression;

use super::config::{ConfigError, split_list, topic_config};

/// The settings of one log. Sizes are in bytes, times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// cleanup.policy contains `delete`.
    pub delete: bool,
    /// cleanup.policy contains `compact`.
    pub compact: bool,
    /// compression.type; `None` means `producer`.
    pub compression: Option<Compression>,
    /// delete.retention.ms
    pub delete_retention_ms: i64,
    /// file.delete.delay.ms
    pub file_delete_delay_ms: i64,
    /// flush.messages
    pub flush_messages: i64,
    /// flush.ms
    pub flush_ms: i64,
    /// compression.gzip.level; -1 is the codec's default.
    pub gzip_level: i32,
    /// index.interval.bytes
    pub index_interval_bytes: u64,
    /// max.compaction.lag.ms
    pub max_compaction_lag_ms: i64,
    /// max.message.bytes
    pub max_message_bytes: u64,
    /// message.timestamp.after.max.ms
    pub timestamp_after_max_ms: i64,
    /// message.timestamp.before.max.ms
    pub timestamp_before_max_ms: i64,
    /// message.timestamp.type
    pub timestamp_type: TimestampType,
    /// min.cleanable.dirty.ratio
    pub min_cleanable_dirty_ratio: f64,
    /// min.compaction.lag.ms
    pub min_compaction_lag_ms: i64,
    /// min.insync.replicas
    pub min_insync_replicas: i32,
    /// preallocate
    pub preallocate: bool,
    /// retention.bytes; `None` is without limit.
    pub retention_bytes: Option<u64>,
    /// retention.ms; `None` is without limit.
    pub retention_ms: Option<i64>,
    /// segment.bytes, or internal.segment.bytes where it is set.
    pub segment_bytes: u64,
    /// segment.index.bytes
    pub segment_index_bytes: u64,
    /// segment.jitter.ms
    pub segment_jitter_ms: i64,
    /// segment.ms
    pub segment_ms: i64,
    /// compression.zstd.level
    pub zstd_level: i32,
    /// unclean.leader.election.enable
    pub unclean_leader_election: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            delete: true,
            compact: false,
            compression: None,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            gzip_level: -1,
            index_interval_bytes: 4096,
            max_compaction_lag_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            timestamp_after_max_ms: 3_600_000,
            timestamp_before_max_ms: i64::MAX,
            timestamp_type: TimestampType::CreateTime,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            min_insync_replicas: 1,
            preallocate: false,
            retention_bytes: None,
            retention_ms: Some(604_800_000),
            segment_bytes: 1 << 30,
            segment_index_bytes: 10 << 20,
            segment_jitter_ms: 0,
            segment_ms: 604_800_000,
            zstd_level: 3,
            unclean_leader_election: false,
        }
    }
}

impl LogConfig {
    /// The settings that these values (the topic's own, over the broker's defaults) mean. Everything not named keeps
    /// Kafka's default; a name or a value that Kafka would refuse is an error.
    pub fn parse(values: &BTreeMap<String, String>) -> Result<LogConfig, ConfigError> {
        let mut config = LogConfig::default();
        for (name, value) in values {
            topic_config(name)
                .ok_or_else(|| ConfigError::Unknown(name.clone()))?
                .check(value)?;
            config
                .set(name, value.trim())
                .ok_or_else(|| ConfigError::Invalid {
                    name: name.clone(),
                    value: value.clone(),
                    reason: "the value cannot be read".to_owned(),
                })?;
        }
        if let Some(bytes) = values.get("internal.segment.bytes") {
            config.segment_bytes = number(bytes.trim()).unwrap_or(config.segment_bytes);
        }
        if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
            return Err(ConfigError::Invalid {
                name: "min.compaction.lag.ms".to_owned(),
                value: config.min_compaction_lag_ms.to_string(),
                reason: format!(
                    "it is more than max.compaction.lag.ms, {}",
                    config.max_compaction_lag_ms
                ),
            });
        }
        Ok(config)
    }

    /// After how much time a segment is closed. Only closed ones are compacted, so max.compaction.lag.ms has a say.
    pub(crate) fn roll_ms(&self) -> i64 {
        if self.compact {
            self.segment_ms.min(self.max_compaction_lag_ms.max(0))
        } else {
            self.segment_ms
        }
    }

    /// The level at which this codec is to be used; `None` is the codec's default.
    pub(crate) fn level(&self, codec: Compression) -> Option<i32> {
        match codec {
            Compression::Gzip => Some(self.gzip_level),
            Compression::Zstd => Some(self.zstd_level),
            // This broker has one level of lz4, and snappy has none.
            _ => None,
        }
    }

    /// `None` if the value, which was checked before, cannot be read after all.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let long = || value.parse::<i64>().ok();
        match name {
            "cleanup.policy" => {
                let policies = split_list(value);
                self.delete = policies.iter().any(|policy| policy == "delete");
                self.compact = policies.iter().any(|policy| policy == "compact");
            }
            "compression.type" => {
                self.compression = if value == "producer" {
                    None
                } else {
                    Some(value.parse().ok()?)
                };
            }
            "compression.gzip.level" => self.gzip_level = value.parse().ok()?,
            "compression.zstd.level" => self.zstd_level = value.parse().ok()?,
            "delete.retention.ms" => self.delete_retention_ms = long()?,
            "file.delete.delay.ms" => self.file_delete_delay_ms = long()?,
            "flush.messages" => self.flush_messages = long()?,
            "flush.ms" => self.flush_ms = long()?,
            "index.interval.bytes" => self.index_interval_bytes = number(value)?,
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = long()?,
            "max.message.bytes" => self.max_message_bytes = number(value)?,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = long()?,
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = long()?,
            "message.timestamp.type" => {
                self.timestamp_type = match value {
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => TimestampType::CreateTime,
                };
            }
            "min.cleanable.dirty.ratio" => self.min_cleanable_dirty_ratio = value.parse().ok()?,
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = long()?,
            "min.insync.replicas" => self.min_insync_replicas = value.parse().ok()?,
            "preallocate" => self.preallocate = value.eq_ignore_ascii_case("true"),
            "retention.bytes" => self.retention_bytes = u64::try_from(long()?).ok(),
            "retention.ms" => self.retention_ms = Some(long()?).filter(|ms| *ms >= 0),
            "segment.bytes" => self.segment_bytes = number(value)?,
            "segment.index.bytes" => self.segment_index_bytes = number(value)?,
            "segment.jitter.ms" => self.segment_jitter_ms = long()?,
            "segment.ms" => self.segment_ms = long()?,
            "unclean.leader.election.enable" => {
                self.unclean_leader_election = value.eq_ignore_ascii_case("true");
            }
            // The rest concerns replication, tiered storage, and the level of lz4, of which there is one.
            _ => {}
        }
        Some(())
    }
}

fn number(value: &str) -> Option<u64> {
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::config::TOPIC_CONFIGS;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let table: Vec<_> = TOPIC_CONFIGS.iter().map(|key| (key.name, key.default)).collect();
        assert_eq!(LogConfig::parse(&values(&table)).unwrap(), LogConfig::default());
        assert_eq!(LogConfig::parse(&BTreeMap::new()).unwrap(), LogConfig::default());
    }

    #[test]
    fn values_are_typed() {
        let config = LogConfig::parse(&values(&[
            ("cleanup.policy", "compact, delete"),
            ("compression.type", "zstd"),
            ("compression.zstd.level", "7"),
            ("compression.gzip.level", "2"),
            ("retention.ms", "-1"),
            ("retention.bytes", "1000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("segment.bytes", "2000000"),
            ("internal.segment.bytes", "500"),
        ]))
        .unwrap();
        assert!(config.compact && config.delete);
        assert_eq!(
            (config.compression, config.level(Compression::Zstd)),
            (Some(Compression::Zstd), Some(7))
        );
        assert_eq!((config.retention_ms, config.retention_bytes), (None, Some(1000)));
        assert_eq!(config.timestamp_type, TimestampType::LogAppendTime);
        assert_eq!(config.segment_bytes, 500);
        let uncompressed = LogConfig::parse(&values(&[("compression.type", "uncompressed")])).unwrap();
        assert_eq!(uncompressed.compression, Some(Compression::None));
    }

    #[test]
    fn a_wrong_value_is_named() {
        let error = LogConfig::parse(&values(&[("retention.ms", "soon")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid value soon for configuration retention.ms: not a number of type LONG"
        );
        let error = LogConfig::parse(&values(&[("retention.hours", "1")])).unwrap_err();
        assert_eq!(error.to_string(), "unknown topic config name: retention.hours");
        let lags = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")];
        assert!(LogConfig::parse(&values(&lags)).is_err());
    }
}
