//! What one flow would do with the topics that its source has now.

use serde::Serialize;

use super::Answer;
use crate::observe::status::LeftOut;
use crate::policy::{Naming, Selection, aliases_in_name};
use crate::topology::{Flow, Topology};

/// What a flow would do.
#[derive(Debug, Serialize)]
pub struct FlowPreview {
    /// Its name.
    pub name: String,
    /// Why nothing can be said of it.
    pub unknown: Option<String>,
    /// The topics that it would mirror, by name.
    pub topics: Vec<MirrorPreview>,
    /// The topics of the source that it would not mirror.
    pub left_out: Vec<LeftOut>,
}

/// A topic of the source, and its mirror.
#[derive(Debug, Serialize)]
pub struct MirrorPreview {
    /// The topic on the source.
    pub topic: String,
    /// Its partitions.
    pub partitions: usize,
    /// The name of its mirror.
    pub mirror: String,
    /// How the mirror stands on the target.
    pub state: MirrorState,
}

/// How a mirror topic stands on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorState {
    /// It is not there: the flow creates it.
    New,
    /// It is there, and an offset map says that it is the mirror of this topic.
    Mirror,
    /// It is there, and no offset map says that it is a mirror: the flow would write to it.
    Taken,
    /// The target does not answer, or its offset maps could not be read.
    Unknown,
}

/// The same decisions that a running flow takes, without making anything.
pub(super) fn preview(topology: &Topology, flow: &Flow, source: &Answer, target: &Answer) -> FlowPreview {
    let mut preview = FlowPreview {
        name: flow.name.clone(),
        unknown: None,
        topics: Vec::new(),
        left_out: Vec::new(),
    };
    if !source.is_there() {
        preview.unknown = Some(format!("the topics of {} are not known", flow.source));
        return preview;
    }
    if source.connection.cluster_id == target.connection.cluster_id {
        preview.unknown = Some(format!("{} and {} are one cluster", flow.source, flow.target));
        return preview;
    }
    for (topic, &partitions) in &source.topics {
        match mirror(topology, flow, topic, source, target) {
            Ok((mirror, state)) => preview.topics.push(MirrorPreview {
                topic: topic.clone(),
                partitions,
                mirror,
                state,
            }),
            Err(reason) => preview.left_out.push(LeftOut {
                topic: topic.clone(),
                reason,
            }),
        }
    }
    preview
}

fn mirror(
    topology: &Topology,
    flow: &Flow,
    topic: &str,
    source: &Answer,
    target: &Answer,
) -> Result<(String, MirrorState), String> {
    match flow.topics.select(topic) {
        Selection::Included => {}
        other => return Err(other.to_string()),
    }
    let maps = source.maps.as_ref();
    let path = maps
        .and_then(|maps| maps.provenance(topic))
        .map(|(_, provenance)| provenance.path);
    if let (Some(path), Some(id)) = (path, &target.connection.cluster_id)
        && path.contains(id)
    {
        return Err(format!(
            "it would come back in a circle: its records have passed {} before",
            flow.target
        ));
    }
    let aliases: Vec<&str> = topology
        .clusters
        .iter()
        .map(|cluster| cluster.alias.as_str())
        .collect();
    let separator = match &flow.naming {
        Naming::Prefix { separator } => separator,
        Naming::Identity | Naming::Template { .. } => ".",
    };
    if aliases_in_name(topic, separator, &aliases).contains(&flow.target.as_str()) {
        return Err(format!(
            "it would come back in a circle: its name says that its records come from {}",
            flow.target
        ));
    }
    let mirror = flow
        .naming
        .mirror_topic(&flow.source, &flow.target, topic)
        .map_err(|error| error.to_string())?;
    let state = state_of(&mirror, topic, source, target)?;
    Ok((mirror, state))
}

fn state_of(mirror: &str, topic: &str, source: &Answer, target: &Answer) -> Result<MirrorState, String> {
    if !target.is_there() {
        return Ok(MirrorState::Unknown);
    }
    let known = target.maps.as_ref().and_then(|maps| maps.provenance(mirror));
    match known {
        Some((map_topic, other))
            if Some(&other.source_cluster) != source.connection.cluster_id.as_ref()
                || other.source_topic != topic =>
        {
            Err(format!(
                "{mirror} on {} is the mirror of {} of another cluster already, as {map_topic} there says: choose another name",
                target.connection.alias, other.source_topic
            ))
        }
        _ if !target.topics.contains_key(mirror) => Ok(MirrorState::New),
        Some(_) => Ok(MirrorState::Mirror),
        None if target.connection.reason.is_some() => Ok(MirrorState::Unknown),
        None => Ok(MirrorState::Taken),
    }
}
