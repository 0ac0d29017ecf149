//! `heliostat offsets`: where offsets are on the other side of a flow.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::offsets_args::{OffsetsArgs, OffsetsOutputArg};
use super::screen::{Ability, stdout_size};
use super::table::{Align, Cell, Column, Paint, Table};
use super::text::clean;
use super::{Failure, complain, exit, load, print};
use crate::cluster::ClusterError;
use crate::flow::daemon::Fleet;
use crate::offsets::lookup::{Answered, Answers, Asked, Direction, Lookup, LookupError};
use crate::offsets::translate::Place;
use crate::topology::{Flow, Topology};

/// More than a file with offsets of as many partitions as Kafka can have.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// More mirrors than this are not named where a topic is unknown.
const MIRRORS_NAMED: usize = 20;

/// What `-o json` prints.
#[derive(Serialize)]
struct Report<'a> {
    flow: &'a str,
    from: &'a str,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    offsets: Vec<Row<'a>>,
}

/// One offset and what is known of it.
#[derive(Serialize)]
struct Row<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    /// What the offset is to the other side; absent if that is not known.
    state: Option<Place>,
    to_topic: Option<&'a str>,
    /// From where a consumer goes on there.
    to_offset: Option<i64>,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Translates what is asked for, and prints it.
///
/// # Errors
/// If there is nothing to translate, or a cluster that is needed does not answer.
pub async fn run(args: OffsetsArgs) -> anyhow::Result<u8> {
    let topology = load(&args.file)?;
    let flow = flow(&topology, args.flow.as_deref())?;
    let direction = if args.reverse {
        Direction::ToSource
    } else {
        Direction::ToTarget
    };
    let fleet = Fleet::new(&topology, |_| None);
    let (Some(source), Some(target)) = (fleet.get(&flow.source), fleet.get(&flow.target)) else {
        return Err(usage(format!("the flow {} names no clusters", flow.name)));
    };
    let lookup = Lookup::new(flow, source, target).map_err(not_answered)?;
    let asked = asked(&args, flow, &lookup, direction).await?;
    let answers = lookup.translate(asked, direction).await;
    let answers = answers.map_err(|error| match error {
        LookupError::Cluster(error) => not_answered(error),
        error => failure(exit::PRECONDITION, error.to_string()),
    })?;
    if let Some(reason) = &answers.source_away {
        complain(&format!(
            "note: {}; whether a topic there was deleted and made again is not known\n",
            clean(reason)
        ));
    }
    let is_one = args.offset.is_some();
    if is_one && answers.list.iter().all(|answered| answered.topic.is_none()) {
        let topic = args.topics.first().map(String::as_str).unwrap_or_default();
        return Err(usage(no_such_mirror(topic, flow, &answers, direction)));
    }
    show(&args, flow, &answers, direction)
}

/// The flow that is meant.
fn flow<'t>(topology: &'t Topology, name: Option<&str>) -> anyhow::Result<&'t Flow> {
    let names = || {
        let names: Vec<&str> = topology.flows.iter().map(|flow| flow.name.as_str()).collect();
        names.join(", ")
    };
    match (name, &topology.flows[..]) {
        (None, [flow]) => Ok(flow),
        (None, _) => Err(usage(format!("name one of the flows with --flow: {}", names()))),
        (Some(name), flows) => flows
            .iter()
            .find(|flow| flow.name == name)
            .ok_or_else(|| usage(format!("there is no flow {name}; there are: {}", names()))),
    }
}

/// The offsets that are to be translated.
async fn asked(
    args: &OffsetsArgs,
    flow: &Flow,
    lookup: &Lookup<'_>,
    direction: Direction,
) -> anyhow::Result<Vec<Asked>> {
    if let (Some(offset), Some(partition)) = (args.offset, args.partition) {
        let [topic] = &args.topics[..] else {
            return Err(usage("--offset is of one --topic".to_owned()));
        };
        return Ok(vec![Asked {
            topic: topic.clone(),
            partition,
            offset,
        }]);
    }
    let (mut asked, from) = match (&args.group, &args.from_file) {
        (Some(group), _) => {
            let cluster = match direction {
                Direction::ToTarget => &flow.source,
                Direction::ToSource => &flow.target,
            };
            let asked = lookup.group(group, direction).await;
            let asked = asked.map_err(|error| not_listed(error, direction))?;
            (
                asked,
                format!("the group {group} has committed nothing on {cluster}"),
            )
        }
        (None, Some(file)) => {
            let text = read(file).with_context(|| format!("read {}", file.display()))?;
            let asked = parse(&text).map_err(|reason| usage(format!("{}: {reason}", file.display())))?;
            (asked, format!("there are no offsets in {}", file.display()))
        }
        (None, None) => return Err(usage("name --offset, --group or --from-file".to_owned())),
    };
    if !args.topics.is_empty() {
        asked.retain(|asked| args.topics.contains(&asked.topic));
    }
    if asked.is_empty() {
        let of = match args.topics.is_empty() {
            true => String::new(),
            false => format!(" of {}", args.topics.join(", ")),
        };
        return Err(failure(exit::PRECONDITION, format!("{from}{of}")));
    }
    Ok(asked)
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let input: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(File::open(file)?),
    };
    input.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(usage(format!("it has more than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    Ok(text)
}

/// Lines of `topic,partition,offset`, as Kafka's tool writes and takes them: the topic may stand in quotes.
fn parse(text: &str) -> Result<Vec<Asked>, String> {
    let mut asked = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let wrong = || {
            format!(
                "line {}: {:?} is not topic,partition,offset",
                index + 1,
                clean(line)
            )
        };
        let fields: Vec<&str> = line
            .split(',')
            .map(|field| field.trim().trim_matches('"'))
            .collect();
        let [topic, partition, offset] = fields[..] else {
            return Err(wrong());
        };
        let partition: i32 = partition.parse().map_err(|_| wrong())?;
        let offset: i64 = offset.parse().map_err(|_| wrong())?;
        if topic.is_empty() || partition < 0 || offset < 0 {
            return Err(wrong());
        }
        asked.push(Asked {
            topic: topic.to_owned(),
            partition,
            offset,
        });
    }
    Ok(asked)
}

fn show(args: &OffsetsArgs, flow: &Flow, answers: &Answers, direction: Direction) -> anyhow::Result<u8> {
    let rows: Vec<Row<'_>> = answers.list.iter().map(row).collect();
    let (from, to) = match direction {
        Direction::ToTarget => (flow.source.as_str(), flow.target.as_str()),
        Direction::ToSource => (flow.target.as_str(), flow.source.as_str()),
    };
    match args.output {
        OffsetsOutputArg::Human => {
            let lines = table(&rows, (from, to)).lines(stdout_size().width, Ability::of_stdout().color);
            print(&(lines.join("\n") + "\n"))?;
        }
        OffsetsOutputArg::Json => {
            let report = Report {
                flow: &flow.name,
                from,
                to,
                group: args.group.as_deref(),
                offsets: rows,
            };
            print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
        }
        OffsetsOutputArg::Csv => print(&csv(&rows))?,
    }
    Ok(verdict(answers))
}

/// Says for what there is no answer, and gives the exit code.
fn verdict(answers: &Answers) -> u8 {
    let mut missing = 0;
    for answered in &answers.list {
        if let Err(reason) = &answered.found {
            missing += 1;
            let asked = &answered.asked;
            let line = format!("{} {}: {reason}", asked.topic, asked.partition);
            complain(&format!("no answer: {}\n", clean(&line)));
        }
    }
    match missing {
        0 => exit::OK,
        missing if missing == answers.list.len() => exit::PRECONDITION,
        _ => exit::PARTIAL,
    }
}

fn row(answered: &Answered) -> Row<'_> {
    let found = answered.found.as_ref().ok();
    Row {
        topic: &answered.asked.topic,
        partition: answered.asked.partition,
        offset: answered.asked.offset,
        state: found.map(|found| found.place),
        to_topic: answered.topic.as_deref(),
        to_offset: found.map(|found| found.next),
        reason: answered.found.as_ref().err().map(String::as_str),
    }
}

/// What `kafka-consumer-groups --reset-offsets --from-file` takes.
fn csv(rows: &[Row<'_>]) -> String {
    let line = |row: &Row<'_>| {
        let (topic, offset) = (row.to_topic?, row.to_offset?);
        Some(format!("{topic},{},{offset}\n", row.partition))
    };
    rows.iter().filter_map(line).collect()
}

fn table(rows: &[Row<'_>], (from, to): (&str, &str)) -> Table {
    let column = |header, align, shrinks_to| Column {
        header,
        align,
        shrinks_to,
        goes: 0,
    };
    let columns = vec![
        column("FROM", Align::Left, 8),
        column("TOPIC", Align::Left, 12),
        column("PARTITION", Align::Right, 0),
        column("OFFSET", Align::Right, 0),
        column("STATE", Align::Left, 0),
        column("TO", Align::Left, 8),
        column("TOPIC", Align::Left, 12),
        column("OFFSET", Align::Right, 0),
    ];
    let cells = |row: &Row<'_>| {
        let (state, paint) = match row.state {
            Some(Place::Exact) => (Place::Exact.name(), Paint::Good),
            Some(place) => (place.name(), Paint::Warn),
            None => ("no answer", Paint::Bad),
        };
        vec![
            Cell::from(from),
            Cell::from(row.topic),
            Cell::from(row.partition.to_string()),
            Cell::from(row.offset.to_string()),
            Cell::new(state, paint),
            Cell::from(to),
            Cell::from(row.to_topic.unwrap_or("-")),
            Cell::from(row.to_offset.map_or("-".to_owned(), |offset| offset.to_string())),
        ]
    };
    Table {
        columns,
        rows: rows.iter().map(cells).collect(),
        indent: 0,
    }
}

/// What a person needs who has named a topic that is not mirrored.
fn no_such_mirror(topic: &str, flow: &Flow, answers: &Answers, direction: Direction) -> String {
    let mut mirrors = answers.mirrors.clone();
    mirrors.sort();
    let shown: Vec<String> = mirrors
        .iter()
        .take(MIRRORS_NAMED)
        .map(|(source, mirror)| format!("{source} -> {mirror}"))
        .collect();
    let is_on_other_side = mirrors.iter().any(|(source, mirror)| match direction {
        Direction::ToTarget => mirror == topic,
        Direction::ToSource => source == topic,
    });
    let what = match direction {
        Direction::ToTarget => format!("{topic} has no mirror in the flow {}", flow.name),
        Direction::ToSource => format!("{topic} is no mirror of the flow {}", flow.name),
    };
    match (is_on_other_side, direction, mirrors.len()) {
        (true, Direction::ToTarget, _) => format!("{what}, it is one: for the way back there is --reverse"),
        (true, Direction::ToSource, _) => format!("{what}, it has one: leave --reverse away"),
        (_, _, 0) => format!("{what}: nothing was mirrored yet"),
        (_, _, count) if count > MIRRORS_NAMED => {
            let more = count - MIRRORS_NAMED;
            format!("{what}; there are: {}, and {more} more", shown.join(", "))
        }
        _ => format!("{what}; there are: {}", shown.join(", ")),
    }
}

fn usage(message: String) -> anyhow::Error {
    failure(exit::USAGE, message)
}

fn failure(code: u8, message: String) -> anyhow::Error {
    Failure { code, message }.into()
}

/// That the offsets of a group are not known. The map is on the target: what the group has committed on a source that is away can be said by hand.
fn not_listed(mut error: ClusterError, direction: Direction) -> anyhow::Error {
    if error.away && direction == Direction::ToTarget {
        error.reason += ". Offsets that are known otherwise, as from an export of the group's, are translated without it: --from-file";
    }
    not_answered(error)
}

fn not_answered(error: ClusterError) -> anyhow::Error {
    let code = if error.away {
        exit::PRECONDITION
    } else {
        exit::FAILURE
    };
    failure(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_kafkas_tool_are_taken() {
        let asked = parse("orders,0,5\n\n \"my.topic\", 12 ,9007199254740993\r\n").unwrap();
        let read: Vec<_> = asked
            .iter()
            .map(|asked| (asked.topic.as_str(), asked.partition, asked.offset))
            .collect();
        assert_eq!(read, [("orders", 0, 5), ("my.topic", 12, 9_007_199_254_740_993)]);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, line) in [
            ("orders,0", 1),
            ("orders,0,5\norders,x,5", 2),
            ("orders,0,-1", 1),
            (",0,1", 1),
        ] {
            let reason = parse(text).unwrap_err();
            assert!(reason.starts_with(&format!("line {line}: ")), "{reason}");
        }
    }
}
