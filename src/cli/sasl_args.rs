//! Names and passwords on the command line: `broker` asks for them, `produce` and `consume` show them.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use heliostat_broker::{SaslConfig, SaslMechanism};
use rdkafka::ClientConfig;

use super::{Failure, exit};
use crate::cluster::complaint::{Complaint, Kind};
use crate::topology::{Secret, begins_blank};

/// A user, and where its password is: `NAME=env:VARIABLE` or `NAME=file:PATH`.
#[derive(Clone, Debug)]
pub struct UserArg {
    name: String,
    source: Source,
}

/// Where a password is. On the command line itself everybody on the machine could read it.
#[derive(Clone, Debug)]
enum Source {
    Environment(String),
    File(PathBuf),
    /// It is not said; what to write.
    Unknown(&'static str),
}

/// As whom a client connects.
#[derive(Debug, Args)]
pub struct ClientSaslArgs {
    /// Connect as this user (SASL_PLAINTEXT), whose password is in env:VARIABLE or file:PATH
    #[arg(long, value_name = "NAME=SOURCE", value_parser = user)]
    pub user: Option<UserArg>,
    /// How the password is proven
    #[arg(
        long,
        value_name = "WORD",
        default_value = SaslMechanism::ScramSha512.name(),
        value_parser = mechanism(),
        requires = "user"
    )]
    pub mechanism: SaslMechanism,
}

/// Who may connect to a cluster.
#[derive(Debug, Args)]
pub struct BrokerSaslArgs {
    /// Ask who connects (SASL_PLAINTEXT): a user, whose password is in env:VARIABLE or file:PATH; may be repeated
    #[arg(long = "user", value_name = "NAME=SOURCE", value_parser = user)]
    pub users: Vec<UserArg>,
    /// How users may prove their passwords: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; may be repeated, and is all of them otherwise
    #[arg(
        long = "mechanism",
        value_name = "WORD",
        value_parser = mechanism(),
        hide_possible_values = true,
        requires = "users"
    )]
    pub mechanisms: Vec<SaslMechanism>,
}

/// Reads `NAME=env:VARIABLE` or `NAME=file:PATH`. Anything else may be a password, so that it is not refused here, where it
/// would be repeated.
fn user(text: &str) -> Result<UserArg, Infallible> {
    let source = |text: &str| match text.split_once(':') {
        Some(("env", name)) if !name.is_empty() => Some(Source::Environment(name.to_owned())),
        Some(("file", path)) if !path.is_empty() => Some(Source::File(path.into())),
        _ => None,
    };
    // A name may have equals signs, and what follows them cannot look like a source.
    let parts = text.match_indices('=').find_map(|(at, _)| {
        let name = Some(&text[..at]).filter(|name| !name.is_empty());
        Some((name?.to_owned(), source(&text[at + 1..])?))
    });
    let (name, source) = parts.unwrap_or_else(|| (String::new(), Source::Unknown(what_is_missing(text))));
    Ok(UserArg { name, source })
}

/// What to say to a user that cannot be read, without anything of it.
fn what_is_missing(text: &str) -> &'static str {
    let (name, source) = text.split_once('=').unwrap_or((text, ""));
    match (name, source) {
        ("", source) if source.starts_with("env:") || source.starts_with("file:") => {
            "the name is missing: write NAME=env:VARIABLE or NAME=file:PATH"
        }
        (_, "env:") => "the variable is missing: write NAME=env:VARIABLE",
        (_, "file:") => "the path is missing: write NAME=file:PATH",
        _ => "write NAME=env:VARIABLE or NAME=file:PATH, not the password itself",
    }
}

/// The names of the mechanisms, as clients and topology files have them.
fn mechanism() -> impl TypedValueParser<Value = SaslMechanism> {
    let names = PossibleValuesParser::new(SaslMechanism::ALL.map(SaslMechanism::name));
    names.try_map(|name| SaslMechanism::from_name(&name).ok_or("there is no such mechanism"))
}

impl UserArg {
    /// The option as it was written.
    pub fn shown(&self) -> String {
        match &self.source {
            Source::Environment(name) => format!("{}=env:{name}", self.name),
            Source::File(path) => format!("{}=file:{}", self.name, path.display()),
            Source::Unknown(_) => String::new(),
        }
    }

    fn password(&self) -> anyhow::Result<Secret> {
        let read = match &self.source {
            Source::Environment(name) => Secret::from_environment(name),
            Source::File(path) => Secret::from_file(path),
            Source::Unknown(missing) => Err((*missing).to_owned()),
        };
        let usage = |reason| Failure {
            code: exit::USAGE,
            message: format!("{}: {reason}", format!("--user {}", self.shown()).trim_end()),
        };
        read.map_err(|reason| usage(reason).into())
    }
}

impl ClientSaslArgs {
    /// Lets a client connect as the user, if there is one.
    ///
    /// # Errors
    /// If the password cannot be read.
    pub fn apply(&self, config: &mut ClientConfig) -> anyhow::Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        let password = user.password()?;
        for (what, text) in [
            ("the name", user.name.as_str()),
            ("the password", password.expose()),
        ] {
            if begins_blank(text) {
                let message = format!(
                    "--user {}: {what} begins with a space or a line break, and the Kafka client takes those away: choose another one",
                    user.shown()
                );
                let code = exit::USAGE;
                return Err(Failure { code, message }.into());
            }
        }
        config
            .set("security.protocol", "SASL_PLAINTEXT")
            .set("sasl.mechanism", self.mechanism.name())
            .set("sasl.username", &user.name)
            .set("sasl.password", password.expose());
        Ok(())
    }
}

impl ClientSaslArgs {
    /// Why this client gets no answer, and what to do about it.
    pub fn explain(&self, servers: &str, complaint: &Complaint) -> String {
        let text = &complaint.text;
        match (complaint.kind, &self.user) {
            (Kind::Refused, Some(_)) if text.contains("not valid in current SASL state") => {
                format!("{servers} asks nobody who they are: {text}; leave --user out")
            }
            (Kind::Refused, Some(_)) if text.contains("handshake failed") => format!(
                "{servers} takes no {}: {text}; choose another --mechanism",
                self.mechanism
            ),
            (Kind::Refused, Some(user)) => format!(
                "authentication failed for user {} with {} at {servers}: {text}; see whether the password is the right one, and --mechanism",
                user.name, self.mechanism
            ),
            (Kind::Closed, None) => format!(
                "{servers} closed the connection: {text}; does it ask for SASL? try --user NAME=env:VARIABLE"
            ),
            (Kind::Closed, Some(_)) => format!(
                "{servers} closed the connection: {text}; it may not take SASL_PLAINTEXT: see whether it works without --user"
            ),
            _ => text.clone(),
        }
    }
}

impl BrokerSaslArgs {
    /// What the cluster asks for, if there are users.
    ///
    /// # Errors
    /// If a password cannot be read, or a user is there twice.
    pub fn config(&self) -> anyhow::Result<Option<SaslConfig>> {
        if self.users.is_empty() {
            return Ok(None);
        }
        let mut config = SaslConfig {
            mechanisms: SaslMechanism::ALL.to_vec(),
            users: Default::default(),
        };
        if !self.mechanisms.is_empty() {
            config
                .mechanisms
                .retain(|mechanism| self.mechanisms.contains(mechanism));
        }
        for user in &self.users {
            let password = user.password()?.expose().to_owned();
            if config.users.insert(user.name.clone(), password).is_some() {
                let message = format!("--user {} is there twice: keep one of them", user.name);
                let code = exit::USAGE;
                return Err(Failure { code, message }.into());
            }
        }
        Ok(Some(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        for text in ["u=env:P", "u=file:/p", "a=b=env:P", "u=env:a=env:b"] {
            assert_eq!(user(text).unwrap().shown(), text);
        }
        for (text, expected) in [
            ("", "write NAME=env:VARIABLE or"),
            ("u", "write NAME=env:VARIABLE or"),
            ("u=", "write NAME=env:VARIABLE or"),
            ("u=hunter2", "write NAME=env:VARIABLE or"),
            ("u:env:P", "write NAME=env:VARIABLE or"),
            ("=env:P", "the name is missing"),
            ("=file:/p", "the name is missing"),
            ("u=env:", "the variable is missing"),
            ("u=file:", "the path is missing"),
        ] {
            let refused = user(text).unwrap().password().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("--user: {expected}")), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
