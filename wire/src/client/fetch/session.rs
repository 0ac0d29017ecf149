//! A fetch session (KIP-227): what the broker remembers of what we want, so that only changes need to be said.

use std::{collections::HashMap, sync::Arc};

use super::wants::Item;
use crate::{
    Uuid,
    message::{
        FetchRequest, FetchResponse,
        fetch::{FetchPartition, FetchTopic, FetchableTopicResponse, ForgottenTopic},
    },
};

/// A session, or what is asked for without one.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// 0 as long as the broker has given none.
    id: i32,
    epoch: i32,
    /// Whether topics go by id. A session cannot mix both.
    by_id: bool,
    /// What the broker believes that we want.
    items: HashMap<u32, Item>,
    places: HashMap<Place, u32>,
}

/// A topic, as requests and answers name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Topic {
    Id(Uuid),
    Name(Arc<str>),
}

type Place = (Topic, i32);

/// The epoch of a request that wants no session.
const NO_SESSION: i32 = -1;

impl Session {
    /// What is asked for once.
    pub(super) fn aside(by_id: bool) -> Session {
        Session {
            epoch: NO_SESSION,
            by_id,
            ..Default::default()
        }
    }

    /// A session to begin.
    pub(super) fn begin(by_id: bool) -> Session {
        Session {
            by_id,
            ..Default::default()
        }
    }

    /// Whether everything has to be said.
    pub(super) fn is_new(&self) -> bool {
        self.id == 0
    }

    /// Whether topics go by id.
    pub(super) fn by_id(&self) -> bool {
        self.by_id
    }

    /// Puts into a request what these slots want now, where that differs from what the broker believes.
    pub(super) fn say(
        &mut self,
        changes: impl IntoIterator<Item = (u32, Option<Item>)>,
        partition_max_bytes: i32,
        request: &mut FetchRequest,
    ) {
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        let mut wanted = Grouped::default();
        let mut gone: Vec<Place> = Vec::new();
        for (slot, now) in changes {
            let before = self.items.get(&slot);
            if let (Some(before), Some(now)) = (before, &now)
                && before.number == now.number
                && before.leader_epoch == now.leader_epoch
                && before.topic_id == now.topic_id
            {
                continue;
            }
            let place_before = before.map(|item| self.place(item));
            let place_now = now.as_ref().map(|item| self.place(item));
            if let Some(place) = place_before
                && place_now.as_ref() != Some(&place)
            {
                // Another slot may have the partition by now.
                if self.places.get(&place) == Some(&slot) {
                    self.places.remove(&place);
                }
                gone.push(place);
            }
            self.items.remove(&slot);
            let (Some(item), Some(place)) = (now, place_now) else {
                continue;
            };
            wanted.add(place.0.clone(), partition(&item, partition_max_bytes));
            self.places.insert(place, slot);
            self.items.insert(slot, item);
        }
        // A broker forgets after it has added: what one slot no longer wants and another one does is not forgotten.
        let mut forgotten = Grouped::default();
        for place in gone.into_iter().filter(|place| !self.places.contains_key(place)) {
            forgotten.add(place.0, place.1);
        }
        request.topics = wanted.into_topics(|topic, topic_id, partitions| FetchTopic {
            topic,
            topic_id,
            partitions,
        });
        request.forgotten_topics_data = forgotten.into_topics(|topic, topic_id, partitions| ForgottenTopic {
            topic,
            topic_id,
            partitions,
        });
    }

    /// Takes note of an answer without an error: of the session that it is part of.
    pub(super) fn answered(&mut self, response: &FetchResponse) {
        if self.epoch == NO_SESSION {
            return;
        }
        if response.session_id <= 0 || (self.id != 0 && self.id != response.session_id) {
            // The broker has no place for a session, or the session has ended.
            (self.id, self.epoch) = (0, 0);
            return;
        }
        self.id = response.session_id;
        self.epoch = match self.epoch {
            i32::MAX => 1,
            epoch => epoch + 1,
        };
    }

    /// What was asked for that this is the answer to.
    pub(super) fn asked(&self, topic: &FetchableTopicResponse, partition: i32) -> Option<&Item> {
        let name = if self.by_id {
            Topic::Id(topic.topic_id)
        } else {
            Topic::Name(topic.topic.as_str().into())
        };
        self.items.get(self.places.get(&(name, partition))?)
    }

    /// How many partitions it has.
    pub(super) fn len(&self) -> u32 {
        self.items.len().try_into().unwrap_or(u32::MAX)
    }

    /// All that the answer may be about.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    fn place(&self, item: &Item) -> Place {
        let topic = match item.topic_id {
            Some(id) if self.by_id => Topic::Id(id),
            _ => Topic::Name(item.wish.topic.clone()),
        };
        (topic, item.wish.partition)
    }
}

fn partition(item: &Item, partition_max_bytes: i32) -> FetchPartition {
    FetchPartition {
        partition: item.wish.partition,
        current_leader_epoch: item.leader_epoch,
        fetch_offset: item.wish.offset,
        last_fetched_epoch: item.wish.last_epoch,
        partition_max_bytes,
        ..Default::default()
    }
}

/// Things of partitions, by topic, in the order in which the topics came.
struct Grouped<T> {
    places: HashMap<Topic, usize>,
    topics: Vec<(Topic, Vec<T>)>,
}

impl<T> Default for Grouped<T> {
    fn default() -> Self {
        Grouped {
            places: HashMap::new(),
            topics: Vec::new(),
        }
    }
}

impl<T> Grouped<T> {
    fn add(&mut self, topic: Topic, thing: T) {
        let place = *self.places.entry(topic.clone()).or_insert_with(|| {
            self.topics.push((topic, Vec::new()));
            self.topics.len() - 1
        });
        self.topics[place].1.push(thing);
    }

    fn into_topics<M>(self, make: impl Fn(String, Uuid, Vec<T>) -> M) -> Vec<M> {
        let topics = self.topics.into_iter();
        topics
            .map(|(topic, things)| match topic {
                Topic::Id(id) => make(String::new(), id, things),
                Topic::Name(name) => make(name.to_string(), Uuid::ZERO, things),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::wants::Wish;
    use super::*;

    fn item(slot: u32) -> Item {
        let wish = Wish {
            topic: "orders".into(),
            partition: 3,
            offset: 7,
            last_epoch: -1,
        };
        Item {
            slot,
            number: u64::from(slot),
            wish,
            topic_id: None,
            leader_epoch: 1,
        }
    }

    fn say(session: &mut Session, changes: Vec<(u32, Option<Item>)>) -> (usize, usize) {
        let mut request = FetchRequest::default();
        session.say(changes, 1, &mut request);
        (request.topics.len(), request.forgotten_topics_data.len())
    }

    #[test]
    fn a_partition_that_goes_from_one_slot_to_another_is_not_forgotten() {
        for turn in 0..2 {
            let mut session = Session::begin(false);
            assert_eq!(say(&mut session, vec![(1, Some(item(1)))]), (1, 0));
            let mut changes = vec![(1, None), (2, Some(item(2)))];
            changes.rotate_left(turn);
            assert_eq!(say(&mut session, changes), (1, 0));
            let topic = FetchableTopicResponse {
                topic: "orders".to_owned(),
                ..Default::default()
            };
            assert_eq!(session.asked(&topic, 3).map(|item| item.slot), Some(2));
            assert_eq!(say(&mut session, vec![(2, None)]), (0, 1));
        }
    }
}
