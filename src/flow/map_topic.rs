//! The map topic: made where it is missing, compacted in any case, and told anew what it said where somebody has deleted it.

use std::sync::Arc;

use super::discover::Discovery;
use super::member::MirrorPartition;
use crate::cluster::admin::{ConfigValue, TopicListing, TopicSpec};
use crate::cluster::{Admin, ClusterError};
use crate::offsets::record::Key;
use crate::offsets::writer::WriteError;

const CLEANUP_POLICY: &str = "cleanup.policy";
const COMPACT: &str = "compact";

/// How the map topic is kept. Compaction leaves the newest segment of a log alone: with Kafka's 1 GiB a daemon that starts would read
/// far more than what counts.
static CONFIGS: [(&str, &str); 2] = [(CLEANUP_POLICY, COMPACT), ("segment.bytes", "33554432")];

/// Makes the map topic if it is not there. Whoever made it otherwise (a broker makes topics of which it hears, with its own configs), it is
/// kept as [`CONFIGS`] has it: what is on record must not expire.
pub(super) async fn make(
    target: &Admin,
    topic: &str,
    replication_factor: Option<i16>,
) -> Result<(), ClusterError> {
    if !target.has_topic(topic).await? {
        let map = TopicSpec {
            name: topic.to_owned(),
            partitions: 1,
            configs: CONFIGS
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        };
        let made = target.create_topics(&[map], replication_factor).await?;
        for (_, made) in made {
            if made? {
                return Ok(());
            }
        }
    }
    let topics = [topic.to_owned()];
    // Where nobody may know it, or ask, it is left to whoever made it.
    let Some(on_topic) = target.topic_configs(&topics).await?.remove(topic) else {
        return Ok(());
    };
    let is_compacted = |config: &ConfigValue| {
        config.set_on_topic && config.name == CLEANUP_POLICY && config.value == COMPACT
    };
    if on_topic.iter().any(is_compacted) {
        return Ok(());
    }
    let cluster = &target.cluster().alias;
    match target.set_topic_configs(topic, &CONFIGS).await {
        Ok(()) => {
            tracing::info!(%cluster, topic, "the offset map was not compacted: set its cleanup.policy to compact")
        }
        Err(error) => tracing::warn!(
            %cluster, topic,
            "the offset map's cleanup.policy is not compact, so that what is on record in it expires: {error}; set it with kafka-configs"
        ),
    }
    Ok(())
}

impl Discovery {
    /// Sees whether the map topic is the one that it was at the last look, and returns its id. One that was deleted is made again, and told what the
    /// one before said of mirror topics, pauses, and the partitions that are `idle`. True if it has to be told of the others as well.
    pub(super) async fn look_at_map(
        &self,
        on_target: &mut Arc<Vec<TopicListing>>,
        idle: &[MirrorPartition],
    ) -> Result<(bool, Option<String>), ClusterError> {
        let listed = |topics: &[TopicListing]| {
            let map = topics.iter().find(|listing| listing.name == self.map_topic);
            map.map(|listing| listing.id.clone())
        };
        let mut found = listed(on_target);
        if found.is_none() {
            make(&self.target, &self.map_topic, self.flow.replication_factor).await?;
            *on_target = self.target.topics().await?;
            found = listed(on_target);
        }
        let before = self.map_id().clone();
        // Without ids one that was made again is not told from the one before, and one that is not listed yet is there at the next look.
        let Some(Some(id)) = found else {
            return Ok((false, before));
        };
        let is_new = before.is_some_and(|before| before != id);
        if is_new {
            tracing::warn!(
                flow = %self.flow.name, cluster = %self.flow.target, topic = %self.map_topic,
                "the offset map was deleted and made again: what is known of it is written again, and offsets that were copied long ago cannot be translated any more"
            );
            make(&self.target, &self.map_topic, self.flow.replication_factor).await?;
            self.target_maps.begin_anew();
            let told = self.tell_again(idle).await;
            told.map_err(|error| self.not_written(&error))?;
        }
        Ok((is_new, Some(id)))
    }

    async fn tell_again(&self, idle: &[MirrorPartition]) -> Result<(), WriteError> {
        self.writer.begin_anew().await?;
        let mirrors = self.target_maps.provenances(&self.map_topic);
        self.writer.provenance(&mirrors).await?;
        let pauses = self.target_maps.pauses();
        let pauses = pauses
            .iter()
            .map(|(scope, pause)| (scope.clone(), Some(pause.clone())));
        self.writer.pauses(&pauses.collect::<Vec<_>>()).await?;
        let blocks = idle.iter().filter_map(|(topic, partition)| {
            let ((block, owner), last) = self.target_maps.last_block(topic, *partition)?;
            let key = Key {
                topic: topic.clone(),
                partition: Some(*partition),
                block: Some(block),
                owner,
            };
            Some((key, Some(last)))
        });
        self.writer.blocks(&blocks.collect::<Vec<_>>()).await
    }
}
