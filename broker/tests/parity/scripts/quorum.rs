//! Who votes on the metadata, and the features of the cluster.

use heliostat_wire::message::{
    DescribeQuorumRequest, UpdateFeaturesRequest,
    describe_quorum::{PartitionData, TopicData},
    update_features::FeatureUpdateKey,
};

use crate::harness::Parity;

/// Topics with partitions.
type Topics<'a> = &'a [(&'a str, &'a [i32])];

/// Features, with a version and how to get there.
type Updates<'a> = &'a [(&'a str, i16, i8)];

const METADATA: &str = "__cluster_metadata";

pub async fn quorum(p: &mut Parity) {
    let asking = |topics: Topics<'_>| DescribeQuorumRequest {
        topics: topics
            .iter()
            .map(|(name, partitions)| TopicData {
                topic_name: (*name).to_owned(),
                partitions: partitions
                    .iter()
                    .map(|&partition_index| PartitionData { partition_index })
                    .collect(),
            })
            .collect(),
    };
    let cases: &[(&str, Topics<'_>)] = &[
        ("the metadata", &[(METADATA, &[0])]),
        ("nothing", &[]),
        ("no partition", &[(METADATA, &[])]),
        ("another partition", &[(METADATA, &[1])]),
        ("two partitions", &[(METADATA, &[0, 1])]),
        ("another topic", &[("other", &[0])]),
        ("another topic too", &[(METADATA, &[0]), ("other", &[0])]),
    ];
    for (case, topics) in cases {
        p.all(case, |_, _| asking(topics)).await;
    }
}

pub async fn features(p: &mut Parity) {
    let updating = |updates: Updates<'_>| UpdateFeaturesRequest {
        feature_updates: updates
            .iter()
            .map(|&(feature, max_version_level, upgrade_type)| FeatureUpdateKey {
                feature: feature.to_owned(),
                max_version_level,
                upgrade_type,
                allow_downgrade: upgrade_type > 1,
            })
            .collect(),
        validate_only: true,
        ..Default::default()
    };
    let cases: &[(&str, Updates<'_>)] = &[
        ("nothing", &[]),
        ("as it is", &[("transaction.version", 2, 1)]),
        (
            "both as they are",
            &[("transaction.version", 2, 1), ("group.version", 1, 1)],
        ),
        ("too high", &[("transaction.version", 3, 1)]),
        ("negative", &[("transaction.version", -1, 1)]),
        ("lower, as an upgrade", &[("transaction.version", 1, 1)]),
        ("unknown", &[("nothing.version", 1, 1)]),
        (
            "one of two",
            &[("transaction.version", 2, 1), ("nothing.version", 1, 1)],
        ),
        (
            "twice",
            &[("transaction.version", 2, 1), ("transaction.version", 2, 1)],
        ),
        ("without a name", &[("", 1, 1)]),
        ("as a downgrade", &[("transaction.version", 2, 2)]),
        ("an unknown type", &[("transaction.version", 2, 0)]),
        ("another unknown type", &[("transaction.version", 2, 4)]),
        ("down", &[("transaction.version", 1, 2)]),
    ];
    for (case, updates) in cases {
        // Version 0 cannot only validate.
        for version in [1, 2] {
            p.at(case, version, |_| updating(updates)).await;
        }
    }
    p.at("as it is", 0, |_| updating(&[("transaction.version", 2, 1)]))
        .await;
}
