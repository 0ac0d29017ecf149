//! SASL_PLAINTEXT listeners: who gets in, who does not, and what those who do not are told.

mod hostile;
mod login;
mod reauthentication;
mod scram;
mod stored;

use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_broker::{Cluster, ClusterConfig, SaslConfig, SaslMechanism};
use heliostat_wire::{
    ErrorCode,
    message::{
        AlterClientQuotasRequest, AlterUserScramCredentialsRequest, ApiVersionsRequest,
        DescribeConfigsRequest, DescribeUserScramCredentialsRequest, MetadataRequest,
        SaslAuthenticateRequest, SaslHandshakeRequest,
        alter_client_quotas::{EntityData, EntryData, OpData},
        alter_user_scram_credentials::ScramCredentialUpsertion,
        describe_configs::DescribeConfigsResource,
    },
};

use crate::{
    client::Client,
    records::{batch, id_of, produce_request},
};
use login::{handshake, plain, send_token, write_bare};
use scram::{Hash, Scram};

const PASSWORD: &str = "alice-secret";

/// A cluster that knows alice and bob, and these properties.
async fn secured(mechanisms: &[SaslMechanism], properties: &[(&str, &str)]) -> Cluster {
    let users = [("alice", PASSWORD), ("bob", "bob-secret")];
    let owned = |(one, other): &(&str, &str)| (one.to_string(), other.to_string());
    Cluster::start(ClusterConfig {
        properties: properties.iter().map(owned).collect(),
        sasl: Some(SaslConfig {
            mechanisms: mechanisms.to_vec(),
            users: users.iter().map(owned).collect(),
        }),
        ..Default::default()
    })
    .await
    .unwrap()
}

async fn plain_only() -> Cluster {
    secured(
        &[SaslMechanism::Plain],
        &[("connection.failed.authentication.delay.ms", "0")],
    )
    .await
}

async fn works(client: &mut Client) -> bool {
    client.metadata(&[]).await.brokers.len() == 1
}

#[tokio::test]
async fn plain_lets_in_who_has_the_password() {
    let cluster = plain_only().await;
    for (user, password) in [("alice", PASSWORD), ("bob", "bob-secret")] {
        let mut client = Client::of(&cluster).await;
        let response = plain(&mut client, user, password).await;
        assert_eq!((response.error_code, response.session_lifetime_ms), (0, 0));
        assert!(response.auth_bytes.is_empty() && works(&mut client).await);
        // What was said is not asked for again.
        let again = client.send(&SaslHandshakeRequest::default()).await;
        assert_eq!(again.error_code, ErrorCode::IllegalSaslState.code());
        let again = send_token(&mut client, b"").await;
        assert_eq!(again.error_code, ErrorCode::IllegalSaslState.code());
        assert!(works(&mut client).await);
    }
}

#[tokio::test]
async fn tokens_may_come_without_headers() {
    let cluster = plain_only().await;
    let mut client = Client::of(&cluster).await;
    let request = SaslHandshakeRequest {
        mechanism: "PLAIN".to_owned(),
    };
    assert_eq!(client.send_version(&request, 0).await.error_code, 0);
    write_bare(&mut client, format!("\0alice\0{PASSWORD}").as_bytes()).await;
    assert_eq!(client.read_frame().await, Some(Bytes::new()));
    assert!(works(&mut client).await);

    let mut client = Client::of(&cluster).await;
    client.send_version(&request, 0).await;
    // Its first bytes are those of a Produce request.
    write_bare(&mut client, b"\0\0\0\x09").await;
    assert_eq!(client.read_frame().await, None);
}

#[tokio::test]
async fn nobody_else_is_let_in_and_all_are_told_why_after_a_while() {
    let delay = Duration::from_millis(150);
    let properties = [("connection.failed.authentication.delay.ms", "150")];
    let cluster = secured(&[SaslMechanism::Plain], &properties).await;
    for (user, password) in [
        ("alice", "bob-secret"),
        ("nobody", PASSWORD),
        ("alice", "alice-secret "),
    ] {
        let mut client = Client::of(&cluster).await;
        handshake(&mut client, "PLAIN").await;
        let began = Instant::now();
        let response = send_token(&mut client, format!("\0{user}\0{password}").as_bytes()).await;
        assert!(began.elapsed() >= delay, "guessing takes time");
        assert_eq!(response.error_code, ErrorCode::SaslAuthenticationFailed.code());
        let text = "Authentication failed: Invalid username or password";
        assert_eq!(response.error_message.as_deref(), Some(text));
        assert_eq!(client.read_frame().await, None);
    }
    let mut client = Client::of(&cluster).await;
    let began = Instant::now();
    for mechanism in ["SCRAM-SHA-256", "GSSAPI", "plain", ""] {
        let mut client = Client::of(&cluster).await;
        let request = SaslHandshakeRequest {
            mechanism: mechanism.to_owned(),
        };
        let response = client.send(&request).await;
        assert_eq!(response.error_code, ErrorCode::UnsupportedSaslMechanism.code());
        assert_eq!(response.mechanisms, ["PLAIN"]);
        assert_eq!(client.read_frame().await, None);
    }
    assert!(began.elapsed() >= 4 * delay);
    assert_eq!(plain(&mut client, "alice", PASSWORD).await.error_code, 0);
}

#[tokio::test]
async fn requests_out_of_turn_end_the_connection() {
    let cluster = plain_only().await;
    let mut client = Client::of(&cluster).await;
    client.write(&MetadataRequest::default(), 9).await;
    assert_eq!(client.read_frame().await, None, "first of all");

    let mut client = Client::of(&cluster).await;
    client.write(&SaslAuthenticateRequest::default(), 2).await;
    assert_eq!(client.read_frame().await, None, "a token without a mechanism");

    let mut client = Client::of(&cluster).await;
    client.send_version(&ApiVersionsRequest::default(), 2).await;
    client.write(&ApiVersionsRequest::default(), 2).await;
    assert_eq!(client.read_frame().await, None, "versions for a second time");

    let mut client = Client::of(&cluster).await;
    handshake(&mut client, "PLAIN").await;
    let configs = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource::default()],
        ..Default::default()
    };
    let response = client.send(&configs).await;
    assert_eq!(response.results[0].error_code, ErrorCode::IllegalSaslState.code());
    assert_eq!(client.read_frame().await, None, "in the middle");

    let mut client = Client::of(&cluster).await;
    handshake(&mut client, "PLAIN").await;
    let mechanism = "PLAIN".to_owned();
    let again = client.send(&SaslHandshakeRequest { mechanism }).await;
    assert_eq!(again.error_code, ErrorCode::IllegalSaslState.code());
    assert_eq!(client.read_frame().await, None, "a mechanism for a second time");
}

#[tokio::test]
async fn scram_lets_in_users_of_the_configuration_and_those_that_were_added() {
    let mechanisms = [SaslMechanism::ScramSha256, SaslMechanism::ScramSha512];
    let cluster = secured(&mechanisms, &[]).await;
    let mut admin = Client::of(&cluster).await;
    for hash in [Hash::Sha256, Hash::Sha512] {
        let alice = Scram {
            hash,
            user: "alice",
            password: PASSWORD,
        };
        let mut client = Client::of(&cluster).await;
        assert_eq!(alice.login(&mut client).await.error_code, 0);
        assert!(works(&mut client).await);
        let mut client = Client::of(&cluster).await;
        alice.login_bare(&mut client).await;
        assert!(works(&mut client).await);
        admin = client;
    }
    let upsertion = |name: &str, hash: Hash| ScramCredentialUpsertion {
        name: name.to_owned(),
        mechanism: 2,
        iterations: 5000,
        salt: Bytes::from_static(b"some salt"),
        salted_password: hash.salted("carol-secret", b"some salt", 5000).into(),
    };
    let request = AlterUserScramCredentialsRequest {
        upsertions: vec![upsertion("carol,=", Hash::Sha512), upsertion("bob", Hash::Sha512)],
        ..Default::default()
    };
    let results = admin.send(&request).await.results;
    let codes: Vec<_> = results
        .iter()
        .map(|it| (it.user.as_str(), ErrorCode::from_code(it.error_code)))
        .collect();
    assert_eq!(
        codes,
        [("bob", ErrorCode::PolicyViolation), ("carol,=", ErrorCode::None)]
    );
    let described = admin
        .send(&DescribeUserScramCredentialsRequest { users: None })
        .await;
    let users: Vec<_> = described
        .results
        .iter()
        .map(|it| (it.user.as_str(), it.credential_infos.len()))
        .collect();
    assert_eq!(users, [("alice", 2), ("bob", 2), ("carol,=", 1)]);
    let carol = |hash| Scram {
        hash,
        user: "carol=2C=3D",
        password: "carol-secret",
    };
    let mut client = Client::of(&cluster).await;
    assert_eq!(carol(Hash::Sha512).login(&mut client).await.error_code, 0);
    assert!(works(&mut client).await);
    let mut client = Client::of(&cluster).await;
    assert_ne!(carol(Hash::Sha256).login(&mut client).await.error_code, 0);
}

#[tokio::test]
async fn a_user_that_does_not_exist_looks_like_one_with_another_password() {
    let cluster = secured(&[SaslMechanism::ScramSha256], &[]).await;
    let mut salts = Vec::new();
    for user in ["alice", "nobody", "nobody"] {
        let wrong = Scram {
            hash: Hash::Sha256,
            user,
            password: "wrong",
        };
        let mut client = Client::of(&cluster).await;
        let response = wrong.login(&mut client).await;
        assert_eq!(response.error_code, ErrorCode::SaslAuthenticationFailed.code());
        let text = "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256";
        assert_eq!(response.error_message.as_deref(), Some(text));
        assert_eq!(client.read_frame().await, None);
        let mut client = Client::of(&cluster).await;
        handshake(&mut client, "SCRAM-SHA-256").await;
        let challenge = send_token(&mut client, wrong.first().as_bytes()).await.auth_bytes;
        let challenge = String::from_utf8(challenge.to_vec()).unwrap();
        salts.push(challenge.split_once(',').unwrap().1.to_owned());
    }
    assert_eq!(salts[1], salts[2], "the same salt each time");
    assert_eq!(salts[0].len(), salts[1].len());
}

#[tokio::test]
async fn quotas_go_by_the_user() {
    let cluster = plain_only().await;
    let (mut alice, mut bob) = (Client::of(&cluster).await, Client::of(&cluster).await);
    assert_eq!(plain(&mut alice, "alice", PASSWORD).await.error_code, 0);
    assert_eq!(plain(&mut bob, "bob", "bob-secret").await.error_code, 0);
    alice.create_topic("t", 1, &[]).await;
    let entry = EntryData {
        entity: vec![EntityData {
            entity_type: "user".to_owned(),
            entity_name: Some("alice".to_owned()),
        }],
        ops: vec![OpData {
            key: "producer_byte_rate".to_owned(),
            value: 10.0,
            remove: false,
        }],
    };
    let request = AlterClientQuotasRequest {
        entries: vec![entry],
        validate_only: false,
    };
    bob.send(&request).await;
    let topic_id = id_of(&mut bob, "t").await;
    let value = "x".repeat(200);
    for (client, is_limited) in [(&mut bob, false), (&mut alice, true)] {
        let request = produce_request(topic_id, 0, batch(&[&value]));
        let response = client.send(&request).await;
        assert_eq!(response.throttle_time_ms > 0, is_limited);
    }
    let usage = cluster.quota_usage();
    assert_eq!(usage.len(), 1);
    assert_eq!(usage[0].user, "alice");
}
