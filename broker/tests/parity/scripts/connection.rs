//! ApiVersions, and requests that no broker understands.

use heliostat_wire::message::{
    ApiVersionsRequest, DescribeClusterRequest, HeartbeatRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest,
};

use crate::{
    harness::Parity,
    requests::{batch, list_offsets, produce},
};

fn named(name: &str, version: &str) -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: name.to_owned(),
        client_software_version: version.to_owned(),
    }
}

pub async fn api_versions(p: &mut Parity) {
    p.all("named", |_, _| named("parity", "1.0")).await;
    for (name, version) in [
        ("", ""),
        ("-a", "1"),
        ("a b", "1"),
        ("a", "1."),
        ("apache-kafka-java", "4.1.0"),
        ("é", "1"),
    ] {
        p.all(&format!("named {name:?} {version:?}"), |_, _| {
            named(name, version)
        })
        .await;
    }
    for version in [5, 99, -1] {
        p.broken(
            "an unknown version",
            3,
            |_| named("a", "1"),
            |frame| set_version(frame, version),
        )
        .await;
    }
    p.broken(
        "trailing bytes",
        3,
        |_| named("a", "1"),
        |frame| frame.extend([0; 7]),
    )
    .await;
    p.broken(
        "cut short",
        3,
        |_| named("abc", "1"),
        |frame| frame.truncate(frame.len() - 3),
    )
    .await;
}

pub async fn unknown_requests(p: &mut Parity) {
    let metadata = |_: &_| MetadataRequest {
        topics: Some(vec![]),
        ..Default::default()
    };
    p.broken("version 14", 13, metadata, |frame| set_version(frame, 14))
        .await;
    p.broken("version -1", 13, metadata, |frame| set_version(frame, -1))
        .await;
    p.broken("API 1000", 13, metadata, |frame| {
        frame[4..6].copy_from_slice(&1000_i16.to_be_bytes())
    })
    .await;
    p.broken("API -1", 13, metadata, |frame| {
        frame[4..6].copy_from_slice(&[0xff; 2])
    })
    .await;
    p.broken("the API of a controller", 13, metadata, |frame| {
        frame[4..6].copy_from_slice(&62_i16.to_be_bytes())
    })
    .await;
    p.broken("trailing bytes", 13, metadata, |frame| frame.extend([1; 9]))
        .await;
    p.broken("cut short", 13, metadata, |frame| frame.truncate(frame.len() - 1))
        .await;
    p.broken("only a header", 13, metadata, |frame| frame.truncate(14))
        .await;
    p.broken("nothing", 13, metadata, |frame| frame.truncate(4)).await;
    p.broken("two bytes", 13, metadata, |frame| frame.truncate(6))
        .await;
    let records = batch(&["a"]);
    p.broken(
        "version 2",
        3,
        |side| produce(side, "none", 0, records.clone()),
        |frame| set_version(frame, 2),
    )
    .await;
    p.broken::<ListOffsetsRequest>(
        "version 0",
        1,
        |_| list_offsets("none", &[]),
        |frame| set_version(frame, 0),
    )
    .await;
    p.broken::<ProduceRequest>(
        "a null topic array",
        3,
        |_| ProduceRequest::default(),
        |frame| {
            let end = frame.len();
            frame[end - 4..].copy_from_slice(&[0xff; 4]);
        },
    )
    .await;
    p.broken::<HeartbeatRequest>(
        "a null group",
        0,
        |_| HeartbeatRequest::default(),
        |frame| {
            frame.truncate(20);
            frame.extend([0xff, 0xff, 0, 0, 0, 1, 0, 0]);
        },
    )
    .await;
    p.broken::<DescribeClusterRequest>(
        "an unknown tag",
        0,
        |_| DescribeClusterRequest::default(),
        |frame| {
            frame.pop();
            frame.extend([1, 99, 2, 0, 0]);
        },
    )
    .await;
    p.broken::<MetadataRequest>("no client id", 1, metadata, |frame| {
        frame.splice(12..20, [0xff, 0xff]);
    })
    .await;
}

fn set_version(frame: &mut [u8], version: i16) {
    frame[6..8].copy_from_slice(&version.to_be_bytes());
}
