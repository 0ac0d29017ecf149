//! Who may connect to a built-in cluster, and as whom the daemon does.

use serde::Serialize;

use super::draft::Drafts;
use super::model::ClusterKind;
use super::problem::ProblemKind;
use super::reading::{Field, Keys, Table};
use super::secret::{Environment, Secret, read_secret};
use super::security::{Mechanism, Protocol, Sasl, Security};

const KEYS: Keys = Keys::These(super::keys::BUILT_IN_SASL);

/// Each user costs some milliseconds at the start. More are added while the cluster runs.
const USERS_MAX: usize = 100;

/// As long as a name can be that Kafka's tools give a quota.
const NAME_BYTES_MAX: usize = 1024;

/// How a built-in cluster asks who connects to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuiltInSasl {
    /// How users may prove their passwords, at least one.
    pub mechanisms: Vec<Mechanism>,
    /// The users, at least one, in the order of the file.
    pub users: Vec<SaslUser>,
}

/// A user of a built-in cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SaslUser {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: Secret,
}

impl BuiltInSasl {
    /// How the daemon connects where the file does not say it: as the first user, with the mechanism that tells others least.
    fn own_security(&self) -> Option<Security> {
        let mechanism = self.mechanisms.iter().max().copied()?;
        let user = self.users.first()?;
        Some(Security {
            protocol: Protocol::SaslPlaintext,
            sasl: Some(Sasl {
                mechanism,
                username: user.name.clone(),
                password: user.password.clone(),
            }),
            tls: None,
        })
    }
}

/// Reads `sasl` of a built-in cluster.
pub(super) fn read_sasl(
    drafts: &mut Drafts,
    built_in: &Table<'_>,
    field: &Field<'_>,
    environment: Environment<'_>,
) -> Option<BuiltInSasl> {
    let key = built_in.key_spot("sasl").map(|spot| spot.at);
    let table = drafts.table(field, key, KEYS)?;
    let mechanisms = drafts.optional(&table, "mechanisms", "mechanisms: [PLAIN, SCRAM-SHA-512]");
    let mechanisms = match mechanisms {
        None => Some(Mechanism::WORDS.map(|(_, mechanism)| mechanism).to_vec()),
        Some(field) => read_mechanisms(drafts, &field),
    };
    let users = drafts.required(&table, "users", "users: { mirror: { env: NAME } }");
    let users = users.and_then(|field| read_users(drafts, &table, &field, environment));
    Some(BuiltInSasl {
        mechanisms: mechanisms?,
        users: users?,
    })
}

/// What the daemon connects with: what the file says, if it can be, or what follows from the cluster's users.
pub(super) fn settle_security(
    drafts: &mut Drafts,
    cluster: &Table<'_>,
    kind: Option<&ClusterKind>,
    written: Option<Security>,
) -> Option<Security> {
    let settled = settle(drafts, cluster, kind, written)?;
    // librdkafka, which connects, would take it away, and the cluster refuse what is left.
    let properties = settled.client_properties();
    let cut = properties.iter().find(|(_, value)| begins_blank(value.expose()));
    if let Some(what) = cut.and_then(|(name, _)| described(name)) {
        let spot = cluster
            .key_spot("security")
            .or_else(|| cluster.key_spot("built_in"))?;
        let message = format!(
            "{what} with which the daemon connects begins with a space or a line break, and its Kafka client takes those away"
        );
        let help = "choose another one; spaces within it and behind it are no problem";
        drafts.error(ProblemKind::BadValue, &spot, message).help(help);
        return None;
    }
    Some(settled)
}

/// Whether a text begins with something that librdkafka takes for no part of it.
pub(crate) fn begins_blank(text: &str) -> bool {
    text.starts_with([' ', '\t', '\n', '\x0b', '\x0c', '\r'])
}

/// What a property of a client is in the file.
fn described(property: &str) -> Option<&'static str> {
    match property {
        "sasl.username" => Some("the user"),
        "sasl.password" => Some("the password"),
        "ssl.key.password" => Some("the password of the key"),
        _ => None,
    }
}

fn settle(
    drafts: &mut Drafts,
    cluster: &Table<'_>,
    kind: Option<&ClusterKind>,
    written: Option<Security>,
) -> Option<Security> {
    let Some(ClusterKind::BuiltIn(built_in)) = kind else {
        return written;
    };
    let Some(spot) = cluster.key_spot("security") else {
        return built_in.sasl.as_ref().and_then(BuiltInSasl::own_security);
    };
    let Some(sasl) = &built_in.sasl else {
        let message = format!(
            "`{}` has no effect: without `sasl` a built-in cluster takes plain connections only",
            spot.path
        );
        drafts
            .error(ProblemKind::BadValue, &spot, message)
            .help("leave `security` out, or add `sasl` to `built_in`");
        return None;
    };
    let written = written?;
    if written.protocol != Protocol::SaslPlaintext {
        let message = format!(
            "`{}.protocol` cannot be {}: a built-in cluster with `sasl` takes SASL_PLAINTEXT",
            spot.path, written.protocol
        );
        let help = "write `protocol: SASL_PLAINTEXT`, or leave `security` out: the first user is taken then";
        drafts.error(ProblemKind::BadValue, &spot, message).help(help);
        return None;
    }
    let own = written.sasl.as_ref()?;
    if !sasl.mechanisms.contains(&own.mechanism) {
        let message = format!(
            "`{}.mechanism` cannot be {}: it is not among the cluster's own",
            spot.path, own.mechanism
        );
        let help = "add it to `built_in.sasl.mechanisms`, or take one of those";
        drafts.error(ProblemKind::BadValue, &spot, message).help(help);
        return None;
    }
    Some(written)
}

fn read_mechanisms(drafts: &mut Drafts, field: &Field<'_>) -> Option<Vec<Mechanism>> {
    let items = drafts.list(field)?;
    if items.is_empty() {
        let message = format!("`{}` is an empty list: nobody could connect", field.spot.path);
        drafts
            .error(ProblemKind::EmptyValue, &field.spot, message)
            .help("write `mechanisms: [SCRAM-SHA-512]`, or leave the key out for all of them");
        return None;
    }
    let mut mechanisms = Vec::new();
    for item in items {
        let mechanism = drafts.choice(&item, &Mechanism::WORDS)?;
        if !mechanisms.contains(&mechanism) {
            mechanisms.push(mechanism);
        }
    }
    Some(mechanisms)
}

fn read_users(
    drafts: &mut Drafts,
    sasl: &Table<'_>,
    field: &Field<'_>,
    environment: Environment<'_>,
) -> Option<Vec<SaslUser>> {
    let key = sasl.key_spot("users").map(|spot| spot.at);
    let table = drafts.table(field, key, Keys::Any)?;
    let mut users = Vec::new();
    let mut count = 0;
    for (name, spot, field) in table.fields("{ env: NAME }") {
        count += 1;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let message = format!("`{}` has a user whose name is not possible", table.spot.path);
            let help =
                format!("a name has 1 to {NAME_BYTES_MAX} bytes, without control characters: `mirror`");
            drafts.error(ProblemKind::BadValue, &spot, message).help(help);
            continue;
        }
        if let Some(password) = read_secret(drafts, &field, environment) {
            users.push(SaslUser {
                name: name.to_owned(),
                password,
            });
        }
    }
    if count == 0 || count > USERS_MAX {
        let message = format!(
            "`{}` has {count} users, and 1 to {USERS_MAX} are possible",
            table.spot.path
        );
        let help =
            "write `users: { mirror: { env: NAME } }`; kafka-configs adds others while the cluster runs";
        drafts
            .error(ProblemKind::BadValue, &table.spot, message)
            .help(help);
        return None;
    }
    (users.len() == count).then_some(users)
}
