//! Groups of the consumer protocol under whatever members do: they join, are slow, lose answers, leave, crash, come back.
//!
//! The members here behave as real ones do: they read what they are told to at once, and go on reading what they are to
//! give up until they say that they have given it up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heliostat_wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use heliostat_wire::{ErrorCode, Uuid};
use proptest::prelude::*;

use super::assignment::Assignment;
use super::group::{Change, ConsumerGroup};
use super::heartbeat::{Circumstances, Outcome, Refusal};
use super::member::{AWAY, JOINING, LEAVING};
use super::record::records;
use crate::group::config::GroupConfig;
use crate::group::member::Client;
use crate::group::record::{Entry, decode};
use crate::state::{Image, Partition, Topic};

const SESSION_TIMEOUT_MS: i64 = 45_000;
const REBALANCE_TIMEOUT_MS: i32 = 20_000;

/// A consumer.
#[derive(Debug, Default)]
struct Consumer {
    instance: Option<String>,
    /// Counts its lives: each has an id of its own.
    life: u32,
    joined: bool,
    epoch: i32,
    topics: BTreeSet<String>,
    /// What it reads.
    reads: Assignment,
    /// What it was told last to read.
    told: Assignment,
    /// It has not seen its last answer, and says everything again.
    unsure: bool,
    /// It speaks the classic protocol, in the cooperative way.
    classic: bool,
}

struct World {
    group: ConsumerGroup,
    journal: BTreeMap<Vec<u8>, Vec<u8>>,
    image: Arc<Image>,
    /// The names of all topics that there ever were. No topic has the id of one that was deleted.
    made: BTreeMap<Uuid, String>,
    disk_fine: bool,
    now: i64,
    consumers: Vec<Consumer>,
}

mod classic;

#[derive(Debug, Clone)]
enum Step {
    Beat {
        who: usize,
        lost: bool,
    },
    Acknowledge {
        who: usize,
        lost: bool,
    },
    Subscribe {
        who: usize,
        topics: BTreeSet<u8>,
    },
    Leave {
        who: usize,
    },
    /// A static member goes away for a while; others leave.
    Away {
        who: usize,
    },
    Crash {
        who: usize,
    },
    Wait {
        ms: i64,
    },
    Topic {
        number: u8,
        partitions: i32,
    },
    Restart,
    Disk {
        fine: bool,
    },
}

fn name(number: u8) -> String {
    format!("t{number}")
}

/// Topics by their numbers, with their ids and how many partitions they have.
fn image(topics: &BTreeMap<u8, (Uuid, i32)>) -> Arc<Image> {
    let mut image = Image::default();
    for (&number, &(id, count)) in topics {
        image.insert(Topic {
            name: name(number),
            id,
            created_in: 0,
            partitions: (0..count).map(|_| Partition::new(vec![1])).collect(),
            configs: BTreeMap::new(),
        });
    }
    Arc::new(image)
}

impl Consumer {
    fn id(&self, index: usize) -> String {
        format!("{index}-{}", self.life)
    }

    /// It has lost its place in the group, and stops reading.
    fn lose_everything(&mut self) {
        let (instance, topics) = (self.instance.take(), std::mem::take(&mut self.topics));
        *self = Consumer {
            instance,
            topics,
            life: self.life,
            classic: self.classic,
            ..Consumer::default()
        };
    }
}

impl World {
    fn new() -> Self {
        let consumer = |index: usize| Consumer {
            // Half of them are static.
            instance: (index % 2 == 1).then(|| format!("i{index}")),
            topics: [name(0)].into(),
            classic: index >= 4,
            ..Consumer::default()
        };
        let mut world = Self {
            group: ConsumerGroup::new("g", GroupConfig::default()),
            journal: BTreeMap::new(),
            image: Arc::default(),
            made: BTreeMap::new(),
            disk_fine: true,
            now: 0,
            consumers: (0..6).map(consumer).collect(),
        };
        world.change_topic(0, 6);
        world.change_topic(1, 3);
        world
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Beat { who, lost } => self.beat(*who, false, *lost),
            Step::Acknowledge { who, lost } => self.beat(*who, true, *lost),
            Step::Subscribe { who, topics } => {
                self.consumers[*who].topics = topics.iter().map(|&number| name(number)).collect();
                self.consumers[*who].unsure = true;
                self.beat(*who, false, false);
            }
            Step::Leave { who } => self.leave(*who, LEAVING),
            Step::Away { who } => {
                let consumer = &mut self.consumers[*who];
                match (&consumer.instance, consumer.classic) {
                    // In the classic protocol nothing tells a static member that goes for a while from one that is silent.
                    (Some(_), true) => {
                        consumer.lose_everything();
                        consumer.life += 1;
                    }
                    (Some(_), false) => self.leave(*who, AWAY),
                    (None, _) => self.leave(*who, LEAVING),
                }
            }
            Step::Crash { who } => {
                self.consumers[*who].lose_everything();
                self.consumers[*who].life += 1;
            }
            Step::Wait { ms } => self.wait(*ms),
            Step::Topic { number, partitions } => self.change_topic(*number, *partitions),
            Step::Restart => self.restart(),
            Step::Disk { fine } => self.disk_fine = *fine,
        }
        self.check();
    }

    /// Makes a topic or gives it more partitions, or deletes it if it shall have none.
    fn change_topic(&mut self, number: u8, partitions: i32) {
        let mut topics: BTreeMap<u8, (Uuid, i32)> = BTreeMap::new();
        for topic in self.image.topics() {
            let count = topic.partitions.len() as i32;
            topics.insert(topic.name[1..].parse().unwrap(), (topic.id, count));
        }
        if partitions == 0 {
            topics.remove(&number);
        } else {
            let (_, count) = topics.entry(number).or_insert_with(|| {
                let id = Uuid::from_bytes((self.made.len() as u128 + 1).to_be_bytes());
                self.made.insert(id, name(number));
                (id, 0)
            });
            *count = partitions.max(*count);
        }
        self.image = image(&topics);
    }

    /// Makes the changes if the disk takes them.
    fn store(&mut self, changes: Vec<Change>) -> bool {
        if !self.disk_fine {
            return changes.is_empty();
        }
        let epoch = self.group.header.epoch;
        for change in changes {
            for (key, value) in records("g", &change) {
                match value {
                    Some(value) => self.journal.insert(key, value),
                    None => self.journal.remove(&key),
                };
            }
            self.group.apply(change, self.now);
        }
        assert!(self.group.header.epoch >= epoch, "the epoch goes back");
        assert!(self.group.header.assignment_epoch <= self.group.header.epoch);
        true
    }

    fn send(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let client = Client {
            id: "app".into(),
            host: "/127.0.0.1".into(),
        };
        let image = Arc::clone(&self.image);
        let Outcome { response, changes } = if request.member_epoch < JOINING {
            self.group.leave(request, &image)?
        } else {
            let with = Circumstances {
                client: &client,
                image: &image,
                heartbeat_interval_ms: 5000,
            };
            self.group.heartbeat(request, &with)?
        };
        if !self.store(changes) {
            return Err(Refusal::new(ErrorCode::CoordinatorNotAvailable, "not stored"));
        }
        if request.member_epoch >= JOINING {
            self.group.heard(&request.member_id, self.now, SESSION_TIMEOUT_MS);
        }
        Ok(response)
    }

    fn beat(&mut self, who: usize, acknowledges: bool, lost: bool) {
        let consumer = &mut self.consumers[who];
        if acknowledges {
            let told = consumer.told.clone();
            consumer.reads = consumer
                .reads
                .iter()
                .filter(|&(t, p)| told.contains(t, p))
                .collect();
        }
        if consumer.classic {
            return self.beat_classic(who, lost);
        }
        let full = !consumer.joined || consumer.unsure;
        let epoch = if consumer.joined { consumer.epoch } else { JOINING };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: consumer.id(who),
            member_epoch: epoch,
            instance_id: consumer.instance.clone(),
            rebalance_timeout_ms: if full { REBALANCE_TIMEOUT_MS } else { -1 },
            subscribed_topic_names: full.then(|| consumer.topics.iter().cloned().collect()),
            topic_partitions: (full || acknowledges).then(|| (&consumer.reads).into()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let outcome = self.send(&request);
        let consumer = &mut self.consumers[who];
        if lost {
            consumer.unsure = true;
            return;
        }
        match outcome {
            Ok(response) => {
                assert!(response.member_epoch >= epoch, "the member's epoch goes back");
                (consumer.joined, consumer.unsure, consumer.epoch) = (true, false, response.member_epoch);
                if let Some(assignment) = response.assignment {
                    let told = assignment.topic_partitions.iter();
                    consumer.told = told
                        .flat_map(|t| t.partitions.iter().map(|&p| (t.topic_id, p)))
                        .collect();
                    consumer.reads = consumer.reads.iter().chain(consumer.told.iter()).collect();
                }
            }
            Err(refusal) => match refusal.error {
                ErrorCode::CoordinatorNotAvailable => consumer.unsure = true,
                ErrorCode::FencedMemberEpoch
                | ErrorCode::UnknownMemberId
                | ErrorCode::UnreleasedInstanceId => {
                    consumer.lose_everything();
                }
                other => panic!("{other}: {}", refusal.message),
            },
        }
    }

    fn leave(&mut self, who: usize, epoch: i32) {
        let consumer = &self.consumers[who];
        if consumer.classic {
            return self.leave_classic(who);
        }
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: consumer.id(who),
            member_epoch: epoch,
            instance_id: consumer.instance.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if consumer.joined {
            // Whatever the answer: a consumer that leaves is gone.
            let _ = self.send(&request);
        }
        self.consumers[who].lose_everything();
        self.consumers[who].life += 1;
    }

    fn wait(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.group.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let overdue = self.group.overdue(self.now);
            // A consumer knows itself that its time is over: it stops reading without being told.
            for (index, consumer) in self.consumers.iter_mut().enumerate() {
                if overdue.contains(&consumer.id(index)) {
                    consumer.lose_everything();
                }
            }
            let image = Arc::clone(&self.image);
            let changes = self.group.without(overdue.iter().map(String::as_str), &image);
            if !self.store(changes) {
                self.group.postpone(self.now + 1000);
            }
        }
        self.now = until;
    }

    fn restart(&mut self) {
        let mut group = ConsumerGroup::new("g", GroupConfig::default());
        for (key, value) in &self.journal {
            match decode(key, value, &GroupConfig::default()) {
                Some(Entry::Consumer { change, .. }) => group.apply(change, self.now),
                other => panic!("{other:?} is no part of a group"),
            }
        }
        group.restored(self.now, SESSION_TIMEOUT_MS);
        assert_eq!(
            (&group.members, group.header),
            (&self.group.members, self.group.header)
        );
        for id in group.members.keys() {
            assert_eq!(group.target(id), self.group.target(id));
        }
        self.group = group;
    }

    /// Nobody reads what somebody else reads.
    fn check(&self) {
        let mut seen = BTreeMap::new();
        for (index, consumer) in self.consumers.iter().enumerate() {
            for partition in consumer.reads.iter() {
                if let Some(other) = seen.insert(partition, index) {
                    panic!("consumers {other} and {index} both read {partition:?}");
                }
            }
        }
    }

    /// Everybody behaves from now on: the group becomes stable, and everything is read.
    fn settle(&mut self) {
        self.disk_fine = true;
        // Sessions of those who are gone end; the others go on.
        for _ in 0..4 {
            (0..self.consumers.len()).for_each(|who| self.beat(who, true, false));
            self.wait(15_000);
        }
        for round in 0.. {
            (0..self.consumers.len()).for_each(|who| self.beat(who, true, false));
            self.check();
            let settled = self.group.state() == "Stable" && self.consumers.iter().all(|c| c.reads == c.told);
            if settled {
                break;
            }
            assert!(round < 40, "the group is {} after 40 rounds", self.group.state());
        }
        let wanted: BTreeSet<&String> = self.consumers.iter().flat_map(|c| &c.topics).collect();
        let topics = self.image.topics().filter(|topic| wanted.contains(&topic.name));
        let partitions: usize = topics.map(|topic| topic.partitions.len()).sum();
        let read: usize = self.consumers.iter().map(|c| c.reads.len()).sum();
        assert_eq!(read, partitions, "some partitions are read by nobody");
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = 0usize..6;
    prop_oneof![
        6 => (who.clone(), proptest::bool::weighted(0.1)).prop_map(|(who, lost)| Step::Beat { who, lost }),
        8 => (who.clone(), proptest::bool::weighted(0.1)).prop_map(|(who, lost)| Step::Acknowledge { who, lost }),
        1 => (who.clone(), proptest::collection::btree_set(0u8..3, 0..3))
            .prop_map(|(who, topics)| Step::Subscribe { who, topics }),
        1 => who.clone().prop_map(|who| Step::Leave { who }),
        2 => who.clone().prop_map(|who| Step::Away { who }),
        1 => who.prop_map(|who| Step::Crash { who }),
        2 => prop_oneof![Just(100), Just(6_000), Just(21_000), Just(46_000)].prop_map(|ms| Step::Wait { ms }),
        1 => (0u8..3, 0i32..9).prop_map(|(number, partitions)| Step::Topic { number, partitions }),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(|fine| Step::Disk { fine }),
    ]
}

proptest! {
    #[test]
    fn nothing_is_read_twice_and_everything_is_read_in_the_end(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
    }
}
