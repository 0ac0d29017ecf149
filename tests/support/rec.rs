//! A record as it lies in a log, and the comparison of two logs.

use std::fmt::Write as _;

use super::raw_headers::RawHeader;

/// A record with everything that a mirror must keep. Null and empty are not the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rec {
    /// Its partition.
    pub partition: i32,
    /// Its offset; what is produced has none yet, and leaves it at 0.
    pub offset: i64,
    /// Milliseconds since 1970; 0 on what is produced means now.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<RawHeader>,
}

impl Rec {
    /// A record for `partition`, timestamp now, no headers.
    pub fn new(partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Rec {
        Rec {
            partition,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            ..Rec::default()
        }
    }

    /// The same with a timestamp.
    pub fn at(self, timestamp: i64) -> Rec {
        Rec { timestamp, ..self }
    }

    /// The same with one more header.
    pub fn header(mut self, key: &[u8], value: Option<&[u8]>) -> Rec {
        self.headers.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        self
    }

    /// A record with headers that are there twice, null, empty, without a name, and not in UTF-8.
    pub fn with_every_kind_of_header(partition: i32) -> Rec {
        Rec::new(partition, Some(b"headers"), Some(b"v"))
            .header(b"twice", Some(b"1"))
            .header(b"twice", Some(b"2"))
            .header(b"null", None)
            .header(b"empty", Some(b""))
            .header(&[0xff, 0xfe], Some(&[0xff]))
            .header(b"", Some(b"an empty key"))
    }

    fn line(&self) -> String {
        let mut line = format!("{}/{} @{} ", self.partition, self.offset, self.timestamp);
        let _ = write!(
            line,
            "{} = {}",
            bytes(self.key.as_deref()),
            bytes(self.value.as_deref())
        );
        for (key, value) in &self.headers {
            let _ = write!(line, " [{}: {}]", bytes(Some(key)), bytes(value.as_deref()));
        }
        line
    }

    fn same_but_for_offset(&self, other: &Rec) -> bool {
        Rec {
            offset: 0,
            ..self.clone()
        } == Rec {
            offset: 0,
            ..other.clone()
        }
    }
}

/// Panics unless `mirror` holds the records of `source`: the same partitions, keys, values, headers and timestamps, in
/// the same order within each partition. Offsets may differ.
#[track_caller]
pub fn assert_mirrored(source: &[Rec], mirror: &[Rec]) {
    if let Some(difference) = difference(source, mirror) {
        panic!("the mirror differs from its source: {difference}");
    }
}

/// The first difference between two topics, in words, or none. Offsets are not compared.
pub fn difference(source: &[Rec], mirror: &[Rec]) -> Option<String> {
    let partitions: std::collections::BTreeSet<i32> = source
        .iter()
        .chain(mirror)
        .map(|record| record.partition)
        .collect();
    partitions.into_iter().find_map(|partition| {
        let of = |records: &[Rec]| -> Vec<Rec> {
            records.iter().filter(|record| record.partition == partition).cloned().collect()
        };
        let (source, mirror) = (of(source), of(mirror));
        let same = source.iter().zip(&mirror).take_while(|(a, b)| a.same_but_for_offset(b)).count();
        if same == source.len() && same == mirror.len() {
            return None;
        }
        let show = |records: &[Rec]| records.get(same).map_or_else(|| "nothing".to_owned(), Rec::line);
        Some(format!(
            "partition {partition} has {} records on the source and {} in the mirror; after {same} equal ones\n  \
             source: {}\n  mirror: {}",
            source.len(),
            mirror.len(),
            show(&source),
            show(&mirror)
        ))
    })
}

/// Bytes for a person: text as it is, the rest escaped, long ones cut.
fn bytes(bytes: Option<&[u8]>) -> String {
    const SHOWN: usize = 60;
    match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() > SHOWN => {
            format!("\"{}…\" ({} bytes)", bytes[..SHOWN].escape_ascii(), bytes.len())
        }
        Some(bytes) => format!("\"{}\"", bytes.escape_ascii()),
    }
}
