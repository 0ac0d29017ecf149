//! What a broker says of the partitions of a request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Data, FetchFailure, Fetched, Inner, LogEnds,
    session::Session,
    wants::{Item, Step, Wants},
};
use crate::{
    ErrorCode, Payload,
    client::Error,
    message::{FetchResponse, fetch::PartitionData},
};

/// What comes of one partition of an answer.
pub(super) enum Verdict {
    /// Nothing that anybody has to know.
    Nothing,
    /// News, and the question stays open.
    News(Data),
    /// Records.
    Records(Data),
    /// An error to report.
    Failed(Error, Option<(i32, i64)>),
    /// Another leader has to be found.
    Lost,
}

/// What came of an answer.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) fetched: Vec<Fetched>,
    /// Slots that got records.
    pub(super) served: Vec<u32>,
    steps: Vec<(u32, Step)>,
}

impl Outcome {
    /// Looks for the leaders that are to be found, and hands over the rest.
    pub(super) async fn hand_over(self, inner: &Arc<Inner>) -> bool {
        for (slot, step) in self.steps {
            inner.follow(slot, step);
        }
        inner.hand_over(self.fetched).await
    }
}

/// Reads an answer to what a session asked for.
pub(super) fn read(inner: &Inner, session: &Session, response: FetchResponse) -> Outcome {
    for node in &response.node_endpoints {
        inner.client.note_endpoint(node.node_id, &node.host, node.port);
    }
    let patience = inner.client.config().request_timeout;
    let mut outcome = Outcome::default();
    let mut wants = inner.wants();
    for mut topic in response.responses {
        for data in std::mem::take(&mut topic.partitions) {
            let Some(asked) = session.asked(&topic, data.partition_index) else {
                continue;
            };
            let leader = (data.current_leader.leader_id, data.current_leader.leader_epoch);
            let verdict = judge(&mut wants, asked, data, patience);
            if matches!(verdict, Verdict::Lost) {
                lost(inner, asked, leader);
            }
            apply(&mut wants, asked, verdict, &mut outcome);
        }
    }
    outcome
}

/// Nothing came of a request: all that it asked for is asked again, elsewhere if need be, as long as there is patience.
pub(super) fn fail<'a>(inner: &Inner, items: impl Iterator<Item = &'a Item>, error: &Error) -> Outcome {
    let patience = inner.client.config().request_timeout;
    let mut outcome = Outcome::default();
    let mut wants = inner.wants();
    for item in items {
        let Some(want) = wants.open(item.slot, item.number) else {
            continue;
        };
        let verdict = if may_pass(error) && want.may_pass(patience) {
            lost(inner, item, (-1, -1));
            Verdict::Lost
        } else {
            Verdict::Failed(error.clone(), None)
        };
        apply(&mut wants, item, verdict, &mut outcome);
    }
    outcome
}

/// A broken answer costs its connection, and the next one may be whole.
fn may_pass(error: &Error) -> bool {
    error.is_retriable() || matches!(error, Error::Protocol { .. } | Error::Nonsense { .. })
}

/// The leader of a partition is not where it was believed to be.
pub(super) fn lost(inner: &Inner, item: &Item, (leader, epoch): (i32, i32)) {
    let (topic, partition) = (&item.wish.topic, item.wish.partition);
    if leader >= 0 && epoch > item.leader_epoch {
        inner.client.note_leader(topic, partition, leader, epoch);
    }
    // Does nothing if a newer one is known by now.
    inner.client.stale_leader(topic, partition, item.leader_epoch);
}

pub(super) fn apply(wants: &mut Wants, asked: &Item, verdict: Verdict, outcome: &mut Outcome) {
    let slot = asked.slot;
    let fetched = |result| Fetched {
        slot,
        at: asked.wish.offset,
        leader_epoch: asked.leader_epoch,
        result,
    };
    match verdict {
        Verdict::Nothing => {}
        Verdict::News(data) => outcome.fetched.push(fetched(Ok(data))),
        Verdict::Records(data) => {
            wants.settle(slot);
            outcome.served.push(slot);
            outcome.fetched.push(fetched(Ok(data)));
        }
        Verdict::Failed(error, diverging) => {
            wants.settle(slot);
            outcome
                .fetched
                .push(fetched(Err(FetchFailure { error, diverging })));
        }
        Verdict::Lost => outcome.steps.push((slot, wants.lose(slot))),
    }
}

fn judge(wants: &mut Wants, asked: &Item, data: PartitionData, patience: Duration) -> Verdict {
    let Some(want) = wants.open(asked.slot, asked.number) else {
        return Verdict::Nothing;
    };
    let (topic, partition) = (&asked.wish.topic, asked.wish.partition);
    let refused = |code| Error::Broker {
        code,
        what: format!(
            "asked for partition {partition} of topic {topic} from offset {}",
            asked.wish.offset
        ),
    };
    match ErrorCode::from_code(data.error_code) {
        ErrorCode::None => {}
        code @ (ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::InconsistentTopicId) => {
            // The topic may be new to the node, or have another id by now: that is looked into once.
            return if want.ask_again() {
                Verdict::Lost
            } else {
                Verdict::Failed(refused(code), None)
            };
        }
        // A log that is broken on disk stays so.
        code if code.is_retriable() && code != ErrorCode::CorruptMessage && want.may_pass(patience) => {
            return Verdict::Lost;
        }
        code => return Verdict::Failed(refused(code), None),
    }
    let diverging = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
    if diverging.1 >= 0 {
        let error = Error::Diverging {
            topic: topic.to_string(),
            partition,
            epoch: diverging.0,
            end_offset: diverging.1,
        };
        return Verdict::Failed(error, Some(diverging));
    }
    let is_news = want.is_news(LogEnds {
        high_watermark: data.high_watermark,
        last_stable_offset: data.last_stable_offset,
        log_start_offset: data.log_start_offset,
    });
    let records = match data.records {
        Payload::Memory(records) => records,
        Payload::File(_) => Bytes::new(),
    };
    let aborted = data.aborted_transactions.into_iter().flatten();
    let told = Data {
        high_watermark: data.high_watermark,
        last_stable_offset: data.last_stable_offset,
        log_start_offset: data.log_start_offset,
        aborted: aborted
            .map(|aborted| (aborted.producer_id, aborted.first_offset))
            .collect(),
        records,
    };
    match (told.records.is_empty(), is_news) {
        (false, _) => Verdict::Records(told),
        (true, true) => Verdict::News(told),
        (true, false) => Verdict::Nothing,
    }
}
