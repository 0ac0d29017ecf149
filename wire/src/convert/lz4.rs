//! LZ4 frames as Kafka's clients wrote them before 0.10: the checksum of the frame's header is a wrong one.
//!
//! They made it of the frame's magic number too, which does not belong to it (KAFKA-3160). Kafka does not look at it in
//! messages of format 0; a checksum of the message covers these bytes anyway.

use std::borrow::Cow;

/// The frame with the right checksum in its header. What is no such frame is left as it is.
pub(super) fn with_header_checksum(frame: &[u8]) -> Cow<'_, [u8]> {
    let Some(at) = checksum_at(frame) else {
        return Cow::Borrowed(frame);
    };
    let right = header_checksum(&frame[MAGIC_SIZE..at]);
    if frame[at] == right {
        return Cow::Borrowed(frame);
    }
    let mut mended = frame.to_vec();
    mended[at] = right;
    Cow::Owned(mended)
}

/// The second byte of XXH32 with seed 0, for what is shorter than 16 bytes.
pub(super) fn header_checksum(descriptor: &[u8]) -> u8 {
    const PRIMES: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
    let mut hash = PRIMES[4].wrapping_add(u32::try_from(descriptor.len()).unwrap_or(0));
    let (words, rest) = descriptor.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word);
        hash = hash.wrapping_add(word.wrapping_mul(PRIMES[2]));
        hash = hash.rotate_left(17).wrapping_mul(PRIMES[3]);
    }
    for byte in rest {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIMES[4]));
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIMES[2]);
    hash ^= hash >> 16;
    hash.to_le_bytes()[1]
}

const MAGIC_SIZE: usize = 4;
/// Flags and block size.
const FIXED_SIZE: usize = 2;
const CONTENT_SIZE_FLAG: u8 = 0x08;
const DICTIONARY_FLAG: u8 = 0x01;

/// Where the checksum of the frame's header lies.
fn checksum_at(frame: &[u8]) -> Option<usize> {
    let flags = *frame.get(MAGIC_SIZE)?;
    let content_size = if flags & CONTENT_SIZE_FLAG == 0 { 0 } else { 8 };
    let dictionary = if flags & DICTIONARY_FLAG == 0 { 0 } else { 4 };
    let at = MAGIC_SIZE + FIXED_SIZE + content_size + dictionary;
    (at < frame.len()).then_some(at)
}
