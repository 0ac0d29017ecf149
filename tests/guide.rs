//! The guide names what there is, and nothing that there is not: options, keys, defaults, states, codes, APIs, configs, links, examples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, Parser, error::ErrorKind};
use heliostat::cli::args::Cli;
use heliostat::cli::exit;
use heliostat::observe::http::PATHS;
use heliostat::observe::status::State;
use heliostat::topology::{Flow, KEYS, Topology};
use regex::Regex;

/// The words in a default column that are no value of the key itself.
const NO_VALUE: [&str; 6] = ["required", "none", "see below", "the target's", "`{}`", "`[]`"];

/// A topology that says nothing that has a default.
const MINIMAL: &str = "name: t\nlayout: active-standby\nclusters:\n  a: { built_in: { port: 19092 } }\n  b: { built_in: { port: 29092 } }\nprimary: a\nstandby: b\n";

#[test]
fn every_command_and_option_is_in_the_guide_and_no_other() {
    let guide = read("docs/command-line.md");
    let mut cli = Cli::command();
    cli.build();
    let common = section(&guide, "For every command");
    let global = options(cli.get_arguments().chain(help_arguments(&cli)));
    expect_options("For every command", &common, &global);
    let commands: Vec<&Command> = cli
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .collect();
    for command in &commands {
        let name = command.get_name();
        let text = section(&guide, name);
        assert!(
            !text.is_empty(),
            "docs/command-line.md has no section `## {name}`"
        );
        // What the actions of a command take is in the section of the command.
        let is_own = |action: &&Command| action.get_name() != "help";
        let actions: Vec<&Command> = command.get_subcommands().filter(is_own).collect();
        for action in &actions {
            let call = format!("] {}", action.get_name());
            assert!(
                text.contains(&call),
                "{name} {} is not in docs/command-line.md",
                action.get_name()
            );
        }
        let own: Vec<&clap::Arg> = command
            .get_arguments()
            .chain(actions.iter().flat_map(|action| action.get_arguments()))
            .filter(|argument| !global.contains_key(&long(argument)))
            .collect();
        for argument in &own {
            expect_argument(name, &text, argument);
        }
        expect_options(name, &text, &options(own.into_iter()));
    }
    let headings = headings(&guide, "## ");
    let known = |heading: &String| commands.iter().any(|command| command.get_name() == heading);
    let other: Vec<String> = headings.into_iter().filter(|heading| !known(heading)).collect();
    assert_eq!(other, ["For every command", "Exit codes"]);
}

#[test]
fn every_exit_code_is_in_the_guide_and_in_the_help() {
    let rows = rows(&section(&read("docs/command-line.md"), "Exit codes"));
    let codes: Vec<String> = rows.into_iter().map(|row| row[0].clone()).collect();
    let known: Vec<String> = exit::ALL.map(|code| code.to_string()).into();
    assert_eq!(
        codes,
        ["code".to_owned()]
            .into_iter()
            .chain(known.clone())
            .collect::<Vec<_>>()
    );
    let help = Cli::command()
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    for code in known {
        assert!(
            help.lines()
                .any(|line| line.trim().starts_with(&format!("{code} "))),
            "{code}: {help}"
        );
    }
}

#[test]
fn every_example_is_one_that_the_program_takes() {
    let mut examples = 0;
    for (file, text) in documents() {
        for line in example_lines(&text) {
            let words = words(&line);
            examples += 1;
            match Cli::try_parse_from(&words) {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {}
                // A command's name alone, within a sentence.
                Err(error)
                    if words.len() == 2
                        && matches!(
                            error.kind(),
                            ErrorKind::MissingRequiredArgument
                                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        ) => {}
                Err(error) => panic!("{file}: {line}: {error}"),
            }
        }
    }
    assert!(examples > 25, "only {examples} examples were found");
}

#[test]
fn every_topology_in_the_guide_is_right() {
    let mut blocks = 0;
    for (file, text) in documents() {
        for block in fenced(&text, "yaml") {
            blocks += 1;
            if let Err(problems) = Topology::parse(Path::new(&file), &block) {
                panic!("{file}:\n{block}\n{problems}");
            }
        }
    }
    assert!(blocks >= 5, "only {blocks} topologies were found");
}

#[test]
fn every_key_of_a_topology_is_in_the_guide_and_no_other() {
    let guide = read("docs/topology.md");
    for (parent, keys) in KEYS {
        let text = topology_section(&guide, parent);
        let documented: Vec<String> = rows(&text).iter().skip(1).map(|row| plain(&row[0])).collect();
        let mut documented: Vec<&str> = documented.iter().map(String::as_str).collect();
        let mut known = keys.to_vec();
        documented.sort_unstable();
        known.sort_unstable();
        assert_eq!(documented, known, "the table of {parent:?} in docs/topology.md");
    }
}

#[test]
fn every_default_in_the_guide_is_what_holds_where_nothing_is_written() {
    let guide = read("docs/topology.md");
    let expected = parse(MINIMAL);
    let mut checked = 0;
    for (parent, _) in KEYS {
        for row in rows(&topology_section(&guide, parent)).iter().skip(1) {
            let (key, default) = (plain(&row[0]), row[2].as_str());
            if NO_VALUE.contains(&default) || default.starts_with("`defaults.") {
                continue;
            }
            let Some(file) = with(parent, &key, &plain(default)) else {
                panic!("nobody checks the default of {parent}.{key}");
            };
            checked += 1;
            let (written, expected) = (parse(&file), &expected);
            assert_eq!(
                settings(&written),
                settings(expected),
                "{parent}.{key}: {default}"
            );
        }
    }
    assert!(checked >= 12, "only {checked} defaults were found");
}

#[test]
fn every_state_is_in_the_guide_in_its_order() {
    let known: Vec<&str> = State::ALL.iter().map(|state| state.name()).collect();
    assert_eq!(headings(&read("docs/states.md"), "## "), known);
}

#[test]
fn every_path_of_the_http_server_is_in_the_guide() {
    let rows = rows(&section(&read("docs/status-and-http.md"), "HTTP"));
    let documented: Vec<String> = rows.iter().skip(1).map(|row| plain(&row[0])).collect();
    let known: Vec<&str> = PATHS.iter().map(|(path, _)| *path).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_api_of_the_built_in_cluster_is_in_the_guide_with_its_versions() {
    let rows = rows(&section(&read("docs/built-in-cluster.md"), "APIs"));
    let documented: BTreeSet<[String; 3]> = rows
        .iter()
        .skip(1)
        .map(|row| [row[0].clone(), row[1].clone(), row[2].clone()])
        .collect();
    let known = heliostat_broker::supported_apis().into_iter().map(|api| {
        let versions = format!("{}-{}", api.versions.start(), api.versions.end());
        [api.name.to_owned(), api.key.to_string(), versions]
    });
    assert_eq!(documented, known.collect());
}

#[test]
fn every_config_of_the_built_in_cluster_is_in_the_guide_with_its_default() {
    let guide = read("docs/built-in-cluster.md");
    let value = |cell: &str| Some(plain(cell)).filter(|value| value != "none");
    // The first table has keys of the broker alone, the second those that stand for a topic's.
    let documented: BTreeMap<String, (Option<String>, bool)> = rows(&section(&guide, "Broker configs"))
        .iter()
        .filter(|row| row[0].starts_with('`'))
        .map(|row| match &row[..] {
            [name, default, _] => (plain(name), (value(default), false)),
            [name, _, default, dynamic] => (plain(name), (value(default), dynamic == "yes")),
            other => panic!("{other:?}"),
        })
        .collect();
    let known = heliostat_broker::broker_configs()
        .into_iter()
        .map(|config| {
            let default = config.default.filter(|default| !default.is_empty());
            (config.name.to_owned(), (default, config.dynamic))
        })
        .collect();
    assert_eq!(documented, known);

    let documented: BTreeMap<String, String> = rows(&section(&guide, "Topic configs"))
        .iter()
        .skip(1)
        .map(|row| (plain(&row[0]), plain(&row[1]).replace("empty", "")))
        .collect();
    let known = heliostat_broker::log::TOPIC_CONFIGS
        .iter()
        .map(|config| (config.name.to_owned(), config.default.to_owned()));
    assert_eq!(documented, known.collect());
}

#[test]
fn every_alert_is_in_the_guide() {
    let operations = read("docs/operations.md");
    let rules = read("dashboards/alerts.yaml");
    for alert in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(
            operations.contains(&format!("`{alert}`")),
            "docs/operations.md does not have {alert}"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    let link = regex(r"\[[^\]\n]*\]\(([^)\s]+)\)");
    let mut found = Vec::new();
    for (file, text) in documents() {
        for target in link.captures_iter(&text).map(|link| link[1].to_owned()) {
            if target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let here = Path::new(&file);
            let to = match path {
                "" => root().join(here),
                path => root().join(here.parent().unwrap_or(Path::new(""))).join(path),
            };
            let Ok(text) = std::fs::read_to_string(&to) else {
                found.push(format!("{file}: {target}: there is no such file"));
                continue;
            };
            if !anchor.is_empty() && !anchors(&text).contains(anchor) {
                found.push(format!("{file}: {target}: there is no such heading"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_page_of_the_guide_is_in_its_contents() {
    let contents = read("docs/README.md");
    for (file, _) in documents() {
        if let Some(name) = file.strip_prefix("docs/").filter(|name| *name != "README.md") {
            assert!(
                contents.contains(&format!("({name})")),
                "docs/README.md does not name {name}"
            );
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All documents, by their paths from the root.
fn documents() -> Vec<(String, String)> {
    let mut names: Vec<PathBuf> = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "benches/README.md",
    ]
    .map(PathBuf::from)
    .into();
    let docs = std::fs::read_dir(root().join("docs")).expect("list docs");
    names.extend(docs.map(|entry| Path::new("docs").join(entry.expect("list docs").file_name())));
    names.sort();
    let document = |name: PathBuf| {
        let name = name.to_str().expect("a name that is UTF-8").to_owned();
        let text = read(&name);
        (name, text)
    };
    names.into_iter().map(document).collect()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

/// What stands under a heading of the second level.
fn section(text: &str, heading: &str) -> String {
    let under = text
        .lines()
        .skip_while(|line| line.strip_prefix("## ") != Some(heading));
    let lines: Vec<&str> = under
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .collect();
    lines.join("\n")
}

/// What stands under the heading for a map of the topology file. Two kinds of secrets share one.
fn topology_section(text: &str, parent: &str) -> String {
    let heading = match parent {
        "" => "Top level".to_owned(),
        parent => format!("`{}`", parent.replace(".key_password", ".password")),
    };
    let is_heading = |line: &&str| line.starts_with('#') && line.trim_start_matches('#').trim() == heading;
    let under = text.lines().skip_while(|line| !is_heading(line));
    let lines: Vec<&str> = under.skip(1).take_while(|line| !line.starts_with('#')).collect();
    assert!(!lines.is_empty(), "docs/topology.md has no heading {heading}");
    lines.join("\n")
}

fn headings(text: &str, level: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix(level))
        .map(str::to_owned)
        .collect()
}

/// The anchors that the headings of a document have.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(kept)
                .collect()
        })
        .map(|heading: String| heading.replace(' ', "-"))
        .collect()
}

/// The rows of the tables in a text, heads among them, lines between head and body not.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    lines.map(cells).collect()
}

fn plain(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// The fenced blocks of one language.
fn fenced(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(found) = line.strip_prefix("```") {
            let block: Vec<&str> = lines
                .by_ref()
                .take_while(|line| !line.starts_with("```"))
                .collect();
            if found == language {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

/// What is shown to be typed: lines of `sh` blocks, and code within sentences.
fn example_lines(text: &str) -> Vec<String> {
    let inline = regex(r"`(heliostat [^`\n]+)`");
    let mut lines: Vec<String> = fenced(text, "sh")
        .iter()
        .flat_map(|block| block.lines())
        .filter_map(|line| line.find("heliostat ").map(|at| line[at..].to_owned()))
        .collect();
    // COMMAND stands for any command.
    lines.extend(
        inline
            .captures_iter(text)
            .map(|code| code[1].to_owned())
            .filter(|code| !code.contains("COMMAND")),
    );
    lines
}

/// The words of one command, as a shell would split them, up to a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            '|' | '>' | ';' if !quoted => break,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    // `2>` begins with the number of what is redirected.
    if line.contains(" 2>") && words.last().is_some_and(|word| word == "2") {
        words.pop();
    }
    words.retain(|word| !word.is_empty() && word != "…");
    words
}

fn long(argument: &clap::Arg) -> String {
    argument
        .get_long()
        .map(|long| format!("--{long}"))
        .unwrap_or_default()
}

fn help_arguments(cli: &Command) -> impl Iterator<Item = &clap::Arg> {
    cli.get_arguments()
        .filter(|argument| matches!(argument.get_id().as_str(), "help" | "version"))
}

/// Options with their short forms.
fn options<'a>(arguments: impl Iterator<Item = &'a clap::Arg>) -> BTreeMap<String, Option<char>> {
    arguments
        .filter(|argument| argument.get_long().is_some())
        .map(|argument| (long(argument), argument.get_short()))
        .collect()
}

/// The tables of a section have exactly these options.
fn expect_options(name: &str, text: &str, options: &BTreeMap<String, Option<char>>) {
    let option = regex(r"(?:`-(\w)`, )?`(--[a-z-]+)");
    let documented: BTreeMap<String, Option<char>> = rows(text)
        .iter()
        .filter_map(|row| option.captures(&row[0]))
        .map(|found| {
            let short = found.get(1).and_then(|short| short.as_str().chars().next());
            (found[2].to_owned(), short)
        })
        .collect();
    assert_eq!(
        &documented, options,
        "the options of {name} in docs/command-line.md"
    );
}

/// One argument: its value's name, its default, its possible values.
fn expect_argument(command: &str, text: &str, argument: &clap::Arg) {
    let long = long(argument);
    let row = match argument.get_long() {
        None => text.to_owned(),
        Some(_) => {
            let rows = rows(text);
            let row = rows
                .iter()
                .find(|row| row[0].contains(&format!("`{long}")) || row[0].contains(&format!("{long} ")));
            row.unwrap_or_else(|| panic!("{command} {long} is not in docs/command-line.md"))
                .join(" | ")
        }
    };
    let mut expected: Vec<String> = Vec::new();
    if argument.get_action().takes_values() {
        expected.extend(
            argument
                .get_value_names()
                .unwrap_or_default()
                .iter()
                .map(ToString::to_string),
        );
        expected.extend(
            argument
                .get_default_values()
                .iter()
                .map(|value| format!("`{}`", value.to_string_lossy())),
        );
        let possible = argument.get_possible_values();
        expected.extend(possible.iter().map(|value| format!("`{}`", value.get_name())));
    }
    for expected in expected {
        assert!(
            row.contains(&expected),
            "{command} {long}: {expected} is not in docs/command-line.md: {row}"
        );
    }
}

/// The minimal file with one default written out; `None` for a key that this test does not know how to write.
fn with(parent: &str, key: &str, value: &str) -> Option<String> {
    let add = |text: &str| Some(format!("{MINIMAL}{text}\n"));
    let built_in = |text: String| Some(MINIMAL.replace("port: 19092", &format!("port: 19092, {text}")));
    match (parent, key) {
        ("http", _) => add(&format!("http: {{ {key}: {value} }}")),
        ("defaults", _) => add(&format!("defaults: {{ {key}: {value} }}")),
        ("defaults.naming", "policy") => add(&format!("defaults: {{ naming: {{ policy: {value} }} }}")),
        ("defaults.naming", _) => add(&format!(
            "defaults: {{ naming: {{ policy: prefix, {key}: \"{value}\" }} }}"
        )),
        ("defaults.topics" | "defaults.limits", _) => {
            let map = parent.trim_start_matches("defaults.");
            add(&format!("defaults: {{ {map}: {{ {key}: {value} }} }}"))
        }
        ("clusters.ALIAS.built_in", _) => built_in(format!("{key}: {value}")),
        // TLS is compared in `settings` through a cluster that has it.
        ("clusters.ALIAS.security", _) => add("").filter(|_| tls("") == tls(&format!(", {key}: {value}"))),
        ("clusters.ALIAS", "properties") => None,
        _ => None,
    }
}

fn tls(more: &str) -> String {
    let existing = format!("{{ bootstrap_servers: \"kafka:9092\", security: {{ protocol: SSL{more} }} }}");
    let topology = parse(&MINIMAL.replace("{ built_in: { port: 19092 } }", &existing));
    format!("{:?}", topology.clusters[0].security)
}

fn parse(text: &str) -> Topology {
    Topology::parse(Path::new("t.yaml"), text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

fn settings(topology: &Topology) -> (Vec<String>, Vec<Flow>, String) {
    let clusters = topology
        .clusters
        .iter()
        .map(|cluster| format!("{cluster:?}"))
        .collect();
    (clusters, topology.flows.clone(), topology.http.listen.to_string())
}
