//! What is in a record, and in which order records lie, is the same on both sides.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::support::clients::Producing;
use crate::support::daemon::Daemon;
use crate::support::mirrors::Pair;
use crate::support::rec::Rec;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Records of every kind, for three partitions.
fn every_kind() -> Vec<Rec> {
    // Nothing that a codec could make smaller, and a byte more than Kafka takes by default.
    let mut large = vec![0; 1_048_589];
    StdRng::seed_from_u64(1).fill(&mut large[..]);
    let mut records = vec![
        Rec::new(0, Some(b"key"), Some(b"value")).at(1_700_000_000_000),
        Rec::new(0, None, Some(b"no key")).at(1),
        Rec::new(0, Some(b""), Some(b"an empty key")).at(978_307_200_000),
        Rec::new(0, Some(b"a tombstone"), None),
        Rec::new(1, Some(b"an empty value"), Some(b"")),
        Rec::new(1, None, None).at(1),
        Rec::new(1, Some(&[0, 0xff, 0xfe]), Some(&large)),
        Rec::new(1, Some(b"zeroes"), Some(&[0; 1_000_000])),
        Rec::new(1, Some(b"after the large ones"), Some(b"small")),
        Rec::new(2, Some(b"headers"), Some(b"v"))
            .header(b"twice", Some(b"1"))
            .header(b"between", Some(b"x"))
            .header(b"twice", Some(b"2"))
            .header(b"twice", Some(b"2"))
            .header(b"null", None)
            .header(b"empty", Some(b""))
            .header(&[0xff, 0xfe], Some(&[0xff, 0]))
            .header(b"", Some(b"an empty key")),
        Rec::new(2, Some(b"a tombstone with a header"), None).header(b"why", Some(b"deleted")),
    ];
    // Some whole batches too, with timestamps that go back and forth.
    records.extend((0..500i64).map(|n| {
        let value = format!("value {n}");
        let record = Rec::new((n % 3) as i32, Some(b"k"), Some(value.as_bytes()));
        record.at(1_600_000_000_000 + (n * 7_919) % 1_000)
    }));
    records
}

#[test]
fn every_kind_of_record_under_every_codec_arrives_as_it_was() {
    let pair = Pair::start();
    let records = every_kind();
    for compression in CODECS {
        // Records of 1970 are older than any retention.
        pair.primary.create_topic(
            compression,
            3,
            &[("max.message.bytes", "2000000"), ("retention.ms", "-1")],
        );
        let how = Producing {
            compression,
            ..Producing::default()
        };
        pair.primary.produce(compression, &records, how);
    }
    let _daemon = Daemon::start(&pair.topology(""));
    for compression in CODECS {
        assert_eq!(pair.wait_mirrored(compression).len(), records.len());
    }
    // And again as they come, not from a backlog.
    for compression in ["none", "lz4"] {
        let how = Producing {
            compression,
            idempotent: false,
            linger_ms: 0,
        };
        pair.primary.produce(compression, &records[..11], how);
        assert_eq!(pair.wait_mirrored(compression).len(), records.len() + 11);
    }
}

#[test]
fn timestamps_that_the_source_broker_gave_are_kept() {
    let pair = Pair::start();
    pair.primary
        .create_topic("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let old = Rec::new(0, Some(b"k"), Some(b"v")).at(1_000);
    pair.primary.produce("stamped", &[old], Producing::default());
    let _daemon = Daemon::start(&pair.topology(""));
    let mirrored = pair.wait_mirrored("stamped");
    assert!(mirrored[0].timestamp > 1_700_000_000_000, "{mirrored:?}");
}
