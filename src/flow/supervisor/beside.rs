//! What takes time and is done beside: looking for topics, asking for offsets, writing facts, preparing.

use super::*;

/// So many partitions are prepared by the same requests.
const PREPARED_TOGETHER: usize = 250;

/// Claims of so many partitions are renewed at the same time, so that a flow with many does not stand still.
const RENEWED_AT_ONCE: usize = 16;

impl Supervisor {
    /// Does work beside, and reports what it gives, or `lost` if it panics: what waits for it goes on in any case.
    pub(super) fn beside(&self, lost: Report, work: impl Future<Output = Report> + Send + 'static) {
        let reports = self.reports.0.clone();
        tokio::spawn(async move {
            // Nobody waits for it any more only when the flow has ended.
            let _ = reports.send(outcome(work, lost).await);
        });
    }

    pub(super) fn ask_whether_alone(&self) {
        let (discovery, group) = (self.discovery.clone(), group_id(&self.flow.source));
        self.beside(Report::Nobody(false), async move {
            // If the group cannot be asked, it decides in its own time.
            Report::Nobody(
                discovery
                    .target
                    .group_members(&group)
                    .await
                    .is_ok_and(|members| members == 0),
            )
        });
    }

    pub(super) fn look(&mut self) {
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        let discovery = self.discovery.clone();
        let lost = Report::Discovered(Err(self.lost("look for topics")));
        self.beside(lost, async move { Report::Discovered(discovery.look().await) });
    }

    pub(super) fn beat(&mut self) {
        self.beats += 1;
        while self.releases.try_join_next().is_some() {}
        self.write_facts();
        self.expire();
        self.ask_offsets();
        self.ask_ages();
        let now = now_ms();
        for (topic, partition) in self.view.partitions() {
            let Some(mirror) = self.mirrors.get(&topic) else {
                continue;
            };
            let elsewhere = self.on_record(&(mirror.target_topic.clone(), partition));
            let refused = self.refused(&mirror.target_topic, partition);
            let is_mine = self.mine.contains_key(&(mirror.target_topic.clone(), partition));
            self.view.partition(&topic, partition, now, |view| {
                view.elsewhere = elsewhere;
                view.refused = refused;
                view.is_mine = is_mine;
            });
        }
        self.view.refresh(now);
    }

    /// How far the offset map says that a partition is copied: source position, target position.
    pub(super) fn on_record(&self, (target_topic, partition): &MirrorPartition) -> Option<(i64, i64)> {
        self.discovery.target_maps.position(target_topic, *partition)
    }

    /// Why the target does not take the records of a partition of this daemon, though they are sent again and again.
    fn refused(&self, target_topic: &str, partition: i32) -> Option<String> {
        let mine = self.mine.get(&(target_topic.to_string(), partition))?;
        let reason = self.engine.refused(target_topic, partition)?;
        if let Some(account) = &mine.account {
            account.count_error();
        }
        let target = &self.flow.target;
        Some(format!(
            "cannot be written to {target}: {reason}; it is tried again and again"
        ))
    }

    pub(super) fn write_facts(&mut self) {
        if self.writing_facts {
            return;
        }
        let taken = facts::take(self.mine.values());
        if taken.is_empty() {
            return;
        }
        self.writing_facts = true;
        let written = facts::write(&self.discovery.writer, taken, false);
        let (discovery, view) = (self.discovery.clone(), self.view.clone());
        self.beside(Report::FactsWritten, async move {
            if let Err(error) = written.await {
                tracing::warn!(flow = %discovery.flow.name, "{error}; it is tried again");
                view.count_error();
            }
            Report::FactsWritten
        });
    }

    pub(super) fn ask_offsets(&mut self) {
        if self.asking_offsets {
            return;
        }
        let partitions: Vec<(String, i32)> = self
            .mirrors
            .values()
            .flat_map(|mirror| {
                (0..mirror.partitions as i32).map(|partition| (mirror.topic.clone(), partition))
            })
            .collect();
        if partitions.is_empty() {
            return;
        }
        self.asking_offsets = true;
        if self.beats % STARTS_EVERY == 1 {
            let (discovery, partitions) = (self.discovery.clone(), partitions.clone());
            let lost = Report::Offsets(OffsetSpec::Earliest, Err(self.lost("ask for offsets")));
            self.beside(lost, async move {
                Report::Offsets(
                    OffsetSpec::Earliest,
                    discovery.source.offsets(partitions, OffsetSpec::Earliest).await,
                )
            });
        }
        let discovery = self.discovery.clone();
        let lost = Report::Offsets(OffsetSpec::LatestCommitted, Err(self.lost("ask for offsets")));
        self.beside(lost, async move {
            let spec = OffsetSpec::LatestCommitted;
            Report::Offsets(spec, discovery.source.offsets(partitions, spec).await)
        });
    }

    /// Prepare what is due.
    pub(super) fn pulse(&mut self) {
        for partition in self.mine.values_mut() {
            partition.settle();
        }
        self.after_an_absence();
        self.renew_claims();
        self.heed_pauses();
        let keys = due(&self.mine, Instant::now());
        // In portions, so that the first are copied while the last are prepared.
        for keys in keys.chunks(PREPARED_TOGETHER) {
            self.prepare(keys.to_vec());
        }
    }

    fn prepare(&mut self, keys: Vec<MirrorPartition>) {
        let mut wanted = Vec::with_capacity(keys.len());
        let mut asked = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(partition) = self.mine.get_mut(&key) {
                partition.phase = Phase::Preparing;
                self.preparations += 1;
                partition.preparation = self.preparations;
                asked.push((key, self.preparations));
                // What the clusters have now is held against what the partition was copied between.
                let mirror = self
                    .mirrors
                    .get(&partition.mirror.topic)
                    .unwrap_or(&partition.mirror)
                    .clone();
                let known = partition.known();
                wanted.push(Wanted {
                    mirror,
                    partition: partition.partition,
                    known,
                });
            }
        }
        let discovery = self.discovery.clone();
        let lost = Report::Prepared(asked.clone(), Err(self.lost("prepare partitions")));
        self.beside(lost, async move {
            Report::Prepared(asked, prepare(discovery, wanted).await)
        });
    }

    /// What is said of work that has ended without a result.
    fn lost(&self, call: &str) -> ClusterError {
        ClusterError {
            cluster: self.flow.target.clone(),
            call: call.to_owned(),
            reason: "an error in heliostat itself; it is tried again".to_owned(),
            away: false,
        }
    }

    /// Partitions whose claims have become old are drained and claimed anew, some at a time: copying goes on where it was.
    fn renew_claims(&mut self) {
        let is_old = |mine: &Mine| {
            let account = mine.account.as_ref();
            mine.phase == Phase::Copying && account.is_some_and(|account| account.claim_is_old())
        };
        let old = self.mine.iter().filter(|(_, mine)| is_old(mine));
        let old: Vec<MirrorPartition> = old.map(|(key, _)| key.clone()).take(RENEWED_AT_ONCE).collect();
        for key in old {
            self.stop_copying(&key);
            self.again(&key, Instant::now());
        }
    }
}

/// What work gives, or `lost` if it panics.
async fn outcome<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static, lost: T) -> T {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!("work of a flow has failed: {error}");
        lost
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_reported_as_lost() {
        assert_eq!(outcome(async { 1 }, 2).await, 1);
        let index = std::hint::black_box(7);
        assert_eq!(outcome(async move { [1, 3][index] }, 2).await, 2);
    }
}
