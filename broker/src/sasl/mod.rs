//! Who may connect to a cluster whose listeners are SASL_PLAINTEXT, and how they prove who they are.
//!
//! [`Sasl`] knows the users, a [`Session`] is what one connection has come to. Users with PLAIN are those that the cluster
//! was started with. With SCRAM there are also those that clients have added since (KIP-554).

mod plain;
mod refusals;
mod scram;
mod session;

use std::{collections::BTreeMap, fmt, time::Duration};

use tracing::warn;

use crate::{
    api::Peer,
    broker::Broker,
    state::credentials::{Credentials, ScramCredential, ScramMechanism},
};
use refusals::Refusals;
pub use refusals::RefusedClients;
pub(crate) use session::{Admission, Session};

/// So many characters are shown of a name that a client gives.
const SHOWN_CHARS_MAX: usize = 64;

/// How the listeners of a cluster ask who connects.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslConfig {
    /// How users may prove who they are, in the order in which clients are told. At least one.
    pub mechanisms: Vec<SaslMechanism>,
    /// Passwords, by the names of users. Clients may add others for SCRAM.
    pub users: BTreeMap<String, String>,
}

/// How a user proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SaslMechanism {
    /// The password is sent as it is (RFC 4616).
    Plain,
    /// A proof is sent instead of the password (RFC 5802), with SHA-256.
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
}

/// What is known of users while the cluster runs.
pub(crate) struct Sasl {
    mechanisms: Vec<SaslMechanism>,
    passwords: plain::Passwords,
    /// What clients prove to have that are in the configuration.
    own: Credentials,
    /// Makes up salts for users that do not exist, so that a client cannot tell.
    decoy: [u8; 32],
    refusals: Refusals,
}

/// The exchange of tokens on one connection, as far as it has come.
enum Exchange {
    Plain,
    Scram(Box<scram::Exchange>),
}

/// What a client's token has led to.
enum Step {
    /// More is needed: the client gets this.
    Challenge(Vec<u8>),
    /// It is this user, which gets this.
    Done { user: String, token: Vec<u8> },
}

/// Why a token was not accepted.
enum Mistrust {
    /// For a reason that the client is told.
    Because(String),
    /// For a reason that would help somebody who guesses.
    Concealed,
}

impl SaslMechanism {
    /// Every mechanism.
    pub const ALL: [SaslMechanism; 3] = [
        SaslMechanism::Plain,
        SaslMechanism::ScramSha256,
        SaslMechanism::ScramSha512,
    ];

    /// The name that clients use.
    pub fn name(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        SaslMechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
    }

    fn scram(self) -> Option<ScramMechanism> {
        match self {
            SaslMechanism::Plain => None,
            SaslMechanism::ScramSha256 => Some(ScramMechanism::Sha256),
            SaslMechanism::ScramSha512 => Some(ScramMechanism::Sha512),
        }
    }
}

impl fmt::Display for SaslMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Passwords do not show up in logs.
impl fmt::Debug for SaslConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslConfig")
            .field("mechanisms", &self.mechanisms)
            .field("users", &self.users.keys())
            .finish()
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanisms", &self.mechanisms)
            .finish_non_exhaustive()
    }
}

impl Sasl {
    /// Takes in the users of a configuration. It costs some milliseconds for each, as SCRAM wants it.
    pub(crate) fn new(config: &SaslConfig) -> Self {
        let scram = config.mechanisms.iter().filter_map(|mechanism| mechanism.scram());
        let scram: Vec<_> = scram.collect();
        let credentials = |password: &String| {
            let made = scram
                .iter()
                .map(|mechanism| (*mechanism, scram::credential(*mechanism, password)));
            made.collect::<BTreeMap<_, _>>()
        };
        let own = config
            .users
            .iter()
            .map(|(user, password)| (user.clone(), credentials(password)));
        Sasl {
            mechanisms: config.mechanisms.clone(),
            passwords: plain::Passwords::new(&config.users),
            own: own.collect(),
            decoy: rand::random(),
            refusals: Refusals::default(),
        }
    }

    /// How many clients were not let in.
    pub(crate) fn refused_clients(&self) -> RefusedClients {
        self.refusals.counts()
    }

    /// Counts and logs a client that could not prove who it is.
    pub(crate) fn note_refused(&self, broker: &Broker, peer: &Peer, reason: &str) {
        self.refusals.refused(broker, peer, reason);
    }

    /// Counts and logs a client that asked for something without having said who it is.
    pub(crate) fn note_without_credentials(
        &self,
        broker: &Broker,
        peer: &Peer,
        client_id: &str,
        reason: &str,
    ) {
        self.refusals.without_credentials(broker, peer, client_id, reason);
    }

    /// The names of the mechanisms, as clients are told.
    pub(crate) fn mechanism_names(&self) -> Vec<String> {
        self.mechanisms
            .iter()
            .map(|mechanism| mechanism.name().to_owned())
            .collect()
    }

    /// Whether the configuration has this user, whom clients cannot change then.
    pub(crate) fn has_own(&self, user: &str) -> bool {
        self.own.contains_key(user)
    }

    /// What the configuration's users have, where SCRAM is possible.
    pub(crate) fn own(&self) -> &Credentials {
        &self.own
    }

    fn enabled(&self, name: &str) -> Option<SaslMechanism> {
        SaslMechanism::from_name(name).filter(|mechanism| self.mechanisms.contains(mechanism))
    }

    /// What the user of this name has to prove, and whether there is such a user: if not, it is made up, and always the
    /// same.
    fn credential(&self, broker: &Broker, mechanism: ScramMechanism, user: &str) -> (ScramCredential, bool) {
        let image = broker.image();
        // The configuration wins, so that what is written there holds.
        let of_user = self.own.get(user).or_else(|| image.credentials().get(user));
        match of_user.and_then(|of_user| of_user.get(&mechanism)) {
            Some(credential) => (credential.clone(), true),
            None => (scram::decoy(mechanism, &self.decoy, user), false),
        }
    }
}

impl Exchange {
    fn new(mechanism: SaslMechanism) -> Self {
        match mechanism.scram() {
            None => Exchange::Plain,
            Some(mechanism) => Exchange::Scram(Box::new(scram::Exchange::new(mechanism))),
        }
    }

    /// The name that a token begins with, if it is one that does.
    fn claimed(&self, token: &[u8]) -> Option<String> {
        match self {
            Exchange::Plain => plain::claimed(token),
            Exchange::Scram(exchange) => exchange.claimed(token),
        }
    }

    fn step(&mut self, broker: &Broker, sasl: &Sasl, token: &[u8]) -> Result<Step, Mistrust> {
        match self {
            Exchange::Plain => sasl.passwords.check(token).map(|user| Step::Done {
                user,
                token: Vec::new(),
            }),
            Exchange::Scram(exchange) => {
                exchange.step(|mechanism, user| sasl.credential(broker, mechanism, user), token)
            }
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Exchange::Plain => "Plain",
            Exchange::Scram(_) => "Scram",
        })
    }
}

/// Removes passwords that clients have set for users of the configuration. While the configuration has such a user they could not be
/// used, seen or changed; they must not open the door again to one that is taken out of it.
pub(crate) async fn forget_hidden_passwords(broker: &Broker) {
    let Some(sasl) = broker.sasl() else { return };
    let mut change = broker.state().begin().await;
    let stored = change.image().credentials().iter();
    let hidden: Vec<_> = stored
        .filter(|(user, _)| sasl.has_own(user))
        .flat_map(|(user, of_user)| of_user.keys().map(|mechanism| (user.clone(), *mechanism)))
        .collect();
    if hidden.is_empty() {
        return;
    }
    for (user, mechanism) in &hidden {
        change.put_credential(user, *mechanism, None);
    }
    let mut users: Vec<String> = hidden.iter().map(|(user, _)| shown(user)).collect();
    users.dedup();
    let (cluster, users) = (broker.name(), users.join(", "));
    match change.commit().await {
        Ok(_) => warn!(
            cluster,
            users,
            "these users are in the configuration now: passwords that clients had set for them before are removed"
        ),
        Err(error) => warn!(
            cluster,
            users,
            %error,
            "passwords that clients had set for these users, who are in the configuration now, could not be removed; it is \
             tried again at the next start"
        ),
    }
}

/// A name that a client gives, as a log can take it.
fn shown(name: &str) -> String {
    name.escape_debug().take(SHOWN_CHARS_MAX).collect()
}

/// For how long a connection is good after its client said who it is; `None` for good.
fn lifetime(broker: &Broker) -> Option<Duration> {
    Some(broker.settings().connections_max_reauth).filter(|lifetime| !lifetime.is_zero())
}
