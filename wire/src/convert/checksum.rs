//! The checksum of a batch whose header has changed, without reading its records again.
//!
//! A CRC is linear: the checksum of head and tail is that of the head, moved on by the length of the tail, and added
//! (which is exclusive or) to that of the tail. So a changed head changes the whole by the difference of the two
//! heads' checksums, moved on by the length of the tail. Moving on by n bytes is a multiplication by x to the power
//! of 8n, in polynomials over one bit, modulo the one of CRC-32C.

/// The checksum of `new` and a tail of `tail` bytes, if `stored` is that of `old` and the same tail. Both heads have the
/// same length.
pub(super) fn replaced(stored: u32, old: &[u8], new: &[u8], tail: usize) -> u32 {
    stored ^ moved_on(crc32c::crc32c(old) ^ crc32c::crc32c(new), tail)
}

/// The polynomial of CRC-32C, the highest power in the lowest bit; that of x^32 is left out.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 8 * 2^k, for each k of a length's bits.
static POWERS: [u32; usize::BITS as usize] = powers();

const fn powers() -> [u32; usize::BITS as usize] {
    let mut powers = [0; usize::BITS as usize];
    let mut power = 1 << (31 - 8);
    let mut k = 0;
    while k < powers.len() {
        powers[k] = power;
        power = multiplied(power, power);
        k += 1;
    }
    powers
}

const fn multiplied(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, 1 << 31);
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 0 { b >> 1 } else { (b >> 1) ^ POLYNOMIAL };
        bit >>= 1;
    }
    product
}

fn moved_on(mut crc: u32, bytes: usize) -> u32 {
    let mut rest = bytes;
    while rest != 0 {
        crc = multiplied(POWERS[rest.trailing_zeros() as usize], crc);
        rest &= rest - 1;
    }
    crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_checksum_of_all_the_bytes(
            old in any::<[u8; 40]>(),
            new in any::<[u8; 40]>(),
            tail in proptest::collection::vec(any::<u8>(), 0..5000),
        ) {
            let stored = crc32c::crc32c(&[&old[..], &tail].concat());
            let expected = crc32c::crc32c(&[&new[..], &tail].concat());
            prop_assert_eq!(replaced(stored, &old, &new, tail.len()), expected);
        }
    }

    #[test]
    fn long_tails_too() {
        let tail = vec![0x5a; (1 << 24) + 7];
        let stored = crc32c::crc32c_append(crc32c::crc32c(b"one"), &tail);
        let expected = crc32c::crc32c_append(crc32c::crc32c(b"two"), &tail);
        assert_eq!(replaced(stored, b"one", b"two", tail.len()), expected);
    }
}
