//! SASL listeners of both clusters: the same steps of authentication, right and wrong, and what comes back for each.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use heliostat_broker::{Cluster, ClusterConfig, SaslConfig, SaslMechanism};
use heliostat_wire::message::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, DescribeConfigsRequest, ListGroupsRequest,
    MetadataRequest, Request, SaslAuthenticateRequest, SaslHandshakeRequest,
    alter_user_scram_credentials::ScramCredentialUpsertion, describe_configs::DescribeConfigsResource,
    encode_request,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    scram::{Hash, Scram},
    support::{
        kafka::{Jvm, Kafka, available},
        wait_for,
    },
};

/// Long enough for a JVM on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The listener whose port the test knows asks who connects.
const KAFKA_PROPERTIES: &[&str] = &[
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:SASL_PLAINTEXT",
    "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    "listener.name.proxied.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"alice-secret\" user_bob=\"bob-secret\";",
    "listener.name.proxied.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "listener.name.proxied.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "connection.failed.authentication.delay.ms=10",
    "connections.max.reauth.ms=60000",
    "sasl.server.max.receive.size=2000",
];

/// What a client does next, and how much of the answer is compared.
enum Step {
    /// All of it.
    Send(Vec<u8>),
    /// The correlation id and the error.
    Versions(i16),
    /// Whether there is one.
    Quietly(Vec<u8>),
}

/// A name, and steps up to the last one that both answer.
type Script = (&'static str, Vec<Step>);

/// What is done to the last message of a SCRAM exchange.
type Change = fn(String) -> String;

fn request<R: Request>(request: &R, version: i16) -> Vec<u8> {
    encode_request(request, version, 7, Some("parity"))
        .expect("a request that can be written")
        .concat()
}

fn send<R: Request>(asked: &R, version: i16) -> Step {
    Step::Send(request(asked, version))
}

fn handshake(mechanism: &str, version: i16) -> Step {
    let mechanism = mechanism.to_owned();
    send(&SaslHandshakeRequest { mechanism }, version)
}

fn token(token: &str, version: i16) -> Step {
    let auth_bytes = Bytes::copy_from_slice(token.as_bytes());
    send(&SaslAuthenticateRequest { auth_bytes }, version)
}

fn bare(token: &str) -> Step {
    Step::Send([&(token.len() as i32).to_be_bytes()[..], token.as_bytes()].concat())
}

fn metadata() -> Step {
    Step::Quietly(request(&MetadataRequest::default(), 9))
}

fn scripts() -> Vec<Script> {
    use Step::Versions;
    let right = "\0alice\0alice-secret";
    let configs = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 2,
            resource_name: "t".to_owned(),
            configuration_keys: None,
        }],
        ..Default::default()
    };
    let mut scripts = vec![
        ("versions twice", vec![Versions(2), Versions(2)]),
        (
            "unknown versions first",
            vec![Versions(99), Versions(3), handshake("PLAIN", 1)],
        ),
        ("metadata first", vec![metadata()]),
        ("metadata after versions", vec![Versions(3), metadata()]),
        ("a token first", vec![token(right, 1)]),
        ("a token after versions", vec![Versions(3), token(right, 1)]),
        ("another mechanism", vec![handshake("GSSAPI", 1)]),
        ("another mechanism, version 0", vec![handshake("plain", 0)]),
        (
            "a handshake twice",
            vec![handshake("PLAIN", 1), handshake("PLAIN", 1)],
        ),
        (
            "versions instead of a token",
            vec![handshake("PLAIN", 1), Versions(2)],
        ),
        (
            "groups instead of a token",
            vec![handshake("PLAIN", 1), send(&ListGroupsRequest::default(), 4)],
        ),
        (
            "configs instead of a token",
            vec![handshake("PLAIN", 1), send(&configs, 4)],
        ),
        (
            "bare tokens",
            vec![handshake("PLAIN", 0), bare(right), metadata()],
        ),
        (
            "a wrong bare token",
            vec![handshake("PLAIN", 0), bare("\0alice\0wrong")],
        ),
        (
            "too large a token",
            vec![handshake("PLAIN", 1), token(&"x".repeat(3000), 1)],
        ),
        (
            "SCRAM nonsense",
            vec![handshake("SCRAM-SHA-256", 1), token("nonsense", 1)],
        ),
        (
            "SCRAM nonsense, bare",
            vec![handshake("SCRAM-SHA-512", 0), bare("nonsense")],
        ),
        (
            "SCRAM for another user",
            vec![handshake("SCRAM-SHA-256", 1), token("n,a=bob,n=carol,r=abc", 1)],
        ),
        (
            "requests after authentication",
            vec![
                Versions(3),
                handshake("PLAIN", 1),
                token(right, 2),
                metadata(),
                Versions(3),
                token(right, 1),
                metadata(),
            ],
        ),
        (
            "again as oneself, and too soon",
            vec![
                handshake("PLAIN", 1),
                token(right, 1),
                metadata(),
                handshake("PLAIN", 1),
                token(right, 1),
                metadata(),
                handshake("PLAIN", 1),
                metadata(),
            ],
        ),
        (
            "again with a wrong password",
            vec![
                handshake("PLAIN", 1),
                token(right, 1),
                handshake("PLAIN", 1),
                token("\0alice\0wrong", 1),
            ],
        ),
    ];
    for version in 0..=2 {
        scripts.push((
            "PLAIN",
            vec![handshake("PLAIN", 1), token(right, version), metadata()],
        ));
    }
    for wrong in [
        "",
        "alice",
        "alice\0alice-secret",
        "\0alice\0",
        "\0\0alice-secret",
        "\0alice\0wrong",
        "\0nobody\0alice-secret",
        "bob\0alice\0alice-secret",
        "\0alice\0alice-secret\0",
        "\0\0\0\0\0\0",
    ] {
        scripts.push(("wrong PLAIN", vec![handshake("PLAIN", 1), token(wrong, 1)]));
    }
    scripts
}

/// A connection to one of the clusters.
struct Connection(TcpStream);

impl Connection {
    async fn to(address: SocketAddr) -> Connection {
        Connection(TcpStream::connect(address).await.expect("connect"))
    }

    /// What comes back; `None` if the connection is closed.
    async fn exchange(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        // It may be closed already, which reading tells.
        let _ = self.0.write_all(frame).await;
        let answer = async {
            let size = self.0.read_i32().await.ok()?;
            let mut frame = vec![0; usize::try_from(size).ok()?];
            self.0.read_exact(&mut frame).await.ok()?;
            Some(frame)
        };
        timeout(PATIENCE, answer).await.expect("an answer, or the end")
    }
}

/// What comes back for each step, as text.
async fn play(address: SocketAddr, steps: &[Step]) -> Vec<String> {
    let mut connection = Connection::to(address).await;
    let mut seen = Vec::new();
    for step in steps {
        let (frame, shown) = match step {
            Step::Send(frame) => (frame.clone(), usize::MAX),
            Step::Quietly(frame) => (frame.clone(), 4),
            Step::Versions(version) => {
                let asked = ApiVersionsRequest {
                    client_software_name: "parity".to_owned(),
                    client_software_version: "1".to_owned(),
                };
                let mut frame = request(&asked, (*version).min(3));
                frame[6..8].copy_from_slice(&version.to_be_bytes());
                (frame, 6)
            }
        };
        match connection.exchange(&frame).await {
            Some(answer) => seen.push(answer[..answer.len().min(shown)].escape_ascii().to_string()),
            None => {
                seen.push("closed".to_owned());
                return seen;
            }
        }
    }
    seen
}

/// Adds the user carol, whose password both clusters get in the same form.
async fn add_carol(address: SocketAddr) {
    let mut connection = Connection::to(address).await;
    for step in [handshake("PLAIN", 1), token("\0alice\0alice-secret", 1)] {
        let Step::Send(frame) = step else { unreachable!() };
        connection.exchange(&frame).await.expect("to be let in");
    }
    // A request takes one password of a user.
    for (mechanism, hash) in [(1, Hash::Sha256), (2, Hash::Sha512)] {
        let upsertion = ScramCredentialUpsertion {
            name: "carol".to_owned(),
            mechanism,
            iterations: 4096,
            salt: Bytes::from_static(b"a salt of carol"),
            salted_password: hash.salted("carol-secret", b"a salt of carol", 4096).into(),
        };
        let asked = AlterUserScramCredentialsRequest {
            upsertions: vec![upsertion],
            ..Default::default()
        };
        let answer = connection.exchange(&request(&asked, 0)).await;
        assert!(answer.is_some(), "no answer");
    }
    // Kafka answers before all of its parts know.
    let began = Instant::now();
    let first = [handshake("SCRAM-SHA-512", 1), token("n,,n=carol,r=abc", 1)];
    while play(address, &first)
        .await
        .concat()
        .contains("invalid credentials")
    {
        assert!(began.elapsed() < PATIENCE, "carol is not known");
    }
}

/// The outcome of a SCRAM exchange whose final message is changed by `change`.
async fn scram(address: SocketAddr, hash: Hash, password: &str, change: Change) -> Vec<String> {
    let client = Scram {
        hash,
        user: "carol",
        password,
    };
    let mut connection = Connection::to(address).await;
    let mut seen = Vec::new();
    let Step::Send(frame) = handshake(hash.mechanism(), 1) else {
        unreachable!()
    };
    connection.exchange(&frame).await.expect("the mechanism");
    let Step::Send(frame) = token(&client.first(), 0) else {
        unreachable!()
    };
    let answer = connection.exchange(&frame).await.expect("a challenge");
    // Correlation id, error code, no message, and the size of the token.
    let challenge = String::from_utf8(answer[12..].to_vec()).expect("a text");
    let (nonce, salt) = challenge.split_once(",s=").expect("a salt");
    assert!(
        nonce.starts_with("r=nonce-of-the-client") && nonce.len() > 40,
        "{nonce}"
    );
    seen.push(salt.to_owned());
    let (last, expected) = client.last(&challenge);
    let Step::Send(frame) = token(&change(last), 1) else {
        unreachable!()
    };
    let answer = connection.exchange(&frame).await.expect("an answer");
    let answer = answer.escape_ascii().to_string();
    seen.push(answer.replace(&expected, "<what was expected>"));
    let Step::Quietly(frame) = metadata() else {
        unreachable!()
    };
    seen.push(format!("let in: {}", connection.exchange(&frame).await.is_some()));
    seen
}

#[tokio::test]
async fn authentication_goes_as_kafkas() {
    if !available("authentication_goes_as_kafkas") {
        return;
    }
    let kafka = tokio::task::spawn_blocking(|| {
        let kafka = Kafka::start_behind_with("parity-sasl", 9, KAFKA_PROPERTIES, Jvm::Test);
        wait_for(PATIENCE, "the SASL listener listens", || {
            crate::support::http::connects(kafka.proxied()).map_err(|error| error.to_string())
        });
        kafka
    });
    let owned = |(one, other): (&str, &str)| (one.to_owned(), other.to_owned());
    let properties = [
        ("connection.failed.authentication.delay.ms", "10"),
        ("connections.max.reauth.ms", "60000"),
        ("sasl.server.max.receive.size", "2000"),
    ];
    let cluster = Cluster::start(ClusterConfig {
        properties: properties.map(owned).into(),
        sasl: Some(SaslConfig {
            // Kafka names them in the order of a hash table.
            mechanisms: vec![
                SaslMechanism::Plain,
                SaslMechanism::ScramSha512,
                SaslMechanism::ScramSha256,
            ],
            users: [("alice", "alice-secret"), ("bob", "bob-secret")]
                .map(owned)
                .into(),
        }),
        ..Default::default()
    })
    .await
    .expect("start a built-in cluster");
    let ours = cluster.addresses()[0];
    let kafka = kafka.await.expect("start a Kafka");
    let theirs = kafka.proxied();
    let mut differences = Vec::new();
    let mut compare = |name: &str, ours: Vec<String>, theirs: Vec<String>| {
        if ours != theirs {
            differences.push(format!("{name}\n  ours:  {ours:#?}\n  Kafka: {theirs:#?}"));
        }
    };
    tokio::join!(add_carol(ours), add_carol(theirs));
    for (name, steps) in scripts() {
        let (ours, theirs) = tokio::join!(play(ours, &steps), play(theirs, &steps));
        compare(name, ours, theirs);
    }
    let changes: [(&str, Change); 3] = [
        ("as it is", |last| last),
        ("without proof", |last| {
            last.split(",p=").next().unwrap_or_default().to_owned()
        }),
        ("with another nonce", |last| last.replace("nonce-of", "nonce:of")),
    ];
    for hash in [Hash::Sha256, Hash::Sha512] {
        for (name, change) in changes {
            for password in ["carol-secret", "wrong"] {
                let (ours, theirs) = tokio::join!(
                    scram(ours, hash, password, change),
                    scram(theirs, hash, password, change)
                );
                compare(&format!("{} {name}, {password}", hash.mechanism()), ours, theirs);
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
