//! Refusals of what consumer groups ask, and of requests with one error for all.

use heliostat_wire::message::{
    ApiVersionsRequest, ApiVersionsResponse, DeleteGroupsRequest, DeleteGroupsResponse, DescribeAclsRequest,
    DescribeAclsResponse, DescribeClusterRequest, DescribeClusterResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeQuorumRequest,
    DescribeQuorumResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest,
    HeartbeatResponse, InitProducerIdRequest, InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    SyncGroupRequest, SyncGroupResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
    delete_groups::DeletableGroupResult,
    describe_groups::DescribedGroup,
    find_coordinator::Coordinator,
    leave_group::MemberResponse,
    offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    offset_fetch::{OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic},
};

use super::{Named, Refusable, Refusal};

/// Requests whose answer has one error code for all, and nothing else that matters then.
macro_rules! one_code {
    ($($request:ident $response:ident;)*) => { $(
        impl Refusable for $request {
            fn refuse(self, refusal: &Refusal<'_>) -> Option<$response> {
                Some($response { error_code: refusal.code(), ..Default::default() })
            }
        }
    )* };
}

one_code! {
    ApiVersionsRequest ApiVersionsResponse;
    DescribeClusterRequest DescribeClusterResponse;
    DescribeQuorumRequest DescribeQuorumResponse;
    UpdateFeaturesRequest UpdateFeaturesResponse;
    HeartbeatRequest HeartbeatResponse;
    InitProducerIdRequest InitProducerIdResponse;
    ListGroupsRequest ListGroupsResponse;
    SaslAuthenticateRequest SaslAuthenticateResponse;
    SaslHandshakeRequest SaslHandshakeResponse;
    SyncGroupRequest SyncGroupResponse;
}

impl Refusable for DescribeAclsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<DescribeAclsResponse> {
        Some(DescribeAclsResponse {
            error_code: refusal.code(),
            error_message: refusal.message(),
            ..Default::default()
        })
    }
}

impl Refusable for ListPartitionReassignmentsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<ListPartitionReassignmentsResponse> {
        Some(ListPartitionReassignmentsResponse {
            error_code: refusal.code(),
            error_message: refusal.message(),
            ..Default::default()
        })
    }
}

impl Refusable for DescribeLogDirsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<DescribeLogDirsResponse> {
        use heliostat_wire::message::describe_log_dirs::DescribeLogDirsResult;
        let mut response = DescribeLogDirsResponse {
            error_code: refusal.code(),
            ..Default::default()
        };
        // The first versions have an error only for each directory.
        if refusal.version < 3 {
            let result = DescribeLogDirsResult {
                error_code: refusal.code(),
                ..Default::default()
            };
            response.results.push(result);
        }
        Some(response)
    }
}

impl Refusable for FindCoordinatorRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<FindCoordinatorResponse> {
        let coordinators = self.coordinator_keys.into_iter().map(|key| Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: refusal.code(),
            error_message: refusal.message(),
            ..Default::default()
        });
        Some(FindCoordinatorResponse {
            error_code: refusal.code(),
            error_message: refusal.message(),
            node_id: -1,
            port: -1,
            coordinators: coordinators.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for JoinGroupRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<JoinGroupResponse> {
        Some(JoinGroupResponse {
            error_code: refusal.code(),
            protocol_name: (refusal.version < 7).then(String::new),
            member_id: self.member_id,
            ..Default::default()
        })
    }
}

impl Refusable for LeaveGroupRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<LeaveGroupResponse> {
        let members = self.members.into_iter().map(|member| MemberResponse {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            error_code: refusal.code(),
        });
        Some(LeaveGroupResponse {
            error_code: refusal.code(),
            members: members.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for DescribeGroupsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<DescribeGroupsResponse> {
        let groups = self.groups.into_iter().map(|group_id| DescribedGroup {
            error_code: refusal.code(),
            error_message: refusal.message(),
            group_id,
            ..Default::default()
        });
        Some(DescribeGroupsResponse {
            groups: groups.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for DeleteGroupsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<DeleteGroupsResponse> {
        let groups = self.groups_names.into_iter();
        let results = groups.map(|group_id| DeletableGroupResult {
            group_id,
            error_code: refusal.code(),
        });
        Some(DeleteGroupsResponse {
            results: results.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for OffsetCommitRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<OffsetCommitResponse> {
        let topics = self.topics.into_iter().map(|topic| OffsetCommitResponseTopic {
            partitions: topic
                .partitions
                .iter()
                .map(|partition| OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: refusal.code(),
                })
                .collect(),
            name: topic.name,
        });
        Some(OffsetCommitResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for OffsetFetchRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        let old = self.topics.iter().flatten().map(|topic| Named::Name(&topic.name));
        let groups = self.groups.iter().flat_map(|group| group.topics.iter().flatten());
        old.chain(groups.map(|topic| Named::Name(&topic.name))).collect()
    }

    /// One error for each group since version 8, one for all since version 2, before that one for each partition.
    fn refuse(self, refusal: &Refusal<'_>) -> Option<OffsetFetchResponse> {
        let groups = self.groups.into_iter().map(|group| OffsetFetchResponseGroup {
            group_id: group.group_id,
            error_code: refusal.code(),
            ..Default::default()
        });
        let each = self.topics.filter(|_| refusal.version < 2).into_iter().flatten();
        let topics = each.map(|topic| OffsetFetchResponseTopic {
            partitions: topic
                .partition_indexes
                .iter()
                .map(|index| OffsetFetchResponsePartition {
                    partition_index: *index,
                    committed_offset: -1,
                    metadata: Some(String::new()),
                    error_code: refusal.code(),
                    ..Default::default()
                })
                .collect(),
            name: topic.name,
        });
        Some(OffsetFetchResponse {
            topics: topics.collect(),
            error_code: refusal.code(),
            groups: groups.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for OffsetDeleteRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<OffsetDeleteResponse> {
        Some(OffsetDeleteResponse {
            error_code: refusal.code(),
            ..Default::default()
        })
    }
}
