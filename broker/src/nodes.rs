//! What happens to partitions when nodes come and go, and when leaders are chosen by hand.
//!
//! Every change is written down with the new leader epoch before anybody sees it. Then the epoch is told to the logs, so
//! that a request of the old leader that is still on its way is refused and not mixed in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use heliostat_wire::ErrorCode;
use tracing::{info, warn};

use crate::{
    api_error::ApiError,
    broker::Broker,
    log::Log,
    state::{
        Change, Image, Partition, Topic,
        partition::{NO_LEADER, NotElected, Rules},
    },
};

/// Whom to elect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Election {
    /// The first replica.
    Preferred,
    /// Whoever is up, where nobody leads.
    Unclean,
    /// This node.
    Node(i32),
}

impl Broker {
    /// Says which nodes are up, and lets leaders and in-sync replicas follow.
    pub(crate) async fn set_live(&self, live: BTreeSet<i32>) -> Result<(), ApiError> {
        let mut change = self.state().begin().await;
        change.set_live(live.clone(), false);
        let topics: Vec<_> = change.image().topics().cloned().collect();
        let mut moves = Moves::default();
        for topic in topics {
            self.alter(&mut moves, &live, &topic, |_, partition, rules| {
                partition.settle(rules);
            });
        }
        info!(
            ?live,
            topics = moves.topics.len(),
            "the nodes that are up have changed"
        );
        self.commit_moves(change, moves).await
    }

    /// Elects leaders. One result for each of the partitions, in their order.
    pub(crate) async fn elect(
        &self,
        partitions: &[(String, i32)],
        election: Election,
    ) -> Result<Vec<Result<(), ApiError>>, ApiError> {
        let asked = partitions.iter().map(|(name, index)| (name.as_str(), *index, ()));
        self.alter_partitions(asked.collect(), |(), partition, rules| {
            elect(partition, election, rules).map_err(|error| not_elected(error, election))
        })
        .await
    }

    /// Changes partitions, all at once: one result for each, in their order. What one of them is asked for more than once
    /// comes one after the other.
    pub(crate) async fn alter_partitions<A>(
        &self,
        asked: Vec<(&str, i32, A)>,
        mut alter: impl FnMut(A, &mut Partition, &Rules<'_>) -> Result<(), ApiError>,
    ) -> Result<Vec<Result<(), ApiError>>, ApiError> {
        let mut outcomes = Vec::with_capacity(asked.len());
        // A topic is gone through once, however many of its partitions are asked for: nobody else can change anything
        // meanwhile.
        let mut topics = BTreeMap::<&str, BTreeMap<i32, Vec<(usize, A)>>>::new();
        for (name, index, what) in asked {
            let of_topic = topics.entry(name).or_default();
            of_topic.entry(index).or_default().push((outcomes.len(), what));
            outcomes.push(Err(no_partition(name, index)));
        }
        let change = self.state().begin().await;
        let live = change.image().live().clone();
        let mut moves = Moves::default();
        for (name, mut of_topic) in topics {
            let Some(topic) = change.image().topic(name).cloned() else {
                continue;
            };
            self.alter(&mut moves, &live, &topic, |at, partition, rules| {
                for (outcome, what) in of_topic.remove(&at).into_iter().flatten() {
                    outcomes[outcome] = alter(what, partition, rules);
                }
            });
        }
        self.commit_moves(change, moves).await?;
        Ok(outcomes)
    }

    /// Gives coordinators back to the nodes that had them at first, as an election of preferred leaders does to the
    /// partitions of Kafka's internal topics.
    pub(crate) async fn elect_preferred_coordinators(&self) -> Result<(), ApiError> {
        let mut change = self.state().begin().await;
        let live = change.image().live().clone();
        change.set_live(live, true);
        change.commit().await?;
        Ok(())
    }

    /// Changes one partition.
    pub(crate) async fn alter_partition<E>(
        &self,
        name: &str,
        index: i32,
        alter: impl FnOnce(&mut Partition, &Rules<'_>) -> Result<(), E>,
    ) -> Result<Result<(), E>, ApiError> {
        let mut change = self.state().begin().await;
        let live = change.image().live().clone();
        let topic = change.image().topic(name).cloned();
        let topic = topic.filter(|topic| topic.partition(index).is_some());
        let topic = topic.ok_or_else(|| no_partition(name, index))?;
        let (mut moves, mut alter, mut outcome) = (Moves::default(), Some(alter), Ok(()));
        self.alter(&mut moves, &live, &topic, |at, partition, rules| {
            if let Some(alter) = alter.take_if(|_| at == index) {
                outcome = alter(partition, rules);
            }
        });
        moves.note(&mut change);
        self.commit_moves(change, moves).await?;
        Ok(outcome)
    }

    /// Changes the partitions of one topic, and collects it if any of them is another now.
    fn alter(
        &self,
        moves: &mut Moves,
        live: &BTreeSet<i32>,
        topic: &Arc<Topic>,
        mut alter: impl FnMut(i32, &mut Partition, &Rules<'_>),
    ) {
        let mut altered = Topic::clone(topic);
        for (index, partition) in (0..).zip(&mut altered.partitions) {
            let log = self.storage().log(topic, index);
            let config = log.as_ref().map(|log| log.config()).unwrap_or_default();
            let rules = Rules {
                live,
                min_isr: usize::try_from(config.min_insync_replicas).unwrap_or(1),
                unclean: config.unclean_leader_election,
            };
            let elections = partition.elections;
            alter(index, partition, &rules);
            if partition.elections != elections
                && partition.leader != NO_LEADER
                && let Some(log) = log
            {
                moves.fenced.push((log, topic.name.clone(), index));
            }
        }
        if altered != **topic {
            moves.topics.push(altered);
        }
    }

    /// Writes the changes down, and then tells the logs of the new leaders.
    async fn commit_moves(&self, mut change: Change, mut moves: Moves) -> Result<(), ApiError> {
        moves.note(&mut change);
        let (image, _held) = change.commit_and_hold().await?;
        let told = tokio::task::spawn_blocking(move || {
            for (log, topic, index) in moves.fenced {
                begin_epoch(&image, &log, &topic, index);
            }
        });
        if let Err(error) = told.await {
            warn!(%error, "telling the logs of new leaders was interrupted");
        }
        Ok(())
    }
}

/// Changed topics, and the logs that have a new leader.
#[derive(Debug, Default)]
struct Moves {
    topics: Vec<Topic>,
    fenced: Vec<(Arc<Log>, String, i32)>,
}

impl Moves {
    fn note(&mut self, change: &mut Change) {
        for topic in self.topics.drain(..) {
            change.move_topic(topic);
        }
    }
}

fn begin_epoch(image: &Image, log: &Log, topic: &str, index: i32) {
    let Some(topic) = image.topic(topic) else {
        return;
    };
    // What cannot be written here is tried again by the first append.
    if let Err(error) = log.assign_epoch(image.leader_epoch(topic, index)) {
        warn!(%error, topic = topic.name, partition = index, "a leader epoch is not written down yet");
    }
}

fn elect(partition: &mut Partition, election: Election, rules: &Rules<'_>) -> Result<(), NotElected> {
    match election {
        Election::Unclean => partition.elect_unclean(rules),
        Election::Node(node) => partition.elect(node, rules),
        Election::Preferred => {
            let preferred = partition.replicas.first().copied().unwrap_or(NO_LEADER);
            partition.elect(preferred, rules)
        }
    }
}

fn not_elected(error: NotElected, election: Election) -> ApiError {
    match (error, election) {
        (NotElected::NotNeeded, _) => ApiError::new(
            ErrorCode::ElectionNotNeeded,
            "the leader is the right one already",
        ),
        (NotElected::NotAvailable, Election::Preferred) => ApiError::new(
            ErrorCode::PreferredLeaderNotAvailable,
            "the preferred leader is down or not in sync",
        ),
        (NotElected::NotAvailable, Election::Node(node)) => ApiError::new(
            ErrorCode::EligibleLeadersNotAvailable,
            format!("broker {node} is down, not in sync, or no replica of the partition"),
        ),
        (NotElected::NotAvailable, Election::Unclean) => ApiError::new(
            ErrorCode::EligibleLeadersNotAvailable,
            "no replica of the partition is up",
        ),
    }
}

fn no_partition(topic: &str, index: i32) -> ApiError {
    /// No name of a topic is longer, and one that is may be asked for with very many indexes.
    const NAME_CHARS_MAX: usize = 249;
    let topic: String = topic.chars().take(NAME_CHARS_MAX).collect();
    ApiError::new(
        ErrorCode::UnknownTopicOrPartition,
        format!("there is no partition {index} of a topic {topic:?}"),
    )
}
