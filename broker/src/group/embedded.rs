//! What consumers of the classic protocol put into its opaque fields: subscriptions into JoinGroup, assignments into SyncGroup.
//!
//! A coordinator reads and writes these only where members of both protocols are in one group, and where one protocol's
//! group becomes the other's. Both forms begin with a version (2 bytes). Strings have a length of 2 bytes, lists and
//! bytes one of 4, of which -1 stands for null.

use std::collections::BTreeSet;

use bytes::{BufMut as _, Bytes, BytesMut};

/// The highest version of both forms that there is; whoever says a higher one also reads this one.
const VERSION_MAX: i16 = 3;

/// Partitions by the names of their topics.
pub(super) type Partitions = Vec<(String, Vec<i32>)>;

/// What a consumer says about itself when it joins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub version: i16,
    pub topics: BTreeSet<String>,
    /// What it goes on reading while it joins: nothing in the eager way to rebalance.
    pub owned: Partitions,
    pub rack: Option<String>,
}

/// What a consumer was told to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub partitions: Partitions,
    /// Whether the assignor that worked it out has left something for itself.
    pub has_user_data: bool,
}

impl Subscription {
    /// Reads a subscription; `None` where the bytes are something else.
    pub fn read(metadata: &[u8]) -> Option<Self> {
        let mut rest = Rest(metadata);
        let version = rest.i16().filter(|version| *version >= 0)?;
        let mut topics = BTreeSet::new();
        for _ in 0..rest.count()? {
            topics.insert(rest.string()?);
        }
        rest.bytes()?;
        let owned = if version >= 1 {
            rest.partitions()?
        } else {
            Vec::new()
        };
        if version >= 2 {
            // The generation in which it owned them; reconciliation goes by what the coordinator itself has told.
            rest.take(4)?;
        }
        let rack = if version >= 3 { rest.optional()? } else { None };
        Some(Self {
            version,
            topics,
            owned,
            rack,
        })
    }
}

impl Told {
    /// Reads an assignment; `None` where the bytes are something else. A member that was never told anything has no bytes.
    pub fn read(assignment: &[u8]) -> Option<Self> {
        if assignment.is_empty() {
            return Some(Self::default());
        }
        let mut rest = Rest(assignment);
        rest.i16().filter(|version| *version >= 0)?;
        let partitions = rest.partitions()?;
        let has_user_data = rest.bytes()?.is_some_and(|data| !data.is_empty());
        Some(Self {
            partitions,
            has_user_data,
        })
    }
}

/// Writes an assignment for a consumer whose subscription has this version.
pub(super) fn write_assignment<'a>(
    version: i16,
    partitions: impl Iterator<Item = (&'a str, &'a BTreeSet<i32>)>,
) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version.clamp(0, VERSION_MAX));
    let count_at = bytes.len();
    bytes.put_i32(0);
    let mut count = 0_i32;
    for (topic, numbers) in partitions {
        // The names of topics have 249 characters at most.
        bytes.put_i16(topic.len() as i16);
        bytes.put_slice(topic.as_bytes());
        bytes.put_i32(numbers.len() as i32);
        numbers.iter().for_each(|&number| bytes.put_i32(number));
        count += 1;
    }
    bytes[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
    const NO_USER_DATA: i32 = -1;
    bytes.put_i32(NO_USER_DATA);
    bytes.freeze()
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    /// The length of a list that is not null. Nothing is set aside for it, so it may claim what it likes.
    fn count(&mut self) -> Option<i32> {
        self.i32().filter(|count| *count >= 0)
    }

    fn string(&mut self) -> Option<String> {
        self.optional()?
    }

    fn optional(&mut self) -> Option<Option<String>> {
        match self.i16()? {
            -1 => Some(None),
            length => {
                let bytes = self.take(usize::try_from(length).ok()?)?;
                Some(Some(std::str::from_utf8(bytes).ok()?.to_owned()))
            }
        }
    }

    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    fn partitions(&mut self) -> Option<Partitions> {
        let mut all = Vec::new();
        for _ in 0..self.count()? {
            let topic = self.string()?;
            let mut numbers = Vec::new();
            for _ in 0..self.count()? {
                numbers.push(self.i32()?);
            }
            all.push((topic, numbers));
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Java's consumer writes it: one topic, no user data, one partition owned, a generation, a rack.
    const SUBSCRIPTION: &[u8] = &[
        0, 3, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 7,
        0, 0, 0, 5, 0, 1, b'r',
    ];

    #[test]
    fn subscriptions_of_every_version_are_read() {
        let read = Subscription::read(SUBSCRIPTION).unwrap();
        assert_eq!(read.version, 3);
        assert_eq!(read.topics, BTreeSet::from(["t".to_owned()]));
        assert_eq!(read.owned, [("t".to_owned(), vec![7])]);
        assert_eq!(read.rack.as_deref(), Some("r"));
        let oldest = [&[0, 0], &SUBSCRIPTION[2..13]].concat();
        let read = Subscription::read(&oldest).unwrap();
        assert_eq!((read.version, read.owned.len(), read.rack), (0, 0, None));
        for cut in 0..SUBSCRIPTION.len() {
            assert!(Subscription::read(&SUBSCRIPTION[..cut]).is_none(), "{cut}");
        }
    }

    #[test]
    fn assignments_are_read_as_they_were_written() {
        let numbers = BTreeSet::from([0, 3]);
        let bytes = write_assignment(1, [("a", &numbers), ("bc", &numbers)].into_iter());
        assert_eq!(bytes[..2], [0, 1]);
        let told = Told::read(&bytes).unwrap();
        let expected = ["a", "bc"].map(|topic| (topic.to_owned(), vec![0, 3]));
        assert_eq!((told.partitions, told.has_user_data), (expected.to_vec(), false));
        let with_data = [&bytes[..bytes.len() - 4], &[0, 0, 0, 1, 9]].concat();
        assert!(Told::read(&with_data).unwrap().has_user_data);
        assert_eq!(Told::read(&[]), Some(Told::default()));
        assert_eq!(write_assignment(9, std::iter::empty())[..2], [0, 3]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (Subscription::read(&bytes), Told::read(&bytes));
        }
    }
}
