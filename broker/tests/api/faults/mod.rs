//! Faults on demand, each as a client sees it.

mod slow;
mod state;

use std::time::{Duration, Instant};

use heliostat_broker::{Cluster, Fault, FaultError, FaultKind, supported_apis};
use heliostat_wire::{
    ErrorCode,
    message::{
        ApiKey, FetchRequest, HeartbeatRequest, MetadataRequest, ProduceRequest, Request, ResponseHeader,
        decode_message,
    },
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::{
    client::{Client, PATIENCE, start, start_nodes},
    hostile::frames::good_frames,
    records::{batch, fetch, fetch_request, from_offset, id_of, produce, produce_request, values},
};

fn error(api: &str, error: &str) -> Fault {
    Fault {
        api: Some(api.to_owned()),
        error: Some(error.to_owned()),
        ..Fault::new(FaultKind::Error)
    }
}

fn add(cluster: &Cluster, fault: Fault) -> u64 {
    cluster.control().add_fault(fault).unwrap()
}

/// Hits and requests that fitted.
fn counts(cluster: &Cluster, id: u64) -> (u64, u64) {
    let faults = cluster.control().faults();
    let found = faults.iter().find(|status| status.id == id).unwrap();
    (found.hit, found.seen)
}

async fn code(client: &mut Client) -> ErrorCode {
    ErrorCode::from_code(produce(client, "t", 0, batch(&["x"])).await.error_code)
}

#[tokio::test]
async fn the_nth_requests_are_refused_and_leave_no_trace() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let id = add(
        &cluster,
        Fault {
            skip: Some(1),
            count: Some(2),
            ..error("Produce", "KAFKA_STORAGE_ERROR")
        },
    );
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(code(&mut client).await);
    }
    use ErrorCode::{KafkaStorageError, None};
    assert_eq!(codes, [None, KafkaStorageError, KafkaStorageError, None]);
    assert_eq!(counts(&cluster, id), (2, 3));
    assert!(cluster.control().faults()[0].done);
    assert_eq!(values(&fetch(&mut client, "t", 0).await.records).len(), 2);
    cluster.control().remove_fault(id).unwrap();
    assert_eq!(cluster.control().remove_fault(id), Err(FaultError::Unknown(id)));
}

#[tokio::test]
async fn only_what_fits_is_hit() {
    let cluster = start_nodes(2, &[]).await;
    let mut client = Client::of(&cluster).await;
    for name in ["t", "u"] {
        client
            .create_topic(name, 1, &[("min.insync.replicas", "1")])
            .await;
    }
    let (t, u) = (id_of(&mut client, "t").await, id_of(&mut client, "u").await);
    let request = |id| fetch_request(id, vec![from_offset(0, 0)]);
    let fetched =
        |response: <FetchRequest as Request>::Response| response.responses[0].partitions[0].error_code;
    let leader = client.metadata(&["t"]).await.topics[0].partitions[0].leader_id;
    let other = client.metadata(&["u"]).await.topics[0].partitions[0].leader_id;
    let mut of_t = Client::connect(cluster.addresses()[leader as usize - 1]).await;
    let mut of_u = Client::connect(cluster.addresses()[other as usize - 1]).await;
    // "test" is what these clients call themselves.
    for (fault, hits_t, hits_u) in [
        (
            Fault {
                topic: Some("t".to_owned()),
                ..error("Fetch", "1")
            },
            true,
            false,
        ),
        (
            Fault {
                client_id: Some("test".to_owned()),
                ..error("Fetch", "1")
            },
            true,
            true,
        ),
        (
            Fault {
                client_id: Some("other".to_owned()),
                ..error("Fetch", "1")
            },
            false,
            false,
        ),
        (
            Fault {
                node: Some(leader),
                ..error("Fetch", "1")
            },
            true,
            leader == other,
        ),
        (error("ListOffsets", "1"), false, false),
    ] {
        add(&cluster, fault.clone());
        // By id in the newest version, by name in older ones.
        let (seen_t, seen_u) = (of_t.send(&request(t)).await, of_u.send(&request(u)).await);
        assert_eq!(
            (fetched(seen_t) == 1, fetched(seen_u) == 1),
            (hits_t, hits_u),
            "{fault:?}"
        );
        let mut by_name = request(t);
        by_name.topics[0].topic = "t".to_owned();
        assert_eq!(
            fetched(of_t.send_version(&by_name, 11).await) == 1,
            hits_t,
            "{fault:?}"
        );
        assert_eq!(cluster.control().clear_faults(), 1);
    }
}

#[tokio::test]
async fn a_share_is_the_same_one_for_the_same_seed() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let beat = HeartbeatRequest {
        group_id: "g".to_owned(),
        ..Default::default()
    };
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let id = add(
            &cluster,
            Fault {
                fraction: Some(0.3),
                seed: Some(seed),
                ..error("Heartbeat", "27")
            },
        );
        let mut hit = Vec::new();
        for _ in 0..200 {
            hit.push(client.send(&beat).await.error_code == ErrorCode::RebalanceInProgress.code());
        }
        let (hits, seen) = counts(&cluster, id);
        assert_eq!(
            (hits as usize, seen),
            (hit.iter().filter(|hit| **hit).count(), 200)
        );
        assert!((30..90).contains(&hits), "{hits}");
        runs.push(hit);
        cluster.control().clear_faults();
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after_the_request_takes_effect() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let id = id_of(&mut client, "t").await;
    for (takes_effect, records) in [(false, 0), (true, 1)] {
        let cut = Fault {
            takes_effect: Some(takes_effect),
            count: Some(1),
            ..Fault::new(FaultKind::Cut)
        };
        add(
            &cluster,
            Fault {
                api: Some("Produce".to_owned()),
                ..cut
            },
        );
        let mut victim = Client::of(&cluster).await;
        victim.write(&produce_request(id, 0, batch(&["x"])), 13).await;
        assert_eq!(victim.read_frame().await, None);
        assert_eq!(fetch(&mut client, "t", 0).await.high_watermark, records);
    }
    assert_eq!(code(&mut client).await, ErrorCode::None);
}

#[tokio::test]
async fn a_delayed_request_is_answered_later_and_others_are_not() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let delay = Fault {
        delay_ms: Some(80),
        topic: Some("t".to_owned()),
        ..Fault::new(FaultKind::Delay)
    };
    add(&cluster, delay.clone());
    // Two of them add up.
    add(&cluster, delay.clone());
    let began = Instant::now();
    assert_eq!(client.metadata(&["t"]).await.topics[0].error_code, 0);
    assert!(began.elapsed() >= Duration::from_millis(160));
    // Also those that are younger than an error; of errors the oldest counts.
    for error in ["LEADER_NOT_AVAILABLE", "UNKNOWN_TOPIC_OR_PARTITION"] {
        let fault = Fault {
            error: Some(error.to_owned()),
            api: Some("Metadata".to_owned()),
            topic: Some("t".to_owned()),
            ..Fault::new(FaultKind::Error)
        };
        add(&cluster, fault);
    }
    add(&cluster, delay);
    let began = Instant::now();
    let answer = client.metadata(&["t"]).await;
    assert_eq!(answer.topics[0].error_code, ErrorCode::LeaderNotAvailable.code());
    assert!(began.elapsed() >= Duration::from_millis(240));
    cluster.control().clear_faults();
    add(
        &cluster,
        Fault {
            delay_ms: Some(3_600_000),
            api: Some("Heartbeat".to_owned()),
            ..Fault::new(FaultKind::Delay)
        },
    );
    let mut waiting = Client::of(&cluster).await;
    waiting.write(&HeartbeatRequest::default(), 4).await;
    client.metadata(&["t"]).await;
    // A shutdown does not wait for it.
    let began = Instant::now();
    cluster.shutdown(PATIENCE).await;
    assert!(began.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn connections_are_refused_as_often_as_asked() {
    let cluster = start_nodes(2, &[]).await;
    let id = add(
        &cluster,
        Fault {
            node: Some(2),
            count: Some(2),
            ..Fault::new(FaultKind::Refuse)
        },
    );
    Client::of(&cluster).await.metadata(&[]).await;
    for _ in 0..2 {
        // The system has accepted it before the broker closes it.
        if let Ok(stream) = TcpStream::connect(cluster.addresses()[1]).await {
            let mut byte = [0];
            let read = timeout(
                PATIENCE,
                tokio::io::AsyncReadExt::read(&mut { stream }, &mut byte),
            )
            .await
            .unwrap();
            assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        }
    }
    Client::connect(cluster.addresses()[1]).await.metadata(&[]).await;
    assert_eq!(counts(&cluster, id), (2, 2));
}

#[tokio::test]
async fn a_full_disk_takes_nothing_until_there_is_room() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    client.create_topic("u", 1, &[]).await;
    assert_eq!(code(&mut client).await, ErrorCode::None);
    let id = add(
        &cluster,
        Fault {
            topic: Some("t".to_owned()),
            ..Fault::new(FaultKind::FullDisk)
        },
    );
    assert_eq!(code(&mut client).await, ErrorCode::KafkaStorageError);
    assert_eq!(produce(&mut client, "u", 0, batch(&["x"])).await.error_code, 0);
    assert_eq!(values(&fetch(&mut client, "t", 0).await.records), ["x"]);
    assert!(counts(&cluster, id).0 > 0);
    cluster.control().remove_fault(id).unwrap();
    let recovered = async {
        while code(&mut client).await != ErrorCode::None {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, recovered)
        .await
        .expect("the log takes records again");
}

#[tokio::test]
async fn a_disk_that_forgets_is_told_to_producers_that_care() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[("flush.messages", "1")]).await;
    let id = add(&cluster, Fault::new(FaultKind::FailedFsync));
    assert_eq!(code(&mut client).await, ErrorCode::KafkaStorageError);
    assert!(counts(&cluster, id).0 > 0);
}

#[tokio::test]
async fn a_slow_disk_is_slow() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let id = add(
        &cluster,
        Fault {
            delay_ms: Some(100),
            ..Fault::new(FaultKind::SlowDisk)
        },
    );
    let began = Instant::now();
    assert_eq!(code(&mut client).await, ErrorCode::None);
    assert!(began.elapsed() >= Duration::from_millis(100));
    cluster.control().remove_fault(id).unwrap();
}

#[tokio::test]
async fn a_skewed_clock_shows_in_what_the_broker_stamps() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client
        .create_topic("t", 1, &[("message.timestamp.type", "LogAppendTime")])
        .await;
    let now = |client: &produce_type::Response| client.log_append_time_ms;
    let before = now(&produce(&mut client, "t", 0, batch(&["x"])).await);
    let hour = 3_600_000;
    let behind = Fault {
        ahead_ms: Some(-hour),
        ..Fault::new(FaultKind::Clock)
    };
    let id = add(&cluster, behind.clone());
    assert_eq!(cluster.control().add_fault(behind), Err(FaultError::There { id }));
    let skewed = now(&produce(&mut client, "t", 0, batch(&["x"])).await);
    assert!((before - skewed - hour).abs() < 60_000, "{before} {skewed}");
    cluster.control().remove_fault(id).unwrap();
    assert!(now(&produce(&mut client, "t", 0, batch(&["x"])).await) >= before);
}

mod produce_type {
    pub type Response = heliostat_wire::message::produce::PartitionProduceResponse;
}

#[tokio::test]
async fn records_without_acknowledgement_are_refused_by_closing() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    add(&cluster, error("Produce", "6"));
    let id = id_of(&mut client, "t").await;
    let request = ProduceRequest {
        acks: 0,
        ..produce_request(id, 0, batch(&["x"]))
    };
    client.write(&request, 13).await;
    assert_eq!(client.read_frame().await, None);
}

#[tokio::test]
async fn faults_are_bounded_in_number() {
    let cluster = start(&[]).await;
    let ids: Vec<_> = (0..100)
        .map(|_| add(&cluster, error("Heartbeat", "27")))
        .collect();
    assert_eq!(
        cluster.control().add_fault(error("Heartbeat", "27")),
        Err(FaultError::TooMany)
    );
    assert_eq!(ids.len(), cluster.control().clear_faults());
    Client::of(&cluster).await.send(&MetadataRequest::default()).await;
}

/// The response as its own type shows it.
fn shown(key: ApiKey, version: i16, frame: bytes::Bytes) -> String {
    macro_rules! shown {
        ($($name:ident $request:ident,)*) => {
            match key {
                $(ApiKey::$name => {
                    type Response = <heliostat_wire::message::$request as Request>::Response;
                    format!("{:?}", decode_message::<Response>(frame, version).unwrap())
                })*
                #[allow(unreachable_patterns)]
                other => panic!("{} has no place in this test yet: add it", other.name()),
            }
        };
    }
    shown! {
        Produce ProduceRequest,
        Fetch FetchRequest,
        ListOffsets ListOffsetsRequest,
        Metadata MetadataRequest,
        OffsetCommit OffsetCommitRequest,
        OffsetFetch OffsetFetchRequest,
        FindCoordinator FindCoordinatorRequest,
        JoinGroup JoinGroupRequest,
        Heartbeat HeartbeatRequest,
        LeaveGroup LeaveGroupRequest,
        SyncGroup SyncGroupRequest,
        DescribeGroups DescribeGroupsRequest,
        ListGroups ListGroupsRequest,
        SaslHandshake SaslHandshakeRequest,
        ApiVersions ApiVersionsRequest,
        CreateTopics CreateTopicsRequest,
        DeleteTopics DeleteTopicsRequest,
        DeleteRecords DeleteRecordsRequest,
        InitProducerId InitProducerIdRequest,
        OffsetForLeaderEpoch OffsetForLeaderEpochRequest,
        AddPartitionsToTxn AddPartitionsToTxnRequest,
        AddOffsetsToTxn AddOffsetsToTxnRequest,
        EndTxn EndTxnRequest,
        WriteTxnMarkers WriteTxnMarkersRequest,
        TxnOffsetCommit TxnOffsetCommitRequest,
        DescribeAcls DescribeAclsRequest,
        CreateAcls CreateAclsRequest,
        DescribeConfigs DescribeConfigsRequest,
        AlterConfigs AlterConfigsRequest,
        DescribeLogDirs DescribeLogDirsRequest,
        SaslAuthenticate SaslAuthenticateRequest,
        CreatePartitions CreatePartitionsRequest,
        DeleteGroups DeleteGroupsRequest,
        ElectLeaders ElectLeadersRequest,
        IncrementalAlterConfigs IncrementalAlterConfigsRequest,
        AlterPartitionReassignments AlterPartitionReassignmentsRequest,
        ListPartitionReassignments ListPartitionReassignmentsRequest,
        OffsetDelete OffsetDeleteRequest,
        DescribeClientQuotas DescribeClientQuotasRequest,
        AlterClientQuotas AlterClientQuotasRequest,
        ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribe ConsumerGroupDescribeRequest,
        ListConfigResources ListConfigResourcesRequest,
        DescribeTransactions DescribeTransactionsRequest,
        ListTransactions ListTransactionsRequest,
        DeleteAcls DeleteAclsRequest,
        DescribeUserScramCredentials DescribeUserScramCredentialsRequest,
        AlterUserScramCredentials AlterUserScramCredentialsRequest,
        DescribeCluster DescribeClusterRequest,
        DescribeQuorum DescribeQuorumRequest,
        UpdateFeatures UpdateFeaturesRequest,
        DescribeProducers DescribeProducersRequest,
        DescribeTopicPartitions DescribeTopicPartitionsRequest,
    }
}

/// Whatever an API's answer looks like, the code is in it, in every version.
#[tokio::test]
async fn every_version_of_every_api_can_be_refused() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 2, &[]).await;
    let id = id_of(&mut client, "t").await;
    // An API for which nobody has written a refusal cannot be chosen.
    let can = |name: &str| {
        cluster
            .control()
            .add_fault(error(name, "POLICY_VIOLATION"))
            .is_ok()
    };
    let refused: Vec<_> = supported_apis()
        .into_iter()
        .filter(|api| can(api.name))
        .map(|api| api.key)
        .collect();
    assert!(refused.len() >= 40, "{refused:?}");
    let expected = format!("error_code: {}", ErrorCode::PolicyViolation.code());
    for frame in good_frames(id).into_iter().map(|sample| sample.frame) {
        let key = ApiKey::from_code(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        if !refused.contains(&key.code()) {
            continue;
        }
        let mut client = Client::of(&cluster).await;
        client
            .stream
            .write_all(&(frame.len() as i32).to_be_bytes())
            .await
            .unwrap();
        client.stream.write_all(&frame).await.unwrap();
        let mut answer = client
            .read_frame()
            .await
            .unwrap_or_else(|| panic!("{} {version} is not answered", key.name()));
        ResponseHeader::decode(&mut answer, key, version).unwrap();
        let shown = shown(key, version, answer);
        assert!(shown.contains(&expected), "{} {version}: {shown}", key.name());
    }
}
