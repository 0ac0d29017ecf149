//! Which engine copies a flow, and what it can promise: what the file says, held against what its clusters ask for.

use super::clusters::ClusterDraft;
use super::draft::Drafts;
use super::model::{Cluster, Compression, Delivery, Engine};
use super::problem::ProblemKind;
use super::settings::FlowDraft;

/// Gives each flow its engine and what it delivers, where the file leaves them open; refuses what cannot be.
pub(super) fn choose(drafts: &mut Drafts, clusters: &[ClusterDraft], flows: &mut [FlowDraft]) {
    for draft in flows {
        let secured = [&draft.flow.source, &draft.flow.target]
            .into_iter()
            .find(|alias| clusters.iter().any(|cluster| is_secured(cluster, alias)));
        match (&draft.engine, secured) {
            (Some(spot), Some(alias)) if draft.flow.engine == Engine::Batches => {
                let message = format!(
                    "the engine `batches` has plain connections only so far, and `{alias}` has security settings"
                );
                let help = "write `engine: librdkafka`, or leave the key out";
                drafts.error(ProblemKind::NotYet, spot, message).help(help);
            }
            (None, Some(_)) => draft.flow.engine = Engine::Librdkafka,
            _ => {}
        }
        if draft.flow.engine == Engine::Batches {
            continue;
        }
        match &draft.compression {
            Some(spot) if draft.flow.compression == Compression::Producer => {
                let message = format!(
                    "`{}`: the engine `librdkafka`, {}, compresses anew and does not keep what the producer has chosen",
                    spot.path,
                    why(secured)
                );
                let help = "write `lz4`, or another codec, or leave the key out";
                drafts.error(ProblemKind::NotYet, spot, message).help(help);
            }
            Some(_) => {}
            None => draft.flow.compression = Compression::Lz4,
        }
        match &draft.delivery {
            Some(spot) if draft.flow.delivery == Delivery::ExactlyOnce => {
                let message = format!(
                    "`{}`: the engine `librdkafka`, {}, copies at least once",
                    spot.path,
                    why(secured)
                );
                let help = "write `delivery: at-least-once`, or leave the key out; after a crash the records of the last second or so\n\
                            may be there twice, and none is lost";
                drafts.error(ProblemKind::NotYet, spot, message).help(help);
            }
            Some(_) => {}
            None => draft.flow.delivery = Delivery::AtLeastOnce,
        }
    }
}

/// Why a flow has the engine librdkafka: for the cluster with this alias, or because the file says so.
fn why(secured: Option<&String>) -> String {
    match secured {
        Some(alias) => format!("which `{alias}` needs for its security settings"),
        None => "which this flow has".to_owned(),
    }
}

fn is_secured(draft: &ClusterDraft, alias: &str) -> bool {
    let secured = |cluster: &Cluster| {
        cluster.security.is_some()
            || cluster.properties.keys().any(|key| {
                ["security.", "sasl.", "ssl.", "enable.ssl"]
                    .iter()
                    .any(|start| key.starts_with(start))
            })
    };
    draft.alias == alias && draft.cluster.as_ref().is_some_and(secured)
}
