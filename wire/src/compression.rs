//! The five codecs of record batches, as pure functions of bytes.
//!
//! A batch from the network may claim to grow without end when it is decompressed, so every caller of [`decompress`]
//! names the number of bytes that it is ready to hold.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, Read, Write};
use std::str::FromStr;

use thiserror::Error;

mod zstandard;

/// How the records of a batch are compressed: bits 0 to 2 of the batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Raw Snappy blocks within the framing of Xerial's snappy-java.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// Why bytes could not be compressed or decompressed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CompressionError {
    /// The attributes name a codec that Kafka does not know.
    #[error("compression codec {0} is not known; known are 0 to 4 (none, gzip, snappy, lz4, zstd)")]
    UnknownCodec(i16),
    /// The bytes are not what their codec says.
    #[error("records cannot be decompressed as {codec}: {reason}")]
    Corrupt {
        /// The codec that the batch names.
        codec: Compression,
        /// What the codec's library found.
        reason: String,
    },
    /// More bytes came out than the caller was ready to hold.
    #[error("records compressed as {codec} grow beyond the limit of {limit} bytes")]
    TooLarge {
        /// The codec that the batch names.
        codec: Compression,
        /// The limit that the caller gave, in bytes.
        limit: usize,
    },
    /// The library refused to compress, for instance because the level is out of range.
    #[error("records cannot be compressed as {codec}: {reason}")]
    Refused {
        /// The codec asked for.
        codec: Compression,
        /// What the codec's library said.
        reason: String,
    },
}

impl Compression {
    /// All codecs, in the order of their ids.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The codec that bits 0 to 2 of a batch's attributes name.
    pub fn from_attributes(attributes: i16) -> Result<Compression, CompressionError> {
        let id = attributes & 0x07;
        usize::try_from(id)
            .ok()
            .and_then(|index| Compression::ALL.get(index).copied())
            .ok_or(CompressionError::UnknownCodec(id))
    }

    /// The number that stands for this codec in a batch's attributes.
    pub fn id(self) -> i16 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

    /// The name that Kafka's configuration `compression.type` uses (`none` is spelled `uncompressed` there too).
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "uncompressed" {
            return Ok(Compression::None);
        }
        Compression::ALL.into_iter().find(|codec| codec.name() == text).ok_or_else(|| {
            format!("unknown compression {text:?}; one of none, uncompressed, gzip, snappy, lz4, zstd is expected")
        })
    }
}

/// Decompresses the record section of a batch, to at most `limit` bytes. Nothing is copied for [`Compression::None`],
/// which the limit does not concern: its bytes are held already.
pub fn decompress(codec: Compression, input: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, CompressionError> {
    match decompress_up_to(codec, input, limit)? {
        Decompressed::All(output) => Ok(output),
        Decompressed::Beginning(_) => Err(CompressionError::TooLarge { codec, limit }),
    }
}

/// What came out of as much work as the caller was ready for.
#[derive(Debug, PartialEq, Eq)]
pub enum Decompressed<'a> {
    /// All that there is.
    All(Cow<'a, [u8]>),
    /// The first bytes. At least one more follows, if the rest is not damaged.
    Beginning(Vec<u8>),
}

/// As [`decompress`], except that the beginning of what is too large is given back. With Snappy it may be shorter than `limit`,
/// because a block is decompressed as a whole or not at all.
pub fn decompress_up_to(
    codec: Compression,
    input: &[u8],
    limit: usize,
) -> Result<Decompressed<'_>, CompressionError> {
    match codec {
        Compression::None => Ok(Decompressed::All(Cow::Borrowed(input))),
        Compression::Gzip => read_limited(codec, flate2::read::MultiGzDecoder::new(input), limit),
        Compression::Snappy => decompress_snappy(input, limit),
        Compression::Lz4 => decompress_lz4(input, limit),
        Compression::Zstd => zstandard::decompress_up_to(input, limit),
    }
}

/// Compresses the record section of a batch. `level` is Kafka's `compression.<codec>.level`; `None` is the codec's
/// default. LZ4 takes only its fast level here, whatever `level` says, and Snappy has no levels.
pub fn compress(codec: Compression, level: Option<i32>, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    match codec {
        Compression::None => Ok(input.to_vec()),
        Compression::Gzip => compress_gzip(level, input).map_err(|e| refused(codec, e)),
        Compression::Snappy => compress_snappy(input),
        Compression::Lz4 => compress_lz4(input).map_err(|e| refused(codec, e)),
        Compression::Zstd => zstandard::compress(level.unwrap_or(ZSTD_LEVEL), input),
    }
}

/// What starts Xerial's framing: a magic, the version 1, and the oldest version that can read it, 1.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_SIZE: usize = 16;
const XERIAL_BLOCK_SIZE: usize = 32 * 1024;

/// The best that Snappy can do is a copy of 64 bytes from an element of 3, so a larger claim is a lie that would
/// only make us allocate.
const SNAPPY_MAX_RATIO: usize = 22;

const LZ4_FRAME_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// How much records grow in most cases; where they grow more, they are moved while they do.
const LZ4_USUAL_RATIO: usize = 3;
const ZSTD_LEVEL: i32 = 3;

fn corrupt(codec: Compression, reason: impl fmt::Display) -> CompressionError {
    CompressionError::Corrupt {
        codec,
        reason: reason.to_string(),
    }
}

fn refused(codec: Compression, reason: impl fmt::Display) -> CompressionError {
    CompressionError::Refused {
        codec,
        reason: reason.to_string(),
    }
}

fn read_limited(
    codec: Compression,
    reader: impl Read,
    limit: usize,
) -> Result<Decompressed<'static>, CompressionError> {
    let mut output = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader
        .take(one_more)
        .read_to_end(&mut output)
        .map_err(|e| corrupt(codec, e))?;
    if output.len() > limit {
        output.truncate(limit);
        return Ok(Decompressed::Beginning(output));
    }
    Ok(Decompressed::All(Cow::Owned(output)))
}

fn decompress_snappy(input: &[u8], limit: usize) -> Result<Decompressed<'static>, CompressionError> {
    let mut output = Vec::new();
    Ok(if decompress_snappy_blocks(input, limit, &mut output)? {
        Decompressed::All(Cow::Owned(output))
    } else {
        Decompressed::Beginning(output)
    })
}

/// `false` if a block does not fit any more.
fn decompress_snappy_blocks(
    input: &[u8],
    limit: usize,
    output: &mut Vec<u8>,
) -> Result<bool, CompressionError> {
    let codec = Compression::Snappy;
    if !input.starts_with(&XERIAL_MAGIC) {
        return decompress_snappy_block(input, limit, output);
    }
    let mut rest = input
        .get(XERIAL_HEADER_SIZE..)
        .ok_or_else(|| corrupt(codec, "header is cut short"))?;
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| corrupt(codec, "block length is cut short"))?;
        // Blocks may be concatenated streams, each of which starts with the header again.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest
                .get(XERIAL_HEADER_SIZE..)
                .ok_or_else(|| corrupt(codec, "header is cut short"))?;
            continue;
        }
        let length = usize::try_from(i32::from_be_bytes(*length))
            .ok()
            .filter(|length| *length <= after.len())
            .ok_or_else(|| corrupt(codec, "block is cut short"))?;
        let (block, next) = after.split_at(length);
        if !decompress_snappy_block(block, limit, output)? {
            return Ok(false);
        }
        rest = next;
    }
    Ok(true)
}

fn decompress_snappy_block(
    block: &[u8],
    limit: usize,
    output: &mut Vec<u8>,
) -> Result<bool, CompressionError> {
    let codec = Compression::Snappy;
    let claimed = snap::raw::decompress_len(block).map_err(|e| corrupt(codec, e))?;
    let start = output.len();
    if claimed > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(corrupt(codec, "block claims more bytes than it can hold"));
    }
    if claimed > limit.saturating_sub(start) {
        return Ok(false);
    }
    output.resize(start + claimed, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut output[start..])
        .map_err(|e| corrupt(codec, e))?;
    output.truncate(start + written);
    Ok(true)
}

fn decompress_lz4(input: &[u8], limit: usize) -> Result<Decompressed<'static>, CompressionError> {
    // The library would also read the legacy frame format, which Kafka refuses.
    if !input.starts_with(&LZ4_FRAME_MAGIC) {
        return Err(corrupt(Compression::Lz4, "the frame's magic number is missing"));
    }
    let mut decoder = lz4_flex::frame::FrameDecoder::new(input);
    let usual = input.len().saturating_mul(LZ4_USUAL_RATIO);
    let mut output = Vec::with_capacity(usual.min(limit));
    loop {
        let block = decoder.fill_buf().map_err(|e| corrupt(Compression::Lz4, e))?;
        let (size, room) = (block.len(), limit - output.len());
        if size > room {
            output.extend_from_slice(&block[..room]);
            return Ok(Decompressed::Beginning(output));
        }
        if size == 0 {
            return Ok(Decompressed::All(Cow::Owned(output)));
        }
        output.extend_from_slice(block);
        decoder.consume(size);
    }
}

fn compress_gzip(level: Option<i32>, input: &[u8]) -> std::io::Result<Vec<u8>> {
    let level = match level {
        None | Some(-1) => flate2::Compression::default(),
        Some(level) => flate2::Compression::new(level.clamp(0, 9).unsigned_abs()),
    };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(input)?;
    encoder.finish()
}

fn compress_snappy(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut output = Vec::with_capacity(XERIAL_HEADER_SIZE + input.len() / 2);
    output.extend_from_slice(&XERIAL_MAGIC);
    output.extend_from_slice(&1i32.to_be_bytes());
    output.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(XERIAL_BLOCK_SIZE) {
        let compressed = encoder
            .compress_vec(block)
            .map_err(|e| refused(Compression::Snappy, e))?;
        let length = i32::try_from(compressed.len()).map_err(|e| refused(Compression::Snappy, e))?;
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(&compressed);
    }
    Ok(output)
}

fn compress_lz4(input: &[u8]) -> std::io::Result<Vec<u8>> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    // Kafka's Java clients read independent blocks only.
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(input)?;
    encoder.finish().map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn every_codec_gives_back_what_it_took() {
        let long: Vec<u8> = (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for codec in Compression::ALL {
            for input in [&b""[..], b"x", &long] {
                let packed = compress(codec, None, input).unwrap();
                assert_eq!(decompress(codec, &packed, LIMIT).unwrap(), input, "{codec}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0u8; 4 << 20];
        for codec in [
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let packed = compress(codec, None, &zeros).unwrap();
            assert!(packed.len() < zeros.len() / 15, "{codec}");
            assert_eq!(
                decompress(codec, &packed, LIMIT),
                Err(CompressionError::TooLarge { codec, limit: LIMIT }),
                "{codec}"
            );
            assert_eq!(decompress(codec, &packed, zeros.len()).unwrap(), zeros, "{codec}");
        }
    }

    #[test]
    fn snappy_without_framing_is_read_too() {
        let packed = snap::raw::Encoder::new()
            .compress_vec(b"raw snappy, as librdkafka may send it")
            .unwrap();
        assert_eq!(
            decompress(Compression::Snappy, &packed, LIMIT).unwrap(),
            &b"raw snappy, as librdkafka may send it"[..]
        );
    }

    #[test]
    fn a_snappy_claim_of_4_gigabytes_is_refused_without_memory() {
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert!(matches!(
            decompress(Compression::Snappy, &claim, usize::MAX),
            Err(CompressionError::Corrupt { .. })
        ));
    }

    #[test]
    fn unknown_codecs_are_named() {
        assert_eq!(
            Compression::from_attributes(5),
            Err(CompressionError::UnknownCodec(5))
        );
        assert_eq!(Compression::from_attributes(-8), Ok(Compression::None));
        assert_eq!("uncompressed".parse(), Ok(Compression::None));
        assert!("brotli".parse::<Compression>().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            prefix in 0usize..5,
        ) {
            let magics: [&[u8]; 5] =
                [b"", &[0x1f, 0x8b, 8, 0], &XERIAL_MAGIC, &LZ4_FRAME_MAGIC, &[0x28, 0xb5, 0x2f, 0xfd]];
            let input = [magics[prefix], &bytes].concat();
            for codec in Compression::ALL {
                if let Ok(output) = decompress(codec, &input, 10_000) {
                    prop_assert!(output.len() <= 10_000);
                }
            }
        }

        #[test]
        fn damaged_streams_are_answered_without_panic(
            input in proptest::collection::vec(0u8..4, 0..2000),
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<proptest::sample::Index>(),
        ) {
            for codec in Compression::ALL {
                let mut packed = compress(codec, None, &input).unwrap();
                if packed.is_empty() { continue; }
                let (at, cut) = (at.index(packed.len()), cut.index(packed.len()));
                packed[at] = byte;
                let _ = decompress(codec, &packed, 4000);
                let _ = decompress(codec, &packed[..cut], 4000);
            }
        }
    }
}
