//! Zstandard, with contexts that are used again: to make one takes longer than a batch of a few kilobytes does.

use std::borrow::Cow;
use std::io;
use std::sync::{Mutex, PoisonError};

use zstd::stream::read::Decoder;
use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, ResetDirective, compress_bound, get_error_name, get_frame_content_size,
};

use super::{Compression, CompressionError, Decompressed, corrupt, read_limited, refused};

/// Decompresses to at most `limit` bytes.
pub(super) fn decompress_up_to(
    input: &[u8],
    limit: usize,
) -> Result<Decompressed<'static>, CompressionError> {
    let failed = |error: io::Error| corrupt(Compression::Zstd, error);
    let mut context = DECODERS.take().map_err(failed)?;
    let output = match decompress_at_once(&mut context, input, limit) {
        Some(output) => Ok(Decompressed::All(Cow::Owned(output))),
        None => {
            reset_decoder(&mut context).map_err(failed)?;
            read_limited(
                Compression::Zstd,
                Decoder::with_context(input, &mut context),
                limit,
            )
        }
    };
    DECODERS.give_back(context);
    output
}

/// Compresses, with the codec's own scale of levels.
pub(super) fn compress(level: i32, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let failed = |error: io::Error| refused(Compression::Zstd, error);
    let mut context = ENCODERS.take().map_err(failed)?;
    let mut output = Vec::with_capacity(compress_bound(input.len()));
    let written = context
        .reset(ResetDirective::SessionAndParameters)
        .and_then(|_| context.set_parameter(CParameter::CompressionLevel(level)))
        .and_then(|_| context.compress2(&mut output, input));
    written.map_err(|code| failed(named(code)))?;
    ENCODERS.give_back(context);
    Ok(output)
}

/// Contexts that nobody uses at the moment.
struct Idle<C> {
    contexts: Mutex<Vec<C>>,
    create: fn() -> Option<C>,
    size: fn(&C) -> usize,
}

/// As many as are kept: about as many as there are cores at work.
const MAX_IDLE: usize = 4;

/// A context that has grown beyond this, in bytes, is not kept: its window was set by who compressed the bytes.
const MAX_IDLE_SIZE: usize = 4 << 20;

static DECODERS: Idle<DCtx<'static>> = Idle {
    contexts: Mutex::new(Vec::new()),
    create: DCtx::try_create,
    size: DCtx::sizeof,
};

static ENCODERS: Idle<CCtx<'static>> = Idle {
    contexts: Mutex::new(Vec::new()),
    create: CCtx::try_create,
    size: CCtx::sizeof,
};

impl<C> Idle<C> {
    fn take(&self) -> io::Result<C> {
        let kept = self.contexts.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.or_else(self.create)
            .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn give_back(&self, context: C) {
        if (self.size)(&context) > MAX_IDLE_SIZE {
            return;
        }
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        if contexts.len() < MAX_IDLE {
            contexts.push(context);
        }
    }
}

/// For a frame that says how large it was: straight into memory of that size. `None` if it has to be read bit by bit, or
/// is not what it says.
fn decompress_at_once(context: &mut DCtx<'static>, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let size = usize::try_from(get_frame_content_size(input).ok()??).ok()?;
    // What a frame says about itself must not take more memory than such a frame can be worth.
    if size > limit || size > input.len().saturating_mul(MAX_TRUSTED_RATIO) {
        return None;
    }
    reset_decoder(context).ok()?;
    let mut output = Vec::with_capacity(size);
    context.decompress(&mut output, input).ok()?;
    Some(output)
}

const MAX_TRUSTED_RATIO: usize = 1024;

fn reset_decoder(context: &mut DCtx<'static>) -> io::Result<()> {
    context
        .reset(ResetDirective::SessionOnly)
        .map(drop)
        .map_err(named)
}

fn named(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
        crate::compression::decompress(Compression::Zstd, input, limit).map(Cow::into_owned)
    }

    #[test]
    fn contexts_are_used_again_whatever_came_before() {
        let small = compress(3, b"small small small").unwrap();
        let long: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        for level in [1, 9, 3, -5] {
            let packed = compress(level, &long).unwrap();
            let mut cut = packed.clone();
            cut.truncate(packed.len() / 2);
            assert!(decompress(&cut, 1 << 20).is_err());
            assert_eq!(decompress(&small, 100).unwrap(), b"small small small");
            assert!(matches!(
                decompress(&packed, 1000),
                Err(CompressionError::TooLarge { limit: 1000, .. })
            ));
            assert_eq!(decompress(&packed, long.len()).unwrap(), long);
        }
        assert_eq!(
            compress(3, b"small small small").unwrap(),
            small,
            "as with a new context"
        );
        assert_eq!(
            decompress(&[small.clone(), small].concat(), 100).unwrap().len(),
            34,
            "two frames"
        );
    }

    #[test]
    fn frames_that_do_not_say_how_large_they_are_can_be_read() {
        let packed = zstd::stream::encode_all(&b"as a stream"[..], 3).unwrap();
        assert!(matches!(get_frame_content_size(&packed), Ok(None)));
        assert_eq!(decompress(&packed, 100).unwrap(), b"as a stream");
    }

    #[test]
    fn few_contexts_are_kept_and_no_large_ones() {
        let taken: Vec<_> = (0..2 * MAX_IDLE).map(|_| DECODERS.take().unwrap()).collect();
        taken.into_iter().for_each(|context| DECODERS.give_back(context));
        assert!(DECODERS.contexts.lock().unwrap().len() <= MAX_IDLE);
        let idle = Idle {
            contexts: Mutex::new(Vec::new()),
            create: || Some(vec![0u8; MAX_IDLE_SIZE + 1]),
            size: Vec::len,
        };
        idle.give_back(idle.take().unwrap());
        assert!(idle.contexts.lock().unwrap().is_empty());
    }
}
