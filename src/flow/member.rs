//! Membership in the group on the target that says which daemon copies which partition.
//!
//! The members subscribe to the mirror topics and are assigned their partitions, which they never read: being assigned `primary.orders`-3 means
//! copying `orders`-3. Kafka's group coordinator is the scheduler. It decides who should copy; it is not what makes copying safe.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc::UnboundedSender;

use crate::cluster::Cluster;

/// How long a partition that has to be given up may take for what is on its way. The group waits for it.
pub const RELEASE_DEADLINE: Duration = Duration::from_secs(5);

/// How often the member asks by itself what the mirror topics are. It goes through all of them for each of them then; what discovery has found is
/// asked for before that.
const REFRESH: Duration = Duration::from_secs(30);

/// What a subscription names the client asks for by itself. What has come of that is looked at after this time: an answer tells all topics of the
/// cluster, and brokers that have just made thousands of partitions have enough to do.
const ASK_FIRST: Duration = Duration::from_secs(2);

/// A broker may not have heard yet of what another one has told: it is asked again after this time, so many times.
const ASK_AGAIN: Duration = Duration::from_millis(500);
const ASKED_TIMES: u32 = 20;

/// How long one question may take. The group waits for nothing meanwhile: its heartbeats are sent by another thread.
const ASKING: Duration = Duration::from_secs(2);

/// How long the question may take that lets the client join again at once.
const HURRY: Duration = Duration::from_millis(500);

/// How often the thread looks whether the subscription has changed.
const TICK: Duration = Duration::from_millis(200);

/// A partition of a mirror topic.
pub type MirrorPartition = (String, i32);

/// What the group says.
pub enum MemberEvent {
    /// These partitions are this daemon's from now on, besides those that it has.
    Assigned(Vec<MirrorPartition>),
    /// These are not any more. The group waits until the sender is dropped, or for [`RELEASE_DEADLINE`].
    Revoked(Vec<MirrorPartition>, mpsc::Sender<()>),
    /// The group does not work for now.
    Error(String),
    /// The group does not take this daemon, and will not before something is changed.
    Refused(String),
}

/// What went wrong, as the supervisor should hear of it.
fn refused(error: KafkaError) -> MemberEvent {
    let cure = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::InvalidSessionTimeout) => {
            "set session_timeout to what the target's brokers allow (group.min.session.timeout.ms, 6s by default, to group.max.session.timeout.ms)"
        }
        Some(RDKafkaErrorCode::GroupAuthorizationFailed) => "allow this user to read the group",
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "allow this user to read the mirror topics",
        Some(RDKafkaErrorCode::InconsistentGroupProtocol) => {
            "something else than Heliostat is in this group: end it, or give it another group"
        }
        Some(RDKafkaErrorCode::GroupMaxSizeReached) => "raise group.max.size on the target",
        _ => return MemberEvent::Error(error.to_string()),
    };
    MemberEvent::Refused(format!("{error}: {cure}"))
}

/// A member of the group. Dropping it leaves the group.
pub struct Member {
    commands: mpsc::Sender<Vec<(String, usize)>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Context {
    events: UnboundedSender<MemberEvent>,
    /// The group has decided something, and may be about to decide again.
    has_decided: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, _: &str, line: &str) {
        tracing::debug!(target: "librdkafka", "{line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ConsumerContext for Context {
    /// What the group says goes to the supervisor. The client itself is given none of the partitions: their records are not wanted here, and it would
    /// look at each of a thousand topics every second. What the group has assigned it remembers apart from that.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.has_decided.store(true, Ordering::Relaxed);
        let nothing = TopicPartitionList::new();
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let done = consumer.incremental_assign(&nothing);
                let _ = self.events.send(MemberEvent::Assigned(partitions(list)));
                done
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                let (done, released) = mpsc::channel();
                let _ = self.events.send(MemberEvent::Revoked(partitions(list), done));
                // Nothing is ever sent: the channel closes when the partitions are released.
                let _ = released.recv_timeout(RELEASE_DEADLINE);
                consumer.incremental_unassign(&nothing)
            }
            error => {
                let _ = self.events.send(refused(KafkaError::Rebalance(error.into())));
                consumer.incremental_unassign(&nothing)
            }
        };
        if let Err(error) = done {
            tracing::debug!("cannot answer the group's assignment: {error}");
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<MirrorPartition> {
    list.elements()
        .iter()
        .map(|element| (element.topic().to_string(), element.partition()))
        .collect()
}

/// How often a member tells the group that it lives, and hears whether work has moved: a planned hand-over takes that long.
pub fn heartbeat_interval(session_timeout: Duration) -> Duration {
    (session_timeout / 4).clamp(Duration::from_millis(200), Duration::from_millis(500))
}

/// The group of the daemons that mirror from the cluster called `source`.
pub fn group_id(source: &str) -> String {
    format!("heliostat.{source}")
}

impl Member {
    /// Join the group `group` on `target`, once there is something to subscribe to.
    pub fn join(
        target: &Cluster,
        client_id: &str,
        group: &str,
        session_timeout: Duration,
        events: UnboundedSender<MemberEvent>,
    ) -> KafkaResult<Member> {
        let mut config = target.client_config(client_id);
        config.set("group.id", group);
        config.set("session.timeout.ms", session_timeout.as_millis().to_string());
        let heartbeat = heartbeat_interval(session_timeout).as_millis();
        config.set("heartbeat.interval.ms", heartbeat.to_string());
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("enable.auto.commit", "false");
        config.set(
            "topic.metadata.refresh.interval.ms",
            REFRESH.as_millis().to_string(),
        );
        let consumer = BaseConsumer::from_config_and_context(
            &config,
            Context {
                events,
                has_decided: AtomicBool::default(),
            },
        )?;
        let (commands, inbox) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let for_thread = stop.clone();
        let thread = std::thread::Builder::new()
            .name("member".into())
            .spawn(move || serve(&consumer, &inbox, &for_thread))
            .map_err(|error| KafkaError::ClientCreation(format!("cannot start a thread: {error}")))?;
        Ok(Member {
            commands,
            stop,
            thread: Some(thread),
        })
    }

    /// Share the work on these mirror topics, each with so many partitions, instead of those that were named before. With none the group is left; it is
    /// joined again with the next ones.
    pub fn subscribe(&self, topics: Vec<(String, usize)>) {
        let _ = self.commands.send(topics);
    }
}

/// What the group's client has not heard of yet.
struct Unheard {
    topics: HashMap<String, usize>,
    again_at: Instant,
    times: u32,
}

impl Unheard {
    /// Of what is subscribed now, where `before` was until now, and `left` was not heard of. A new topic is asked for by subscribing to it; that
    /// another one has grown has to be asked for.
    fn of(topics: &[(String, usize)], before: &HashMap<String, usize>, left: Option<Unheard>) -> Unheard {
        let has_grown = |(topic, count): &(String, usize)| before.get(topic).is_some_and(|then| then < count);
        let now = Instant::now();
        let again_at = match (topics.iter().any(has_grown), left) {
            (true, _) => now,
            // What has grown before is not forgotten for what comes now.
            (false, Some(left)) if left.times > 0 => left.again_at,
            (false, _) => now + ASK_FIRST,
        };
        Unheard {
            topics: topics.iter().cloned().collect(),
            again_at,
            times: 0,
        }
    }

    /// Asks for all topics, which lets the client join the group anew if there is more than it knew. Returns whether there is nothing left to
    /// ask for.
    fn ask(&mut self, consumer: &BaseConsumer<Context>) -> bool {
        match consumer.fetch_metadata(None, ASKING) {
            Ok(metadata) => {
                for topic in metadata.topics() {
                    let heard = topic.partitions().len();
                    if self
                        .topics
                        .get(topic.name())
                        .is_some_and(|wanted| heard >= *wanted)
                    {
                        self.topics.remove(topic.name());
                    }
                }
            }
            Err(error) => tracing::debug!("cannot ask for the mirror topics: {error}"),
        }
        self.times += 1;
        self.again_at = Instant::now() + ASK_AGAIN;
        self.topics.is_empty() || self.times >= ASKED_TIMES
    }
}

/// Work moves in two rounds: who has it lets go, and all join once more. The client joins once in a second, unless a broker has told it something
/// meanwhile (`rkcg_join_intvl` in librdkafka): a topic that is there is cheap to tell of, and what moves stands still for half as long.
fn join_soon(consumer: &BaseConsumer<Context>, topic: &str) {
    if let Err(error) = consumer.fetch_metadata(Some(topic), HURRY) {
        tracing::debug!("cannot ask for {topic}: {error}");
    }
}

fn serve(consumer: &BaseConsumer<Context>, inbox: &mpsc::Receiver<Vec<(String, usize)>>, stop: &AtomicBool) {
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut unheard: Option<Unheard> = None;
    while !stop.load(Ordering::Relaxed) {
        if let Some(topics) = inbox.try_iter().last() {
            let names: Vec<&str> = topics.iter().map(|(topic, _)| topic.as_str()).collect();
            let is_same = names.len() == known.len() && names.iter().all(|name| known.contains_key(*name));
            if names.is_empty() {
                consumer.unsubscribe();
            } else if !is_same && let Err(error) = consumer.subscribe(&names) {
                let _ = consumer.context().events.send(refused(error));
            }
            unheard = Some(Unheard::of(&topics, &known, unheard.take()));
            known = topics.into_iter().collect();
        }
        if let Some(Err(error)) = consumer.poll(TICK) {
            let _ = consumer.context().events.send(refused(error));
        }
        if consumer.context().has_decided.swap(false, Ordering::Relaxed)
            && let Some(topic) = known.keys().next()
        {
            join_soon(consumer, topic);
        }
        let now = Instant::now();
        unheard.take_if(|unheard| unheard.again_at <= now && unheard.ask(consumer));
    }
    consumer.unsubscribe();
}

impl Member {
    /// Leave the group. Blocks for as long as that takes.
    pub fn leave(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
