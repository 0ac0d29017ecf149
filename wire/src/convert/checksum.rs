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

/// x to the power of 8 * d * 16^k, for each value d of each hexadecimal digit k of a length.
static POWERS: [[u32; 16]; DIGITS] = powers();

const DIGITS: usize = usize::BITS as usize / 4;

/// The polynomial 1.
const ONE: u32 = 1 << 31;

const fn powers() -> [[u32; 16]; DIGITS] {
    let mut powers = [[ONE; 16]; DIGITS];
    let mut step = ONE >> 8;
    let mut k = 0;
    while k < DIGITS {
        let mut digit = 1;
        while digit < 16 {
            powers[k][digit] = multiplied(powers[k][digit - 1], step);
            digit += 1;
        }
        step = multiplied(powers[k][15], step);
        k += 1;
    }
    powers
}

const fn multiplied(a: u32, mut b: u32) -> u32 {
    let (mut product, mut place) = (0, 32);
    while place != 0 {
        place -= 1;
        // All ones or all zeros in place of a branch: the bits are as good as random.
        product ^= b & ((a >> place) & 1).wrapping_neg();
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
    }
    product
}

fn moved_on(mut crc: u32, bytes: usize) -> u32 {
    let mut rest = bytes;
    for powers in &POWERS {
        if rest == 0 {
            break;
        }
        let digit = rest % 16;
        if digit != 0 {
            crc = multiplied(powers[digit], crc);
        }
        rest /= 16;
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
