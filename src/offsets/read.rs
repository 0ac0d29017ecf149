//! Reading a map topic once, from its start to the end that it has now.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::record::{Block, BlockId, Key, MapRecord, Provenance};
use crate::cluster::admin::explain;
use crate::cluster::native::{Consumed, Consumer, OffsetSpec};
use crate::cluster::{Admin, Cluster, ClusterError};

/// How long nothing may come before reading counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a look for records waits at most.
const TICK: Duration = Duration::from_millis(100);

/// How many records are taken at a time.
const RECORDS_AT_ONCE: usize = 1_000;

/// What a map topic says of the partitions that a question is about.
#[derive(Debug, Default)]
pub struct MapContents {
    /// All mirror topics that it names, with where they come from.
    pub mirrors: BTreeMap<String, Provenance>,
    /// The blocks of the partitions that were asked for, by mirror topic and partition, each with its place in the map topic.
    blocks: HashMap<(String, i32), BTreeMap<BlockId, (i64, Block)>>,
}

impl MapContents {
    /// Reads a map topic, and keeps the blocks of these partitions of mirror topics. `None` if there is no such topic.
    ///
    /// # Errors
    /// If the cluster does not answer, or the topic cannot be read to its end.
    pub async fn read(
        admin: &Admin,
        client_id: &str,
        topic: &str,
        partitions: HashSet<(String, i32)>,
    ) -> Result<Option<MapContents>, ClusterError> {
        if !admin.has_topic(topic).await? {
            return Ok(None);
        }
        let is_wanted = move |key: &Key| match key.partition {
            None => true,
            Some(partition) => partitions.contains(&(key.topic.clone(), partition)),
        };
        let contents = scan(
            admin,
            client_id,
            topic,
            MapContents::default(),
            move |contents, record| {
                if is_wanted(&record.key) {
                    contents.take(record.offset, record.read());
                }
            },
        );
        contents.await.map(Some)
    }

    /// The blocks of a partition in the order in which they were written.
    pub fn blocks(&self, topic: &str, partition: i32) -> Vec<Block> {
        let found = self.blocks.get(&(topic.to_owned(), partition));
        let mut blocks: Vec<&(i64, Block)> = found.into_iter().flat_map(BTreeMap::values).collect();
        blocks.sort_by_key(|(offset, _)| *offset);
        blocks.into_iter().map(|(_, block)| block.clone()).collect()
    }

    fn take(&mut self, offset: i64, record: Option<MapRecord>) {
        match record {
            // What this version does not know is left out; what is paused, and who begins, have nothing to do with offsets.
            None | Some(MapRecord::Pause(..) | MapRecord::First(_)) => {}
            Some(MapRecord::Provenance(topic, Some(provenance))) => {
                self.mirrors.insert(topic, provenance);
            }
            Some(MapRecord::Provenance(topic, None)) => drop(self.mirrors.remove(&topic)),
            Some(MapRecord::Block(topic, partition, id, Some(block))) => {
                let blocks = self.blocks.entry((topic, partition)).or_default();
                blocks.insert(id, (offset, block));
            }
            Some(MapRecord::Block(topic, partition, id, None)) => {
                if let Some(blocks) = self.blocks.get_mut(&(topic, partition)) {
                    blocks.remove(&id);
                }
            }
        }
    }
}

/// A record of a map topic whose value was not looked at yet.
pub struct Scanned {
    /// Its offset in the map topic.
    pub offset: i64,
    /// What it is about.
    pub key: Key,
    raw: (Vec<u8>, Option<Vec<u8>>),
}

impl Scanned {
    /// All of it; `None` for what this version does not know.
    pub fn read(&self) -> Option<MapRecord> {
        MapRecord::read(&self.raw.0, self.raw.1.as_deref())
    }
}

/// Goes through a map topic, which has to exist, from its start to the end that it has now. What is kept of it is `kept`.
///
/// # Errors
/// If the cluster does not answer, or for some time no record comes before the end is reached.
pub async fn scan<K: Send + 'static>(
    admin: &Admin,
    client_id: &str,
    topic: &str,
    mut kept: K,
    mut take: impl FnMut(&mut K, Scanned) + Send + 'static,
) -> Result<K, ClusterError> {
    let failed = |reason: String| ClusterError {
        cluster: admin.cluster().alias.clone(),
        call: format!("read {topic}"),
        reason,
        away: true,
    };
    let ends = admin
        .offsets(vec![(topic.to_owned(), 0)], OffsetSpec::LatestCommitted)
        .await?;
    let end = match ends.first().map(|end| &end.offset) {
        Some(Ok(end)) => *end,
        Some(Err(code)) => return Err(failed(explain(*code))),
        None => return Err(failed("its end is not known".into())),
    };
    let (cluster, client_id, name) = (admin.cluster().clone(), client_id.to_owned(), topic.to_owned());
    let work = tokio::task::spawn_blocking(move || {
        go_through(&cluster, &client_id, &name, end, |record| take(&mut kept, record)).map(|()| kept)
    });
    match work.await {
        Ok(result) => result.map_err(failed),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn go_through(
    cluster: &Cluster,
    client_id: &str,
    topic: &str,
    end: i64,
    mut take: impl FnMut(Scanned),
) -> Result<(), String> {
    if end == 0 {
        return Ok(());
    }
    let mut config = cluster.client_config(client_id);
    config.set("enable.partition.eof", "true");
    config.set("auto.offset.reset", "earliest");
    config.set("queued.max.messages.kbytes", "4096");
    let consumer = Consumer::new(&cluster.alias, &config).map_err(|error| error.to_string())?;
    let handle = consumer.topic(topic).map_err(|error| error.to_string())?;
    consumer.start(&handle, 0, 0).map_err(|error| error.to_string())?;
    let result = until_end(&consumer, end, &mut take);
    consumer.stop(&handle, 0);
    result
}

fn until_end(consumer: &Consumer, end: i64, take: &mut impl FnMut(Scanned)) -> Result<(), String> {
    let mut items = Vec::new();
    let mut last = Instant::now();
    let mut read_to = 0;
    while read_to < end {
        consumer.take(TICK, RECORDS_AT_ONCE, &mut items);
        if last.elapsed() > PATIENCE && items.is_empty() {
            let why = consumer
                .last_error()
                .map_or(String::new(), |error| format!(": {error}"));
            return Err(format!(
                "nothing came for {} s before its end{why}",
                PATIENCE.as_secs()
            ));
        }
        for item in items.drain(..) {
            last = Instant::now();
            read_to = match item {
                Consumed::Record(record) => {
                    let key = record.key().unwrap_or_default();
                    if let Ok(parsed) = serde_json::from_slice(&key) {
                        take(Scanned {
                            offset: record.offset(),
                            key: parsed,
                            raw: (key, record.value()),
                        });
                    }
                    record.offset() + 1
                }
                Consumed::End { offset, .. } => offset,
                Consumed::Error { text, .. } => return Err(text),
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::offsets::hostile::{HOSTILE, OTHER, Raw, honest, record};
    use crate::offsets::translate::{Now, PartitionMap, Translation};

    fn contents(records: &[Raw]) -> MapContents {
        let mut contents = MapContents::default();
        for (offset, (key, value)) in (0..).zip(records) {
            contents.take(offset, MapRecord::read(key, value.as_deref()));
        }
        contents
    }

    /// All that a partition is asked for, in both directions.
    fn answers(contents: &MapContents, topic: &str, now: &Now, asked: &[i64]) -> Vec<Translation> {
        let map = PartitionMap::new(&contents.blocks(topic, 0), now);
        let answer = |map: &PartitionMap| -> Vec<Translation> {
            let both = |offset: &i64| [map.to_target(*offset), map.to_source(*offset)];
            asked.iter().flat_map(both).collect()
        };
        map.as_ref().map(answer).unwrap_or_default()
    }

    proptest! {
        #[test]
        fn whatever_lies_in_the_topic_other_partitions_are_translated_as_before(
            hostile in prop::collection::vec(record(), 0..40),
            (start, end) in (0i64..60, prop_oneof![0i64..60, any::<i64>()]),
            more in prop::collection::vec(any::<i64>(), 0..8),
        ) {
            let now = Now { start, end, ..Now::default() };
            let asked: Vec<i64> = (0..60).chain(more).chain([i64::MIN, i64::MAX]).collect();
            let alone = answers(&contents(&honest()), OTHER, &now, &asked);
            prop_assert_eq!(alone.len(), 2 * asked.len());
            let mixed: Vec<Raw> = hostile.iter().cloned().chain(honest()).chain(hostile.clone()).collect();
            let mixed = contents(&mixed);
            prop_assert_eq!(answers(&mixed, OTHER, &now, &asked), alone);
            answers(&mixed, HOSTILE, &now, &asked);
        }
    }
}
