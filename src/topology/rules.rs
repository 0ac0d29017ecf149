//! What holds between flows: no circles, no two flows into one mirror topic, and no cluster left over.

use super::clusters::ClusterDraft;
use super::draft::{Drafts, Spot};
use super::model::{Cluster, ClusterKind};
use super::problem::ProblemKind;
use super::settings::FlowDraft;
use crate::policy::{Naming, Pattern};

/// Checks all flows of a file.
pub(super) fn check_flows(drafts: &mut Drafts, clusters: &[ClusterDraft], flows: &[FlowDraft]) {
    check_separators(drafts, clusters, flows);
    check_circles(drafts, flows);
    check_collisions(drafts, flows);
    check_replication_factors(drafts, clusters, flows);
    check_unused(drafts, clusters, flows);
}

/// In `dc.1.orders` nobody could tell whether the cluster is `dc.1` or `dc`.
pub(super) fn check_separators(drafts: &mut Drafts, clusters: &[ClusterDraft], flows: &[FlowDraft]) {
    for cluster in clusters {
        if drafts.has_error_at(cluster.spot.at) {
            continue;
        }
        let separator_within = |draft: &&FlowDraft| match &draft.flow.naming {
            Naming::Prefix { separator } => {
                draft.flow.source == cluster.alias && cluster.alias.contains(separator.as_str())
            }
            Naming::Identity | Naming::Template { .. } => false,
        };
        let Some(FlowDraft { flow, .. }) = flows.iter().find(separator_within) else {
            continue;
        };
        let Naming::Prefix { separator } = &flow.naming else {
            continue;
        };
        let mirror = format!("{}{separator}orders", cluster.alias);
        let message = format!(
            "the alias `{}` has the separator `{separator}` in it: the name `{mirror}` would not tell where the topic is from",
            cluster.alias
        );
        let replacement = if separator.contains('-') { "_" } else { "-" };
        let plain = cluster.alias.replace(separator.as_str(), replacement);
        let help = format!(
            "call it `{plain}`, or choose another separator: `naming: {{ policy: prefix, separator: … }}`"
        );
        drafts
            .error(ProblemKind::BadAlias, &cluster.spot, message)
            .help(help);
    }
}

/// Flows that keep names, around in a ring: each topic would be its own mirror, and nothing tells copies from originals.
fn check_circles(drafts: &mut Drafts, flows: &[FlowDraft]) {
    let keeps_names = |draft: &&FlowDraft| {
        let (before, after) = draft.flow.naming.around(&draft.flow.source, &draft.flow.target);
        before.is_empty() && after.is_empty()
    };
    let keeping: Vec<&FlowDraft> = flows.iter().filter(keeps_names).collect();
    let literals = |draft: &&FlowDraft| {
        draft
            .flow
            .topics
            .include
            .iter()
            .map(Pattern::literal)
            .collect::<Option<Vec<_>>>()
    };
    // Two patterns are taken to overlap, so flows with patterns are looked at together; a plain name is tried by itself.
    let mut names: Vec<String> = keeping.iter().filter_map(literals).flatten().collect();
    names.sort();
    names.dedup();
    let mut rings = vec![ring(
        &keeping
            .iter()
            .copied()
            .filter(|draft| literals(draft).is_none())
            .collect::<Vec<_>>(),
    )];
    for name in &names {
        let with_it: Vec<&FlowDraft> = keeping
            .iter()
            .copied()
            .filter(|draft| draft.flow.topics.includes(name))
            .collect();
        rings.push(ring(&with_it));
    }
    let mut reported: Vec<Spot> = Vec::new();
    for ring in rings.into_iter().flatten() {
        let Some(last) = ring.iter().max_by_key(|draft| draft.naming.at) else {
            continue;
        };
        if reported.contains(&last.naming) {
            continue;
        }
        reported.push(last.naming.clone());
        let list: Vec<String> = ring
            .iter()
            .map(|draft| format!("`{}`", draft.flow.name))
            .collect();
        let message = format!(
            "the flows {} keep the names of topics: what they copy would come back in a circle",
            list.join(", ")
        );
        let help = "write `naming: { policy: prefix }` for at least one of them, or give them plain topic names that do not\n\
                    overlap: `topics: { include: [orders] }`";
        drafts
            .error(ProblemKind::Circle, &last.naming, message)
            .help(help);
    }
}

/// Some flows that lead around in a ring, if there are any.
fn ring<'a>(flows: &[&'a FlowDraft]) -> Option<Vec<&'a FlowDraft>> {
    // Whoever takes away clusters that nothing leads into, or out of, until none is left to take, has the rings left.
    let mut left: Vec<&'a FlowDraft> = flows.to_vec();
    loop {
        let on_the_way = |draft: &&&FlowDraft| {
            left.iter().any(|other| other.flow.target == draft.flow.source)
                && left.iter().any(|other| other.flow.source == draft.flow.target)
        };
        let kept: Vec<&'a FlowDraft> = left.iter().filter(on_the_way).copied().collect();
        if kept.len() == left.len() {
            break;
        }
        left = kept;
    }
    // Every flow that is left has one that follows it, so a walk comes back to a place where it was.
    let mut walk: Vec<&'a FlowDraft> = vec![left.first()?];
    loop {
        let next = left.iter().find(|draft| {
            walk.last()
                .is_some_and(|last| last.flow.target == draft.flow.source)
        })?;
        if let Some(start) = walk
            .iter()
            .position(|draft| draft.flow.source == next.flow.source)
        {
            return Some(walk.split_off(start));
        }
        walk.push(next);
    }
}

/// Two flows into one target that would give two topics one name.
fn check_collisions(drafts: &mut Drafts, flows: &[FlowDraft]) {
    for (index, second) in flows.iter().enumerate() {
        for first in &flows[..index] {
            let (a, b) = (&first.flow, &second.flow);
            if a.target != b.target {
                continue;
            }
            let (a_before, a_after) = a.naming.around(&a.source, &a.target);
            let (b_before, b_after) = b.naming.around(&b.source, &b.target);
            if a_before == b_before && a_after == b_after {
                if !a.topics.may_share_topics(&b.topics) {
                    continue;
                }
                let message = format!(
                    "the flows `{}` and `{}` would both write the mirror topic `{b_before}orders{b_after}` on `{}`",
                    a.name, b.name, b.target
                );
                let help = "let the source stand in the name: `naming: { policy: prefix }`, or give them plain topic names that\n\
                            do not overlap: `topics: { include: [orders] }`";
                drafts
                    .error(ProblemKind::NameCollision, &second.naming, message)
                    .help(help);
                // One problem for each flow is enough: the first mends the others too.
                break;
            }
            let related = |x: &str, y: &str, inside: fn(&str, &str) -> bool| inside(x, y) || inside(y, x);
            let starts = related(&a_before, &b_before, |x, y| x.starts_with(y));
            let ends = related(&a_after, &b_after, |x, y| x.ends_with(y));
            if starts && ends && first.naming.at != second.naming.at {
                let message = format!(
                    "the flows `{}` ({}) and `{}` ({}) can give two topics one name on `{}`",
                    a.name, a.naming, b.name, b.naming, b.target
                );
                let help = "give both the same `naming` with the source in it, or keep such topics apart with `topics`";
                drafts
                    .warning(ProblemKind::NameCollision, &second.naming, message)
                    .help(help);
            }
        }
    }
}

fn check_replication_factors(drafts: &mut Drafts, clusters: &[ClusterDraft], flows: &[FlowDraft]) {
    let brokers_of = |alias: &str| {
        let draft = clusters.iter().find(|draft| draft.alias == alias)?;
        match &draft.cluster {
            Some(Cluster {
                kind: ClusterKind::BuiltIn(built_in),
                ..
            }) => Some(built_in.brokers),
            _ => None,
        }
    };
    for FlowDraft {
        flow,
        replication_factor: spot,
        ..
    } in flows
    {
        let (Some(factor), Some(spot), Some(brokers)) =
            (flow.replication_factor, spot, brokers_of(&flow.target))
        else {
            continue;
        };
        if i32::from(factor) > i32::from(brokers) && !drafts.has_error_at(spot.at) {
            let noun = if brokers == 1 { "broker" } else { "brokers" };
            let message = format!(
                "`{}` is {factor}, and the built-in cluster `{}` has {brokers} {noun}",
                spot.path, flow.target
            );
            let help = format!(
                "write `replication_factor: {brokers}`, leave it out, or give the cluster more `brokers`"
            );
            drafts.error(ProblemKind::BadValue, spot, message).help(help);
        }
    }
}

fn check_unused(drafts: &mut Drafts, clusters: &[ClusterDraft], flows: &[FlowDraft]) {
    // Where something is wrong, mending it may well bring the flow that seems to be missing.
    if flows.is_empty() || drafts.has_errors() {
        return;
    }
    for cluster in clusters {
        if !flows
            .iter()
            .any(|draft| draft.flow.source == cluster.alias || draft.flow.target == cluster.alias)
        {
            let message = format!("no flow uses the cluster `{}`", cluster.alias);
            drafts
                .warning(ProblemKind::UnusedCluster, &cluster.spot, message)
                .help("leave it out, or add a flow");
        }
    }
}
