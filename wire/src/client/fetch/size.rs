//! How large the answers of a node are to be.

use std::time::Duration;

/// An answer has what a fast line brings in a round trip: then no time is lost by asking, and a node that is near needs little memory. So many
/// bytes a second are such a line's.
const FAST_LINE: u128 = 128 << 20;

/// No answer is to be smaller, as far as the settings allow.
const BYTES_MIN: i32 = 2 << 20;

/// Nor is it to have less of a partition. Where there are few of them, each is copied as fast as what it brings in a round trip.
const PARTITION_BYTES_MIN: i32 = 1 << 20;

/// No partition is to have more of an answer than it would have among so many.
const PARTITIONS_MIN: u32 = 4;

/// After so many answers those before them count no more: the way to a node may become a longer one.
const ANSWERS: u32 = 100;

/// How far a node is, by the fastest of its answers.
#[derive(Debug, Default)]
pub(super) struct Distance {
    /// Of the answers before, and of those since.
    fastest: [Option<Duration>; 2],
    answers: u32,
}

impl Distance {
    /// An answer took this long. In that is what the broker did and waited for, which is why the fastest counts.
    pub(super) fn note(&mut self, took: Duration) {
        if self.answers == ANSWERS {
            self.fastest = [self.fastest[1], None];
            self.answers = 0;
        }
        self.answers += 1;
        let fastest = self.fastest[1].map_or(took, |fastest| fastest.min(took));
        self.fastest[1] = Some(fastest);
    }

    /// How many bytes to ask for, if `most` is what the settings say.
    pub(super) fn bytes(&self, most: i32) -> i32 {
        let Some(fastest) = self.fastest.iter().flatten().min() else {
            return most.min(BYTES_MIN);
        };
        let bytes = FAST_LINE * fastest.as_micros() / 1_000_000;
        i32::try_from(bytes).unwrap_or(i32::MAX).max(BYTES_MIN).min(most)
    }

    /// How many bytes of each of so many partitions to ask for, if these are what the settings say of an answer and of a partition.
    pub(super) fn partition_bytes(&self, partitions: u32, most: i32, most_of_partition: i32) -> i32 {
        let partitions = i32::try_from(partitions.max(PARTITIONS_MIN)).unwrap_or(i32::MAX);
        let share = self.bytes(most) / partitions;
        share.max(PARTITION_BYTES_MIN).min(most_of_partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_grow_with_the_distance_and_stay_within_the_settings() {
        let after = |millis: &[u64], most| {
            let mut distance = Distance::default();
            let took = millis.iter().copied().map(Duration::from_millis);
            took.for_each(|took| distance.note(took));
            distance.bytes(most)
        };
        let (small, large) = (1 << 20, 8 << 20);
        assert_eq!((after(&[], small), after(&[], large)), (small, BYTES_MIN));
        assert_eq!((after(&[1], small), after(&[1], large)), (small, BYTES_MIN));
        assert_eq!(after(&[500, 100], large), large);
        assert_eq!(after(&[500, 100, 2, 300], large), BYTES_MIN);
        let between = after(&[30], large);
        assert!((BYTES_MIN + 1..large).contains(&between), "{between}");
        assert_eq!(after(&[u64::MAX / 1_000], i32::MAX), i32::MAX);
        let mut longer = vec![2];
        longer.resize(2 * ANSWERS as usize, 100);
        assert_eq!(after(&longer, large), BYTES_MIN);
        longer.push(100);
        assert_eq!(after(&longer, large), large);
    }

    #[test]
    fn more_of_a_partition_is_asked_for_where_the_node_is_far_and_they_are_few() {
        let after = |millis: u64, partitions, most| {
            let mut distance = Distance::default();
            distance.note(Duration::from_millis(millis));
            distance.partition_bytes(partitions, 8 << 20, most)
        };
        let (small, large) = (1 << 10, 4 << 20);
        for partitions in [0, 1, 4] {
            let near_and_far = [1, 100].map(|millis| after(millis, partitions, large));
            assert_eq!(near_and_far, [1 << 20, 2 << 20], "{partitions}");
            assert_eq!(
                [1, 100].map(|millis| after(millis, partitions, small)),
                [small; 2]
            );
        }
        assert_eq!(after(100, 200, large), 1 << 20);
    }
}
