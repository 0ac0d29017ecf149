//! With which configuration a mirror topic is made.

use crate::cluster::admin::{ConfigValue, EFFECTIVE_CONFIGS};

/// What is never taken over from the source: it speaks of the source's brokers, or it would change the records on the other side.
const LEFT_OUT: [&str; 6] = [
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
    // A mirror keeps the timestamps of its source, also those that the source's brokers made.
    "message.timestamp.type",
    "message.timestamp.difference.max.ms",
    "min.insync.replicas",
    "unclean.leader.election.enable",
];

/// Kafka's default for `max.message.bytes`. Where the source has it, the target's own value is left alone.
const DEFAULT_MAX_MESSAGE_BYTES: &str = "1048588";

/// The configuration of a new mirror topic, from that of its source.
pub fn configs(source: &[ConfigValue]) -> Vec<(String, String)> {
    source
        .iter()
        .filter(|config| !LEFT_OUT.contains(&config.name.as_str()))
        // Names that no Apache Kafka knows belong to a vendor's broker and would be refused elsewhere.
        .filter(|config| !config.name.starts_with("confluent."))
        .filter(|config| {
            // As it works on the source, even where it was not set on the topic itself: a record that the source has accepted must be accepted
            // by the mirror, whatever the target's brokers are set to.
            let effective = EFFECTIVE_CONFIGS.contains(&config.name.as_str())
                && config.value != DEFAULT_MAX_MESSAGE_BYTES;
            config.set_on_topic || effective
        })
        .map(|config| (config.name.clone(), config.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, value: &str, set_on_topic: bool) -> ConfigValue {
        ConfigValue {
            name: name.into(),
            value: value.into(),
            set_on_topic,
        }
    }

    #[test]
    fn what_is_set_on_the_topic_is_taken_over_unless_it_speaks_of_the_source() {
        let made = configs(&[
            config("retention.ms", "1000", true),
            config("cleanup.policy", "compact", true),
            config("segment.bytes", "1073741824", false),
            config("min.insync.replicas", "2", true),
            config("message.timestamp.type", "LogAppendTime", true),
            config("confluent.tier.enable", "true", true),
        ]);
        assert_eq!(
            made,
            [
                ("retention.ms".into(), "1000".into()),
                ("cleanup.policy".into(), "compact".into())
            ]
        );
    }

    #[test]
    fn large_records_fit_into_the_mirror_when_the_source_allows_them_on_its_brokers() {
        let made = configs(&[config("max.message.bytes", "5000000", false)]);
        assert_eq!(made, [("max.message.bytes".into(), "5000000".into())]);
        assert_eq!(configs(&[config("max.message.bytes", "1048588", false)]), []);
    }
}
