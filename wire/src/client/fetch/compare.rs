//! Whether a leader has the log that was read, where its answers to Fetch do not say so: before version 12 (Kafka 2.7, KIP-595).
//!
//! A log that was cut back in an unclean election and has grown again beyond the place where a reader goes on looks as if
//! nothing had happened. Each new leader is asked, before it is read, where the last epoch ended that was read (KIP-101, KIP-320).

use std::{collections::HashMap, sync::Arc};

use super::{
    Inner,
    answer::{self, Outcome, Verdict},
    wants::Item,
};
use crate::{
    ErrorCode,
    client::{Connection, Error},
    message::{
        ApiKey, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch::{EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
};

/// The first version of Fetch in which a leader compares by itself.
const FIRST_VERSION_THAT_COMPARES: i16 = 12;

/// A consumer asks.
const CONSUMER: i32 = -1;

/// Compares what is to be read of a node with its logs, where that is due. `false` if nobody wants to read any more.
pub(super) async fn compare(inner: &Arc<Inner>, node: i32, connection: &Connection) -> bool {
    let newest = connection.supports(ApiKey::Fetch).map_or(0, |(_, to)| to);
    if newest >= FIRST_VERSION_THAT_COMPARES {
        return true;
    }
    let items = inner.wants().not_compared(node);
    if items.is_empty() {
        return true;
    }
    let outcome = match connection.send(request(&items)).await {
        Ok(response) => read(inner, &items, response),
        // Kafka before 2.1 has no version of this that we speak.
        Err(Error::Unsupported { .. }) => read(inner, &items, OffsetForLeaderEpochResponse::default()),
        Err(error) => answer::fail(inner, items.iter(), &error),
    };
    outcome.hand_over(inner).await
}

fn request(items: &[Item]) -> OffsetForLeaderEpochRequest {
    let mut topics: HashMap<&str, Vec<OffsetForLeaderPartition>> = HashMap::new();
    for item in items {
        let partitions = topics.entry(&item.wish.topic).or_default();
        partitions.push(OffsetForLeaderPartition {
            partition: item.wish.partition,
            // One that was leader before must not answer for the one that is.
            current_leader_epoch: item.leader_epoch,
            leader_epoch: item.wish.last_epoch,
        });
    }
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| OffsetForLeaderTopic {
            topic: topic.to_owned(),
            partitions,
        });
    OffsetForLeaderEpochRequest {
        replica_id: CONSUMER,
        topics: topics.collect(),
    }
}

fn read(inner: &Inner, items: &[Item], response: OffsetForLeaderEpochResponse) -> Outcome {
    let mut told: HashMap<(String, i32), EpochEndOffset> = HashMap::new();
    for topic in response.topics {
        for partition in topic.partitions {
            told.insert((topic.topic.clone(), partition.partition), partition);
        }
    }
    let patience = inner.client.config().request_timeout;
    let mut outcome = Outcome::default();
    let mut wants = inner.wants();
    for item in items {
        let Some(want) = wants.open(item.slot, item.number) else {
            continue;
        };
        let told = told.get(&(item.wish.topic.to_string(), item.wish.partition));
        let verdict = match judge(item, told) {
            Answer::Same => {
                want.compared();
                continue;
            }
            Answer::Other(error, end) => Verdict::Failed(error, Some(end)),
            Answer::Failed(error) if want.may_pass(patience) => {
                tracing::debug!(slot = item.slot, "cannot compare logs: {error}");
                answer::lost(inner, item, (-1, -1));
                Verdict::Lost
            }
            Answer::Failed(error) => Verdict::Failed(error, None),
        };
        answer::apply(&mut wants, item, verdict, &mut outcome);
    }
    outcome
}

/// What a leader says of its log.
#[derive(Debug)]
enum Answer {
    /// It is the one that was read, as far as it can tell.
    Same,
    /// It is another one from this epoch's end on.
    Other(Error, (i32, i64)),
    /// It may be able to tell later, or another node is.
    Failed(Error),
}

fn judge(item: &Item, told: Option<&EpochEndOffset>) -> Answer {
    let (topic, partition) = (&item.wish.topic, item.wish.partition);
    let Some(told) = told else {
        return Answer::Same;
    };
    match ErrorCode::from_code(told.error_code) {
        ErrorCode::None => {}
        code if code.is_retriable() => {
            let what = format!("asked for the end of an epoch of partition {partition} of topic {topic}");
            return Answer::Failed(Error::Broker { code, what });
        }
        // Brokers before Kafka 2.3 let only those ask who may do everything with the cluster.
        _ => return Answer::Same,
    }
    // A log that knows nothing of epochs, as one in an old format, says -1.
    let is_cut = told.end_offset >= 0 && told.end_offset < item.wish.offset;
    let is_of_other =
        told.end_offset >= 0 && told.leader_epoch >= 0 && told.leader_epoch < item.wish.last_epoch;
    if !is_cut && !is_of_other {
        return Answer::Same;
    }
    let error = Error::Diverging {
        topic: topic.to_string(),
        partition,
        epoch: told.leader_epoch,
        end_offset: told.end_offset,
    };
    Answer::Other(error, (told.leader_epoch, told.end_offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fetch::wants::Wish;

    /// What becomes of a reader at offset 150, who has read epoch 4 last.
    fn of(error_code: i16, leader_epoch: i32, end_offset: i64) -> Answer {
        let wish = Wish {
            topic: Arc::from("orders"),
            partition: 0,
            offset: 150,
            last_epoch: 4,
        };
        let item = Item {
            slot: 1,
            number: 1,
            wish,
            topic_id: None,
            leader_epoch: 5,
        };
        let told = EpochEndOffset {
            error_code,
            partition: 0,
            leader_epoch,
            end_offset,
        };
        judge(&item, Some(&told))
    }

    #[test]
    fn a_log_that_goes_on_is_the_same_and_one_that_ended_before_is_another() {
        assert!(matches!(of(0, 4, 150), Answer::Same));
        assert!(matches!(of(0, 4, 900), Answer::Same));
        assert!(matches!(of(0, 4, 120), Answer::Other(_, (4, 120))));
        assert!(matches!(of(0, 3, 120), Answer::Other(_, (3, 120))));
        assert!(matches!(of(0, -1, 120), Answer::Other(_, (-1, 120))));
        assert!(matches!(of(0, -1, 150), Answer::Same));
    }

    #[test]
    fn who_cannot_tell_is_believed_and_who_does_not_lead_is_not() {
        assert!(matches!(of(0, -1, -1), Answer::Same));
        assert!(matches!(
            of(ErrorCode::ClusterAuthorizationFailed.code(), -1, -1),
            Answer::Same
        ));
        assert!(matches!(
            of(ErrorCode::FencedLeaderEpoch.code(), -1, -1),
            Answer::Failed(_)
        ));
        assert!(matches!(
            of(ErrorCode::NotLeaderOrFollower.code(), -1, -1),
            Answer::Failed(_)
        ));
    }
}
