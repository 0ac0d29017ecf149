//! Waiting until appended batches are as durable as an acknowledgement promises.

use std::time::Duration;

use heliostat_wire::{
    ErrorCode,
    message::{ProduceResponse, produce::PartitionProduceResponse},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::log::{Log, Visible};

/// Watches a log from before an append on.
#[derive(Debug)]
pub(super) struct Watched {
    news: watch::Receiver<Visible>,
    truncations: u64,
}

/// A batch that is in the log, and not yet durable.
#[derive(Debug)]
pub(super) struct Awaited {
    watched: Watched,
    last_offset: i64,
}

/// Where in a response the batch's partition is: the topic's place, and the partition's.
pub(super) type Place = (usize, usize);

impl Watched {
    pub(super) fn new(log: &Log) -> Self {
        let news = log.watch();
        let truncations = news.borrow().truncations;
        Watched { news, truncations }
    }

    /// What there is to wait for after an append; `None` if nothing is.
    pub(super) fn appended(self, last_offset: i64) -> Option<Awaited> {
        let visible = *self.news.borrow();
        let durable = visible.high_watermark > last_offset && visible.truncations == self.truncations;
        (!durable).then_some(Awaited {
            watched: self,
            last_offset,
        })
    }
}

impl Awaited {
    /// Returns when the batch is durable, or why it is not.
    async fn settle(mut self, deadline: Instant) -> Result<(), ErrorCode> {
        let truncations = self.watched.truncations;
        let settled = self.watched.news.wait_for(|visible| {
            visible.high_watermark > self.last_offset
                || visible.failed
                || visible.closed
                || visible.truncations != truncations
        });
        let visible = match timeout_at(deadline, settled).await {
            Ok(Ok(visible)) => *visible,
            Ok(Err(_)) => return Err(ErrorCode::NotLeaderOrFollower),
            Err(_) => return Err(ErrorCode::RequestTimedOut),
        };
        // After a truncation the offset may stand for another record.
        if visible.truncations != truncations {
            return Err(ErrorCode::KafkaStorageError);
        }
        if visible.high_watermark > self.last_offset {
            return Ok(());
        }
        Err(if visible.failed {
            ErrorCode::KafkaStorageError
        } else {
            ErrorCode::NotLeaderOrFollower
        })
    }
}

/// The response, once every batch is durable or has failed to become so within the client's time.
pub(super) async fn settle(
    mut response: ProduceResponse,
    awaited: Vec<(Place, Awaited)>,
    timeout_ms: i32,
) -> ProduceResponse {
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    for ((topic, partition), one) in awaited {
        let Err(error) = one.settle(deadline).await else {
            continue;
        };
        let slot = response
            .responses
            .get_mut(topic)
            .and_then(|topic| topic.partition_responses.get_mut(partition));
        if let Some(slot) = slot {
            *slot = PartitionProduceResponse {
                index: slot.index,
                error_code: error.into(),
                error_message: Some("the records are in the log, and were not forced to disk".to_owned()),
                base_offset: -1,
                ..Default::default()
            };
        }
    }
    response
}
