//! What somebody has paused: it is drained, stays this daemon's, and is copied again when it is resumed.

use super::*;
use crate::flow::pause::{Site, listed, paused};
use crate::offsets::pause::Scope;

impl Supervisor {
    /// Take in what is paused now, and act on it. `has_paused`: some partitions are about to be paused.
    pub(super) fn heed_pauses(&mut self, has_paused: bool) {
        let pauses = self.discovery.target_maps.pauses();
        if !Arc::ptr_eq(&pauses, &self.pauses) {
            let before = std::mem::replace(&mut self.pauses, pauses);
            self.note_pauses(&before);
            self.show_pauses();
            self.hold_what_is_paused();
        } else if !self.pauses.is_empty() {
            self.hold_what_is_paused();
        }
        if has_paused || !self.pauses.is_empty() {
            self.mark_what_has_settled();
        }
    }

    /// What is paused or resumed now has happened since the flow was last looked at.
    fn note_pauses(&self, before: &Pauses) {
        if !self.knows_pauses {
            return;
        }
        let note = |kind, scope: &Scope, reason: Option<String>| {
            self.view.event(Happened {
                at_ms: now_ms(),
                topic: scope.topic().map(str::to_string),
                partition: scope.partition(),
                kind,
                reason,
                ..Happened::default()
            });
        };
        for (scope, pause) in self.pauses.iter() {
            if before.get(scope) != Some(pause) {
                let why = pause.reason.as_ref().map(|reason| format!(": {reason}"));
                let reason = format!("by {}{}", pause.by, why.unwrap_or_default());
                note(EventKind::Paused, scope, Some(reason));
            }
        }
        for (scope, _) in before.iter() {
            if self.pauses.get(scope).is_none() {
                note(EventKind::Resumed, scope, None);
            }
        }
    }

    /// Bring what is paused into the view.
    pub(super) fn show_pauses(&self) {
        let site = Site {
            flow: &self.flow,
            fleet: &self.fleet,
        };
        self.view.set_pauses(listed(&site, &self.pauses));
        let now = now_ms();
        for (topic, number) in self.view.partitions() {
            let paused = paused(&site, &self.pauses, &topic, number);
            let mirror = self.mirrors.get(&topic).filter(|_| paused.is_some());
            let on_record = mirror.and_then(|mirror| self.on_record(mirror, number));
            self.view.partition(&topic, number, now, |view| {
                view.paused = paused;
                // The lag counts from what was copied, also where nothing is copied now.
                view.elsewhere = on_record.or(view.elsewhere);
            });
        }
        self.view.refresh(now);
    }

    /// Stop what is paused, and go on with what is not any more.
    pub(super) fn hold_what_is_paused(&mut self) {
        let mut stopped = Vec::new();
        for (key, partition) in &mut self.mine {
            let mut of_it = self.pauses.of(&partition.mirror.topic, partition.partition);
            match (of_it.next().is_some(), partition.phase) {
                (true, Phase::Copying | Phase::Draining(_) | Phase::Due(_)) => {
                    partition.phase = Phase::Pausing;
                    stopped.push(key.clone());
                }
                (false, Phase::Pausing | Phase::Paused) => partition.phase = Phase::Draining(Instant::now()),
                // The answer of a preparation is not used if it is paused when it comes.
                (true, Phase::Preparing | Phase::Pausing | Phase::Paused) | (false, _) => {}
            }
        }
        for key in &stopped {
            self.stop_copying(key);
        }
    }

    /// Write the last facts of what is paused once nothing of it is on its way: whoever copies it next need not fence it.
    fn mark_what_has_settled(&mut self) {
        if self.writing_facts {
            // What it has taken comes first.
            return;
        }
        let (mut keys, mut clear, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
        for (key, partition) in &mut self.mine {
            if partition.phase != Phase::Pausing {
                continue;
            }
            let Some(account) = &partition.account else {
                partition.phase = Phase::Paused;
                continue;
            };
            if !account.is_drained() {
                continue;
            }
            account.rewind();
            account.state_position();
            let taken = facts::take(std::iter::once(&*partition));
            let side = if account.is_clear() {
                &mut clear
            } else {
                &mut unclear
            };
            side.extend(taken);
            keys.push(key.clone());
        }
        if keys.is_empty() {
            return;
        }
        self.writing_facts = true;
        let discovery = self.discovery.clone();
        self.beside(Report::Marked(keys.clone(), false), async move {
            let written = facts::mark(&discovery.writer, clear, unclear).await;
            Report::Marked(keys, written)
        });
    }

    /// The last facts of what is paused are written, or are still to be.
    pub(super) fn on_marked(&mut self, keys: &[MirrorPartition], written: bool) {
        self.writing_facts = false;
        if !written {
            self.view.count_error();
            return;
        }
        for key in keys {
            if let Some(partition) = self.mine.get_mut(key)
                && partition.phase == Phase::Pausing
            {
                partition.phase = Phase::Paused;
            }
        }
    }
}
