//! A YAML file becomes a checked [`Topology`]: clusters, flows, policies. Or everything that is wrong with it.
//!
//! Reading is strict: an unknown key is an error, so is one that is there twice, and all errors come at once, each with
//! its place and what to write instead. What comes out has every setting resolved.
//!
//! Relative paths in a file (`data`, `ca`, `certificate`, `key`, the `file` of a secret) begin at the working directory, as
//! paths in a command do, wherever the topology file itself is.

mod clusters;
mod draft;
mod engines;
mod flows;
mod hints;
mod keys;
mod model;
mod origin;
mod problem;
mod properties;
mod reading;
mod routes;
mod rules;
mod sasl;
mod secret;
mod security;
mod settings;
mod shade;
mod snippet;
mod suggest;
pub(crate) mod units;
mod yaml;

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

pub use keys::KEYS;
pub use model::{
    BuiltIn, Cluster, ClusterKind, Compression, Delivery, Engine, Flow, Http, Layout, Limits, OnGap,
    OnRecreated, Topology,
};
pub use origin::same_cluster_problem;
pub use problem::{Problem, ProblemKind, Problems, Severity, Snippet};
pub(crate) use properties::nearest_broker_config;
pub use routes::{Outcome, Step};
pub(crate) use sasl::begins_blank;
pub use sasl::{BuiltInSasl, SaslUser};
pub use secret::Secret;
pub use security::{Mechanism, PropertyValue, Protocol, Sasl, Security, Tls};
pub(crate) use suggest::nearest;

use draft::{Drafts, Spot};
use origin::Origin;
use reading::{Field, Keys, Table};
use secret::Environment;
use yaml::{NodeId, Position, ReadError, Value};

/// A topology of a thousand clusters has a tenth of this.
const FILE_BYTES_MAX: u64 = 1 << 20;

const ROOT_KEYS: Keys = Keys::These(keys::ROOT);

const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Topology {
    /// Reads a file, and the secrets that it names from the environment and from their files.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn load(path: &Path) -> Result<Topology, Problems> {
        Topology::load_with(path, Some(&|name| std::env::var(name).ok()))
    }

    /// Reads a file, and none of its secrets: for whoever wants to know something of it, and asks no cluster. They are empty.
    ///
    /// # Errors
    /// What else is wrong with it, in the order of the file.
    pub fn load_without_secrets(path: &Path) -> Result<Topology, Problems> {
        Topology::load_with(path, None)
    }

    fn load_with(path: &Path, environment: Environment<'_>) -> Result<Topology, Problems> {
        let bytes = read_file(path).map_err(|error| {
            let message = format!("the file cannot be read: {}", secret::describe(&error));
            let help = "give the path of a topology file, such as topologies/active-standby.yaml";
            Problems {
                list: vec![problem(path, ProblemKind::UnreadableFile, message, help)],
            }
        })?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Topology::parse_in(path, text, environment),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let line = valid.matches('\n').count() + 1;
                let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                let mut problem = problem(
                    path,
                    ProblemKind::Syntax,
                    "the file is not UTF-8".to_owned(),
                    "save the file as UTF-8",
                );
                (problem.line, problem.column) = (Some(line), Some(column));
                Err(Problems { list: vec![problem] })
            }
        }
    }

    /// Reads a text; `file` is what problems call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn parse(file: &Path, text: &str) -> Result<Topology, Problems> {
        Topology::parse_with(file, text, &|name| std::env::var(name).ok())
    }

    /// The same with other environment variables than those of the process.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn parse_with(
        file: &Path,
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Topology, Problems> {
        Topology::parse_in(file, text, Some(environment))
    }

    fn parse_in(file: &Path, text: &str, environment: Environment<'_>) -> Result<Topology, Problems> {
        if text.len() as u64 > FILE_BYTES_MAX {
            let message = format!("the file has more than {FILE_BYTES_MAX} bytes");
            let problem = problem(
                file,
                ProblemKind::FileTooLarge,
                message,
                "a topology is far shorter: is it the right file?",
            );
            return Err(Problems { list: vec![problem] });
        }
        let root = yaml::read(text).map_err(|error| unreadable(file, text, error))?;
        let mut drafts = Drafts::new(shade::secrets(&root));
        let field = Field {
            node: &root,
            spot: Spot {
                at: root.id,
                path: String::new(),
            },
            example: "name: two-datacenters",
        };
        let topology = if matches!(root.value, Value::Map(_)) {
            drafts
                .table(&field, None, ROOT_KEYS)
                .and_then(|table| read_root(&mut drafts, &table, environment))
        } else {
            let message = format!(
                "a topology is a map with keys such as `name` and `clusters`, not {}",
                root.value.noun()
            );
            drafts
                .error(ProblemKind::WrongType, &field.spot, message)
                .help("see topologies/active-standby.yaml");
            None
        };
        let failed = drafts.has_errors();
        let problems = drafts.finish(file, text);
        match topology {
            Some((topology, aliases)) if !failed => Ok(Topology {
                file: file.to_owned(),
                warnings: problems.list,
                origin: Origin {
                    text: text.into(),
                    aliases,
                },
                ..topology
            }),
            _ => Err(problems),
        }
    }
}

/// Reads the whole file. What is `None` here was noted as an error.
fn read_root(
    drafts: &mut Drafts,
    root: &Table<'_>,
    environment: Environment<'_>,
) -> Option<(Topology, Vec<NodeId>)> {
    let name = drafts.required(root, "name", "name: two-datacenters");
    let name = name.and_then(|field| read_name(drafts, &field));
    let layout = drafts.required(root, "layout", "layout: active-standby");
    let layout = layout.and_then(|field| drafts.choice(&field, Layout::WORDS));
    let clusters = clusters::read_clusters(drafts, root, environment);
    let mut flows = flows::read_flows(drafts, root, layout, &clusters);
    engines::choose(drafts, &clusters, &mut flows);
    let (listen, listen_spot) = read_http(drafts, root);
    clusters::check_clusters(drafts, &clusters, (listen, &listen_spot));
    rules::check_flows(drafts, &clusters, &flows);
    let aliases = clusters.iter().map(|draft| draft.spot.at).collect();
    let topology = Topology {
        file: Default::default(),
        name: name?,
        layout: layout?,
        clusters: clusters
            .into_iter()
            .map(|draft| draft.cluster)
            .collect::<Option<_>>()?,
        flows: flows.into_iter().map(|draft| draft.flow).collect(),
        http: Http { listen },
        warnings: Vec::new(),
        origin: Origin::default(),
    };
    Some((topology, aliases))
}

fn read_name(drafts: &mut Drafts, field: &Field<'_>) -> Option<String> {
    let name = drafts.text(field)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() <= 100 && name.chars().all(plain) {
        return Some(name.to_owned());
    }
    let message = "`name` takes letters, digits, `.`, `_` and `-`, at most 100 of them";
    drafts
        .error(ProblemKind::BadValue, &field.spot, message)
        .help("write `name: two-datacenters`");
    None
}

fn read_http(drafts: &mut Drafts, root: &Table<'_>) -> (SocketAddr, Spot) {
    let nowhere = (LISTEN_DEFAULT, root.spot.clone());
    let Some(field) = drafts.optional(root, "http", "http: { listen: 127.0.0.1:8080 }") else {
        return nowhere;
    };
    let key = root.key_spot("http").map(|spot| spot.at);
    let Some(table) = drafts.table(&field, key, Keys::These(keys::HTTP)) else {
        return nowhere;
    };
    let Some(listen) = drafts.optional(&table, "listen", "listen: 127.0.0.1:8080") else {
        return nowhere;
    };
    if let Value::Int(port @ 0..=65535) = &listen.node.value {
        let message = "`http.listen` must be an address with a port, not a port alone";
        drafts
            .error(ProblemKind::WrongType, &listen.spot, message)
            .help(format!("write `listen: 127.0.0.1:{port}`"));
        return nowhere;
    }
    let Some(text) = drafts.text(&listen) else {
        return nowhere;
    };
    let Ok(address) = text.parse() else {
        let message = format!("`http.listen` must be an IP address with a port, and `{text}` is none");
        let help = "write `listen: 127.0.0.1:8080` for this machine only, or `listen: 0.0.0.0:8080` for all its addresses";
        drafts
            .error(ProblemKind::BadValue, &listen.spot, message)
            .help(help);
        return nowhere;
    };
    (address, listen.spot)
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte over the limit is enough to know that it is over.
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(file: &Path, text: &str, error: ReadError) -> Problems {
    // What stands before a second document was read, and is YAML.
    let secrets: Option<&[shade::Hidden]> = match error {
        ReadError::SecondDocument { .. } => Some(&[]),
        _ => None,
    };
    let (kind, message, help, position) = match error {
        ReadError::Empty => {
            let help =
                "a topology has at least `name`, `layout` and `clusters`: see topologies/active-standby.yaml";
            (ProblemKind::EmptyFile, "the file is empty".to_owned(), help, None)
        }
        ReadError::SecondDocument { position } => {
            let message = "a second document begins here, and a topology is one".to_owned();
            (
                ProblemKind::Syntax,
                message,
                "take out the line `---`, or put the rest into a file of its own",
                position,
            )
        }
        ReadError::Syntax { message, position } => {
            let line = position
                .and_then(|position| shade::lines(text).nth(position.line.checked_sub(1)?))
                .unwrap_or_default();
            let help = syntax_help(&message, line);
            (
                ProblemKind::Syntax,
                format!("this is not YAML: {message}"),
                help,
                position,
            )
        }
    };
    let mut problem = problem(file, kind, message, help);
    if let Some(Position { line, column }) = position {
        (problem.line, problem.column) = (Some(line), Some(column));
        problem.snippet = snippet::snippet(text, Position { line, column }, secrets);
    }
    Problems { list: vec![problem] }
}

fn syntax_help(message: &str, line: &str) -> &'static str {
    let indentation = &line[..line.len() - line.trim_start().len()];
    if indentation.contains('\t') {
        "YAML does not allow tabs in front of a line: use spaces"
    } else if message.contains("mapping values are not allowed") {
        "put a value that has `: ` in it into quotes, and give the keys of one map the same indentation"
    } else if message.contains("unknown anchor") || message.contains("alphabetic or numeric character") {
        "a `*` in front of a value refers to a `&name`: put patterns into quotes, such as \".*\""
    } else if message.contains("flow sequence") || message.contains("flow mapping") {
        "close the bracket, and put texts that have brackets, commas or colons in them into quotes"
    } else {
        "look at brackets, quotes and the indentation around this place"
    }
}

fn problem(file: &Path, kind: ProblemKind, message: String, help: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        kind,
        file: file.to_owned(),
        line: None,
        column: None,
        path: String::new(),
        message,
        help: Some(help.to_owned()),
        snippet: None,
    }
}
