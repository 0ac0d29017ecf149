//! Tests of the reader and the writer.

use super::*;
use proptest::prelude::*;

fn joined(w: Writer) -> Bytes {
    Payload::join(w.finish().unwrap()).unwrap()
}

#[test]
fn a_count_beyond_the_input_is_refused() {
    for (bytes, flexible) in [
        (&[0x7f, 0xff, 0xff, 0xff][..], false),
        (&[0xff, 0xff, 0xff, 0xff, 0x0f][..], true),
    ] {
        let mut r = Reader::new(Bytes::from_static(bytes), 0, flexible);
        assert!(matches!(
            Vec::<String>::decode(&mut r),
            Err(DecodeError::Truncated { .. })
        ));
    }
}

#[test]
fn memory_is_bounded_by_the_input() {
    // A million empty arrays take one byte each on the wire, and 24 in memory, at every level of nesting.
    let mut r = Reader::new(
        Bytes::from([&[0xff, 0xff, 0x3f][..], &[1; 1 << 20]].concat()),
        0,
        true,
    );
    let outcome = Vec::<[Option<String>; 4]>::decode(&mut r).map(|all| all.len());
    assert!(matches!(outcome, Err(DecodeError::TooMuchMemory)), "{outcome:?}");
}

impl Wire for [Option<String>; 4] {
    fn encode(&self, _: &mut Writer) {}

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let first = Option::<String>::decode(r)?;
        Ok([first, None, None, None])
    }
}

#[test]
fn large_payloads_are_not_copied() {
    let payload = Bytes::from(vec![7u8; CHAIN_BYTES_MIN]);
    let mut w = Writer::new(0, true);
    w.put_i32(1);
    payload.encode(&mut w);
    w.put_i32(2);
    assert_eq!(w.written(), 4 + 2 + payload.len() + 4);
    let chunks = w.finish().unwrap();
    assert_eq!(chunks.len(), 3);
    let chunk = chunks[1].clone().into_bytes().unwrap();
    assert_eq!(chunk.as_ptr(), payload.as_ptr());
}

#[test]
fn a_string_that_does_not_fit_is_an_error() {
    let mut w = Writer::new(0, false);
    "x".repeat(40_000).encode(&mut w);
    assert!(matches!(
        w.finish(),
        Err(EncodeError::StringTooLong { length: 40_000 })
    ));
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    let mut r = Reader::new(Bytes::from_static(&[2, 5, 1, 9, 7, 2, 1, 2, 42]), 0, true);
    let mut seen = Vec::new();
    r.tagged_fields(|tag, r| {
        seen.push((tag, i8::decode(r)?));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [(5, 9), (7, 1)]);
    assert_eq!(r.remaining(), 1);
}

proptest! {
    #[test]
    fn varints_round_trip(value: u32) {
        let mut w = Writer::new(0, true);
        w.put_unsigned_varint(value);
        let mut r = Reader::new(joined(w), 0, true);
        prop_assert_eq!(r.unsigned_varint().unwrap(), value);
        prop_assert_eq!(r.remaining(), 0);
    }

    #[test]
    fn values_round_trip(texts: Option<Vec<Option<String>>>, flexible: bool) {
        let mut w = Writer::new(0, flexible);
        texts.encode(&mut w);
        let mut r = Reader::new(joined(w), 0, flexible);
        prop_assert_eq!(Option::<Vec<Option<String>>>::decode(&mut r).unwrap(), texts);
        prop_assert_eq!(r.remaining(), 0);
    }
}
