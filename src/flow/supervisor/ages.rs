//! How long the oldest missing record has been on the source, where nobody has seen it come: its timestamp is read.

use super::*;
use crate::flow::survey::oldest_timestamps;

/// So many records are read at once at most: each is a fetch of a batch.
const READ_AT_ONCE: usize = 500;

/// Until the next reading, so many beats: what could not be read is not asked for all the time.
const READ_EVERY: u64 = 10;

impl Supervisor {
    /// Read the timestamps of the oldest missing records whose age nothing else tells: those of a backlog from before this daemon started
    /// that nothing is copied of now.
    pub(super) fn ask_ages(&mut self) {
        // A moment for what begins to be copied by itself. A cluster that is away would answer nothing.
        if self.beats < 3 || self.beats < self.ages_again_at || self.was_away {
            return;
        }
        let wanted = self.view.timestamps_wanted(now_ms(), READ_AT_ONCE);
        if wanted.is_empty() {
            return;
        }
        self.ages_again_at = self.beats + READ_EVERY;
        let source = self.clusters.0.clone();
        let client_id = format!("heliostat/{}/ages", self.flow.name);
        self.beside(Report::Ages(Vec::new()), async move {
            let read = tokio::task::spawn_blocking(move || oldest_timestamps(&source, &client_id, &wanted));
            Report::Ages(read.await.unwrap_or_default())
        });
    }

    pub(super) fn on_ages(&mut self, found: Vec<(String, i32, i64, i64)>) {
        let now = now_ms();
        for (topic, partition, offset, timestamp) in found {
            if self.mirrors.contains_key(&topic) {
                self.view.partition(&topic, partition, now, |view| {
                    view.ends.note_timestamp(offset, timestamp);
                });
            }
        }
    }
}
