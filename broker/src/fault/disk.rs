//! Disks that are slow, full, or do not keep what they are given.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::spec::Effect;
use crate::log::{Disk, DiskFault, DiskOperation, DiskRefusal};

/// The faults of the disk in force.
#[derive(Debug, Default)]
pub(super) struct DiskRules {
    rules: Mutex<Vec<DiskRule>>,
}

#[derive(Debug)]
struct DiskRule {
    id: u64,
    effect: Effect,
    /// Only logs of this topic.
    topic: Option<String>,
    /// How many bytes still fit.
    room: usize,
    hit: u64,
}

/// What one operation comes to.
#[derive(Debug, Default)]
struct Outcome {
    delay: Duration,
    refusal: Option<DiskRefusal>,
}

impl DiskRules {
    /// Adds a fault, and lets the disk ask for it.
    pub(super) fn add(self: &Arc<Self>, id: u64, effect: Effect, topic: Option<String>, disk: &Disk) {
        let room = match effect {
            Effect::FullDisk { room_bytes } => usize::try_from(room_bytes).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        self.rules().push(DiskRule {
            id,
            effect,
            topic,
            room,
            hit: 0,
        });
        disk.inject(Some(self.clone()));
    }

    /// Removes a fault; with the last one the disk asks no more.
    pub(super) fn remove(&self, id: u64, disk: &Disk) {
        let mut rules = self.rules();
        rules.retain(|rule| rule.id != id);
        if rules.is_empty() {
            disk.inject(None);
        }
    }

    /// How many operations a fault has held up or made fail.
    pub(super) fn hits(&self, id: u64) -> u64 {
        let rules = self.rules();
        rules.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.hit)
    }

    fn rules(&self) -> MutexGuard<'_, Vec<DiskRule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFault for DiskRules {
    fn before(&self, operation: DiskOperation<'_>) -> Result<(), DiskRefusal> {
        let mut outcome = Outcome::default();
        for rule in self.rules().iter_mut() {
            if outcome.refusal.is_none() && rule.concerns(&operation) {
                rule.strike(&operation, &mut outcome);
            }
        }
        if !outcome.delay.is_zero() {
            // On the thread that wants to write, which may block.
            std::thread::sleep(outcome.delay);
        }
        outcome.refusal.map_or(Ok(()), Err)
    }
}

impl DiskRule {
    fn concerns(&self, operation: &DiskOperation<'_>) -> bool {
        let (DiskOperation::Write { path, .. }
        | DiskOperation::Sync { path }
        | DiskOperation::Create { path }) = operation;
        self.topic.as_deref().is_none_or(|topic| is_log_of(path, topic))
    }

    fn strike(&mut self, operation: &DiskOperation<'_>, outcome: &mut Outcome) {
        match (self.effect, operation) {
            (Effect::SlowDisk(delay), _) => outcome.delay += delay,
            (Effect::FullDisk { .. }, DiskOperation::Write { bytes, .. }) if *bytes <= self.room => {
                self.room -= bytes;
                return;
            }
            (Effect::FullDisk { .. }, DiskOperation::Write { .. }) => {
                outcome.refusal = Some(DiskRefusal {
                    written: std::mem::take(&mut self.room),
                    error: io::ErrorKind::StorageFull.into(),
                });
            }
            (Effect::FullDisk { .. }, DiskOperation::Create { .. }) if self.room == 0 => {
                outcome.refusal = Some(io::Error::from(io::ErrorKind::StorageFull).into());
            }
            (Effect::FailedFsync, DiskOperation::Sync { .. }) => {
                outcome.refusal = Some(io::Error::other("a fault makes it fail").into());
            }
            _ => return,
        }
        self.hit += 1;
    }
}

/// Whether the path lies in, or is, a directory `TOPIC-PARTITION`.
fn is_log_of(path: &Path, topic: &str) -> bool {
    let names = path.iter().filter_map(|name| name.to_str());
    let partition = |name: &str| name.strip_prefix(topic)?.strip_prefix('-')?.parse::<u32>().ok();
    names.rev().take(2).any(|name| partition(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_found_in_the_path_of_its_logs() {
        assert!(is_log_of(Path::new("/d/a-b-0/00.log"), "a-b"));
        assert!(is_log_of(Path::new("/d/a-b-0"), "a-b"));
        assert!(!is_log_of(Path::new("/d/a-b-0/00.log"), "a"));
        assert!(!is_log_of(Path::new("/d/state"), "state"));
    }

    #[test]
    fn a_disk_has_room_until_it_is_full() {
        let rules = Arc::new(DiskRules::default());
        let disk = Disk::default();
        rules.add(
            1,
            Effect::FullDisk { room_bytes: 10 },
            Some("t".to_owned()),
            &disk,
        );
        let write = |path: &'static str, bytes| DiskOperation::Write {
            path: Path::new(path),
            bytes,
        };
        assert!(rules.before(write("/d/t-0/0.log", 7)).is_ok());
        assert!(rules.before(write("/d/other-0/0.log", 70)).is_ok());
        let refusal = rules.before(write("/d/t-0/0.log", 7)).unwrap_err();
        assert_eq!(
            (refusal.written, refusal.error.kind()),
            (3, io::ErrorKind::StorageFull)
        );
        assert!(
            rules
                .before(DiskOperation::Sync {
                    path: Path::new("/d/t-0/0.log")
                })
                .is_ok()
        );
        assert_eq!(rules.hits(1), 1);
        rules.remove(1, &disk);
        assert!(rules.before(write("/d/t-0/0.log", 7)).is_ok());
    }
}
