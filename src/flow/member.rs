//! Membership in the group on the target that says which daemon copies which partition.
//!
//! The members subscribe to the mirror topics and are assigned their partitions, which they never read: being assigned `primary.orders`-3 means
//! copying `orders`-3. Kafka's group coordinator is the scheduler. It decides who should copy; it is not what makes copying safe.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::mpsc::UnboundedSender;

use crate::cluster::Cluster;

/// How long a partition that has to be given up may take for what is on its way. The group waits for it.
pub const RELEASE_DEADLINE: Duration = Duration::from_secs(5);

/// How often the thread looks whether the subscription has changed.
const TICK: Duration = Duration::from_millis(50);

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
    commands: mpsc::Sender<Vec<String>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Context {
    events: UnboundedSender<MemberEvent>,
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
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => {}
            Rebalance::Revoke(list) => {
                let (done, released) = mpsc::channel();
                let _ = self.events.send(MemberEvent::Revoked(partitions(list), done));
                // Nothing is ever sent: the channel closes when the partitions are released.
                let _ = released.recv_timeout(RELEASE_DEADLINE);
            }
            Rebalance::Error(error) => {
                let _ = self.events.send(refused(error.clone()));
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            // The records of the mirror are not wanted here.
            if let Err(error) = consumer.pause(list) {
                tracing::debug!("cannot pause the group's partitions: {error}");
            }
            let _ = self.events.send(MemberEvent::Assigned(partitions(list)));
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<MirrorPartition> {
    list.elements()
        .iter()
        .map(|element| (element.topic().to_string(), element.partition()))
        .collect()
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
        refresh: Duration,
        events: UnboundedSender<MemberEvent>,
    ) -> KafkaResult<Member> {
        let mut config = target.client_config(client_id);
        config.set("group.id", group);
        config.set("session.timeout.ms", session_timeout.as_millis().to_string());
        config.set(
            "heartbeat.interval.ms",
            (session_timeout.as_millis() / 4).clamp(200, 3_000).to_string(),
        );
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "latest");
        config.set(
            "topic.metadata.refresh.interval.ms",
            refresh.as_millis().clamp(500, 30_000).to_string(),
        );
        config.set("queued.max.messages.kbytes", "64");
        config.set("fetch.message.max.bytes", "1024");
        let consumer = BaseConsumer::from_config_and_context(&config, Context { events })?;
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

    /// Share the work on these mirror topics, instead of those that were named before.
    pub fn subscribe(&self, topics: Vec<String>) {
        let _ = self.commands.send(topics);
    }
}

fn serve(consumer: &BaseConsumer<Context>, inbox: &mpsc::Receiver<Vec<String>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Some(topics) = inbox.try_iter().last() {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            if let Err(error) = consumer.subscribe(&names) {
                let _ = consumer.context().events.send(refused(error));
            }
        }
        if let Some(Err(error)) = consumer.poll(TICK) {
            let _ = consumer.context().events.send(refused(error));
        }
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
