//! How to connect to a cluster: encryption and who we are.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::draft::Drafts;
use super::problem::ProblemKind;
use super::reading::{Field, Keys, Table};
use super::secret::{Environment, Secret, read_secret};

const KEYS: Keys = Keys::These(super::keys::SECURITY);

/// How to connect to an existing cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Security {
    /// Encryption and authentication.
    pub protocol: Protocol,
    /// Name and password, for the SASL protocols.
    pub sasl: Option<Sasl>,
    /// Certificates, for the SSL protocols.
    pub tls: Option<Tls>,
}

/// Kafka's security protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Protocol {
    /// Neither encryption nor authentication.
    Plaintext,
    /// Encryption; clients may show a certificate.
    Ssl,
    /// Name and password without encryption.
    SaslPlaintext,
    /// Name and password, encrypted.
    SaslSsl,
}

/// How a password is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Mechanism {
    /// The password itself is sent.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Salted, with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Salted, with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// Name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sasl {
    /// How the password is proven.
    pub mechanism: Mechanism,
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// Authorities that brokers' certificates are checked against; absent for the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The password of the private key.
    pub key_password: Option<Secret>,
    /// Whether a broker's certificate must name the host that we connect to.
    pub verify_hostname: bool,
}

/// The value of a client property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// It may be shown.
    Plain(String),
    /// It must not.
    Secret(Secret),
}

impl Security {
    /// The same for librdkafka, under its property names.
    pub fn client_properties(&self) -> Vec<(String, PropertyValue)> {
        let mut properties = Vec::new();
        let mut plain =
            |name: &str, value: String| properties.push((name.to_owned(), PropertyValue::Plain(value)));
        plain("security.protocol", self.protocol.to_string());
        if let Some(sasl) = &self.sasl {
            plain("sasl.mechanism", sasl.mechanism.to_string());
            plain("sasl.username", sasl.username.clone());
        }
        if let Some(tls) = &self.tls {
            let path = |path: &Path| path.to_string_lossy().into_owned();
            // The certificates of the system stand elsewhere on every system: librdkafka knows the usual places.
            plain(
                "ssl.ca.location",
                tls.ca.as_deref().map_or("probe".to_owned(), path),
            );
            if let Some(certificate) = &tls.certificate {
                plain("ssl.certificate.location", path(certificate));
            }
            if let Some(key) = &tls.key {
                plain("ssl.key.location", path(key));
            }
            let verify = if tls.verify_hostname { "https" } else { "none" };
            plain("ssl.endpoint.identification.algorithm", verify.to_owned());
        }
        let mut secret = |name: &str, value: &Secret| {
            properties.push((name.to_owned(), PropertyValue::Secret(value.clone())));
        };
        if let Some(sasl) = &self.sasl {
            secret("sasl.password", &sasl.password);
        }
        if let Some(password) = self.tls.as_ref().and_then(|tls| tls.key_password.as_ref()) {
            secret("ssl.key.password", password);
        }
        properties
    }
}

impl PropertyValue {
    /// The value itself, to hand to a client.
    pub fn expose(&self) -> &str {
        match self {
            PropertyValue::Plain(value) => value,
            PropertyValue::Secret(secret) => secret.expose(),
        }
    }
}

impl Protocol {
    const WORDS: [(&'static str, Protocol); 4] = [
        ("PLAINTEXT", Protocol::Plaintext),
        ("SSL", Protocol::Ssl),
        ("SASL_PLAINTEXT", Protocol::SaslPlaintext),
        ("SASL_SSL", Protocol::SaslSsl),
    ];

    fn has_sasl(self) -> bool {
        matches!(self, Protocol::SaslPlaintext | Protocol::SaslSsl)
    }

    fn has_tls(self) -> bool {
        matches!(self, Protocol::Ssl | Protocol::SaslSsl)
    }
}

impl Mechanism {
    pub(super) const WORDS: [(&'static str, Mechanism); 3] = [
        ("PLAIN", Mechanism::Plain),
        ("SCRAM-SHA-256", Mechanism::ScramSha256),
        ("SCRAM-SHA-512", Mechanism::ScramSha512),
    ];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Protocol::WORDS
                .iter()
                .find(|(_, protocol)| protocol == self)
                .map_or("", |(word, _)| *word),
        )
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Mechanism::WORDS
                .iter()
                .find(|(_, mechanism)| mechanism == self)
                .map_or("", |(word, _)| *word),
        )
    }
}

/// Reads `security` of a cluster.
pub(super) fn read_security(
    drafts: &mut Drafts,
    field: &Field<'_>,
    key: super::yaml::NodeId,
    environment: Environment<'_>,
) -> Option<Security> {
    let table = drafts.table(field, Some(key), KEYS)?;
    let protocol = drafts.required(&table, "protocol", "protocol: SASL_SSL");
    let protocol = protocol.and_then(|field| drafts.choice(&field, &Protocol::WORDS))?;
    let sasl = match protocol.has_sasl() {
        true => read_sasl(drafts, &table, environment),
        false => {
            let help = "write `protocol: SASL_SSL`, or leave the key out";
            refuse(
                drafts,
                &table,
                &["mechanism", "username", "password"],
                protocol,
                "has no user and password",
                help,
            );
            None
        }
    };
    let tls = match protocol.has_tls() {
        true => Some(read_tls(drafts, &table, environment)),
        false => {
            let keys = ["ca", "certificate", "key", "key_password", "verify_hostname"];
            let help = "write `protocol: SSL` or `protocol: SASL_SSL`, or leave the key out";
            refuse(drafts, &table, &keys, protocol, "has no encryption", help);
            None
        }
    };
    Some(Security { protocol, sasl, tls })
}

fn read_sasl(drafts: &mut Drafts, table: &Table<'_>, environment: Environment<'_>) -> Option<Sasl> {
    let mechanism = drafts.required(table, "mechanism", "mechanism: SCRAM-SHA-512");
    let mechanism = mechanism.and_then(|field| drafts.choice(&field, &Mechanism::WORDS));
    let username = drafts.required(table, "username", "username: mirror");
    let username = username.and_then(|field| drafts.text(&field));
    let password = drafts.required(table, "password", "password: { env: NAME }");
    let password = password.and_then(|field| read_secret(drafts, &field, environment));
    Some(Sasl {
        mechanism: mechanism?,
        username: username?.to_owned(),
        password: password?,
    })
}

fn read_tls(drafts: &mut Drafts, table: &Table<'_>, environment: Environment<'_>) -> Tls {
    let ca = drafts.optional(table, "ca", "ca: ./certificates/ca.pem");
    let certificate = drafts.optional(table, "certificate", "certificate: ./certificates/mirror.pem");
    let key = drafts.optional(table, "key", "key: ./certificates/mirror.key");
    let verify = drafts.optional(table, "verify_hostname", "verify_hostname: true");
    let password = drafts.optional(table, "key_password", "key_password: { env: NAME }");
    for (one, other) in [
        ("certificate", "key"),
        ("key", "certificate"),
        ("key_password", "key"),
    ] {
        if let (Some(spot), false) = (table.key_spot(one), table.has(other)) {
            let message = format!("`{}` needs a `{other}`", spot.path);
            let help = format!("add `{other}: PATH`, or leave `{one}` out");
            drafts.error(ProblemKind::MissingKey, &spot, message).help(help);
        }
    }
    Tls {
        ca: ca.and_then(|field| existing_file(drafts, &field)),
        certificate: certificate.and_then(|field| existing_file(drafts, &field)),
        key: key.and_then(|field| existing_file(drafts, &field)),
        key_password: password.and_then(|field| read_secret(drafts, &field, environment)),
        verify_hostname: verify.is_none_or(|field| drafts.bool(&field).unwrap_or(true)),
    }
}

fn existing_file(drafts: &mut Drafts, field: &Field<'_>) -> Option<PathBuf> {
    let path = drafts.text(field)?;
    if path.contains("-----BEGIN") {
        let message = format!(
            "`{}` is written in the file, and what belongs there is the path of a PEM file",
            field.spot.path
        );
        let help = "put what stands there into a file of its own, and write the path of that file";
        drafts
            .error(ProblemKind::PlainSecret, &field.spot, message)
            .help(help);
        return None;
    }
    let reason = match Path::new(path).metadata() {
        Ok(metadata) if metadata.is_file() => return Some(PathBuf::from(path)),
        Ok(_) => "it is not a regular file".to_owned(),
        Err(error) => super::secret::describe(&error),
    };
    let message = format!("`{}` names the file `{path}`: {reason}", field.spot.path);
    let help = "write the path of a PEM file; a relative path begins at the working directory";
    drafts
        .error(ProblemKind::MissingFile, &field.spot, message)
        .help(help);
    None
}

fn refuse(drafts: &mut Drafts, table: &Table<'_>, keys: &[&str], protocol: Protocol, why: &str, help: &str) {
    for spot in keys.iter().filter_map(|key| table.key_spot(key)) {
        let message = format!("`{}` has no effect: the protocol {protocol} {why}", spot.path);
        drafts.error(ProblemKind::BadValue, &spot, message).help(help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_properties_are_those_that_librdkafka_takes_and_hide_secrets() {
        let security = Security {
            protocol: Protocol::SaslSsl,
            sasl: Some(Sasl {
                mechanism: Mechanism::ScramSha512,
                username: "mirror".to_owned(),
                password: Secret::new("hunter2"),
            }),
            tls: Some(Tls {
                ca: None,
                certificate: None,
                key: None,
                key_password: Some(Secret::new("hunter3")),
                verify_hostname: false,
            }),
        };
        let properties = security.client_properties();
        let mut config = rdkafka::ClientConfig::new();
        for (name, value) in &properties {
            config.set(name, value.expose());
        }
        assert!(config.create_native_config().is_ok());
        assert_eq!(config.get("security.protocol"), Some("SASL_SSL"));
        assert_eq!(config.get("sasl.password"), Some("hunter2"));
        assert_eq!(config.get("ssl.endpoint.identification.algorithm"), Some("none"));
        let shown = format!(
            "{properties:?} {security:?} {}",
            serde_json::to_string(&security).unwrap()
        );
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
