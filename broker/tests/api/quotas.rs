//! Quotas: who gets them, and what happens to those who use more.

use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_broker::{Cluster, ClusterConfig, QuotaKind};
use heliostat_wire::{
    ErrorCode,
    message::{
        AlterClientQuotasRequest, DescribeClientQuotasRequest, FetchRequest, MetadataRequest, ProduceRequest,
        alter_client_quotas::{EntityData, EntryData, OpData},
        describe_client_quotas::ComponentData,
    },
};
use tokio::net::TcpStream;

use crate::{
    client::{Client, PATIENCE, start},
    records::{batch, fetch_request, from_offset, id_of, produce, produce_request},
};

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

fn entity(parts: Entity<'_>) -> Vec<EntityData> {
    let parts = parts.iter().map(|(kind, name)| EntityData {
        entity_type: kind.to_string(),
        entity_name: name.map(str::to_owned),
    });
    parts.collect()
}

fn set(key: &str, value: f64) -> OpData {
    OpData {
        key: key.to_owned(),
        value,
        remove: false,
    }
}

fn remove(key: &str) -> OpData {
    OpData {
        remove: true,
        ..set(key, 0.0)
    }
}

async fn alter(client: &mut Client, entries: &[(Entity<'_>, &[OpData])]) -> Vec<i16> {
    let entries = entries.iter().map(|(parts, ops)| EntryData {
        entity: entity(parts),
        ops: ops.to_vec(),
    });
    let request = AlterClientQuotasRequest {
        entries: entries.collect(),
        validate_only: false,
    };
    let response = client.send(&request).await;
    response.entries.iter().map(|entry| entry.error_code).collect()
}

/// What a filter finds, as text.
async fn describe(client: &mut Client, filter: &[(&str, i8, Option<&str>)], strict: bool) -> Vec<String> {
    let components = filter.iter().map(|(kind, match_type, name)| ComponentData {
        entity_type: kind.to_string(),
        match_type: *match_type,
        match_name: name.map(str::to_owned),
    });
    let request = DescribeClientQuotasRequest {
        components: components.collect(),
        strict,
    };
    let response = client.send(&request).await;
    let Some(entries) = response.entries else {
        return vec![ErrorCode::from_code(response.error_code).to_string()];
    };
    let texts = entries.into_iter().map(|entry| {
        let names = entry.entity.iter().map(|part| {
            format!(
                "{}={}",
                part.entity_type,
                part.entity_name.as_deref().unwrap_or("<default>")
            )
        });
        let values = entry
            .values
            .iter()
            .map(|value| format!("{}={}", value.key, value.value));
        names.chain(values).collect::<Vec<_>>().join(" ")
    });
    texts.collect()
}

#[tokio::test]
async fn quotas_are_set_listed_removed_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig {
        data: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let cluster = Cluster::start(config.clone()).await.unwrap();
    let mut client = Client::of(&cluster).await;
    let entries: &[(Entity<'_>, &[OpData])] = &[
        (
            &[("user", Some("u"))],
            &[set("producer_byte_rate", 1000.0), set("request_percentage", 12.5)],
        ),
        (
            &[("user", None), ("client-id", Some("c"))],
            &[set("consumer_byte_rate", 5.0)],
        ),
        (&[("client-id", None)], &[set("controller_mutation_rate", 0.5)]),
        (
            &[("ip", Some("127.0.0.9"))],
            &[set("connection_creation_rate", 7.0)],
        ),
    ];
    assert_eq!(alter(&mut client, entries).await, [0; 4]);
    let of_user = "user=u producer_byte_rate=1000 request_percentage=12.5";
    let of_both = "client-id=c user=<default> consumer_byte_rate=5";
    assert_eq!(
        describe(&mut client, &[("user", 2, None)], false).await,
        [of_both, of_user]
    );
    assert_eq!(describe(&mut client, &[("user", 2, None)], true).await, [of_user]);
    assert_eq!(
        describe(&mut client, &[("user", 0, Some("u"))], true).await,
        [of_user]
    );
    assert_eq!(
        describe(
            &mut client,
            &[("user", 1, None), ("client-id", 0, Some("c"))],
            true
        )
        .await,
        [of_both]
    );
    assert_eq!(describe(&mut client, &[], false).await.len(), 4);

    let removed: &[(Entity<'_>, &[OpData])] = &[
        (
            &[("user", Some("u"))],
            &[remove("producer_byte_rate"), remove("never_was")],
        ),
        (&[("client-id", None)], &[remove("controller_mutation_rate")]),
    ];
    assert_eq!(alter(&mut client, removed).await, [0; 2]);
    cluster.shutdown(PATIENCE).await;
    let cluster = Cluster::start(config).await.unwrap();
    let mut client = Client::of(&cluster).await;
    let kept = [
        "client-id=c user=<default> consumer_byte_rate=5",
        "ip=127.0.0.9 connection_creation_rate=7",
        "user=u request_percentage=12.5",
    ];
    assert_eq!(describe(&mut client, &[], false).await, kept);
}

#[tokio::test]
async fn impossible_quotas_and_filters_are_refused() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let u: Entity<'_> = &[("user", Some("u"))];
    let entries: &[(Entity<'_>, &[OpData])] = &[
        (&[], &[set("producer_byte_rate", 1.0)]),
        (&[("users", Some("u"))], &[set("producer_byte_rate", 1.0)]),
        (&[("user", Some(""))], &[set("producer_byte_rate", 1.0)]),
        (
            &[("user", Some("a")), ("ip", None)],
            &[set("connection_creation_rate", 1.0)],
        ),
        (
            &[("ip", Some("no address"))],
            &[set("connection_creation_rate", 1.0)],
        ),
        (&[("ip", Some("127.0.0.1"))], &[set("producer_byte_rate", 1.0)]),
        (&[("user", Some("b"))], &[set("producer_byte_rate", 1.5)]),
        (&[("user", Some("c"))], &[set("producer_byte_rate", 0.0)]),
        (&[("user", Some("d"))], &[set("request_percentage", f64::NAN)]),
        (&[("user", Some("e"))], &[set("no_such_quota", 1.0)]),
        (
            &[("user", Some("f"))],
            &[set("producer_byte_rate", 1.0), remove("producer_byte_rate")],
        ),
        (u, &[set("producer_byte_rate", 1.0)]),
        (u, &[set("producer_byte_rate", 2.0)]),
    ];
    // The last two are one entity, of which the first change counts.
    let expected = vec![ErrorCode::InvalidRequest.code(); entries.len() - 1];
    assert_eq!(alter(&mut client, entries).await, expected);
    assert_eq!(
        describe(&mut client, &[], false).await,
        ["user=u producer_byte_rate=1"]
    );

    let refused = ["INVALID_REQUEST (42)"];
    for filter in [
        &[("", 2, None)][..],
        &[("user", 2, None), ("user", 1, None)],
        &[("user", 0, None)],
        &[("user", 1, Some("u"))],
        &[("user", 3, None)],
        &[("user", 2, None), ("ip", 2, None)],
    ] {
        assert_eq!(describe(&mut client, filter, false).await, refused, "{filter:?}");
    }
    assert_eq!(
        describe(&mut client, &[("group", 2, None)], false).await,
        ["UNSUPPORTED_VERSION (35)"]
    );
}

/// Windows so short that a test can wait for them.
const SHORT: [(&str, &str); 2] = [("quota.window.num", "2"), ("quota.window.size.seconds", "1")];

fn big() -> Bytes {
    batch(&["x".repeat(30_000).as_str()])
}

#[tokio::test]
async fn a_producer_over_its_quota_is_answered_and_then_not_read() {
    let cluster = start(&SHORT).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    alter(
        &mut client,
        &[(
            &[("client-id", Some("test"))],
            &[set("producer_byte_rate", 20_000.0)],
        )],
    )
    .await;
    let request: ProduceRequest = produce_request(id_of(&mut client, "t").await, 0, big());
    let began = Instant::now();
    let response = client.send(&request).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    // 30,000 bytes, where 20,000 are allowed in a second and the burst is one second.
    assert!(
        (400..700).contains(&response.throttle_time_ms),
        "{}",
        response.throttle_time_ms
    );
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "the answer itself does not wait"
    );
    let mut other = Client::of(&cluster).await;
    assert_eq!(other.send(&MetadataRequest::default()).await.throttle_time_ms, 0);
    let waited = Duration::from_millis(response.throttle_time_ms as u64);
    client.send(&MetadataRequest::default()).await;
    assert!(began.elapsed() >= waited, "{:?} {waited:?}", began.elapsed());

    let usage = cluster.quota_usage();
    assert_eq!(
        (usage.len(), usage[0].kind, usage[0].limit),
        (1, QuotaKind::Produce, 20_000.0)
    );
    assert_eq!(
        (usage[0].client_id.as_str(), usage[0].user.as_str()),
        ("test", "")
    );
    assert_eq!(
        (usage[0].throttled, usage[0].throttled_ms),
        (1, waited.as_millis() as u64)
    );
    assert!(usage[0].rate > 0.0);
}

#[tokio::test]
async fn a_consumer_over_its_quota_gets_nothing_until_it_has_waited() {
    let cluster = start(&SHORT).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    for _ in 0..3 {
        produce(&mut client, "t", 0, big()).await;
    }
    alter(
        &mut client,
        &[(
            &[("user", Some("ANONYMOUS"))],
            &[set("consumer_byte_rate", 40_000.0)],
        )],
    )
    .await;
    let fetch: FetchRequest = fetch_request(id_of(&mut client, "t").await, vec![from_offset(0, 0)]);
    let first = client.send(&fetch).await;
    let records = first.responses[0].partitions[0].records.len();
    assert!(
        (30_000..40_000).contains(&records),
        "no more than the burst: {records}"
    );
    assert_eq!(first.throttle_time_ms, 0);
    let second = client.send(&fetch).await;
    assert!(second.throttle_time_ms > 0);
    assert!(second.responses.is_empty());
    let began = Instant::now();
    while client.send(&fetch).await.responses.is_empty() {
        assert!(began.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn the_time_of_threads_and_changes_of_topics_have_quotas() {
    let cluster = start(&SHORT).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("warm", 50, &[]).await;
    let quotas = [
        set("request_percentage", 0.001),
        set("controller_mutation_rate", 1.0),
    ];
    alter(&mut client, &[(&[("user", None)], &quotas)]).await;
    let began = Instant::now();
    while client
        .send(&MetadataRequest {
            topics: None,
            ..Default::default()
        })
        .await
        .throttle_time_ms
        == 0
    {
        assert!(began.elapsed() < PATIENCE);
    }
    alter(
        &mut client,
        &[(&[("user", None)], &[remove("request_percentage")])],
    )
    .await;
    client.create_topic("much", 50, &[]).await;
    let create = heliostat_wire::message::CreateTopicsRequest {
        topics: vec![crate::client::topic("more", 1, &[])],
        ..Default::default()
    };
    // An older client is not refused, only kept waiting.
    let mut old = Client::of(&cluster).await;
    let refused = client.send(&create).await;
    assert_eq!(
        refused.topics[0].error_code,
        ErrorCode::ThrottlingQuotaExceeded.code()
    );
    assert!(refused.throttle_time_ms > 30_000, "{}", refused.throttle_time_ms);
    let made = old.send_version(&create, 5).await;
    assert_eq!(made.topics[0].error_code, 0);
    assert!(made.throttle_time_ms > 30_000);
}

#[tokio::test]
async fn connections_are_limited_by_address_in_number_and_rate() {
    async fn is_served(cluster: &Cluster) -> Option<Client> {
        let mut client = Client::of(cluster).await;
        client.write(&MetadataRequest::default(), 9).await;
        client.read_frame().await.map(|_| client)
    }
    let cluster = start(&[
        ("max.connections.per.ip", "0"),
        ("max.connections.per.ip.overrides", "127.0.0.1:2"),
    ])
    .await;
    let (one, two) = (is_served(&cluster).await, is_served(&cluster).await);
    assert!(one.is_some() && two.is_some());
    assert!(is_served(&cluster).await.is_none());
    drop((one, two));
    let began = Instant::now();
    while is_served(&cluster).await.is_none() {
        assert!(began.elapsed() < PATIENCE, "places are given back");
    }

    let cluster = start(&SHORT).await;
    let mut client = Client::of(&cluster).await;
    alter(
        &mut client,
        &[(&[("ip", None)], &[set("connection_creation_rate", 3.0)])],
    )
    .await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(TcpStream::connect(cluster.addresses()[0]).await.unwrap());
    }
    let began = Instant::now();
    let mut closed = 0;
    for stream in &mut streams[3..] {
        closed += usize::from(
            tokio::io::AsyncReadExt::read(stream, &mut [0; 1])
                .await
                .is_ok_and(|n| n == 0),
        );
    }
    assert_eq!(closed, 7);
    assert!(
        began.elapsed() > Duration::from_millis(100),
        "they are closed late"
    );
    client.metadata(&[]).await;
}
