//! Which source offsets the records of a batch have.

/// The source offsets of records, in ascending order, as runs of offsets that follow each other: the first offset of
/// each run, and how many there are. Almost always it is one run, for which no memory is taken.
#[derive(Debug, Clone, Default)]
pub struct RunList(Runs);

#[derive(Debug, Clone)]
enum Runs {
    One((i64, i32)),
    Many(Vec<(i64, i32)>),
}

impl Default for Runs {
    fn default() -> Self {
        Runs::Many(Vec::new())
    }
}

impl RunList {
    /// `count` offsets from `first` on.
    pub fn one(first: i64, count: i32) -> RunList {
        RunList(Runs::One((first, count)))
    }

    /// The runs.
    pub fn runs(&self) -> &[(i64, i32)] {
        match &self.0 {
            Runs::One(run) => std::slice::from_ref(run),
            Runs::Many(runs) => runs,
        }
    }

    /// The first offset.
    pub fn first(&self) -> Option<i64> {
        self.runs().first().map(|(first, _)| *first)
    }

    /// The last offset.
    pub fn last(&self) -> Option<i64> {
        self.runs()
            .last()
            .map(|(first, count)| first.saturating_add(i64::from(*count) - 1))
    }

    /// How many offsets there are.
    pub fn count(&self) -> i64 {
        self.runs().iter().map(|(_, count)| i64::from(*count)).sum()
    }

    /// The offset of the record at this place, from 0.
    pub fn offset_of(&self, mut index: i64) -> Option<i64> {
        for (first, count) in self.runs() {
            if (0..i64::from(*count)).contains(&index) {
                return first.checked_add(index);
            }
            index -= i64::from(*count);
        }
        None
    }

    /// All offsets.
    pub fn offsets(&self) -> impl Iterator<Item = i64> + '_ {
        self.runs()
            .iter()
            .flat_map(|(first, count)| (0..i64::from(*count)).map(|delta| first.saturating_add(delta)))
    }

    /// Adds offsets that lie behind all others.
    pub fn push(&mut self, first: i64, count: i32) {
        let last = match &mut self.0 {
            Runs::One(run) => Some(run),
            Runs::Many(runs) => runs.last_mut(),
        };
        let Some(last) = last else {
            self.0 = Runs::One((first, count));
            return;
        };
        let together = last.1.checked_add(count);
        if let Some(together) = together.filter(|_| last.0.saturating_add(i64::from(last.1)) == first) {
            last.1 = together;
            return;
        }
        match &mut self.0 {
            Runs::One(run) => self.0 = Runs::Many(vec![*run, (first, count)]),
            Runs::Many(runs) => runs.push((first, count)),
        }
    }
}

impl PartialEq for RunList {
    fn eq(&self, other: &Self) -> bool {
        self.runs() == other.runs()
    }
}

impl Eq for RunList {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn offsets_come_back_as_they_were_pushed(steps in proptest::collection::vec((1i64..4, 1i32..4), 0..30)) {
            let (mut list, mut all, mut next) = (RunList::default(), Vec::new(), 100);
            for (step, count) in steps {
                next += step - 1;
                list.push(next, count);
                all.extend(next..next + i64::from(count));
                next += i64::from(count);
            }
            prop_assert_eq!(list.offsets().collect::<Vec<_>>(), all.clone());
            prop_assert_eq!(list.count(), all.len() as i64);
            prop_assert_eq!((list.first(), list.last()), (all.first().copied(), all.last().copied()));
            for (index, offset) in all.iter().enumerate() {
                prop_assert_eq!(list.offset_of(index as i64), Some(*offset));
            }
            prop_assert_eq!(list.offset_of(all.len() as i64), None);
            prop_assert_eq!(list.offset_of(-1), None);
            let gaps = all.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
            prop_assert_eq!(list.runs().len(), if all.is_empty() { 0 } else { gaps + 1 }, "runs are as long as they can be");
        }
    }
}
