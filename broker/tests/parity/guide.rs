//! Every difference that is allowed stands in the guide, unless nobody can notice it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{allowed, several};

/// What users cannot notice: the reason, or how it begins.
const UNNOTICED: &[&str] = &[
    "Kafka answers in the order of its hash maps",
    "Kafka counts entries of its metadata log",
    "Kafka has an empty text where nothing was asked for",
    "Kafka leaves some errors without a text for people",
    "Kafka closes the connection over a",
    "Kafka's brokers name any broker, at random",
    "as above: other errors come without a list",
    "here the id is a fact, and has no default",
    "nothing is in tiered storage, and the broker has no configs for it",
    "the two clusters are set up differently",
    "this Kafka's topic of offsets has 5 partitions",
    "what is written about the same changes has not as many entries here",
    "which controller leads is decided by an election in Kafka",
    "which node coordinates what follows from the placement of Kafka's internal topics",
];

/// What other pages tell: how the reason begins or ends, the page, and some of its words.
const TOLD: &[(&str, &str, &str)] = &[
    (
        "is not there, and what is not there is not advertised",
        "limits.md",
        "not advertised",
    ),
    (
        "a broker config that has no effect here is not shown",
        "built-in-cluster.md",
        "A config that is not here is refused",
    ),
    (
        "features say which protocols",
        "limits.md",
        "there is no `metadata.version`",
    ),
    (
        "features stay at their largest versions here",
        "limits.md",
        "stay at their largest versions",
    ),
    (
        "the versions are those of Kafka 4.1",
        "built-in-cluster.md",
        "The versions are those of Apache Kafka 4.1",
    ),
    (
        "so that no small request has a huge answer",
        "limits.md",
        "asked for more than once in a request is described once",
    ),
    (
        "all nodes share one directory",
        "limits.md",
        "Brokers of one cluster share one storage",
    ),
    (
        "controllers have no listeners of their own here",
        "limits.md",
        "shows every broker as a voter",
    ),
    (
        "requests on their way are bounded by default",
        "built-in-cluster.md",
        "Kafka's default is -1, without a limit",
    ),
    (
        "the system finds a better size by itself",
        "built-in-cluster.md",
        "Kafka's default is 102400",
    ),
    (
        "how durable an acknowledgement is can be chosen here",
        "built-in-cluster.md",
        "Not one of Kafka's.",
    ),
    (
        "there are no internal topics",
        "built-in-cluster.md",
        "There is no `__consumer_offsets`",
    ),
    (
        "consumers read from leaders only",
        "limits.md",
        "Consumers read from leaders only (no KIP-392)",
    ),
    (
        "answers name the leader of a partition only where there is one",
        "limits.md",
        "leave it out where there is none",
    ),
];

fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::read_to_string(docs.join(name)).expect("a page of the guide")
}

/// The requests and reasons of the table.
fn rows() -> BTreeSet<(String, String)> {
    let text = page("differences.md");
    let table = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = table.map(|line| line.split(" | ").map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| {
            let (api, why) = (cells[0], cells[2]);
            let why = why.trim_end_matches('|').trim().trim_end_matches('.');
            (api.trim_start_matches("| ").to_owned(), why.to_lowercase())
        })
        .collect()
}

#[test]
fn every_difference_that_users_can_notice_is_in_the_guide_and_no_other() {
    let (rows, mut used) = (rows(), BTreeSet::new());
    assert!(!rows.is_empty());
    let begins_or_ends = |reason: &str, part: &str| reason.starts_with(part) || reason.ends_with(part);
    let mut missing = BTreeSet::new();
    let mut unneeded: BTreeSet<&str> = UNNOTICED
        .iter()
        .chain(TOLD.iter().map(|(part, ..)| part))
        .copied()
        .collect();
    for allowed in allowed::all()
        .iter()
        .chain(several::ALLOWED)
        .chain(several::AT_RANDOM)
    {
        let reason = allowed.reason;
        if let Some(part) = UNNOTICED.iter().find(|part| begins_or_ends(reason, part)) {
            unneeded.remove(part);
        } else if let Some((part, name, words)) = TOLD.iter().find(|(part, ..)| begins_or_ends(reason, part))
        {
            unneeded.remove(part);
            assert!(page(name).contains(words), "docs/{name} does not say {words:?}");
        } else {
            let row = (allowed.api.to_owned(), reason.to_lowercase());
            if !rows.contains(&row) {
                missing.insert(format!("{}: {reason}", allowed.api));
            }
            used.insert(row);
        }
    }
    assert!(missing.is_empty(), "not in docs/differences.md: {missing:#?}");
    let stale: Vec<_> = rows.difference(&used).collect();
    assert!(stale.is_empty(), "no difference any more: {stale:#?}");
    assert!(unneeded.is_empty(), "no reason begins or ends so: {unneeded:#?}");
}
