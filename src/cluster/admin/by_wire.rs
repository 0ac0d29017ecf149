//! What is asked often, or of many topics at once, by our own client: librdkafka keeps each topic of an answer in lists that it goes through
//! for each of them, and all configs of all topics at a time in memory.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use heliostat_wire::client::{Client, Error};
use heliostat_wire::message::describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult};
use heliostat_wire::message::{DescribeConfigsRequest, MetadataResponse};
use heliostat_wire::{ErrorCode, Uuid};

use super::{Admin, ConfigValue, EFFECTIVE_CONFIGS, Listed, TopicConfigs, TopicListing, is_away};
use crate::cluster::ClusterError;
use crate::cluster::native::{OffsetSpec, PartitionOffset};
use crate::cluster::offsets;

/// Topics, among the resources that have configs.
pub(crate) const TOPIC_RESOURCE: i8 = 2;

/// Where a value comes from that is set on the topic itself.
const SET_ON_TOPIC: i8 = 1;

/// How long a question may take that any broker can answer: a client waits for a silent one for half of that before it asks another.
const ANY_BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take to see whether anybody answers: a cluster that has fallen silent is said to be away before its log ends count as unknown.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);

/// The configs of so many topics are asked for at once: a broker answers with some 5 KB for each.
const CONFIGS_AT_ONCE: usize = 100;

/// So many topics are asked for by name at once.
const NAMES_AT_ONCE: usize = 1_000;

impl Admin {
    pub(super) async fn cluster_id_by_wire(&self, client: &Client) -> Result<String, ClusterError> {
        let call = "ask for the cluster id";
        let id = self
            .in_time(call, ANY_BROKER_TIMEOUT, client.cluster_id())
            .await?;
        let id = id.ok_or_else(|| self.is_away(call, "its brokers tell none".to_owned()))?;
        self.cluster.identified(&id);
        Ok(id)
    }

    pub(super) async fn topics_by_wire(
        &self,
        client: &Client,
    ) -> Result<Arc<Vec<TopicListing>>, ClusterError> {
        let last = self.listed().clone();
        let question = client.metadata_of_all(last.as_ref().map(|(answer, _)| answer));
        let told = self.in_time("list topics", ANY_BROKER_TIMEOUT, question).await?;
        let (raw, answer) = match (told, last) {
            (Some(told), _) => told,
            (None, Some((_, topics))) => return Ok(topics),
            // Only an answer that is the same as the last one is not told.
            (None, None) => return Ok(Arc::default()),
        };
        let mut topics: Vec<TopicListing> = listings(answer).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let topics = Arc::new(topics);
        *self.listed() = Some((raw, topics.clone()));
        Ok(topics)
    }

    pub(super) async fn topics_named_by_wire(
        &self,
        client: &Client,
        names: &[String],
    ) -> Result<Vec<TopicListing>, ClusterError> {
        let mut topics = Vec::new();
        for names in names.chunks(NAMES_AT_ONCE) {
            let question = client.metadata(names);
            let answer = self
                .in_time("describe topics", ANY_BROKER_TIMEOUT, question)
                .await?;
            topics.extend(listings(answer));
        }
        Ok(topics)
    }

    fn listed(&self) -> MutexGuard<'_, Option<Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn topic_configs_by_wire(
        &self,
        client: &Client,
        topics: &[String],
    ) -> Result<TopicConfigs, ClusterError> {
        let mut configs = TopicConfigs::new();
        for topics in topics.chunks(CONFIGS_AT_ONCE) {
            let resources = topics.iter().map(|topic| DescribeConfigsResource {
                resource_type: TOPIC_RESOURCE,
                resource_name: topic.clone(),
                configuration_keys: None,
            });
            let request = DescribeConfigsRequest {
                resources: resources.collect(),
                ..Default::default()
            };
            let answer = self
                .in_time("describe configs", ANY_BROKER_TIMEOUT, client.any(request))
                .await?;
            // A topic whose configs nobody tells is one without.
            let told = answer.results.into_iter().filter(|topic| topic.error_code == 0);
            configs.extend(told.map(|topic| {
                let values = topic.configs.into_iter().filter_map(value).collect();
                (topic.resource_name, values)
            }));
        }
        Ok(configs)
    }

    pub(super) async fn offsets_by_wire(
        &self,
        client: &Client,
        partitions: Vec<(String, i32)>,
        spec: OffsetSpec,
    ) -> Result<Vec<PartitionOffset>, ClusterError> {
        let call = "list offsets";
        let found = offsets::list(client, partitions, spec).await;
        let failed = |(found, _): &&(PartitionOffset, _)| {
            found.offset.as_ref().is_err_and(|code| is_away(Some(*code)))
        };
        // Where not one partition was answered, their leaders may be away, or the cluster: then nobody answers anything.
        let is_unanswered = !found.is_empty() && found.iter().filter(failed).count() == found.len();
        if is_unanswered && !answers(client).await {
            let reason = found.into_iter().find_map(|(_, reason)| reason);
            let reason = reason.unwrap_or_else(|| "no broker answers".into());
            return Err(self.is_away(call, reason));
        }
        self.cluster.answered();
        Ok(found.into_iter().map(|(found, _)| found).collect())
    }

    /// Which of these partitions have a log that can be written to. That a leader has none yet does not mean here that another one leads: of
    /// partitions that were made a moment ago the leader is known before its log is there.
    pub async fn which_are_there(&self, partitions: Vec<(String, i32)>) -> HashSet<(String, i32)> {
        match &self.wire {
            Some(client) => offsets::which_are_there(client, partitions).await,
            None => partitions.into_iter().collect(),
        }
    }

    /// Notes what the outcome says of the cluster as a whole.
    async fn in_time<T>(
        &self,
        call: &str,
        timeout: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(timeout, work).await {
            Ok(Ok(answer)) => {
                self.cluster.answered();
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.is_away(call, error.to_string())),
            Err(_elapsed) => Err(self.is_away(call, no_answer(timeout))),
        }
    }

    fn is_away(&self, call: &str, reason: String) -> ClusterError {
        self.cluster.failed(&reason);
        ClusterError {
            cluster: self.cluster.alias.clone(),
            call: call.to_owned(),
            reason,
            away: true,
        }
    }
}

/// The topics that are there.
fn listings(answer: MetadataResponse) -> impl Iterator<Item = TopicListing> {
    let topics = answer.topics.into_iter();
    let topics = topics.filter(|topic| ErrorCode::from_code(topic.error_code).is_none());
    topics.filter_map(|topic| {
        Some(TopicListing {
            name: topic.name?,
            partitions: topic.partitions.len(),
            id: (!topic.topic_id.is_zero()).then(|| as_librdkafka_writes(topic.topic_id)),
        })
    })
}

/// An id as librdkafka writes it, in the standard alphabet of base64 where Java has the one for URLs: offset maps hold ids so.
pub(crate) fn as_librdkafka_writes(id: Uuid) -> String {
    id.to_string().replace('-', "+").replace('_', "/")
}

/// The id that is written so.
pub(crate) fn as_librdkafka_reads(id: &str) -> Option<Uuid> {
    id.replace('+', "-").replace('/', "_").parse().ok()
}

/// Whether any broker of a cluster answers. Which of them do is known by then, from looking for leaders.
async fn answers(client: &Client) -> bool {
    let asked = tokio::time::timeout(ANSWERS_TIMEOUT, client.metadata(&[])).await;
    asked.is_ok_and(|answer| answer.is_ok())
}

fn no_answer(timeout: Duration) -> String {
    format!("no answer within {} s", timeout.as_secs())
}

/// What is wanted of a config.
fn value(config: DescribeConfigsResourceResult) -> Option<ConfigValue> {
    let set_on_topic = config.config_source == SET_ON_TOPIC;
    let is_wanted =
        !config.is_sensitive && (set_on_topic || EFFECTIVE_CONFIGS.contains(&config.name.as_str()));
    Some(ConfigValue {
        value: config.value.filter(|_| is_wanted)?,
        name: config.name,
        set_on_topic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_whichever_client_has_asked() {
        let mut bytes = [0xff; 16];
        bytes[0] = 0xfb;
        assert_eq!(
            as_librdkafka_writes(Uuid::from_bytes(bytes)),
            "+////////////////////w"
        );
        let read = as_librdkafka_reads("+////////////////////w");
        assert_eq!(read, Some(Uuid::from_bytes(bytes)));
    }
}
