//! The client's side of SCRAM.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// The hash of a SCRAM mechanism.
#[derive(Clone, Copy)]
pub enum Hash {
    Sha256,
    Sha512,
}

/// A client that knows its name and password.
pub struct Scram<'a> {
    pub hash: Hash,
    pub user: &'a str,
    pub password: &'a str,
}

impl Hash {
    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(data).to_vec(),
            Hash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        macro_rules! code {
            ($hash:ty) => {{
                let mac = Hmac::<$hash>::new_from_slice(key).unwrap();
                mac.chain_update(data).finalize().into_bytes().to_vec()
            }};
        }
        match self {
            Hash::Sha256 => code!(Sha256),
            Hash::Sha512 => code!(Sha512),
        }
    }

    /// What a password becomes with this salt.
    pub fn salted(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut last = self.hmac(password.as_bytes(), &[salt, &1u32.to_be_bytes()].concat());
        let mut sum = last.clone();
        for _ in 1..iterations {
            last = self.hmac(password.as_bytes(), &last);
            sum.iter_mut().zip(&last).for_each(|(sum, last)| *sum ^= last);
        }
        sum
    }

    /// The name of the mechanism.
    pub fn mechanism(self) -> &'static str {
        match self {
            Hash::Sha256 => "SCRAM-SHA-256",
            Hash::Sha512 => "SCRAM-SHA-512",
        }
    }
}

impl Scram<'_> {
    /// The first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    fn first_bare(&self) -> String {
        format!("n={},r=nonce-of-the-client", self.user)
    }

    /// The final message, and what the server has to answer.
    pub fn last(&self, challenge: &str) -> (String, String) {
        let mut parts = challenge.split(',');
        let nonce = parts.next().unwrap();
        let salt = BASE64
            .decode(parts.next().unwrap().strip_prefix("s=").unwrap())
            .unwrap();
        let iterations = parts.next().unwrap().strip_prefix("i=").unwrap().parse().unwrap();
        let salted = self.hash.salted(self.password, &salt, iterations);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let without_proof = format!("c=biws,{nonce}");
        let signed = format!("{},{challenge},{without_proof}", self.first_bare());
        let stored_key = self.hash.digest(&client_key);
        let signature = self.hash.hmac(&stored_key, signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server_key = self.hash.hmac(&salted, b"Server Key");
        let expected = BASE64.encode(self.hash.hmac(&server_key, signed.as_bytes()));
        (
            format!("{without_proof},p={}", BASE64.encode(proof)),
            format!("v={expected}"),
        )
    }
}
