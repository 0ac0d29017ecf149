//! Judges a mirror: what was acknowledged on the source, against what can be read on the target.

use std::collections::BTreeMap;
use std::fmt;

use super::rec::Rec;

/// What a mirror did to the sequences that a [`super::load::Load`] wrote. Counts are over all partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged on the source.
    pub acknowledged: u64,
    /// Different sequence numbers found.
    pub found: u64,
    /// Acknowledged on the source and not found.
    pub lost: u64,
    /// Found again after they were found once.
    pub duplicated: u64,
    /// Found for the first time after a later one.
    pub out_of_order: u64,
    /// Whose value is not a sequence of this load.
    pub foreign: u64,
    /// The first few findings, for a person.
    pub examples: Vec<String>,
}

/// Compares records read from a topic with what was acknowledged, per partition.
pub fn judge(load: &str, acknowledged: &BTreeMap<i32, Vec<u64>>, read: &[Rec]) -> Verdict {
    let mut partitions: BTreeMap<i32, Sequence> = BTreeMap::new();
    let mut verdict = Verdict::default();
    for record in read {
        let Some(number) = super::load::number(load, record.value.as_deref().unwrap_or_default()) else {
            verdict.foreign += 1;
            verdict.example(|| format!("{}/{}: a foreign value", record.partition, record.offset));
            continue;
        };
        let place = || format!("{}/{}: {number}", record.partition, record.offset);
        let sequence = partitions.entry(record.partition).or_default();
        match sequence.meet(number) {
            Meeting::Next => {}
            Meeting::Again => {
                verdict.duplicated += 1;
                verdict.example(|| format!("{} again", place()));
            }
            Meeting::Late => {
                verdict.out_of_order += 1;
                verdict.example(|| format!("{} after a later one", place()));
            }
        }
    }
    for (partition, numbers) in acknowledged {
        let sequence = partitions.entry(*partition).or_default();
        verdict.acknowledged += numbers.len() as u64;
        for number in numbers.iter().filter(|number| !sequence.has(**number)) {
            verdict.lost += 1;
            verdict.example(|| format!("partition {partition}: {number} is lost"));
        }
    }
    verdict.found = partitions.values().map(Sequence::count).sum();
    verdict
}

impl Verdict {
    /// Panics when anything was lost, came out of order, or is foreign. Duplicates are for the caller to judge.
    #[track_caller]
    pub fn expect_complete(&self) {
        assert!(self.lost + self.out_of_order + self.foreign == 0, "{self}");
    }

    /// Panics unless every record is there once and in order.
    #[track_caller]
    pub fn expect_exact(&self) {
        self.expect_complete();
        assert!(self.duplicated == 0, "{self}");
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        const EXAMPLES: usize = 8;
        if self.examples.len() < EXAMPLES {
            self.examples.push(text());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of {} acknowledged records: {} found, {} lost, {} duplicated, {} out of order, {} foreign {:?}",
            self.acknowledged,
            self.found,
            self.lost,
            self.duplicated,
            self.out_of_order,
            self.foreign,
            self.examples
        )
    }
}

enum Meeting {
    Next,
    Again,
    Late,
}

/// The numbers met in one partition: a bit for each.
#[derive(Default)]
struct Sequence {
    met: Vec<bool>,
    highest: Option<u64>,
}

impl Sequence {
    fn meet(&mut self, number: u64) -> Meeting {
        let index = number as usize;
        if self.met.len() <= index {
            self.met.resize(index + 1, false);
        }
        if std::mem::replace(&mut self.met[index], true) {
            return Meeting::Again;
        }
        let late = self.highest.is_some_and(|highest| number < highest);
        self.highest = self.highest.max(Some(number));
        if late { Meeting::Late } else { Meeting::Next }
    }

    fn has(&self, number: u64) -> bool {
        self.met.get(number as usize).copied().unwrap_or(false)
    }

    fn count(&self) -> u64 {
        self.met.iter().filter(|met| **met).count() as u64
    }
}
