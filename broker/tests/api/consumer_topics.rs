//! What members of the consumer protocol (KIP-848) read: what Apache Kafka assigns to them as subscriptions, topics and
//! members change. How the answers were recorded is told in `consumer_groups`.

use expect_test::{Expect, expect};

use crate::consumer_script::run;
use crate::group_script::check_with;

async fn check(script: &'static str, expected: Expect) {
    check_with(run, script, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_change() {
    check(
        "topic t 2
         topic u 2
         join a reads=t
         beat a reads=t,u
         beat a reads=u
         beat a owns=u:0,1
         beat a reads=ghost
         beat a owns=nothing
         describe
         beat a reads=u,t timeout=60000 owns=nothing
         beat a timeout=1000
         beat a rack=r1 assignor=range
         describe",
        expect![[r#"
            > topic t 2
            > topic u 2
            > join a reads=t
              NONE a epoch 1 interval 5000 [t:[0, 1]]
            > beat a reads=t,u
              NONE a epoch 2 interval 5000 [t:[0, 1] u:[0, 1]]
            > beat a reads=u
              NONE a epoch 2 interval 5000 [u:[0, 1]]
            > beat a owns=u:0,1
              NONE a epoch 3 interval 5000
            > beat a reads=ghost
              NONE a epoch 3 interval 5000 []
            > beat a owns=nothing
              NONE a epoch 4 interval 5000
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 4, assignment_epoch: 4, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 4, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: ["ghost"], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [] }, target_assignment: Assignment { topic_partitions: [] }, member_type: 1 }], authorized_operations: -2147483648 }] }
            > beat a reads=u,t timeout=60000 owns=nothing
              NONE a epoch 5 interval 5000 [t:[0, 1] u:[0, 1]]
            > beat a timeout=1000
              NONE a epoch 5 interval 5000
            > beat a rack=r1 assignor=range
              NONE a epoch 5 interval 5000
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 5, assignment_epoch: 5, assignor_name: "range", members: [Member { member_id: "a", instance_id: None, rack_id: Some("r1"), member_epoch: 5, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t, u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }, TopicPartitions { u, partitions: [0, 1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }, TopicPartitions { u, partitions: [0, 1] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_with_different_subscriptions() {
    check(
        "topic t 4
         topic u 2
         join a reads=t
         join b reads=t,u
         beat a
         beat a owns=told
         gets b 3
         join c reads=u
         beat b owns=told
         beat b owns=told
         beat c
         beat a owns=told
         beat b owns=told
         beat c
         describe",
        expect![[r#"
            > topic t 4
            > topic u 2
            > join a reads=t
              NONE a epoch 1 interval 5000 [t:[0, 1, 2, 3]]
            > join b reads=t,u
              NONE b epoch 2 interval 5000 [u:[0, 1]]
            > beat a
              NONE a epoch 1 interval 5000 [t:[0, 1, 2]]
            > beat a owns=told
              NONE a epoch 2 interval 5000
            > gets b 3
              b has [t:[3] u:[0, 1]]
            > join c reads=u
              NONE c epoch 3 interval 5000 []
            > beat b owns=told
              NONE b epoch 2 interval 5000 [t:[3] u:[0]]
            > beat b owns=told
              NONE b epoch 3 interval 5000
            > beat c
              NONE c epoch 3 interval 5000 [u:[1]]
            > beat a owns=told
              NONE a epoch 3 interval 5000
            > beat b owns=told
              NONE b epoch 3 interval 5000
            > beat c
              NONE c epoch 3 interval 5000
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 3, assignment_epoch: 3, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 3, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2] }] }, member_type: 1 }, Member { member_id: "b", instance_id: None, rack_id: None, member_epoch: 3, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t, u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [3] }, TopicPartitions { u, partitions: [0] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [3] }, TopicPartitions { u, partitions: [0] }] }, member_type: 1 }, Member { member_id: "c", instance_id: None, rack_id: None, member_epoch: 3, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { u, partitions: [1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { u, partitions: [1] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_range_assignor() {
    check(
        "topic t 5
         topic u 3
         join c reads=t,u assignor=range
         join b reads=t,u assignor=range
         join a reads=t,u assignor=range
         beat c
         gets c 2
         gets b 3
         gets a 3
         describe
         join d reads=u assignor=range instance=one
         until c 4
         until a 4
         until b 4
         gets c 1
         gets a 3
         gets b 3
         gets d 1
         describe",
        expect![[r#"
            > topic t 5
            > topic u 3
            > join c reads=t,u assignor=range
              NONE c epoch 1 interval 5000 [t:[0, 1, 2, 3, 4] u:[0, 1, 2]]
            > join b reads=t,u assignor=range
              NONE b epoch 2 interval 5000 []
            > join a reads=t,u assignor=range
              NONE a epoch 3 interval 5000 []
            > beat c
              NONE c epoch 1 interval 5000 [t:[4] u:[2]]
            > gets c 2
              c has [t:[4] u:[2]]
            > gets b 3
              b has [t:[2, 3] u:[1]]
            > gets a 3
              a has [t:[0, 1] u:[0]]
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 3, assignment_epoch: 3, assignor_name: "range", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 3, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t, u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }, TopicPartitions { u, partitions: [0] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }, TopicPartitions { u, partitions: [0] }] }, member_type: 1 }, Member { member_id: "b", instance_id: None, rack_id: None, member_epoch: 3, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t, u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }, TopicPartitions { u, partitions: [1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }, TopicPartitions { u, partitions: [1] }] }, member_type: 1 }, Member { member_id: "c", instance_id: None, rack_id: None, member_epoch: 3, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t, u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [4] }, TopicPartitions { u, partitions: [2] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [4] }, TopicPartitions { u, partitions: [2] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
            > join d reads=u assignor=range instance=one
              NONE d epoch 4 interval 5000 []
            > until c 4
              NONE c epoch 4 interval 5000
            > until a 4
              NONE a epoch 4 interval 5000
            > until b 4
              NONE b epoch 4 interval 5000 [t:[2, 3] u:[2]]
            > gets c 1
              c has [t:[4]]
            > gets a 3
              a has [t:[0, 1] u:[1]]
            > gets b 3
              b has [t:[2, 3] u:[2]]
            > gets d 1
              d has [u:[0]]
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 4, assignment_epoch: 4, assignor_name: "range", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 4, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t, u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }, TopicPartitions { u, partitions: [1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }, TopicPartitions { u, partitions: [1] }] }, member_type: 1 }, Member { member_id: "b", instance_id: None, rack_id: None, member_epoch: 4, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t, u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }, TopicPartitions { u, partitions: [2] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }, TopicPartitions { u, partitions: [2] }] }, member_type: 1 }, Member { member_id: "c", instance_id: None, rack_id: None, member_epoch: 4, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t, u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [4] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [4] }] }, member_type: 1 }, Member { member_id: "d", instance_id: Some("one"), rack_id: None, member_epoch: 4, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { u, partitions: [0] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { u, partitions: [0] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_change_while_a_group_runs() {
    check(
        "topic t 1
         join a reads=t,u
         topic u 2
         gets a 3
         grow t 3
         gets a 5
         drop u
         gets a 3
         describe",
        expect![[r#"
            > topic t 1
            > join a reads=t,u
              NONE a epoch 1 interval 5000 [t:[0]]
            > topic u 2
            > gets a 3
              a has [t:[0] u:[0, 1]]
            > grow t 3
            > gets a 5
              a has [t:[0, 1, 2] u:[0, 1]]
            > drop u
            > gets a 3
              a has [t:[0, 1, 2]]
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 4, assignment_epoch: 4, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 4, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t, u], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn regular_expressions() {
    check(
        "topic xa 1
         topic xb 2
         topic y 1
         join a regex=^x.* quiet=true
         gets a 3
         join b regex=^x.* reads=y quiet=true
         gets a 2 quiet=true
         gets b 2 quiet=true
         beat b regex=(
         beat b regex= quiet=true
         gets b 1
         gets a 3
         gets b 1",
        expect![[r#"
            > topic xa 1
            > topic xb 2
            > topic y 1
            > join a regex=^x.* quiet=true
            > gets a 3
              a has [xa:[0] xb:[0, 1]]
            > join b regex=^x.* reads=y quiet=true
            > gets a 2 quiet=true
              a has 2
            > gets b 2 quiet=true
              b has 2
            > beat b regex=(
              INVALID_REGULAR_EXPRESSION (in words)
            > beat b regex= quiet=true
            > gets b 1
              b has [y:[0]]
            > gets a 3
              a has [xa:[0] xb:[0, 1]]
            > gets b 1
              b has [y:[0]]
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_change_their_protocol_when_they_are_empty() {
    check(
        "topic t 1
         commit - -1
         list
         join a reads=t
         fetch - -1
         describe
         leave a
         classic-join
         fetch - -1
         list
         describe",
        expect![[r#"
            > topic t 1
            > commit - -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: t, partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "", group_state: "Empty", group_type: "classic" }] }
            > join a reads=t
              NONE a epoch 1 interval 5000 [t:[0]]
            > fetch - -1
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: t, partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 1, assignment_epoch: 1, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 1, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
            > leave a
              NONE a epoch -1
            > classic-join
              NONE generation 1
            > fetch - -1
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: t, partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "CompletingRebalance", group_type: "classic" }] }
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: GROUP_ID_NOT_FOUND, error_message: Some("(in words)"), group_id: GROUP, group_state: "", group_epoch: 0, assignment_epoch: 0, assignor_name: "", members: [], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_timeouts_of_its_own() {
    check(
        "topic t 1
         configure consumer.heartbeat.interval.ms=700 consumer.session.timeout.ms=1000
         join a reads=t
         join b reads=t
         configure consumer.heartbeat.interval.ms=1000
         configure consumer.heartbeat.interval.ms=99
         configure consumer.session.timeout.ms=60001
         configure consumer.session.timeout.ms=many
         configure nonsense=1
         configure consumer.heartbeat.interval.ms=500
         until a 3
         beat b
         describe",
        expect![[r#"
            > topic t 1
            > configure consumer.heartbeat.interval.ms=700 consumer.session.timeout.ms=1000
              NONE
            > join a reads=t
              NONE a epoch 1 interval 700 [t:[0]]
            > join b reads=t
              NONE b epoch 2 interval 700 []
            > configure consumer.heartbeat.interval.ms=1000
              INVALID_CONFIG
            > configure consumer.heartbeat.interval.ms=99
              INVALID_CONFIG
            > configure consumer.session.timeout.ms=60001
              INVALID_CONFIG
            > configure consumer.session.timeout.ms=many
              INVALID_CONFIG
            > configure nonsense=1
              INVALID_CONFIG
            > configure consumer.heartbeat.interval.ms=500
              NONE
            > until a 3
              NONE a epoch 3 interval 500
            > beat b
              UNKNOWN_MEMBER_ID (in words)
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 3, assignment_epoch: 3, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 3, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}
