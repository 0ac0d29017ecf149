//! ApiVersions, and requests that no broker knows.

use heliostat_wire::{
    ErrorCode,
    message::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, decode_message},
};
use tokio::io::AsyncWriteExt;

use crate::client::{Client, start};

fn request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1.0".to_owned(),
    }
}

/// A frame with this API and version, and nothing else that makes sense.
fn frame(api: i16, version: i16) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 14];
    frame.extend(api.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 77, 0xff, 0xff, 1, 2, 3, 4]);
    frame
}

#[tokio::test]
async fn every_version_lists_the_same_apis() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let newest = client.send(&request()).await;
    for version in ApiKey::ApiVersions.versions() {
        assert_eq!(
            client.send_version(&request(), version).await.api_keys,
            newest.api_keys
        );
    }
    let range = |key: ApiKey| newest.api_keys.iter().find(|api| api.api_key == key.code());
    let metadata = range(ApiKey::Metadata).unwrap();
    assert_eq!((metadata.min_version, metadata.max_version), (0, 13));
}

/// What Apache Kafka 4.1 advertises, by the number of the API, of what is there; some clients tell its release from that.
/// Kafka says 0 for Produce, of which it takes 3 and later.
const KAFKA_4_1: [(i16, i16, i16); 53] = [
    (0, 0, 13),
    (1, 4, 18),
    (2, 1, 10),
    (3, 0, 13),
    (8, 2, 9),
    (9, 1, 9),
    (10, 0, 6),
    (11, 0, 9),
    (12, 0, 4),
    (13, 0, 5),
    (14, 0, 5),
    (15, 0, 6),
    (16, 0, 5),
    (17, 0, 1),
    (18, 0, 4),
    (19, 2, 7),
    (20, 1, 6),
    (21, 0, 2),
    (22, 0, 5),
    (23, 2, 4),
    (24, 0, 5),
    (25, 0, 4),
    (26, 0, 5),
    (27, 1, 1),
    (28, 0, 5),
    (29, 1, 3),
    (30, 1, 3),
    (31, 1, 3),
    (32, 1, 4),
    (33, 0, 2),
    (35, 1, 4),
    (36, 0, 2),
    (37, 0, 3),
    (42, 0, 2),
    (43, 0, 2),
    (44, 0, 1),
    (45, 0, 1),
    (46, 0, 0),
    (47, 0, 0),
    (48, 0, 1),
    (49, 0, 1),
    (50, 0, 0),
    (51, 0, 0),
    (55, 0, 2),
    (57, 0, 2),
    (60, 0, 2),
    (61, 0, 0),
    (65, 0, 0),
    (66, 0, 2),
    (68, 0, 1),
    (69, 0, 1),
    (74, 0, 1),
    (75, 0, 0),
];

#[tokio::test]
async fn the_versions_are_those_of_kafka_4_1() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let newest = client.send(&request()).await;
    let mut advertised: Vec<_> = newest
        .api_keys
        .iter()
        .map(|api| (api.api_key, api.min_version, api.max_version))
        .collect();
    advertised.sort_unstable();
    assert_eq!(advertised, KAFKA_4_1);
}

#[tokio::test]
async fn a_version_from_the_future_is_answered_in_version_0() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client
        .stream
        .write_all(&frame(ApiKey::ApiVersions.code(), 99))
        .await
        .unwrap();
    let answer = client.read_frame().await.unwrap();
    assert_eq!(answer[..4], 77i32.to_be_bytes());
    let response: ApiVersionsResponse = decode_message(answer.slice(4..), 0).unwrap();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    let [only] = response.api_keys.as_slice() else {
        panic!("{response:?}")
    };
    assert_eq!((only.api_key, only.min_version, only.max_version), (18, 0, 4));
    // The connection goes on.
    assert_eq!(client.send(&request()).await.error_code, 0);
}

#[tokio::test]
async fn a_client_without_a_proper_name_is_refused() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let request = ApiVersionsRequest {
        client_software_name: "a b".to_owned(),
        ..request()
    };
    assert_eq!(
        client.send(&request).await.error_code,
        ErrorCode::InvalidRequest.code()
    );
    assert_eq!(client.send_version(&request, 2).await.error_code, 0);
}

#[tokio::test]
async fn unknown_apis_and_versions_end_the_connection() {
    let cluster = start(&[]).await;
    for (api, version) in [
        (9999, 0),
        (-1, 0),
        (ApiKey::Metadata.code(), 99),
        (ApiKey::Metadata.code(), -1),
    ] {
        let mut client = Client::of(&cluster).await;
        client.stream.write_all(&frame(api, version)).await.unwrap();
        assert_eq!(client.read_frame().await, None, "{api} {version}");
    }
}
