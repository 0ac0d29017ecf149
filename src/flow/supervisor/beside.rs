//! What takes time and is done beside: looking for topics, asking for offsets, writing facts, preparing.

use std::collections::btree_map;
use std::iter::Peekable;

use super::*;

/// So many partitions are prepared by the same requests.
const PREPARED_TOGETHER: usize = 250;

/// Log ends of partitions of which nothing moves are asked for every so many beats: often enough that they count as known, also if the answer is an
/// error once, after which all are asked for at the next beat.
const QUIET_EVERY: u64 = 3;

/// So many partitions of a topic have their turn together.
const TURN_TOGETHER: i32 = 50;

/// By then it is known which logs are there, or looked for them again.
const LOOKING: Duration = Duration::from_secs(10);

/// How often is looked whether claims have become old, where they do not become so sooner.
const LOOK_FOR_OLD_CLAIMS: Duration = Duration::from_secs(10);

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

    pub(super) fn look(&mut self) {
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        let discovery = self.discovery.clone();
        let lost = Report::Discovered(Err(self.lost("look for topics")));
        let idle = self.mine.iter().filter(|(_, mine)| mine.account.is_none());
        let idle: Vec<MirrorPartition> = idle.map(|(key, _)| key.clone()).collect();
        self.beside(
            lost,
            async move { Report::Discovered(discovery.look(&idle).await) },
        );
    }

    /// Something is not as it was seen: look at both clusters at once.
    pub(super) fn look_at_all(&mut self) {
        self.discovery.await_no_longer();
        self.look();
    }

    pub(super) fn beat(&mut self) {
        self.beats += 1;
        while self.releases.try_join_next().is_some() {}
        self.write_facts();
        self.expire();
        self.ask_offsets();
        self.ask_ages();
        self.look_at_others();
        self.look_at_refusals();
        self.heed_a_silent_source();
        self.say_again_who_begins();
        // The answer to the question for offsets does so, unless there is none.
        self.view.refresh_if_stale(now_ms());
    }

    /// How far those partitions are that another daemon copies, or nobody.
    pub(super) fn look_at_others(&self) {
        let maps = &self.discovery.target_maps;
        let mut mirrors = self.mirrors.iter().peekable();
        self.view.each(|(topic, partition), view| {
            if view.account.is_none() {
                let mirror = of_topic(&mut mirrors, topic);
                let id = mirror.and_then(|mirror| mirror.target_id.as_deref());
                view.elsewhere = maps.position(&view.target_topic, *partition, id);
            }
        });
    }

    fn look_at_refusals(&self) {
        if !self.engine.sends_again() {
            return;
        }
        let now = now_ms();
        for (key, mine) in &self.mine {
            let refused = self.refused(key, mine);
            let topic = &mine.mirror.topic;
            self.view
                .partition(topic, mine.partition, now, |view| view.refused = refused);
        }
    }

    /// How far the offset map says that a partition is copied: source position, target position.
    pub(super) fn on_record(&self, mirror: &Mirror, partition: i32) -> Option<(i64, i64)> {
        let id = mirror.target_id.as_deref();
        self.discovery
            .target_maps
            .position(&mirror.target_topic, partition, id)
    }

    /// Why the target does not take the records of a partition of this daemon, though they are sent again and again.
    fn refused(&self, (target_topic, partition): &MirrorPartition, mine: &Mine) -> Option<String> {
        let reason = self.engine.refused(target_topic, *partition)?;
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
        self.beside(Report::FactsWritten(false), async move {
            let written = written.await;
            if let Err(error) = &written {
                tracing::warn!(flow = %discovery.flow.name, "{error}; it is tried again");
                view.count_error();
            }
            Report::FactsWritten(written.is_ok())
        });
    }

    /// The map topic knows nothing any more of what is copied here.
    pub(super) fn state_again(&self) {
        for ((target_topic, partition), mine) in &self.mine {
            let Some(account) = &mine.account else { continue };
            let on_record = self.discovery.target_maps.facts(target_topic, *partition);
            account.state_again(on_record.as_ref().map(|facts| &facts.last));
        }
    }

    pub(super) fn ask_offsets(&mut self) {
        if self.asking_offsets {
            // Some have lost their turn. With answers that take this long, turns would come too late.
            self.asks_for_all = true;
            return;
        }
        let asks_starts = self.beats % STARTS_EVERY == 1;
        let everything = asks_starts || std::mem::take(&mut self.asks_for_all);
        let partitions = self.partitions_to_ask(everything);
        // Their leaders may be silent: those of others need not be waited for that long.
        let without_end = self.view.without_end();
        let is_apart = |partition: &(String, i32)| without_end.contains(partition);
        let (apart, partitions): (Vec<_>, Vec<_>) = partitions.into_iter().partition(is_apart);
        if !partitions.is_empty() {
            self.asking_offsets = true;
            self.ask(partitions, asks_starts, false);
        }
        if !apart.is_empty() && !std::mem::replace(&mut self.asking_apart, true) {
            self.ask(apart, asks_starts, true);
        }
    }

    fn ask(&self, partitions: Vec<(String, i32)>, asks_starts: bool, is_apart: bool) {
        let ask = |spec: OffsetSpec, partitions: Vec<(String, i32)>| {
            let discovery = self.discovery.clone();
            let lost = Report::Offsets(spec, is_apart, Err(self.lost("ask for offsets")));
            self.beside(lost, async move {
                Report::Offsets(spec, is_apart, discovery.source.offsets(partitions, spec).await)
            });
        };
        if asks_starts {
            ask(OffsetSpec::Earliest, partitions.clone());
        }
        ask(OffsetSpec::LatestCommitted, partitions);
    }

    /// Those whose log ends are to be asked for now: partitions of which nothing moves take turns, and where readers hear of every change nobody asks.
    fn partitions_to_ask(&self, everything: bool) -> Vec<(String, i32)> {
        let mut partitions = Vec::new();
        let (mut turn, now) = (self.beats, now_ms());
        let mut mirrors = self.mirrors.iter().peekable();
        self.view.each(|(topic, partition), view| {
            // A topic's name is said once for all that are asked for together.
            turn = turn.wrapping_add(u64::from(partition % TURN_TOGETHER == 0));
            let is_quiet = view.is_quiet();
            if !everything && !turn.is_multiple_of(QUIET_EVERY) && is_quiet {
                return;
            }
            let mirror = of_topic(&mut mirrors, topic);
            let Some(mirror) = mirror.filter(|mirror| (*partition as usize) < mirror.partitions) else {
                return;
            };
            if is_quiet && let Some((start, end)) = self.heard(mirror, *partition) {
                view.ends.note_start(start);
                view.note_end(now, end);
                return;
            }
            partitions.push((topic.clone(), *partition));
        });
        partitions
    }

    /// What the source has told of a log without being asked.
    fn heard(&self, mirror: &Mirror, partition: i32) -> Option<(i64, i64)> {
        let key = (mirror.target_topic.clone(), partition);
        self.engine.log_ends(self.mine.get(&key)?.engine_id?)
    }

    /// Prepare what is due.
    pub(super) fn pulse(&mut self) {
        if self.look_again_at.take_if(|at| *at <= Instant::now()).is_some() {
            self.look();
        }
        let often = LOOK_FOR_OLD_CLAIMS.min(self.discovery.claim_period / 8);
        if self.old_claims.is_empty() && self.claims_looked_at.elapsed() >= often {
            self.find_old_claims();
        }
        self.after_an_absence();
        self.take_what_was_awaited();
        if self.is_still() {
            return;
        }
        let copied = self.mirrors.values().filter(|mirror| mirror.problem.is_none());
        let all = copied.map(|mirror| mirror.partitions).sum();
        self.share.set(self.mine.len(), all);
        let mut has_paused = false;
        for partition in self.mine.values_mut() {
            partition.settle();
            has_paused |= partition.phase == Phase::Pausing;
        }
        self.renew_claims();
        self.heed_pauses(has_paused);
        let (due, awaited) = due(&self.mine, Instant::now());
        // In portions, so that the first are copied while the last are prepared.
        for keys in due.chunks(PREPARED_TOGETHER) {
            self.prepare(keys.to_vec());
        }
        self.look_for(awaited);
        self.waits_for_events = self.mine.values().all(|mine| mine.phase.waits_for_events());
    }

    /// Whether nothing has happened since the last pulse, and nothing of what that found becomes due by itself.
    fn is_still(&mut self) -> bool {
        let has_happened = std::mem::take(&mut self.has_happened);
        let pauses_are_same = Arc::ptr_eq(&self.discovery.target_maps.pauses(), &self.pauses);
        self.waits_for_events && !has_happened && pauses_are_same && self.old_claims.is_empty()
    }

    /// Look whether the target has made the logs of these.
    fn look_for(&mut self, keys: Vec<MirrorPartition>) {
        if keys.is_empty() {
            return;
        }
        // Nothing is claimed by looking, so it is not a preparation: who gives the partition up waits for nothing.
        let answered_by = Instant::now() + LOOKING;
        for key in &keys {
            if let Some(partition) = self.mine.get_mut(key) {
                partition.phase = Phase::Due(answered_by);
            }
        }
        let discovery = self.discovery.clone();
        let lost = Report::Looked(keys.clone(), HashSet::new());
        self.beside(lost, async move {
            let there = discovery.target.which_are_there(keys.clone()).await;
            Report::Looked(keys, there)
        });
    }

    /// Some of the logs that were looked for are there.
    pub(super) fn on_looked(&mut self, keys: &[MirrorPartition], there: &HashSet<MirrorPartition>) {
        for key in keys {
            let Some(partition) = self.mine.get_mut(key) else {
                continue;
            };
            if !partition.is_awaited || !matches!(partition.phase, Phase::Due(_)) {
                continue;
            }
            let at = if there.contains(key) {
                partition.is_awaited = false;
                Instant::now()
            } else {
                partition.look_again_at()
            };
            partition.phase = Phase::Due(at);
        }
        self.has_happened = true;
        self.pulse();
    }

    fn prepare(&mut self, keys: Vec<MirrorPartition>) {
        let mut wanted = Vec::with_capacity(keys.len());
        let mut asked = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(partition) = self.mine.get_mut(&key) {
                partition.phase = Phase::Preparing;
                self.preparations += 1;
                partition.preparation = self.preparations;
                partition.permit = Arc::default();
                asked.push((key, self.preparations));
                // What the clusters have now is held against what the partition was copied between.
                let mirror = self
                    .mirrors
                    .get(&partition.mirror.topic)
                    .unwrap_or(&partition.mirror)
                    .clone();
                let account = partition.account.as_ref();
                partition.is_replaced |= account.is_some_and(|account| account.lease_is_over());
                let known = partition.known();
                wanted.push(Wanted {
                    mirror,
                    partition: partition.partition,
                    known,
                    permit: partition.permit.clone(),
                });
            }
        }
        let discovery = self.discovery.clone();
        let lost = Report::Prepared(asked.clone(), Err(self.lost("prepare partitions")));
        let reports = self.reports.0.clone();
        self.beside(lost, async move {
            let report = |(places, found): Found| {
                let keys = places.into_iter().map(|place| asked[place].clone());
                Report::Prepared(keys.collect(), found)
            };
            // Nobody waits for it any more only when the flow has ended.
            let tell = |found| drop(reports.send(report(found)));
            report(prepare(discovery, wanted, tell).await)
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

    /// Which claims have become old.
    fn find_old_claims(&mut self) {
        self.claims_looked_at = Instant::now();
        let is_old = |mine: &Mine| {
            let account = mine.account.as_ref();
            mine.phase == Phase::Copying && account.is_some_and(|account| account.claim_is_old())
        };
        let old = self.mine.iter().filter(|(_, mine)| is_old(mine));
        self.old_claims = old.map(|(key, _)| key.clone()).collect();
    }

    /// Partitions whose claims have become old are drained and claimed anew, some at a time: copying goes on where it was.
    fn renew_claims(&mut self) {
        let left = self.old_claims.len().saturating_sub(RENEWED_AT_ONCE);
        for key in self.old_claims.split_off(left) {
            if self
                .mine
                .get(&key)
                .is_some_and(|mine| mine.phase == Phase::Copying)
            {
                self.stop_copying(&key);
                self.again(&key, Instant::now());
            }
        }
    }
}

/// What hinders that a topic is mirrored at all.
pub(super) fn mirror_problem(flow: &Flow, mirror: &Mirror) -> Option<Problem> {
    let (state, reason, clears) = match &mirror.problem {
        Some(reason) => (
            State::Stalled,
            reason.clone(),
            "what the reason says is mended; it is tried again at every discovery_interval",
        ),
        None if mirror.is_unseen => (
            State::Waiting,
            format!("{} does not show {}", flow.target, mirror.target_topic),
            "its brokers know the topic, or this user is allowed to describe it; it is asked for by itself",
        ),
        None => return None,
    };
    Some(Problem {
        state,
        reason,
        clears: clears.to_owned(),
        offsets: None,
    })
}

/// The mirror of a topic; who asks goes through the topics in their order.
fn of_topic<'m>(
    mirrors: &mut Peekable<btree_map::Iter<'m, String, Mirror>>,
    topic: &str,
) -> Option<&'m Mirror> {
    while mirrors.next_if(|(name, _)| name.as_str() < topic).is_some() {}
    let mirror = mirrors.peek().filter(|(name, _)| *name == topic);
    mirror.map(|(_, mirror)| *mirror)
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
