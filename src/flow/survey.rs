//! A look at the clusters where no daemon answers: what the offset maps say, held against what the sources have.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::daemon::Fleet;
use super::discover::{Rules, read_maps};
use super::map_end::{not_read, read_to_end};
use super::member::group_id;
use super::now_ms;
use super::pause::{Site, listed, paused};
use super::prepare::gap_reason;
use super::view::NOTHING_MATCHES;
use crate::cluster::admin::TopicListing;
use crate::cluster::native::{Consumed, Consumer, OffsetSpec, PartitionOffset};
use crate::cluster::{Admin, Cluster, ClusterError};
use crate::observe::status::{FlowStatus, Lag, PartitionStatus, State, Status, StatusSource};
use crate::offsets::record::{self, Provenance};
use crate::offsets::store::{MapReader, PartitionFacts};
use crate::topology::{Flow, OnGap, Topology};

/// How long the map topics and the oldest missing records may take to be read.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A partition of another daemon that has records to copy, and of which nothing was recorded for this long, is not said to be copied: a daemon
/// records its progress every second, and whether it lives is known to the group alone, which takes the session time-out to tell.
pub(super) const SILENT_AFTER_MS: i64 = 5_000;

/// The status of a topology as its clusters tell it, without a daemon.
pub async fn survey(topology: &Topology, version: String) -> Status {
    let fleet = Fleet::new(topology, |_| None);
    let mut flows = Vec::new();
    for flow in &topology.flows {
        let (Some(source), Some(target)) = (fleet.get(&flow.source), fleet.get(&flow.target)) else {
            continue;
        };
        let mut status = match look(flow, source, target, &fleet).await {
            Ok(status) => status,
            Err(error) => FlowStatus {
                state: State::Waiting,
                reason: Some(error.to_string()),
                ..FlowStatus::default()
            },
        };
        status.name = flow.name.clone();
        status.source = flow.source.clone();
        status.target = flow.target.clone();
        status.engine = flow.engine.to_string();
        status.delivery = flow.delivery.to_string();
        status.since_ms = now_ms();
        flows.push(status);
    }
    Status {
        version,
        name: topology.name.clone(),
        source: StatusSource::Clusters,
        at_ms: now_ms(),
        started_at_ms: None,
        clusters: fleet.status(),
        flows,
    }
}

async fn look(
    flow: &Flow,
    source: &Arc<Cluster>,
    target: &Arc<Cluster>,
    fleet: &Fleet,
) -> Result<FlowStatus, ClusterError> {
    let aliases = &fleet.aliases();
    let source_admin = Admin::new(source.clone(), "heliostat/status")?;
    let target_admin = Admin::new(target.clone(), "heliostat/status")?;
    let (source_id, target_id) = tokio::join!(source_admin.cluster_id(), target_admin.cluster_id());
    let target_id = target_id?;
    let map = map_reader(flow, target, &target_admin).await?;
    let Some(map) = map else {
        let first = first_to_mirror(flow, &source_admin, aliases, (&source_id?, &target_id), None).await?;
        if first.is_none() {
            return Ok(nothing_to_mirror());
        }
        let reason = format!(
            "nothing was ever mirrored: {} has no {}",
            flow.target,
            record::topic_name(&flow.source)
        );
        return Ok(FlowStatus {
            state: State::Waiting,
            reason: Some(reason),
            ..FlowStatus::default()
        });
    };
    let members = target_admin.group_members(&group_id(&flow.source)).await?;
    let mirrors: Vec<(String, Provenance)> = map
        .provenances(&record::topic_name(&flow.source))
        .into_iter()
        // Of a source that does not say which cluster it is, what was mirrored last counts.
        .filter(|(_, provenance)| {
            source_id
                .as_ref()
                .map_or(true, |id| *id == provenance.source_cluster)
        })
        .collect();
    let mut partitions = match &source_id {
        Ok(_) => {
            partitions(
                flow.on_gap,
                source,
                (&source_admin, &target_admin),
                &map,
                &mirrors,
                members,
            )
            .await?
        }
        Err(error) => on_record(&target_admin, &map, &mirrors, &error.to_string()).await?,
    };
    partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let pauses = map.pauses();
    let site = Site { flow, fleet };
    for partition in &mut partitions {
        if let Some(paused) = paused(&site, &pauses, &partition.topic, partition.partition) {
            partition.state = State::Paused;
            partition.reason = Some(paused.reason);
            partition.since_ms = paused.since_ms;
            partition.clears = Some(paused.clears);
        }
    }
    let mut first = None;
    if let Ok(source_id) = &source_id
        && partitions.is_empty()
    {
        let ids = (source_id.as_str(), target_id.as_str());
        first = first_to_mirror(flow, &source_admin, aliases, ids, Some(&map)).await?;
        if first.is_none() {
            return Ok(nothing_to_mirror());
        }
    }
    let known = !partitions.is_empty() && partitions.iter().all(|partition| partition.lag.known);
    let state = partitions
        .iter()
        .map(|partition| partition.state)
        .max()
        .unwrap_or(State::Waiting);
    let reason = match (source_id, members) {
        (Err(error), _) => Some(error.to_string()),
        (Ok(_), 0) => Some(format!("no daemon is in the group {}", group_id(&flow.source))),
        (Ok(_), _) => first.map(|topic| format!("nothing was ever mirrored: {topic} is still to come")),
    };
    Ok(FlowStatus {
        state,
        reason,
        lag: Lag {
            known,
            records: partitions.iter().map(|partition| partition.lag.records).sum(),
            seconds: partitions
                .iter()
                .map(|partition| partition.lag.seconds)
                .fold(0.0, f64::max),
            at_least: partitions.iter().any(|partition| partition.lag.at_least),
            ..Lag::default()
        },
        partitions,
        pauses: listed(&site, &pauses),
        ..FlowStatus::default()
    })
}

/// With nothing to mirror, nothing is missing: what a daemon says of such a flow.
fn nothing_to_mirror() -> FlowStatus {
    FlowStatus {
        state: State::CaughtUp,
        reason: Some(NOTHING_MATCHES.into()),
        lag: Lag {
            known: true,
            ..Lag::default()
        },
        ..FlowStatus::default()
    }
}

/// The topics of the source that a daemon would mirror. `ids` are those of the source and the target.
pub(super) async fn topics_to_mirror(
    flow: &Flow,
    source: &Admin,
    aliases: &[String],
    ids: (&str, &str),
    map: Option<&MapReader>,
) -> Result<Vec<TopicListing>, ClusterError> {
    let topics = source.topics().await?;
    if !topics.iter().any(|topic| flow.topics.includes(&topic.name)) {
        return Ok(Vec::new());
    }
    let cluster = source.cluster();
    let source_maps =
        MapReader::start(cluster.clone(), "heliostat/status", None).map_err(|error| ClusterError {
            cluster: cluster.alias.clone(),
            call: "read the offset maps".into(),
            reason: error.to_string(),
            away: true,
        })?;
    read_maps(
        source,
        &source_maps,
        topics.iter().map(|topic| topic.name.as_str()),
    )
    .await?;
    let rules = Rules {
        flow,
        aliases,
        source_cluster: ids.0,
        target_cluster: ids.1,
        source_maps: &source_maps,
        target_maps: map,
    };
    let is_mirrored =
        |topic: &&TopicListing| flow.topics.includes(&topic.name) && rules.mirror_of(&topic.name).is_ok();
    Ok(topics.iter().filter(is_mirrored).cloned().collect())
}

/// The first topic of the source that a daemon would mirror.
async fn first_to_mirror(
    flow: &Flow,
    source: &Admin,
    aliases: &[String],
    ids: (&str, &str),
    map: Option<&MapReader>,
) -> Result<Option<String>, ClusterError> {
    let topics = topics_to_mirror(flow, source, aliases, ids, map).await?;
    Ok(topics.into_iter().next().map(|topic| topic.name))
}

/// The map topic of a flow, read to its end; `None` if there is none.
pub(super) async fn map_reader(
    flow: &Flow,
    target: &Arc<Cluster>,
    admin: &Admin,
) -> Result<Option<MapReader>, ClusterError> {
    let topic = record::topic_name(&flow.source);
    if !admin.has_topic(&topic).await? {
        return Ok(None);
    }
    let reader = MapReader::start(target.clone(), "heliostat/status", Some(topic.clone()));
    let reader = reader.map_err(|error| not_read(target, &topic, error.to_string()))?;
    reader.follow(&topic);
    read_to_end(admin, &reader, [topic.as_str()], READ_TIMEOUT).await?;
    Ok(Some(reader))
}

async fn partitions(
    on_gap: OnGap,
    source: &Arc<Cluster>,
    (admin, target): (&Admin, &Admin),
    map: &MapReader,
    mirrors: &[(String, Provenance)],
    members: usize,
) -> Result<Vec<PartitionStatus>, ClusterError> {
    let topics = mirrors
        .iter()
        .map(|(_, provenance)| provenance.source_topic.clone())
        .collect();
    let on_target = mirrors.iter().map(|(mirror, _)| mirror.clone()).collect();
    let (topics, on_target) =
        tokio::try_join!(admin.describe_topics(topics), target.describe_topics(on_target))?;
    let ids: HashMap<String, Option<String>> = on_target
        .into_iter()
        .map(|topic| (topic.name, topic.id))
        .collect();
    let on_source: HashMap<String, (usize, Option<String>)> = topics
        .into_iter()
        .filter_map(|topic| Some((topic.name, (topic.partitions.ok()?, topic.id))))
        .collect();
    let mut wanted = Vec::new();
    let mut found = Vec::new();
    for (mirror, provenance) in mirrors {
        let topic = &provenance.source_topic;
        let id = ids.get(mirror).and_then(Option::as_deref);
        let Some((count, source_id)) = on_source.get(topic) else {
            continue;
        };
        for partition in 0..*count as i32 {
            wanted.push((topic.clone(), partition));
            let facts = map.facts(mirror, partition);
            // What was copied to a mirror of the same name before is not in this one.
            let facts = facts.filter(|facts| facts.last.is_of_mirror(id));
            let is_other = facts.as_ref().is_some_and(|facts| {
                let copied = facts.last.source_topic_id.as_ref();
                copied
                    .zip(source_id.as_ref())
                    .is_some_and(|(copied, now)| copied != now)
            });
            found.push((mirror.clone(), topic.clone(), partition, facts, is_other));
        }
    }
    let (starts, ends) = tokio::try_join!(
        admin.offsets(wanted.clone(), OffsetSpec::Earliest),
        admin.offsets(wanted, OffsetSpec::LatestCommitted)
    )?;
    let mut partitions: Vec<PartitionStatus> = found
        .into_iter()
        .map(|(mirror, topic, partition, facts, is_other)| {
            let start = offset(&starts, &topic, partition);
            let end = offset(&ends, &topic, partition);
            let mut status = partition_status(mirror, topic, partition, facts.as_ref(), start, end, members);
            if is_other {
                is_of_another_log(&mut status);
            } else if on_gap == OnGap::Halt {
                halt_at_gap(&mut status);
            }
            status
        })
        .collect();
    let source = source.clone();
    let aged = tokio::task::spawn_blocking(move || {
        fill_in_ages(&source, &mut partitions);
        partitions
    });
    aged.await.map_err(|error| ClusterError {
        cluster: admin.cluster().alias.clone(),
        call: "read the oldest missing records".into(),
        reason: error.to_string(),
        away: false,
    })
}

/// What the map alone tells of the partitions, where the source tells nothing, for this reason.
async fn on_record(
    target: &Admin,
    map: &MapReader,
    mirrors: &[(String, Provenance)],
    reason: &str,
) -> Result<Vec<PartitionStatus>, ClusterError> {
    let names = mirrors.iter().map(|(mirror, _)| mirror.clone()).collect();
    let on_target = target.describe_topics(names).await?;
    let sources: HashMap<&str, &str> = mirrors
        .iter()
        .map(|(mirror, provenance)| (mirror.as_str(), provenance.source_topic.as_str()))
        .collect();
    let mut found = Vec::new();
    for mirror in &on_target {
        let (Some(topic), Ok(count)) = (sources.get(mirror.name.as_str()), &mirror.partitions) else {
            continue;
        };
        for partition in 0..*count as i32 {
            let facts = map.facts(&mirror.name, partition);
            let facts = facts.filter(|facts| facts.last.is_of_mirror(mirror.id.as_deref()));
            let (mirror, topic) = (mirror.name.clone(), (*topic).to_owned());
            let mut status = partition_status(mirror, topic, partition, facts.as_ref(), None, None, 0);
            status.reason = Some(reason.to_owned());
            found.push(status);
        }
    }
    Ok(found)
}

fn offset(offsets: &[PartitionOffset], topic: &str, partition: i32) -> Option<i64> {
    let found = offsets
        .iter()
        .find(|found| found.topic == topic && found.partition == partition)?;
    found.offset.as_ref().ok().copied()
}

fn partition_status(
    target_topic: String,
    topic: String,
    partition: i32,
    facts: Option<&PartitionFacts>,
    start: Option<i64>,
    end: Option<i64>,
    members: usize,
) -> PartitionStatus {
    let position = facts.map(|facts| facts.last.position);
    let behind = match (position.or(start), end) {
        (Some(position), Some(end)) => u64::try_from(end - position).ok(),
        _ => None,
    };
    let (state, reason) = match (behind, members) {
        (None, _) if end.is_some() && position > end => (
            State::Recreated,
            Some("the source's log ends before the position: it was truncated, or made again".into()),
        ),
        (None, _) => (State::Waiting, Some("the source's log end is not known".into())),
        (Some(0), _) => (State::CaughtUp, None),
        (Some(_), 0) => (State::Waiting, Some("no daemon copies it".into())),
        (Some(_), _) => {
            // Whether a member of the group lives is known to the group alone: what is known here is when it last recorded something.
            let silent = facts.map(|facts| now_ms() - facts.last.at_ms);
            let silent = silent.filter(|silent| *silent > SILENT_AFTER_MS);
            let reason = |silent| {
                format!(
                    "a daemon is in the group, which recorded progress {} s ago",
                    silent / 1000
                )
            };
            (State::Copying, silent.map(reason))
        }
    };
    PartitionStatus {
        topic,
        target_topic,
        partition,
        state,
        reason,
        since_ms: facts.map_or_else(now_ms, |facts| facts.last.at_ms),
        position,
        source_start: start,
        source_end: end,
        target_position: facts.map(|facts| facts.last.target_position),
        lag: Lag {
            known: behind.is_some(),
            records: behind.unwrap_or(0),
            ..Lag::default()
        },
        ..PartitionStatus::default()
    }
}

/// What was copied is of a topic that is not there any more: nothing is copied yet of the one that has its name.
fn is_of_another_log(partition: &mut PartitionStatus) {
    let there = partition.source_end.zip(partition.source_start);
    let there = there.and_then(|(end, start)| u64::try_from(end - start).ok());
    partition.state = State::Recreated;
    partition.reason = Some("the source topic was deleted and made again".to_owned());
    partition.position = None;
    partition.lag = Lag {
        known: there.is_some(),
        records: there.unwrap_or(0),
        ..Lag::default()
    };
}

/// A partition of which the source has deleted what comes next is not copied by anyone, where the topology file says so.
fn halt_at_gap(partition: &mut PartitionStatus) {
    if let (Some(position), Some(start)) = (partition.position, partition.source_start)
        && position < start
    {
        partition.state = State::Gap;
        partition.reason = Some(gap_reason(position, start));
        partition.offsets = Some((position, start - 1));
    }
}

/// The lag in seconds: the age of the first record that is missing, which is read for its timestamp.
fn fill_in_ages(source: &Cluster, partitions: &mut [PartitionStatus]) {
    let missing = partitions.iter().filter(|partition| partition.lag.records > 0);
    let wanted: Vec<(String, i32, i64)> = missing
        .filter_map(|partition| {
            let at = partition.position.or(partition.source_start)?;
            Some((partition.topic.clone(), partition.partition, at))
        })
        .collect();
    let now = now_ms();
    let found = oldest_timestamps(source, "heliostat/status", &wanted);
    let found: HashMap<(&str, i32), i64> = found
        .iter()
        .map(|(topic, partition, _, timestamp)| ((topic.as_str(), *partition), *timestamp))
        .collect();
    for partition in partitions
        .iter_mut()
        .filter(|partition| partition.lag.records > 0)
    {
        match found.get(&(partition.topic.as_str(), partition.partition)) {
            Some(timestamp) => partition.lag.seconds = (now - timestamp).max(0) as f64 / 1000.0,
            None => partition.lag.at_least = true,
        }
    }
}

/// The timestamps of the first records at or behind these offsets, as far as they can be read in time: topic, partition, the offset that was
/// asked for, and the timestamp in milliseconds since 1970. It blocks.
pub(super) fn oldest_timestamps(
    source: &Cluster,
    client_id: &str,
    wanted: &[(String, i32, i64)],
) -> Vec<(String, i32, i64, i64)> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut config = source.client_config(client_id);
    config.set("auto.offset.reset", "earliest");
    let Ok(consumer) = Consumer::new(&source.alias, &config) else {
        return Vec::new();
    };
    let mut topics = HashMap::new();
    let mut missing: HashMap<(usize, i32), usize> = HashMap::new();
    for (index, (name, partition, at)) in wanted.iter().enumerate() {
        if !topics.contains_key(name) {
            let Ok(topic) = consumer.topic(name) else {
                continue;
            };
            topics.insert(name.clone(), topic);
        }
        let topic = &topics[name];
        if consumer.start(topic, *partition, *at).is_ok() {
            missing.insert((topic.id(), *partition), index);
        }
    }
    let deadline = Instant::now() + READ_TIMEOUT;
    let (mut items, mut found) = (Vec::new(), Vec::new());
    while !missing.is_empty() && Instant::now() < deadline {
        consumer.take(Duration::from_millis(100), 1000, &mut items);
        for item in items.drain(..) {
            if let Consumed::Record(record) = item
                && let Some(index) = missing.remove(&(record.topic(), record.partition()))
                && record.timestamp() >= 0
            {
                let (topic, partition, at) = wanted[index].clone();
                found.push((topic, partition, at, record.timestamp()));
            }
        }
    }
    for (name, partition, _) in wanted {
        if let Some(topic) = topics.get(name) {
            consumer.stop(topic, *partition);
        }
    }
    found
}
