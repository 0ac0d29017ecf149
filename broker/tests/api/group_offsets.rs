//! Offsets of groups, held against what Apache Kafka answers; see `groups`.

use expect_test::expect;

use crate::group_script::check;

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_committed_and_fetched_as_in_kafka() {
    check(
        "fetch
         fetch topic=conformance
         fetch topic=conformance v=7
         fetch v=7
         fetch topic=conformance v=1
         fetch topic=nosuch
         describe operations=true
         commit - -1 offset=5 epoch=3 metadata=4
         describe operations=true
         list
         describe
         fetch
         fetch topic=conformance
         fetch topic=conformance v=5
         commit - -1 metadata=4097
         commit - -1 metadata=4096
         commit - -1 offset=-1
         fetch topic=conformance
         commit - -1 offset=-7
         commit - -1 topic=nosuch
         commit - -1 partition=7
         commit - -1 partition=-1
         fetch
         commit ghost -1
         commit ghost 0
         commit - 0
         commit - -1 instance=i
         commit - 3 v=8
         commit - 3 group=absent
         commit - 3 group=absent v=8
         commit ghost 3 group=absent v=2
         commit - -1 group= offset=9
         fetch group= topic=conformance
         delete group=
         join a
         join a as=@a.1
         commit - -1
         commit @a.1 1
         sync @a.1 1 @a.1:x
         commit @a.1 1
         commit @a.1 2
         commit @a.1 -1
         commit ghost 1
         commit @a.1 1 instance=i
         leave @a.1
         commit @a.1 1
         commit @a.1 -1",
        expect![[r#"
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [], error: NONE }] }
            > fetch topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > fetch topic=conformance v=7
              OffsetFetchResponse { topics: [OffsetFetchResponseTopic { name: "conformance", partitions: [OffsetFetchResponsePartition { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartition { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE, groups: [] }
            > fetch v=7
              OffsetFetchResponse { topics: [], error: NONE, groups: [] }
            > fetch topic=conformance v=1
              OffsetFetchResponse { topics: [OffsetFetchResponseTopic { name: "conformance", partitions: [OffsetFetchResponsePartition { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartition { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE, groups: [] }
            > fetch topic=nosuch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "nosuch", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > describe operations=true
              DescribeGroupsResponse { groups: [DescribedGroup { error: GROUP_ID_NOT_FOUND, error_message: Some("(in words)"), group_id: GROUP, group_state: "Dead", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > commit - -1 offset=5 epoch=3 metadata=4
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > describe operations=true
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "", protocol_data: "", members: [], authorized_operations: 3400 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "", group_state: "Empty", group_type: "classic" }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 5, committed_leader_epoch: 3, metadata: Some("mmmm"), error: NONE }] }], error: NONE }] }
            > fetch topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 5, committed_leader_epoch: 3, metadata: Some("mmmm"), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > fetch topic=conformance v=5
              OffsetFetchResponse { topics: [OffsetFetchResponseTopic { name: "conformance", partitions: [OffsetFetchResponsePartition { partition_index: 0, committed_offset: 5, committed_leader_epoch: 3, metadata: Some("mmmm"), error: NONE }, OffsetFetchResponsePartition { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE, groups: [] }
            > commit - -1 metadata=4097
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: OFFSET_METADATA_TOO_LARGE }] }] }
            > commit - -1 metadata=4096
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit - -1 offset=-1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > commit - -1 offset=-7
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit - -1 topic=nosuch
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "nosuch", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > commit - -1 partition=7
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 7, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > commit - -1 partition=-1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: -1, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: -7, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > commit ghost -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit ghost 0
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit - 0
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit - -1 instance=i
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit - 3 v=8
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit - 3 group=absent
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: GROUP_ID_NOT_FOUND }] }] }
            > commit - 3 group=absent v=8
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > commit ghost 3 group=absent v=2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > commit - -1 group= offset=9
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch group= topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: "", topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 9, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > delete group=
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: "", error: NONE }] }
            > join a
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > join a as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > commit - -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: REBALANCE_IN_PROGRESS }] }] }
            > sync @a.1 1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit @a.1 2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > commit @a.1 -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > commit ghost 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit @a.1 1 instance=i
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > leave @a.1
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: None, error: NONE }] }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit @a.1 -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_deleted_as_in_kafka() {
    check(
        "forget conformance
         forget conformance group=
         commit - -1
         commit - -1 topic=conformance-2
         forget nosuch
         forget conformance partition=9
         join a reads=conformance
         join a as=@a.1 reads=conformance
         sync @a.1 1 @a.1:x
         forget conformance
         forget conformance-2
         fetch
         leave @a.1
         forget conformance
         fetch
         join a type=connect
         join a type=connect as=@a.2
         forget conformance
         delete",
        expect![[r#"
            > forget conformance
              OffsetDeleteResponse { error: GROUP_ID_NOT_FOUND, topics: [] }
            > forget conformance group=
              OffsetDeleteResponse { error: INVALID_GROUP_ID, topics: [] }
            > commit - -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit - -1 topic=conformance-2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance-2", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > forget nosuch
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "nosuch", partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > forget conformance partition=9
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "conformance", partitions: [OffsetDeleteResponsePartition { partition_index: 9, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > join a reads=conformance
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > join a as=@a.1 reads=conformance
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x0bconformance\xff\xff\xff\xff" }] }
            > sync @a.1 1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > forget conformance
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "conformance", partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: GROUP_SUBSCRIBED_TO_TOPIC }] }] }
            > forget conformance-2
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "conformance-2", partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > leave @a.1
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: None, error: NONE }] }
            > forget conformance
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "conformance", partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [], error: NONE }] }
            > join a type=connect
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.2, members: [] }
            > join a type=connect as=@a.2
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("connect"), protocol_name: Some("range"), leader: @a.2, skip_assignment: false, member_id: @a.2, members: [JoinGroupResponseMember { member_id: @a.2, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > forget conformance
              OffsetDeleteResponse { error: NON_EMPTY_GROUP, topics: [] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: NON_EMPTY_GROUP }] }
        "#]],
    )
    .await;
}
