//! Tokens that were broken in a few places, by the thousand: nobody gets in, and nobody else notices.

use heliostat_broker::SaslMechanism;
use heliostat_wire::message::{SaslAuthenticateRequest, SaslHandshakeRequest};
use tokio::io::AsyncWriteExt;

use super::{
    PASSWORD,
    login::{handshake, plain, send_token},
    scram::{Hash, Scram},
    secured, works,
};
use crate::{client::Client, hostile::mutation::Random};

const CONNECTIONS: usize = 2000;
const AT_ONCE: (&str, &str) = ("connection.failed.authentication.delay.ms", "0");

/// The token with some bytes changed, removed, doubled or put in; always another one.
fn broken(random: &mut Random, token: &[u8]) -> Vec<u8> {
    let mut bytes = token.to_vec();
    while bytes == token {
        for _ in 0..=random.next() % 3 {
            let at = random.next() as usize % bytes.len().max(1);
            let byte = [0, b',', b'=', b'n', 0xff, random.next() as u8][random.next() as usize % 6];
            match random.next() % 5 {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                3 => bytes.truncate(at),
                _ => bytes.extend_from_within(at..),
            }
        }
    }
    bytes
}

#[tokio::test]
async fn broken_tokens_let_nobody_in() {
    let mechanisms = SaslMechanism::ALL;
    let cluster = secured(&mechanisms, &[AT_ONCE]).await;
    let mut random = Random(0x5a51);
    let alice = Scram {
        hash: Hash::Sha256,
        user: "alice",
        password: PASSWORD,
    };
    // Working out a proof is slow: the one of another exchange is as good to be broken.
    let mut client = Client::of(&cluster).await;
    handshake(&mut client, "SCRAM-SHA-256").await;
    let challenge = send_token(&mut client, alice.first().as_bytes()).await.auth_bytes;
    let (last, _) = alice.last(std::str::from_utf8(&challenge).unwrap());
    let plain_token = format!("\0alice\0{PASSWORD}");
    for round in 0..CONNECTIONS {
        let mut client = Client::of(&cluster).await;
        let mechanism = if round % 2 == 0 { "PLAIN" } else { "SCRAM-SHA-256" };
        let request = SaslHandshakeRequest {
            mechanism: mechanism.to_owned(),
        };
        client.send(&request).await;
        let response = if round % 2 == 0 {
            send_token(&mut client, &broken(&mut random, plain_token.as_bytes())).await
        } else {
            let first = match round % 4 {
                1 => broken(&mut random, alice.first().as_bytes()),
                _ => alice.first().into_bytes(),
            };
            let response = send_token(&mut client, &first).await;
            match response.error_code {
                0 => send_token(&mut client, &broken(&mut random, last.as_bytes())).await,
                _ => response,
            }
        };
        assert_ne!(response.error_code, 0, "round {round}");
    }
    let mut client = Client::of(&cluster).await;
    assert_eq!(plain(&mut client, "alice", PASSWORD).await.error_code, 0);
    assert!(works(&mut client).await);
}

#[tokio::test]
async fn what_comes_before_authentication_is_small() {
    let limit = ("sasl.server.max.receive.size", "2000");
    let cluster = secured(&[SaslMechanism::Plain], &[AT_ONCE, limit]).await;
    for bytes in [2001, i32::MAX, -1] {
        let mut client = Client::of(&cluster).await;
        handshake(&mut client, "PLAIN").await;
        client.stream.write_all(&bytes.to_be_bytes()).await.unwrap();
        assert_eq!(client.read_frame().await, None, "{bytes}");
    }
    let mut client = Client::of(&cluster).await;
    assert_eq!(plain(&mut client, "alice", PASSWORD).await.error_code, 0);
    // Afterwards requests may be as large as always.
    let names: Vec<_> = (0..400).map(|number| format!("topic-{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(client.metadata(&names).await.topics.len(), 400);
}

#[tokio::test]
async fn a_client_that_never_says_who_it_is_is_closed_when_it_is_idle() {
    let cluster = secured(&[SaslMechanism::Plain], &[("connections.max.idle.ms", "50")]).await;
    let mut silent = Client::of(&cluster).await;
    let mut undecided = Client::of(&cluster).await;
    handshake(&mut undecided, "PLAIN").await;
    assert_eq!(silent.read_frame().await, None);
    assert_eq!(undecided.read_frame().await, None);
    let mut cut = Client::of(&cluster).await;
    cut.write(&SaslAuthenticateRequest::default(), 2).await;
    assert_eq!(cut.read_frame().await, None);
}
