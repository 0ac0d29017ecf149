//! Whether the source's log still holds what was copied of it: a leader that was elected uncleanly may have less.

use heliostat_wire::client::Error;

use super::reader::Reader;
use super::take::{NotTaken, Sides};
use crate::flow::engine::Side;
use crate::offsets::epochs::{Epochs, Survival};

impl Sides<'_> {
    /// What of that which was read before `position`, in these leader epochs, the source's log still holds.
    pub async fn survival(&self, epochs: &Epochs, position: i64) -> Result<Survival, NotTaken> {
        let mut inquiry = epochs.inquire(position);
        let reader = self.source_reader();
        while let Some(epoch) = inquiry.epoch() {
            match ask(&reader, epoch).await {
                Ok(found) => {
                    if let Some(survival) = inquiry.answer(found) {
                        return Ok(survival);
                    }
                }
                // A broker that cannot tell is one of before KIP-101.
                Err(Error::Unsupported { .. }) => break,
                Err(error) => {
                    return Err(NotTaken {
                        side: Side::Source,
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(Survival::Unknown)
    }
}

async fn ask(reader: &Reader<'_>, epoch: i32) -> Result<Option<(i32, i64)>, Error> {
    let (found, end) = reader.end_of_epoch(epoch).await?;
    Ok((found >= 0 && end >= 0).then_some((found, end)))
}
