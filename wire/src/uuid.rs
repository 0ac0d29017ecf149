//! Kafka's 128-bit identifiers of topics, directories and clusters.

use std::{fmt, str::FromStr};

use thiserror::Error;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LENGTH: usize = 22;

/// A 128-bit identifier, written as 22 characters of URL-safe base64 without padding, as Kafka writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid([u8; 16]);

/// A text that is not a [`Uuid`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not an identifier of 22 characters of URL-safe base64")]
pub struct ParseUuidError {
    text: String,
}

impl Uuid {
    /// The identifier that stands for "none".
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// The identifier with these bytes, most significant first.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Uuid(bytes)
    }

    /// The bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        // 22 digits of 6 bits hold 132 bits: the last digit carries the low two bits and four zero bits.
        for digit in 0..TEXT_LENGTH {
            let shift = 122 - 6 * digit as i32;
            let six = if shift >= 0 {
                value >> shift
            } else {
                value << -shift
            } & 63;
            write!(f, "{}", char::from(ALPHABET[six as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseUuidError {
            text: text.to_owned(),
        };
        if text.len() != TEXT_LENGTH {
            return Err(bad());
        }
        let mut value: u128 = 0;
        for (position, byte) in text.bytes().enumerate() {
            let six = ALPHABET.iter().position(|&known| known == byte).ok_or_else(bad)? as u128;
            value = if position + 1 < TEXT_LENGTH {
                value << 6 | six
            } else {
                value << 2 | six >> 4
            };
        }
        Ok(Uuid(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_kafkas() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let one = Uuid::from_bytes(1u128.to_be_bytes());
        assert_eq!(one.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert!("AAAA".parse::<Uuid>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAA=A".parse::<Uuid>().is_err());
    }

    proptest! {
        #[test]
        fn text_and_back(bytes: [u8; 16]) {
            let uuid = Uuid::from_bytes(bytes);
            prop_assert_eq!(uuid.to_string().parse::<Uuid>().unwrap(), uuid);
        }
    }
}
