//! What is asked of a cluster besides records: topics, configs, offsets, who is in a group.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heliostat_wire::client::{AllTopics, Client};
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    TopicResult,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::native::admin as native;
use super::native::{OffsetSpec, PartitionOffset, TopicDescription};
use super::{Cluster, ClusterError, offsets};

mod by_wire;
mod on_demand;

pub(crate) use by_wire::{TOPIC_RESOURCE, as_librdkafka_reads, as_librdkafka_writes};
use on_demand::{Context, OnDemand};

/// How long one call may take before the cluster counts as away.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`Admin::topic_configs`] tells of a topic also where it is not set on the topic itself.
pub const EFFECTIVE_CONFIGS: [&str; 1] = ["max.message.bytes"];

/// How long the question for offsets may take: it is asked every second.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(3);

/// An admin client of one cluster. Calls run off the async threads, since librdkafka blocks.
#[derive(Clone)]
pub struct Admin {
    cluster: Arc<Cluster>,
    client: Arc<OnDemand>,
    /// For what is asked often and of many partitions, where the cluster can be reached so.
    wire: Option<Client>,
    /// The topics that it told last.
    listed: Arc<Mutex<Option<Listed>>>,
}

/// What a cluster has told of its topics, as it came, and what was read from that.
type Listed = (AllTopics, Arc<Vec<TopicListing>>);

/// A topic and the number of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// Its id as clients write it, if the cluster was asked by our own client and its brokers give ids.
    pub id: Option<String>,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it gets.
    pub partitions: usize,
    /// What is set on it.
    pub configs: Vec<(String, String)>,
}

/// A topic's configuration that differs from what a new topic would get.
pub type TopicConfigs = HashMap<String, Vec<ConfigValue>>;

/// One value of a topic's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    /// Kafka's name of it.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether it was set on the topic itself, rather than on the broker or by default.
    pub set_on_topic: bool,
}

impl Admin {
    /// A client; it connects in the background.
    pub fn new(cluster: Arc<Cluster>, client_id: &str) -> Result<Admin, ClusterError> {
        let mut config = cluster.client_config(client_id);
        // A cluster that wants another protocol only closes connections, and librdkafka says so at this level.
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("log.connection.close", "true");
        let client = OnDemand::new(config);
        client.get().map_err(|error| ClusterError {
            cluster: cluster.alias.clone(),
            call: "make a client".into(),
            reason: error.to_string(),
            away: false,
        })?;
        Ok(Admin {
            cluster,
            client: Arc::new(client),
            wire: None,
            listed: Arc::default(),
        })
    }

    /// Topics, their configs and offsets are asked for by this client from here on.
    pub fn with_wire(mut self, client: Client) -> Admin {
        self.wire = Some(client);
        self
    }

    /// Nothing is asked just now: a client that is not needed any more is given up.
    pub fn rest(&self) {
        if self.wire.is_some() {
            self.client.give_up_unused();
        }
    }

    /// The cluster that it asks.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The id that the cluster gives itself.
    pub async fn cluster_id(&self) -> Result<String, ClusterError> {
        if let Some(client) = &self.wire {
            return self.cluster_id_by_wire(client).await;
        }
        let id = self
            .blocking("ask for the cluster id", |client| {
                client
                    .inner()
                    .fetch_cluster_id(CALL_TIMEOUT)
                    .ok_or(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut))
            })
            .await?;
        self.cluster.identified(&id);
        Ok(id)
    }

    /// All topics, by name.
    pub async fn topics(&self) -> Result<Arc<Vec<TopicListing>>, ClusterError> {
        if let Some(client) = &self.wire {
            return self.topics_by_wire(client).await;
        }
        self.blocking("list topics", |client| {
            let metadata = client.inner().fetch_metadata(None, CALL_TIMEOUT)?;
            let mut topics: Vec<_> = metadata
                .topics()
                .iter()
                .filter(|topic| topic.error().is_none())
                .map(|topic| TopicListing {
                    name: topic.name().to_string(),
                    partitions: topic.partitions().len(),
                    id: None,
                })
                .collect();
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(Arc::new(topics))
        })
        .await
    }

    /// Those of these topics that are there. For a client that asks by wire all others cost nothing.
    pub async fn topics_named(&self, names: &[String]) -> Result<Vec<TopicListing>, ClusterError> {
        if let Some(client) = &self.wire {
            return self.topics_named_by_wire(client, names).await;
        }
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        let all = self.topics().await?;
        let named = all.iter().filter(|topic| names.contains(topic.name.as_str()));
        Ok(named.cloned().collect())
    }

    /// Whether a topic is there.
    pub async fn has_topic(&self, name: &str) -> Result<bool, ClusterError> {
        Ok(!self.topics_named(&[name.to_owned()]).await?.is_empty())
    }

    /// How many brokers the cluster has.
    pub async fn broker_count(&self) -> Result<usize, ClusterError> {
        self.blocking("list brokers", |client| {
            Ok(client.inner().fetch_metadata(None, CALL_TIMEOUT)?.brokers().len())
        })
        .await
    }

    /// Topics with their ids.
    pub async fn describe_topics(&self, topics: Vec<String>) -> Result<Vec<TopicDescription>, ClusterError> {
        self.first_see_whether_it_is_there().await?;
        self.blocking("describe topics", move |client| {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            native::describe_topics(client, &names, CALL_TIMEOUT)
        })
        .await
    }

    /// Offsets of many partitions in one call; a partition that fails does so alone.
    pub async fn offsets(
        &self,
        partitions: Vec<(String, i32)>,
        spec: OffsetSpec,
    ) -> Result<Vec<PartitionOffset>, ClusterError> {
        if let Some(client) = &self.wire {
            return self.offsets_by_wire(client, partitions, spec).await;
        }
        self.first_see_whether_it_is_there().await?;
        self.blocking("list offsets", move |client| {
            let wanted: Vec<(&str, i32)> = partitions.iter().map(|(topic, p)| (topic.as_str(), *p)).collect();
            let offsets = native::list_offsets(client, &wanted, spec, OFFSETS_TIMEOUT)?;
            let offsets: Vec<_> = offsets.into_iter().map(offsets::checked).collect();
            // Where not one partition was answered, it is the cluster that is away.
            let failed = offsets
                .iter()
                .filter_map(|found| found.offset.as_ref().err())
                .copied();
            match failed.clone().next() {
                Some(code) if is_away(Some(code)) && failed.count() == offsets.len() => {
                    Err(KafkaError::AdminOp(code))
                }
                _ => Ok(offsets),
            }
        })
        .await
    }

    /// How many members a consumer group has now.
    pub async fn group_members(&self, group: &str) -> Result<usize, ClusterError> {
        let (client, group) = (self.client.clone(), group.to_string());
        let asked = tokio::task::spawn_blocking(move || {
            let client = client.get()?;
            let list = client.inner().fetch_group_list(Some(&group), CALL_TIMEOUT)?;
            Ok(list
                .groups()
                .iter()
                .filter(|found| found.name() == group)
                .map(|found| found.members().len())
                .sum())
        });
        let members = asked.await.unwrap_or(Err(KafkaError::Canceled));
        // Each broker is asked: that one of them does not answer says nothing of the cluster.
        members.map_err(|error| self.error("describe the group", &error))
    }

    /// The offsets that a consumer group has committed, by topic and partition.
    pub async fn group_offsets(&self, group: &str) -> Result<Vec<PartitionOffset>, ClusterError> {
        self.first_see_whether_it_is_there().await?;
        let group = group.to_string();
        let call = format!("list the offsets of the group {group}");
        let mut offsets = self
            .blocking(&call, move |client| {
                native::group_offsets(client, &group, CALL_TIMEOUT)
            })
            .await?;
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(offsets)
    }

    /// The configuration of topics: every key that is set on the topic, and of the others at least those that are named in [`EFFECTIVE_CONFIGS`].
    pub async fn topic_configs(&self, topics: &[String]) -> Result<TopicConfigs, ClusterError> {
        if let Some(client) = &self.wire {
            return self.topic_configs_by_wire(client, topics).await;
        }
        let resources: Vec<ResourceSpecifier<'_>> = topics
            .iter()
            .map(|topic| ResourceSpecifier::Topic(topic))
            .collect();
        let described = async { self.client.get()?.describe_configs(&resources, &options()).await }.await;
        let described = self.noted("describe configs", described)?;
        let mut configs = TopicConfigs::new();
        for resource in described {
            let Ok(resource) = resource else { continue };
            let rdkafka::admin::OwnedResourceSpecifier::Topic(topic) = resource.specifier else {
                continue;
            };
            let values = resource
                .entries
                .into_iter()
                .filter(|entry| !entry.is_sensitive)
                .filter_map(|entry| {
                    let set_on_topic = entry.source == ConfigSource::DynamicTopic;
                    Some(ConfigValue {
                        name: entry.name,
                        value: entry.value?,
                        set_on_topic,
                    })
                });
            configs.insert(topic, values.collect());
        }
        Ok(configs)
    }

    /// Sets some of a topic's configs.
    pub async fn set_topic_configs(
        &self,
        topic: &str,
        configs: &'static [(&str, &str)],
    ) -> Result<(), ClusterError> {
        let call = format!("set the configs of topic {topic}");
        let topic = topic.to_owned();
        self.blocking(&call, move |client| {
            native::set_topic_configs(client, &topic, configs, CALL_TIMEOUT)
        })
        .await
    }

    /// Creates topics, in one request. Returns of each, by name, whether it was made; that it is there already is no error.
    pub async fn create_topics(
        &self,
        topics: &[TopicSpec],
        replication_factor: Option<i16>,
    ) -> Result<Vec<(String, Result<bool, ClusterError>)>, ClusterError> {
        let replication = i32::from(replication_factor.unwrap_or(-1));
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|topic| {
                let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
                let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(replication));
                topic
                    .configs
                    .iter()
                    .fold(new, |new, (key, value)| new.set(key, value))
            })
            .collect();
        let call = |name: &str| format!("create topic {name}");
        let first = topics.first().map_or("", |topic| &topic.name);
        let made = async { self.client.get()?.create_topics(&new, &options()).await }.await;
        let results = self.noted(&call(first), made)?;
        let outcome = |result: TopicResult| match result {
            Ok(name) => (name, Ok(true)),
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => (name, Ok(false)),
            Err((name, code)) => {
                let error = self.error(&call(&name), &KafkaError::AdminOp(code));
                (name, Err(error))
            }
        };
        Ok(results.into_iter().map(outcome).collect())
    }

    /// Creates one topic. That it is there already is no error.
    pub async fn create_topic(
        &self,
        topic: TopicSpec,
        replication_factor: Option<i16>,
    ) -> Result<(), ClusterError> {
        let created = self.create_topics(&[topic], replication_factor).await?;
        created.into_iter().try_for_each(|(_, made)| made.map(|_| ()))
    }

    /// Raises a topic's number of partitions.
    pub async fn create_partitions(&self, name: &str, partitions: usize) -> Result<(), ClusterError> {
        let call = format!("raise topic {name} to {partitions} partitions");
        let request = NewPartitions::new(name, partitions);
        let made = async { self.client.get()?.create_partitions([&request], &options()).await }.await;
        let results = self.noted(&call, made)?;
        self.each(
            &call,
            results.into_iter().map(|result| result.map_err(|(_, code)| code)),
            |_| false,
        )
    }

    /// librdkafka's newer admin calls use up a core while the broker that they need is away, until they time out. So a cluster that did
    /// not answer the last call is asked for its metadata first, which waits quietly.
    async fn first_see_whether_it_is_there(&self) -> Result<(), ClusterError> {
        let reach = self.cluster.reach();
        if reach.reachable || reach.reason.is_none() {
            return Ok(());
        }
        self.topics().await.map(|_| ())
    }

    fn each(
        &self,
        call: &str,
        results: impl Iterator<Item = Result<String, RDKafkaErrorCode>>,
        fine: impl Fn(RDKafkaErrorCode) -> bool,
    ) -> Result<(), ClusterError> {
        for result in results {
            match result {
                Err(code) if !fine(code) => return Err(self.error(call, &KafkaError::AdminOp(code))),
                _ => {}
            }
        }
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: &str,
        work: impl FnOnce(&AdminClient<Context>) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, ClusterError> {
        let client = self.client.clone();
        let result = tokio::task::spawn_blocking(move || work(&*client.get()?)).await;
        let result = result.unwrap_or(Err(KafkaError::Canceled));
        self.noted(call, result)
    }

    /// Note what a call's outcome says of the cluster as a whole.
    fn noted<T>(&self, call: &str, result: KafkaResult<T>) -> Result<T, ClusterError> {
        match result {
            Ok(value) => {
                // What was said before is of no use any more, and nobody else takes it away.
                self.client.last_complaint();
                self.cluster.answered();
                Ok(value)
            }
            Err(error) => {
                let error = self.error(call, &error);
                if error.away {
                    self.cluster.failed(&error.reason);
                }
                Err(error)
            }
        }
    }

    fn error(&self, call: &str, error: &KafkaError) -> ClusterError {
        let code = error.rdkafka_error_code();
        let away = is_away(code);
        let heard = self.client.last_complaint();
        let why = away.then(|| self.cluster.why(heard)).flatten();
        let reason = match (why, code) {
            (Some(why), _) => why,
            (None, Some(code)) => explain(code),
            (None, None) => error.to_string(),
        };
        ClusterError {
            cluster: self.cluster.alias.clone(),
            call: call.to_string(),
            reason,
            away,
        }
    }
}

/// Whether an error says that the cluster as a whole does not answer.
fn is_away(code: Option<RDKafkaErrorCode>) -> bool {
    matches!(
        code,
        None | Some(
            RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::NetworkException
        )
    )
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CALL_TIMEOUT))
        .operation_timeout(Some(CALL_TIMEOUT))
}

/// An error code in words, without librdkafka's "Broker: " in front.
pub fn explain(code: RDKafkaErrorCode) -> String {
    let text = KafkaError::AdminOp(code).to_string();
    let text = text.trim_start_matches("Admin operation error: ");
    match text.split_once(" (") {
        Some((name, rest)) => {
            let words = rest
                .trim_end_matches(')')
                .trim_start_matches("Broker: ")
                .trim_start_matches("Local: ");
            format!("{words} ({name})")
        }
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_code_is_explained_in_words() {
        assert_eq!(
            explain(RDKafkaErrorCode::TopicAuthorizationFailed),
            "Topic authorization failed (TopicAuthorizationFailed)"
        );
    }
}
