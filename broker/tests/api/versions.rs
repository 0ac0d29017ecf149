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
