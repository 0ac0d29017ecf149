//! Where the built-in cluster may answer differently, each place with the reason why. An entry that no answer needs
//! any more fails the test.

use crate::{
    absent::{APIS, BROKER_CONFIGS, FEATURES},
    tree::ABSENT,
};

/// A difference that is meant.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// The API's name, or `*` for all.
    pub api: &'static str,
    /// The cases, with `*` for anything.
    pub case: &'static str,
    /// The path in the answer, with `*` for anything.
    pub path: &'static str,
    /// What the built-in cluster answers there, with `*` for anything.
    pub ours: &'static str,
    /// What Apache Kafka answers there, with `*` for anything.
    pub kafka: &'static str,
    pub reason: &'static str,
}

/// The differences: those that are told one by one, and what is not there at all.
pub fn all() -> Vec<Allowed> {
    let apis = APIS.iter().map(|(code, name)| Allowed {
        api: "ApiVersions",
        case: "*",
        path: format!("api_keys[{code}]").leak(),
        ours: ABSENT,
        kafka: "*",
        reason: format!("{name} is not there, and what is not there is not advertised").leak(),
    });
    let configs = BROKER_CONFIGS.iter().map(|name| Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: format!("results[1].configs[{name}]").leak(),
        ours: ABSENT,
        kafka: "*",
        reason: "a broker config that has no effect here is not shown",
    });
    let features = FEATURES.iter().map(|name| Allowed {
        api: "ApiVersions",
        case: "*",
        path: format!("*_features[{name}]").leak(),
        ours: ABSENT,
        kafka: "*",
        reason: "features say which protocols and records a cluster has, and these are not there",
    });
    let newer = NEWER.iter().map(|(code, ours, kafka)| Allowed {
        api: "ApiVersions",
        case: "*",
        path: format!("api_keys[{code}].max_version").leak(),
        ours,
        kafka,
        reason: "the versions are those of Kafka 4.1, and this Kafka is newer",
    });
    let listed = ALLOWED.iter().copied().chain(apis).chain(features);
    listed.chain(configs).chain(newer).collect()
}

/// The APIs of which Kafka 4.2 has a version more than 4.1: ListOffsets, OffsetCommit, OffsetFetch and WriteTxnMarkers,
/// by number, with the largest versions of 4.1 and of 4.2. All other versions are equal.
const NEWER: &[(i16, &str, &str)] = &[(2, "10", "11"), (8, "9", "10"), (9, "9", "10"), (27, "1", "2")];

/// The differences that are told one by one.
const ALLOWED: &[Allowed] = &[
    Allowed {
        api: "ApiVersions",
        case: "*",
        path: "finalized_features_epoch",
        ours: "0",
        kafka: "*",
        reason: "Kafka counts entries of its metadata log; here features never change",
    },
    Allowed {
        api: "*",
        case: "*",
        path: "*(order)",
        ours: "*",
        kafka: "*",
        reason: "Kafka answers in the order of its hash maps, or shuffles; here it is the order of the request",
    },
    Allowed {
        api: "*",
        case: "*",
        path: "*error_message",
        ours: "(a text)",
        kafka: "null",
        reason: "Kafka leaves some errors without a text for people",
    },
    Allowed {
        api: "*",
        case: "*",
        path: "*error_message",
        ours: "(a text)",
        kafka: "\"\"",
        reason: "Kafka leaves some errors without a text for people",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: "results[1].configs[listeners]*",
        ours: "*",
        kafka: "*",
        reason: "the two clusters are set up differently: addresses, directories, and what keeps this Kafka small",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: "results[1].configs[advertised.listeners]*",
        ours: "*",
        kafka: "*",
        reason: "the two clusters are set up differently: addresses, directories, and what keeps this Kafka small",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: "results[1].configs[log.dirs]*",
        ours: "*",
        kafka: "*",
        reason: "the two clusters are set up differently: addresses, directories, and what keeps this Kafka small",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: "results[1].configs[group.initial.rebalance.delay.ms]*",
        ours: "*",
        kafka: "*",
        reason: "the two clusters are set up differently: addresses, directories, and what keeps this Kafka small",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: "results[1].configs[log.retention.check.interval.ms]*",
        ours: "*",
        kafka: "*",
        reason: "the two clusters are set up differently: addresses, directories, and what keeps this Kafka small",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "*a broker*",
        path: "results[1].configs[num.partitions]*",
        ours: "*",
        kafka: "*",
        reason: "the two clusters are set up differently: addresses, directories, and what keeps this Kafka small",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: "results[1].configs[broker.id].synonyms[*",
        ours: "(not there)",
        kafka: "*",
        reason: "here the id is a fact, and has no default",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: "results[1].configs[queued.max.request.bytes]*",
        ours: "*",
        kafka: "*",
        reason: "requests on their way are bounded by default, because one process is both clusters and daemon",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: "results[1].configs[socket.send.buffer.bytes]*",
        ours: "*",
        kafka: "*",
        reason: "the system finds a better size by itself: with Kafka's, readers cost half as much again",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a topic, *",
        path: "*.configs[local.retention.*].synonyms[*]",
        ours: "(not there)",
        kafka: "*",
        reason: "nothing is in tiered storage, and the broker has no configs for it",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a topic twice, and another",
        path: "*",
        ours: "*",
        kafka: "*",
        reason: "a resource that is asked for twice is described once, so that no small request has a huge answer",
    },
    Allowed {
        api: "IncrementalAlterConfigs",
        case: "an unknown operation*",
        path: "*",
        ours: "42",
        kafka: "-1",
        reason: "Kafka fails with UNKNOWN_SERVER_ERROR",
    },
    Allowed {
        api: "IncrementalAlterConfigs",
        case: "*, an unknown key",
        path: "*.error_code",
        ours: "40",
        kafka: "0",
        reason: "Kafka keeps what it does not know for plugins, of which there are none here",
    },
    Allowed {
        api: "ElectLeaders",
        case: "type *, all",
        path: "replica_election_results[__*]",
        ours: "(not there)",
        kafka: "*",
        reason: "there are no internal topics",
    },
    Allowed {
        api: "DescribeTransactions",
        case: "describing",
        path: "*.topics[__consumer_offsets].partitions[*]",
        ours: "*",
        kafka: "*",
        reason: "this Kafka's topic of offsets has 5 partitions, where here groups are counted to 50 as they are by default",
    },
    Allowed {
        api: "DescribeConfigs",
        case: "a broker, *",
        path: "results[1].configs[log.flush.*]",
        ours: "*",
        kafka: "(not there)",
        reason: "how durable an acknowledgement is can be chosen here, by configs that Kafka does not have",
    },
    Allowed {
        api: "DescribeAcls",
        case: "describing resources of type 0",
        path: "",
        ours: "*",
        kafka: "*",
        reason: "Kafka closes the connection over a type that it knows to be unknown; here it is answered as all are",
    },
    Allowed {
        api: "DescribeQuorum",
        case: "the metadata",
        // The high watermark and the epoch of the leader.
        path: "topics[#0].partitions[0].*h*",
        ours: "*",
        kafka: "*",
        reason: "what is written about the same changes has not as many entries here; and a Kafka that starts slowly elects more than once",
    },
    Allowed {
        api: "DescribeQuorum",
        case: "the metadata",
        path: "topics[#0].partitions[0].current_voters[#0].log_end_offset",
        ours: "*",
        kafka: "*",
        reason: "what is written about the same changes has not as many entries here",
    },
    Allowed {
        api: "DescribeQuorum",
        case: "the metadata",
        path: "nodes[1].listeners[*",
        ours: "*",
        kafka: "*",
        reason: "controllers have no listeners of their own here",
    },
    Allowed {
        api: "UpdateFeatures",
        case: "down",
        path: "*",
        ours: "*",
        kafka: "*",
        reason: "features stay at their largest versions here",
    },
    Allowed {
        api: "ConsumerGroupDescribe",
        case: "matched, *",
        path: "groups[matching].*_epoch",
        ours: "1",
        kafka: "2",
        reason: "Kafka matches a regular expression after it has answered, which takes an epoch; here it is matched at once",
    },
    Allowed {
        api: "CreateAcls",
        case: "creating: * 0",
        path: "",
        ours: "*",
        kafka: "*",
        reason: "Kafka closes the connection over a code that it knows to be unknown; here it is answered as all are",
    },
    Allowed {
        api: "DeleteAcls",
        case: "deleting: * 0",
        path: "",
        ours: "*",
        kafka: "*",
        reason: "Kafka closes the connection over a code that it knows to be unknown; here it is answered as all are",
    },
    Allowed {
        api: "ListConfigResources",
        case: "types *",
        path: "config_resources[\"__*",
        ours: "(not there)",
        kafka: "*",
        reason: "there are no internal topics",
    },
    Allowed {
        api: "AlterPartitionReassignments",
        case: "none",
        path: "error_message",
        ours: "null",
        kafka: "\"\"",
        reason: "Kafka has an empty text where nothing was asked for",
    },
    Allowed {
        api: "AlterClientQuotas",
        case: "no number",
        path: "entries[#0].error_code",
        ours: "42",
        kafka: "0",
        reason: "Kafka takes what is not a number for a rate",
    },
    Allowed {
        api: "DescribeGroups",
        case: "describing several",
        path: "*",
        ours: "*",
        kafka: "*",
        reason: "a group that is asked for twice is described once, so that no small request has a huge answer",
    },
    Allowed {
        api: "DescribeTransactions",
        case: "describing",
        path: "transaction_states[#3]",
        ours: "(not there)",
        kafka: "*",
        reason: "an id that is asked for twice is described once, so that no small request has a huge answer",
    },
    Allowed {
        api: "DescribeProducers",
        case: "the producers of \"txn\" [0, 0, *",
        path: "topics[txn].partitions[#*",
        ours: "*",
        kafka: "*",
        reason: "a partition that is asked for twice is described once, so that no small request has a huge answer",
    },
    Allowed {
        api: "OffsetFetch",
        case: "a partition twice, asked for",
        path: "groups[committing].topics[committed].partitions[#1]",
        ours: "(not there)",
        kafka: "*",
        reason: "an offset that is asked for twice is told once, so that no small request has a huge answer",
    },
    Allowed {
        api: "OffsetFetch",
        case: "several groups",
        path: "groups[*]",
        ours: "(not there)",
        kafka: "*",
        reason: "a group that is asked for twice is answered once, so that no small request has a huge answer",
    },
    Allowed {
        api: "CreatePartitions",
        case: "by 20000, only validated",
        path: "*",
        ours: "44",
        kafka: "-1",
        reason: "Kafka fails over a change of its metadata that is too large",
    },
    Allowed {
        api: "Metadata",
        case: "created",
        path: "topics[auto-*",
        ours: "*",
        kafka: "*",
        reason: "Kafka creates the topic later and answers that there is none; here it is there at once",
    },
    Allowed {
        api: "Metadata",
        case: "neither name nor id",
        path: "*",
        ours: "*",
        kafka: "*",
        reason: "Kafka fails with UNKNOWN_SERVER_ERROR",
    },
    Allowed {
        api: "DescribeTopicPartitions",
        case: "named \"\"",
        path: "*",
        ours: "*",
        kafka: "*",
        reason: "Kafka fails with UNKNOWN_SERVER_ERROR where Metadata says INVALID_TOPIC_EXCEPTION",
    },
    Allowed {
        api: "Produce",
        case: "*",
        path: "*.error_code",
        ours: "87",
        kafka: "-1",
        reason: "Kafka fails with UNKNOWN_SERVER_ERROR over records that it cannot decompress",
    },
    Allowed {
        api: "Fetch",
        case: "what came of it in batches*",
        path: "*.attributes",
        ours: "0",
        kafka: "64",
        reason: "a producer has no say in when tombstones go: Kafka takes its delete horizon over, and it is cleared here",
    },
    Allowed {
        api: "Fetch",
        case: "isolation *",
        path: "*",
        ours: "*",
        kafka: "*",
        reason: "Kafka fails with UNKNOWN_SERVER_ERROR over an isolation level that does not exist; here it is read_uncommitted",
    },
    Allowed {
        api: "ListOffsets",
        case: "isolation *",
        path: "*",
        ours: "*",
        kafka: "*",
        reason: "Kafka fails with UNKNOWN_SERVER_ERROR over an isolation level that does not exist; here it is read_uncommitted",
    },
    Allowed {
        api: "Fetch",
        case: "*max_bytes of *",
        path: "*.records[*]",
        ours: "(not there)",
        kafka: "a batch that is cut short",
        reason: "Kafka fills the limit with a part of a batch, which clients drop; here batches are whole",
    },
    Allowed {
        api: "Fetch",
        case: "*max_bytes of -1 *",
        path: "*",
        ours: "*",
        kafka: "*",
        reason: "Kafka fails with UNKNOWN_SERVER_ERROR over a negative limit; here it is none at all",
    },
    Allowed {
        api: "Fetch",
        case: "* in the session",
        path: "responses[<id of *>].partitions[0].error_code",
        ours: "100",
        kafka: "*",
        reason: "Kafka's sessions remember the name of a topic; here an id that is gone is unknown, as it is without a session",
    },
    Allowed {
        api: "Fetch",
        case: "* again in the session",
        path: "responses[<id of *>].partitions[0].aborted_transactions",
        ours: "[]",
        kafka: "null",
        reason: "as above: other errors come without a list",
    },
    Allowed {
        api: "OffsetForLeaderEpoch",
        case: "epoch -2",
        path: "*",
        ours: "-1",
        kafka: "*",
        reason: "Kafka takes a negative epoch for one before the first",
    },
    Allowed {
        api: "ListOffsets",
        case: "the largest time",
        path: "*",
        ours: "*",
        kafka: "*",
        reason: "Kafka names a record that was deleted",
    },
];

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Allowed {
            api,
            case,
            path,
            ours,
            kafka,
            reason,
        } = self;
        write!(f, "{api}, {case}: {path}, ours {ours}, Kafka {kafka} ({reason})")
    }
}

impl Allowed {
    /// Whether this is the difference meant.
    pub fn covers(&self, api: &str, case: &str, difference: &crate::tree::Difference) -> bool {
        matches(self.api, api)
            && matches(self.case, case)
            && matches(self.path, &difference.path)
            && matches(self.ours, &difference.ours)
            && matches(self.kafka, &difference.kafka)
    }
}

/// Whether `text` has the form of `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(head) else {
        return false;
    };
    rest.char_indices()
        .map(|(at, _)| at)
        .chain([rest.len()])
        .any(|at| matches(tail, &rest[at..]))
}

#[test]
fn patterns() {
    for (pattern, text) in [
        ("a*c", "abc"),
        ("*", ""),
        ("*b*", "abc"),
        ("topics[*].x", "topics[a].x"),
        ("a", "a"),
    ] {
        assert!(matches(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [("a*c", "abd"), ("a", "ab"), ("*b", "abc")] {
        assert!(!matches(pattern, text), "{pattern} {text}");
    }
}
