//! Pausing and resuming a flow, a topic or a partition: written down on the target, where every daemon of the flow reads it. Nothing here needs a
//! daemon.

use std::sync::Arc;

use super::daemon::Fleet;
use super::discover::Discovery;
use super::map_end::read_to_end;
use super::map_topic;
use super::now_ms;
use super::survey::{READ_TIMEOUT, map_reader, topics_to_mirror};
use crate::cluster::{Admin, ClusterError};
use crate::observe::status::PauseStatus;
use crate::offsets::pause::{Pause, Pauses, Scope};
use crate::offsets::record::{self, VERSION};
use crate::offsets::store::MapReader;
use crate::offsets::writer::MapWriter;
use crate::topology::Flow;

/// A longer reason is no line that anybody reads.
pub const REASON_CHARS_MAX: usize = 500;

/// So many topics are named where one is asked for that is not there.
const TOPICS_NAMED: usize = 20;

/// The client of these calls.
const CLIENT: &str = "heliostat/pause";

/// A flow, and its clusters.
pub struct Site<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// All clusters of its topology.
    pub fleet: &'a Fleet,
}

/// Who wants something paused, and why.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What is paused or resumed now and was not before.
    pub changed: Vec<Scope>,
    /// The pauses that still hold for what was resumed, or for a part of it.
    pub still: Vec<(Scope, Pause)>,
}

/// Why something is not paused or resumed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// It names what is not there.
    #[error("{0}")]
    Unknown(String),
    /// It would not do what it says.
    #[error("{0}")]
    InTheWay(String),
    /// A cluster does not answer, or refuses.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Why a partition is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Why, in one line.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// The commands that resume it.
    pub clears: String,
}

/// Pause something. What is paused already stays so, with a new reason if there is one.
pub async fn pause(site: &Site<'_>, scope: Scope, wish: Wish) -> Result<Outcome, PauseError> {
    if let Some(reason) = &wish.reason
        && reason.chars().count() > REASON_CHARS_MAX
    {
        let message = format!(
            "a reason has {REASON_CHARS_MAX} characters at most, and this one has {}",
            reason.chars().count()
        );
        return Err(PauseError::Unknown(message));
    }
    if wish
        .reason
        .as_ref()
        .is_some_and(|reason| reason.trim().is_empty())
    {
        let message = "a reason is not empty: write why, or leave it out".to_owned();
        return Err(PauseError::Unknown(message));
    }
    let desk = Desk::open(site, true).await?;
    desk.expect_known(&scope).await?;
    let pauses = desk.pauses();
    let known = pauses.get(&scope);
    if known.is_some_and(|known| wish.reason.is_none() || wish.reason == known.reason) {
        return Ok(Outcome::default());
    }
    let pause = Pause {
        v: VERSION,
        by: wish.by,
        at_ms: known.map_or_else(now_ms, |known| known.at_ms),
        reason: wish.reason,
    };
    desk.write(&[(scope.clone(), Some(pause))]).await?;
    Ok(Outcome {
        changed: vec![scope],
        still: Vec::new(),
    })
}

/// Resume exactly what was paused under this name, and with `all` also what was paused of it in parts.
pub async fn resume(site: &Site<'_>, scope: Scope, all: bool) -> Result<Outcome, PauseError> {
    let desk = Desk::open(site, false).await?;
    let mut pauses = (*desk.pauses()).clone();
    let mut changed: Vec<Scope> = pauses
        .get(&scope)
        .is_some()
        .then(|| scope.clone())
        .into_iter()
        .collect();
    if all {
        changed.extend(pauses.below(&scope).map(|(scope, _)| scope.clone()));
    }
    if changed.is_empty() {
        desk.expect_known(&scope).await?;
        let above: Vec<&Scope> = pauses.above(&scope).map(|(scope, _)| scope).collect();
        if let Some(widest) = above.first() {
            let commands = above.iter().map(|above| resume_command(site, above));
            let message = format!(
                "{scope} of {flow} is not paused by itself but with {widest}: resume that, with `{}`; to keep the rest paused, pause its parts before",
                commands.collect::<Vec<_>>().join("` and `"),
                flow = site.flow.name
            );
            return Err(PauseError::InTheWay(message));
        }
    }
    let taken_back: Vec<_> = changed.iter().map(|scope| (scope.clone(), None)).collect();
    desk.write(&taken_back).await?;
    changed.iter().for_each(|scope| pauses.resumed(scope));
    let still = pauses.above(&scope).chain(pauses.below(&scope));
    let still = still
        .map(|(scope, pause)| (scope.clone(), pause.clone()))
        .collect();
    Ok(Outcome { changed, still })
}

/// The command that takes a pause back.
pub fn resume_command(site: &Site<'_>, scope: &Scope) -> String {
    let mut command = format!(
        "heliostat resume {} --flow '{}'",
        quoted(&site.fleet.file().to_string_lossy()),
        site.flow.name
    );
    if let Some(topic) = scope.topic() {
        command += &format!(" --topic {}", quoted(topic));
    }
    if let Some(partition) = scope.partition() {
        command += &format!(" --partition {partition}");
    }
    command
}

/// Why a partition is paused, if it is.
pub fn paused(site: &Site<'_>, pauses: &Pauses, topic: &str, partition: i32) -> Option<Paused> {
    let of: Vec<(&Scope, &Pause)> = pauses.of(topic, partition).collect();
    let since_ms = of.iter().map(|(_, pause)| pause.at_ms).min()?;
    let reasons = of.iter().map(|(scope, pause)| {
        let with = match scope {
            Scope::Partition(..) => String::new(),
            scope => format!(" with {scope}"),
        };
        let why = pause.reason.as_ref().map(|reason| format!(": {reason}"));
        format!("paused{with} by {}{}", pause.by, why.unwrap_or_default())
    });
    let commands = of.iter().map(|(scope, _)| resume_command(site, scope));
    Some(Paused {
        reason: reasons.collect::<Vec<_>>().join("; "),
        since_ms,
        clears: commands.collect::<Vec<_>>().join(" && "),
    })
}

/// Everything that is paused, for the status of the flow.
pub fn listed(site: &Site<'_>, pauses: &Pauses) -> Vec<PauseStatus> {
    pauses
        .iter()
        .map(|(scope, pause)| shown(site, scope, pause))
        .collect()
}

/// One of them.
pub fn shown(site: &Site<'_>, scope: &Scope, pause: &Pause) -> PauseStatus {
    PauseStatus {
        topic: scope.topic().map(str::to_owned),
        partition: scope.partition(),
        by: pause.by.clone(),
        reason: pause.reason.clone(),
        since_ms: pause.at_ms,
        clears: resume_command(site, scope),
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    match word.is_empty() || !word.chars().all(is_plain) {
        true => format!("'{}'", word.replace('\'', r"'\''")),
        false => word.to_owned(),
    }
}

/// The flow's map topic, read to its end, and what is needed to write to it.
struct Desk<'a> {
    site: &'a Site<'a>,
    map_topic: String,
    tools: Tools,
}

/// The clients that all this is done with.
enum Tools {
    /// Those of the flow, which runs in this process.
    Flow(Arc<Discovery>),
    /// Own ones. Without a reader there is no map topic, and none was wanted.
    Own { target: Admin, map: Option<MapReader> },
}

impl Tools {
    fn target(&self) -> &Admin {
        match self {
            Tools::Flow(flow) => &flow.target,
            Tools::Own { target, .. } => target,
        }
    }

    fn map(&self) -> Option<&MapReader> {
        match self {
            Tools::Flow(flow) => Some(&flow.target_maps),
            Tools::Own { map, .. } => map.as_ref(),
        }
    }
}

impl<'a> Desk<'a> {
    async fn open(site: &'a Site<'a>, make: bool) -> Result<Desk<'a>, PauseError> {
        let flow = site.flow;
        let map_topic = record::topic_name(&flow.source);
        if let Some(running) = site.fleet.running_flow(&flow.name) {
            let map = [map_topic.as_str()];
            read_to_end(&running.target, &running.target_maps, map, READ_TIMEOUT).await?;
            let tools = Tools::Flow(running);
            return Ok(Desk {
                site,
                map_topic,
                tools,
            });
        }
        let target = Admin::new(site.fleet.cluster(&flow.target)?.clone(), CLIENT)?;
        if make {
            map_topic::make(&target, &map_topic, flow.replication_factor).await?;
        }
        let map = map_reader(flow, target.cluster(), &target).await?;
        let tools = Tools::Own { target, map };
        Ok(Desk {
            site,
            map_topic,
            tools,
        })
    }

    fn pauses(&self) -> Arc<Pauses> {
        self.tools.map().map(MapReader::pauses).unwrap_or_default()
    }

    async fn write(&self, pauses: &[(Scope, Option<Pause>)]) -> Result<(), PauseError> {
        if pauses.is_empty() {
            return Ok(());
        }
        let call = "write to the offset map";
        let target = &self.site.flow.target;
        let written = match &self.tools {
            Tools::Flow(flow) => flow.writer.pauses(pauses).await,
            Tools::Own { target: admin, .. } => {
                let writer = MapWriter::start(admin.cluster(), CLIENT, &self.map_topic)
                    .map_err(|error| failed(target, call, error.to_string()))?;
                writer.pauses(pauses).await
            }
        };
        written.map_err(|error| failed(target, call, error.to_string()).into())
    }

    /// Fails if the flow has no such topic or partition. What is on record on the target is believed without asking the source, which may be away.
    async fn expect_known(&self, scope: &Scope) -> Result<(), PauseError> {
        let Some(topic) = scope.topic() else { return Ok(()) };
        let flow = self.site.flow;
        let map = self.tools.map();
        let mirrors = map
            .map(|map| map.provenances(&self.map_topic))
            .unwrap_or_default();
        let mirror = mirrors
            .iter()
            .find(|(_, provenance)| provenance.source_topic == topic && flow.topics.includes(topic));
        if let Some((mirror, _)) = mirror {
            let Some(partition) = scope.partition() else {
                return Ok(());
            };
            let on_target = self.tools.target().topics().await?;
            let on_target = on_target.iter().find(|listing| listing.name == *mirror);
            if on_target.is_some_and(|listing| (partition as usize) < listing.partitions) {
                return Ok(());
            }
        }
        let source = Admin::new(self.site.fleet.cluster(&flow.source)?.clone(), CLIENT)?;
        let aliases = self.site.fleet.aliases();
        let ids = (
            source.cluster_id().await?,
            self.tools.target().cluster_id().await?,
        );
        let ids = (ids.0.as_str(), ids.1.as_str());
        let topics = topics_to_mirror(flow, &source, &aliases, ids, map).await?;
        let Some(listing) = topics.iter().find(|listing| listing.name == topic) else {
            let names: Vec<&str> = topics.iter().map(|listing| listing.name.as_str()).collect();
            let of_mirror = mirrors.iter().find(|(mirror, _)| mirror == topic);
            let hint = of_mirror.map(|(_, provenance)| provenance.source_topic.as_str());
            return Err(PauseError::Unknown(unknown_topic(flow, topic, &names, hint)));
        };
        match scope.partition() {
            Some(partition) if partition as usize >= listing.partitions => Err(PauseError::Unknown(format!(
                "{topic} has no partition {partition}: it has {}, from 0 on",
                listing.partitions
            ))),
            _ => Ok(()),
        }
    }
}

fn unknown_topic(flow: &Flow, topic: &str, names: &[&str], hint: Option<&str>) -> String {
    let name = &flow.name;
    if let Some(hint) = hint {
        return format!("{topic} is a mirror of flow {name}: name the topic on the source, {hint}");
    }
    if names.is_empty() {
        return format!("flow {name} has no topic {topic}: it has none");
    }
    let more = match names.len().saturating_sub(TOPICS_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let named = names[..names.len().min(TOPICS_NAMED)].join(", ");
    format!("flow {name} has no topic {topic}; it has: {named}{more}")
}

fn failed(cluster: &str, call: &str, reason: String) -> ClusterError {
    ClusterError {
        cluster: cluster.to_owned(),
        call: call.to_owned(),
        reason,
        away: true,
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_command_can_be_pasted() {
        assert_eq!(quoted("topologies/a-b_c.yaml"), "topologies/a-b_c.yaml");
        assert_eq!(quoted("my file's.yaml"), r"'my file'\''s.yaml'");
        assert_eq!(quoted(""), "''");
    }
}
