//! `heliostat check`: is a topology file right, and what does it mean.

use std::fmt::Write;

use serde::Serialize;

use super::args::{CheckArgs, OutputArg};
use super::text::{clean, columns};
use super::{complain, connect, exit, print};
use crate::topology::{BuiltInSasl, Cluster, ClusterKind, Flow, Outcome, Problem, Step, Topology};

/// The topic that is followed where nobody names one.
pub const EXAMPLE_TOPIC: &str = "orders";

/// More steps of one topic than this are for a program to read.
const STEPS_SHOWN: usize = 60;

/// What `-o json` prints.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    ok: bool,
    topology: Option<&'a Topology>,
    topics: Vec<TopicReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<connect::Report>,
    problems: Vec<Problem>,
}

/// One example topic, and all that becomes of it.
#[derive(Serialize)]
struct TopicReport {
    topic: String,
    steps: Vec<Step>,
}

/// Checks a file, asks its clusters if that is wanted, and prints what it means.
///
/// # Errors
/// If the answer cannot be written. What is wrong with the file is an answer.
pub async fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    let file = args.file.display().to_string();
    let topology = match Topology::load(&args.file) {
        Ok(topology) => topology,
        Err(problems) => {
            complain(&format!("{problems}\n"));
            if args.output == OutputArg::Json {
                let report = Report {
                    file,
                    ok: false,
                    topology: None,
                    topics: Vec::new(),
                    connected: None,
                    problems: problems.list,
                };
                print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
            }
            return Ok(exit::USAGE);
        }
    };
    let mut problems = topology.warnings.clone();
    let mut connected = None;
    if args.connect {
        let report = connect::connect(&topology).await;
        problems.extend_from_slice(&report.problems);
        connected = Some(report);
    }
    problems
        .iter()
        .for_each(|problem| complain(&format!("{problem}\n\n")));
    let code = connected.as_ref().map_or(exit::OK, connect::Report::exit_code);
    // Real topics are better than an example, unless somebody asks for one.
    let topics = match connected.is_some() && args.topics.is_empty() {
        true => Vec::new(),
        false => examples(&topology, &args.topics),
    };
    match args.output {
        OutputArg::Json => {
            let report = Report {
                file,
                ok: code == exit::OK,
                topology: Some(&topology),
                topics,
                connected,
                problems,
            };
            print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
        }
        OutputArg::Human => {
            let mut text = describe(&topology, &topics);
            if let Some(report) = &connected {
                text += &connect::describe(report, &file);
            }
            print(&text)?;
        }
    }
    Ok(code)
}

fn examples(topology: &Topology, wanted: &[String]) -> Vec<TopicReport> {
    let names = match wanted {
        [] => vec![example_topic(topology)],
        wanted => wanted.to_vec(),
    };
    let report = |topic: String| TopicReport {
        steps: topology.routes(&topic),
        topic,
    };
    names.into_iter().map(report).collect()
}

/// A topic that some flow copies, if the file names one or includes the usual example.
fn example_topic(topology: &Topology) -> String {
    let copied = |topic: &str| topology.flows.iter().any(|flow| flow.topics.includes(topic));
    let named = topology
        .flows
        .iter()
        .flat_map(|flow| &flow.topics.include)
        .filter_map(|pattern| pattern.literal());
    match copied(EXAMPLE_TOPIC) {
        true => EXAMPLE_TOPIC.to_owned(),
        false => named
            .into_iter()
            .find(|name| copied(name))
            .unwrap_or_else(|| EXAMPLE_TOPIC.to_owned()),
    }
}

fn describe(topology: &Topology, topics: &[TopicReport]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: {}, {} clusters, {}\n",
        topology.name,
        topology.layout,
        topology.clusters.len(),
        flows(topology)
    );
    let _ = writeln!(text, "Clusters");
    let clusters: Vec<[String; 2]> = topology
        .clusters
        .iter()
        .map(|cluster| [cluster.alias.clone(), describe_cluster(cluster)])
        .collect();
    columns(&mut text, "  ", &clusters);
    let _ = writeln!(text, "\nFlows");
    let flows: Vec<[String; 2]> = topology
        .flows
        .iter()
        .map(|flow| [flow.name.clone(), describe_flow(flow)])
        .collect();
    columns(&mut text, "  ", &flows);
    let _ = writeln!(text, "\nHTTP\n  http://{}", topology.http.listen);
    for topic in topics {
        describe_topic(&mut text, topic);
    }
    text
}

fn flows(topology: &Topology) -> String {
    match topology.flows.len() {
        1 => "1 flow".to_owned(),
        count => format!("{count} flows"),
    }
}

fn describe_cluster(cluster: &Cluster) -> String {
    let mut parts = Vec::new();
    match &cluster.kind {
        ClusterKind::BuiltIn(built_in) => {
            let brokers = if built_in.brokers == 1 {
                "broker"
            } else {
                "brokers"
            };
            let last = built_in.port + (built_in.brokers - 1);
            let ports = if built_in.brokers == 1 {
                String::new()
            } else {
                format!("-{last}")
            };
            parts.push(format!(
                "built in, {} {brokers} on {}:{}{ports}",
                built_in.brokers, built_in.host, built_in.port
            ));
            parts.push(match &built_in.data {
                Some(data) => format!("data in {}", data.display()),
                None => "data goes with the process".to_owned(),
            });
            parts.extend(built_in.sasl.as_ref().map(describe_sasl));
            parts.extend(
                built_in
                    .properties
                    .iter()
                    .map(|(key, value)| format!("{key}={value}")),
            );
        }
        ClusterKind::Existing { bootstrap_servers } => parts.push(bootstrap_servers.join(",")),
    }
    if let Some(security) = &cluster.security {
        parts.push(match &security.sasl {
            Some(sasl) => format!(
                "{} with {} as {}",
                security.protocol, sasl.mechanism, sasl.username
            ),
            None => security.protocol.to_string(),
        });
    }
    parts.extend(
        cluster
            .properties
            .iter()
            .map(|(key, value)| format!("client {key}={value}")),
    );
    parts.join(", ")
}

fn describe_sasl(sasl: &BuiltInSasl) -> String {
    let users: Vec<&str> = sasl.users.iter().map(|user| user.name.as_str()).collect();
    let mechanisms: Vec<String> = sasl.mechanisms.iter().map(ToString::to_string).collect();
    format!("users {} with {}", users.join(" and "), mechanisms.join(" or "))
}

fn describe_flow(flow: &Flow) -> String {
    let settings: Vec<String> = flow
        .settings_not_default()
        .into_iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    match settings.is_empty() {
        true => "as by default".to_owned(),
        false => settings.join(", "),
    }
}

fn describe_topic(text: &mut String, TopicReport { topic, steps }: &TopicReport) {
    let _ = writeln!(text, "\nTopic {}, produced to every cluster", clean(topic));
    let shown = &steps[..steps.len().min(STEPS_SHOWN)];
    let copied = shown.iter().filter_map(|step| match &step.outcome {
        Outcome::Copied { mirror } => Some([step.flow.clone(), format!("{} becomes {mirror}", step.topic)]),
        Outcome::LeftOut { .. } => None,
    });
    let left_out = shown.iter().filter_map(|step| match &step.outcome {
        Outcome::LeftOut { reason } => Some([step.flow.clone(), format!("{}: {reason}", step.topic)]),
        Outcome::Copied { .. } => None,
    });
    columns(text, "  ", &copied.collect::<Vec<_>>());
    let left_out: Vec<[String; 2]> = left_out.collect();
    if !left_out.is_empty() {
        let _ = writeln!(text, "  Not copied");
        columns(text, "    ", &left_out);
    }
    if steps.len() > shown.len() {
        let _ = writeln!(
            text,
            "  and {} more, which -o json shows",
            steps.len() - shown.len()
        );
    }
}
