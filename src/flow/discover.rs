//! Which topics a flow mirrors, now: found on the source, made on the target, and never one that would come back in a circle.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heliostat_wire::Uuid;
use heliostat_wire::client::Client;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::Semaphore;

use super::map_end::read_to_end;
use super::member::MirrorPartition;
use super::mirror_topic;
use crate::cluster::admin::{ConfigValue, TopicListing, TopicSpec, as_librdkafka_reads, explain};
use crate::cluster::native::TopicDescription;
use crate::cluster::{Admin, ClusterError};
use crate::observe::status::LeftOut;
use crate::offsets::record::{self, Provenance};
use crate::offsets::store::MapReader;
use crate::offsets::writer::{MapWriter, WriteError};
use crate::policy;
use crate::topology::Flow;

mod awaited;

pub(super) use awaited::Awaited;

/// How long the map topics may take to be read to their end.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// So many partitions are asked for in one request at most, unless one topic has more: Kafka's controller takes 10,000, and answers when all
/// are made.
const CREATE_AT_ONCE: usize = 1_000;

/// A source topic and its mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The source topic.
    pub topic: String,
    /// The mirror topic.
    pub target_topic: String,
    /// How many partitions of the source have a partition on the target.
    pub partitions: usize,
    /// The source topic's id, where the source gives one.
    pub source_id: Option<String>,
    /// The mirror topic's id, where the target gives one.
    pub target_id: Option<String>,
    /// Why it cannot be mirrored now although it should be.
    pub problem: Option<String>,
    /// The mirror topic is there, and the target has not shown it for a while.
    pub is_unseen: bool,
}

impl Mirror {
    /// The ids of both topics, as far as the clusters tell them.
    pub(super) fn topic_ids(&self) -> (Option<Uuid>, Option<Uuid>) {
        let read = |id: &Option<String>| id.as_deref().and_then(as_librdkafka_reads);
        (read(&self.source_id), read(&self.target_id))
    }
}

/// What discovery has found.
#[derive(Clone, Debug, Default)]
pub struct Discovered {
    /// The topics that the flow mirrors, by source topic.
    pub mirrors: BTreeMap<String, Mirror>,
    /// The topics that the patterns include and that are left out all the same.
    pub left_out: Vec<LeftOut>,
    /// The target has told of all partitions that were made, or will not be.
    pub is_whole: bool,
    /// The map topic was made again: it does not know yet how far anything is copied.
    pub map_is_new: bool,
}

/// Looks for topics, again and again.
pub struct Discovery {
    /// The flow.
    pub flow: Arc<Flow>,
    /// The source.
    pub source: Admin,
    /// The target.
    pub target: Admin,
    /// The source's id.
    pub source_cluster: String,
    /// The target's id.
    pub target_cluster: String,
    /// All aliases of the topology.
    pub aliases: Vec<String>,
    /// The map topics of the source: what came from where.
    pub source_maps: Arc<MapReader>,
    /// The map topics of the target.
    pub target_maps: Arc<MapReader>,
    /// The flow's own map topic.
    pub map_topic: String,
    /// Writes to it.
    pub writer: Arc<MapWriter>,
    /// Heliostat's own clients of source and target, for the engine that uses them.
    pub wire: Option<(Client, Client)>,
    /// For partitions that are claimed at once.
    pub places: Arc<Semaphore>,
    /// After what time a claim of a partition is renewed.
    pub claim_period: Duration,
    /// What the last look has seen, if it left nothing to do.
    pub(super) settled: Mutex<Option<Seen>>,
    /// What the last look has made and could not see yet.
    pub(super) awaited: Mutex<Option<Awaited>>,
    /// The id of the map topic, as the last look has seen it.
    pub(super) seen_map: Mutex<Option<String>>,
}

/// What decides whether a topic that the patterns include is mirrored, and as what.
pub(super) struct Rules<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// All aliases of the topology.
    pub aliases: &'a [String],
    /// The source's id.
    pub source_cluster: &'a str,
    /// The target's id.
    pub target_cluster: &'a str,
    /// The map topics of the source: what came from where.
    pub source_maps: &'a MapReader,
    /// The map topic of the target, where there is one.
    pub target_maps: Option<&'a MapReader>,
}

/// Topics by name: how many partitions they have, where that is told, and their ids.
type Described = HashMap<String, (Option<usize>, Option<String>)>;

/// What a look has seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    on_source: Arc<Vec<TopicListing>>,
    on_target: Arc<Vec<TopicListing>>,
    /// How often the map topics of source and target have said where a topic comes from.
    told: (u64, u64),
}

/// What came of making what was missing.
struct Made {
    /// Why some could not be made, by source topic.
    problems: HashMap<String, String>,
    /// Something was missing.
    anything: bool,
    /// Something was made that was not there: brokers may take their time to show it.
    is_new: bool,
}

/// A topic that is to be mirrored, on its way through discovery.
#[derive(Debug)]
struct Candidate {
    topic: String,
    target_topic: String,
    partitions: usize,
    path: Vec<String>,
}

impl Discovery {
    /// One look at both clusters. Creates mirror topics and partitions that are missing. None if all is as it was at the last look. Of partitions that
    /// are `idle` here nobody keeps books, and nobody else's they are.
    pub async fn look(&self, idle: &[MirrorPartition]) -> Result<Option<Discovered>, ClusterError> {
        if let Some(awaited) = self.take_awaited() {
            return self.look_for(awaited, true).await.map(Some);
        }
        self.source.rest();
        self.target.rest();
        let (on_source, mut on_target) = tokio::try_join!(self.source.topics(), self.target.topics())?;
        let (map_is_new, map_id) = self.look_at_map(&mut on_target, idle).await?;
        let source_topics = on_source.iter().map(|topic| topic.name.as_str());
        let target_topics = on_target.iter().map(|topic| topic.name.as_str());
        tokio::try_join!(
            read_maps(&self.source, &self.source_maps, source_topics),
            read_maps(&self.target, &self.target_maps, target_topics)
        )?;
        let seen = Seen {
            on_source,
            on_target,
            told: (self.source_maps.told(), self.target_maps.told()),
        };
        if !map_is_new && self.is_settled(&seen) {
            *self.map_id() = map_id;
            return Ok(None);
        }
        let Seen {
            on_source, on_target, ..
        } = &seen;
        let mut found = Discovered {
            map_is_new,
            ..Discovered::default()
        };
        let mut candidates = Vec::new();
        for listing in on_source
            .iter()
            .filter(|listing| self.flow.topics.includes(&listing.name))
        {
            match self.consider(&listing.name, listing.partitions) {
                Ok(candidate) => candidates.push(candidate),
                Err(reason) => found.left_out.push(LeftOut {
                    topic: listing.name.clone(),
                    reason,
                }),
            }
        }
        let existing: HashMap<&str, usize> = on_target
            .iter()
            .map(|topic| (topic.name.as_str(), topic.partitions))
            .collect();
        let made = self.make(&candidates, &existing).await?;
        let found = if self.wire.is_some() {
            let sides = (described(on_source), described(on_target));
            match made.anything {
                true => {
                    let awaited = Awaited::new(found, (candidates, made.problems), sides);
                    self.look_for(awaited, made.is_new).await?
                }
                false => finish(found, &candidates, &made.problems, (&sides.0, &sides.1)),
            }
        } else {
            let (on_source, on_target) = self.describe(&candidates).await?;
            finish(found, &candidates, &made.problems, (&on_source, &on_target))
        };
        self.settle(seen, &found, made.anything);
        // Not before: who is to tell a new map what is copied hears of it by this look alone.
        *self.map_id() = map_id;
        Ok(Some(found))
    }

    fn awaited(&self) -> MutexGuard<'_, Option<Awaited>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn map_id(&self) -> MutexGuard<'_, Option<String>> {
        self.seen_map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What could not be written to the map topic.
    pub(super) fn not_written(&self, error: &WriteError) -> ClusterError {
        ClusterError {
            cluster: self.flow.target.clone(),
            call: format!("write {}", self.map_topic),
            reason: error.to_string(),
            away: true,
        }
    }

    /// Whether nothing has changed since a look that left nothing to do.
    fn is_settled(&self, seen: &Seen) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.as_ref() == Some(seen)
    }

    /// Remembers what was seen, if the next look has nothing to do where it sees the same. Only listings that tell the ids of topics show that
    /// one was made again.
    fn settle(&self, seen: Seen, found: &Discovered, has_made: bool) {
        let is_whole = |mirror: &Mirror| {
            let listed = &seen.on_source;
            let found = listed.binary_search_by(|listing| listing.name.as_str().cmp(&mirror.topic));
            mirror.problem.is_none() && found.is_ok_and(|index| listed[index].partitions == mirror.partitions)
        };
        let is_settled = self.wire.is_some() && !has_made && found.mirrors.values().all(is_whole);
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        *settled = is_settled.then_some(seen);
    }

    /// Whether a topic that the patterns include is mirrored, and as what.
    fn consider(&self, topic: &str, partitions: usize) -> Result<Candidate, String> {
        let rules = Rules {
            flow: &self.flow,
            aliases: &self.aliases,
            source_cluster: &self.source_cluster,
            target_cluster: &self.target_cluster,
            source_maps: &self.source_maps,
            target_maps: Some(&self.target_maps),
        };
        let (target_topic, path) = rules.mirror_of(topic)?;
        Ok(Candidate {
            topic: topic.to_string(),
            target_topic,
            partitions,
            path,
        })
    }

    /// Makes what is missing on the target. A topic that cannot be made stops nobody else; the reasons are returned by source topic.
    async fn make(
        &self,
        candidates: &[Candidate],
        existing: &HashMap<&str, usize>,
    ) -> Result<Made, ClusterError> {
        // Where the data comes from is on record before the topic is there: a flow in the other direction that sees the topic also sees
        // that it is a mirror.
        let unknown = candidates.iter().filter(|candidate| {
            let known = self.target_maps.provenance(&candidate.target_topic);
            known.is_none_or(|(_, provenance)| provenance.path != candidate.path)
        });
        let records: Vec<_> = unknown
            .map(|candidate| (candidate.target_topic.clone(), self.provenance(candidate)))
            .collect();
        let written = self.writer.provenance(&records).await;
        written.map_err(|error| self.not_written(&error))?;
        let missing: Vec<&Candidate> = candidates
            .iter()
            .filter(|candidate| !existing.contains_key(candidate.target_topic.as_str()))
            .collect();
        let mut anything = !missing.is_empty();
        let (mut problems, mut is_new) = self.create(&missing).await?;
        for candidate in candidates {
            let too_few = existing
                .get(candidate.target_topic.as_str())
                .is_some_and(|&count| count < candidate.partitions);
            anything |= too_few;
            is_new |= too_few;
            if too_few && let Err(error) = self.grow(candidate).await {
                problems.insert(candidate.topic.clone(), one_topic(error)?);
            }
        }
        Ok(Made {
            problems,
            anything,
            is_new,
        })
    }

    /// Makes topics. Returns why some could not be made, and whether any was that was not there.
    async fn create(&self, missing: &[&Candidate]) -> Result<(HashMap<String, String>, bool), ClusterError> {
        let (mut problems, mut is_new) = (HashMap::new(), false);
        if missing.is_empty() {
            return Ok((problems, is_new));
        }
        let names: Vec<String> = missing.iter().map(|candidate| candidate.topic.clone()).collect();
        let configs = self.source.topic_configs(&names).await?;
        let new: Vec<(&Candidate, TopicSpec)> = missing
            .iter()
            .map(|&candidate| (candidate, self.spec(candidate, configs.get(&candidate.topic))))
            .collect();
        for some in portions(&new) {
            let specs: Vec<TopicSpec> = some.iter().map(|(_, spec)| spec.clone()).collect();
            let created = self
                .target
                .create_topics(&specs, self.flow.replication_factor)
                .await?;
            let mut created: HashMap<String, Result<bool, ClusterError>> = created.into_iter().collect();
            for (candidate, spec) in some {
                match created.remove(&spec.name).unwrap_or(Ok(false)) {
                    // The answer to the request before may have been lost, or the brokers have not heard of it yet.
                    Ok(false) => {}
                    Ok(true) => {
                        is_new = true;
                        tracing::info!(
                            flow = %self.flow.name, topic = %candidate.topic, target_topic = %candidate.target_topic,
                            partitions = candidate.partitions, "created mirror topic"
                        );
                    }
                    Err(error) => drop(problems.insert(candidate.topic.clone(), one_topic(error)?)),
                }
            }
        }
        Ok((problems, is_new))
    }

    /// The mirror topic that a candidate gets.
    fn spec(&self, candidate: &Candidate, on_source: Option<&Vec<ConfigValue>>) -> TopicSpec {
        if on_source.is_none() {
            tracing::warn!(
                flow = %self.flow.name, topic = %candidate.topic, target_topic = %candidate.target_topic,
                "the source does not give the topic's configs: its mirror gets the target's defaults; allow this user to describe configs"
            );
        }
        TopicSpec {
            name: candidate.target_topic.clone(),
            partitions: candidate.partitions,
            configs: mirror_topic::configs(on_source.map(Vec::as_slice).unwrap_or_default()),
        }
    }

    async fn grow(&self, candidate: &Candidate) -> Result<(), ClusterError> {
        self.target
            .create_partitions(&candidate.target_topic, candidate.partitions)
            .await?;
        tracing::info!(
            flow = %self.flow.name, topic = %candidate.topic, target_topic = %candidate.target_topic,
            partitions = candidate.partitions, "added partitions to mirror topic"
        );
        Ok(())
    }

    fn provenance(&self, candidate: &Candidate) -> Provenance {
        Provenance {
            v: record::VERSION,
            source_topic: candidate.topic.clone(),
            source_cluster: self.source_cluster.clone(),
            path: candidate.path.clone(),
        }
    }

    /// The ids and partitions of both sides.
    async fn describe(&self, candidates: &[Candidate]) -> Result<(Described, Described), ClusterError> {
        let topics = candidates
            .iter()
            .map(|candidate| candidate.topic.clone())
            .collect();
        let targets = candidates
            .iter()
            .map(|candidate| candidate.target_topic.clone())
            .collect();
        let (on_source, on_target) = tokio::try_join!(
            self.source.describe_topics(topics),
            self.target.describe_topics(targets)
        )?;
        // Without its id a topic that was made again would not be told from the one before. Where nobody may know it, it is done without.
        let unknown = |topic: &&TopicDescription| {
            let code = topic.partitions.as_ref().err();
            code.is_some_and(|code| {
                !matches!(
                    code,
                    RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed
                )
            })
        };
        if let Some(topic) = on_source.iter().find(unknown) {
            let reason = topic.partitions.as_ref().err().copied().map(explain);
            return Err(ClusterError {
                cluster: self.flow.source.clone(),
                call: format!("describe topic {}", topic.name),
                reason: reason.unwrap_or_default(),
                away: false,
            });
        }
        let by_name = |described: Vec<TopicDescription>| -> Described {
            let topics = described.into_iter();
            topics
                .map(|topic| (topic.name, (topic.partitions.ok(), topic.id)))
                .collect()
        };
        Ok((by_name(on_source), by_name(on_target)))
    }
}

/// The same of topics that were listed with their ids.
fn described(listed: &[TopicListing]) -> Described {
    let topics = listed.iter();
    topics
        .map(|topic| (topic.name.clone(), (Some(topic.partitions), topic.id.clone())))
        .collect()
}

/// The ids of both sides, and the partitions that are on both.
fn finish(
    mut found: Discovered,
    candidates: &[Candidate],
    problems: &HashMap<String, String>,
    (on_source, on_target): (&Described, &Described),
) -> Discovered {
    let id = |side: &Described, name: &str| side.get(name).and_then(|(_, id)| id.clone());
    found.is_whole = true;
    for candidate in candidates {
        let on_both = on_target
            .get(&candidate.target_topic)
            .and_then(|(partitions, _)| *partitions)
            .map_or(0, |count| count.min(candidate.partitions));
        found.is_whole &= on_both == candidate.partitions || problems.contains_key(&candidate.topic);
        let mirror = Mirror {
            partitions: on_both,
            source_id: id(on_source, &candidate.topic),
            target_id: id(on_target, &candidate.target_topic),
            problem: problems.get(&candidate.topic).cloned(),
            is_unseen: false,
            topic: candidate.topic.clone(),
            target_topic: candidate.target_topic.clone(),
        };
        found.mirrors.insert(candidate.topic.clone(), mirror);
    }
    found
}

impl Rules<'_> {
    /// The mirror topic, and the clusters that its records have passed; or why the topic is left out.
    pub(super) fn mirror_of(&self, topic: &str) -> Result<(String, Vec<String>), String> {
        let (source, target) = (&self.flow.source, &self.flow.target);
        let mut path = match self.source_maps.provenance(topic) {
            Some((_, provenance)) => provenance.path,
            None => Vec::new(),
        };
        if path.iter().any(|cluster| cluster == self.target_cluster) {
            return Err(format!(
                "it would come back in a circle: its records have passed {target} before"
            ));
        }
        if policy::aliases_in_name(topic, self.separator(), self.aliases).contains(&target.as_str()) {
            return Err(format!(
                "it would come back in a circle: its name says that its records come from {target}"
            ));
        }
        path.push(self.source_cluster.to_string());
        let target_topic = self
            .flow
            .naming
            .mirror_topic(source, target, topic)
            .map_err(|error| format!("it cannot be named on {target}: {error}"))?;
        if let Some((map_topic, other)) = self.target_maps.and_then(|maps| maps.provenance(&target_topic))
            && (other.source_cluster != self.source_cluster || other.source_topic != topic)
        {
            return Err(format!(
                "{target_topic} on {target} is the mirror of {} of another cluster already, as {map_topic} there says: choose another name",
                other.source_topic
            ));
        }
        Ok((target_topic, path))
    }

    /// What stands between an alias and a topic in the names that this flow makes, or that MirrorMaker makes by default.
    fn separator(&self) -> &str {
        match &self.flow.naming {
            policy::Naming::Prefix { separator } => separator,
            _ => ".",
        }
    }
}

/// What is asked for in one request each: no more than [`CREATE_AT_ONCE`] partitions, or one topic.
fn portions<'a, 'b>(
    new: &'a [(&'b Candidate, TopicSpec)],
) -> impl Iterator<Item = &'a [(&'b Candidate, TopicSpec)]> {
    let mut rest = new;
    std::iter::from_fn(move || {
        let mut partitions = 0;
        let fits = |(_, spec): &&(&Candidate, TopicSpec)| {
            partitions += spec.partitions;
            partitions <= CREATE_AT_ONCE
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (portion, after) = rest.split_at(count);
        rest = after;
        (!portion.is_empty()).then_some(portion)
    })
}

/// The reason of an error that concerns one topic; an error of a cluster that is away is everybody's.
fn one_topic(error: ClusterError) -> Result<String, ClusterError> {
    if error.away {
        Err(error)
    } else {
        Ok(format!("{}: {}", error.call, error.reason))
    }
}

/// Read the map topics of a cluster to the end that they have now.
pub(super) async fn read_maps<'a>(
    admin: &Admin,
    reader: &MapReader,
    topics: impl Iterator<Item = &'a str>,
) -> Result<(), ClusterError> {
    let maps: HashSet<&str> = topics.filter(|topic| record::is_map_topic(topic)).collect();
    for topic in &maps {
        reader.follow(topic);
    }
    read_to_end(admin, reader, maps, READ_TIMEOUT).await
}
