//! A client of a Kafka cluster: connections, versions, leaders, coordinators.
//!
//! It knows nothing of what it is used for. Requests and answers are those of [`crate::message`]; record batches are
//! neither copied nor looked into. Every wait has an end, and what brokers say is checked before it is believed.

mod config;
mod connection;
mod coordinator;
mod error;
mod fetch;
mod frames;
mod kept;
mod links;
mod metadata;
mod produce;
mod queue;
mod tasks;
mod together;
mod topics;
mod transport;
mod versions;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use connection::{Connection, Lane, Manner, Pending};
pub use coordinator::CoordinatorType;
pub use error::Error;
pub use fetch::{Data, FetchFailure, Fetched, Fetcher, FetcherConfig, LogEnds};
pub use metadata::Leader;
pub use produce::{Acked, Failure, Outgoing, Report, Sender, SenderConfig};
pub use topics::AllTopics;
pub use transport::{Connecting, Stream, Tcp, Transport};

use crate::{
    ErrorCode, Uuid,
    message::{
        ApiKey, FindCoordinatorRequest, MetadataRequest, MetadataResponse, Request,
        metadata::MetadataRequestTopic,
    },
};
use coordinator::Coordinators;
use links::{Link, Links};
use metadata::{Endpoint, Known, Metadata};
use topics::AskAllTopics;

/// A client of one cluster. A clone is the same client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    transport: Arc<dyn Transport>,
    links: Links,
    metadata: Metadata,
    coordinators: Coordinators,
    closed: CancellationToken,
}

/// The client's own questions go this way, so that nobody's long polls hold them up.
const OWN_LANE: Lane = Lane(u16::MAX);

/// A node that has not said by then who leads what may be cut off: another one is asked.
const METADATA_PATIENCE: Duration = Duration::from_secs(5);

/// So many topics are asked for at once.
const TOPICS_PER_QUESTION: usize = 2_000;

/// So many coordinators are asked for at once.
const COORDINATORS_PER_QUESTION: usize = 1_000;

/// The first version of Metadata that can be told not to create topics.
const METADATA_VERSION_MIN: i16 = 4;

impl Client {
    /// A client. It connects when it is first asked for something.
    pub fn new(config: Config, transport: Arc<dyn Transport>) -> Client {
        Client(Arc::new(Inner {
            config,
            transport,
            links: Links::default(),
            metadata: Metadata::default(),
            coordinators: Coordinators::default(),
            closed: CancellationToken::new(),
        }))
    }

    /// How it was made.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Asks any broker that answers; after some seconds another one as well, which may know more of who is there. It is for questions that may be
    /// asked twice.
    ///
    /// # Errors
    /// If nobody answers, as [`Connection::send`] of the last that was asked.
    pub async fn any<R: Request>(&self, request: R) -> Result<R::Response, Error>
    where
        R::Response: Send + 'static,
    {
        self.until_closed(async {
            let mut candidates = self.candidates().into_iter();
            let mut asked = JoinSet::new();
            let mut last = Error::UnknownNode { node: -1 };
            loop {
                let candidate = candidates.next();
                let suspect = candidate.as_ref().map(|(link, ..)| link.clone());
                if let Some((link, node, endpoint)) = candidate {
                    let (client, request) = (self.clone(), request.clone());
                    asked.spawn(async move {
                        let connection = client.dial(&link, node, &endpoint).await?;
                        connection.send(request).await
                    });
                }
                match timeout(METADATA_PATIENCE, asked.join_next()).await {
                    Ok(Some(Ok(Ok(answer)))) => return Ok(answer),
                    Ok(Some(Ok(Err(error)))) => last = error,
                    Ok(Some(Err(ended))) => tracing::error!("a question to a broker has failed: {ended}"),
                    Ok(None) => return Err(last),
                    Err(_elapsed) => suspect.iter().for_each(|link| link.suspect()),
                }
            }
        })
        .await
    }

    /// A connection to a node, by lane: requests of one lane are answered in order by one connection, so that long
    /// polls do not hold up others. It is made when needed, kept, and made anew after it ended.
    ///
    /// # Errors
    /// If the node is not known to the cluster, or cannot be connected to.
    pub async fn connection(&self, node: i32, lane: Lane) -> Result<Arc<Connection>, Error> {
        let link = self.0.links.get(node, lane);
        if let Some(connection) = link.current() {
            return Ok(connection);
        }
        self.until_closed(async {
            let endpoint = self.endpoint(node).await?;
            self.dial(&link, node, &endpoint).await
        })
        .await
    }

    /// Asks a node.
    ///
    /// # Errors
    /// As [`Client::connection`] and [`Connection::send`].
    pub async fn to<R: Request>(&self, node: i32, lane: Lane, request: R) -> Result<R::Response, Error> {
        self.connection(node, lane).await?.send(request).await
    }

    /// The node that is said to be the controller.
    ///
    /// # Errors
    /// If nobody answers, or no node is said to be it ([`Error::UnknownNode`]).
    pub async fn controller(&self) -> Result<i32, Error> {
        if let Some((Some(node), _)) = self.0.metadata.cluster() {
            return Ok(node);
        }
        self.ask_about("").await?;
        let known = self.0.metadata.cluster().and_then(|(controller, _)| controller);
        known.ok_or(Error::UnknownNode { node: -1 })
    }

    /// The node that was said to be the controller is not: it is asked for again.
    pub fn stale_controller(&self) {
        self.0.metadata.forget_controller();
    }

    /// The cluster's id, if its brokers tell it.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn cluster_id(&self) -> Result<Option<String>, Error> {
        if self.0.metadata.cluster().is_none() {
            self.ask_about("").await?;
        }
        Ok(self.0.metadata.cluster().and_then(|(_, cluster_id)| cluster_id))
    }

    /// Who leads a partition: as it is known, or the cluster is asked once. Who calls this again and again without luck
    /// is kept waiting for up to a second.
    ///
    /// # Errors
    /// If nobody answers, or the answer names no leader.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<Leader, Error> {
        let known = || {
            self.0
                .metadata
                .leader(topic, partition, self.0.config.metadata_max_age)
        };
        let not_before = match known() {
            Known::Yes(leader) => return Ok(leader),
            Known::Aged(leader) => {
                self.refresh(topic);
                return Ok(leader);
            }
            Known::No { not_before } => not_before,
        };
        self.until_closed(async {
            sleep_until(not_before).await;
            // Others may have asked meanwhile, or somebody told.
            if let Known::Yes(leader) = known() {
                return Ok(leader);
            }
            self.ask_about(topic).await?;
            self.0.metadata.verdict(topic, partition)
        })
        .await
    }

    /// Who leads a partition, as far as it is known.
    pub fn cached_leader(&self, topic: &str, partition: i32) -> Option<Leader> {
        match self
            .0
            .metadata
            .leader(topic, partition, self.0.config.metadata_max_age)
        {
            Known::Yes(leader) => Some(leader),
            Known::Aged(leader) => {
                self.refresh(topic);
                Some(leader)
            }
            Known::No { .. } => None,
        }
    }

    /// As [`Client::leader`], of the topic with this id, where one is given and brokers tell ids.
    ///
    /// # Errors
    /// As [`Client::leader`], and if another topic has the name now.
    pub async fn leader_of(
        &self,
        topic: &str,
        partition: i32,
        topic_id: Option<Uuid>,
    ) -> Result<Leader, Error> {
        let leader = self.leader(topic, partition).await?;
        if leader.is_of(topic_id) {
            return Ok(leader);
        }
        // It may be the one before.
        self.stale_leader(topic, partition, leader.epoch);
        let leader = self.leader(topic, partition).await?;
        match leader.is_of(topic_id) {
            true => Ok(leader),
            false => Err(Error::OtherTopic {
                topic: topic.to_owned(),
            }),
        }
    }

    /// What was known of a leader since this epoch is wrong: it is asked for again, unless it is known since a newer
    /// one already.
    pub fn stale_leader(&self, topic: &str, partition: i32, epoch: i32) {
        self.0.metadata.stale(topic, partition, epoch);
    }

    /// What an answer to Produce or Fetch tells of a leader (KIP-951): taken if the epoch is newer.
    pub fn note_leader(&self, topic: &str, partition: i32, node: i32, epoch: i32) {
        self.0.metadata.note_leader(topic, partition, node, epoch);
    }

    /// What an answer tells of where a node is.
    pub fn note_endpoint(&self, node: i32, host: &str, port: i32) {
        self.0.metadata.note_endpoint(node, host, port);
    }

    /// All that a broker tells of these topics, now. No topic is created.
    ///
    /// # Errors
    /// If nobody answers. Errors of topics are in the answer.
    pub async fn metadata(&self, topics: &[String]) -> Result<MetadataResponse, Error> {
        let response = self.until_closed(self.ask_metadata(topics)).await?;
        Ok(response)
    }

    /// As [`Client::metadata`], of all topics that there are. `None` if the answer is the same as the `last` one.
    ///
    /// # Errors
    /// As [`Client::metadata`].
    pub async fn metadata_of_all(
        &self,
        last: Option<&AllTopics>,
    ) -> Result<Option<(AllTopics, MetadataResponse)>, Error> {
        let request = AskAllTopics(metadata_request(None));
        let read = |answer: AllTopics| {
            if last == Some(&answer) {
                return Ok(None);
            }
            let response = answer.read().map_err(|source| Error::Protocol {
                api: ApiKey::Metadata.name(),
                source,
            })?;
            is_answered(&response)?;
            Ok(Some((answer.to_keep(), response)))
        };
        self.until_closed(async {
            let (asked, answer) = self.ask_for_metadata(request, read).await?;
            if let Some((_, response)) = &answer {
                self.0.metadata.take(response, &[], asked);
            }
            Ok(answer)
        })
        .await
    }

    /// The node that coordinates a group or a transactional id: as it is known, or the cluster is asked once. Who calls
    /// this again and again without luck is kept waiting for up to a second.
    ///
    /// # Errors
    /// If nobody answers, or the answer is an error.
    pub async fn coordinator(&self, kind: CoordinatorType, key: &str) -> Result<i32, Error> {
        let coordinators = &self.0.coordinators;
        let of = (kind, key.to_owned());
        let not_before = match coordinators.get(&of) {
            Ok(node) => return Ok(node),
            Err(not_before) => not_before,
        };
        self.until_closed(async {
            sleep_until(not_before).await;
            let answered = |since| coordinators.asked_since(&of, since);
            let ask = |keys| self.ask_coordinators(kind, keys);
            coordinators
                .questions(kind)
                .ask(of.1.clone(), answered, ask)
                .await?;
            coordinators.verdict(&of)
        })
        .await
    }

    /// A node said that it is not the coordinator of this, or cannot be reached: it is asked for again.
    pub fn stale_coordinator(&self, kind: CoordinatorType, key: &str) {
        self.0.coordinators.stale(&(kind, key.to_owned()));
    }

    /// Ends all connections. What is pending fails, and so does all that is asked later.
    pub async fn close(&self) {
        self.0.closed.cancel();
        self.0.links.close();
    }

    async fn until_closed<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.0.closed.cancelled() => Err(Error::ClientClosed),
            outcome = work => outcome,
        }
    }

    async fn endpoint(&self, node: i32) -> Result<Endpoint, Error> {
        if let Some(endpoint) = self.0.metadata.endpoint(node) {
            return Ok(endpoint);
        }
        self.ask_about("").await?;
        self.0.metadata.endpoint(node).ok_or(Error::UnknownNode { node })
    }

    async fn dial(&self, link: &Link, node: i32, endpoint: &Endpoint) -> Result<Arc<Connection>, Error> {
        let transport = &*self.0.transport;
        let connection = link.connect(node, endpoint, &self.0.config, transport).await?;
        if self.0.closed.is_cancelled() {
            connection.close("the client was closed");
            return Err(Error::ClientClosed);
        }
        Ok(connection)
    }

    /// Whom to ask what any broker can tell: those who are connected first, those who failed last.
    fn candidates(&self) -> Vec<(Arc<Link>, i32, Endpoint)> {
        let bootstrap = self
            .0
            .config
            .bootstrap
            .iter()
            .zip(1..)
            .map(|((host, port), number)| {
                let endpoint = Endpoint {
                    host: host.clone(),
                    port: *port,
                };
                (-number, endpoint)
            });
        let known = self.0.metadata.endpoints().into_iter().chain(bootstrap);
        let mut ranked: Vec<_> = known
            .map(|(node, endpoint)| {
                let link = self.0.links.get(node, OWN_LANE);
                let rank = match (link.is_failing(), link.current()) {
                    (true, _) => 2,
                    (false, None) => 1,
                    (false, Some(_)) => 0,
                };
                let order = (rank, node < 0, rand::random::<u32>());
                (order, (link, node, endpoint))
            })
            .collect();
        ranked.sort_by_key(|(order, _)| *order);
        ranked.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// Asks about a topic (or, if it is empty, about the nodes), together with whoever else asks.
    async fn ask_about(&self, topic: &str) -> Result<(), Error> {
        let metadata = &self.0.metadata;
        let answered = |since| metadata.asked_since(topic, since);
        let ask = |mut topics: Vec<String>| async move {
            topics.retain(|topic| !topic.is_empty());
            self.ask_metadata(&topics).await.map(drop)
        };
        metadata.questions.ask(topic.to_owned(), answered, ask).await
    }

    /// Asks again about a topic that was asked about long ago, without waiting for it.
    fn refresh(&self, topic: &str) {
        let (client, topic) = (self.clone(), topic.to_owned());
        if self.0.metadata.begin_refresh(&topic) {
            tokio::spawn(async move {
                // What goes wrong here comes up again when the topic is used.
                let _ = client.until_closed(client.ask_about(&topic)).await;
            });
        }
    }

    async fn ask_metadata(&self, topics: &[String]) -> Result<MetadataResponse, Error> {
        let mut chunks = topics.chunks(TOPICS_PER_QUESTION);
        let first = chunks.next().unwrap_or_default();
        let mut response = self.ask_metadata_once(first).await?;
        for chunk in chunks {
            let more = self.ask_metadata_once(chunk).await?;
            response.topics.extend(more.topics);
        }
        Ok(response)
    }

    async fn ask_metadata_once(&self, topics: &[String]) -> Result<MetadataResponse, Error> {
        let read = |response: MetadataResponse| is_answered(&response).map(|()| response);
        let (asked, response) = self
            .ask_for_metadata(metadata_request(Some(topics)), read)
            .await?;
        self.0.metadata.take(&response, topics, asked);
        Ok(response)
    }

    /// Asks one broker after the other, until one gives an answer that can be `read`. Tells when that one was asked.
    async fn ask_for_metadata<R: Request, T>(
        &self,
        request: R,
        read: impl Fn(R::Response) -> Result<T, Error>,
    ) -> Result<(Instant, T), Error> {
        let mut last = None;
        for (link, node, endpoint) in self.candidates() {
            let asked = Instant::now();
            let attempt = async {
                let connection = self.dial(&link, node, &endpoint).await?;
                let spoken = connection.supports(ApiKey::Metadata);
                if spoken.is_some_and(|(_, to)| to < METADATA_VERSION_MIN) {
                    return Err(Error::Unsupported {
                        api: ApiKey::Metadata,
                        broker: spoken,
                    });
                }
                connection.send(request.clone()).await
            };
            let outcome = timeout(
                METADATA_PATIENCE.max(self.0.config.reconnect_backoff_max),
                attempt,
            )
            .await;
            match outcome {
                Ok(Ok(response)) => match read(response) {
                    Ok(read) => {
                        link.absolve();
                        return Ok((asked, read));
                    }
                    Err(error) => last = Some(error),
                },
                Ok(Err(error)) => last = Some(error),
                Err(_elapsed) => {
                    link.suspect();
                    last = Some(silent(node, ApiKey::Metadata));
                }
            }
        }
        Err(last.unwrap_or(Error::UnknownNode { node: -1 }))
    }

    async fn ask_coordinators(&self, kind: CoordinatorType, keys: Vec<String>) -> Result<(), Error> {
        let mut last = None;
        for (link, node, endpoint) in self.candidates() {
            let asked = async {
                let dialled = timeout(METADATA_PATIENCE, self.dial(&link, node, &endpoint)).await;
                let connection = dialled.map_err(|_elapsed| silent(node, ApiKey::FindCoordinator))??;
                self.ask_coordinators_of(&connection, node, kind, &keys).await
            };
            match asked.await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if matches!(error, Error::TimedOut { .. }) {
                        link.suspect();
                    }
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or(Error::UnknownNode { node: -1 }))
    }

    async fn ask_coordinators_of(
        &self,
        connection: &Connection,
        node: i32,
        kind: CoordinatorType,
        keys: &[String],
    ) -> Result<(), Error> {
        const BATCHED_SINCE: i16 = 4;
        let batched = connection
            .supports(ApiKey::FindCoordinator)
            .is_some_and(|(_, to)| to >= BATCHED_SINCE);
        let at_once = if batched { COORDINATORS_PER_QUESTION } else { 1 };
        for keys in keys.chunks(at_once) {
            let asked = Instant::now();
            let request = FindCoordinatorRequest {
                key: keys[0].clone(),
                key_type: kind as i8,
                coordinator_keys: keys.to_vec(),
            };
            let answered = timeout(METADATA_PATIENCE, connection.send(request)).await;
            let response = answered.map_err(|_elapsed| silent(node, ApiKey::FindCoordinator))??;
            let only = coordinator::only(&keys[0], &response);
            let told = if batched {
                &response.coordinators
            } else {
                std::slice::from_ref(&only)
            };
            for told in told.iter().filter(|told| keys.contains(&told.key)) {
                self.0.metadata.note_endpoint(told.node_id, &told.host, told.port);
                self.0.coordinators.take((kind, told.key.clone()), told, asked);
            }
        }
        Ok(())
    }
}

/// The question for these topics, or for all. None is created.
fn metadata_request(topics: Option<&[String]>) -> MetadataRequest {
    let named = |name: &String| MetadataRequestTopic {
        name: Some(name.clone()),
        ..Default::default()
    };
    MetadataRequest {
        topics: topics.map(|topics| topics.iter().map(named).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    }
}

fn is_answered(response: &MetadataResponse) -> Result<(), Error> {
    match ErrorCode::from_code(response.error_code).is_none() {
        true => Ok(()),
        false => Err(Error::broker(response.error_code, "asked for metadata")),
    }
}

/// A node has not answered a question that any other can answer as well.
fn silent(node: i32, api: ApiKey) -> Error {
    Error::TimedOut {
        node,
        api: api.name(),
        after: METADATA_PATIENCE,
        sent: true,
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("client_id", &self.0.config.client_id)
            .field("bootstrap", &self.0.config.bootstrap)
            .finish_non_exhaustive()
    }
}
