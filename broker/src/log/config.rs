//! Every topic configuration that Kafka 4.1 knows: its name, default, type and what it accepts.
//!
//! [`TOPIC_CONFIGS`] is what DescribeConfigs lists and what CreateTopics and the config APIs check against.
//! What a log makes of the values is in [`super::settings`].

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

/// One topic configuration.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    /// Kafka's name of it.
    pub name: &'static str,
    /// Its value where neither topic nor broker sets one.
    pub default: &'static str,
    /// The broker configuration that gives topics their default, if there is one.
    pub broker_synonym: Option<&'static str>,
    /// The type of its value.
    pub kind: ConfigKind,
    /// One sentence for people.
    pub doc: &'static str,
    /// What a value of that type must also satisfy.
    pub validator: Validator,
}

/// The type of a configuration's value, with the number that DescribeConfigs gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigKind {
    /// `true` or `false`.
    Boolean,
    /// Free text.
    String,
    /// 32 bits, signed.
    Int,
    /// 64 bits, signed.
    Long,
    /// A floating-point number.
    Double,
    /// Texts separated by commas.
    List,
}

/// What a configuration's value must satisfy beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Validator {
    /// Nothing.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number within these bounds, both included.
    Between(i64, i64),
    /// A fraction from 0 to 1.
    Fraction,
    /// -1, or a number within these bounds.
    MinusOneOrBetween(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any number of these words.
    ListOf(&'static [&'static str]),
    /// `*`, or `partition:broker` pairs.
    Replicas,
}

/// A configuration that cannot be applied; maps to INVALID_CONFIG.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// There is no such topic configuration.
    #[error("unknown topic config name: {0}")]
    Unknown(String),
    /// The value is not one that the configuration accepts.
    #[error("invalid value {value} for configuration {name}: {reason}")]
    Invalid {
        /// The configuration.
        name: String,
        /// The value that was given.
        value: String,
        /// What it must be instead.
        reason: String,
    },
}

/// All topic configurations of Kafka 4.1, in alphabetical order.
pub const TOPIC_CONFIGS: &[ConfigKey] = &[
    key("cleanup.policy", "delete", Some("log.cleanup.policy"), ConfigKind::List, Validator::ListOf(&["compact", "delete"]))
        .doc("Whether old segments are deleted (`delete`), reduced to the last record of each key (`compact`), or both."),
    key("compression.gzip.level", "-1", Some("compression.gzip.level"), ConfigKind::Int, Validator::MinusOneOrBetween(1, 9))
        .doc("Level at which the broker compresses with gzip, where compression.type is gzip."),
    key("compression.lz4.level", "9", Some("compression.lz4.level"), ConfigKind::Int, Validator::Between(1, 17))
        .doc("Level for lz4; this broker knows one level only, the fast one."),
    key("compression.type", "producer", Some("compression.type"), ConfigKind::String, Validator::OneOf(COMPRESSION_TYPES))
        .doc("The codec that batches are stored in; `producer` keeps each batch as its producer sent it."),
    key("compression.zstd.level", "3", Some("compression.zstd.level"), ConfigKind::Int, Validator::Between(-131_072, 22))
        .doc("Level at which the broker compresses with zstd, where compression.type is zstd."),
    key("delete.retention.ms", "86400000", Some("log.cleaner.delete.retention.ms"), ConfigKind::Long, Validator::AtLeast(0))
        .doc("How long tombstones stay on a compacted topic after the cleaner has passed them."),
    key("file.delete.delay.ms", "60000", Some("log.segment.delete.delay.ms"), ConfigKind::Long, Validator::AtLeast(0))
        .doc("How long the files of a deleted segment stay on disk, renamed."),
    key("flush.messages", "9223372036854775807", Some("log.flush.interval.messages"), ConfigKind::Long, Validator::AtLeast(1))
        .doc("After how many records the log is forced to disk; 1 means every append is."),
    key("flush.ms", "9223372036854775807", None, ConfigKind::Long, Validator::AtLeast(0))
        .doc("After how much time the log is forced to disk."),
    key("follower.replication.throttled.replicas", "", None, ConfigKind::List, Validator::Replicas)
        .doc("Follower replicas whose replication is throttled; nothing is replicated here."),
    key("index.interval.bytes", "4096", Some("log.index.interval.bytes"), ConfigKind::Int, Validator::AtLeast(0))
        .doc("How many bytes of log lie at most between two index entries, up to a batch."),
    key("leader.replication.throttled.replicas", "", None, ConfigKind::List, Validator::Replicas)
        .doc("Leader replicas whose replication is throttled; nothing is replicated here."),
    key("local.retention.bytes", "-2", Some("log.local.retention.bytes"), ConfigKind::Long, Validator::AtLeast(-2))
        .doc("Local retention by size of a topic in tiered storage; there is none here."),
    key("local.retention.ms", "-2", Some("log.local.retention.ms"), ConfigKind::Long, Validator::AtLeast(-2))
        .doc("Local retention by time of a topic in tiered storage; there is none here."),
    key("max.compaction.lag.ms", MAX, Some("log.cleaner.max.compaction.lag.ms"), ConfigKind::Long, Validator::AtLeast(1))
        .doc("After how much time a record must have become subject to compaction."),
    key("max.message.bytes", "1048588", Some("message.max.bytes"), ConfigKind::Int, Validator::AtLeast(0))
        .doc("The largest record batch that is accepted, in bytes as it is compressed."),
    key("message.timestamp.after.max.ms", "3600000", Some("log.message.timestamp.after.max.ms"), ConfigKind::Long, Validator::AtLeast(0))
        .doc("How far a record's timestamp may lie ahead of the broker's clock."),
    key("message.timestamp.before.max.ms", MAX, Some("log.message.timestamp.before.max.ms"), ConfigKind::Long, Validator::AtLeast(0))
        .doc("How far a record's timestamp may lie behind the broker's clock."),
    key("message.timestamp.type", "CreateTime", Some("log.message.timestamp.type"), ConfigKind::String, Validator::OneOf(&["CreateTime", "LogAppendTime"]))
        .doc("Whether records keep the time that their producer gave them or get the time of append."),
    key("min.cleanable.dirty.ratio", "0.5", Some("log.cleaner.min.cleanable.ratio"), ConfigKind::Double, Validator::Fraction)
        .doc("The share of uncompacted bytes from which on the cleaner takes up a log."),
    key("min.compaction.lag.ms", "0", Some("log.cleaner.min.compaction.lag.ms"), ConfigKind::Long, Validator::AtLeast(0))
        .doc("How long a record is safe from compaction."),
    key("min.insync.replicas", "1", Some("min.insync.replicas"), ConfigKind::Int, Validator::AtLeast(1))
        .doc("How many replicas must have a record before a produce with acks=all succeeds."),
    key("preallocate", "false", Some("log.preallocate"), ConfigKind::Boolean, Validator::Any)
        .doc("Whether a new segment's space is taken from the file system at once."),
    key("remote.log.copy.disable", "false", None, ConfigKind::Boolean, Validator::Any)
        .doc("Tiered storage: whether copying stops; there is no tiered storage here."),
    key("remote.log.delete.on.disable", "false", None, ConfigKind::Boolean, Validator::Any)
        .doc("Tiered storage: whether its data goes when it is disabled; there is no tiered storage here."),
    key("remote.storage.enable", "false", None, ConfigKind::Boolean, Validator::OneOf(&["false"]))
        .doc("Tiered storage: whether the topic uses it; there is none here, so only `false` is accepted."),
    key("retention.bytes", "-1", Some("log.retention.bytes"), ConfigKind::Long, Validator::Any)
        .doc("The size of a partition beyond which its oldest segments are deleted; negative: no limit."),
    key("retention.ms", "604800000", Some("log.retention.ms"), ConfigKind::Long, Validator::AtLeast(-1))
        .doc("The age beyond which segments are deleted, by their largest timestamp; -1: no limit."),
    key("segment.bytes", "1073741824", Some("log.segment.bytes"), ConfigKind::Int, Validator::AtLeast(1_048_576))
        .doc("The size at which a segment is closed and a new one started."),
    key("segment.index.bytes", "10485760", Some("log.index.size.max.bytes"), ConfigKind::Int, Validator::AtLeast(4))
        .doc("The size of an index at which its segment is closed."),
    key("segment.jitter.ms", "0", Some("log.roll.jitter.ms"), ConfigKind::Long, Validator::AtLeast(0))
        .doc("How much earlier than segment.ms a segment may be closed, at random, so that not all close at once."),
    key("segment.ms", "604800000", Some("log.roll.ms"), ConfigKind::Long, Validator::AtLeast(1))
        .doc("The age at which a segment is closed, by its first batch's timestamp."),
    key("unclean.leader.election.enable", "false", Some("unclean.leader.election.enable"), ConfigKind::Boolean, Validator::Any)
        .doc("Whether a replica that is not in sync may become leader."),
];

/// The configuration of that name, `None` if Kafka has no such topic configuration.
///
/// `internal.segment.bytes`, Kafka's own unlisted way to get segments below 1 MiB for tests, is found too.
pub fn topic_config(name: &str) -> Option<&'static ConfigKey> {
    TOPIC_CONFIGS
        .iter()
        .chain(std::iter::once(&INTERNAL_SEGMENT_BYTES))
        .find(|key| key.name == name)
}

/// Checks one value, as CreateTopics and the config APIs must before they store it.
pub fn check_topic_config(name: &str, value: &str) -> Result<(), ConfigError> {
    let key = topic_config(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
    key.check(value)
}

impl ConfigKind {
    /// The type's number in DescribeConfigs responses (version 3 and later).
    pub fn wire_code(self) -> i8 {
        match self {
            ConfigKind::Boolean => 1,
            ConfigKind::String => 2,
            ConfigKind::Int => 3,
            ConfigKind::Long => 5,
            ConfigKind::Double => 6,
            ConfigKind::List => 7,
        }
    }
}

impl fmt::Display for ConfigKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigKind::Boolean => "BOOLEAN",
            ConfigKind::String => "STRING",
            ConfigKind::Int => "INT",
            ConfigKind::Long => "LONG",
            ConfigKind::Double => "DOUBLE",
            ConfigKind::List => "LIST",
        })
    }
}

impl ConfigKey {
    /// Whether `value` is one that this configuration accepts.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        self.problem(value.trim()).map_or(Ok(()), |reason| {
            Err(ConfigError::Invalid {
                name: self.name.to_owned(),
                value: value.to_owned(),
                reason,
            })
        })
    }

    const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    fn problem(&self, value: &str) -> Option<String> {
        match self.kind {
            ConfigKind::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "false" => self.word_problem(&value.to_ascii_lowercase()),
                _ => Some("expected value to be either true or false".to_owned()),
            },
            ConfigKind::Int => match value.parse::<i32>() {
                Ok(number) => self.number_problem(i64::from(number)),
                Err(_) => Some(format!("not a number of type {}", self.kind)),
            },
            ConfigKind::Long => match value.parse::<i64>() {
                Ok(number) => self.number_problem(number),
                Err(_) => Some(format!("not a number of type {}", self.kind)),
            },
            ConfigKind::Double => match value.parse::<f64>() {
                Ok(number) => self.fraction_problem(number),
                Err(_) => Some(format!("not a number of type {}", self.kind)),
            },
            ConfigKind::String => self.word_problem(value),
            ConfigKind::List => self.list_problem(value),
        }
    }

    fn number_problem(&self, number: i64) -> Option<String> {
        match self.validator {
            Validator::AtLeast(least) if number < least => Some(format!("value must be at least {least}")),
            Validator::Between(least, most) if number < least => {
                Some(format!("value must be at least {least} and at most {most}"))
            }
            Validator::Between(_, most) if number > most => {
                Some(format!("value must be no more than {most}"))
            }
            Validator::MinusOneOrBetween(least, most)
                if number != -1 && !(least..=most).contains(&number) =>
            {
                Some(format!("value must be between {least} and {most} or equal to -1"))
            }
            _ => None,
        }
    }

    fn fraction_problem(&self, number: f64) -> Option<String> {
        let bad = self.validator == Validator::Fraction && !(0.0..=1.0).contains(&number);
        bad.then(|| "value must be at least 0 and no more than 1".to_owned())
    }

    fn word_problem(&self, value: &str) -> Option<String> {
        match self.validator {
            Validator::OneOf(words) if !words.contains(&value) => {
                Some(format!("value must be one of: {}", words.join(", ")))
            }
            _ => None,
        }
    }

    fn list_problem(&self, value: &str) -> Option<String> {
        let items = split_list(value);
        match self.validator {
            Validator::ListOf(words) => {
                let unknown = items.iter().any(|item| !words.contains(&item.as_str()));
                unknown.then(|| format!("value must be a list of: {}", words.join(", ")))
            }
            Validator::Replicas => {
                let fine = value == "*" || items.iter().all(|item| is_replica(item));
                (!fine).then(|| "value must be * or a list of partition:broker pairs".to_owned())
            }
            _ => None,
        }
    }
}

/// The distinct elements of a list value, in its order.
pub(crate) fn split_list(value: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .filter(|item| seen.insert(*item))
        .map(str::to_owned)
        .collect()
}

const MAX: &str = "9223372036854775807";
const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const INTERNAL_SEGMENT_BYTES: ConfigKey = key(
    "internal.segment.bytes",
    "1073741824",
    None,
    ConfigKind::Int,
    Validator::AtLeast(14),
)
.doc("Takes the place of segment.bytes, without its lower bound; for tests.");

const fn key(
    name: &'static str,
    default: &'static str,
    broker_synonym: Option<&'static str>,
    kind: ConfigKind,
    validator: Validator,
) -> ConfigKey {
    ConfigKey {
        name,
        default,
        broker_synonym,
        kind,
        doc: "",
        validator,
    }
}

fn is_replica(text: &str) -> bool {
    let number = |part: &str| part.parse::<u32>().is_ok();
    text.split_once(':')
        .is_some_and(|(partition, broker)| number(partition) && number(broker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(TOPIC_CONFIGS.len(), 33);
        for key in TOPIC_CONFIGS {
            key.check(key.default).unwrap();
            assert!(!key.doc.is_empty(), "{}", key.name);
        }
    }

    #[test]
    fn what_kafka_refuses_is_refused() {
        let refused = [
            ("cleanup.policy", "foo"),
            ("segment.bytes", "1000"),
            ("retention.ms", "-2"),
            ("compression.gzip.level", "0"),
            ("compression.zstd.level", "23"),
            ("compression.type", "none"),
            ("max.compaction.lag.ms", "0"),
            ("segment.index.bytes", "3"),
            ("preallocate", "maybe"),
            ("min.cleanable.dirty.ratio", "2"),
            ("min.cleanable.dirty.ratio", "NaN"),
            ("leader.replication.throttled.replicas", "x"),
            ("flush.ms", "abc"),
            ("max.message.bytes", "3000000000"),
            ("remote.storage.enable", "true"),
            ("no.such.thing", "1"),
        ];
        for (name, value) in refused {
            assert!(check_topic_config(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn what_kafka_accepts_is_accepted() {
        let accepted = [
            ("cleanup.policy", ""),
            ("cleanup.policy", "compact,delete,compact"),
            ("retention.bytes", "-5"),
            ("preallocate", "TRUE"),
            ("internal.segment.bytes", "1000"),
            ("leader.replication.throttled.replicas", "0:1,1:2"),
            ("leader.replication.throttled.replicas", "*"),
            ("local.retention.ms", "700000000"),
            ("min.compaction.lag.ms", MAX),
        ];
        for (name, value) in accepted {
            assert_eq!(check_topic_config(name, value), Ok(()), "{name}={value}");
        }
    }
}
