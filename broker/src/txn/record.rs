//! What the journal holds about transactions.
//!
//! Keys begin with a letter: `t` and a transactional id, whose value is its [`Metadata`] as JSON; `e`, whose value is the
//! coordinator's epoch in decimal digits.

use super::metadata::Metadata;

/// A change of the journal: `None` removes the key.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// An entry of the journal, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Id(String, Box<Metadata>),
    Epoch(i32),
}

const ID: u8 = b't';
const EPOCH: u8 = b'e';

/// The change that stores a transactional id, or removes it.
pub(super) fn id_change(id: &str, metadata: Option<&Metadata>) -> Change {
    let key = [&[ID], id.as_bytes()].concat();
    // Maps with text for keys, numbers and names: there is nothing in it that JSON could not say.
    let value = metadata.map(|metadata| serde_json::to_vec(metadata).unwrap_or_default());
    (key, value)
}

/// The change that stores the coordinator's epoch.
pub(super) fn epoch_change(epoch: i32) -> Change {
    (vec![EPOCH], Some(epoch.to_string().into_bytes()))
}

/// Reads an entry back; `None` where it is none that this version writes.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Entry> {
    match key.split_first()? {
        (&ID, id) => {
            let id = std::str::from_utf8(id).ok()?.to_owned();
            Some(Entry::Id(id, serde_json::from_slice(value).ok()?))
        }
        (&EPOCH, []) => Some(Entry::Epoch(std::str::from_utf8(value).ok()?.parse().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_written_is_read_back() {
        let mut metadata = Metadata::new(7, 60_000, 1);
        metadata
            .partitions
            .insert("täglich".into(), BTreeSet::from([0, 3]));
        metadata.groups.insert("g".into());
        let (key, value) = id_change("an id", Some(&metadata));
        let read = decode(&key, &value.unwrap());
        assert_eq!(read, Some(Entry::Id("an id".into(), Box::new(metadata))));
        let (key, value) = epoch_change(12);
        assert_eq!(decode(&key, &value.unwrap()), Some(Entry::Epoch(12)));
        assert_eq!(decode(b"x", b"1"), None);
        assert_eq!(decode(b"tid", b"{}"), None);
    }
}
