//! Properties that go to a client or a built-in broker as they are.

use std::collections::BTreeMap;

use heliostat_broker::PropertyProblem;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::draft::Drafts;
use super::problem::ProblemKind;
use super::reading::{Field, Keys};
use super::suggest::nearest;
use super::yaml::Value;

/// What copying rests on, and what the file says elsewhere.
const OWN: [(&str, &str); 19] = [
    ("bootstrap.servers", "write `bootstrap_servers` in the cluster"),
    ("metadata.broker.list", "write `bootstrap_servers` in the cluster"),
    (
        "security.protocol",
        "write `security: { protocol: … }` in the cluster",
    ),
    (
        "sasl.mechanism",
        "write `security: { mechanism: … }` in the cluster",
    ),
    (
        "sasl.mechanisms",
        "write `security: { mechanism: … }` in the cluster",
    ),
    (
        "sasl.username",
        "write `security: { username: … }` in the cluster",
    ),
    (
        "sasl.password",
        "write `security: { password: { env: NAME } }` in the cluster",
    ),
    (
        "ssl.key.password",
        "write `security: { key_password: { env: NAME } }` in the cluster",
    ),
    (
        "ssl.keystore.password",
        "write `security: { certificate: PATH, key: PATH }` in the cluster, with PEM files",
    ),
    ("ssl.key.pem", "write `security: { key: PATH }` in the cluster"),
    ("group.id", OWN_PROGRESS),
    ("group.instance.id", OWN_PROGRESS),
    ("enable.auto.commit", OWN_PROGRESS),
    ("enable.auto.offset.store", OWN_PROGRESS),
    ("auto.offset.reset", OWN_PROGRESS),
    ("transactional.id", OWN_PROGRESS),
    ("acks", OWN_ARRIVAL),
    ("request.required.acks", OWN_ARRIVAL),
    ("delivery.report.only.error", OWN_ARRIVAL),
];

const OWN_ARRIVAL: &str =
    "leave it out: a record is copied when all replicas in sync have it, and not before";
const OWN_PROGRESS: &str = "leave it out: where copying goes on must not depend on the file";

/// Reads `properties` of a cluster for librdkafka, which says itself what it does not take.
pub(super) fn read_client_properties(drafts: &mut Drafts, field: &Field<'_>) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    let Some(table) = drafts.table(field, None, Keys::Any) else {
        return properties;
    };
    for (name, key, field) in table.fields("socket.keepalive.enable: true") {
        if let Some((_, help)) = OWN.iter().find(|(own, _)| *own == name) {
            let message = format!("`{name}` is not for `properties`: heliostat sets it itself");
            drafts.error(ProblemKind::BadProperty, &key, message).help(*help);
            continue;
        }
        if is_secret(name) {
            let message = format!("`{name}` is not for `properties`: these are shown, and it is a secret");
            let help = match name {
                "sasl.jaas.config" => {
                    "write `security: { protocol: …, mechanism: …, username: …, password: { env: NAME } }` in the cluster"
                }
                _ => "only what `security` has can hold secrets: leave it out",
            };
            drafts.error(ProblemKind::PlainSecret, &key, message).help(help);
            continue;
        }
        let Some(value) = scalar(drafts, &field) else {
            continue;
        };
        if let Err(error) = try_property(name, &value) {
            match error {
                Refused::Name => {
                    let help = "`properties` takes the properties of librdkafka, under the names in its CONFIGURATION.md";
                    let message = format!("librdkafka has no property `{name}`");
                    drafts.error(ProblemKind::BadProperty, &key, message).help(help);
                }
                Refused::Value => {
                    let help = "librdkafka's CONFIGURATION.md says which values it takes";
                    let message = format!("librdkafka does not take `{value}` for `{name}`");
                    drafts
                        .error(ProblemKind::BadProperty, &field.spot, message)
                        .help(help);
                }
            }
            continue;
        }
        properties.insert(name.to_owned(), value);
    }
    properties
}

/// Whether a property is a secret, or may have one inside.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let words = ["password", "secret", "token", "jaas", "passphrase", "credential"];
    words.iter().any(|word| name.contains(word)) || name.starts_with("sasl.oauthbearer.")
}

/// Reads `properties` of a built-in cluster: broker configs under Kafka's names.
pub(super) fn read_broker_properties(drafts: &mut Drafts, field: &Field<'_>) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    let Some(table) = drafts.table(field, None, Keys::Any) else {
        return properties;
    };
    for (name, key, field) in table.fields("log.retention.hours: 24") {
        let Some(value) = scalar(drafts, &field) else {
            continue;
        };
        match heliostat_broker::check_property(name, &value) {
            Ok(()) => {
                properties.insert(name.to_owned(), value);
            }
            Err(PropertyProblem::Unknown) => {
                let message = format!("the built-in cluster has no broker config `{name}`");
                let help = match nearest_broker_config(name) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None if name.starts_with("sasl.") => {
                        "who may connect, and how, stands in `sasl` of `built_in`, not in `properties`".to_owned()
                    }
                    None => "these are Kafka's broker configs, as far as they mean something to a built-in cluster"
                        .to_owned(),
                };
                drafts.error(ProblemKind::BadProperty, &key, message).help(help);
            }
            Err(PropertyProblem::Bad(reason)) => {
                let message = format!("the broker config `{name}` cannot be `{value}`: {reason}");
                let help = "write a value that Kafka takes for it";
                drafts
                    .error(ProblemKind::BadProperty, &field.spot, message)
                    .help(help);
            }
        }
    }
    properties
}

/// The broker config of a built-in cluster that was likely meant by a name that none has.
pub(crate) fn nearest_broker_config(name: &str) -> Option<&'static str> {
    let configs = heliostat_broker::broker_configs();
    nearest(name, configs.iter().map(|config| config.name))
}

fn scalar(drafts: &mut Drafts, field: &Field<'_>) -> Option<String> {
    match &field.node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Tagged(_) => {
            drafts.wrong_type(field, "a text, a number, or true or false");
            None
        }
    }
}

/// What librdkafka does not take of a property.
enum Refused {
    Name,
    Value,
}

fn try_property(name: &str, value: &str) -> Result<(), Refused> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Err(Refused::Name),
        Err(_) => Err(Refused::Value),
    }
}
