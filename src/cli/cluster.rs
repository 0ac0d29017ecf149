//! `heliostat cluster` and `heliostat fault`: what is done to built-in clusters while they run.

mod outcome;
mod typed;

use std::time::Duration;

use heliostat_broker::{Fault, FaultKind, supported_apis};
use heliostat_wire::ErrorCode;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::args::OutputArg;
use super::cluster_args::{
    ClusterAction, ClusterArgs, FaultAction, FaultAddArgs, FaultArgs, NoticedAfter, WhereArgs,
};
use super::control::{ClusterView, IsolateBody, IsrBody, LeaderBody};
use super::table::{Align, Cell, Column, Paint, Table};
use super::text::clean;
use super::{Failure, exit, print};
use crate::observe::client::{self, FetchError};
use crate::observe::http::CLUSTERS_PATH;
use crate::topology::nearest;

/// How long the server may take to answer. Stopping a broker with many partitions writes all of them down.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines are not made to fit: what they are piped into decides.
const WIDTH: usize = 400;

/// Runs `heliostat cluster`.
///
/// # Errors
/// If nobody answers, or if it is refused; see [`exit`].
pub async fn run(args: ClusterArgs) -> anyhow::Result<u8> {
    let at = Target::find(&args.at).await?;
    match args.action {
        ClusterAction::Brokers { output } => show_brokers(&at.cluster, output)?,
        ClusterAction::Stop { broker } => {
            at.post(&format!("brokers/{broker}/stop"), json!({})).await?;
            say(&outcome::stopped(broker, &at.cluster, &at.now().await?))?;
        }
        ClusterAction::Start { broker } => {
            at.post(&format!("brokers/{broker}/start"), json!({})).await?;
            say(&outcome::started(broker, &at.now().await?))?;
        }
        ClusterAction::Isolate {
            broker,
            refuse,
            noticed_after: NoticedAfter(noticed_after),
        } => {
            let body = IsolateBody {
                refuse,
                noticed_after_ms: noticed_after.map(millis),
            };
            at.post(&format!("brokers/{broker}/isolate"), json!(body)).await?;
            say(&outcome::isolated(broker, refuse, noticed_after))?;
        }
        ClusterAction::MoveLeader {
            topic,
            partition,
            broker,
        } => {
            let body = LeaderBody {
                topic: topic.clone(),
                partition,
                broker,
            };
            let now = at.post("leaders", json!(body)).await?;
            say(&outcome::partition(&topic, partition, &now))?;
        }
        ClusterAction::ShrinkIsr {
            topic,
            partition,
            broker,
        } => {
            at.change_isr(topic, partition, Some(broker)).await?;
        }
        ClusterAction::RestoreIsr { topic, partition } => {
            at.change_isr(topic, partition, None).await?;
        }
    }
    Ok(exit::OK)
}

/// Runs `heliostat fault`.
///
/// # Errors
/// If nobody answers, or if it is refused; see [`exit`].
pub async fn run_fault(args: FaultArgs) -> anyhow::Result<u8> {
    let fault = match &args.action {
        FaultAction::Add(add) => Some(fault(add)?),
        _ => None,
    };
    let at = Target::find(&args.at).await?;
    match (args.action, fault) {
        (_, Some(fault)) => {
            let answer = at.ask(Method::POST, "faults", Some(json!(fault))).await?;
            print(&format!("{}\n", answer["id"]))?;
        }
        (FaultAction::List { output }, _) => show_faults(&at.cluster, output)?,
        (FaultAction::Remove { id: Some(id), .. }, _) => {
            at.ask(Method::DELETE, &format!("faults/{id}"), None).await?;
            say(&format!("fault {id} is removed"))?;
        }
        _ => {
            let answer = at.ask(Method::DELETE, "faults", None).await?;
            say(&match answer["removed"].as_u64() {
                Some(1) => "1 fault is removed".to_owned(),
                removed => format!("{} faults are removed", removed.unwrap_or(0)),
            })?;
        }
    }
    Ok(exit::OK)
}

/// The cluster that is meant, and where its server is.
struct Target {
    url: String,
    cluster: ClusterView,
}

impl Target {
    async fn find(args: &WhereArgs) -> anyhow::Result<Target> {
        let answer = exchange(&args.url, Method::GET, "", None).await?;
        let mut clusters: Vec<ClusterView> = serde_json::from_value(answer)
            .map_err(|error| anyhow::anyhow!("{} answers with something else: {error}", args.url))?;
        let names = |clusters: &[ClusterView]| {
            let names: Vec<String> = clusters
                .iter()
                .map(|cluster| clean(&cluster.name).into())
                .collect();
            names.join(", ")
        };
        let at = match &args.cluster {
            Some(name) => clusters.iter().position(|cluster| cluster.name == *name),
            None if clusters.len() == 1 => Some(0),
            None if clusters.is_empty() => {
                let message =
                    "no built-in cluster runs there: the others are not for Heliostat to stop".to_owned();
                return Err(refused(exit::PRECONDITION, message));
            }
            None => {
                let message = format!(
                    "there are several built-in clusters: choose with --cluster, from {}",
                    names(&clusters)
                );
                return Err(refused(exit::USAGE, message));
            }
        };
        match at {
            Some(at) => Ok(Target {
                url: args.url.clone(),
                cluster: clusters.swap_remove(at),
            }),
            None => {
                let name = args.cluster.as_deref().unwrap_or_default();
                let message = format!(
                    "no built-in cluster {name:?} runs there, only: {}",
                    names(&clusters)
                );
                Err(refused(exit::USAGE, message))
            }
        }
    }

    /// Takes a replica out of the in-sync ones, or lets all of them be so again.
    async fn change_isr(&self, topic: String, partition: i32, remove: Option<i32>) -> anyhow::Result<()> {
        let body = IsrBody {
            topic: topic.clone(),
            partition,
            remove,
        };
        let now = self.post("isr", json!(body)).await?;
        say(&outcome::partition(&topic, partition, &now))
    }

    /// The cluster as it is now.
    async fn now(&self) -> anyhow::Result<ClusterView> {
        let answer = exchange(&self.url, Method::GET, &format!("/{}", self.cluster.name), None).await?;
        serde_json::from_value(answer)
            .map_err(|error| anyhow::anyhow!("{} answers with something else: {error}", self.url))
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        exchange(&self.url, method, &format!("/{}/{path}", self.cluster.name), body).await
    }
}

async fn exchange(url: &str, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
    let path = format!("{CLUSTERS_PATH}{path}");
    let body = body.map(|body| body.to_string().into_bytes());
    let sent = client::send(url, method, &path, body, PATIENCE).await;
    let (code, answer) = sent.map_err(|error| match error {
        FetchError::NoAnswer { .. } => anyhow::anyhow!(
            "{error}; start it with heliostat run FILE or heliostat broker --http ADDRESS, or give its --url if it listens elsewhere"
        ),
        error => error.into(),
    })?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
    if code.is_success() {
        return Ok(answer);
    }
    let reason = match answer["error"].as_str() {
        Some(reason) => typed::in_options(&clean(reason)),
        None => format!("{url} answers {code}: is it a heliostat run, or a heliostat broker --http ADDRESS?"),
    };
    let code = match code {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => exit::USAGE,
        StatusCode::CONFLICT => exit::PRECONDITION,
        _ => exit::FAILURE,
    };
    Err(refused(code, reason))
}

/// A line on what is so now.
fn say(line: &str) -> anyhow::Result<()> {
    print(&format!("{}\n", clean(line)))?;
    Ok(())
}

fn refused(code: u8, message: String) -> anyhow::Error {
    Failure { code, message }.into()
}

/// Says which error code or API was likely meant by a name that none has.
fn check_names(args: &FaultAddArgs) -> anyhow::Result<()> {
    let errors: Vec<&str> = ErrorCode::ALL.iter().map(|error| error.name()).collect();
    let apis: Vec<&str> = supported_apis().iter().map(|api| api.name).collect();
    for (name, known, what, others) in [
        (
            &args.error,
            errors,
            "Kafka has no error code",
            "a name such as NOT_LEADER_OR_FOLLOWER, or a number",
        ),
        (
            &args.api,
            apis,
            "the built-in cluster has no API",
            "a name such as Produce or Fetch, or a key",
        ),
    ] {
        let Some(name) = name else { continue };
        let is_known = known.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is_known || name.parse::<i16>().is_ok() {
            continue;
        }
        let help = match nearest(name, known) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("write {others}; docs/built-in-cluster.md lists the APIs"),
        };
        return Err(refused(exit::USAGE, format!("{what} {name:?}: {help}")));
    }
    Ok(())
}

fn fault(args: &FaultAddArgs) -> anyhow::Result<Fault> {
    let Some(kind) = FaultKind::ALL.into_iter().find(|kind| kind.name() == args.kind) else {
        let known: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
        let meant = nearest(&args.kind, known.iter().copied());
        let meant = meant.map(|meant| format!("; did you mean {meant}?"));
        let message = format!(
            "there are no faults of the kind {:?}, only: {}{}",
            args.kind,
            known.join(", "),
            meant.unwrap_or_default()
        );
        return Err(refused(exit::USAGE, message));
    };
    check_names(args)?;
    let ahead = args.ahead.map(signed_millis);
    let behind = args.behind.map(|behind| -signed_millis(behind));
    Ok(Fault {
        error: args.error.clone(),
        delay_ms: args.delay.map(millis),
        takes_effect: args.takes_effect.then_some(true),
        room_bytes: args.room,
        ahead_ms: ahead.or(behind),
        api: args.api.clone(),
        client_id: args.client_id.clone(),
        topic: args.topic.clone(),
        node: args.broker,
        skip: args.skip,
        count: args.count,
        fraction: args.fraction,
        seed: args.seed,
        ..Fault::new(kind)
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn signed_millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn show_brokers(cluster: &ClusterView, output: OutputArg) -> anyhow::Result<()> {
    if output == OutputArg::Json {
        print(&format!("{}\n", serde_json::to_string_pretty(&cluster.brokers)?))?;
        return Ok(());
    }
    let rows = cluster.brokers.iter().map(|broker| {
        let cells = [
            broker.id.to_string(),
            broker.address.to_string(),
            broker.state.clone(),
            if broker.live { "yes" } else { "no" }.to_owned(),
            if broker.controller { "controller" } else { "" }.to_owned(),
            broker.leads.to_string(),
            broker.replicas.to_string(),
            broker.in_sync.to_string(),
        ];
        cells
            .into_iter()
            .map(|text| Cell::new(text, Paint::Plain))
            .collect()
    });
    let columns = [
        ("broker", Align::Right),
        ("address", Align::Left),
        ("state", Align::Left),
        ("live", Align::Left),
        ("role", Align::Left),
        ("leads", Align::Right),
        ("replicas", Align::Right),
        ("in sync", Align::Right),
    ];
    show(&columns, rows.collect())
}

fn show_faults(cluster: &ClusterView, output: OutputArg) -> anyhow::Result<()> {
    if output == OutputArg::Json {
        print(&format!("{}\n", serde_json::to_string_pretty(&cluster.faults)?))?;
        return Ok(());
    }
    if cluster.faults.is_empty() {
        print("no faults\n")?;
        return Ok(());
    }
    let mut rows = Vec::new();
    for status in &cluster.faults {
        let cells = [
            status.id.to_string(),
            status.fault.kind.name().to_owned(),
            status.hit.to_string(),
            status.seen.to_string(),
            if status.done { "done" } else { "armed" }.to_owned(),
            clean(&typed::options(&status.fault)).into_owned(),
        ];
        rows.push(
            cells
                .into_iter()
                .map(|text| Cell::new(text, Paint::Plain))
                .collect(),
        );
    }
    let columns = [
        ("id", Align::Right),
        ("kind", Align::Left),
        ("hit", Align::Right),
        ("of", Align::Right),
        ("state", Align::Left),
        ("options", Align::Left),
    ];
    show(&columns, rows)
}

fn show(columns: &[(&'static str, Align)], rows: Vec<Vec<Cell>>) -> anyhow::Result<()> {
    let columns = columns.iter().map(|(header, align)| Column {
        header,
        align: *align,
        shrinks_to: 0,
        goes: 0,
    });
    let table = Table {
        columns: columns.collect(),
        rows,
        indent: 0,
    };
    print(&(table.lines(WIDTH, false).join("\n") + "\n"))?;
    Ok(())
}
