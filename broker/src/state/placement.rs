//! Which nodes hold a partition.

use std::collections::BTreeSet;

use super::{Image, Partition};

/// Replicas for `partitions` new partitions on nodes 1 to `nodes`: leaders take turns, beginning with the node after
/// `offset` others, and each partition's other replicas are on the nodes after its leader.
///
/// `replication_factor` must be between 1 and `nodes`.
pub(crate) fn spread(partitions: usize, replication_factor: i16, nodes: i32, offset: usize) -> Vec<Vec<i32>> {
    assert!(
        (1..=nodes).contains(&replication_factor.into()),
        "a replica needs a node of its own"
    );
    let node = |turn: usize| (turn % nodes as usize) as i32 + 1;
    (0..partitions)
        .map(|partition| {
            (0..replication_factor as usize)
                .map(|replica| node(offset + partition + replica))
                .collect()
        })
        .collect()
}

/// The same placement with the nodes that are up first: as long as there are enough of them, no new replica is put on one
/// that is down, and none that is down is to lead.
pub(crate) fn prefer_live(spread: Vec<Vec<i32>>, live: &BTreeSet<i32>, nodes: i32) -> Vec<Vec<i32>> {
    if live.len() as i32 == nodes {
        return spread;
    }
    let order = |replicas: Vec<i32>| {
        let first = replicas[0];
        let ring: Vec<_> = (0..nodes).map(|turn| (first - 1 + turn) % nodes + 1).collect();
        let (up, down): (Vec<_>, Vec<_>) = ring.into_iter().partition(|node| live.contains(node));
        up.into_iter().chain(down).take(replicas.len()).collect()
    };
    spread.into_iter().map(order).collect()
}

/// A new partition, led and in sync as the nodes that are up allow.
pub(crate) fn settled(image: &Image, replicas: Vec<i32>) -> Partition {
    let mut partition = Partition::new(replicas);
    if image.live().len() == image.nodes() {
        return partition;
    }
    partition.isr.retain(|node| image.live().contains(node));
    partition.leader = partition.isr.first().copied().unwrap_or(partition.leader);
    partition
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn leaders_are_spread_and_replicas_differ(partitions in 1usize..40, nodes in 1i32..6, rf in 1i16..6, offset: u8) {
            let rf = rf.min(nodes as i16);
            let all = spread(partitions, rf, nodes, offset.into());
            prop_assert_eq!(all.len(), partitions);
            let mut led = vec![0; nodes as usize];
            for replicas in all {
                prop_assert_eq!(replicas.len(), rf as usize);
                led[replicas[0] as usize - 1] += 1;
                let distinct: std::collections::BTreeSet<_> = replicas.iter().collect();
                prop_assert_eq!(distinct.len(), replicas.len());
                prop_assert!(replicas.iter().all(|node| (1..=nodes).contains(node)));
            }
            prop_assert!(led.iter().max().unwrap() - led.iter().min().unwrap() <= 1);
        }
    }
}
