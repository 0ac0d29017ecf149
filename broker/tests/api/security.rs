//! What there is of security: nothing to log in to, no access rules, and passwords that are kept for who asks.

use bytes::Bytes;
use heliostat_broker::{Cluster, ClusterConfig};
use heliostat_wire::{
    ErrorCode,
    message::{
        AlterUserScramCredentialsRequest, CreateAclsRequest, DeleteAclsRequest, DescribeLogDirsRequest,
        DescribeUserScramCredentialsRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
        alter_user_scram_credentials::{ScramCredentialDeletion, ScramCredentialUpsertion},
        create_acls::AclCreation,
        delete_acls::DeleteAclsFilter,
        describe_log_dirs::DescribableLogDirTopic,
        describe_user_scram_credentials::UserName,
    },
};

use crate::{
    client::{Client, PATIENCE, start, start_nodes},
    records::{batch, produce},
};

const SHA_256: i8 = 1;
const SHA_512: i8 = 2;

fn password(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion {
        name: name.to_owned(),
        mechanism,
        iterations,
        salt: Bytes::from_static(b"salt"),
        salted_password: Bytes::from_static(b"salted"),
    }
}

fn deletion(name: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion {
        name: name.to_owned(),
        mechanism,
    }
}

async fn alter(
    client: &mut Client,
    deletions: Vec<ScramCredentialDeletion>,
    upsertions: Vec<ScramCredentialUpsertion>,
) -> Vec<(String, ErrorCode)> {
    let request = AlterUserScramCredentialsRequest {
        deletions,
        upsertions,
    };
    let results = client.send(&request).await.results.into_iter();
    results
        .map(|result| (result.user, ErrorCode::from_code(result.error_code)))
        .collect()
}

/// Users with their mechanisms and iterations, or the error.
async fn describe(client: &mut Client, users: &[&str]) -> Vec<(String, ErrorCode, Vec<(i8, i32)>)> {
    let users = users
        .iter()
        .map(|name| UserName {
            name: name.to_string(),
        })
        .collect();
    let request = DescribeUserScramCredentialsRequest { users: Some(users) };
    let results = client.send(&request).await.results.into_iter();
    let described = results.map(|result| {
        let infos = result
            .credential_infos
            .iter()
            .map(|info| (info.mechanism, info.iterations));
        (
            result.user,
            ErrorCode::from_code(result.error_code),
            infos.collect(),
        )
    });
    described.collect()
}

#[tokio::test]
async fn passwords_are_kept_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig {
        data: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let cluster = Cluster::start(config.clone()).await.unwrap();
    let mut client = Client::of(&cluster).await;
    let user = |name: &str, error| (name.to_owned(), error);
    let set = vec![password("u", SHA_256, 4096), password("v/w", SHA_512, 16_384)];
    let done = [user("u", ErrorCode::None), user("v/w", ErrorCode::None)];
    assert_eq!(alter(&mut client, vec![], set).await, done);
    alter(&mut client, vec![], vec![password("u", SHA_512, 5000)]).await;
    cluster.shutdown(PATIENCE).await;

    let cluster = Cluster::start(config).await.unwrap();
    let mut client = Client::of(&cluster).await;
    let of_u = (
        "u".to_owned(),
        ErrorCode::None,
        vec![(SHA_256, 4096), (SHA_512, 5000)],
    );
    let of_v = ("v/w".to_owned(), ErrorCode::None, vec![(SHA_512, 16_384)]);
    assert_eq!(describe(&mut client, &[]).await, [of_u.clone(), of_v]);
    let of_nobody = ("nobody".to_owned(), ErrorCode::ResourceNotFound, vec![]);
    assert_eq!(describe(&mut client, &["nobody", "u"]).await, [of_nobody, of_u]);
    let twice = ("u".to_owned(), ErrorCode::DuplicateResource, vec![]);
    assert_eq!(describe(&mut client, &["u", "u"]).await, [twice]);
    assert_eq!(
        alter(&mut client, vec![deletion("v/w", SHA_512)], vec![]).await,
        [user("v/w", ErrorCode::None)]
    );
    assert_eq!(describe(&mut client, &[]).await.len(), 1);
}

#[tokio::test]
async fn impossible_passwords_are_refused_as_kafka_refuses_them() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let good = || password("w", SHA_256, 4096);
    let unacceptable = ErrorCode::UnacceptableCredential;
    for (deletions, upsertions, error) in [
        (vec![], vec![password("w", SHA_256, 4095)], unacceptable),
        (vec![], vec![password("w", SHA_256, 16_385)], unacceptable),
        (vec![], vec![password("", SHA_256, 4096)], unacceptable),
        (
            vec![],
            vec![password("w", 9, 4096)],
            ErrorCode::UnsupportedSaslMechanism,
        ),
        (
            vec![],
            vec![password("w", 9, 4096), good()],
            ErrorCode::UnsupportedSaslMechanism,
        ),
        (
            vec![],
            vec![good(), password("w", SHA_512, 4096)],
            ErrorCode::DuplicateResource,
        ),
        (vec![deletion("w", SHA_256)], vec![], ErrorCode::ResourceNotFound),
        (vec![deletion("", SHA_256)], vec![], unacceptable),
    ] {
        let outcome = alter(&mut client, deletions, upsertions.clone()).await;
        assert_eq!(outcome.len(), 1);
        assert_eq!(outcome[0].1, error, "{upsertions:?}");
    }
    assert_eq!(describe(&mut client, &[]).await, []);
}

#[tokio::test]
async fn nobody_has_to_log_in_and_nothing_is_forbidden() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let handshake = SaslHandshakeRequest {
        mechanism: "PLAIN".to_owned(),
    };
    let response = client.send(&handshake).await;
    assert_eq!(response.error_code, ErrorCode::IllegalSaslState.code());
    assert!(response.mechanisms.is_empty());
    let response = client.send(&SaslAuthenticateRequest::default()).await;
    assert_eq!(response.error_code, ErrorCode::IllegalSaslState.code());
    let creations = vec![AclCreation::default(); 2];
    let codes = client.send(&CreateAclsRequest { creations }).await.results;
    assert_eq!(codes.len(), 2);
    assert!(
        codes
            .iter()
            .all(|result| result.error_code == ErrorCode::SecurityDisabled.code())
    );
    let filters = vec![DeleteAclsFilter::default()];
    let codes = client.send(&DeleteAclsRequest { filters }).await.filter_results;
    assert_eq!(codes[0].error_code, ErrorCode::SecurityDisabled.code());
}

#[tokio::test]
async fn each_node_tells_how_large_its_partitions_are() {
    let cluster = start_nodes(2, &[]).await;
    let mut one = Client::of(&cluster).await;
    let mut two = Client::connect(cluster.addresses()[1]).await;
    one.create_topic("t", 2, &[]).await;
    for index in 0..2 {
        for client in [&mut one, &mut two] {
            produce(client, "t", index, batch(&["some", "records"])).await;
        }
    }
    let mut seen = Vec::new();
    for client in [&mut one, &mut two] {
        let response = client.send(&DescribeLogDirsRequest { topics: None }).await;
        let directory = &response.results[0];
        assert!(directory.total_bytes >= directory.usable_bytes && directory.usable_bytes > 0);
        assert!(std::path::Path::new(&directory.log_dir).is_absolute());
        let partitions = &directory.topics[0].partitions;
        assert!(partitions.iter().all(|partition| partition.partition_size > 61));
        seen.extend(partitions.iter().map(|partition| partition.partition_index));
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1]);
    let asked = DescribableLogDirTopic {
        topic: "unknown".to_owned(),
        partitions: vec![0],
    };
    let response = one
        .send(&DescribeLogDirsRequest {
            topics: Some(vec![asked]),
        })
        .await;
    assert!(response.results[0].topics.is_empty());
}
