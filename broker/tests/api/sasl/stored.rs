//! Passwords that clients have set, and users of the configuration with the same names.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use heliostat_broker::{Cluster, ClusterConfig, RefusedClients, SaslConfig, SaslMechanism};
use heliostat_wire::{
    ErrorCode,
    message::{
        AlterUserScramCredentialsRequest, MetadataRequest,
        alter_user_scram_credentials::{ScramCredentialDeletion, ScramCredentialUpsertion},
    },
};

use super::{
    login::plain,
    scram::{Hash, Scram},
};
use crate::client::Client;

/// How long an end may take.
const END: Duration = Duration::from_secs(10);

async fn start(data: &Path, users: &[(&str, &str)]) -> Cluster {
    let owned = |(name, password): &(&str, &str)| (name.to_string(), password.to_string());
    Cluster::start(ClusterConfig {
        data: Some(data.to_owned()),
        properties: [(
            "connection.failed.authentication.delay.ms".to_owned(),
            "0".to_owned(),
        )]
        .into(),
        sasl: Some(SaslConfig {
            mechanisms: SaslMechanism::ALL.to_vec(),
            users: users.iter().map(owned).collect(),
        }),
        ..Default::default()
    })
    .await
    .unwrap()
}

/// Whether dave gets in with this password.
async fn dave(cluster: &Cluster, password: &'static str) -> bool {
    let login = Scram {
        hash: Hash::Sha512,
        user: "dave",
        password,
    };
    login.login(&mut Client::of(cluster).await).await.error_code == 0
}

/// Changes the passwords of dave, as alice.
async fn alter(cluster: &Cluster, set: Option<&'static str>) -> ErrorCode {
    let mut alice = Client::of(cluster).await;
    assert_eq!(plain(&mut alice, "alice", "alice-secret").await.error_code, 0);
    let mut request = AlterUserScramCredentialsRequest::default();
    match set {
        Some(password) => request.upsertions.push(ScramCredentialUpsertion {
            name: "dave".to_owned(),
            mechanism: 2,
            iterations: 4096,
            salt: Bytes::from_static(b"some salt"),
            salted_password: Hash::Sha512.salted(password, b"some salt", 4096).into(),
        }),
        None => request.deletions.push(ScramCredentialDeletion {
            name: "dave".to_owned(),
            mechanism: 2,
        }),
    }
    ErrorCode::from_code(alice.send(&request).await.results[0].error_code)
}

#[tokio::test]
async fn a_user_that_is_taken_out_of_the_configuration_is_locked_out() {
    let directory = tempfile::tempdir().unwrap();
    let alice = ("alice", "alice-secret");
    let cluster = start(directory.path(), &[alice]).await;
    assert_eq!(alter(&cluster, Some("earlier")).await, ErrorCode::None);
    assert!(dave(&cluster, "earlier").await);
    cluster.shutdown(END).await;

    let cluster = start(directory.path(), &[alice, ("dave", "later")]).await;
    assert!(dave(&cluster, "later").await && !dave(&cluster, "earlier").await);
    for set in [Some("other"), None] {
        assert_eq!(alter(&cluster, set).await, ErrorCode::PolicyViolation, "{set:?}");
    }
    cluster.shutdown(END).await;

    let cluster = start(directory.path(), &[alice]).await;
    assert!(!dave(&cluster, "later").await && !dave(&cluster, "earlier").await);
    assert_eq!(alter(&cluster, None).await, ErrorCode::ResourceNotFound);
    cluster.shutdown(END).await;
}

#[tokio::test]
async fn others_cannot_read_where_passwords_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mode = || fs::metadata(&state).unwrap().permissions().mode() & 0o777;
    let users = [("alice", "alice-secret")];
    let cluster = start(directory.path(), &users).await;
    assert_eq!(alter(&cluster, Some("of-dave")).await, ErrorCode::None);
    assert_eq!(mode(), 0o600);
    cluster.shutdown(END).await;
    // As an earlier version has left it.
    fs::set_permissions(&state, Permissions::from_mode(0o644)).unwrap();
    let cluster = start(directory.path(), &users).await;
    assert_eq!(mode(), 0o600);
    assert!(dave(&cluster, "of-dave").await);
    cluster.shutdown(END).await;
}

#[tokio::test]
async fn who_is_not_let_in_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = start(directory.path(), &[("alice", "alice-secret")]).await;
    let counts = |refused, without_credentials| {
        Some(RefusedClients {
            refused,
            without_credentials,
        })
    };
    let now = || cluster.control().facts().refused_clients;
    assert_eq!(now(), counts(0, 0));
    assert!(!dave(&cluster, "nobody's").await);
    let mut client = Client::of(&cluster).await;
    assert_ne!(plain(&mut client, "alice", "wrong").await.error_code, 0);
    assert_eq!(now(), counts(2, 0));
    let mut client = Client::of(&cluster).await;
    client.write(&MetadataRequest::default(), 9).await;
    assert_eq!(client.read_frame().await, None);
    assert_eq!(now(), counts(2, 1));
    let mut client = Client::of(&cluster).await;
    assert_eq!(plain(&mut client, "alice", "alice-secret").await.error_code, 0);
    assert_eq!(now(), counts(2, 1));
}
