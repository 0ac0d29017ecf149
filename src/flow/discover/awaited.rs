//! Mirror topics that were asked for and cannot be seen yet. Kafka's controller has made a topic long before its brokers have: they make the
//! logs of a thousand partitions first, which takes them seconds. Meanwhile only those that are missing are asked for. All that there is to see
//! on both clusters would be seen again and again instead, by brokers that have enough to do.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Candidate, Described, Discovered, Discovery, described, finish};
use crate::cluster::ClusterError;

/// For how long nothing else is looked for; then what is missing is asked for anew.
const AWAITED_FOR: Duration = Duration::from_secs(5);

/// What a look has found, on its way to be seen as a whole.
#[derive(Debug)]
pub(in crate::flow) struct Awaited {
    /// What does not depend on the mirrors.
    found: Discovered,
    candidates: Vec<Candidate>,
    /// Why some could not be made, by source topic.
    problems: HashMap<String, String>,
    on_source: Described,
    on_target: Described,
    until: Instant,
}

impl Awaited {
    pub(super) fn new(
        found: Discovered,
        (candidates, problems): (Vec<Candidate>, HashMap<String, String>),
        (on_source, on_target): (Described, Described),
    ) -> Awaited {
        Awaited {
            found,
            candidates,
            problems,
            on_source,
            on_target,
            until: Instant::now() + AWAITED_FOR,
        }
    }

    /// The mirror topics that the target has not told of, or not of all their partitions.
    fn missing(&self) -> Vec<String> {
        let is_missing = |candidate: &&Candidate| {
            let told = self.on_target.get(&candidate.target_topic);
            let partitions = told.and_then(|(partitions, _)| *partitions);
            !self.problems.contains_key(&candidate.topic)
                && partitions.is_none_or(|partitions| partitions < candidate.partitions)
        };
        let missing = self.candidates.iter().filter(is_missing);
        missing.map(|candidate| candidate.target_topic.clone()).collect()
    }
}

impl Discovery {
    /// What the last look is still waiting for, if there is something, and it is worth to wait for it.
    pub(super) fn take_awaited(&self) -> Option<Awaited> {
        let awaited = self.awaited().take();
        awaited.filter(|awaited| Instant::now() < awaited.until)
    }

    /// The next look is one at both clusters.
    pub(in crate::flow) fn await_no_longer(&self) {
        self.awaited().take();
    }

    /// Asks for what is missing, and waits on for what is not there if that is new. What has been there before is said to be missing.
    pub(super) async fn look_for(
        &self,
        mut awaited: Awaited,
        is_new: bool,
    ) -> Result<Discovered, ClusterError> {
        let told = self.target.topics_named(&awaited.missing()).await?;
        awaited.on_target.extend(described(&told));
        let sides = (&awaited.on_source, &awaited.on_target);
        let mut found = finish(
            awaited.found.clone(),
            &awaited.candidates,
            &awaited.problems,
            sides,
        );
        if !found.is_whole && is_new {
            awaited.found.map_is_new = false;
            *self.awaited() = Some(awaited);
        } else {
            for mirror in found.mirrors.values_mut() {
                mirror.is_unseen = mirror.partitions == 0 && mirror.problem.is_none();
            }
        }
        Ok(found)
    }
}
