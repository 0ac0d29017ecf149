//! Topics that are not mirrored any more: deleted on the source, or left out from now on.

use super::View;
use crate::observe::events::{Event, EventKind};
use crate::observe::status::DeletedTopic;

/// So many deleted topics are remembered, the last ones: somebody who deletes more of them at once knows of it.
const DELETED_KEPT: usize = 100;

impl View {
    /// A topic is not on the source any more. Its mirror is kept, and it takes no part in the flow's state: nothing of it is missing that
    /// could be copied.
    pub fn topic_deleted(&self, topic: &str, now_ms: i64) {
        let Some(deleted) = self.forget(topic, now_ms) else {
            return;
        };
        let (source, target_topic) = (&self.flow.source, &deleted.target_topic);
        let without = match deleted.missing {
            0 => String::new(),
            missing => format!(", without {missing} source offsets that were not copied yet"),
        };
        let reason = format!("deleted on {source}; its mirror {target_topic} is kept{without}");
        {
            let mut inner = self.lock();
            inner.deleted.retain(|known| known.topic != topic);
            inner.deleted.push(deleted);
            if inner.deleted.len() > DELETED_KEPT {
                inner.deleted.remove(0);
            }
        }
        self.event(Event {
            at_ms: now_ms,
            topic: Some(topic.to_string()),
            kind: EventKind::Deleted,
            reason: Some(reason),
            ..Event::default()
        });
    }

    /// A topic is left out from now on, for the reason that the status gives of it.
    pub fn topic_left_out(&self, topic: &str, now_ms: i64) {
        drop(self.forget(topic, now_ms));
    }

    /// A topic is mirrored.
    pub fn topic_is_there(&self, topic: &str) {
        self.lock().deleted.retain(|deleted| deleted.topic != topic);
    }

    /// Takes out the partitions of a topic; what was done of them goes on being counted. Returns what is to be said of it.
    fn forget(&self, topic: &str, now_ms: i64) -> Option<DeletedTopic> {
        let mut inner = self.lock();
        let of_it = |(name, _): &&(String, i32)| name == topic;
        let keys: Vec<(String, i32)> = inner.partitions.keys().filter(of_it).cloned().collect();
        let mut deleted = None;
        for key in keys {
            let Some(partition) = inner.partitions.remove(&key) else {
                continue;
            };
            inner.before += partition.totals();
            let entry = deleted.get_or_insert_with(|| DeletedTopic {
                topic: topic.to_string(),
                target_topic: partition.target_topic.clone(),
                at_ms: now_ms,
                missing: 0,
            });
            entry.missing += partition.lag(now_ms).records;
        }
        deleted
    }
}
