//! Passwords of users, salted and hashed as clients send them (KIP-554), as they are kept in the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Change, StateError, unreadable};

const PREFIX: &str = "scram/";

/// How a password is hashed, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ScramMechanism {
    Sha256 = 1,
    Sha512 = 2,
}

/// A salted and hashed password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramCredential {
    pub(crate) iterations: i32,
    pub(crate) salt: Vec<u8>,
    pub(crate) salted_password: Vec<u8>,
}

/// All credentials, by user and mechanism.
pub(crate) type Credentials = BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>;

impl ScramMechanism {
    /// The mechanism with this number.
    pub(crate) fn from_code(code: i8) -> Option<Self> {
        [ScramMechanism::Sha256, ScramMechanism::Sha512]
            .into_iter()
            .find(|mechanism| *mechanism as i8 == code)
    }

    fn name(self) -> &'static str {
        match self {
            ScramMechanism::Sha256 => "SHA-256",
            ScramMechanism::Sha512 => "SHA-512",
        }
    }
}

/// What can be used in place of a password does not show up in logs.
impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramCredential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl Change {
    /// Sets or removes a user's password.
    pub(crate) fn put_credential(
        &mut self,
        user: &str,
        mechanism: ScramMechanism,
        credential: Option<ScramCredential>,
    ) {
        let key = format!("{PREFIX}{}/{user}", mechanism.name()).into_bytes();
        let value = credential
            .as_ref()
            .map(|it| serde_json::to_vec(it).expect("numbers and bytes have a JSON form"));
        self.entries.push((key, value));
        self.image.put_credential(user, mechanism, credential);
    }
}

/// All credentials of a journal.
pub(super) fn read(content: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Credentials, StateError> {
    let mut credentials = Credentials::new();
    for (key, value) in content {
        let Some((key, rest)) = std::str::from_utf8(key)
            .ok()
            .and_then(|key| Some((key, key.strip_prefix(PREFIX)?)))
        else {
            continue;
        };
        let mut mechanisms = [ScramMechanism::Sha256, ScramMechanism::Sha512].into_iter();
        let named = mechanisms
            .find_map(|mechanism| Some((mechanism, rest.strip_prefix(mechanism.name())?.strip_prefix('/')?)));
        let Some((mechanism, user)) = named else {
            return Err(unreadable(key, "its mechanism is unknown"));
        };
        let credential = serde_json::from_slice(value).map_err(|error| unreadable(key, error))?;
        credentials
            .entry(user.to_owned())
            .or_default()
            .insert(mechanism, credential);
    }
    Ok(credentials)
}
