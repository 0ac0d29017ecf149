//! Answering questions for offsets from what lies on the clusters; no daemon is asked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::read::MapContents;
use super::record;
use super::translate::{Now, PartitionMap, Place, Translation};
use crate::cluster::admin::explain;
use crate::cluster::native::{OffsetSpec, PartitionOffset};
use crate::cluster::{Admin, Cluster, ClusterError};
use crate::topology::Flow;

/// The client id of all that is asked here.
const CLIENT_ID: &str = "heliostat/offsets";

/// Which way offsets are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the source to the mirror.
    ToTarget,
    /// From the mirror back to the source.
    ToSource,
}

/// An offset of a partition: the next one to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The topic on the side where the offset is from.
    pub topic: String,
    /// The partition, the same on both sides.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// What is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What was asked.
    pub asked: Asked,
    /// The topic on the other side, if there is one.
    pub topic: Option<String>,
    /// Where the offset is there, or why that cannot be said.
    pub found: Result<Translation, String>,
}

/// The answers to some questions.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// In the order of the questions.
    pub list: Vec<Answered>,
    /// All mirrors of the flow: source topic and mirror topic.
    pub mirrors: Vec<(String, String)>,
    /// Why it was not looked whether a source topic was made again.
    pub source_away: Option<String>,
}

/// Nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// A cluster does not answer, or refuses.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is no map topic.
    #[error("{target} has no topic {topic}: nothing was ever mirrored from {source_alias} to it")]
    NoMap {
        /// The source's alias.
        source_alias: String,
        /// The target's alias.
        target: String,
        /// The map topic that there is not.
        topic: String,
    },
}

/// The two clusters of a flow.
pub struct Lookup<'a> {
    flow: &'a Flow,
    source: Admin,
    target: Admin,
}

/// What the clusters say of the topics that a question is about.
#[derive(Default)]
struct Seen {
    source_ids: HashMap<String, Option<String>>,
    target_ids: HashMap<String, Option<String>>,
    target_partitions: HashMap<String, usize>,
    starts: HashMap<(String, i32), Result<i64, String>>,
    ends: HashMap<(String, i32), Result<i64, String>>,
}

impl<'a> Lookup<'a> {
    /// Connects in the background.
    ///
    /// # Errors
    /// If no client can be made with the settings of a cluster.
    pub fn new(
        flow: &'a Flow,
        source: &Arc<Cluster>,
        target: &Arc<Cluster>,
    ) -> Result<Lookup<'a>, ClusterError> {
        Ok(Lookup {
            flow,
            source: Admin::new(source.clone(), CLIENT_ID)?,
            target: Admin::new(target.clone(), CLIENT_ID)?,
        })
    }

    /// What a group has committed on the side where offsets are from. A partition whose offset the broker does not give is an error.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn group(&self, group: &str, direction: Direction) -> Result<Vec<Asked>, ClusterError> {
        let side = match direction {
            Direction::ToTarget => &self.source,
            Direction::ToSource => &self.target,
        };
        let asked = |found: PartitionOffset| match found.offset {
            Ok(offset) => Ok(Asked {
                topic: found.topic,
                partition: found.partition,
                offset,
            }),
            Err(code) => Err(ClusterError {
                cluster: side.cluster().alias.clone(),
                call: format!("list the offsets of the group {group}"),
                reason: format!("{} {}: {}", found.topic, found.partition, explain(code)),
                away: false,
            }),
        };
        side.group_offsets(group).await?.into_iter().map(asked).collect()
    }

    /// Translates offsets.
    ///
    /// # Errors
    /// If the target does not answer, or has no offset map of this flow. That the source is away is no error.
    pub async fn translate(&self, asked: Vec<Asked>, direction: Direction) -> Result<Answers, LookupError> {
        let map_topic = record::topic_name(&self.flow.source);
        let partitions: HashSet<(String, i32)> = asked
            .iter()
            .filter_map(|asked| Some((self.mirror_of(&asked.topic, direction)?, asked.partition)))
            .collect();
        let map = MapContents::read(&self.target, CLIENT_ID, &map_topic, partitions.clone()).await?;
        let map = map.ok_or_else(|| LookupError::NoMap {
            source_alias: self.flow.source.clone(),
            target: self.flow.target.clone(),
            topic: map_topic,
        })?;
        let (seen, source_away) = self.see(&map, &partitions).await?;
        let mut maps = HashMap::new();
        let mut list = Vec::with_capacity(asked.len());
        for asked in asked {
            list.push(self.answer(asked, direction, &map, &seen, &mut maps));
        }
        let mirrors = map.mirrors.into_iter();
        Ok(Answers {
            list,
            mirrors: mirrors
                .map(|(mirror, provenance)| (provenance.source_topic, mirror))
                .collect(),
            source_away,
        })
    }

    /// The mirror topic that a question is about, if the topic can have one.
    fn mirror_of(&self, topic: &str, direction: Direction) -> Option<String> {
        match direction {
            Direction::ToTarget => {
                let (source, target) = (&self.flow.source, &self.flow.target);
                self.flow.naming.mirror_topic(source, target, topic).ok()
            }
            Direction::ToSource => Some(topic.to_owned()),
        }
    }

    /// Looks at the topics as they are now. Of the source only its topics' ids are wanted, so it may be away.
    async fn see(
        &self,
        map: &MapContents,
        partitions: &HashSet<(String, i32)>,
    ) -> Result<(Seen, Option<String>), ClusterError> {
        let known: BTreeMap<&String, &String> = partitions
            .iter()
            .filter_map(|(mirror, _)| Some((mirror, &map.mirrors.get(mirror)?.source_topic)))
            .collect();
        let mirrors: Vec<String> = known.keys().map(|mirror| (*mirror).clone()).collect();
        let topics: BTreeSet<String> = known.values().map(|topic| (*topic).clone()).collect();
        let (on_target, on_source) = tokio::join!(
            self.target.describe_topics(mirrors),
            self.source.describe_topics(topics.into_iter().collect())
        );
        let mut seen = Seen::default();
        for topic in on_target? {
            if let Ok(count) = topic.partitions {
                seen.target_partitions.insert(topic.name.clone(), count);
                seen.target_ids.insert(topic.name, topic.id);
            }
        }
        let source_away = match on_source {
            Ok(topics) => {
                let ids = topics.into_iter().map(|topic| (topic.name, topic.id));
                seen.source_ids.extend(ids);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let is_there = |(mirror, partition): &&(String, i32)| {
            let count = seen.target_partitions.get(mirror).copied().unwrap_or(0);
            usize::try_from(*partition).is_ok_and(|partition| partition < count)
        };
        let wanted: Vec<(String, i32)> = partitions.iter().filter(is_there).cloned().collect();
        let (starts, ends) = tokio::try_join!(
            self.target.offsets(wanted.clone(), OffsetSpec::Earliest),
            self.target.offsets(wanted, OffsetSpec::LatestCommitted)
        )?;
        seen.starts = by_partition(starts);
        seen.ends = by_partition(ends);
        Ok((seen, source_away))
    }

    fn answer(
        &self,
        asked: Asked,
        direction: Direction,
        map: &MapContents,
        seen: &Seen,
        maps: &mut HashMap<(String, i32), Result<Held, String>>,
    ) -> Answered {
        let mirror = self.mirror_of(&asked.topic, direction);
        let known = mirror.and_then(|mirror| {
            let provenance = map.mirrors.get(&mirror)?;
            let is_it = direction == Direction::ToSource || provenance.source_topic == asked.topic;
            is_it.then(|| (mirror, provenance.source_topic.clone()))
        });
        let Some((mirror, source)) = known else {
            let why = match direction {
                Direction::ToTarget => format!("the flow {} has no mirror of it", self.flow.name),
                Direction::ToSource => format!("it is no mirror of the flow {}", self.flow.name),
            };
            return Answered {
                asked,
                topic: None,
                found: Err(why),
            };
        };
        let held = maps
            .entry((mirror.clone(), asked.partition))
            .or_insert_with(|| self.held((&source, &mirror), asked.partition, map, seen));
        let found = match (held, direction) {
            (Ok(Held::Map(map)), Direction::ToTarget) => Ok(map.to_target(asked.offset)),
            (Ok(Held::Map(map)), Direction::ToSource) => Ok(map.to_source(asked.offset)),
            (Ok(Held::Nothing { end, .. }), Direction::ToTarget) => Ok(Translation {
                place: Place::Beyond,
                next: *end,
            }),
            (Ok(Held::Nothing { why, .. }), Direction::ToSource) => Err(why.clone()),
            (Err(why), _) => Err(why.clone()),
        };
        let topic = match direction {
            Direction::ToTarget => mirror,
            Direction::ToSource => source,
        };
        Answered {
            asked,
            topic: Some(topic),
            found,
        }
    }

    /// All that is known of a partition.
    fn held(
        &self,
        (source, mirror): (&String, &String),
        partition: i32,
        map: &MapContents,
        seen: &Seen,
    ) -> Result<Held, String> {
        let target = &self.flow.target;
        let count = seen.target_partitions.get(mirror).copied();
        let count = count.ok_or_else(|| format!("{target} does not have {mirror} any more"))?;
        if !usize::try_from(partition).is_ok_and(|partition| partition < count) {
            return Err(format!("{mirror} has {count} partitions"));
        }
        let key = (mirror.clone(), partition);
        let place = |offsets: &HashMap<(String, i32), Result<i64, String>>| {
            let unknown = || Err("no answer for this partition".to_owned());
            let found = offsets.get(&key).cloned().unwrap_or_else(unknown);
            found.map_err(|reason| format!("{target} does not give the offsets of {mirror}: {reason}"))
        };
        let now = Now {
            source_id: seen.source_ids.get(source).cloned().flatten(),
            target_id: seen.target_ids.get(mirror).cloned().flatten(),
            start: place(&seen.starts)?,
            end: place(&seen.ends)?,
        };
        let blocks = map.blocks(mirror, partition);
        if let Some(found) = PartitionMap::new(&blocks, &now) {
            return Ok(Held::Map(found));
        }
        let of_other_source = blocks
            .iter()
            .rev()
            .find(|block| block.is_of_mirror(now.target_id.as_deref()));
        match of_other_source {
            Some(_) => Ok(Held::Nothing {
                end: now.end,
                why: format!(
                    "{source} on {} was deleted and made again, and nothing of the new one is copied",
                    self.flow.source
                ),
            }),
            None if now.start == now.end => Ok(Held::Nothing {
                end: now.end,
                why: "nothing of it is copied".to_owned(),
            }),
            None => Err(format!(
                "the offset map says nothing of what is in {mirror}: let a daemon run this flow, which finds out where it goes on"
            )),
        }
    }
}

/// What is known of a partition.
enum Held {
    /// What is copied.
    Map(PartitionMap),
    /// Nothing of the source topic as it is now is copied.
    Nothing {
        /// Where its first record would be.
        end: i64,
        /// Why.
        why: String,
    },
}

fn by_partition(offsets: Vec<PartitionOffset>) -> HashMap<(String, i32), Result<i64, String>> {
    let entry = |found: PartitionOffset| ((found.topic, found.partition), found.offset.map_err(explain));
    offsets.into_iter().map(entry).collect()
}
