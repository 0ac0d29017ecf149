//! Giving up partitions that are being prepared.
//!
//! A preparation that has not claimed its partition yet does not do so any more. If it has, whoever comes next cannot know that nothing was ever written
//! under that claim, unless there is a release mark of it: it would fence it, which costs an offset on the mirror. So it is waited for then, and what it
//! has claimed is released as if it had been copied.

use super::*;

/// How long a flow that ends waits for preparations at most. Where a cluster is away they do not come to an end.
const PREPARED_DEADLINE: Duration = Duration::from_secs(3);

/// A partition that is given up once its preparation is over.
pub(super) struct Leaving {
    /// The partition.
    pub(super) mine: Mine,
    /// Dropped when it is given up.
    pub(super) done: Option<mpsc::Sender<()>>,
}

impl Supervisor {
    /// The preparation of a partition is over that is to be given up; it is with what was found.
    pub(super) fn leave(&mut self, leaving: Leaving, prepared: Option<&Prepared>) {
        let Leaving { mut mine, done } = leaving;
        if let Some(prepared) = prepared {
            mine.take_over(prepared);
        }
        let discovery = self.discovery.clone();
        self.releases.spawn(async move {
            let again = facts::release(&discovery.writer, vec![mine], RELEASE_DEADLINE).await;
            drop(done);
            again
        });
    }

    /// All partitions, those that are being prepared with what their preparations have claimed, if these end in time.
    pub(super) async fn end_preparations(&mut self) -> Vec<Mine> {
        let until = tokio::time::Instant::now() + PREPARED_DEADLINE;
        let mut all: Vec<Mine> = Vec::with_capacity(self.mine.len());
        for (key, mine) in self.mine.drain() {
            if mine.is_being_claimed() {
                let leaving = Leaving { mine, done: None };
                self.leaving.insert((key, leaving.mine.preparation), leaving);
            } else {
                all.push(mine);
            }
        }
        while !self.leaving.is_empty() {
            let Ok(Some(report)) = tokio::time::timeout_at(until, self.reports.1.recv()).await else {
                break;
            };
            let Report::Prepared(keys, result) = report else {
                continue;
            };
            let mut prepared = result.unwrap_or_default().into_iter();
            for key in keys {
                let prepared = prepared.next();
                let Some(mut leaving) = self.leaving.remove(&key) else {
                    continue;
                };
                if let Some(prepared) = &prepared {
                    leaving.mine.take_over(prepared);
                }
                all.push(leaving.mine);
            }
        }
        all.extend(self.leaving.drain().map(|(_, leaving)| leaving.mine));
        all
    }
}

impl Mine {
    /// The books go on where a preparation says; none if it says that nothing is to be copied. Returns whether they begin elsewhere than they stood.
    pub(super) fn take_over(&mut self, prepared: &Prepared) -> Option<Arc<Account>> {
        let at = prepared.decision.begins_at()?;
        let Decision::Copy {
            target_position,
            note,
            ..
        } = &prepared.decision
        else {
            return None;
        };
        if let Some(mirror) = &prepared.mirror {
            if self.mirror.target_id.is_some() && self.mirror.target_id != mirror.target_id {
                // What these books have not told yet is of a mirror that is not there any more.
                self.account = None;
            }
            self.mirror = mirror.clone();
        }
        if std::mem::take(&mut self.is_replaced) || prepared.is_by_another {
            self.close_books();
        }
        let account = match (&self.account, note) {
            (Some(account), None) => account.clone(),
            (Some(account), Some(_)) => {
                account.restart(at, *target_position, prepared.from);
                account.clone()
            }
            (None, _) => Arc::new(Account::new(at, *target_position, prepared.from)),
        };
        if let Some((from, _)) = prepared.replaced {
            // Also where nothing else is to be said: what was copied of them is behind the position again.
            account.restart(from, *target_position, prepared.from);
        }
        if prepared.is_to_be_stated && prepared.is_unfenced() {
            account.state_beginning();
        }
        account.set_epochs(prepared.epochs.clone());
        account.recovered(&prepared.found, at);
        account.claimed(prepared.claim, prepared.lease);
        self.account = Some(account.clone());
        Some(account)
    }
}
