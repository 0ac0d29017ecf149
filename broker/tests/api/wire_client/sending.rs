//! The pipeline for Produce: order, one try for each batch, one report for each batch.

use std::{collections::HashMap, sync::Arc, time::Duration};

use heliostat_broker::{Cluster, Fault, FaultKind};
use heliostat_wire::{
    ErrorCode,
    builder::BatchBuilder,
    client::{Client, Config, Error, Failure, Outgoing, Report, Sender, SenderConfig},
    message::{
        ApiKey, MetadataResponse,
        metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
};
use tokio::sync::mpsc;

use super::{
    client_of, config,
    fake::{Fake, asks_versions, good, versions},
    fault, hasty, made, soon,
};
use crate::{
    client::{Client as Plain, start, start_nodes},
    records::{batch, fetch, fill, values},
};

struct Line {
    sender: Sender,
    reports: mpsc::Receiver<Vec<Report>>,
    early: Vec<Report>,
}

impl Line {
    fn new(client: Client, config: SenderConfig) -> Line {
        let (sender, reports) = mpsc::channel(4);
        Line {
            sender: Sender::new(client, config, sender),
            reports,
            early: Vec::new(),
        }
    }

    fn send(&self, slot: u32, partition: i32, tag: u64, batch: bytes::Bytes) {
        self.sender.send(Outgoing {
            slot,
            topic: "t".into(),
            partition,
            tag,
            batch,
        });
    }

    /// As many reports, in the order in which they come.
    async fn reports(&mut self, count: usize) -> Vec<Report> {
        soon(async {
            while self.early.len() < count {
                self.early.extend(self.reports.recv().await.unwrap());
            }
        })
        .await;
        self.early.drain(..count).collect()
    }
}

async fn with_topic(nodes: u16, partitions: i32) -> Cluster {
    let cluster = start_nodes(nodes, &[("default.replication.factor", &nodes.to_string())]).await;
    Plain::of(&cluster).await.create_topic("t", partitions, &[]).await;
    cluster
}

fn offset(report: &Report) -> i64 {
    report.result.as_ref().unwrap().base_offset
}

#[tokio::test]
async fn batches_of_a_slot_keep_their_order() {
    let cluster = with_topic(3, 6).await;
    let small = SenderConfig {
        request_bytes: 1000,
        ..Default::default()
    };
    let mut line = Line::new(client_of(&cluster), small);
    for slot in 0..6 {
        line.sender.open(slot, None);
    }
    const BATCHES: u64 = 200;
    for tag in 0..BATCHES {
        for slot in 0..6 {
            line.send(slot, slot as i32, tag, batch(&[&format!("{slot}-{tag}"), "x"]));
        }
    }
    let mut next: HashMap<u32, u64> = HashMap::new();
    for report in line.reports(6 * BATCHES as usize).await {
        let next = next.entry(report.slot).or_default();
        assert_eq!(
            (report.tag, offset(&report)),
            (*next, 2 * *next as i64),
            "slot {}",
            report.slot
        );
        *next += 1;
    }
    let leader = cluster.control().partition("t", 0).unwrap().0.unwrap();
    let mut plain = Plain::connect(cluster.addresses()[leader as usize - 1]).await;
    let expected: Vec<_> = (0..BATCHES).map(|tag| format!("0-{tag}")).collect();
    let found = values(&fetch(&mut plain, "t", 0).await.records);
    assert!(found.iter().step_by(2).eq(&expected), "{found:?}");
}

#[tokio::test]
async fn nothing_overtakes_what_was_refused() {
    let cluster = with_topic(1, 2).await;
    let mut line = Line::new(client_of(&cluster), SenderConfig::default());
    let first_refused = Fault {
        error: Some("NOT_ENOUGH_REPLICAS".to_owned()),
        skip: Some(3),
        count: Some(1),
        ..fault(FaultKind::Error, "Produce")
    };
    cluster.control().add_fault(first_refused).unwrap();
    line.sender.open(0, None);
    line.sender.open(1, None);
    // Idempotent batches, whose sequences the broker looks at.
    let producer = |number: i32| {
        fill(
            BatchBuilder::new().producer(77, 0, number),
            &[&number.to_string()],
        )
    };
    for number in 0..3 {
        line.send(0, 0, number as u64, producer(number));
    }
    let reports = line.reports(3).await;
    assert!(reports.iter().map(offset).eq(0..3));
    for number in 3..40 {
        line.send(0, 0, number as u64, producer(number));
    }
    let reports = line.reports(37).await;
    assert!(reports.iter().map(|report| report.tag).eq(3..40), "{reports:?}");
    assert!(matches!(
        reports[0].result,
        Err(Failure::Refused {
            code: ErrorCode::NotEnoughReplicas,
            ..
        })
    ));
    // What was on its way then is refused for its sequence; the rest was not sent.
    for report in &reports[1..] {
        let failure = report.result.as_ref().unwrap_err();
        assert!(!failure.may_be_there(), "{failure:?}");
    }
    line.send(0, 0, 40, producer(3));
    line.send(1, 1, 0, batch(&["neighbour"]));
    let mut reports = line.reports(2).await;
    reports.sort_by_key(|report| report.slot);
    let Err(Failure::NotSent(error)) = &reports[0].result else {
        panic!("{reports:?}");
    };
    assert_eq!(error.code(), Some(ErrorCode::NotEnoughReplicas));
    assert_eq!(offset(&reports[1]), 0);
    line.sender.open(0, None);
    line.send(0, 0, 41, producer(3));
    assert_eq!(offset(&line.reports(1).await[0]), 3);
    line.sender.close(0);
    line.send(0, 0, 42, producer(4));
    let closed = line.reports(1).await;
    assert!(matches!(
        closed[0].result,
        Err(Failure::NotSent(Error::SlotClosed { slot: 0 }))
    ));
}

#[tokio::test]
async fn a_cut_connection_leaves_doubt_about_what_was_out_and_none_about_the_rest() {
    let cluster = with_topic(1, 1).await;
    let narrow = SenderConfig {
        in_flight_requests: 2,
        ..Default::default()
    };
    let mut line = Line::new(client_of(&cluster), narrow);
    line.sender.open(0, None);
    let cut = Fault {
        takes_effect: Some(true),
        count: Some(1),
        ..fault(FaultKind::Cut, "Produce")
    };
    cluster.control().add_fault(cut).unwrap();
    for tag in 0..20 {
        line.send(0, 0, tag, batch(&[&tag.to_string()]));
    }
    let reports = line.reports(20).await;
    assert!(reports.iter().map(|report| report.tag).eq(0..20), "{reports:?}");
    let unclear = reports
        .iter()
        .take_while(|report| matches!(report.result, Err(Failure::Unclear(_))))
        .count();
    assert!((1..=2).contains(&unclear), "{reports:?}");
    for report in &reports[unclear..] {
        assert!(matches!(report.result, Err(Failure::NotSent(_))), "{report:?}");
    }
    line.sender.open(0, None);
    line.send(0, 0, 20, batch(&["after"]));
    let after = offset(&line.reports(1).await[0]);
    assert!((1..=2).contains(&after), "{after}");
}

#[tokio::test]
async fn a_leader_that_moved_is_refused_once_and_found_then() {
    let cluster = with_topic(3, 1).await;
    let client = client_of(&cluster);
    let mut line = Line::new(client.clone(), SenderConfig::default());
    line.sender.open(0, None);
    line.send(0, 0, 0, batch(&["x"]));
    assert_eq!(offset(&line.reports(1).await[0]), 0);
    let leader = cluster.control().partition("t", 0).unwrap().0.unwrap();
    cluster
        .control()
        .move_leader("t", 0, leader % 3 + 1)
        .await
        .unwrap();
    line.send(0, 0, 1, batch(&["x"]));
    let reports = line.reports(1).await;
    assert!(matches!(
        reports[0].result,
        Err(Failure::Refused {
            code: ErrorCode::NotLeaderOrFollower,
            ..
        })
    ));
    // The answer said who leads now (KIP-951).
    assert_eq!(
        client.cached_leader("t", 0).map(|leader| leader.node),
        Some(leader % 3 + 1)
    );
    line.sender.open(0, None);
    line.send(0, 0, 2, batch(&["x"]));
    assert_eq!(offset(&line.reports(1).await[0]), 1);
    // Nobody leads what is on a node that is away, until somebody else does.
    let leader = leader % 3 + 1;
    cluster.control().stop_node(leader).await.unwrap();
    soon(async {
        for tag in 3.. {
            line.sender.open(0, None);
            line.send(0, 0, tag, batch(&["x"]));
            match &line.reports(1).await[0].result {
                Ok(acked) => return assert_eq!(acked.base_offset, 2),
                Err(Failure::Unclear(error) | Failure::NotSent(error)) => {
                    assert!(error.is_retriable(), "{error}")
                }
                Err(Failure::Refused { code, .. }) => assert!(code.is_retriable(), "{code}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_reported() {
    let cluster = start(&[("auto.create.topics.enable", "false")]).await;
    let mut line = Line::new(made(hasty(cluster.addresses())), SenderConfig::default());
    line.sender.open(0, None);
    for tag in 0..3 {
        line.send(0, 0, tag, batch(&["x"]));
    }
    for report in line.reports(3).await {
        assert!(
            matches!(&report.result, Err(Failure::NotSent(Error::UnknownTopic { .. }))),
            "{report:?}"
        );
    }
    let mut plain = Plain::of(&cluster).await;
    plain.create_topic("t", 1, &[("max.message.bytes", "200")]).await;
    line.sender.open(0, None);
    line.send(0, 0, 3, batch(&[&"x".repeat(300)]));
    let large = line.reports(1).await;
    assert!(
        matches!(
            &large[0].result,
            Err(Failure::Refused {
                code: ErrorCode::MessageTooLarge,
                ..
            })
        ),
        "{large:?}"
    );
}

#[tokio::test]
async fn a_broker_that_never_answers_is_not_waited_for() {
    let fake = Arc::new(std::sync::OnceLock::<u16>::new());
    let port = fake.clone();
    let server = Fake::start(move |asked| {
        if asks_versions(asked) {
            return good(
                asked,
                &versions(&[(ApiKey::Metadata, Some(9)), (ApiKey::Produce, None)]),
            );
        }
        if asked.header.api_key != ApiKey::Metadata.code() {
            return (Vec::new(), true);
        }
        let answer = MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 5,
                host: "127.0.0.1".to_owned(),
                port: i32::from(*port.get().unwrap()),
                rack: None,
            }],
            topics: vec![MetadataResponseTopic {
                name: Some("t".to_owned()),
                partitions: vec![MetadataResponsePartition {
                    leader_id: 5,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        good(asked, &answer)
    })
    .await;
    fake.set(server.address.port()).unwrap();
    let client = made(Config {
        request_timeout: Duration::from_millis(100),
        ..config(&[server.address])
    });
    let hasty = SenderConfig {
        timeout: Duration::from_millis(100),
        in_flight_requests: 2,
        ..Default::default()
    };
    let mut line = Line::new(client, hasty);
    line.sender.open(9, None);
    for tag in 0..5 {
        line.send(9, 0, tag, batch(&["x"]));
    }
    let reports = line.reports(5).await;
    let unclear: Vec<_> = reports
        .iter()
        .map(|report| matches!(report.result, Err(Failure::Unclear(_))))
        .collect();
    assert_eq!(unclear, [true, true, false, false, false], "{reports:?}");
    assert!(
        matches!(reports[0].result, Err(Failure::Unclear(Error::TimedOut { .. }))),
        "{reports:?}"
    );
    // Topics without ids go by name, in the last version that has names.
    let produced = server
        .seen
        .lock()
        .unwrap()
        .iter()
        .find(|seen| seen.0 == 0)
        .map(|seen| seen.1);
    assert_eq!(produced, Some(12));
}
