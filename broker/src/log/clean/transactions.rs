//! Which transactions were aborted, and of which nothing is left but their marker.

use std::collections::{HashMap, HashSet};

use heliostat_wire::batch::BatchView;

use super::super::aborted::AbortedTransaction;
use super::super::marker::MarkerRecord;

/// What was seen of transactions on a walk through a log, batch by batch.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Aborted ones that begin behind the last batch; the next one last.
    coming: Vec<AbortedTransaction>,
    /// By producer: the aborted one that is under way, and whether a batch of it was seen.
    aborted: HashMap<i64, (AbortedTransaction, bool)>,
    /// Producers of whose transaction under way, which was committed, a batch was seen.
    committed: HashSet<i64>,
}

/// What a batch is to its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    /// It may go: it belongs to an aborted transaction, or is the marker of one of which no batch is left.
    pub(super) discarded: bool,
    /// It is the marker of this aborted transaction, of which something is left.
    pub(super) ends: Option<AbortedTransaction>,
}

impl Transactions {
    /// A walk on which these aborted transactions may be met.
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Transactions {
            coming: aborted,
            ..Transactions::default()
        }
    }

    /// The next batch.
    pub(super) fn see(&mut self, batch: &BatchView<'_>) -> Role {
        let header = batch.header();
        while let Some(next) = self
            .coming
            .pop_if(|next| next.first_offset <= header.last_offset())
        {
            self.aborted.entry(next.producer_id).or_insert((next, false));
        }
        if header.is_control() {
            return self.see_marker(batch);
        }
        let mut discarded = false;
        if header.is_transactional() {
            match self.aborted.get_mut(&header.producer_id) {
                Some((_, seen)) => (*seen, discarded) = (true, true),
                None => drop(self.committed.insert(header.producer_id)),
            }
        }
        Role {
            discarded,
            ends: None,
        }
    }

    fn see_marker(&mut self, batch: &BatchView<'_>) -> Role {
        let id = batch.header().producer_id;
        let role = |discarded, ends| Role { discarded, ends };
        if batch.header().records_count == 0 {
            // Its record went when it was due; only its offsets or its epoch were still of use.
            return role(true, None);
        }
        match MarkerRecord::decode(batch) {
            Some(marker) if marker.commit => role(!self.committed.remove(&id), None),
            Some(_) => match self.aborted.remove(&id) {
                Some((transaction, true)) => role(false, Some(transaction)),
                _ => role(true, None),
            },
            // Some other control record; it is not ours to judge.
            None => role(false, None),
        }
    }
}
