//! Groups of the consumer protocol (KIP-848) across restarts of the cluster, and in great numbers.

use std::collections::BTreeMap;
use std::path::Path;

use heliostat_broker::{Cluster, ClusterConfig};
use heliostat_wire::ErrorCode;
use heliostat_wire::message::consumer_group_heartbeat::TopicPartitions;
use heliostat_wire::message::create_topics::CreatableTopic;
use heliostat_wire::message::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    CreateTopicsRequest,
};

use crate::group_script::{Client, TIMEOUT, find_coordinator};

/// A member: its epoch and partitions.
#[derive(Debug, Default, Clone, PartialEq)]
struct Member {
    id: String,
    instance: Option<String>,
    epoch: i32,
    told: Vec<TopicPartitions>,
}

impl Member {
    fn new(id: &str, instance: Option<&str>) -> Self {
        Member {
            id: id.into(),
            instance: instance.map(str::to_owned),
            ..Member::default()
        }
    }

    /// Joins, or acknowledges what it was told.
    fn beat(&mut self, client: &mut Client) -> ConsumerGroupHeartbeatResponse {
        let joins = self.epoch == 0;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: if joins { 60_000 } else { -1 },
            subscribed_topic_names: joins.then(|| vec!["t".into()]),
            topic_partitions: Some(if joins { Vec::new() } else { self.told.clone() }),
            ..Default::default()
        };
        let response = client.call(1, &request);
        assert_eq!(
            ErrorCode::from_code(response.error_code),
            ErrorCode::None,
            "{response:?}"
        );
        self.epoch = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            self.told.clone_from(&assignment.topic_partitions);
        }
        response
    }

    fn partitions(&self) -> usize {
        self.told.iter().map(|topic| topic.partitions.len()).sum()
    }
}

async fn start(data: &Path) -> (Cluster, String) {
    let config = ClusterConfig {
        data: Some(data.to_owned()),
        properties: BTreeMap::new(),
        ..Default::default()
    };
    let cluster = Cluster::start(config).await.expect("start");
    let address = cluster.bootstrap_servers();
    (cluster, address)
}

/// Talks to a broker without keeping the runtime.
async fn talk<T: Send + 'static>(address: String, talk: impl FnOnce(&mut Client) -> T + Send + 'static) -> T {
    let conversation = move || {
        let mut client = Client::connect(&address);
        find_coordinator(&mut client, "g");
        talk(&mut client)
    };
    tokio::task::spawn_blocking(conversation)
        .await
        .expect("the conversation")
}

fn create(client: &mut Client, num_partitions: i32) {
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(client.call(7, &request).topics[0].error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_go_on_where_they_were_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, address) = start(directory.path()).await;
    let (mut members, described) = talk(address, |client| {
        create(client, 4);
        let mut members = [
            Member::new("a", None),
            Member::new("b", Some("static")),
            Member::new("c", None),
        ];
        // The third has just joined, and waits for what the others are to give up.
        for index in [0, 1, 0, 0, 1, 2] {
            members[index].beat(client);
        }
        assert_eq!(members.each_ref().map(Member::partitions), [2, 2, 0]);
        (members, describe(client))
    })
    .await;
    cluster.shutdown(TIMEOUT).await;

    let (cluster, address) = start(directory.path()).await;
    talk(address, move |client| {
        assert_eq!(describe(client), described);
        let epochs = members.each_ref().map(|member| member.epoch);
        for (member, epoch) in members.iter_mut().zip(epochs) {
            let response = member.beat(client);
            assert!(response.member_epoch >= epoch);
        }
        // What was under way goes on.
        for _ in 0..3 {
            members.iter_mut().for_each(|member| drop(member.beat(client)));
        }
        let mut counts = members.each_ref().map(Member::partitions);
        counts.sort_unstable();
        assert_eq!(counts, [1, 1, 2]);
        assert!(members.iter().all(|member| member.epoch == 3), "{members:?}");
    })
    .await;
    cluster.shutdown(TIMEOUT).await;
}

fn describe(client: &mut Client) -> String {
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec!["g".into()],
        ..Default::default()
    };
    format!("{:?}", client.call(1, &request))
}
