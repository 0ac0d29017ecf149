//! Where a topology came from, for problems that show only once its clusters are asked.

use std::fmt;
use std::sync::Arc;

use super::draft::{Drafts, Spot};
use super::model::Topology;
use super::problem::{Problem, ProblemKind, Severity};
use super::yaml::NodeId;

/// The text of the file, and where it names each cluster, in the order of the clusters.
#[derive(Clone, Default)]
pub(super) struct Origin {
    pub text: Arc<str>,
    pub aliases: Vec<NodeId>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.text.len())
    }
}

/// The problem that two aliases of a file name one cluster, which shows only once both were connected to.
///
/// It stands at the alias that comes later in the file. An alias that the file does not have gives a problem without a place.
pub fn same_cluster_problem(topology: &Topology, alias_a: &str, alias_b: &str, cluster_id: &str) -> Problem {
    let index = |alias: &str| {
        topology
            .clusters
            .iter()
            .position(|cluster| cluster.alias == alias)
    };
    let (first, second) = match (index(alias_a), index(alias_b)) {
        (Some(a), Some(b)) if b < a => (alias_b, alias_a),
        _ => (alias_a, alias_b),
    };
    let node = |alias: &str| {
        index(alias)
            .and_then(|index| topology.origin.aliases.get(index))
            .copied()
    };
    let message = format!("`{first}` and `{second}` are one cluster: both have the id {cluster_id}");
    let help = format!(
        "a flow between them would copy a cluster into itself; give `{second}` the address of the other cluster, or leave it out"
    );
    match (node(first), node(second)) {
        (Some(first), Some(at)) => {
            let mut drafts = Drafts::default();
            let spot = Spot {
                at,
                path: format!("clusters.{second}"),
            };
            drafts
                .error(ProblemKind::SameCluster, &spot, message.as_str())
                .help(help.as_str())
                .first(first);
            let problems = drafts.finish(&topology.file, &topology.origin.text).list;
            problems
                .into_iter()
                .next()
                .unwrap_or_else(|| without_place(topology, message, help))
        }
        _ => without_place(topology, message, help),
    }
}

fn without_place(topology: &Topology, message: String, help: String) -> Problem {
    Problem {
        severity: Severity::Error,
        kind: ProblemKind::SameCluster,
        file: topology.file.clone(),
        line: None,
        column: None,
        path: String::new(),
        message,
        help: Some(help),
        snippet: None,
    }
}
