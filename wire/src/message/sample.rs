//! Random messages, and the properties that hold for all of them.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Message, api::for_each_message, decode_message};
use crate::{Payload, Uuid, buf::Writer};

/// A source of random values for one version of a message.
pub(super) struct Gen {
    state: u64,
    version: i16,
}

/// A type with random values that survive the way through one version of a message.
pub(super) trait Sample: Sized {
    fn sample(g: &mut Gen) -> Self;
}

impl Gen {
    fn new(seed: u64, version: i16) -> Self {
        Gen { state: seed, version }
    }

    pub(super) fn version(&self) -> i16 {
        self.version
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A value that may be null only where the version allows it.
pub(super) fn sample_null_since<T: Sample>(nullable: bool, g: &mut Gen) -> Option<T> {
    if nullable {
        Sample::sample(g)
    } else {
        Some(T::sample(g))
    }
}

macro_rules! integers {
    ($($ty:ty),*) => { $(
        impl Sample for $ty {
            fn sample(g: &mut Gen) -> Self {
                match g.below(4) {
                    0 => 0,
                    1 => (-1i64) as $ty,
                    _ => g.next() as $ty,
                }
            }
        }
    )* };
}

integers!(i8, i16, u16, i32, i64);

impl Sample for f64 {
    fn sample(g: &mut Gen) -> Self {
        [0.0, -1.5, f64::MAX, g.next() as f64][g.below(4) as usize]
    }
}

impl Sample for bool {
    fn sample(g: &mut Gen) -> Self {
        g.below(2) == 1
    }
}

impl Sample for Uuid {
    fn sample(g: &mut Gen) -> Self {
        Uuid::from_bytes((u128::from(g.next()) << 64 | u128::from(g.next())).to_be_bytes())
    }
}

impl Sample for String {
    fn sample(g: &mut Gen) -> Self {
        let length = if g.below(16) == 0 { 200 } else { g.below(6) };
        (0..length)
            .map(|_| ['a', 'é', '字', '.', '0', '\0'][g.below(6) as usize])
            .collect()
    }
}

impl Sample for Payload {
    fn sample(g: &mut Gen) -> Self {
        Bytes::sample(g).into()
    }
}

impl Sample for Bytes {
    fn sample(g: &mut Gen) -> Self {
        let length = if g.below(16) == 0 { 5000 } else { g.below(40) };
        (0..length).map(|_| g.next() as u8).collect()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(g: &mut Gen) -> Self {
        (0..g.below(4)).map(|_| T::sample(g)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(g: &mut Gen) -> Self {
        (g.below(3) != 0).then(|| T::sample(g))
    }
}

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut w = Writer::new(version, M::KEY.is_flexible(version));
    message.encode(&mut w);
    let written = w.written();
    let bytes = Payload::join(w.finish().unwrap()).unwrap();
    assert_eq!(bytes.len(), written);
    bytes
}

#[test]
fn every_version_of_every_message_round_trips() {
    fn check<M: Message + Sample + PartialEq>() {
        for version in M::KEY.versions() {
            proptest!(ProptestConfig::with_cases(24), |(seed: u64)| {
                let message = M::sample(&mut Gen::new(seed, version));
                let bytes = encode(&message, version);
                let mut r = crate::buf::Reader::new(bytes, version, M::KEY.is_flexible(version));
                prop_assert_eq!(M::decode(&mut r).unwrap(), message);
                prop_assert_eq!(r.remaining(), 0);
            });
        }
    }
    for_each_message!(check);
}

#[test]
fn hostile_bytes_are_an_error_and_never_a_panic() {
    fn check<M: Message + Sample>() {
        for version in M::KEY.versions() {
            proptest!(ProptestConfig::with_cases(12), |(seed: u64, noise: Vec<u8>)| {
                let _ = decode_message::<M>(noise.into(), version);

                let g = &mut Gen::new(seed, version);
                let whole = encode(&M::sample(g), version);
                let cut = whole.slice(..g.below(whole.len() as u64 + 1) as usize);
                let _ = decode_message::<M>(cut, version);

                let mut bent = whole.to_vec();
                for _ in 0..3 {
                    if !bent.is_empty() {
                        let at = g.below(bent.len() as u64) as usize;
                        bent[at] = [0xff, 0x7f, 0x80, g.next() as u8][g.below(4) as usize];
                    }
                }
                let _ = decode_message::<M>(bent.into(), version);
            });
        }
    }
    for_each_message!(check);
}
