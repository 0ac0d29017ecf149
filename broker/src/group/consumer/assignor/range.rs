//! The range assignor: each topic is cut into as many ranges as it has readers, in the order of the readers.

use std::collections::BTreeMap;

use heliostat_wire::Uuid;

use super::{Reader, Spec};
use crate::group::consumer::assignment::Assignment;

/// How far a topic has been given out.
struct Cut {
    quota: i32,
    /// Ranges that are still to get one partition more.
    longer: i32,
    next: i32,
    partitions: i32,
}

pub(super) fn assign(spec: &Spec) -> BTreeMap<String, Assignment> {
    let mut cuts: BTreeMap<Uuid, Cut> = BTreeMap::new();
    for (&topic, &partitions) in &spec.partitions {
        let readers = spec
            .readers
            .values()
            .filter(|r| r.topics.contains(&topic))
            .count();
        if let Ok(readers @ 1..) = i32::try_from(readers) {
            let cut = Cut {
                quota: partitions / readers,
                longer: partitions % readers,
                next: 0,
                partitions,
            };
            cuts.insert(topic, cut);
        }
    }
    let mut assigned = BTreeMap::new();
    for (id, reader) in in_order(spec) {
        let mut own = Assignment::default();
        for &topic in &reader.topics {
            let Some(cut) = cuts.get_mut(&topic) else { continue };
            let extra = i32::from(cut.longer > 0);
            cut.longer -= extra;
            let end = (cut.next + cut.quota + extra).min(cut.partitions);
            (cut.next..end).for_each(|partition| own.insert(topic, partition));
            cut.next = end;
        }
        assigned.insert(id.clone(), own);
    }
    assigned
}

/// Static members first, by instance id, so that a member that comes back under a new id gets the same range.
fn in_order(spec: &Spec) -> Vec<(&String, &Reader)> {
    let mut readers: Vec<_> = spec.readers.iter().collect();
    readers.sort_by_key(|(id, reader)| match &reader.instance_id {
        Some(instance) => (0, instance.clone(), (*id).clone()),
        None => (1, (*id).clone(), String::new()),
    });
    readers
}
