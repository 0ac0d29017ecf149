//! OffsetCommit and OffsetFetch, of groups that have no members.

use heliostat_wire::message::{
    OffsetCommitRequest, OffsetFetchRequest,
    offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
};

use crate::harness::Parity;

/// Commits these offsets from outside of the group.
pub fn commit(group: &str, topic: &str, partitions: &[(i32, i64)]) -> OffsetCommitRequest {
    let partition = |&(partition_index, committed_offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_metadata: Some("here".to_owned()),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group.to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: partitions.iter().map(partition).collect(),
        }],
        ..Default::default()
    }
}

/// Asks for offsets of one group, in the form of every version.
fn fetch(group: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequest {
    OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: topics.map(|topics| {
            let topic = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopic {
                name: (*name).to_owned(),
                partition_indexes: partitions.to_vec(),
            };
            topics.iter().map(topic).collect()
        }),
        groups: vec![of_group(group, topics)],
        require_stable: false,
    }
}

fn of_group(group: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequestGroup {
    let topic = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopics {
        name: (*name).to_owned(),
        partition_indexes: partitions.to_vec(),
    };
    OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    }
}

pub async fn commits(p: &mut Parity) {
    p.create("committed", 3, &[]).await;
    p.create("committed-too", 1, &[]).await;
    p.coordinated("committing", 0).await;
    let group = "committing";
    p.all("offsets", |_, version| {
        commit(group, "committed", &[(0, version.into()), (1, 7)])
    })
    .await;
    p.all("offsets, asked for", |_, _| {
        fetch(group, Some(&[("committed", &[0, 1, 2])]))
    })
    .await;
    p.all("another topic", |_, _| commit(group, "committed-too", &[(0, 1)]))
        .await;
    for offset in [0, -1, -2, i64::MAX] {
        p.all(&format!("offset {offset}"), |_, _| {
            commit("committing-odd", "committed", &[(2, offset)])
        })
        .await;
        p.newest(&format!("offset {offset}, asked for"), |_| {
            fetch("committing-odd", Some(&[("committed", &[2])]))
        })
        .await;
    }
    p.all("unknown partitions", |_, _| {
        commit(group, "committed", &[(3, 1), (-1, 1), (0, 9)])
    })
    .await;
    p.all("a partition twice", |_, _| {
        commit(group, "committed", &[(1, 3), (1, 4)])
    })
    .await;
    p.newest("a partition twice, asked for", |_| {
        fetch(group, Some(&[("committed", &[1, 1])]))
    })
    .await;
    for name in ["committed-none", "", "a b"] {
        p.all(&format!("topic {name:?}"), |_, _| commit(group, name, &[(0, 1)]))
            .await;
    }
    p.all("no partitions", |_, _| commit(group, "committed", &[]))
        .await;
    p.all("no topics", |_, _| OffsetCommitRequest {
        topics: vec![],
        ..commit(group, "", &[])
    })
    .await;
    p.all("an empty group", |_, _| commit("", "committed", &[(0, 1)]))
        .await;
    for (text, length) in [("long", 4096), ("too long", 4097)] {
        p.all(&format!("{text} metadata"), |_, _| {
            let mut request = commit(group, "committed", &[(0, 1), (1, 2)]);
            request.topics[0].partitions[0].committed_metadata = Some("m".repeat(length));
            request
        })
        .await;
    }
    p.all("null metadata", |_, _| {
        let mut request = commit("committing-null", "committed", &[(0, 1)]);
        request.topics[0].partitions[0].committed_metadata = None;
        request
    })
    .await;
    p.all("null metadata, asked for", |_, _| {
        fetch("committing-null", Some(&[("committed", &[0])]))
    })
    .await;
    for epoch in [0, 5, -2] {
        p.all(&format!("leader epoch {epoch}"), |_, _| {
            let mut request = commit("committing-epoch", "committed", &[(0, 1)]);
            request.topics[0].partitions[0].committed_leader_epoch = epoch;
            request
        })
        .await;
        p.all(&format!("leader epoch {epoch}, asked for"), |_, _| {
            fetch("committing-epoch", Some(&[("committed", &[0])]))
        })
        .await;
    }
    for (generation, member) in [(0, ""), (1, "nobody"), (-1, "nobody"), (-2, "")] {
        p.all(
            &format!("generation {generation}, member {member:?}"),
            |_, version| OffsetCommitRequest {
                generation_id_or_member_epoch: generation,
                member_id: member.to_owned(),
                ..commit(
                    &format!("committing-{generation}-{member}-{version}"),
                    "committed",
                    &[(0, 1)],
                )
            },
        )
        .await;
    }
    p.all("a retention time", |_, _| OffsetCommitRequest {
        retention_time_ms: 100_000_000,
        ..commit("committing-retained", "committed", &[(0, 1)])
    })
    .await;
    p.all("an instance", |_, _| OffsetCommitRequest {
        group_instance_id: Some("i".to_owned()),
        ..commit(group, "committed", &[(0, 1)])
    })
    .await;
}

pub async fn fetches(p: &mut Parity) {
    p.create("fetched", 2, &[]).await;
    p.coordinated("fetching", 0).await;
    let group = "fetching";
    p.newest("set up", |_| commit(group, "fetched", &[(1, 5)])).await;
    p.all("some", |_, _| {
        fetch(
            group,
            Some(&[("fetched", &[0, 1, 2, -1]), ("fetched-none", &[0]), ("", &[0])]),
        )
    })
    .await;
    for version in p
        .versions(heliostat_wire::message::ApiKey::OffsetFetch)
        .filter(|version| *version >= 2)
    {
        p.at("all", version, |_| fetch(group, None)).await;
        p.at("all of none", version, |_| fetch("fetching-none", None))
            .await;
    }
    p.all("none", |_, _| fetch(group, Some(&[]))).await;
    p.all("no partitions", |_, _| fetch(group, Some(&[("fetched", &[])])))
        .await;
    p.all("a topic twice", |_, _| {
        fetch(group, Some(&[("fetched", &[0]), ("fetched", &[1])]))
    })
    .await;
    p.all("no group", |_, _| {
        fetch("fetching-none", Some(&[("fetched", &[0])]))
    })
    .await;
    p.all("an empty group", |_, _| fetch("", Some(&[("fetched", &[0])])))
        .await;
    p.all("stable", |_, _| OffsetFetchRequest {
        require_stable: true,
        ..fetch(group, Some(&[("fetched", &[1])]))
    })
    .await;
    for version in 8..=9 {
        p.at("several groups", version, |_| OffsetFetchRequest {
            groups: vec![
                of_group("fetching-none", None),
                of_group(group, Some(&[("fetched", &[1])])),
                of_group("", None),
                of_group(group, None),
            ],
            ..Default::default()
        })
        .await;
        p.at("no groups", version, |_| OffsetFetchRequest::default())
            .await;
    }
    for (member, epoch) in [
        (Some("nobody"), 0),
        (Some("nobody"), -1),
        (Some(""), 3),
        (None, 3),
        (Some("nobody"), 7),
    ] {
        p.at(&format!("member {member:?}, epoch {epoch}"), 9, |_| {
            OffsetFetchRequest {
                groups: vec![OffsetFetchRequestGroup {
                    member_id: member.map(str::to_owned),
                    member_epoch: epoch,
                    ..of_group(group, Some(&[("fetched", &[1])]))
                }],
                ..Default::default()
            }
        })
        .await;
    }
}
