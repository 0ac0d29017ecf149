//! Judges an exactly-once mirror by what lies on both clusters. It knows nothing of how the mirror was made.
//!
//! Three things are held against each other: the committed records of the source, the records of the mirror, and what the
//! offset map topic says of where each of them landed.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;

use super::clients::Client;
use super::daemon::heliostat;
use super::process::temp_dir;
use super::rec::{Rec, difference};

/// A topic and its mirror.
#[derive(Clone)]
pub struct Sides {
    /// The cluster that is mirrored.
    pub source: Client,
    /// The topic there.
    pub topic: String,
    /// The cluster that is mirrored to.
    pub target: Client,
    /// The topic there.
    pub mirror: String,
    /// The name of the source in the topology.
    pub alias: String,
}

/// So many records are asked for, besides those at the ends of runs.
const TRANSLATED: usize = 5_000;

/// A run of offsets that the map says to be in step: source, target, length.
pub type Run = (i64, i64, i64);

/// What was found on both sides.
pub struct Exact {
    /// The source's committed records.
    pub source: Vec<Rec>,
    /// The mirror's records.
    pub mirror: Vec<Rec>,
    /// By partition, in the order of their target offsets.
    pub runs: BTreeMap<i32, Vec<Run>>,
    /// The map's last word on a partition: the next source offset, and the target offset after the last copied record.
    pub positions: BTreeMap<i32, (i64, i64)>,
    /// By partition: between which target offsets blocks say that all is known, in their order.
    known: BTreeMap<i32, Vec<(i64, i64)>>,
    /// Whether the map's last word on a partition is that its owner gave it up with nothing on its way.
    pub released: BTreeMap<i32, bool>,
    starts: BTreeMap<i32, (i64, i64)>,
    ends: BTreeMap<i32, (i64, i64)>,
    compacted: bool,
    names: (String, String),
    /// The topology file of the daemons, for `heliostat offsets`.
    file: Option<String>,
}

impl Exact {
    /// Reads both sides and the map.
    #[track_caller]
    pub fn read(sides: &Sides) -> Exact {
        let committed = sides.source.with(&[("isolation.level", "read_committed")]);
        let source = committed.read(&sides.topic);
        let mirror = sides.target.read(&sides.mirror);
        // No transaction stays open there, so a reader of what is committed sees the same.
        let as_committed = sides
            .target
            .with(&[("isolation.level", "read_committed")])
            .read(&sides.mirror);
        assert_eq!(
            as_committed.len(),
            mirror.len(),
            "a reader of committed records sees less of the mirror"
        );
        let on_source = sides.source.watermarks(&sides.topic);
        let on_target = sides.target.watermarks(&sides.mirror);
        let zipped = || on_source.iter().zip(&on_target).enumerate();
        let starts = zipped().map(|(partition, (source, target))| (partition as i32, (source.0, target.0)));
        let ends = zipped().map(|(partition, (source, target))| (partition as i32, (source.1, target.1)));
        let Map {
            runs,
            positions,
            known,
            released,
        } = read_map(sides);
        Exact {
            source,
            mirror,
            runs,
            positions,
            known,
            released,
            starts: starts.collect(),
            ends: ends.collect(),
            compacted: false,
            names: (sides.topic.clone(), sides.mirror.clone()),
            file: None,
        }
    }

    /// What daemons copied by this topology file.
    pub fn by(mut self, topology: &Path) -> Exact {
        self.file = Some(std::fs::read_to_string(topology).expect("read the topology file"));
        self
    }

    /// Both logs may have lost records to compaction.
    pub fn compacted(mut self) -> Exact {
        self.compacted = true;
        self
    }

    /// Panics unless the mirror has every record of the source once, in order, equal, at ascending offsets.
    #[track_caller]
    pub fn expect_equal(&self) -> &Exact {
        if let Some(difference) = difference(&self.source, &self.mirror) {
            panic!(
                "the mirror differs from its source: {difference}\n{}",
                self.around(&difference)
            );
        }
        self.expect_ascending()
    }

    /// Panics unless offsets ascend in each partition of the mirror.
    #[track_caller]
    pub fn expect_ascending(&self) -> &Exact {
        for pair in self.mirror.windows(2) {
            assert!(
                (pair[0].partition, pair[0].offset) < (pair[1].partition, pair[1].offset),
                "offset {} of partition {} is there twice",
                pair[1].offset,
                pair[1].partition
            );
        }
        self
    }

    /// Panics unless each record has the same offset on both sides.
    #[track_caller]
    pub fn expect_same_offsets(&self) -> &Exact {
        for (source, mirror) in self.source.iter().zip(&self.mirror) {
            let places = [source, mirror].map(|record| (record.partition, record.offset));
            assert_eq!(places[0], places[1], "a record is not where it was on the source");
        }
        self
    }

    /// Panics unless all that the map says is true, in both directions.
    #[track_caller]
    pub fn expect_true_map(&self) -> &Exact {
        let source = by_place(&self.source);
        let mirror = by_place(&self.mirror);
        for (&partition, runs) in &self.runs {
            let (source_start, target_start) = self.starts[&partition];
            let mut last: Option<Run> = None;
            for &(from, to, length) in runs {
                let follows = last.is_none_or(|last| from >= last.0 + last.2 && to >= last.1 + last.2);
                assert!(
                    length > 0 && follows,
                    "partition {partition}: the runs {last:?} and {:?} contradict each other",
                    (from, to, length)
                );
                last = Some((from, to, length));
                for step in 0..length {
                    let said = (
                        source.get(&(partition, from + step)),
                        mirror.get(&(partition, to + step)),
                    );
                    let here = format!(
                        "partition {partition}: the map says that {} is at {}",
                        from + step,
                        to + step
                    );
                    match said {
                        (Some(source), Some(mirror)) => {
                            assert!(same(source, mirror), "{here}: {source:?} {mirror:?}")
                        }
                        (source, mirror) => assert!(
                            self.compacted
                                || (source.is_some() || from + step < source_start)
                                    && (mirror.is_some() || to + step < target_start),
                            "{here}, but there is no record on the {}",
                            if source.is_none() { "source" } else { "target" }
                        ),
                    }
                }
            }
        }
        self
    }

    /// Panics unless the map has each record of the mirror, and positions at the ends. It does after a daemon has ended
    /// as it was told to. Where both sides have the same records `heliostat offsets` says so of them.
    #[track_caller]
    pub fn expect_whole_map(&self) -> &Exact {
        self.expect_true_map();
        if self.file.is_some() && difference(&self.source, &self.mirror).is_none() {
            self.expect_translated();
        }
        for record in &self.mirror {
            let runs = self
                .runs
                .get(&record.partition)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let covers = |run: &&Run| (run.1..run.1 + run.2).contains(&record.offset);
            assert!(
                runs.iter().any(|run| covers(&run)),
                "partition {}: the map does not say where {} comes from: {runs:?}",
                record.partition,
                record.offset
            );
        }
        for (partition, (_, position)) in &self.positions {
            let mut to = self.starts[partition].1;
            for &(from, until) in &self.known[partition] {
                assert!(
                    from <= to,
                    "partition {partition}: no block speaks of the target offsets from {to} to {from}: {:?}",
                    self.known[partition]
                );
                to = to.max(until);
            }
            assert!(to >= *position, "partition {partition}: {to} {position}");
        }
        for (partition, ends) in &self.ends {
            let last = self
                .source
                .iter()
                .rev()
                .find(|record| record.partition == *partition);
            let position = self.positions.get(partition).map(|(source, _)| *source);
            let wanted = last.map(|last| last.offset + 1);
            assert!(
                position >= wanted && position.is_none_or(|position| position <= ends.0),
                "partition {partition}: the map's position is {position:?}, the last record is before {wanted:?} and the log ends at {}",
                ends.0
            );
        }
        self
    }

    /// Panics unless `heliostat offsets` says where records are, in both directions, where both sides have the same ones: some of each run of the map, and all at its ends.
    #[track_caller]
    fn expect_translated(&self) {
        let pairs: Vec<(&Rec, &Rec)> = self.source.iter().zip(&self.mirror).collect();
        let step = pairs.len() / TRANSLATED + 1;
        let delta = |index: usize| {
            pairs
                .get(index)
                .map(|(from, to)| (from.partition, to.offset - from.offset))
        };
        let is_asked = |index: &usize| {
            index.is_multiple_of(step)
                || delta(*index) != delta(index + 1)
                || delta(*index) != delta(index.wrapping_sub(1))
        };
        let asked: Vec<(&Rec, &Rec)> = (0..pairs.len())
            .filter(is_asked)
            .map(|index| pairs[index])
            .collect();
        let (topic, mirror) = (&self.names.0, &self.names.1);
        self.translate(topic, asked.iter().copied(), &[]);
        self.translate(
            mirror,
            asked.iter().map(|(from, to)| (*to, *from)),
            &["--reverse"],
        );
    }

    #[track_caller]
    fn translate<'r>(
        &self,
        topic: &str,
        records: impl Iterator<Item = (&'r Rec, &'r Rec)>,
        direction: &[&str],
    ) {
        let directory = temp_dir("offsets");
        let path = |name: &str| directory.path().join(name);
        let file = self.file.as_ref().expect("the topology file is known");
        std::fs::write(path("t.yaml"), file).expect("write the topology file");
        let expected: BTreeMap<(i64, i64), i64> = records
            .map(|(from, to)| ((i64::from(from.partition), from.offset), to.offset))
            .collect();
        let lines: String = expected
            .keys()
            .map(|(partition, offset)| format!("{topic},{partition},{offset}\n"))
            .collect();
        std::fs::write(path("offsets.csv"), lines).expect("write a file of offsets");
        let arguments = [
            "offsets",
            "t.yaml",
            "--log-level",
            "error",
            "--from-file",
            "offsets.csv",
            "-o",
            "json",
        ];
        let output = heliostat(&[&arguments, direction].concat(), Some(directory.path()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let rows = report["offsets"].as_array().expect("offsets");
        assert_eq!(rows.len(), expected.len());
        for row in rows {
            let place = (row["partition"].as_i64(), row["offset"].as_i64());
            let place = (place.0.expect("a partition"), place.1.expect("an offset"));
            let found = (row["state"].as_str(), row["to_offset"].as_i64());
            assert_eq!(
                found,
                (Some("exact"), expected.get(&place).copied()),
                "{topic} {place:?} {direction:?}"
            );
        }
    }

    /// Whether the mirror of a partition has offsets without records, where markers lie.
    pub fn has_markers(&self, partition: i32) -> bool {
        let records = self
            .mirror
            .iter()
            .filter(|record| record.partition == partition)
            .count();
        let (start, end) = (self.starts[&partition].1, self.ends[&partition].1);
        (records as i64) < end - start
    }

    /// What lies around the first difference of two partitions, for a person.
    fn around(&self, difference: &str) -> String {
        let mut lines = vec![format!(
            "the map: {:?}, positions {:?}",
            shorten(&self.runs),
            self.positions
        )];
        let partition = difference
            .split_whitespace()
            .nth(1)
            .and_then(|number| number.parse::<i32>().ok());
        let Some(partition) = partition else {
            return lines.concat();
        };
        let of = |records: &[Rec]| -> Vec<Rec> {
            records
                .iter()
                .filter(|record| record.partition == partition)
                .cloned()
                .collect()
        };
        let (source, mirror) = (of(&self.source), of(&self.mirror));
        let first = source.iter().zip(&mirror).take_while(|(a, b)| same(a, b)).count();
        for (name, records) in [("source", source), ("mirror", mirror)] {
            for record in records.iter().skip(first.saturating_sub(2)).take(6) {
                let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
                lines.push(format!(
                    "{name} {}: {}",
                    record.offset,
                    value.trim_end_matches('.')
                ));
            }
        }
        lines.join("\n  ")
    }
}

fn shorten(runs: &BTreeMap<i32, Vec<Run>>) -> BTreeMap<i32, &[Run]> {
    const SHOWN: usize = 12;
    runs.iter()
        .map(|(partition, runs)| (*partition, &runs[runs.len().saturating_sub(SHOWN)..]))
        .collect()
}

fn by_place(records: &[Rec]) -> HashMap<(i32, i64), &Rec> {
    records
        .iter()
        .map(|record| ((record.partition, record.offset), record))
        .collect()
}

/// Whether two records are equal but for where they lie.
pub fn same(a: &Rec, b: &Rec) -> bool {
    (a.partition, a.timestamp, &a.key, &a.value, &a.headers)
        == (b.partition, b.timestamp, &b.key, &b.value, &b.headers)
}

struct Map {
    runs: BTreeMap<i32, Vec<Run>>,
    positions: BTreeMap<i32, (i64, i64)>,
    known: BTreeMap<i32, Vec<(i64, i64)>>,
    released: BTreeMap<i32, bool>,
}

/// Runs that follow each other in step, or say the same, as one: each owner of a partition says what it knows.
fn joined(runs: &[Run]) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.0 - last.0 == run.1 - last.1 && run.1 <= last.1 + last.2 => {
                last.2 = last.2.max(run.1 + run.2 - last.1);
            }
            _ => joined.push(*run),
        }
    }
    joined
}

/// What the map topic says of the mirror as it is now: of each block the last version, of each partition the last position.
fn read_map(sides: &Sides) -> Map {
    let topic = format!("heliostat.{}.offset-map.internal", sides.alias);
    let mut blocks: BTreeMap<(i32, i64, String), Value> = BTreeMap::new();
    let mut last: BTreeMap<i32, Value> = BTreeMap::new();
    let records = if sides.target.partitions(&topic).is_some() {
        sides.target.read(&topic)
    } else {
        Vec::new()
    };
    for record in records {
        let key: Value =
            serde_json::from_slice(record.key.as_deref().unwrap_or_default()).expect("a key in JSON");
        let (Some(partition), Some(block)) = (key["partition"].as_i64(), key["block"].as_i64()) else {
            continue;
        };
        if key["topic"] != sides.mirror.as_str() {
            continue;
        }
        let place = (partition as i32, block, key["owner"].to_string());
        match record.value {
            None => drop(blocks.remove(&place)),
            Some(value) => {
                let value: Value = serde_json::from_slice(&value).expect("a value in JSON");
                // The word of an owner counts no more once another one with a newer epoch has spoken.
                let outdated = last.get(&place.0).is_some_and(|last| {
                    last["producer_id"] == value["producer_id"]
                        && value["producer_epoch"].as_i64() < last["producer_epoch"].as_i64()
                });
                if !outdated {
                    last.insert(place.0, value.clone());
                }
                blocks.insert(place, value);
            }
        }
    }
    let mut runs: BTreeMap<i32, Vec<Run>> = BTreeMap::new();
    let mut known: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
    for ((partition, ..), block) in &blocks {
        // What was said of a topic of the same name that is gone does not count.
        let is_of_now = |id: &str| block[id] == last[partition][id];
        if is_of_now("target_topic_id") {
            let from = block["from"][1].as_i64().unwrap_or(i64::MIN);
            let to = block["target_position"].as_i64().expect("a number");
            known.entry(*partition).or_default().push((from, to));
        }
        if !is_of_now("target_topic_id") || !is_of_now("source_topic_id") {
            continue;
        }
        let segments = block["segments"].as_array().expect("segments").iter();
        let read = segments.map(|run| serde_json::from_value::<Run>(run.clone()).expect("three numbers"));
        runs.entry(*partition).or_default().extend(read);
    }
    for runs in runs.values_mut() {
        runs.sort_by_key(|run| (run.1, run.0));
        *runs = joined(runs);
    }
    for stretches in known.values_mut() {
        stretches.sort_unstable();
    }
    let number = |block: &Value, name: &str| block[name].as_i64().expect("a number");
    let positions = last.iter().map(|(partition, block)| {
        (
            *partition,
            (number(block, "position"), number(block, "target_position")),
        )
    });
    let released = last
        .iter()
        .map(|(partition, block)| (*partition, block["released"] == true));
    Map {
        runs,
        positions: positions.collect(),
        known,
        released: released.collect(),
    }
}
