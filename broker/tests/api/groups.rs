//! Groups as clients see them: what Apache Kafka answers, byte for byte, to right calls and wrong ones.
//!
//! The expected answers were recorded from Apache Kafka 4.2, and can be recorded again from any Kafka whose address is in
//! `HELIOSTAT_TEST_KAFKA` (it needs `group.initial.rebalance.delay.ms=100` and `group.min.session.timeout.ms=1000`), with
//! `UPDATE_EXPECT=1`. Without that variable the built-in cluster is asked.

use expect_test::expect;

use crate::group_script::check;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_works_and_leaves() {
    check(
        "join a
         join a as=@a.1
         describe
         sync @a.1 1 @a.1:x
         describe
         list
         list state=stable type=CLASSIC
         list state=Empty
         list type=consumer
         list v=3
         beat @a.1 1
         commit @a.1 1
         fetch topic=conformance
         delete
         leave @a.1
         describe
         list
         fetch
         delete
         describe
         describe v=5
         delete
         list",
        expect![[r#"
            > join a
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > join a as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "CompletingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"" }], authorized_operations: -2147483648 }] }
            > sync @a.1 1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", protocol_type: "consumer", protocol_data: "range", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff", member_assignment: b"x" }], authorized_operations: -2147483648 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "Stable", group_type: "classic" }] }
            > list state=stable type=CLASSIC
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "Stable", group_type: "classic" }] }
            > list state=Empty
              ListGroupsResponse { error: NONE, groups: [] }
            > list type=consumer
              ListGroupsResponse { error: NONE, groups: [] }
            > list v=3
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "", group_type: "" }] }
            > beat @a.1 1
              HeartbeatResponse { error: NONE }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: NON_EMPTY_GROUP }] }
            > leave @a.1
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: None, error: NONE }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "consumer", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "Empty", group_type: "classic" }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: NONE }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: GROUP_ID_NOT_FOUND, error_message: Some("(in words)"), group_id: GROUP, group_state: "Dead", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > describe v=5
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Dead", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: GROUP_ID_NOT_FOUND }] }
            > list
              ListGroupsResponse { error: NONE, groups: [] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_rebalances() {
    check(
        "join a v=3
         join& b v=3 reads=more likes=sticky,range
         state PreparingRebalance
         join& a as=@a.1 v=3
         await b
         await a
         sync& @b.1 2 v=4
         sync @a.1 2 v=4 @a.1:x @b.1:y
         await @b.1
         join b as=@b.1 v=9 reads=more likes=sticky,range
         join& b as=@b.1 v=9 reads=other
         state PreparingRebalance
         describe
         beat @a.1 2
         sync @a.1 2
         commit @a.1 2
         commit @a.1 1
         join& a as=@a.1
         await b
         await a
         beat @a.1 3
         commit @a.1 3
         describe
         sync @b.1 2
         sync @b.1 3 type=connect
         sync @b.1 3 protocol=sticky
         sync& @b.1 3
         leave @a.1
         await @b.1
         join b as=@b.1
         leave @b.1 ghost",
        expect![[r#"
            > join a v=3
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join& b v=3 reads=more likes=sticky,range
            > state PreparingRebalance
            > join& a as=@a.1 v=3
            > await b
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x04more\xff\xff\xff\xff" }] }
            > sync& @b.1 2 v=4
            > sync @a.1 2 v=4 @a.1:x @b.1:y
              SyncGroupResponse { error: NONE, protocol_type: None, protocol_name: None, assignment: b"x" }
            > await @b.1
              SyncGroupResponse { error: NONE, protocol_type: None, protocol_name: None, assignment: b"y" }
            > join b as=@b.1 v=9 reads=more likes=sticky,range
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > join& b as=@b.1 v=9 reads=other
            > state PreparingRebalance
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "PreparingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"x" }, DescribedGroupMember { member_id: @b.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"y" }], authorized_operations: -2147483648 }] }
            > beat @a.1 2
              HeartbeatResponse { error: REBALANCE_IN_PROGRESS }
            > sync @a.1 2
              SyncGroupResponse { error: REBALANCE_IN_PROGRESS, protocol_type: None, protocol_name: None, assignment: b"" }
            > commit @a.1 2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > join& a as=@a.1
            > await b
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x05other\xff\xff\xff\xff" }] }
            > beat @a.1 3
              HeartbeatResponse { error: NONE }
            > commit @a.1 3
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: REBALANCE_IN_PROGRESS }] }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "CompletingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"x" }, DescribedGroupMember { member_id: @b.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"y" }], authorized_operations: -2147483648 }] }
            > sync @b.1 2
              SyncGroupResponse { error: ILLEGAL_GENERATION, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync @b.1 3 type=connect
              SyncGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync @b.1 3 protocol=sticky
              SyncGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync& @b.1 3
            > leave @a.1
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: None, error: NONE }] }
            > await @b.1
              SyncGroupResponse { error: REBALANCE_IN_PROGRESS, protocol_type: None, protocol_name: None, assignment: b"" }
            > join b as=@b.1
              JoinGroupResponse { error: NONE, generation_id: 4, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @b.1, skip_assignment: false, member_id: @b.1, members: [JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > leave @b.1 ghost
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @b.1, group_instance_id: None, error: NONE }, MemberResponse { member_id: "ghost", group_instance_id: None, error: UNKNOWN_MEMBER_ID }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_are_answered_with_kafkas_errors() {
    check(
        "find
         find v=0
         find v=3
         find group=
         find type=9
         find type=9 v=2
         join a group=
         join a session=999
         join a session=1800001
         join a session=-1
         join a as=ghost
         join a as=ghost v=4
         sync ghost 1
         sync ghost 1 group=
         beat ghost 1
         beat ghost 1 group=
         leave ghost
         leave ghost v=2
         leave ghost group=
         list
         join a likes=
         join a likes= v=4
         join a type=
         list
         describe
         join a
         join a as=@a.1
         sync @a.1 1 protocol=
         sync @a.1 1 v=4
         join b likes=other
         join b type=connect
         join b as=ghost
         join b as=ghost likes=other
         beat @a.1 0
         beat @a.1 2
         beat @a.1 1 instance=i
         beat - 1
         sync @a.1 2
         leave @a.1/i - -/i ghost
         join a as=@a.1 likes=other
         leave @a.1 v=0
         beat @a.1 1
         beat @a.1 2
         sync @a.1 2
         join a as=@a.1",
        expect![[r#"
            > find
              FindCoordinatorResponse { error: NONE, error_message: None, node_id: 0, host: "", port: 0, coordinators: [Coordinator { key: GROUP, node_id: 1, host: "127.0.0.1", port: 1, error: NONE, error_message: Some("") }] }
            > find v=0
              FindCoordinatorResponse { error: NONE, error_message: None, node_id: 1, host: "127.0.0.1", port: 1, coordinators: [] }
            > find v=3
              FindCoordinatorResponse { error: NONE, error_message: Some("NONE"), node_id: 1, host: "127.0.0.1", port: 1, coordinators: [] }
            > find group=
              FindCoordinatorResponse { error: NONE, error_message: None, node_id: 0, host: "", port: 0, coordinators: [Coordinator { key: "", node_id: 1, host: "127.0.0.1", port: 1, error: NONE, error_message: Some("") }] }
            > find type=9
              FindCoordinatorResponse { error: NONE, error_message: None, node_id: 0, host: "", port: 0, coordinators: [Coordinator { key: GROUP, node_id: -1, host: "", port: -1, error: INVALID_REQUEST, error_message: Some("(in words)") }] }
            > find type=9 v=2
              FindCoordinatorResponse { error: INVALID_REQUEST, error_message: Some("(in words)"), node_id: -1, host: "", port: -1, coordinators: [] }
            > join a group=
              JoinGroupResponse { error: INVALID_GROUP_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a session=999
              JoinGroupResponse { error: INVALID_SESSION_TIMEOUT, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a session=1800001
              JoinGroupResponse { error: INVALID_SESSION_TIMEOUT, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a session=-1
              JoinGroupResponse { error: INVALID_SESSION_TIMEOUT, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a as=ghost
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "ghost", members: [] }
            > join a as=ghost v=4
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: Some(""), leader: "", skip_assignment: false, member_id: "ghost", members: [] }
            > sync ghost 1
              SyncGroupResponse { error: UNKNOWN_MEMBER_ID, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync ghost 1 group=
              SyncGroupResponse { error: INVALID_GROUP_ID, protocol_type: None, protocol_name: None, assignment: b"" }
            > beat ghost 1
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > beat ghost 1 group=
              HeartbeatResponse { error: INVALID_GROUP_ID }
            > leave ghost
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: "ghost", group_instance_id: None, error: UNKNOWN_MEMBER_ID }] }
            > leave ghost v=2
              LeaveGroupResponse { error: UNKNOWN_MEMBER_ID, members: [] }
            > leave ghost group=
              LeaveGroupResponse { error: INVALID_GROUP_ID, members: [] }
            > list
              ListGroupsResponse { error: NONE, groups: [] }
            > join a likes=
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a likes= v=4
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: Some(""), leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a type=
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "", group_state: "Empty", group_type: "classic" }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > join a
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > join a as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 1 protocol=
              SyncGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync @a.1 1 v=4
              SyncGroupResponse { error: NONE, protocol_type: None, protocol_name: None, assignment: b"" }
            > join b likes=other
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join b type=connect
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join b as=ghost
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "ghost", members: [] }
            > join b as=ghost likes=other
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "ghost", members: [] }
            > beat @a.1 0
              HeartbeatResponse { error: ILLEGAL_GENERATION }
            > beat @a.1 2
              HeartbeatResponse { error: ILLEGAL_GENERATION }
            > beat @a.1 1 instance=i
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > beat - 1
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > sync @a.1 2
              SyncGroupResponse { error: ILLEGAL_GENERATION, protocol_type: None, protocol_name: None, assignment: b"" }
            > leave @a.1/i - -/i ghost
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: Some("i"), error: UNKNOWN_MEMBER_ID }, MemberResponse { member_id: "", group_instance_id: None, error: UNKNOWN_MEMBER_ID }, MemberResponse { member_id: "", group_instance_id: Some("i"), error: UNKNOWN_MEMBER_ID }, MemberResponse { member_id: "ghost", group_instance_id: None, error: UNKNOWN_MEMBER_ID }] }
            > join a as=@a.1 likes=other
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > leave @a.1 v=0
              LeaveGroupResponse { error: NONE, members: [] }
            > beat @a.1 1
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > beat @a.1 2
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > sync @a.1 2
              SyncGroupResponse { error: UNKNOWN_MEMBER_ID, protocol_type: None, protocol_name: None, assignment: b"" }
            > join a as=@a.1
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_members_come_back_without_a_rebalance() {
    check(
        "join a instance=i1
         join a instance=i1 as=@a.1
         sync @a.1 1 instance=i1 @a.1:x
         join& b instance=i2
         state PreparingRebalance
         join& a instance=i1 as=@a.1
         await b
         await a
         sync& @b.1 2 instance=i2
         sync @a.1 2 instance=i1 @a.1:x @b.1:y
         await @b.1
         join b instance=i2
         beat @b.1 2 instance=i2
         beat @b.1 2
         sync @b.1 2 instance=i2
         commit @b.1 2 instance=i2
         commit @b.2 2 instance=i9
         join b instance=i2 as=@b.1
         join b instance=i2 as=@b.2
         sync @b.2 2 instance=i2
         join b instance=i2 reads=changed
         join a instance=i1 v=8
         join a instance=i1 v=9
         sync @a.3 2 instance=i1
         describe
         leave @b.1/i2 @a.1/i1 -/i9
         leave -/i1 -/i2
         describe",
        expect![[r#"
            > join a instance=i1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join a instance=i1 as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 1 instance=i1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > join& b instance=i2
            > state PreparingRebalance
            > join& a instance=i1 as=@a.1
            > await b
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: Some("i2"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync& @b.1 2 instance=i2
            > sync @a.1 2 instance=i1 @a.1:x @b.1:y
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > await @b.1
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"y" }
            > join b instance=i2
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.2, members: [] }
            > beat @b.1 2 instance=i2
              HeartbeatResponse { error: FENCED_INSTANCE_ID }
            > beat @b.1 2
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > sync @b.1 2 instance=i2
              SyncGroupResponse { error: FENCED_INSTANCE_ID, protocol_type: None, protocol_name: None, assignment: b"" }
            > commit @b.1 2 instance=i2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: FENCED_INSTANCE_ID }] }] }
            > commit @b.2 2 instance=i9
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > join b instance=i2 as=@b.1
              JoinGroupResponse { error: FENCED_INSTANCE_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @b.1, members: [] }
            > join b instance=i2 as=@b.2
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.2, members: [] }
            > sync @b.2 2 instance=i2
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"y" }
            > join b instance=i2 reads=changed
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.3, members: [] }
            > join a instance=i1 v=8
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.2, members: [] }
            > join a instance=i1 v=9
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.3, skip_assignment: true, member_id: @a.3, members: [JoinGroupResponseMember { member_id: @a.3, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.3, group_instance_id: Some("i2"), metadata: b"\0\0\0\0\0\x01\0\x07changed\xff\xff\xff\xff" }] }
            > sync @a.3 2 instance=i1
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", protocol_type: "consumer", protocol_data: "range", members: [DescribedGroupMember { member_id: @a.3, group_instance_id: Some("i1"), client_id: "app", client_host: "/127.0.0.1", member_metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff", member_assignment: b"x" }, DescribedGroupMember { member_id: @b.3, group_instance_id: Some("i2"), client_id: "app", client_host: "/127.0.0.1", member_metadata: b"\0\0\0\0\0\x01\0\x07changed\xff\xff\xff\xff", member_assignment: b"y" }], authorized_operations: -2147483648 }] }
            > leave @b.1/i2 @a.1/i1 -/i9
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @b.1, group_instance_id: Some("i2"), error: FENCED_INSTANCE_ID }, MemberResponse { member_id: @a.1, group_instance_id: Some("i1"), error: FENCED_INSTANCE_ID }, MemberResponse { member_id: "", group_instance_id: Some("i9"), error: UNKNOWN_MEMBER_ID }] }
            > leave -/i1 -/i2
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: "", group_instance_id: Some("i1"), error: NONE }, MemberResponse { member_id: "", group_instance_id: Some("i2"), error: NONE }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "consumer", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_comes_back_while_a_join_waits_fences_it() {
    check(
        "join a instance=i1
         sync @a.1 1 instance=i1 @a.1:x
         join& b instance=i2
         state PreparingRebalance
         join& c instance=i2
         await b
         join& a instance=i1 as=@a.1
         await c
         await a
         join& d instance=i2
         state PreparingRebalance
         join& a instance=i1 as=@a.1
         await d
         await a
         describe v=4",
        expect![[r#"
            > join a instance=i1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 1 instance=i1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > join& b instance=i2
            > state PreparingRebalance
            > join& c instance=i2
            > await b
              JoinGroupResponse { error: FENCED_INSTANCE_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @b.1, members: [] }
            > join& a instance=i1 as=@a.1
            > await c
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @c.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @c.1, group_instance_id: Some("i2"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join& d instance=i2
            > state PreparingRebalance
            > join& a instance=i1 as=@a.1
            > await d
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @d.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @d.1, group_instance_id: Some("i2"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > describe v=4
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "CompletingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: Some("i1"), client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"" }, DescribedGroupMember { member_id: @d.1, group_instance_id: Some("i2"), client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"" }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_falls_silent_is_dropped() {
    check(
        "join a v=3 session=2000
         join& b v=3 session=30000
         state PreparingRebalance
         join& a as=@a.1 session=2000
         await b
         await a
         sync& @b.1 2
         sync @a.1 2 @a.1:x @b.1:y
         await @b.1
         state PreparingRebalance
         beat @b.1 2
         beat @a.1 2
         join b as=@b.1
         join a as=@a.1
         describe",
        expect![[r#"
            > join a v=3 session=2000
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join& b v=3 session=30000
            > state PreparingRebalance
            > join& a as=@a.1 session=2000
            > await b
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync& @b.1 2
            > sync @a.1 2 @a.1:x @b.1:y
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > await @b.1
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"y" }
            > state PreparingRebalance
            > beat @b.1 2
              HeartbeatResponse { error: REBALANCE_IN_PROGRESS }
            > beat @a.1 2
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > join b as=@b.1
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @b.1, skip_assignment: false, member_id: @b.1, members: [JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join a as=@a.1
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "CompletingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @b.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"y" }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_do_not_come_back_or_never_sync_are_dropped() {
    check(
        "join a v=3 session=30000 rebalance=3000
         join& b v=3 session=30000 rebalance=3000
         state PreparingRebalance
         join& a as=@a.1 session=30000 rebalance=3000
         await b
         await a
         sync @a.1 2 @a.1:x @b.1:y
         join a as=@a.1 session=30000 rebalance=3000
         beat @b.1 2
         sync @a.1 3 @a.1:x
         join& c v=3 rebalance=3000
         state PreparingRebalance
         join& a as=@a.1 session=30000 rebalance=3000
         await c
         await a
         sync @a.1 4 @a.1:x
         state PreparingRebalance
         beat @c.1 4
         beat @a.1 4
         join a as=@a.1",
        expect![[r#"
            > join a v=3 session=30000 rebalance=3000
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join& b v=3 session=30000 rebalance=3000
            > state PreparingRebalance
            > join& a as=@a.1 session=30000 rebalance=3000
            > await b
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 2 @a.1:x @b.1:y
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > join a as=@a.1 session=30000 rebalance=3000
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > beat @b.1 2
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > sync @a.1 3 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > join& c v=3 rebalance=3000
            > state PreparingRebalance
            > join& a as=@a.1 session=30000 rebalance=3000
            > await c
              JoinGroupResponse { error: NONE, generation_id: 4, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @c.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 4, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @c.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 4 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > state PreparingRebalance
            > beat @c.1 4
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > beat @a.1 4
              HeartbeatResponse { error: REBALANCE_IN_PROGRESS }
            > join a as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 5, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
        "#]],
    )
    .await;
}
