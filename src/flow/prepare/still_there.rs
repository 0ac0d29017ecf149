//! Whether the source's log still holds what was copied of it, before the partition is claimed.
//!
//! A topic is known by its id. Where the source gives none (Kafka before 2.8), a topic that was made again looks like one whose log has lost its
//! end, or like one that only grew: then leader epochs tell, and what the last copied records are on both sides.

use super::{Known, is_new};
use crate::flow::discover::Mirror;
use crate::flow::exactly_once::{Agreement, NotTaken, Sides, Told};
use crate::offsets::epochs::{Epochs, Survival};

/// What is known, held against the source's log.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// What is known of the part that is left.
    pub(super) known: Option<Known>,
    /// The source offsets that are not what was copied: first, and after the last.
    pub(super) replaced: Option<(i64, i64)>,
    /// What says that the log is another one.
    pub(super) recreated: Option<String>,
}

/// Holds what is known against the source's log.
pub(super) async fn still_there(
    sides: &Sides<'_>,
    mirror: &Mirror,
    known: Option<Known>,
) -> Result<Source, NotTaken> {
    let Some(known) = known else {
        return Ok(Source::default());
    };
    match (&known.source_id, &mirror.source_id) {
        (Some(then), Some(now)) if then == now => {
            let Told { survival, .. } = sides.survival(&known.epochs, known.position).await?;
            Ok(left(known, survival))
        }
        (Some(_), Some(_)) => Ok(left(known, Survival::Unknown)),
        _ if is_new(Some(&known), mirror) => Ok(left(known, Survival::Unknown)),
        _ => without_id(sides, known).await,
    }
}

/// It may be another topic with the same name.
async fn without_id(sides: &Sides<'_>, known: Known) -> Result<Source, NotTaken> {
    let Told {
        survival,
        knows_no_such_epoch,
    } = sides.survival(&known.epochs, known.position).await?;
    if knows_no_such_epoch {
        let what = "the source's log knows nothing of the leader epochs that were copied: the topic was deleted and made again";
        return Ok(other(known, what.to_owned()));
    }
    let upto = match survival {
        Survival::Before(offset) => offset,
        Survival::Whole | Survival::Unknown => known.position,
    };
    let target = known.target_position.unwrap_or(0);
    let producer = known.producer.map(|(id, _)| id);
    let agreement = sides.agreement(&known.segments, (upto, target), producer).await?;
    let is_short = upto < known.position;
    Ok(match agreement {
        Agreement::Upto(offset) if offset < known.position => left(known, Survival::Before(offset)),
        Agreement::Upto(_) => left(known, survival),
        Agreement::Unclear if !is_short => left(known, survival),
        Agreement::Unclear => {
            let what = format!(
                "the source's leader epochs say that its log has lost what was copied from {upto} on, and nothing says that the rest is the same: it was truncated, or made again"
            );
            other(known, what)
        }
        Agreement::Nowhere => {
            let what = format!(
                "the source's records before the position {} are not those that were copied: its log was truncated, or made again",
                known.position
            );
            other(known, what)
        }
    })
}

/// What is left of a log that is the same one.
fn left(mut known: Known, survival: Survival) -> Source {
    let replaced = match survival {
        Survival::Whole => None,
        Survival::Unknown => {
            known.epochs = Epochs::default();
            None
        }
        Survival::Before(offset) => {
            let replaced = (offset, known.position);
            known.position = offset;
            known.epochs = known.epochs.before(offset);
            Some(replaced)
        }
    };
    Source {
        known: Some(known),
        replaced,
        recreated: None,
    }
}

fn other(known: Known, what: String) -> Source {
    Source {
        recreated: Some(what),
        ..left(known, Survival::Unknown)
    }
}
