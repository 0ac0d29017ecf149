//! When committed offsets go: those of groups of the consumer protocol, and those for which an old client chose a time.

use std::path::Path;
use std::time::{Duration, Instant};

use heliostat_broker::{Cluster, ClusterConfig, Fault, FaultKind};
use heliostat_wire::message::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use heliostat_wire::message::offset_fetch::OffsetFetchRequestGroup;
use heliostat_wire::message::{
    ConsumerGroupHeartbeatRequest, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
};

use crate::client::{Client, PATIENCE};

/// How often groups are looked at for offsets that have expired.
const CHECK: (&str, &str) = ("offsets.retention.check.interval.ms", "20");
/// No member and epoch: what tools and consumers without a group commit with.
const NOBODY: (&str, i32) = ("", -1);

async fn start(data: Option<&Path>) -> Cluster {
    let properties = [CHECK, ("offsets.retention.minutes", "60")];
    let config = ClusterConfig {
        data: data.map(Path::to_owned),
        properties: properties
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Default::default()
    };
    Cluster::start(config).await.unwrap()
}

/// Commits the offset 5 of partition 0 of each topic. `retention_ms` is what versions 2 to 4 can say.
async fn commit(
    client: &mut Client,
    group: &str,
    member: (&str, i32),
    topics: &[&str],
    version: i16,
    retention_ms: i64,
) {
    let topic = |name: &&str| OffsetCommitRequestTopic {
        name: (*name).to_owned(),
        partitions: vec![OffsetCommitRequestPartition {
            committed_offset: 5,
            ..Default::default()
        }],
    };
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        member_id: member.0.to_owned(),
        generation_id_or_member_epoch: member.1,
        retention_time_ms: retention_ms,
        topics: topics.iter().map(topic).collect(),
        ..Default::default()
    };
    let response = client.send_version(&request, version).await;
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    assert!(partitions.clone().all(|p| p.error_code == 0), "{response:?}");
}

/// The topics for which the group has an offset.
async fn committed(client: &mut Client, group: &str) -> Vec<String> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: None,
            member_epoch: -1,
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = client.send_version(&request, 9).await;
    let topics = response.groups[0].topics.iter();
    topics.map(|topic| topic.name.clone()).collect()
}

async fn until_committed(client: &mut Client, group: &str, expected: &[&str]) {
    let began = Instant::now();
    loop {
        let topics = committed(client, group).await;
        if topics == expected {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{group}: {topics:?}, not {expected:?}"
        );
    }
}

async fn until_gone(client: &mut Client, group: &str) {
    let began = Instant::now();
    let listed = |response: &heliostat_wire::message::ListGroupsResponse| {
        response.groups.iter().any(|listed| listed.group_id == group)
    };
    while listed(&client.send(&ListGroupsRequest::default()).await) {
        assert!(began.elapsed() < PATIENCE, "the group {group} stays");
    }
}

/// A heartbeat of the consumer protocol; the epoch that it is answered with.
async fn heartbeat(
    client: &mut Client,
    member: &str,
    epoch: i32,
    reads: Option<&[&str]>,
    regex: Option<&str>,
) -> i32 {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        rebalance_timeout_ms: if epoch == 0 { 60_000 } else { -1 },
        subscribed_topic_names: reads.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        subscribed_topic_regex: regex.map(str::to_owned),
        topic_partitions: (epoch == 0).then(Vec::new),
        ..Default::default()
    };
    let response = client.send(&request).await;
    assert_eq!(response.error_code, 0, "{response:?}");
    response.member_epoch
}

/// The wall clock goes ahead by so much, instead of by what it did before; sessions do not follow it.
fn go_ahead(cluster: &Cluster, by: Duration) {
    cluster.control().clear_faults();
    let ahead = Fault {
        ahead_ms: Some(i64::try_from(by.as_millis()).unwrap()),
        ..Fault::new(FaultKind::Clock)
    };
    cluster.control().add_fault(ahead).unwrap();
}

const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);

#[tokio::test]
async fn offsets_of_a_consumer_protocol_group_go_with_its_last_reader_and_the_group_with_them() {
    let cluster = start(None).await;
    let mut client = Client::of(&cluster).await;
    for topic in ["by-name", "by-regex", "unread"] {
        client.create_topic(topic, 1, &[]).await;
    }
    heartbeat(&mut client, "a", 0, Some(&["by-name"]), None).await;
    heartbeat(&mut client, "b", 0, None, Some("by-r.*")).await;
    let epoch = heartbeat(&mut client, "a", 1, None, None).await;
    let all = ["by-name", "by-regex", "unread"];
    commit(&mut client, "g", ("a", epoch), &all, 9, -1).await;
    assert_eq!(committed(&mut client, "g").await, all);

    go_ahead(&cluster, TWO_HOURS);
    until_committed(&mut client, "g", &["by-name", "by-regex"]).await;
    // What is committed anew is new again, read or not.
    commit(&mut client, "g", ("a", epoch), &["unread"], 9, -1).await;
    // A member that reads something else gives up what it read.
    heartbeat(&mut client, "b", 2, Some(&["by-name"]), Some("")).await;
    until_committed(&mut client, "g", &["by-name", "unread"]).await;
    // A group of this protocol does not count from when it became empty, but from the commit.
    heartbeat(&mut client, "b", -1, None, None).await;
    assert_eq!(committed(&mut client, "g").await, ["by-name", "unread"]);
    heartbeat(&mut client, "a", -1, None, None).await;
    until_committed(&mut client, "g", &["unread"]).await;
    go_ahead(&cluster, 2 * TWO_HOURS);
    until_gone(&mut client, "g").await;
    cluster.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn the_retention_that_an_old_client_chooses_counts_for_its_offsets_and_survives_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start(Some(data.path())).await;
    let mut client = Client::of(&cluster).await;
    for topic in ["default", "hour", "soon", "week"] {
        client.create_topic(topic, 1, &[]).await;
    }
    const HOUR_MS: i64 = 60 * 60 * 1000;
    for version in 2..=4 {
        let group = format!("v{version}");
        for (topic, retention_ms) in [("default", -1), ("soon", 50), ("week", 7 * 24 * HOUR_MS)] {
            commit(&mut client, &group, NOBODY, &[topic], version, retention_ms).await;
        }
        until_committed(&mut client, &group, &["default", "week"]).await;
        commit(&mut client, &group, NOBODY, &["hour"], version, 3 * HOUR_MS).await;
    }
    // Only those of a time of their own: this one has that of the broker again.
    commit(&mut client, "v4", NOBODY, &["hour"], 5, 50).await;
    cluster.shutdown(PATIENCE).await;

    let cluster = start(Some(data.path())).await;
    let mut client = Client::of(&cluster).await;
    assert_eq!(committed(&mut client, "v2").await, ["default", "hour", "week"]);
    go_ahead(&cluster, TWO_HOURS);
    until_committed(&mut client, "v2", &["hour", "week"]).await;
    until_committed(&mut client, "v4", &["week"]).await;
    go_ahead(&cluster, 2 * TWO_HOURS);
    until_committed(&mut client, "v3", &["week"]).await;
    cluster.shutdown(PATIENCE).await;
}
