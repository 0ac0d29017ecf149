//! Groups of the consumer protocol (KIP-848) as clients see them: what Apache Kafka answers to right calls and wrong ones.
//!
//! As in `groups`, the expected answers were recorded from Apache Kafka 4.2. To record them again, start one with
//! `group.initial.rebalance.delay.ms=100`, `group.min.session.timeout.ms=1000`, `group.consumer.min.session.timeout.ms=1000` and
//! `group.consumer.min.heartbeat.interval.ms=100`, and put its address into `HELIOSTAT_TEST_KAFKA`.

use expect_test::{Expect, expect};

use crate::consumer_script::run;
use crate::group_script::check_with;

async fn check(script: &'static str, expected: Expect) {
    check_with(run, script, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_works_and_leaves() {
    check(
        "topic t 3
         describe
         list
         beat a epoch=1
         join a reads=t
         beat a
         describe
         describe v=0
         classic
         classic v=5
         list
         list state=stable type=CONSUMER
         list type=classic
         list state=Empty
         commit a 1
         commit a 1 v=8
         commit a 0
         commit a 2
         commit b 1
         commit - -1
         fetch - -1
         fetch a 1
         fetch a 2
         fetch b 1
         forget t
         delete
         leave a
         describe
         list
         forget t
         commit - -1
         fetch - -1
         delete
         describe
         list",
        expect![[r#"
            > topic t 3
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: GROUP_ID_NOT_FOUND, error_message: Some("(in words)"), group_id: GROUP, group_state: "", group_epoch: 0, assignment_epoch: 0, assignor_name: "", members: [], authorized_operations: -2147483648 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [] }
            > beat a epoch=1
              GROUP_ID_NOT_FOUND (in words)
            > join a reads=t
              NONE a epoch 1 interval 5000 [t:[0, 1, 2]]
            > beat a
              NONE a epoch 1 interval 5000
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 1, assignment_epoch: 1, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 1, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
            > describe v=0
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 1, assignment_epoch: 1, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 1, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2] }] }, member_type: -1 }], authorized_operations: -2147483648 }] }
            > classic
              DescribeGroupsResponse { groups: [DescribedGroup { error: GROUP_ID_NOT_FOUND, error_message: Some("(in words)"), group_id: GROUP, group_state: "Dead", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > classic v=5
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Dead", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "Stable", group_type: "consumer" }] }
            > list state=stable type=CONSUMER
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "Stable", group_type: "consumer" }] }
            > list type=classic
              ListGroupsResponse { error: NONE, groups: [] }
            > list state=Empty
              ListGroupsResponse { error: NONE, groups: [] }
            > commit a 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: t, partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit a 1 v=8
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: t, partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNSUPPORTED_VERSION }] }] }
            > commit a 0
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: t, partitions: [OffsetCommitResponsePartition { partition_index: 0, error: STALE_MEMBER_EPOCH }] }] }
            > commit a 2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: t, partitions: [OffsetCommitResponsePartition { partition_index: 0, error: STALE_MEMBER_EPOCH }] }] }
            > commit b 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: t, partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit - -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: t, partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > fetch - -1
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: t, partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > fetch a 1
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: t, partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > fetch a 2
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [], error: STALE_MEMBER_EPOCH }] }
            > fetch b 1
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [], error: UNKNOWN_MEMBER_ID }] }
            > forget t
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: t, partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: GROUP_SUBSCRIBED_TO_TOPIC }] }] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: NON_EMPTY_GROUP }] }
            > leave a
              NONE a epoch -1
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", group_epoch: 2, assignment_epoch: 1, assignor_name: "uniform", members: [], authorized_operations: -2147483648 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "Empty", group_type: "consumer" }] }
            > forget t
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: t, partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit - -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: t, partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch - -1
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: t, partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: NONE }] }
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: GROUP_ID_NOT_FOUND, error_message: Some("(in words)"), group_id: GROUP, group_state: "", group_epoch: 0, assignment_epoch: 0, assignor_name: "", members: [], authorized_operations: -2147483648 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_in_three_steps() {
    check(
        "topic t 4
         join a reads=t
         join b reads=t
         beat a
         describe
         beat b
         beat a owns=t:0,1,2,3
         beat a owns=told
         beat b
         beat a
         describe
         join c reads=t
         beat b
         beat b owns=told
         beat a owns=told
         beat c
         beat c
         leave b
         beat a
         beat c
         describe",
        expect![[r#"
            > topic t 4
            > join a reads=t
              NONE a epoch 1 interval 5000 [t:[0, 1, 2, 3]]
            > join b reads=t
              NONE b epoch 2 interval 5000 []
            > beat a
              NONE a epoch 1 interval 5000 [t:[0, 1]]
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Reconciling", group_epoch: 2, assignment_epoch: 2, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 1, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, member_type: 1 }, Member { member_id: "b", instance_id: None, rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
            > beat b
              NONE b epoch 2 interval 5000
            > beat a owns=t:0,1,2,3
              NONE a epoch 1 interval 5000
            > beat a owns=told
              NONE a epoch 2 interval 5000
            > beat b
              NONE b epoch 2 interval 5000 [t:[2, 3]]
            > beat a
              NONE a epoch 2 interval 5000
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 2, assignment_epoch: 2, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, member_type: 1 }, Member { member_id: "b", instance_id: None, rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
            > join c reads=t
              NONE c epoch 3 interval 5000 []
            > beat b
              NONE b epoch 2 interval 5000 [t:[2]]
            > beat b owns=told
              NONE b epoch 3 interval 5000
            > beat a owns=told
              NONE a epoch 3 interval 5000
            > beat c
              NONE c epoch 3 interval 5000 [t:[3]]
            > beat c
              NONE c epoch 3 interval 5000
            > leave b
              NONE b epoch -1
            > beat a
              NONE a epoch 4 interval 5000
            > beat c
              NONE c epoch 4 interval 5000 [t:[2, 3]]
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 4, assignment_epoch: 4, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 4, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, member_type: 1 }, Member { member_id: "c", instance_id: None, rack_id: None, member_epoch: 4, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_fence() {
    check(
        "topic t 2
         join a reads=t
         beat a epoch=2
         beat a epoch=-3
         join b reads=t
         beat a owns=told
         beat a owns=t:0 epoch=1
         beat a owns=t:0
         beat a owns=t:0 epoch=1
         beat a epoch=1
         beat a epoch=0
         join a reads=t
         beat ghost epoch=1
         leave ghost
         beat b group=nothing epoch=1
         describe",
        expect![[r#"
            > topic t 2
            > join a reads=t
              NONE a epoch 1 interval 5000 [t:[0, 1]]
            > beat a epoch=2
              FENCED_MEMBER_EPOCH (in words)
            > beat a epoch=-3
              INVALID_REQUEST (in words)
            > join b reads=t
              NONE b epoch 2 interval 5000 []
            > beat a owns=told
              NONE a epoch 1 interval 5000 [t:[0]]
            > beat a owns=t:0 epoch=1
              NONE a epoch 2 interval 5000
            > beat a owns=t:0
              NONE a epoch 2 interval 5000
            > beat a owns=t:0 epoch=1
              NONE a epoch 2 interval 5000
            > beat a epoch=1
              FENCED_MEMBER_EPOCH (in words)
            > beat a epoch=0
              INVALID_REQUEST (in words)
            > join a reads=t
              NONE a epoch 2 interval 5000 [t:[0]]
            > beat ghost epoch=1
              UNKNOWN_MEMBER_ID (in words)
            > leave ghost
              UNKNOWN_MEMBER_ID (in words)
            > beat b group=nothing epoch=1
              GROUP_ID_NOT_FOUND (in words)
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Reconciling", group_epoch: 2, assignment_epoch: 2, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: None, rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0] }] }, member_type: 1 }, Member { member_id: "b", instance_id: None, rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [1] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be() {
    check(
        "topic t 2
         join a
         join a reads=t owns=t:0
         join a reads=t timeout=-1
         join a reads=t assignor=best
         join a reads=t group=
         join a reads=t instance=
         join a reads=t rack=
         join a regex=(
         join a id= reads=t
         list
         join a id= reads=t v=0
         join b reads=
         beat b",
        expect![[r#"
            > topic t 2
            > join a
              INVALID_REQUEST (in words)
            > join a reads=t owns=t:0
              INVALID_REQUEST (in words)
            > join a reads=t timeout=-1
              INVALID_REQUEST (in words)
            > join a reads=t assignor=best
              UNSUPPORTED_ASSIGNOR (in words)
            > join a reads=t group=
              INVALID_REQUEST (in words)
            > join a reads=t instance=
              INVALID_REQUEST (in words)
            > join a reads=t rack=
              INVALID_REQUEST (in words)
            > join a regex=(
              INVALID_REGULAR_EXPRESSION (in words)
            > join a id= reads=t
              INVALID_REQUEST (in words)
            > list
              ListGroupsResponse { error: NONE, groups: [] }
            > join a id= reads=t v=0
              NONE (an id) epoch 1 interval 5000 [t:[0, 1]]
            > join b reads=
              NONE b epoch 1 interval 5000 []
            > beat b
              NONE b epoch 1 interval 5000
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_members_come_back() {
    check(
        "topic t 4
         join a reads=t instance=one
         join b reads=t instance=two
         until a 2
         until b 2
         gets b 2
         join c reads=t instance=one
         leave a instance=one epoch=-2
         describe
         commit a 2
         beat a epoch=2 instance=one
         leave a instance=one epoch=-2
         join c reads=t instance=one
         describe
         beat b instance=two
         beat a epoch=2 instance=one
         leave a instance=one
         leave c instance=three
         leave c epoch=-2
         join b reads=t instance=two
         leave b instance=two epoch=-2
         join b reads=t instance=two
         leave b instance=two
         beat c instance=one
         describe",
        expect![[r#"
            > topic t 4
            > join a reads=t instance=one
              NONE a epoch 1 interval 5000 [t:[0, 1, 2, 3]]
            > join b reads=t instance=two
              NONE b epoch 2 interval 5000 []
            > until a 2
              NONE a epoch 2 interval 5000
            > until b 2
              NONE b epoch 2 interval 5000 [t:[2, 3]]
            > gets b 2
              b has [t:[2, 3]]
            > join c reads=t instance=one
              UNRELEASED_INSTANCE_ID (in words)
            > leave a instance=one epoch=-2
              NONE a epoch -2
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Reconciling", group_epoch: 2, assignment_epoch: 2, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: Some("one"), rack_id: None, member_epoch: -2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, member_type: 1 }, Member { member_id: "b", instance_id: Some("two"), rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
            > commit a 2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: t, partitions: [OffsetCommitResponsePartition { partition_index: 0, error: STALE_MEMBER_EPOCH }] }] }
            > beat a epoch=2 instance=one
              FENCED_MEMBER_EPOCH (in words)
            > leave a instance=one epoch=-2
              NONE a epoch -2
            > join c reads=t instance=one
              NONE c epoch 2 interval 5000 [t:[0, 1]]
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 2, assignment_epoch: 2, assignor_name: "uniform", members: [Member { member_id: "b", instance_id: Some("two"), rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, member_type: 1 }, Member { member_id: "c", instance_id: Some("one"), rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
            > beat b instance=two
              NONE b epoch 2 interval 5000
            > beat a epoch=2 instance=one
              FENCED_INSTANCE_ID (in words)
            > leave a instance=one
              FENCED_INSTANCE_ID (in words)
            > leave c instance=three
              UNKNOWN_MEMBER_ID (in words)
            > leave c epoch=-2
              INVALID_REQUEST (in words)
            > join b reads=t instance=two
              UNRELEASED_INSTANCE_ID (in words)
            > leave b instance=two epoch=-2
              NONE b epoch -2
            > join b reads=t instance=two
              NONE b epoch 2 interval 5000 [t:[2, 3]]
            > leave b instance=two
              NONE b epoch -1
            > beat c instance=one
              NONE c epoch 3 interval 5000 [t:[0, 1, 2, 3]]
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 3, assignment_epoch: 3, assignor_name: "uniform", members: [Member { member_id: "c", instance_id: Some("one"), rack_id: None, member_epoch: 3, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2, 3] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1, 2, 3] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_was_to_give_up_partitions() {
    check(
        "topic t 4
         join a reads=t instance=one
         join b reads=t
         beat a
         leave a instance=one epoch=-2
         describe
         beat b
         join c reads=t instance=one
         beat b
         describe",
        expect![[r#"
            > topic t 4
            > join a reads=t instance=one
              NONE a epoch 1 interval 5000 [t:[0, 1, 2, 3]]
            > join b reads=t
              NONE b epoch 2 interval 5000 []
            > beat a
              NONE a epoch 1 interval 5000 [t:[0, 1]]
            > leave a instance=one epoch=-2
              NONE a epoch -2
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Reconciling", group_epoch: 2, assignment_epoch: 2, assignor_name: "uniform", members: [Member { member_id: "a", instance_id: Some("one"), rack_id: None, member_epoch: -2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, member_type: 1 }, Member { member_id: "b", instance_id: None, rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
            > beat b
              NONE b epoch 2 interval 5000 [t:[2, 3]]
            > join c reads=t instance=one
              NONE c epoch 2 interval 5000 [t:[0, 1]]
            > beat b
              NONE b epoch 2 interval 5000
            > describe
              ConsumerGroupDescribeResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", group_epoch: 2, assignment_epoch: 2, assignor_name: "uniform", members: [Member { member_id: "b", instance_id: None, rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [2, 3] }] }, member_type: 1 }, Member { member_id: "c", instance_id: Some("one"), rack_id: None, member_epoch: 2, client_id: "app", client_host: "/127.0.0.1", subscribed_topic_names: [t], subscribed_topic_regex: Some(""), assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, target_assignment: Assignment { topic_partitions: [TopicPartitions { t, partitions: [0, 1] }] }, member_type: 1 }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}
