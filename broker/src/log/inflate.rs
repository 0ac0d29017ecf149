//! Decompressing what clients have sent, with a bound on the memory of all that are at it.
//!
//! A few kilobytes can grow to hundreds of megabytes, and there may be hundreds of connections. Batches that stay
//! small are decompressed side by side, up to a number; those that do not are taken one at a time.

use std::borrow::Cow;
use std::sync::{Condvar, Mutex, PoisonError};

use heliostat_wire::batch::{BatchError, BatchView};
use heliostat_wire::compression::{Compression, CompressionError, Decompressed};
use heliostat_wire::record::Records;

use super::validate::MAX_DECOMPRESSED_BYTES;

/// The decompressed records of a batch. Others may wait until it is dropped, so it must not be kept, and a thread must
/// not hold two.
#[derive(Debug)]
pub(crate) struct Inflated<'a> {
    bytes: Cow<'a, [u8]>,
    _place: Option<Place>,
}

/// Decompresses a batch to at most [`MAX_DECOMPRESSED_BYTES`]; waits while too many others do.
pub(crate) fn inflate<'a>(batch: &BatchView<'a>) -> Result<Inflated<'a>, BatchError> {
    if batch.header().compression()? == Compression::None {
        let bytes = Cow::Borrowed(batch.payload());
        return Ok(Inflated { bytes, _place: None });
    }
    match SMALL.inflate(batch)? {
        Attempt::All(inflated) => Ok(inflated),
        Attempt::Grows { least } if least > LARGE.limit as u64 => Err(LARGE.exceeded(batch)),
        // What its first records promise can be true.
        Attempt::Grows { .. } => match LARGE.inflate(batch)? {
            Attempt::All(inflated) => Ok(inflated),
            Attempt::Grows { .. } => Err(LARGE.exceeded(batch)),
        },
    }
}

impl std::ops::Deref for Inflated<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

enum Attempt<'a> {
    All(Inflated<'a>),
    /// It is larger than the gate allows, and takes so many bytes at least.
    Grows {
        least: u64,
    },
}

/// Places for those who decompress to at most `limit` bytes.
#[derive(Debug)]
struct Gate {
    limit: usize,
    free: Mutex<usize>,
    freed: Condvar,
}

static SMALL: Gate = Gate::new(8 << 20, 32);
static LARGE: Gate = Gate::new(MAX_DECOMPRESSED_BYTES, 1);

/// A place that is taken until it is dropped.
#[derive(Debug)]
struct Place(&'static Gate);

impl Gate {
    const fn new(limit: usize, places: usize) -> Self {
        Gate {
            limit,
            free: Mutex::new(places),
            freed: Condvar::new(),
        }
    }

    fn inflate<'a>(&'static self, batch: &BatchView<'a>) -> Result<Attempt<'a>, BatchError> {
        let place = self.enter();
        match batch.decompress_up_to(self.limit)? {
            Decompressed::All(bytes) => Ok(Attempt::All(Inflated {
                bytes,
                _place: Some(place),
            })),
            Decompressed::Beginning(bytes) => {
                // A bomb is mostly no batch of records, which shows in its first bytes.
                let least = Records::least_size(&bytes, batch.header().records_count)?;
                Ok(Attempt::Grows { least })
            }
        }
    }

    fn exceeded(&self, batch: &BatchView<'_>) -> BatchError {
        let limit = self.limit;
        match batch.header().compression() {
            Ok(codec) => CompressionError::TooLarge { codec, limit }.into(),
            Err(error) => error.into(),
        }
    }

    fn enter(&'static self) -> Place {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use heliostat_wire::builder::{BatchBuilder, NewRecord};

    use super::*;

    fn bomb(bytes: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.push(NewRecord {
            value: Some(&vec![0; bytes]),
            ..NewRecord::default()
        });
        builder.compression(Compression::Zstd, None).build().unwrap()
    }

    #[test]
    fn what_grows_large_is_held_once_at_a_time() {
        let bomb = bomb(9 << 20);
        let held = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let bytes = inflate(&BatchView::parse(&bomb).unwrap()).unwrap();
                    assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0);
                    assert!(bytes.len() > 9 << 20);
                    held.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }

    #[test]
    fn a_place_comes_back_after_an_error() {
        let mut broken = bomb(100);
        let end = broken.len() - 1;
        broken[end - 4] ^= 0xff;
        broken[62] ^= 0xff;
        for _ in 0..100 {
            assert!(inflate(&BatchView::parse(&broken).unwrap()).is_err());
        }
    }
}
