//! PLAIN (RFC 4616): name and password in one message.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::Mistrust;

/// Passwords by user. What is kept are their codes under a key that nobody knows, so that comparing two takes the same
/// time however much of them is the same, and however long they are.
pub(super) struct Passwords {
    codes: BTreeMap<String, [u8; 32]>,
    key: [u8; 32],
}

impl Passwords {
    pub(super) fn new(users: &BTreeMap<String, String>) -> Self {
        let key = rand::random();
        let codes = users
            .iter()
            .map(|(user, password)| (user.clone(), code(&key, password.as_bytes())));
        Passwords {
            codes: codes.collect(),
            key,
        }
    }

    /// The user whose name and password the message has.
    pub(super) fn check(&self, message: &[u8]) -> Result<String, Mistrust> {
        let because = |reason: &str| Err(Mistrust::Because(reason.to_owned()));
        // One part more than there may be is enough to tell that there are too many.
        let parts: Vec<&[u8]> = message.splitn(5, |byte| *byte == 0).take(4).collect();
        let [authorization_id, user, password] = parts[..] else {
            return because(&format!(
                "Invalid SASL/PLAIN response: expected 3 tokens, got {}",
                parts.len()
            ));
        };
        if user.is_empty() {
            return because("Authentication failed: username not specified");
        }
        if password.is_empty() {
            return because("Authentication failed: password not specified");
        }
        let name = std::str::from_utf8(user).unwrap_or_default();
        let known = self.codes.get(name);
        // Nobody's password is compared as well, so that the time does not tell who exists.
        let expected = known.copied().unwrap_or_default();
        let is_right = code(&self.key, password).ct_eq(&expected);
        let is_known = Choice::from(u8::from(known.is_some()));
        if !bool::from(is_right & is_known) {
            return because("Authentication failed: Invalid username or password");
        }
        if !authorization_id.is_empty() && authorization_id != user {
            return because(super::scram::OTHER_AUTHORIZATION);
        }
        Ok(name.to_owned())
    }
}

/// The user that a message names. One of another form may have a password in that place.
pub(super) fn claimed(message: &[u8]) -> Option<String> {
    let parts: Vec<&[u8]> = message.splitn(4, |byte| *byte == 0).collect();
    let [_, user, _] = parts[..] else { return None };
    Some(std::str::from_utf8(user).ok()?.to_owned())
}

fn code(key: &[u8; 32], password: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(password);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &[u8]) -> Result<String, String> {
        let users = BTreeMap::from([("alice".to_owned(), "wönder".to_owned())]);
        let outcome = Passwords::new(&users).check(message);
        outcome.map_err(|mistrust| match mistrust {
            Mistrust::Because(reason) => reason,
            Mistrust::Concealed => String::new(),
        })
    }

    #[test]
    fn name_and_password_must_both_be_right() {
        let right = "alice\0wönder";
        for message in [format!("\0{right}"), format!("alice\0{right}")] {
            assert_eq!(check(message.as_bytes()), Ok("alice".to_owned()));
        }
        for (message, reason) in [
            ("", "got 1"),
            ("alice\0wönder", "got 2"),
            ("\0alice\0wönder\0", "got 4"),
            ("\0\0\0\0\0\0\0", "got 4"),
            ("\0\0wönder", "username not specified"),
            ("\0alice\0", "password not specified"),
            ("\0alice\0wonder", "Invalid username or password"),
            ("\0alice\0wönder ", "Invalid username or password"),
            ("\0bob\0wönder", "Invalid username or password"),
            ("bob\0alice\0wönder", "different from username"),
        ] {
            let refused = check(message.as_bytes()).unwrap_err();
            assert!(refused.ends_with(reason), "{message:?}: {refused}");
        }
        assert!(check(b"\0\xff\xfe\0x").is_err());
    }

    #[test]
    fn a_name_is_taken_from_whole_messages_only() {
        assert_eq!(claimed(b"\0alice\0secret").as_deref(), Some("alice"));
        for message in [&b"alice\0secret"[..], b"secret", b"\0a\0b\0c", b"\0\xff\0x"] {
            assert_eq!(claimed(message), None);
        }
    }
}
