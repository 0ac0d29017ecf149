//! The broker's configuration keys: Kafka's names, types and defaults.
//!
//! Only keys that change something here can be set. Those that merely tell a client about the broker are shown with
//! their values.

use std::{collections::BTreeMap, fmt, net::IpAddr};

/// What a value looks like, with the bounds that Kafka has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A 32-bit number.
    Int { min: i64 },
    /// A 64-bit number.
    Long { min: i64 },
    /// A floating-point number.
    Double { min: f64, max: f64 },
    /// Any text.
    Text,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
    /// Names of assignors, with commas between them.
    Assignors,
    /// IP addresses with a number each: `127.0.0.1:100,10.1.2.3:20`.
    AddressCounts,
}

/// A key of the broker that no topic has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BrokerKey {
    /// Kafka's name.
    pub(crate) name: &'static str,
    /// The type of its values.
    pub(crate) kind: Kind,
    /// The value if it is not set.
    pub(crate) default: &'static str,
    /// Whether it takes effect without a restart.
    pub(crate) dynamic: bool,
    /// What it is for.
    pub(crate) documentation: &'static str,
}

/// A key of the broker that sets the default of a topic's key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Synonym {
    /// The broker's key.
    pub(crate) name: &'static str,
    /// The topic's key.
    pub(crate) topic_key: &'static str,
    /// What a value is multiplied with to become the topic's: 3,600,000 for hours.
    pub(crate) unit_ms: i64,
    /// Whether it takes effect without a restart.
    pub(crate) dynamic: bool,
}

/// A value that a key does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadValue {
    /// What values look like.
    pub(crate) expected: String,
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    dynamic: bool,
    documentation: &'static str,
) -> BrokerKey {
    BrokerKey {
        name,
        kind,
        default,
        dynamic,
        documentation,
    }
}

/// The keys that can be set and that no topic has.
pub(crate) const BROKER_KEYS: &[BrokerKey] = &[
    key(
        "auto.create.topics.enable",
        Kind::Boolean,
        "true",
        false,
        "Whether a client that asks for a topic by name creates it",
    ),
    key(
        "broker.rack",
        Kind::Text,
        "",
        false,
        "The rack that clients see each node in",
    ),
    key(
        "connection.failed.authentication.delay.ms",
        Kind::Int { min: 0 },
        "100",
        false,
        "How long a client whose authentication failed waits for the answer and the end of its connection",
    ),
    key(
        "connections.max.idle.ms",
        Kind::Long { min: 1 },
        "600000",
        false,
        "After this time without a request a connection is closed",
    ),
    key(
        "connections.max.reauth.ms",
        Kind::Long { min: 0 },
        "0",
        false,
        "After this time a client has to authenticate anew, or is cut at its next request; 0 is never",
    ),
    key(
        "controller.quota.window.num",
        Kind::Int { min: 1 },
        "11",
        false,
        "How many samples the use of a controller mutation quota is counted in",
    ),
    key(
        "controller.quota.window.size.seconds",
        Kind::Int { min: 1 },
        "1",
        false,
        "How long each of these samples is",
    ),
    key(
        "default.replication.factor",
        Kind::Int { min: 1 },
        "1",
        false,
        "Replicas of a topic that is created without saying how many",
    ),
    key(
        "delete.topic.enable",
        Kind::Boolean,
        "true",
        false,
        "Whether topics can be deleted",
    ),
    key(
        "fetch.max.bytes",
        Kind::Int { min: 1024 },
        "57671680",
        false,
        "The most bytes of records in one answer to a fetch, whole batches aside",
    ),
    key(
        "group.consumer.assignors",
        Kind::Assignors,
        "uniform,range",
        false,
        "The assignors that consumers may ask for; the first is that of groups that ask for none",
    ),
    key(
        "group.consumer.heartbeat.interval.ms",
        Kind::Int { min: 1 },
        "5000",
        false,
        "How often members of the consumer protocol are told to send heartbeats",
    ),
    key(
        "group.consumer.max.heartbeat.interval.ms",
        Kind::Int { min: 1 },
        "15000",
        false,
        "The longest heartbeat interval that can be set for a group",
    ),
    key(
        "group.consumer.max.session.timeout.ms",
        Kind::Int { min: 1 },
        "60000",
        false,
        "The longest session timeout that can be set for a group",
    ),
    key(
        "group.consumer.max.size",
        Kind::Int { min: 1 },
        "2147483647",
        false,
        "The most members of a group of the consumer protocol",
    ),
    key(
        "group.consumer.migration.policy",
        Kind::OneOf(&["disabled", "upgrade", "downgrade", "bidirectional"]),
        "bidirectional",
        false,
        "Whether groups with members may change between the classic and the consumer protocol",
    ),
    key(
        "group.consumer.min.heartbeat.interval.ms",
        Kind::Int { min: 1 },
        "5000",
        false,
        "The shortest heartbeat interval that can be set for a group",
    ),
    key(
        "group.consumer.min.session.timeout.ms",
        Kind::Int { min: 1 },
        "45000",
        false,
        "The shortest session timeout that can be set for a group",
    ),
    key(
        "group.consumer.session.timeout.ms",
        Kind::Int { min: 1 },
        "45000",
        false,
        "After this time without a heartbeat a member of the consumer protocol is taken out",
    ),
    key(
        "group.initial.rebalance.delay.ms",
        Kind::Int { min: 0 },
        "0",
        false,
        "How long the first member of a group waits for others. Kafka's default is 3000; here a group starts at once",
    ),
    key(
        "group.max.session.timeout.ms",
        Kind::Int { min: 1 },
        "1800000",
        false,
        "The longest session timeout that a member may ask for",
    ),
    key(
        "group.max.size",
        Kind::Int { min: 1 },
        "2147483647",
        false,
        "The most members of a group",
    ),
    key(
        "group.min.session.timeout.ms",
        Kind::Int { min: 1 },
        "6000",
        false,
        "The shortest session timeout that a member may ask for",
    ),
    key(
        "log.cleaner.backoff.ms",
        Kind::Long { min: 0 },
        "15000",
        true,
        "How long the log cleaner rests when no log is dirty enough",
    ),
    key(
        "log.cleaner.dedupe.buffer.size",
        Kind::Long { min: 1_048_577 },
        "134217728",
        true,
        "The most bytes in which the cleaner's threads, all together, keep the offsets of keys: 24 for each key. What does not fit takes another round",
    ),
    key(
        "log.cleaner.enable",
        Kind::Boolean,
        "true",
        false,
        "Whether logs are compacted",
    ),
    key(
        "log.cleaner.io.buffer.load.factor",
        Kind::Double { min: 0.01, max: 1.0 },
        "0.9",
        true,
        "How much of that is used; the fuller, the slower",
    ),
    key(
        "log.cleaner.io.max.bytes.per.second",
        Kind::Double {
            min: 1.0,
            max: f64::MAX,
        },
        "1.7976931348623157E308",
        true,
        "The most bytes that the cleaner reads and writes in a second",
    ),
    key(
        "log.cleaner.threads",
        Kind::Int { min: 1 },
        "1",
        true,
        "How many logs are compacted at the same time",
    ),
    key(
        "log.flush.group.interval.ms",
        Kind::Int { min: 0 },
        "2",
        false,
        "With log.flush.policy=group: a partition is forced to disk at most once in this time. Kafka has no such key",
    ),
    key(
        "log.flush.policy",
        Kind::OneOf(&["os", "group", "each"]),
        "group",
        false,
        "What acks=all promises: os, as Kafka, in memory; group, on disk, many appends with one flush; each, on disk, \
         each append with its own flush. Kafka has no such key",
    ),
    key(
        "log.retention.check.interval.ms",
        Kind::Long { min: 1 },
        "300000",
        false,
        "How often logs are looked at for segments that are due for deletion",
    ),
    key(
        "max.connection.creation.rate",
        Kind::Int { min: 1 },
        "2147483647",
        true,
        "The most connections that a node accepts in a second; others wait",
    ),
    key(
        "max.connections",
        Kind::Int { min: 1 },
        "2147483647",
        true,
        "The most connections of a node",
    ),
    key(
        "max.connections.per.ip",
        Kind::Int { min: 0 },
        "2147483647",
        true,
        "The most connections of a node from one address",
    ),
    key(
        "max.connections.per.ip.overrides",
        Kind::AddressCounts,
        "",
        true,
        "The same for single addresses, as ADDRESS:NUMBER with commas between them",
    ),
    key(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int { min: 0 },
        "1000",
        false,
        "The most fetch sessions of each node",
    ),
    key(
        "num.partitions",
        Kind::Int { min: 1 },
        "1",
        false,
        "Partitions of a topic that is created without saying how many",
    ),
    key(
        "offset.metadata.max.bytes",
        Kind::Int { min: 0 },
        "4096",
        false,
        "The longest text that may come with a committed offset",
    ),
    key(
        "offsets.retention.check.interval.ms",
        Kind::Long { min: 1 },
        "600000",
        false,
        "How often groups are looked at for offsets that have expired",
    ),
    key(
        "offsets.retention.minutes",
        Kind::Int { min: 1 },
        "10080",
        false,
        "How long a group without members keeps its offsets",
    ),
    key(
        "producer.id.expiration.ms",
        Kind::Int { min: 1 },
        "86400000",
        true,
        "How long a partition remembers a producer that writes no more",
    ),
    key(
        "queued.max.request.bytes",
        Kind::Long { min: -1 },
        "536870912",
        false,
        "The memory that the requests of all connections may take. Kafka's default is -1, without a limit",
    ),
    key(
        "quota.window.num",
        Kind::Int { min: 1 },
        "11",
        false,
        "How many samples the use of a quota is counted in",
    ),
    key(
        "quota.window.size.seconds",
        Kind::Int { min: 1 },
        "1",
        false,
        "How long each of these samples is",
    ),
    key(
        "sasl.server.max.receive.size",
        Kind::Int { min: 1 },
        "524288",
        false,
        "The largest request before a client is authenticated",
    ),
    key(
        "socket.request.max.bytes",
        Kind::Int { min: 1 },
        "104857600",
        false,
        "The largest request; the connection of a larger one is closed",
    ),
    key(
        "socket.send.buffer.bytes",
        Kind::Int { min: -1 },
        "-1",
        false,
        "How much of an answer waits in the system for its client; -1 leaves it to the system",
    ),
    key(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        Kind::Int { min: 1 },
        "10000",
        false,
        "How often transactions are looked at for those that are open for longer than their producers allowed",
    ),
    key(
        "transaction.max.timeout.ms",
        Kind::Int { min: 1 },
        "900000",
        false,
        "The longest timeout that a transactional producer may ask for",
    ),
    key(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        Kind::Int { min: 1 },
        "3600000",
        false,
        "How often transactional ids are looked at for those that nobody uses",
    ),
    key(
        "transactional.id.expiration.ms",
        Kind::Int { min: 1 },
        "604800000",
        false,
        "How long a transactional id without a transaction is remembered",
    ),
];

const fn synonym(name: &'static str, topic_key: &'static str) -> Synonym {
    Synonym {
        name,
        topic_key,
        unit_ms: 1,
        dynamic: true,
    }
}

const fn fixed(name: &'static str, topic_key: &'static str, unit_ms: i64) -> Synonym {
    Synonym {
        name,
        topic_key,
        unit_ms,
        dynamic: false,
    }
}

/// The broker's keys that set the defaults of topics. Of several for one topic key, the first that is set counts.
pub(crate) const SYNONYMS: &[Synonym] = &[
    synonym("compression.gzip.level", "compression.gzip.level"),
    synonym("compression.lz4.level", "compression.lz4.level"),
    synonym("compression.type", "compression.type"),
    synonym("compression.zstd.level", "compression.zstd.level"),
    synonym("log.cleaner.delete.retention.ms", "delete.retention.ms"),
    synonym("log.cleaner.max.compaction.lag.ms", "max.compaction.lag.ms"),
    synonym("log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio"),
    synonym("log.cleaner.min.compaction.lag.ms", "min.compaction.lag.ms"),
    synonym("log.cleanup.policy", "cleanup.policy"),
    synonym("log.flush.interval.messages", "flush.messages"),
    synonym("log.flush.interval.ms", "flush.ms"),
    synonym("log.index.interval.bytes", "index.interval.bytes"),
    synonym("log.index.size.max.bytes", "segment.index.bytes"),
    synonym(
        "log.message.timestamp.after.max.ms",
        "message.timestamp.after.max.ms",
    ),
    synonym(
        "log.message.timestamp.before.max.ms",
        "message.timestamp.before.max.ms",
    ),
    synonym("log.message.timestamp.type", "message.timestamp.type"),
    synonym("log.preallocate", "preallocate"),
    synonym("log.retention.bytes", "retention.bytes"),
    synonym("log.retention.ms", "retention.ms"),
    fixed("log.retention.minutes", "retention.ms", MINUTE_MS),
    fixed("log.retention.hours", "retention.ms", HOUR_MS),
    synonym("log.roll.jitter.ms", "segment.jitter.ms"),
    fixed("log.roll.jitter.hours", "segment.jitter.ms", HOUR_MS),
    synonym("log.roll.ms", "segment.ms"),
    fixed("log.roll.hours", "segment.ms", HOUR_MS),
    synonym("log.segment.bytes", "segment.bytes"),
    synonym("log.segment.delete.delay.ms", "file.delete.delay.ms"),
    synonym("message.max.bytes", "max.message.bytes"),
    synonym("min.insync.replicas", "min.insync.replicas"),
    synonym("unclean.leader.election.enable", "unclean.leader.election.enable"),
];

/// Reads a value of [`Kind::AddressCounts`].
pub(crate) fn address_counts(text: &str) -> Option<BTreeMap<IpAddr, usize>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (address, count) = part.rsplit_once(':')?;
            let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
            Some((address.to_canonical(), count.trim().parse::<u32>().ok()? as usize))
        })
        .collect()
}

impl Kind {
    /// Checks a value.
    pub(crate) fn check(self, value: &str) -> Result<(), BadValue> {
        let between = |min: i64, max: i64| match value.trim().parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            _ => Err(BadValue {
                expected: format!("a number from {min} to {max}"),
            }),
        };
        match self {
            Kind::Boolean if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") => {
                Ok(())
            }
            Kind::Boolean => Err(BadValue {
                expected: "true or false".to_owned(),
            }),
            Kind::Int { min } => between(min, i32::MAX.into()),
            Kind::Long { min } => between(min, i64::MAX),
            Kind::Double { min, max } => match value.trim().parse::<f64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                _ => Err(BadValue {
                    expected: if max < f64::MAX {
                        format!("a number from {min} to {max}")
                    } else {
                        format!("a number from {min} on")
                    },
                }),
            },
            Kind::Text => Ok(()),
            Kind::OneOf(words) if words.iter().any(|word| word.eq_ignore_ascii_case(value.trim())) => Ok(()),
            Kind::OneOf(words) => Err(BadValue {
                expected: format!("one of {}", words.join(", ")),
            }),
            Kind::Assignors => {
                let mut names = value
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .peekable();
                if names.peek().is_some() && names.all(crate::group::is_assignor) {
                    return Ok(());
                }
                Err(BadValue {
                    expected: "uniform, range, or both with a comma between them".to_owned(),
                })
            }
            Kind::AddressCounts if address_counts(value).is_some() => Ok(()),
            Kind::AddressCounts => Err(BadValue {
                expected: "IP addresses with a number each, such as 127.0.0.1:100,10.1.2.3:20".to_owned(),
            }),
        }
    }

    /// Kafka's number for the type, as DescribeConfigs shows it.
    pub(crate) fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Text | Kind::AddressCounts | Kind::OneOf(_) => 2,
            Kind::Int { .. } => 3,
            Kind::Long { .. } => 5,
            Kind::Double { .. } => 6,
            Kind::Assignors => 7,
        }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}
