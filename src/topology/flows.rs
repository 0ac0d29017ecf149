//! A layout and a list of flows become the flows that run.

use super::clusters::ClusterDraft;
use super::draft::{Drafts, Spot};
use super::model::{Layout, flow_name};
use super::problem::ProblemKind;
use super::reading::{Field, Keys, Table};
use super::settings::{FlowDraft, Settings, read_settings, resolve};
use super::suggest::nearest;
use super::yaml::{Node, Value};

/// Which layout each role belongs to.
const ROLES: [(&str, Layout); 5] = [
    ("primary", Layout::ActiveStandby),
    ("standby", Layout::ActiveStandby),
    ("hub", Layout::HubAndSpoke),
    ("spokes", Layout::HubAndSpoke),
    ("direction", Layout::HubAndSpoke),
];

const ENTRY_KEYS: Keys = Keys::These(super::keys::FLOW_ENTRY);

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    SpokeToHub,
    HubToSpoke,
    Both,
}

/// One entry of `flows`.
struct Entry {
    source: String,
    target: String,
    spot: Spot,
    settings: Settings,
}

/// A flow that a layout makes, and where the file says so.
struct Planned {
    source: String,
    target: String,
    spot: Spot,
}

/// All flows of a file, with their settings.
pub(super) fn read_flows(
    drafts: &mut Drafts,
    root: &Table<'_>,
    layout: Option<Layout>,
    clusters: &[ClusterDraft],
) -> Vec<FlowDraft> {
    let defaults = drafts.optional(root, "defaults", "defaults: { topics: { include: [\".*\"] } }");
    let defaults = defaults.and_then(|field| {
        let key = root.key_spot("defaults").map(|spot| spot.at);
        drafts.table(&field, key, Keys::These(super::keys::FLOW))
    });
    let defaults = defaults
        .map(|table| read_settings(drafts, &table))
        .unwrap_or_default();
    let entries = read_entries(drafts, root, clusters);
    let check_the_aliases = |drafts: &mut Drafts, entries: Option<&[Entry]>| {
        check_aliases(drafts, root, clusters, entries.unwrap_or_default(), &defaults);
    };
    let Some(layout) = layout else {
        check_the_aliases(drafts, entries.as_deref());
        return Vec::new();
    };
    for (role, belongs_to) in ROLES {
        if let (Some(spot), true) = (root.key_spot(role), belongs_to != layout) {
            let message =
                format!("`{role}` is a role of the layout {belongs_to}, and this file's layout is {layout}");
            let help = format!("leave `{role}` out, or write `layout: {belongs_to}`");
            drafts.error(ProblemKind::ExtraRole, &spot, message).help(help);
        }
    }
    let here = root.key_spot("layout").unwrap_or_else(|| root.spot.clone());
    let planned = match layout {
        Layout::ActiveStandby => active_standby(drafts, root, clusters, &here),
        Layout::ActiveActive => Some(active_active(clusters, &here)),
        Layout::HubAndSpoke => hub_and_spoke(drafts, root, clusters, &here),
        Layout::Custom => {
            if !root.has("flows") || (entries.as_ref().is_some_and(Vec::is_empty)) {
                let message = "the layout custom has the flows that `flows` lists, and there is none";
                let help = format!(
                    "write `flows: [{{ name: {} }}]`, or choose another layout",
                    example_flow(clusters)
                );
                drafts.error(ProblemKind::MissingKey, &here, message).help(help);
            }
            let entries = entries.unwrap_or_default().into_iter();
            let resolve = |entry: Entry| {
                resolve(
                    entry.settings,
                    &defaults,
                    &entry.source,
                    &entry.target,
                    entry.spot,
                )
            };
            return entries.map(resolve).collect();
        }
    };
    // Which flows there are is not known where a role is wrong, and an override must not be called unknown for that.
    let Some(planned) = planned else {
        check_the_aliases(drafts, entries.as_deref());
        return Vec::new();
    };
    override_flows(drafts, layout, planned, entries.unwrap_or_default(), &defaults)
}

/// Where it is not known which flows there are, aliases that would not fit into the names of mirrors are told all the same: those of clusters
/// that are the source of a flow in whatever layout was meant.
fn check_aliases(
    drafts: &mut Drafts,
    root: &Table<'_>,
    clusters: &[ClusterDraft],
    entries: &[Entry],
    defaults: &Settings,
) {
    let (targets, hubs) = (texts_of(root, &["standby"]), texts_of(root, &["hub"]));
    let direction = texts_of(root, &["direction"]).first().copied();
    let is_source = |alias: &str| {
        let by_direction = match direction {
            Some("hub-to-spoke") => hubs.contains(&alias),
            Some("spoke-to-hub") => !hubs.contains(&alias),
            _ => true,
        };
        // An entry of `flows` may have a policy of its own.
        by_direction && !targets.contains(&alias) && !entries.iter().any(|entry| entry.source == alias)
    };
    let sources = clusters.iter().filter(|cluster| is_source(&cluster.alias));
    let flows: Vec<FlowDraft> = sources
        .map(|cluster| {
            let spot = cluster.spot.clone();
            resolve(Settings::default(), defaults, &cluster.alias, "", spot)
        })
        .collect();
    super::rules::check_separators(drafts, clusters, &flows);
}

fn override_flows(
    drafts: &mut Drafts,
    layout: Layout,
    planned: Vec<Planned>,
    mut entries: Vec<Entry>,
    defaults: &Settings,
) -> Vec<FlowDraft> {
    let mut flows = Vec::new();
    let names: Vec<String> = planned
        .iter()
        .map(|flow| flow_name(&flow.source, &flow.target))
        .collect();
    for flow in planned {
        let own = entries
            .iter()
            .position(|entry| entry.source == flow.source && entry.target == flow.target);
        let (settings, spot) = match own.map(|index| entries.remove(index)) {
            Some(entry) => (entry.settings, entry.spot),
            None => (Settings::default(), flow.spot),
        };
        flows.push(resolve(settings, defaults, &flow.source, &flow.target, spot));
    }
    for entry in entries {
        let name = flow_name(&entry.source, &entry.target);
        let message = format!("the layout {layout} has no flow `{name}`");
        let help = match names.len() {
            0..=12 => format!(
                "its flows are {}; other flows need `layout: custom`",
                quote(&names)
            ),
            count => format!(
                "it has {count} flows, {} among them; other flows need `layout: custom`",
                quote(&names[..3])
            ),
        };
        drafts
            .error(ProblemKind::UnknownFlow, &entry.spot, message)
            .help(help);
    }
    flows
}

/// The entries of `flows` that name a flow between two clusters of the file; `None` if the list is none.
fn read_entries(drafts: &mut Drafts, root: &Table<'_>, clusters: &[ClusterDraft]) -> Option<Vec<Entry>> {
    let field = drafts.optional(root, "flows", "flows: [{ name: primary->standby }]")?;
    let mut entries: Vec<Entry> = Vec::new();
    for item in drafts.list(&field)? {
        let Some(table) = drafts.table(&item, None, ENTRY_KEYS) else {
            continue;
        };
        let name = drafts.required(&table, "name", "name: primary->standby");
        let settings = read_settings(drafts, &table);
        let Some(name) = name else { continue };
        let Some((source, target)) = read_flow_name(drafts, &name, clusters) else {
            continue;
        };
        if let Some(first) = entries
            .iter()
            .find(|entry| entry.source == source && entry.target == target)
        {
            let message = format!("the flow `{}` is there twice", flow_name(&source, &target));
            drafts
                .error(ProblemKind::DuplicateFlow, &name.spot, message)
                .first(first.spot.at);
            continue;
        }
        entries.push(Entry {
            source,
            target,
            spot: name.spot,
            settings,
        });
    }
    Some(entries)
}

fn read_flow_name(
    drafts: &mut Drafts,
    field: &Field<'_>,
    clusters: &[ClusterDraft],
) -> Option<(String, String)> {
    let text = drafts.text(field)?;
    let Some((source, target)) = text
        .split_once("->")
        .map(|(source, target)| (source.trim(), target.trim()))
    else {
        let message = format!("`{text}` is not the name of a flow: source and target have `->` between them");
        let help = format!("write `name: {}`", example_flow(clusters));
        drafts
            .error(ProblemKind::BadValue, &field.spot, message)
            .help(help);
        return None;
    };
    let known_source = known_cluster(drafts, &field.spot, source, clusters, &[target]);
    let known_target = source == target || known_cluster(drafts, &field.spot, target, clusters, &[source]);
    if source == target {
        let message = format!("the flow `{text}` goes from a cluster to itself");
        let help = format!("name two clusters: `name: {}`", example_flow(clusters));
        drafts
            .error(ProblemKind::FlowToItself, &field.spot, message)
            .help(help);
        return None;
    }
    (known_source && known_target).then(|| (source.to_owned(), target.to_owned()))
}

fn active_standby(
    drafts: &mut Drafts,
    root: &Table<'_>,
    clusters: &[ClusterDraft],
    here: &Spot,
) -> Option<Vec<Planned>> {
    let primary = role(drafts, root, clusters, "primary", "primary: primary", here);
    let standby = role(drafts, root, clusters, "standby", "standby: standby", here);
    let ((primary, _), (standby, spot)) = (primary?, standby?);
    if primary == standby {
        let message =
            format!("`{primary}` is both primary and standby: the flow would go from a cluster to itself");
        drafts
            .error(ProblemKind::FlowToItself, &spot, message)
            .help("name two clusters");
        return None;
    }
    Some(vec![Planned {
        source: primary,
        target: standby,
        spot: here.clone(),
    }])
}

fn active_active(clusters: &[ClusterDraft], here: &Spot) -> Vec<Planned> {
    let mut planned = Vec::new();
    for (index, first) in clusters.iter().enumerate() {
        for second in &clusters[index + 1..] {
            for (source, target) in [(first, second), (second, first)] {
                let (source, target) = (source.alias.clone(), target.alias.clone());
                planned.push(Planned {
                    source,
                    target,
                    spot: here.clone(),
                });
            }
        }
    }
    planned
}

fn hub_and_spoke(
    drafts: &mut Drafts,
    root: &Table<'_>,
    clusters: &[ClusterDraft],
    here: &Spot,
) -> Option<Vec<Planned>> {
    let hub = role(drafts, root, clusters, "hub", "hub: hub", here);
    let spokes = read_spokes(
        drafts,
        root,
        clusters,
        hub.as_ref().map(|(hub, _)| hub.as_str()),
        here,
    );
    let words = [
        ("spoke-to-hub", Direction::SpokeToHub),
        ("hub-to-spoke", Direction::HubToSpoke),
        ("both", Direction::Both),
    ];
    let direction = required_role(drafts, root, "direction", "direction: spoke-to-hub", here);
    let direction = direction.and_then(|field| drafts.choice(&field, &words))?;
    let (hub, _) = hub?;
    let mut planned = Vec::new();
    for spoke in spokes? {
        let mut plan = |source: &str, target: &str| {
            planned.push(Planned {
                source: source.to_owned(),
                target: target.to_owned(),
                spot: here.clone(),
            });
        };
        if direction != Direction::HubToSpoke {
            plan(&spoke, &hub);
        }
        if direction != Direction::SpokeToHub {
            plan(&hub, &spoke);
        }
    }
    Some(planned)
}

fn read_spokes(
    drafts: &mut Drafts,
    root: &Table<'_>,
    clusters: &[ClusterDraft],
    hub: Option<&str>,
    here: &Spot,
) -> Option<Vec<String>> {
    let field = required_role(drafts, root, "spokes", "spokes: [spoke-1, spoke-2]", here)?;
    let mut spokes: Vec<(String, Spot)> = Vec::new();
    let items = drafts.list(&field)?;
    if items.is_empty() {
        drafts
            .error(ProblemKind::EmptyValue, &field.spot, "`spokes` is an empty list")
            .help(format!("write `{}`", field.example));
        return None;
    }
    let mut all_known = true;
    let used = texts_of(root, &["hub", "spokes"]);
    for item in items {
        let Some(alias) = drafts.text(&item) else {
            all_known = false;
            continue;
        };
        if let Some((_, first)) = spokes.iter().find(|(spoke, _)| spoke == alias) {
            let message = format!("the spoke `{alias}` is there twice");
            drafts
                .error(ProblemKind::DuplicateFlow, &item.spot, message)
                .first(first.at);
        } else if Some(alias) == hub {
            let message =
                format!("`{alias}` is both hub and spoke: the flow would go from a cluster to itself");
            drafts
                .error(ProblemKind::FlowToItself, &item.spot, message)
                .help("leave the hub out of `spokes`");
        } else if known_cluster(drafts, &item.spot, alias, clusters, &used) {
            spokes.push((alias.to_owned(), item.spot));
        } else {
            all_known = false;
        }
    }
    all_known.then(|| spokes.into_iter().map(|(spoke, _)| spoke).collect())
}

/// The cluster that has a role, and where the file says so.
fn role(
    drafts: &mut Drafts,
    root: &Table<'_>,
    clusters: &[ClusterDraft],
    role: &str,
    example: &'static str,
    here: &Spot,
) -> Option<(String, Spot)> {
    let field = required_role(drafts, root, role, example, here)?;
    let alias = drafts.text(&field)?;
    let others: &[&str] = match role {
        "primary" => &["standby"],
        "standby" => &["primary"],
        _ => &["spokes"],
    };
    let used = texts_of(root, others);
    known_cluster(drafts, &field.spot, alias, clusters, &used).then(|| (alias.to_owned(), field.spot))
}

/// The texts that some roles have, right or wrong.
fn texts_of<'a>(root: &Table<'a>, roles: &[&str]) -> Vec<&'a str> {
    let fields = root.fields("").filter(|(key, ..)| roles.contains(key));
    let values = fields.flat_map(|(_, _, field)| match &field.node.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![field.node],
    });
    let text = |node: &'a Node| match &node.value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    };
    values.filter_map(text).collect()
}

fn required_role<'a>(
    drafts: &mut Drafts,
    root: &Table<'a>,
    role: &str,
    example: &'static str,
    here: &Spot,
) -> Option<Field<'a>> {
    if !root.has(role) && !root.meant(role) {
        let layout = ROLES
            .iter()
            .find(|(name, _)| *name == role)
            .map_or(Layout::Custom, |(_, layout)| *layout);
        let message = format!("the layout {layout} needs `{role}`");
        drafts
            .error(ProblemKind::MissingKey, here, message)
            .help(format!("write `{example}` at the top level"));
    }
    drafts.optional(root, role, example)
}

/// Whether there is such a cluster. One that is `used` beside it already cannot have been meant.
fn known_cluster(
    drafts: &mut Drafts,
    spot: &Spot,
    alias: &str,
    clusters: &[ClusterDraft],
    used: &[&str],
) -> bool {
    if clusters.iter().any(|cluster| cluster.alias == alias) {
        return true;
    }
    let aliases: Vec<String> = clusters.iter().map(|cluster| cluster.alias.clone()).collect();
    let mut free = aliases
        .iter()
        .map(String::as_str)
        .filter(|alias| !used.contains(alias));
    let help = match nearest(alias, free.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if free.next().is_none() => "add it under `clusters`".to_owned(),
        None => format!("the clusters of this file are {}", quote(&aliases)),
    };
    drafts
        .error(
            ProblemKind::UnknownCluster,
            spot,
            format!("there is no cluster `{alias}`"),
        )
        .help(help);
    false
}

fn example_flow(clusters: &[ClusterDraft]) -> String {
    match clusters {
        [source, target, ..] => flow_name(&source.alias, &target.alias),
        _ => "primary->standby".to_owned(),
    }
}

fn quote(words: &[String]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
