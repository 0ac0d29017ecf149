//! The uniform assignor: as even as the subscriptions allow, and with as few moves as that takes.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_wire::Uuid;

use super::Spec;
use crate::group::consumer::assignment::Assignment;

pub(super) fn assign(spec: &Spec) -> BTreeMap<String, Assignment> {
    if spec.is_homogeneous() {
        assign_alike(spec)
    } else {
        assign_unlike(spec)
    }
}

/// What members keep of what they had, and what is free. A partition that two had is kept by the first.
fn keep_and_free(spec: &Spec) -> (BTreeMap<String, Assignment>, Vec<(Uuid, i32)>) {
    let mut taken = BTreeSet::new();
    let mut kept = BTreeMap::new();
    for (id, reader) in &spec.readers {
        let still_there = |&(topic, partition): &(Uuid, i32)| {
            reader.topics.contains(&topic)
                && spec
                    .partitions
                    .get(&topic)
                    .is_some_and(|count| partition < *count)
        };
        let own: Assignment = reader
            .previous
            .iter()
            .filter(still_there)
            .filter(|p| taken.insert(*p))
            .collect();
        kept.insert(id.clone(), own);
    }
    let mut free = Vec::new();
    for (&topic, &count) in &spec.partitions {
        free.extend((0..count).map(|p| (topic, p)).filter(|p| !taken.contains(p)));
    }
    (kept, free)
}

/// Everybody reads the same: each gets the same number of partitions, or one more than others. Those that have most keep
/// the one more, as far as there are enough of them.
fn assign_alike(spec: &Spec) -> BTreeMap<String, Assignment> {
    let (mut assigned, mut free) = keep_and_free(spec);
    let members = spec.readers.len();
    let total: usize = spec
        .partitions
        .values()
        .map(|&count| usize::try_from(count).unwrap_or(0))
        .sum();
    let Some(quota) = total.checked_div(members) else {
        return assigned;
    };
    let mut with_one_more = total % members;
    let mut room = Vec::new();
    for (index, (id, own)) in assigned.iter_mut().enumerate() {
        let mut most = quota + usize::from(with_one_more > 0);
        let mut one_more = with_one_more > 0;
        // Later members may have a better use for the one more, unless there is one for each of them.
        if one_more && own.len() < most && members - index > with_one_more {
            most -= 1;
            one_more = false;
        }
        let surplus: Vec<_> = own.iter().skip(most).collect();
        for (topic, partition) in surplus {
            own.remove(topic, partition);
            free.push((topic, partition));
        }
        with_one_more -= usize::from(one_more);
        if own.len() < most {
            room.push((id.clone(), most - own.len()));
        }
    }
    let mut free = free.into_iter();
    for (id, space) in room {
        if let Some(own) = assigned.get_mut(&id) {
            free.by_ref()
                .take(space)
                .for_each(|(topic, partition)| own.insert(topic, partition));
        }
    }
    assigned
}

/// Members read different topics: what is free goes to whoever has least, topics with few readers first; and then
/// partitions move from those that have much to those that have at least two less, for as long as there are any.
fn assign_unlike(spec: &Spec) -> BTreeMap<String, Assignment> {
    let (kept, free) = keep_and_free(spec);
    let mut readers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (index, reader) in spec.readers.values().enumerate() {
        for &topic in &reader.topics {
            readers.entry(topic).or_default().push(index);
        }
    }
    let mut loads: Vec<usize> = kept.values().map(Assignment::len).collect();
    let (ids, mut own): (Vec<String>, Vec<Assignment>) = kept.into_iter().unzip();
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in free {
        topics.entry(topic).or_default().push(partition);
    }
    let mut by_readers: Vec<_> = topics.into_iter().collect();
    by_readers.sort_by_key(|(topic, _)| readers.get(topic).map_or(0, Vec::len));
    for (topic, partitions) in by_readers {
        let Some(readers) = readers.get(&topic) else {
            continue;
        };
        // A set of loads with their members gives the least of them in each round without looking at all.
        let mut least: BTreeSet<(usize, usize)> =
            readers.iter().map(|&index| (loads[index], index)).collect();
        for partition in partitions {
            let Some((load, index)) = least.pop_first() else {
                break;
            };
            own[index].insert(topic, partition);
            loads[index] = load + 1;
            least.insert((load + 1, index));
        }
    }
    balance(&readers, &mut own, &mut loads);
    ids.into_iter().zip(own).collect()
}

/// Every move takes from one that has at least two more than the other gets to, so the sum of the squares of all loads
/// shrinks each time: this ends.
fn balance(readers: &BTreeMap<Uuid, Vec<usize>>, own: &mut [Assignment], loads: &mut [usize]) {
    loop {
        let mut moved = false;
        for (&topic, readers) in readers {
            let mut by_load: BTreeSet<(usize, usize)> =
                readers.iter().map(|&index| (loads[index], index)).collect();
            // Those that read the topic but have nothing of it can only get; they leave the set from above.
            let mut got_only = BTreeSet::new();
            while let (Some(&(least, to)), Some(&(most, from))) = (
                by_load.first().into_iter().chain(got_only.first()).min(),
                by_load.last(),
            ) {
                if most < least + 2 {
                    break;
                }
                let last = own[from]
                    .of(topic)
                    .and_then(|partitions| partitions.last().copied());
                by_load.remove(&(most, from));
                let Some(partition) = last else {
                    got_only.insert((most, from));
                    continue;
                };
                if !by_load.remove(&(least, to)) {
                    got_only.remove(&(least, to));
                }
                own[from].remove(topic, partition);
                own[to].insert(topic, partition);
                (loads[from], loads[to]) = (most - 1, least + 1);
                by_load.insert((most - 1, from));
                by_load.insert((least + 1, to));
                moved = true;
            }
        }
        if !moved {
            return;
        }
    }
}
