//! What must hold of both assignors, whatever the members read and had.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_wire::Uuid;
use proptest::prelude::*;

use super::*;

fn topic(number: u8) -> Uuid {
    Uuid::from_bytes([number; 16])
}

/// Members by name, each with the numbers of the topics that it reads.
fn spec(readers: &[(&str, &[u8])], partitions: &[(u8, i32)]) -> Spec {
    let reader = |(name, topics): &(&str, &[u8])| {
        let topics = topics.iter().map(|&number| topic(number)).collect();
        (
            (*name).to_owned(),
            Reader {
                topics,
                ..Reader::default()
            },
        )
    };
    Spec {
        readers: readers.iter().map(reader).collect(),
        partitions: partitions
            .iter()
            .map(|&(number, count)| (topic(number), count))
            .collect(),
    }
}

/// Lets the members have what they were assigned.
fn follow(spec: &mut Spec, assigned: &BTreeMap<String, Assignment>) {
    for (id, reader) in &mut spec.readers {
        reader.previous = assigned[id].clone();
    }
}

fn loads(assigned: &BTreeMap<String, Assignment>) -> Vec<usize> {
    assigned.values().map(Assignment::len).collect()
}

/// Partitions that one member had, and that another one of those that are still there is to get.
fn moved(spec: &Spec, assigned: &BTreeMap<String, Assignment>) -> usize {
    let lost = |(id, reader): (&String, &Reader)| {
        reader
            .previous
            .iter()
            .filter(|&(t, p)| !assigned[id].contains(t, p))
            .count()
    };
    spec.readers.iter().map(lost).sum()
}

#[test]
fn uniform_moves_no_more_than_a_new_member_is_to_get() {
    let mut group = spec(&[("a", &[1, 2]), ("b", &[1, 2])], &[(1, 5), (2, 4)]);
    let first = Assignor::Uniform.assign(&group);
    assert_eq!(loads(&first), [4, 5]);
    follow(&mut group, &first);
    assert_eq!(Assignor::Uniform.assign(&group), first);
    group.readers.insert(
        "c".into(),
        Reader {
            topics: [topic(1), topic(2)].into(),
            ..Reader::default()
        },
    );
    let second = Assignor::Uniform.assign(&group);
    assert_eq!((loads(&second), moved(&group, &second)), (vec![3, 3, 3], 3));
}

#[test]
fn uniform_leaves_the_partition_more_to_who_has_it() {
    let mut group = spec(&[("a", &[1]), ("b", &[1])], &[(1, 3)]);
    let mut had = BTreeMap::from([
        ("a".to_owned(), Assignment::default()),
        ("b".to_owned(), Assignment::default()),
    ]);
    had.insert("a".to_owned(), [(topic(1), 0)].into_iter().collect());
    had.insert(
        "b".to_owned(),
        [(topic(1), 1), (topic(1), 2)].into_iter().collect(),
    );
    follow(&mut group, &had);
    assert_eq!(Assignor::Uniform.assign(&group), had);
}

#[test]
fn uniform_balances_members_that_read_different_topics() {
    let mut group = spec(&[("a", &[1]), ("b", &[1, 2]), ("c", &[2])], &[(1, 4), (2, 2)]);
    let had = BTreeMap::from([
        ("a".to_owned(), Assignment::default()),
        (
            "b".to_owned(),
            (0..4)
                .map(|p| (topic(1), p))
                .chain((0..2).map(|p| (topic(2), p)))
                .collect(),
        ),
        ("c".to_owned(), Assignment::default()),
    ]);
    follow(&mut group, &had);
    let assigned = Assignor::Uniform.assign(&group);
    assert_eq!((loads(&assigned), moved(&group, &assigned)), (vec![3, 2, 1], 4));
}

#[test]
fn range_gives_the_same_partitions_of_two_topics_to_the_same_member() {
    let group = spec(&[("a", &[1, 2]), ("b", &[1, 2])], &[(1, 3), (2, 3)]);
    let assigned = Assignor::Range.assign(&group);
    for (_, own) in assigned {
        assert_eq!(own.of(topic(1)), own.of(topic(2)));
    }
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let reader =
        (proptest::collection::btree_set(0u8..5, 0..5), any::<bool>()).prop_map(|(topics, fixed)| Reader {
            instance_id: fixed.then(|| format!("i{topics:?}")),
            topics: topics.into_iter().map(topic).collect(),
            ..Reader::default()
        });
    let readers = proptest::collection::btree_map("[a-h]", reader, 1..8);
    let counts = proptest::collection::vec(1i32..7, 5);
    let had = proptest::collection::vec((0usize..8, 0u8..5, 0i32..8), 0..30);
    (readers, counts, had).prop_map(|(mut readers, counts, had)| {
        // What members had may be anything: topics that they left, partitions that are gone, the same one twice.
        let mut owned: Vec<Assignment> = vec![Assignment::default(); readers.len()];
        for (index, number, partition) in had {
            let index = index % owned.len();
            owned[index].insert(topic(number), partition);
        }
        for (reader, own) in readers.values_mut().zip(owned) {
            reader.previous = own;
        }
        let read: BTreeSet<Uuid> = readers
            .values()
            .flat_map(|reader| reader.topics.iter().copied())
            .collect();
        let partitions = (0u8..)
            .map(topic)
            .zip(counts)
            .filter(|(topic, _)| read.contains(topic))
            .collect();
        Spec { readers, partitions }
    })
}

proptest! {
    /// Every partition goes to exactly one member, which reads its topic; the result is a fixed point; and with the
    /// uniform assignor no member has two more than another that could have one of them.
    #[test]
    fn every_partition_has_one_reader(mut group in any_spec()) {
        for assignor in Assignor::ALL {
            let assigned = assignor.assign(&group);
            let mut seen = BTreeSet::new();
            for (id, own) in &assigned {
                for (topic, partition) in own.iter() {
                    prop_assert!(group.readers[id].topics.contains(&topic), "{id} does not read {topic}");
                    prop_assert!(partition < group.partitions[&topic]);
                    prop_assert!(seen.insert((topic, partition)), "{topic}-{partition} is assigned twice");
                }
            }
            prop_assert_eq!(seen.len(), usize::try_from(group.partitions.values().sum::<i32>()).unwrap());
            if assignor == Assignor::Uniform {
                for (id, own) in &assigned {
                    for (topic, _) in own.iter() {
                        let readers = group.readers.iter().filter(|(_, reader)| reader.topics.contains(&topic));
                        let least = readers.map(|(id, _)| assigned[id].len()).min().unwrap();
                        prop_assert!(own.len() <= least + 1, "{id} could give one of {topic} away");
                    }
                }
            }
            let before = group.clone();
            follow(&mut group, &assigned);
            prop_assert_eq!(&assignor.assign(&group), &assigned);
            group = before;
        }
    }
}
