//! `heliostat check --connect`: what the clusters of a file answer, and what its flows would do with the topics that are there now.
//!
//! Nothing is created or changed anywhere: clusters are asked for their ids, their topics and the offset maps that they hold.

mod preview;
mod text;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::exit;
use crate::cluster::admin::{TopicListing, explain};
use crate::cluster::native::OffsetSpec;
use crate::cluster::{Admin, Cluster, ClusterError};
use crate::flow::daemon::Fleet;
use crate::offsets::record::is_map_topic;
use crate::offsets::store::MapReader;
use crate::topology::{self, ClusterKind, Problem, Topology, same_cluster_problem};

pub use preview::FlowPreview;
pub use text::describe;

/// How long all clusters together may take to answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long it may take until a port of this machine accepts a connection.
const LOCAL_CONNECT: Duration = Duration::from_secs(2);

/// What the clusters said.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The clusters, in the order of the file.
    pub clusters: Vec<Connection>,
    /// The flows, in the order of the file.
    pub flows: Vec<FlowPreview>,
    /// What is wrong with the file, now that its clusters are known.
    #[serde(skip)]
    pub problems: Vec<Problem>,
}

/// Whether a cluster answers, and what it says of itself.
#[derive(Debug, Serialize)]
pub struct Connection {
    /// Its name in the file.
    pub alias: String,
    /// Whether it answers.
    pub state: Reachable,
    /// Why it does not answer, or what could not be found out.
    pub reason: Option<String>,
    /// The id that it gives itself.
    pub cluster_id: Option<String>,
    /// How many brokers it has.
    pub brokers: Option<usize>,
    /// How many topics it has, internal ones among them.
    pub topics: Option<usize>,
    /// Whether it would answer, and does not believe who asks.
    #[serde(skip)]
    pub refused: bool,
}

/// Whether a cluster answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reachable {
    /// It does.
    Reachable,
    /// It does not.
    Unreachable,
    /// It is a built-in one, and nothing listens on its ports: `heliostat run` starts it.
    NotRunning,
}

/// One cluster's answers, with what flows are previewed from.
struct Answer {
    connection: Connection,
    topics: BTreeMap<String, usize>,
    maps: Option<MapReader>,
}

impl Report {
    /// The exit code that says the same as the report.
    pub fn exit_code(&self) -> u8 {
        // A built-in cluster that does not run is no obstacle: `heliostat run` starts it.
        let all_there = self
            .clusters
            .iter()
            .all(|cluster| cluster.state != Reachable::Unreachable);
        match (self.problems.is_empty(), all_there) {
            (false, _) => exit::USAGE,
            (true, false) => exit::PRECONDITION,
            (true, true) => exit::OK,
        }
    }
}

/// Asks all clusters of a topology at once, and looks what its flows would do.
pub async fn connect(topology: &Topology) -> Report {
    // The report says whether a cluster answers; the log would say it a second time.
    let answers = ask_all(topology).with_subscriber(NoSubscriber::new()).await;
    let flows = topology
        .flows
        .iter()
        .filter_map(|flow| {
            let answer = |alias: &str| answers.iter().find(|answer| answer.connection.alias == alias);
            let (source, target) = (answer(&flow.source)?, answer(&flow.target)?);
            Some(preview::preview(topology, flow, source, target))
        })
        .collect();
    let clusters: Vec<Connection> = answers.into_iter().map(|answer| answer.connection).collect();
    Report {
        problems: twins(topology, &clusters),
        clusters,
        flows,
    }
}

async fn ask_all(topology: &Topology) -> Vec<Answer> {
    let deadline = Instant::now() + DEADLINE;
    let fleet = Fleet::new(topology, |_| None);
    let asked: Vec<_> = topology
        .clusters
        .iter()
        .filter_map(|spec| Some((spec.alias.clone(), spec.clone(), fleet.get(&spec.alias)?.clone())))
        .map(|(alias, spec, cluster)| {
            let question = async move { ask(&spec, cluster, deadline).await };
            (alias, tokio::spawn(question.with_current_subscriber()))
        })
        .collect();
    let mut answers = Vec::with_capacity(asked.len());
    for (alias, answer) in asked {
        answers.push(
            answer
                .await
                .unwrap_or_else(|error| Answer::none(&alias, Reachable::Unreachable, error.to_string())),
        );
    }
    answers
}

/// Two aliases with one cluster id, each at the one that comes later.
fn twins(topology: &Topology, clusters: &[Connection]) -> Vec<Problem> {
    let known = |cluster: &Connection| cluster.cluster_id.clone();
    let later = clusters.iter().enumerate().filter_map(|(index, cluster)| {
        let id = known(cluster)?;
        let first = clusters[..index]
            .iter()
            .find(|other| known(other).as_ref() == Some(&id))?;
        Some(same_cluster_problem(topology, &first.alias, &cluster.alias, &id))
    });
    later.collect()
}

async fn ask(spec: &topology::Cluster, cluster: Arc<Cluster>, deadline: Instant) -> Answer {
    if let ClusterKind::BuiltIn(built_in) = &spec.kind
        && !listens(built_in).await
    {
        let reason = format!("nothing listens on {}", spec.bootstrap_servers());
        return Answer::none(&spec.alias, Reachable::NotRunning, reason);
    }
    let unreachable = |reason: String| Answer::none(&spec.alias, Reachable::Unreachable, reason);
    let admin = match Admin::new(cluster, "heliostat/check") {
        Ok(admin) => admin,
        Err(error) => return unreachable(error.reason),
    };
    let questions = async { tokio::try_join!(admin.cluster_id(), admin.topics(), admin.broker_count()) };
    let (cluster_id, topics, brokers) = match timeout_at(deadline, questions).await {
        Ok(Ok(answers)) => answers,
        Ok(Err(error)) => {
            let mut answer = unreachable(error.reason);
            answer.connection.refused = admin.cluster().reach().is_refused();
            return answer;
        }
        Err(_) => return unreachable(format!("no answer within {} s", DEADLINE.as_secs())),
    };
    let (maps, reason) = match timeout_at(deadline, read_maps(&admin, &topics, deadline)).await {
        Ok(Ok(maps)) => (maps, None),
        Ok(Err(reason)) => (None, Some(reason)),
        Err(_) => (None, Some("no answer in time".to_owned())),
    };
    let reason = reason.map(|reason| format!("what is a mirror there is not known: {reason}"));
    Answer {
        connection: Connection {
            alias: spec.alias.clone(),
            state: Reachable::Reachable,
            reason,
            cluster_id: Some(cluster_id),
            brokers: Some(brokers),
            topics: Some(topics.len()),
            refused: false,
        },
        topics: topics
            .iter()
            .map(|topic| (topic.name.clone(), topic.partitions))
            .collect(),
        maps,
    }
}

/// Whether anything accepts connections where a built-in cluster would listen. It is on this machine, so no long wait is needed.
async fn listens(built_in: &topology::BuiltIn) -> bool {
    for address in built_in.addresses() {
        if matches!(
            timeout(LOCAL_CONNECT, TcpStream::connect(address)).await,
            Ok(Ok(_))
        ) {
            return true;
        }
    }
    false
}

/// The offset maps of a cluster, read to the ends that they have now; `None` if it holds none.
async fn read_maps(
    admin: &Admin,
    topics: &[TopicListing],
    deadline: Instant,
) -> Result<Option<MapReader>, String> {
    let maps: HashSet<&str> = topics
        .iter()
        .map(|topic| topic.name.as_str())
        .filter(|topic| is_map_topic(topic))
        .collect();
    if maps.is_empty() {
        return Ok(None);
    }
    let reader = MapReader::start(admin.cluster().clone(), "heliostat/check", None)
        .map_err(|error| error.to_string())?;
    for topic in &maps {
        reader.follow(topic);
    }
    let partitions = maps.iter().map(|topic| ((*topic).to_owned(), 0)).collect();
    let failed = |error: ClusterError| format!("{}: {}", error.call, error.reason);
    for end in admin
        .offsets(partitions, OffsetSpec::LatestCommitted)
        .await
        .map_err(failed)?
    {
        let offset = end
            .offset
            .map_err(|code| format!("read {}: {}", end.topic, explain(code)))?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !reader.caught_up(&end.topic, offset, left).await {
            return Err(format!("{} could not be read to its end in time", end.topic));
        }
    }
    Ok(Some(reader))
}

impl Answer {
    fn none(alias: &str, state: Reachable, reason: String) -> Answer {
        Answer {
            connection: Connection {
                alias: alias.to_owned(),
                state,
                reason: Some(reason),
                cluster_id: None,
                brokers: None,
                topics: None,
                refused: false,
            },
            topics: BTreeMap::new(),
            maps: None,
        }
    }

    fn is_there(&self) -> bool {
        self.connection.state == Reachable::Reachable
    }
}
