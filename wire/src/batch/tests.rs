//! Batches read, checked and changed in place.

use super::*;
use crate::builder::{BatchBuilder, NewRecord};
use crate::record::{HeaderView, RecordView};
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

/// Segments that Apache Kafka 4.2 wrote for its console producer: six records with keys k1 to k6, and two headers each.
const KAFKA_BATCHES: [(Compression, &str); 5] = [
    (
        Compression::None,
        "00000000000000000000012d000000000279ca62d2000000000005000001a1fdff75ea000001a1fdff760c00000000000000000000000000000000000652000000046b312a76616c756576616c756576616c756576616c7565310404683104763104683204763252004202046b322a76616c756576616c756576616c756576616c7565320404683104763104683204763252004204046b332a76616c756576616c756576616c756576616c7565330404683104763104683204763252004206046b342a76616c756576616c756576616c756576616c7565340404683104763104683204763252004408046b352a76616c756576616c756576616c756576616c756535040468310476310468320476325200440a046b362a76616c756576616c756576616c756576616c75653604046831047631046832047632",
    ),
    (
        Compression::Gzip,
        "00000000000000000000009000000000027928bf60000100000005000001a1fdff7f0f000001a1fdff7f180000000000000001000000000000000000061f8b08000000000000ff6dca3b0a80400c05c0200f114b8f6197ece7207b030b61e1d99af35b1bd24c354344403dfd7ade3ba0c054b8621adc861c0b68e9b438019674963857b0a6b3c6b9812d9d2dce1dece9ecbff9012bc82984fc000000",
    ),
    (
        Compression::Snappy,
        "0000000000000000000000b4000000000240c8dbfc000200000005000001a1fdff8749000001a1fdff878600000000000000020000000000000000000682534e415050590000000001000000010000006ffc013052000000046b312a76616c75653a050050310404683104763104683204763252007a02046b32522a0000323e2a000c04046b33522a0000333e2a000c06046b34522a0000343e2a000c08046b35522a0000353e2a000c0a046b36522a00343604046831047631046832047632",
    ),
    (
        Compression::Lz4,
        "0000000000000000000000a40000000002f968598e000300000005000001a1fdff9007000001a1fdff903000000000000000030000000000000000000604224d1860408264000000db52000000046b312a76616c75650500ff06310404683104763104683204763252005202046b322a00021c322a004f04046b332a00021c332a004f06046b342a00021c342a004f08046b352a00021c352a004f0a046b362a000214362a0050683204763200000000",
    ),
    (
        Compression::Zstd,
        "0000000000000000000000900000000002fdf978d9000400000005000001a1fdff98d9000001a1fdff98fd00000000000000040000000000000000000628b52ffd00589c0200840352000000046b312a76616c7565310404683104763104683204763252004602046b32324804046b333306046b343408046b35350a046b36360b00e010e023805cf011402ef80820177c0a3ab6a9ef4657be010000",
    ),
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn collect<'a>(batch: &BatchView<'_>, bytes: &'a [u8]) -> Vec<RecordView<'a>> {
    batch.records(bytes).collect::<Result<_, _>>().unwrap()
}

#[test]
fn batches_that_kafka_wrote_are_read() {
    for (codec, hex) in KAFKA_BATCHES {
        let bytes = unhex(hex);
        let batch = BatchView::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        let header = batch.header();
        assert_eq!(header.compression(), Ok(codec));
        assert_eq!(
            (header.records_count, header.last_offset_delta, header.base_offset),
            (6, 5, 0)
        );
        assert_eq!(header.encode(), bytes[..HEADER_SIZE]);
        let inner = batch.decompress(LIMIT).unwrap();
        let records = collect(&batch, &inner);
        for (i, record) in records.iter().enumerate() {
            assert_eq!(record.offset_delta, i32::try_from(i).unwrap());
            assert_eq!(record.key.unwrap(), format!("k{}", i + 1).as_bytes());
            assert_eq!(
                record.value.unwrap(),
                format!("valuevaluevaluevalue{}", i + 1).as_bytes()
            );
            let headers: Vec<_> = record.headers.map(|h| (h.key, h.value.unwrap())).collect();
            assert_eq!(headers, [(&b"h1"[..], &b"v1"[..]), (b"h2", b"v2")]);
        }
        let last = records.iter().map(|r| header.timestamp(r.timestamp_delta)).max();
        assert_eq!(last, Some(header.max_timestamp));
    }
}

#[test]
fn every_kind_of_record_comes_back_in_order() {
    let header = |key: &'static [u8], value: Option<&'static [u8]>| HeaderView { key, value };
    let headers = [
        header(b"a", Some(b"1")),
        header(b"a", Some(b"2")),
        header(b"", None),
        header(&[0xff, 0xfe], Some(b"")),
    ];
    let mut builder = BatchBuilder::new()
        .base_offset(40)
        .leader_epoch(7)
        .producer(9, 2, i32::MAX);
    builder
        .push(NewRecord {
            timestamp: 1000,
            key: None,
            value: None,
            headers: &[],
        })
        .push(NewRecord {
            timestamp: 500,
            key: Some(b""),
            value: Some(b""),
            headers: &headers,
        })
        .push_at(
            9,
            NewRecord {
                timestamp: 2000,
                key: Some(&[0xc3]),
                value: Some(&[7; 300]),
                headers: &[],
            },
        )
        .cover(11);
    let bytes = builder.build().unwrap();
    let batch = BatchView::parse(&bytes).unwrap();
    batch.check_crc().unwrap();
    let head = batch.header();
    assert_eq!(
        (head.base_timestamp, head.max_timestamp, head.last_offset()),
        (1000, 2000, 51)
    );
    assert_eq!(head.last_sequence(), 10);
    let inner = batch.decompress(LIMIT).unwrap();
    let records = collect(&batch, &inner);
    assert_eq!((records[0].key, records[0].value), (None, None));
    assert_eq!(
        (records[1].key, records[1].value),
        (Some(&b""[..]), Some(&b""[..]))
    );
    assert_eq!(head.timestamp(records[1].timestamp_delta), 500);
    assert_eq!(records[1].headers.collect::<Vec<_>>(), headers);
    assert_eq!(records[1].headers.len(), 4);
    assert_eq!(head.offset(records[2].offset_delta), 49);
    assert_eq!(records[2].value.unwrap().len(), 300);
}

#[test]
fn what_is_outside_the_checksum_is_patched_without_it() {
    let mut bytes = unhex(KAFKA_BATCHES[0].1);
    let mut batch = BatchMut::parse(&mut bytes).unwrap();
    batch.set_base_offset(i64::MAX - 10);
    batch.set_partition_leader_epoch(3);
    let view = BatchView::parse(&bytes).unwrap();
    view.check_crc().unwrap();
    assert_eq!(
        (view.header().base_offset, view.header().partition_leader_epoch),
        (i64::MAX - 10, 3)
    );

    let mut batch = BatchMut::parse(&mut bytes).unwrap();
    batch.set_producer(5, 6, 7);
    batch.set_max_timestamp(TimestampType::LogAppendTime, 8);
    assert!(matches!(
        BatchView::parse(&bytes).unwrap().check_crc(),
        Err(BatchError::Crc { .. })
    ));
    BatchMut::parse(&mut bytes).unwrap().seal();
    let view = BatchView::parse(&bytes).unwrap();
    view.check_crc().unwrap();
    let head = view.header();
    assert_eq!(
        (head.producer_id, head.producer_epoch, head.base_sequence),
        (5, 6, 7)
    );
    assert_eq!(
        (head.timestamp_type(), head.timestamp(1234)),
        (TimestampType::LogAppendTime, 8)
    );
}

#[test]
fn recompression_changes_the_codec_and_nothing_else() {
    let plain = unhex(KAFKA_BATCHES[0].1);
    let plain = BatchView::parse(&plain).unwrap();
    for codec in Compression::ALL {
        let bytes = plain.recompress(codec, None, LIMIT).unwrap();
        let packed = BatchView::parse(&bytes).unwrap();
        packed.check_crc().unwrap();
        assert_eq!(packed.header().compression(), Ok(codec));
        assert_eq!(packed.decompress(LIMIT).unwrap(), plain.payload());
        let head = packed.header();
        assert_eq!(
            BatchHeader {
                crc: 0,
                batch_length: 0,
                attributes: 0,
                ..*head
            },
            BatchHeader {
                crc: 0,
                batch_length: 0,
                attributes: 0,
                ..*plain.header()
            }
        );
    }
}

#[test]
fn a_tail_that_is_cut_short_is_told_and_no_error() {
    let one = unhex(KAFKA_BATCHES[0].1);
    let two = [one.clone(), one.clone()].concat();
    for cut in 1..one.len() {
        let mut batches = Batches::new(&two[..one.len() + cut]);
        assert!(batches.next().unwrap().is_ok());
        assert!(batches.next().is_none());
        assert!(batches.is_truncated());
        assert_eq!(batches.consumed(), one.len());
    }
    let mut batches = Batches::new(&two);
    assert_eq!(batches.by_ref().filter(Result::is_ok).count(), 2);
    assert!(!batches.is_truncated());
}

#[test]
fn old_formats_and_lying_lengths_are_named() {
    let mut bytes = unhex(KAFKA_BATCHES[0].1);
    bytes[16] = 1;
    assert_eq!(
        BatchView::parse(&bytes[..20]),
        Err(BatchError::Magic {
            base_offset: 0,
            magic: 1
        })
    );
    bytes[16] = 2;
    for length in [0, 48, -1, i32::MIN] {
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(
            BatchView::parse(&bytes),
            Err(BatchError::Length {
                base_offset: 0,
                length
            })
        );
        let mut batches = Batches::new(&bytes);
        assert!(batches.next().unwrap().is_err());
        assert!(batches.next().is_none());
    }
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(matches!(
        BatchView::parse(&bytes),
        Err(BatchError::Truncated { .. })
    ));
}

#[test]
fn a_count_of_two_billion_takes_no_memory() {
    let bytes = unhex(KAFKA_BATCHES[0].1);
    let batch = BatchView::parse(&bytes).unwrap();
    let mut records = Records::new(batch.payload(), i32::MAX);
    assert_eq!(records.by_ref().filter(Result::is_ok).count(), 6);
    assert_eq!(
        Records::new(batch.payload(), i32::MAX).last().unwrap(),
        Err(RecordError::Truncated { index: 6 })
    );
    let trailing = Records::new(batch.payload(), 5).last().unwrap();
    assert_eq!(trailing, Err(RecordError::Trailing { count: 5, extra: 42 }));
    assert!(Records::new(batch.payload(), 0).next().unwrap().is_err());
    assert!(Records::new(&[], 0).next().is_none());
}

#[test]
fn sequences_wrap() {
    assert_eq!(add_sequence(i32::MAX, 1), 0);
    assert_eq!(add_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(add_sequence(5, 0), 5);
    assert_eq!(subtract_sequence(0, 1), i32::MAX);
    add_sequence(i32::MIN, i32::MIN);
    subtract_sequence(i32::MIN, i32::MAX);
    assert_eq!(subtract_sequence(1, 3), i32::MAX - 1);
}

#[derive(Debug, Clone)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn owned() -> impl Strategy<Value = Owned> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
    let nullable = move || proptest::option::of(bytes());
    (
        any::<i64>(),
        nullable(),
        nullable(),
        proptest::collection::vec((bytes(), nullable()), 0..4),
    )
        .prop_map(|(timestamp, key, value, headers)| Owned {
            timestamp,
            key,
            value,
            headers,
        })
}

fn build(records: &[Owned], codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec, None);
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| HeaderView {
                key,
                value: value.as_deref(),
            })
            .collect();
        builder.push(NewRecord {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        });
    }
    builder.build().unwrap()
}

fn walk(bytes: &[u8]) {
    for batch in Batches::new(bytes).flatten() {
        let _ = batch.check_crc();
        let head = batch.header();
        let _ = (
            head.last_offset(),
            head.next_offset(),
            head.last_sequence(),
            head.delete_horizon(),
        );
        let Ok(inner) = batch.decompress(LIMIT) else {
            continue;
        };
        for record in batch.records(&inner).flatten() {
            let _ = (
                head.timestamp(record.timestamp_delta),
                head.offset(record.offset_delta),
            );
            assert_eq!(record.headers.count(), record.headers.len());
        }
    }
}

proptest! {
    #[test]
    fn any_records_survive_the_round_trip(records in proptest::collection::vec(owned(), 1..20), codec in 0usize..5) {
        let bytes = build(&records, Compression::ALL[codec]);
        let batch = BatchView::parse(&bytes).unwrap();
        prop_assert_eq!(batch.check_crc(), Ok(()));
        let inner = batch.decompress(LIMIT).unwrap();
        let read = collect(&batch, &inner);
        prop_assert_eq!(read.len(), records.len());
        for (record, wrote) in read.iter().zip(&records) {
            prop_assert_eq!(batch.header().timestamp(record.timestamp_delta), wrote.timestamp);
            prop_assert_eq!(record.key, wrote.key.as_deref());
            prop_assert_eq!(record.value, wrote.value.as_deref());
            let headers: Vec<_> =
                record.headers.map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(&headers, &wrote.headers);
        }
    }

    #[test]
    fn damaged_batches_are_answered_without_panic(
        records in proptest::collection::vec(owned(), 1..5),
        codec in 0usize..5,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = build(&records, Compression::ALL[codec]);
        walk(&bytes[..cut.index(bytes.len())]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        walk(&bytes);
        let _ = BatchMut::parse(&mut bytes).map(|mut batch| batch.seal());
        walk(&bytes);
    }

    #[test]
    fn any_bytes_are_answered_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(magic) = bytes.get_mut(16) {
            *magic = 2;
        }
        walk(&bytes);
        for record in Records::new(&bytes, i32::MAX).flatten() {
            assert_eq!(record.headers.count(), record.headers.len());
        }
    }
}
