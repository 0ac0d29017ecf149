//! The one thing that a coordinator reads from a member's metadata: which topics a consumer subscribes to.
//!
//! Only groups of protocol type `consumer` carry this format; everything else (Connect's, say) stays opaque.

use std::collections::BTreeSet;

/// The topics in a consumer's subscription. All versions begin as version 0 does: a version (2 bytes), a count (4),
/// and so many names, each with its length (2). `None` where the bytes are something else.
pub(super) fn topics(metadata: &[u8]) -> Option<BTreeSet<String>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    if i16::from_be_bytes(*version) < 0 || i32::from_be_bytes(*count) < 0 {
        return None;
    }
    let mut topics = BTreeSet::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_every_version_begins_with() {
        let mut bytes = vec![0, 3, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c'];
        bytes.extend([0xff; 4]);
        assert_eq!(
            topics(&bytes),
            Some(BTreeSet::from(["a".to_owned(), "bc".to_owned()]))
        );
        assert_eq!(topics(&bytes[..9]), None);
        assert_eq!(topics(&[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = topics(&bytes);
        }
    }
}
