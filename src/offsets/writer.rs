//! Writing to one map topic.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::sync::oneshot;

use super::first::{FirstKey, Start};
use super::pause::{Pause, Scope};
use super::record::{Block, Key, Provenance, bytes};
use crate::cluster::native::{Producer, TargetTopic};
use crate::cluster::{Cluster, admin};

/// How long the thread of this file sleeps at most before it looks on.
const TICK: Duration = Duration::from_millis(100);

/// How long a record may be on its way to the map topic before the write counts as failed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// So many records are on their way to the map topic at a time: fewer than a producer's queue has places for (`queue.buffering.max.messages`).
const PORTION: usize = 20_000;

/// Writes to one map topic. Each write is on the target when it returns.
pub struct MapWriter {
    commands: mpsc::Sender<Command>,
    alias: String,
}

/// Records as bytes, of which the second part is only written when the first is there.
type Parts = [Vec<Pair>; 2];

struct Command {
    records: Parts,
    /// What comes after it goes over another client.
    begins_anew: bool,
    done: oneshot::Sender<Result<(), String>>,
}

/// Writing to the map topic failed.
#[derive(Debug, thiserror::Error)]
#[error("cluster {cluster}: write to the offset map: {reason}")]
pub struct WriteError {
    cluster: String,
    reason: String,
}

impl MapWriter {
    /// A writer to `topic` on `cluster`, which has to exist.
    pub fn start(cluster: &Cluster, client_id: &str, topic: &str) -> KafkaResult<MapWriter> {
        let mut config = cluster.client_config(client_id);
        // What may have arrived is not sent again behind anyone's back: whoever wrote it says the same again before it says more, and then it does not
        // matter when a broker gets to what it had in its queue. An idempotent producer would wait for its id, for half a second if no broker has
        // answered yet.
        config.set("message.send.max.retries", "0");
        config.set("max.in.flight.requests.per.connection", "1");
        config.set("acks", "all");
        config.set("linger.ms", "0");
        config.set("message.timeout.ms", WRITE_TIMEOUT.as_millis().to_string());
        let alias = cluster.alias.clone();
        let make = move || Producer::new(&alias, &config);
        let producer = make()?;
        let (commands, inbox) = mpsc::channel();
        let topic = topic.to_string();
        std::thread::Builder::new()
            .name("map-writer".into())
            .spawn(move || write(producer, make, &topic, &inbox))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(MapWriter {
            commands,
            alias: cluster.alias.clone(),
        })
    }

    /// Write provenance of mirror topics.
    pub async fn provenance(&self, records: &[(String, Provenance)]) -> Result<(), WriteError> {
        let records = records.iter().map(|(topic, provenance)| {
            let key = Key {
                topic: topic.clone(),
                partition: None,
                block: None,
                owner: None,
            };
            (bytes(&key), Some(bytes(provenance)))
        });
        self.write([Vec::new(), records.collect()]).await
    }

    /// Write blocks; one without a value is taken back. They have their place in the order of writing when this returns, whenever its
    /// outcome is waited for. The last of a partition, which carries its position, is written when the others are there.
    pub fn blocks(
        &self,
        blocks: &[(Key, Option<Block>)],
    ) -> impl Future<Output = Result<(), WriteError>> + Send + use<> {
        let of = |key: &Key| (key.topic.clone(), key.partition);
        let last: HashMap<_, usize> = blocks
            .iter()
            .enumerate()
            .map(|(index, (key, _))| (of(key), index))
            .collect();
        let mut parts = [Vec::new(), Vec::new()];
        for (index, (key, block)) in blocks.iter().enumerate() {
            let is_last = last.get(&of(key)) == Some(&index);
            parts[usize::from(is_last)].push((bytes(key), block.as_ref().map(bytes)));
        }
        self.write(parts)
    }

    /// Write what is paused; one without a value is resumed.
    pub async fn pauses(&self, pauses: &[(Scope, Option<Pause>)]) -> Result<(), WriteError> {
        let records = pauses
            .iter()
            .map(|(scope, pause)| (bytes(&scope.key()), pause.as_ref().map(bytes)));
        self.write([Vec::new(), records.collect()]).await
    }

    /// Write which daemon begins, or that none does. It has its place in the order of writing when this returns.
    pub fn first(
        &self,
        start: Option<&Start>,
    ) -> impl Future<Output = Result<(), WriteError>> + Send + use<> {
        let record = (bytes(&FirstKey::known()), start.map(bytes));
        self.write([Vec::new(), vec![record]])
    }

    /// Waits until what others have begun to write is written, or has failed.
    pub async fn settled(&self) -> Result<(), WriteError> {
        self.queue([Vec::new(), Vec::new()], false).await
    }

    /// The topic is not the one that it was: what is written from now on goes to the one that there is. A client of librdkafka takes the leader of
    /// a topic that was made again for an old one, as long as its epoch is smaller than that of the topic before.
    pub async fn begin_anew(&self) -> Result<(), WriteError> {
        self.queue([Vec::new(), Vec::new()], true).await
    }

    fn write(&self, records: Parts) -> impl Future<Output = Result<(), WriteError>> + Send + use<> {
        let queued = records
            .iter()
            .any(|part| !part.is_empty())
            .then(|| self.queue(records, false));
        async move {
            match queued {
                Some(queued) => queued.await,
                None => Ok(()),
            }
        }
    }

    /// One command after the other: the answer comes when this one and all before it are done.
    fn queue(
        &self,
        records: Parts,
        begins_anew: bool,
    ) -> impl Future<Output = Result<(), WriteError>> + Send + use<> {
        let (done, outcome) = oneshot::channel();
        // If the writer has stopped, `done` goes with the command, and the outcome says so.
        let _ = self.commands.send(Command {
            records,
            begins_anew,
            done,
        });
        let cluster = self.alias.clone();
        async move {
            let outcome = outcome.await;
            let outcome = outcome.unwrap_or_else(|_| Err("the writer has stopped".into()));
            outcome.map_err(|reason| WriteError { cluster, reason })
        }
    }
}

/// A record's key and value.
type Pair = (Vec<u8>, Option<Vec<u8>>);

fn write(
    mut producer: Producer,
    make: impl Fn() -> KafkaResult<Producer>,
    topic: &str,
    inbox: &mpsc::Receiver<Command>,
) {
    // Ends when the writer's handle is dropped and what it sent before that is written.
    while write_with(&producer, topic, inbox) {
        match make() {
            Ok(new) => producer = new,
            Err(error) => tracing::error!("cannot make a client that writes to the offset map: {error}"),
        }
    }
}

/// Returns whether another client is wanted.
fn write_with(producer: &Producer, topic: &str, inbox: &mpsc::Receiver<Command>) -> bool {
    let topic = match producer.topic(topic) {
        Ok(topic) => topic,
        Err(error) => {
            tracing::error!("cannot write to the offset map: {error}");
            return false;
        }
    };
    let mut scribe = Scribe {
        producer,
        topic: &topic,
        tags: 0,
    };
    while let Ok(command) = inbox.recv() {
        let written = command.records.iter().try_for_each(|part| scribe.write(part));
        let _ = command.done.send(written);
        if command.begins_anew {
            return true;
        }
    }
    false
}

/// Sends records, and waits for what becomes of them.
struct Scribe<'a> {
    producer: &'a Producer,
    topic: &'a TargetTopic,
    /// How many records were sent: each has a number of its own, also one that is reported when nobody waits for it any more.
    tags: u64,
}

impl Scribe<'_> {
    fn write(&mut self, records: &[Pair]) -> Result<(), String> {
        let mut portions = records.chunks(PORTION);
        portions.try_for_each(|portion| self.write_portion(portion))
    }

    fn write_portion(&mut self, records: &[Pair]) -> Result<(), String> {
        let until = Instant::now() + WRITE_TIMEOUT;
        let mut left: Vec<&Pair> = records.iter().collect();
        loop {
            let refused = self.write_once(&left)?;
            match refused.last() {
                None => return Ok(()),
                Some((_, code)) if Instant::now() > until => return Err(admin::explain(*code)),
                Some(_) => std::thread::sleep(TICK),
            }
            left = refused.into_iter().map(|(pair, _)| pair).collect();
        }
    }

    /// Those that are not there, as their leader has said.
    fn write_once<'r>(&mut self, records: &[&'r Pair]) -> Result<Vec<(&'r Pair, RDKafkaErrorCode)>, String> {
        let mut sent: HashMap<u64, &Pair> = HashMap::with_capacity(records.len());
        let (mut refused, mut failed) = (Vec::new(), None);
        for pair in records {
            self.tags += 1;
            let (key, value) = pair;
            match self
                .producer
                .send_bytes(self.topic, 0, key, value.as_deref(), self.tags)
            {
                Ok(()) => drop(sent.insert(self.tags, pair)),
                Err(code) => failed = Some(code),
            }
        }
        // Each record is reported by its own time-out at the latest; the margin covers a thread that is late.
        let deadline = Instant::now() + WRITE_TIMEOUT + Duration::from_secs(5);
        while !sent.is_empty() && Instant::now() < deadline {
            self.producer.deliveries(TICK, |delivery| {
                match (sent.remove(&delivery.tag), delivery.result.err()) {
                    (Some(pair), Some(code)) if is_not_there(code) => refused.push((pair, code)),
                    (Some(_), Some(code)) => failed = Some(code),
                    _ => {}
                }
            });
        }
        match failed {
            Some(code) => Err(self.producer.last_error().unwrap_or_else(|| admin::explain(code))),
            None if !sent.is_empty() => Err("no answer in time".to_string()),
            None => Ok(refused),
        }
    }
}

/// Whether a record that was refused with this can be sent again at once: its leader has said that it is not in the log, and others may lead now.
fn is_not_there(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NotEnoughReplicas
    )
}
