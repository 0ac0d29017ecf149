//! Where the records of a topic go: every flow that would copy it, what its mirrors are called, and where it ends and why.

use serde::Serialize;

use super::model::{Flow, Topology};
use crate::policy::{Naming, Selection, aliases_in_name};

/// A full mesh of many clusters has more ways than anyone reads.
const STEPS_MAX: usize = 1_000;

/// One flow meets one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The flow's name.
    pub flow: String,
    /// The source cluster.
    pub source: String,
    /// The topic there.
    pub topic: String,
    /// The target cluster.
    pub target: String,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What a flow does with a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is copied into this mirror topic.
    Copied {
        /// The name on the target.
        mirror: String,
    },
    /// It is not copied.
    LeftOut {
        /// Why.
        reason: String,
    },
}

impl Topology {
    /// Follows a topic that is produced to every source cluster through all flows, and the mirrors of it as well.
    ///
    /// This goes by names and the way taken, and asks no cluster. At most a thousand steps are returned.
    pub fn routes(&self, topic: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        // Breadth first: what is copied directly stands in front of what is copied from copies.
        let mut places: Vec<Place> = Vec::new();
        for cluster in &self.clusters {
            let from = self.aliases_in(&cluster.alias, topic);
            places.push(Place {
                cluster: cluster.alias.clone(),
                topic: topic.to_owned(),
                from,
            });
        }
        let mut next = 0;
        while let Some(place) = places.get(next).cloned() {
            next += 1;
            for flow in self.flows.iter().filter(|flow| flow.source == place.cluster) {
                if steps.len() >= STEPS_MAX {
                    return steps;
                }
                let outcome = meet(flow, &place);
                if let Outcome::Copied { mirror } = &outcome {
                    let mut from = place.from.clone();
                    from.push(place.cluster.clone());
                    places.push(Place {
                        cluster: flow.target.clone(),
                        topic: mirror.clone(),
                        from,
                    });
                }
                steps.push(Step {
                    flow: flow.name.clone(),
                    source: flow.source.clone(),
                    topic: place.topic.clone(),
                    target: flow.target.clone(),
                    outcome,
                });
            }
        }
        steps
    }

    /// Where a topic with this name on this cluster came from, if flows into it name by prefix.
    fn aliases_in(&self, cluster: &str, topic: &str) -> Vec<String> {
        let known: Vec<&str> = self
            .clusters
            .iter()
            .map(|cluster| cluster.alias.as_str())
            .collect();
        let into = self.flows.iter().filter(|flow| flow.target == cluster);
        let chains = into.filter_map(|flow| match &flow.naming {
            Naming::Prefix { separator } => Some(aliases_in_name(topic, separator, &known)),
            Naming::Identity | Naming::Template { .. } => None,
        });
        let longest = chains.max_by_key(Vec::len).unwrap_or_default();
        longest.into_iter().map(str::to_owned).collect()
    }
}

/// A topic on a cluster, and the clusters that it was on before.
#[derive(Clone)]
struct Place {
    cluster: String,
    topic: String,
    from: Vec<String>,
}

fn meet(flow: &Flow, place: &Place) -> Outcome {
    let left_out = |reason: String| Outcome::LeftOut { reason };
    match flow.topics.select(&place.topic) {
        Selection::Included => {}
        other => return left_out(other.to_string()),
    }
    if place.from.contains(&flow.target) {
        return left_out(format!(
            "it came from {}: it would come back in a circle",
            flow.target
        ));
    }
    match flow.naming.mirror_topic(&flow.source, &flow.target, &place.topic) {
        Ok(mirror) => Outcome::Copied { mirror },
        Err(error) => left_out(error.to_string()),
    }
}
