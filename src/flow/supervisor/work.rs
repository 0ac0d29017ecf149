//! Which partitions this daemon copies, and from where: the group's assignments, what preparing found, giving up.

use super::*;

impl Supervisor {
    /// Tell the group which mirror topics there are, and how many partitions they have.
    pub(super) fn subscribe(&mut self, has_grown: bool) {
        if self.sharing.is_left {
            return;
        }
        let wanted: Vec<(String, usize)> = self
            .mirrors
            .values()
            .filter(|mirror| mirror.partitions > 0)
            .map(|mirror| (mirror.target_topic.clone(), mirror.partitions))
            .collect();
        let is_same = wanted
            .iter()
            .map(|(topic, _)| topic)
            .eq(self.subscribed.iter().map(|(topic, _)| topic));
        if is_same && !has_grown {
            return;
        }
        if self.member.is_none() {
            let joined = Member::join(
                &self.clusters.1,
                &format!("heliostat/{}/member", self.flow.name),
                &group_id(&self.flow.source),
                self.flow.session_timeout,
                self.member_events.0.clone(),
            );
            match joined {
                Ok(member) => self.member = Some(member),
                Err(error) => {
                    return tracing::error!(flow = %self.flow.name, "cannot join the group: {error}");
                }
            }
        }
        if let Some(member) = &self.member {
            member.subscribe(wanted.clone());
            self.subscribed = wanted;
        }
    }

    /// Take what is this daemon's to copy and is not copied yet.
    pub(super) fn adopt(&mut self) {
        if self.waits_for_first() {
            return;
        }
        let mut taken = Vec::new();
        let now = now_ms();
        for mirror in self.mirrors.values().filter(|mirror| mirror.problem.is_none()) {
            for partition in 0..mirror.partitions as i32 {
                let key = (mirror.target_topic.clone(), partition);
                if (self.alone == Some(true) || self.assigned.contains(&key)) && !self.mine.contains_key(&key)
                {
                    self.view
                        .partition(&mirror.topic, partition, now, |view| view.is_mine = true);
                    self.mine.insert(key, Mine::new(mirror.clone(), partition));
                    taken.push((mirror.topic.clone(), partition));
                }
            }
        }
        for (topic, partition) in taken {
            self.note(EventKind::Taken, (&topic, partition), None);
        }
        self.has_happened = true;
        self.pulse();
    }

    pub(super) fn on_member(&mut self, event: MemberEvent) {
        match event {
            MemberEvent::Assigned(partitions) => {
                tracing::debug!(flow = %self.flow.name, partitions = partitions.len(), "assigned");
                self.view.set_problem(None);
                let now = Instant::now();
                for key in &partitions {
                    if let Some(mine) = self.mine.get_mut(key) {
                        mine.is_assigned(now);
                    }
                }
                let was_outside = self.assigned.is_empty() && !partitions.is_empty();
                self.assigned.extend(partitions);
                if was_outside && self.alone != Some(true) {
                    self.read_who_begins();
                }
                self.end_alone();
                self.adopt();
            }
            MemberEvent::Revoked(partitions, done) => {
                tracing::debug!(flow = %self.flow.name, partitions = partitions.len(), "revoked");
                for key in &partitions {
                    self.assigned.remove(key);
                }
                self.release(partitions, Some(done));
            }
            MemberEvent::Refused(reason) => {
                let group = group_id(&self.flow.source);
                let reason = format!(
                    "{} does not let this daemon into the group {group}, which shares the work: {reason}",
                    self.flow.target
                );
                // It is tried again every other second: once is enough.
                if !self.view.has_problem(&reason) {
                    tracing::warn!(flow = %self.flow.name, "{reason}");
                }
                self.view.count_error();
                self.ask_again_who_begins();
                let state = State::Stalled;
                let clears = "what the reason says is mended; it is tried again by itself".to_string();
                self.view.set_problem(Some(Problem {
                    state,
                    reason,
                    clears,
                    offsets: None,
                }));
            }
            MemberEvent::Error(error) => {
                tracing::debug!(flow = %self.flow.name, "group: {error}");
                self.view.count_error();
            }
        }
    }

    /// Give partitions up cleanly: what is on its way arrives, and is on record with a release mark.
    pub(super) fn release(&mut self, keys: Vec<MirrorPartition>, done: Option<mpsc::Sender<()>>) {
        let mut released: Vec<(MirrorPartition, Mine)> = Vec::with_capacity(keys.len());
        for key in keys {
            self.stop_copying(&key);
            released.extend(self.mine.remove_entry(&key));
        }
        let now = now_ms();
        for (_, partition) in &released {
            let place = (partition.mirror.topic.as_str(), partition.partition);
            self.note(EventKind::Released, place, None);
            self.view
                .partition(&partition.mirror.topic, partition.partition, now, |view| {
                    view.set_account(None);
                    view.problem = None;
                    view.is_mine = false;
                    view.refused = None;
                });
        }
        let is_being_claimed = |(_, mine): &(_, Mine)| mine.is_being_claimed();
        let (claimed, released): (Vec<_>, Vec<_>) = released.into_iter().partition(is_being_claimed);
        for (key, mine) in claimed {
            let done = done.clone();
            self.leaving
                .insert((key, mine.preparation), Leaving { mine, done });
        }
        let released: Vec<Mine> = released.into_iter().map(|(_, mine)| mine).collect();
        if released.is_empty() {
            return;
        }
        let discovery = self.discovery.clone();
        self.releases.spawn(async move {
            let again = facts::release(&discovery.writer, released, RELEASE_DEADLINE).await;
            drop(done);
            again
        });
    }

    pub(super) fn on_prepared(
        &mut self,
        keys: Vec<Preparation>,
        result: Result<Vec<Prepared>, ClusterError>,
    ) {
        if let Err(error) = &result {
            tracing::debug!(flow = %self.flow.name, "{error}");
            self.view.count_error();
        }
        let mut prepared = result.ok().map(Vec::into_iter);
        for preparation in keys {
            let prepared = prepared.as_mut().and_then(Iterator::next);
            if let Some(leaving) = self.leaving.remove(&preparation) {
                self.leave(leaving, prepared.as_ref());
                continue;
            }
            let (key, number) = preparation;
            let Some(partition) = self.mine.get_mut(&key) else {
                continue;
            };
            if partition.phase != Phase::Preparing || partition.preparation != number {
                continue;
            }
            match prepared {
                Some(prepared) => self.decided(&key, prepared),
                None => partition.phase = Phase::Due(partition.retry_at()),
            }
        }
    }

    pub(super) fn decided(&mut self, key: &MirrorPartition, prepared: Prepared) {
        let Some(partition) = self.mine.get(key) else {
            return;
        };
        let on_record = self.on_record(&partition.mirror, partition.partition);
        let Some(partition) = self.mine.get_mut(key) else {
            return;
        };
        // What was paused meanwhile is in the map that was read for this.
        let pauses = self.discovery.target_maps.pauses();
        if pauses
            .of(&partition.mirror.topic, partition.partition)
            .next()
            .is_some()
        {
            // It is claimed all the same, and whoever comes next has to know that nothing was written.
            partition.take_over(&prepared);
            partition.phase = Phase::Pausing;
            return;
        }
        match prepared.decision.clone() {
            Decision::Halt {
                state,
                reason,
                offsets,
            } => {
                // It is looked at again: what hinders it may pass, or be mended by someone.
                let at = if prepared.is_awaited {
                    partition.look_again_at()
                } else {
                    partition.retry_at()
                };
                partition.phase = Phase::Due(at);
                // Where it was claimed to see how far it is copied, that is on record now, with a release mark: nobody needs to see it again.
                let held_at = prepared.held_at;
                if held_at.is_some() {
                    partition.close_books();
                }
                let (topic, number) = (partition.mirror.topic.clone(), partition.partition);
                let clears = halt_clears(state, &partition.mirror.target_topic);
                self.view.partition(&topic, number, now_ms(), |view| {
                    view.problem = Some(Problem {
                        state,
                        reason,
                        clears,
                        offsets,
                    });
                    // The lag counts from what was copied, also where nothing is copied now.
                    if held_at.is_some() {
                        view.set_account(None);
                    }
                    view.elsewhere = held_at.or(on_record);
                });
            }
            Decision::Copy {
                at,
                gap,
                note,
                is_new_log,
                ..
            } => {
                if let Some(note) = note.as_deref().filter(|_| is_new_log) {
                    let (topic, number) = (partition.mirror.topic.clone(), partition.partition);
                    self.note(EventKind::Recreated, (&topic, number), Some(note));
                }
                self.copy(key, at, gap, note, prepared);
            }
        }
    }

    pub(super) fn copy(
        &mut self,
        key: &MirrorPartition,
        at: i64,
        gap: Option<(i64, i64)>,
        note: Option<String>,
        prepared: Prepared,
    ) {
        let Some(partition) = self.mine.get_mut(key) else {
            return;
        };
        let (topic, number) = (partition.mirror.topic.clone(), partition.partition);
        if let Some(note) = note.as_ref().filter(|_| !is_new_log(&prepared)) {
            tracing::warn!(flow = %self.flow.name, topic, partition = number, "{note}");
        }
        let Some(account) = partition.take_over(&prepared) else {
            return;
        };
        if let Some((from, to)) = prepared.replaced {
            tracing::error!(flow = %self.flow.name, topic, partition = number, first = from, last = to - 1,
                "the source's log was cut back: what was copied of these offsets stays on the mirror, and what the source has there now is copied behind it");
        }
        let gap_text = gap.map(|(from, to)| {
            account.gap(to);
            self.view.event(Happened {
                at_ms: now_ms(),
                topic: Some(topic.clone()),
                partition: Some(number),
                kind: EventKind::Gap,
                offsets: Some((from, to - 1)),
                reason: Some("source offsets were deleted before they could be copied".to_string()),
                ..Happened::default()
            });
            format!("gap: {}", deleted(from, to))
        });
        let replaced_text = prepared.replaced.map(|(from, to)| {
            let last = to - 1;
            format!(
                "cut back: the source has lost or replaced offsets {from} to {last}, which were copied; what it has there now is copied behind them"
            )
        });
        self.next_id += 1;
        let id = self.next_id;
        self.by_id.insert(id, key.clone());
        account.open(id);
        partition.engine_id = Some(id);
        partition.phase = Phase::Copying;
        let careful = std::mem::take(&mut partition.careful);
        let begins_anew = is_new_log(&prepared) || prepared.begins_anew;
        let at_fault = partition.at_fault.filter(|offset| *offset >= at);
        self.view.partition(&topic, number, now_ms(), |view| {
            if view
                .account
                .as_ref()
                .is_none_or(|known| !Arc::ptr_eq(known, &account))
            {
                view.set_account(Some(account.clone()));
            }
            // What the target refused it may refuse again; until it does not, nothing has changed.
            view.trying_again = careful;
            if !careful {
                view.problem = None;
            }
            // Of a log that is copied from its start nothing is missing that was missing of the one before.
            let before = view.gap.take().filter(|_| !begins_anew);
            view.gap = gap_text.or(replaced_text).or(before);
        });
        let target_topic = partition.mirror.target_topic.clone();
        let topic_ids = partition.mirror.topic_ids();
        self.engine.start(Start {
            id,
            topic,
            target_topic,
            partition: number,
            topic_ids,
            at,
            account,
            careful,
            at_fault,
            claim: prepared.claim,
            options: prepared.options,
        });
    }
}

/// Whether a log is copied that is not the one of before.
fn is_new_log(prepared: &Prepared) -> bool {
    matches!(prepared.decision, Decision::Copy { is_new_log: true, .. })
}

/// What clears it that a partition is not copied for what was found on both sides.
fn halt_clears(state: State, target_topic: &str) -> String {
    match state {
        State::Gap => "set on_gap: record and start the daemon again".to_string(),
        State::Recreated => format!(
            "set on_recreated: follow and start the daemon again, or delete {target_topic} on the target"
        ),
        _ => "what the reason says is mended; it is tried again by itself, at most 40 s apart".to_string(),
    }
}
