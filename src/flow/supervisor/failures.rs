//! What the engine reports of a partition that it cannot copy, and what becomes of it.

use super::*;

impl Supervisor {
    pub(super) fn on_engine(&mut self, event: Event) {
        match event {
            Event::Failed {
                id,
                side,
                code,
                text,
                offset,
                middle,
            } => {
                let Some(key) = self.by_id.get(&id).cloned() else {
                    return;
                };
                self.stop_copying(&key);
                self.on_failed(&key, side, code, &text, (offset, middle));
            }
            // What the map does not take is tried again with the next beat, and not as often as somebody presses.
            Event::Pressing if self.facts_failed => {}
            Event::Pressing => self.write_facts(),
            Event::Broken(reason) => {
                tracing::warn!(flow = %self.flow.name, "the writer has to be made anew: {reason}");
                self.view.count_error();
                self.replace_engine();
            }
        }
    }

    pub(super) fn on_failed(
        &mut self,
        key: &MirrorPartition,
        side: Side,
        code: RDKafkaErrorCode,
        text: &str,
        (offset, middle): (Option<i64>, Option<i64>),
    ) {
        let Some(partition) = self.mine.get_mut(key) else {
            return;
        };
        let position = partition
            .account
            .as_ref()
            .map(|account| account.snapshot().position);
        let is_of_record = side == Side::Target && is_of_record(code);
        // What lies before the middle goes apart from what follows it, until the record at fault is alone.
        let is_narrower = partition.narrow(position, middle.filter(|_| is_of_record));
        let apart = offset.or(middle).filter(|_| is_of_record);
        partition.at_fault = apart.or(partition.at_fault);
        let mut at_once = side == Side::Source && is_out_of_range(code) || is_narrower;
        let retry_at = if at_once {
            Instant::now()
        } else if is_of_record && self.discovery.wire.is_some() && gets_further(code, offset, position) {
            let soon = partition.retry_soon();
            at_once = soon.is_ok();
            soon.unwrap_or_else(|later| later)
        } else if is_fenced(side, code) {
            // Until then the group has said whose it is: to claim it now would take it from its owner again. A member that is not one any more
            // hears so when it next says that it lives; one that is was fenced by somebody who did not know yet that it is not.
            let hears_within = self
                .flow
                .session_timeout
                .min(2 * heartbeat_interval(self.flow.session_timeout));
            let until = Instant::now() + hears_within + FENCED_MARGIN;
            partition.fenced_until = Some(until);
            partition.is_replaced = true;
            until
        } else {
            partition.retry_at()
        };
        partition.careful = side == Side::Target && !is_unclear(code);
        let (topic, number) = (partition.mirror.topic.clone(), partition.partition);
        let position = offset.or(position);
        partition.phase = Phase::Draining(retry_at);
        if at_once {
            return;
        }
        if is_not_known_yet(side, code) {
            self.engine.refresh(&key.0);
        }
        if is_unknown(code) {
            self.look_at_all();
        }
        let problem = failure(&self.flow, side, code, text, position);
        tracing::warn!(flow = %self.flow.name, topic, partition = number, "{}", problem.reason);
        self.view
            .partition(&topic, number, now_ms(), |view| view.problem = Some(problem));
    }

    pub(super) fn stop_copying(&mut self, key: &MirrorPartition) {
        let Some(partition) = self.mine.get_mut(key) else {
            return;
        };
        if let Some(account) = &partition.account {
            account.close();
        }
        if let Some(id) = partition.engine_id.take() {
            self.by_id.remove(&id);
            self.engine.stop(id);
        }
    }

    /// Prepare a partition again once what is on its way has settled.
    pub(super) fn again(&mut self, key: &MirrorPartition, at: Instant) {
        // What is paused is looked at when it is resumed.
        if let Some(partition) = self.mine.get_mut(key).filter(|partition| !partition.is_held()) {
            // What is being prepared is of no use any more.
            partition.permit.take_back();
            partition.phase = Phase::Draining(at);
        }
    }
}

/// How much longer than a member takes to hear of the group a partition is left alone that somebody else has taken.
const FENCED_MARGIN: Duration = Duration::from_secs(1);

fn is_out_of_range(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::OffsetOutOfRange | Code::AutoOffsetReset)
}

/// Whether somebody else writes with a newer epoch.
fn is_fenced(side: Side, code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    side == Side::Target && matches!(code, Code::InvalidProducerEpoch | Code::ProducerFenced)
}

/// Whether the records were not refused: it is not known whether they arrived, or they were sent out of turn.
fn is_unclear(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure | Code::OutOfOrderSequenceNumber | Code::NotLeaderForPartition
    )
}

/// Whether the target refuses a record for what it is.
fn is_of_record(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidTimestamp
    )
}

/// Whether the next attempt can get further than the one in which the target refused a batch: what comes before the record at fault arrives by
/// itself, and what is too large as a batch is cut to the limit that the mirror has now.
fn gets_further(code: RDKafkaErrorCode, offset: Option<i64>, position: Option<i64>) -> bool {
    match offset {
        Some(_) => offset > position,
        None => code == RDKafkaErrorCode::MessageSizeTooLarge,
    }
}

/// Whether a cluster does not have a topic, or has another one of its name.
fn is_unknown(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownTopicId
    )
}

/// Whether the target may have a partition that the writer has not heard of.
fn is_not_known_yet(side: Side, code: RDKafkaErrorCode) -> bool {
    side == Side::Target && is_unknown(code)
}

/// What a failed partition is called, and what would clear it.
fn failure(flow: &Flow, side: Side, code: RDKafkaErrorCode, text: &str, position: Option<i64>) -> Problem {
    use RDKafkaErrorCode as Code;
    let at = position
        .map(|position| format!(" at source offset {position}"))
        .unwrap_or_default();
    let again = "it is tried again by itself, at most 40 s apart";
    let (state, reason, clears) = match (side, code) {
        (Side::Source, code) if is_unknown(code) => (
            State::Waiting,
            format!("the source does not have it: {text}"),
            "it is there again, or the next discovery sees that the topic was deleted".to_string(),
        ),
        (Side::Target, Code::InvalidProducerEpoch | Code::ProducerFenced) => (
            State::Waiting,
            "another daemon has taken it; this one gives it up".to_string(),
            "the group says whose it is, within the session time-out".to_string(),
        ),
        (Side::Source, _) => (
            State::Stalled,
            format!("cannot be read from {}{at}: {text}", flow.source),
            format!("what the reason says is mended; {again}"),
        ),
        (Side::Target, code) if is_of_record(code) => {
            let cure = match code {
                Code::MessageSizeTooLarge => "raise max.message.bytes of the mirror topic",
                Code::InvalidTimestamp => {
                    "raise message.timestamp.after.max.ms or message.timestamp.before.max.ms of the mirror topic"
                }
                _ => {
                    "see whether the mirror topic's configuration fits the record, such as cleanup.policy=compact for a record without a key"
                }
            };
            (
                State::Quarantined,
                format!("{} refuses the record{at}: {text}; {cure}", flow.target),
                format!("{cure}; {again}"),
            )
        }
        _ if is_not_known_yet(side, code) => (
            State::Waiting,
            format!("{} does not have it yet: {text}", flow.target),
            "the target's brokers know it; they are asked again at once".to_string(),
        ),
        (Side::Target, _) => (
            State::Stalled,
            format!("cannot be written to {}{at}: {text}", flow.target),
            format!("what the reason says is mended; {again}"),
        ),
    };
    Problem {
        state,
        reason,
        clears,
        offsets: position
            .filter(|_| state == State::Quarantined)
            .map(|position| (position, position)),
    }
}
