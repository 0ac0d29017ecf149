//! Whether the source's log still holds what was copied of it: a leader that was elected uncleanly may have less.

use heliostat_wire::client::Error;

use super::held::{Look, Places};
use super::reader::Reader;
use super::take::{NotTaken, Sides, on};
use crate::flow::engine::Side;
use crate::offsets::epochs::{Epochs, Survival};
use crate::offsets::segments::Segment;

/// What leader epochs tell of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What of that which was read it still holds.
    pub survival: Survival,
    /// It has had no leader of an epoch as new as what was read. A log's epochs only grow, also where it was cut back: this is another one.
    pub knows_no_such_epoch: bool,
}

/// What records tell that are on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Those before this source offset are the same.
    Upto(i64),
    /// The mirror has records of the flow where they were copied to, and the source has others in their places.
    Nowhere,
    /// It cannot be told, or it is the mirror that has lost something.
    Unclear,
}

impl Sides<'_> {
    /// What of that which was read before `position`, in these leader epochs, the source's log still holds.
    pub async fn survival(&self, epochs: &Epochs, position: i64) -> Result<Told, NotTaken> {
        let mut inquiry = epochs.inquire(position);
        let reader = self.source_reader();
        let mut told = Told {
            survival: Survival::Unknown,
            knows_no_such_epoch: false,
        };
        while let Some(epoch) = inquiry.epoch() {
            match ask(&reader, epoch).await {
                Ok(found) => {
                    told.knows_no_such_epoch = found.is_none();
                    if let Some(survival) = inquiry.answer(found) {
                        told.survival = survival;
                        break;
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
        Ok(told)
    }

    /// Up to where source and mirror have the same records in these places, before a source and a target offset: that is where the source's log was
    /// cut back, if it was. `producer` is who wrote them to the mirror.
    pub async fn agreement(
        &self,
        segments: &[Segment],
        (source, target): (i64, i64),
        producer: Option<i64>,
    ) -> Result<Agreement, NotTaken> {
        let mirror = self.target_reader();
        let start = mirror.start().await.map_err(on(Side::Target))?;
        let end = mirror.end().await.map_err(on(Side::Target))?;
        let places = Places::before(segments, source, target);
        if target > end || places.is_empty() {
            return Ok(Agreement::Unclear);
        }
        let looker = self.looker(places, start).await?;
        match looker.last().await? {
            None => return Ok(Agreement::Unclear),
            Some((_, Look::Held)) => return Ok(Agreement::Upto(source)),
            Some((_, Look::Other { by })) if by.is_some() && by == producer => {}
            // What is not of the flow lies where the mirror has lost something.
            Some((_, Look::Other { .. } | Look::Unclear)) => return Ok(Agreement::Unclear),
        }
        let last = looker.last_held().await?;
        Ok(last.map_or(Agreement::Nowhere, |(source, _)| Agreement::Upto(source + 1)))
    }
}

async fn ask(reader: &Reader<'_>, epoch: i32) -> Result<Option<(i32, i64)>, Error> {
    let (found, end) = reader.end_of_epoch(epoch).await?;
    Ok((found >= 0 && end >= 0).then_some((found, end)))
}
