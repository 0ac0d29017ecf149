//! Leaders and coordinators: how they are found, and found again.

use heliostat_broker::{Cluster, Fault, FaultKind};
use heliostat_wire::{
    ErrorCode,
    client::{Client, CoordinatorType, Error},
};

use super::{client_of, fault, soon};
use crate::client::{Client as Plain, start_nodes};

async fn with_topic(properties: &[(&str, &str)]) -> (Cluster, Client) {
    let properties = [&[("default.replication.factor", "3")], properties].concat();
    let cluster = start_nodes(3, &properties).await;
    Plain::of(&cluster).await.create_topic("t", 4, &[]).await;
    let client = client_of(&cluster);
    (cluster, client)
}

fn other_than(node: i32) -> i32 {
    node % 3 + 1
}

#[tokio::test]
async fn a_leader_that_has_moved_is_found_by_asking_again() {
    let (cluster, client) = with_topic(&[]).await;
    let before = soon(client.leader("t", 1)).await.unwrap();
    assert_eq!(cluster.control().partition("t", 1).unwrap().0, Some(before.node));
    assert!(before.topic_id.is_some() && before.epoch >= 0);
    let to = other_than(before.node);
    cluster.control().move_leader("t", 1, to).await.unwrap();
    assert_eq!(client.cached_leader("t", 1), Some(before));
    client.stale_leader("t", 1, before.epoch);
    assert_eq!(client.cached_leader("t", 1), None);
    let after = soon(client.leader("t", 1)).await.unwrap();
    assert_eq!((after.node, after.topic_id), (to, before.topic_id));
    assert!(after.epoch > before.epoch);
    // What comes late is about the leader before.
    client.stale_leader("t", 1, before.epoch);
    assert_eq!(client.cached_leader("t", 1), Some(after));
}

#[tokio::test]
async fn a_leader_that_is_told_needs_no_question() {
    let (cluster, client) = with_topic(&[]).await;
    let before = soon(client.leader("t", 0)).await.unwrap();
    let to = other_than(before.node);
    cluster.control().move_leader("t", 0, to).await.unwrap();
    client.note_leader("t", 0, to, before.epoch);
    assert_eq!(client.cached_leader("t", 0), Some(before));
    client.note_leader("t", 0, to, before.epoch + 1);
    let told = client.cached_leader("t", 0).unwrap();
    assert_eq!((told.node, told.epoch), (to, before.epoch + 1));
    // A node that nobody has heard of is found where the answer said.
    let address = cluster.addresses()[0];
    client.note_endpoint(77, &address.ip().to_string(), address.port().into());
    assert!(
        soon(client.connection(77, heliostat_wire::client::Lane(0)))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn many_askers_make_few_questions() {
    let cluster = start_nodes(3, &[]).await;
    let mut plain = Plain::of(&cluster).await;
    for number in 0..30 {
        plain.create_topic(&format!("t{number}"), 2, &[]).await;
    }
    let slow = Fault {
        delay_ms: Some(30),
        client_id: Some("test".to_owned()),
        ..fault(FaultKind::Delay, "Metadata")
    };
    // The plain client calls itself so, too, but asks nothing more.
    drop(plain);
    let client = client_of(&cluster);
    cluster.control().add_fault(slow).unwrap();
    let mut askers = tokio::task::JoinSet::new();
    for number in 0..300 {
        let client = client.clone();
        askers.spawn(async move { client.leader(&format!("t{}", number % 30), number / 30 % 2).await });
    }
    soon(async {
        while let Some(leader) = askers.join_next().await {
            assert!((1..=3).contains(&leader.unwrap().unwrap().node));
        }
    })
    .await;
    let asked = cluster.control().faults()[0].hit;
    assert!(asked <= 3, "{asked}");
}

#[tokio::test]
async fn what_has_no_leader_is_told_and_not_asked_for_all_the_time() {
    let (cluster, client) = with_topic(&[]).await;
    let unknown = soon(client.leader("none", 0)).await.unwrap_err();
    assert!(
        matches!(&unknown, Error::UnknownTopic { topic } if topic == "none"),
        "{unknown}"
    );
    assert_eq!(unknown.code(), Some(ErrorCode::UnknownTopicOrPartition));
    let unknown = soon(client.leader("t", 4)).await.unwrap_err();
    assert!(
        matches!(unknown, Error::UnknownPartition { partition: 4, .. }),
        "{unknown}"
    );
    let refused = Fault {
        error: Some("TOPIC_AUTHORIZATION_FAILED".to_owned()),
        topic: Some("u".to_owned()),
        ..fault(FaultKind::Error, "Metadata")
    };
    Plain::of(&cluster).await.create_topic("u", 1, &[]).await;
    let id = cluster.control().add_fault(refused).unwrap();
    for _ in 0..4 {
        let error = soon(client.leader("u", 0)).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::TopicAuthorizationFailed), "{error}");
        assert!(!error.is_retriable());
    }
    cluster.control().remove_fault(id).unwrap();
    soon(client.leader("u", 0)).await.unwrap();
    // Nothing is created by asking.
    let told = soon(client.metadata_of_all(None)).await.unwrap();
    let (answer, all) = told.expect("nothing was told before");
    let again = soon(client.metadata_of_all(Some(&answer))).await.unwrap();
    assert!(again.is_none(), "it has not changed: {again:?}");
    let mut names: Vec<_> = all
        .topics
        .iter()
        .filter_map(|topic| topic.name.as_deref())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["t", "u"]);
    let two = soon(client.metadata(&["t".to_owned(), "none".to_owned()]))
        .await
        .unwrap();
    let mut codes: Vec<_> = two.topics.iter().map(|topic| topic.error_code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
}

#[tokio::test]
async fn coordinators_are_found_and_found_again() {
    let (cluster, client) = with_topic(&[]).await;
    assert_eq!(
        soon(client.cluster_id()).await.unwrap().as_deref(),
        Some(cluster.cluster_id())
    );
    for kind in [CoordinatorType::Group, CoordinatorType::Transaction] {
        let node = soon(client.coordinator(kind, "x")).await.unwrap();
        cluster.control().stop_node(node).await.unwrap();
        assert_eq!(soon(client.coordinator(kind, "x")).await.unwrap(), node);
        soon(async {
            loop {
                client.stale_coordinator(kind, "x");
                match client.coordinator(kind, "x").await {
                    Ok(other) if other != node => break,
                    Ok(_) => {}
                    Err(error) => assert!(error.is_retriable(), "{error}"),
                }
            }
        })
        .await;
        cluster.control().start_node(node).await.unwrap();
    }
    // Many at once are one question.
    let id = cluster
        .control()
        .add_fault(Fault {
            delay_ms: Some(30),
            ..fault(FaultKind::Delay, "FindCoordinator")
        })
        .unwrap();
    let mut askers = tokio::task::JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        askers.spawn(async move {
            client
                .coordinator(CoordinatorType::Group, &format!("g{number}"))
                .await
        });
    }
    soon(async {
        while let Some(node) = askers.join_next().await {
            assert!((1..=3).contains(&node.unwrap().unwrap()));
        }
    })
    .await;
    let hit = cluster
        .control()
        .faults()
        .iter()
        .find(|fault| fault.id == id)
        .map(|fault| fault.hit);
    assert!(hit <= Some(3), "{hit:?}");
}
