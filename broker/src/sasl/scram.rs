//! SCRAM (RFC 5802, RFC 7677): client and server prove to each other that they know a password, without sending it.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::{Mistrust, Step};
use crate::state::credentials::{ScramCredential, ScramMechanism};

/// The texts that Kafka's clients get for a user who wants to be another one.
pub(super) const OTHER_AUTHORIZATION: &str =
    "Authentication failed: Client requested an authorization id that is different from username";

/// Kafka's own default: each guess of a password costs so many rounds.
const ITERATIONS: i32 = 4096;

const SALT_BYTES: usize = 16;

/// In bytes, of the server's part of the nonce. A multiple of three has no padding in base64.
const NONCE_BYTES: usize = 24;

/// The exchange on one connection.
pub(super) struct Exchange {
    mechanism: ScramMechanism,
    /// What is needed for the client's final message, once there was a first one.
    begun: Option<Begun>,
}

struct Begun {
    user: String,
    credential: ScramCredential,
    is_known: bool,
    gs2_header: String,
    nonce: String,
    /// The client's first message without its header, and the server's.
    first_messages: String,
}

/// The client's first message.
struct First<'a> {
    gs2_header: &'a str,
    authorization_id: Option<String>,
    bare: &'a str,
    user: String,
    nonce: &'a str,
    /// The name is not a user's, but that of a delegation token.
    is_token: bool,
}

/// The client's final message.
struct Final<'a> {
    channel_binding: Vec<u8>,
    nonce: &'a str,
    without_proof: &'a str,
    proof: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(mechanism: ScramMechanism) -> Self {
        Exchange {
            mechanism,
            begun: None,
        }
    }

    /// The user that a client's first message names.
    pub(super) fn claimed(&self, token: &[u8]) -> Option<String> {
        match &self.begun {
            None => Some(First::parse(std::str::from_utf8(token).ok()?)?.user),
            Some(_) => None,
        }
    }

    /// Takes the client's next message. `find` gives what a user has to prove, and whether that user exists.
    pub(super) fn step(
        &mut self,
        find: impl FnOnce(ScramMechanism, &str) -> (ScramCredential, bool),
        token: &[u8],
    ) -> Result<Step, Mistrust> {
        let message = std::str::from_utf8(token).map_err(|_| Mistrust::Concealed)?;
        match self.begun.take() {
            None => self.begin(find, message),
            Some(begun) => self.finish(begun, message),
        }
    }

    fn begin(
        &mut self,
        find: impl FnOnce(ScramMechanism, &str) -> (ScramCredential, bool),
        message: &str,
    ) -> Result<Step, Mistrust> {
        let first = First::parse(message).ok_or(Mistrust::Concealed)?;
        if first.authorization_id.is_some_and(|id| id != first.user) {
            return Err(Mistrust::Because(OTHER_AUTHORIZATION.to_owned()));
        }
        let (credential, is_known) = find(self.mechanism, &first.user);
        let own_nonce = BASE64.encode(rand::random::<[u8; NONCE_BYTES]>());
        let nonce = format!("{}{own_nonce}", first.nonce);
        let answer = format!(
            "r={nonce},s={},i={}",
            BASE64.encode(&credential.salt),
            credential.iterations
        );
        self.begun = Some(Begun {
            credential,
            is_known: is_known && !first.is_token,
            gs2_header: first.gs2_header.to_owned(),
            nonce,
            first_messages: format!("{},{answer}", first.bare),
            user: first.user,
        });
        Ok(Step::Challenge(answer.into_bytes()))
    }

    fn finish(&self, begun: Begun, message: &str) -> Result<Step, Mistrust> {
        let last = Final::parse(message).ok_or(Mistrust::Concealed)?;
        let hash = self.mechanism;
        let signed = format!("{},{}", begun.first_messages, last.without_proof);
        let salted_password = &begun.credential.salted_password;
        let stored_key = digest(hash, &hmac(hash, salted_password, b"Client Key"));
        let mut client_key = hmac(hash, &stored_key, signed.as_bytes());
        if client_key.len() != last.proof.len() {
            return Err(Mistrust::Concealed);
        }
        client_key
            .iter_mut()
            .zip(&last.proof)
            .for_each(|(byte, proof)| *byte ^= proof);
        let proven = bool::from(digest(hash, &client_key).ct_eq(&stored_key));
        let is_ours = last.nonce == begun.nonce && last.channel_binding == begun.gs2_header.as_bytes();
        if !(proven && is_ours && begun.is_known) {
            return Err(Mistrust::Concealed);
        }
        let server_key = hmac(hash, salted_password, b"Server Key");
        let signature = BASE64.encode(hmac(hash, &server_key, signed.as_bytes()));
        Ok(Step::Done {
            user: begun.user,
            token: format!("v={signature}").into_bytes(),
        })
    }
}

impl<'a> First<'a> {
    fn parse(message: &'a str) -> Option<Self> {
        // There is no encryption whose channel could be bound to.
        let (authorization_id, bare) = message.strip_prefix("n,")?.split_once(',')?;
        let gs2_header = &message[..message.len() - bare.len()];
        let authorization_id = match authorization_id {
            "" => None,
            id => Some(name(id.strip_prefix("a=")?)?),
        };
        let mut attributes = bare.split(',');
        let user = name(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut is_token = false;
        for extension in attributes {
            is_extension(extension).then_some(())?;
            is_token |= extension == "tokenauth=true";
        }
        Some(First {
            gs2_header,
            authorization_id,
            bare,
            user,
            nonce,
            is_token,
        })
    }
}

impl<'a> Final<'a> {
    fn parse(message: &'a str) -> Option<Self> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let channel_binding = attributes.next()?.strip_prefix("c=")?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        attributes.all(is_extension).then_some(())?;
        Some(Final {
            channel_binding: BASE64.decode(channel_binding).ok()?,
            nonce,
            without_proof,
            proof: BASE64.decode(proof).ok()?,
        })
    }
}

/// A letter, or several of them, and a value.
fn is_extension(attribute: &str) -> bool {
    attribute.split_once('=').is_some_and(|(key, value)| {
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic()) && !value.is_empty()
    })
}

/// A name whose commas and equals signs are written as `=2C` and `=3D`.
fn name(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (char, rest) = match part.strip_prefix("2C") {
            Some(rest) => (',', rest),
            None => ('=', part.strip_prefix("3D")?),
        };
        name.push(char);
        name.push_str(rest);
    }
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}

/// What somebody with this password can prove.
pub(super) fn credential(mechanism: ScramMechanism, password: &str) -> ScramCredential {
    let salt = rand::random::<[u8; SALT_BYTES]>();
    ScramCredential {
        iterations: ITERATIONS,
        salt: salt.to_vec(),
        salted_password: salted(mechanism, password.as_bytes(), &salt, ITERATIONS),
    }
}

/// What nobody can prove, always the same for a name.
pub(super) fn decoy(mechanism: ScramMechanism, secret: &[u8; 32], user: &str) -> ScramCredential {
    let mut salt = hmac(mechanism, secret, user.as_bytes());
    let salted_password = hmac(mechanism, secret, &salt);
    salt.truncate(SALT_BYTES);
    ScramCredential {
        iterations: ITERATIONS,
        salt,
        salted_password,
    }
}

fn digest(mechanism: ScramMechanism, data: &[u8]) -> Vec<u8> {
    match mechanism {
        ScramMechanism::Sha256 => Sha256::digest(data).to_vec(),
        ScramMechanism::Sha512 => Sha512::digest(data).to_vec(),
    }
}

macro_rules! keyed {
    ($hash:ty, $key:expr) => {
        Hmac::<$hash>::new_from_slice($key).expect("a key may have any length")
    };
}

fn hmac(mechanism: ScramMechanism, key: &[u8], data: &[u8]) -> Vec<u8> {
    match mechanism {
        ScramMechanism::Sha256 => keyed!(Sha256, key)
            .chain_update(data)
            .finalize()
            .into_bytes()
            .to_vec(),
        ScramMechanism::Sha512 => keyed!(Sha512, key)
            .chain_update(data)
            .finalize()
            .into_bytes()
            .to_vec(),
    }
}

/// `Hi` of RFC 5802, which is PBKDF2 with one block.
fn salted(mechanism: ScramMechanism, password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
    macro_rules! rounds {
        ($hash:ty) => {{
            let mac = keyed!($hash, password);
            let first = mac.clone().chain_update(salt).chain_update(1u32.to_be_bytes());
            let mut last = first.finalize().into_bytes();
            let mut sum = last.to_vec();
            for _ in 1..iterations {
                last = mac.clone().chain_update(&last).finalize().into_bytes();
                sum.iter_mut().zip(&last).for_each(|(sum, last)| *sum ^= last);
            }
            sum
        }};
    }
    match mechanism {
        ScramMechanism::Sha256 => rounds!(Sha256),
        ScramMechanism::Sha512 => rounds!(Sha512),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3: the nonces are given there, so that the server's has to be put in its place.
    #[test]
    fn the_example_of_the_standard() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let credential = ScramCredential {
            iterations: 4096,
            salted_password: salted(ScramMechanism::Sha256, b"pencil", &salt, 4096),
            salt,
        };
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let exchange = |is_known| {
            let exchange = Exchange::new(ScramMechanism::Sha256);
            let begun = Begun {
                user: "user".to_owned(),
                credential: credential.clone(),
                is_known,
                gs2_header: "n,,".to_owned(),
                nonce: nonce.to_owned(),
                first_messages: format!(
                    "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
                ),
            };
            (exchange, begun)
        };
        let right = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let (server, begun) = exchange(true);
        let Ok(Step::Done { user, token }) = server.finish(begun, &right) else {
            panic!("the proof was not accepted");
        };
        assert_eq!(user, "user");
        assert_eq!(token, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let (server, begun) = exchange(false);
        assert!(server.finish(begun, &right).is_err(), "nobody has that name");
        for wrong in [
            right.replace("dHzb", "dHzc"),
            right.replace("biws", "eSws"),
            right.replace(",p=dHzb", ",p="),
            right.replace("hvYD", "hvYE"),
            String::new(),
        ] {
            let (server, begun) = exchange(true);
            assert!(server.finish(begun, &wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn first_messages() {
        let first = First::parse("n,a=x=2Cy,n=x=2Cy,r=abc,ext=1").unwrap();
        assert_eq!((first.user.as_str(), first.nonce), ("x,y", "abc"));
        assert_eq!(first.authorization_id.as_deref(), Some("x,y"));
        assert_eq!(
            (first.gs2_header, first.bare),
            ("n,a=x=2Cy,", "n=x=2Cy,r=abc,ext=1")
        );
        assert!(First::parse("n,,n=x,r=abc,tokenauth=true").unwrap().is_token);
        for wrong in [
            "",
            "n",
            "n,",
            "n,,",
            "y,,n=x,r=a",
            "p=tls-unique,,n=x,r=a",
            "n,b=x,n=x,r=a",
            "n,,n=,r=a",
            "n,,n=x",
            "n,,n=x,r=",
            "n,,n=x,r=ä",
            "n,,n=x=,r=a",
            "n,,n=x=2D,r=a",
            "n,,r=a,n=x",
            "n,,m=ext,n=x,r=a",
            "n,,n=x,r=a,",
            "n,,n=x,r=a,1=2",
            "n,,n=x\0,r=a",
        ] {
            assert!(First::parse(wrong).is_none(), "{wrong}");
        }
    }
}
