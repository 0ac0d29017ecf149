//! `heliostat pause` and `heliostat resume`: what is not to be copied for now, written down on the target.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::args::{PauseArgs, PauseWhat, ResumeArgs};
use super::text::clean;
use super::{Failure, exit, load, print};
use crate::flow::daemon::Fleet;
use crate::flow::pause::{self, Outcome, PauseError, Site, Wish, resume_command};
use crate::observe::http::{Control, ControlAnswer, ControlRequest};
use crate::observe::status::PauseStatus;
use crate::offsets::pause::Scope;
use crate::topology::{Flow, Topology};

/// Runs `heliostat pause`.
///
/// # Errors
/// If there is nothing of that name, or the target does not answer; see [`exit`].
pub async fn run(args: PauseArgs) -> anyhow::Result<u8> {
    let topology = load(&args.what.file)?;
    let flow = find_flow(&topology, args.what.flow.as_deref())?;
    let fleet = Fleet::new(&topology, |_| None);
    let site = Site { flow, fleet: &fleet };
    let scope = scope(&args.what);
    let wish = Wish {
        by: whoever_this_is(),
        reason: args.reason,
    };
    let outcome = pause::pause(&site, scope.clone(), wish).await.map_err(explain)?;
    let what = clean(&format!("{scope} of {}", flow.name)).into_owned();
    let done = match outcome.changed.is_empty() {
        true => format!("{what} is paused already"),
        false => format!("paused {what}"),
    };
    let command = resume_command(&site, &scope);
    print(&format!("{done}; to resume: {}\n", clean(&command)))?;
    Ok(exit::OK)
}

/// Runs `heliostat resume`.
///
/// # Errors
/// If there is nothing of that name, if it is paused with something wider, or if the target does not answer; see [`exit`].
pub async fn run_resume(args: ResumeArgs) -> anyhow::Result<u8> {
    let topology = load(&args.what.file)?;
    let flow = find_flow(&topology, args.what.flow.as_deref())?;
    let fleet = Fleet::new(&topology, |_| None);
    let site = Site { flow, fleet: &fleet };
    let scope = scope(&args.what);
    let outcome = pause::resume(&site, scope.clone(), args.all)
        .await
        .map_err(explain)?;
    print(&clean_lines(&resumed(&site, &scope, &outcome)))?;
    Ok(exit::OK)
}

/// What came of resuming, for a person.
fn resumed(site: &Site<'_>, scope: &Scope, outcome: &Outcome) -> Vec<String> {
    let name = &site.flow.name;
    let mut lines: Vec<String> = outcome
        .changed
        .iter()
        .map(|scope| format!("resumed {scope} of {name}"))
        .collect();
    if lines.is_empty() {
        lines.push(format!("{scope} of {name} is not paused"));
    }
    for (still, pause) in &outcome.still {
        let why = pause.reason.as_ref().map(|reason| format!(": {reason}"));
        lines.push(format!(
            "still paused: {still}, by {}{}; to resume: {}",
            pause.by,
            why.unwrap_or_default(),
            resume_command(site, still)
        ));
    }
    lines
}

/// What is to be paused or resumed, as the HTTP server takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PauseBody {
    /// The flow; needed where there are several.
    pub flow: Option<String>,
    /// The source topic; absent for all.
    pub topic: Option<String>,
    /// The partition; absent for all.
    pub partition: Option<i32>,
    /// Why; only to pause.
    pub reason: Option<String>,
    /// Parts that were paused on their own too; only to resume.
    pub all: Option<bool>,
}

/// Pausing and resuming as the HTTP server needs it. `open`: other machines may do it too.
pub fn serve(topology: Topology, fleet: Fleet, open: bool) -> Control {
    let of = Arc::new((topology, fleet));
    Control {
        answer: Arc::new(move |request| {
            let of = of.clone();
            Box::pin(async move {
                answer(&of.0, &of.1, request)
                    .await
                    .unwrap_or_else(|(code, message)| ControlAnswer::error(code, message))
            })
        }),
        open,
    }
}

async fn answer(
    topology: &Topology,
    fleet: &Fleet,
    request: ControlRequest,
) -> Result<ControlAnswer, (StatusCode, String)> {
    let wrong = |message: String| (StatusCode::BAD_REQUEST, message);
    if request.method != Method::POST {
        let message = "only POST is possible here".to_owned();
        return Err((StatusCode::METHOD_NOT_ALLOWED, message));
    }
    let body: PauseBody = serde_json::from_slice(&request.body)
        .map_err(|error| wrong(format!("the body cannot be read: {error}")))?;
    let flow = find_flow(topology, body.flow.as_deref()).map_err(|error| wrong(error.to_string()))?;
    let site = Site { flow, fleet };
    let scope = match (body.topic, body.partition) {
        (None, None) => Scope::Flow,
        (Some(topic), None) => Scope::Topic(topic),
        (Some(topic), Some(partition)) if partition >= 0 => Scope::Partition(topic, partition),
        (None, Some(_)) => return Err(wrong("a partition needs a topic".to_owned())),
        (_, Some(partition)) => return Err(wrong(format!("{partition} is no partition"))),
    };
    let is_pause = request.path.last().is_some_and(|action| action == "pause");
    let outcome = match (is_pause, body.reason, body.all) {
        (true, reason, None) => {
            let by = "HTTP".to_owned();
            pause::pause(&site, scope, Wish { by, reason }).await
        }
        (false, None, all) => pause::resume(&site, scope, all.unwrap_or(false)).await,
        (true, ..) => return Err(wrong("all is only for resuming".to_owned())),
        (false, ..) => return Err(wrong("a reason is only for pausing".to_owned())),
    };
    let outcome = outcome.map_err(|error| {
        let code = match &error {
            PauseError::Unknown(_) => StatusCode::NOT_FOUND,
            PauseError::InTheWay(_) => StatusCode::CONFLICT,
            PauseError::Cluster(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (code, error.to_string())
    })?;
    let place = |scope: &Scope| json!({ "topic": scope.topic(), "partition": scope.partition() });
    let changed: Vec<serde_json::Value> = outcome.changed.iter().map(place).collect();
    let still = outcome.still.iter();
    let still: Vec<PauseStatus> = still
        .map(|(scope, pause)| pause::shown(&site, scope, pause))
        .collect();
    Ok(ControlAnswer {
        code: StatusCode::OK,
        body: json!({ "changed": changed, "still": still }),
    })
}

fn clean_lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", clean(line))).collect()
}

fn scope(what: &PauseWhat) -> Scope {
    match (&what.topic, what.partition) {
        (None, _) => Scope::Flow,
        (Some(topic), None) => Scope::Topic(topic.clone()),
        (Some(topic), Some(partition)) => Scope::Partition(topic.clone(), partition),
    }
}

/// The flow that is meant.
fn find_flow<'a>(topology: &'a Topology, name: Option<&str>) -> anyhow::Result<&'a Flow> {
    let names = || {
        let names: Vec<&str> = topology.flows.iter().map(|flow| flow.name.as_str()).collect();
        names.join(", ")
    };
    let message = match (name, &topology.flows[..]) {
        (None, [only]) => return Ok(only),
        (None, []) => "the file has no flows".to_owned(),
        (None, _) => format!("there are several flows: choose with --flow, from {}", names()),
        (Some(name), _) => match topology.flow(name) {
            Some(flow) => return Ok(flow),
            None => format!("there is no flow {name}; there are: {}", names()),
        },
    };
    Err(failure(exit::USAGE, message))
}

fn explain(error: PauseError) -> anyhow::Error {
    let code = match &error {
        PauseError::Unknown(_) => exit::USAGE,
        PauseError::InTheWay(_) | PauseError::Cluster(_) => exit::PRECONDITION,
    };
    failure(code, error.to_string())
}

fn failure(code: u8, message: String) -> anyhow::Error {
    Failure { code, message }.into()
}

/// User and machine, as far as they can be found out.
fn whoever_this_is() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host
        .map(|host| host.trim().to_owned())
        .filter(|host| !host.is_empty())
        .or_else(|| variable("HOSTNAME"));
    let user = user.unwrap_or_else(|| "somebody".to_owned());
    match host {
        Some(host) => format!("{user}@{host}"),
        None => user,
    }
}
