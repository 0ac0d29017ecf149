//! One good request of each API, in every version.

use bytes::Bytes;
use heliostat_broker::supported_apis;
use heliostat_wire::{Uuid, message::*};

use crate::{
    client::topic,
    records::{batch, from_offset},
};

/// The frames (each without its size) that ask for something in the topic `t`, which has this id, and the group `g`.
pub fn good_frames(topic_id: Uuid) -> Vec<Sample> {
    let mut frames = Frames(Vec::new());
    records(&mut frames, topic_id);
    topics(&mut frames, topic_id);
    configs(&mut frames);
    quotas(&mut frames);
    security(&mut frames);
    members(&mut frames);
    offsets(&mut frames);
    super::transactions::add(&mut frames);
    let supported: usize = supported_apis()
        .iter()
        .map(|api| api.versions.clone().count())
        .sum();
    assert_eq!(frames.0.len(), supported, "an API has no sample");
    frames.0
}

/// A frame, and what reads frames of its API and version.
pub struct Sample {
    pub frame: Vec<u8>,
    pub read: fn(Bytes),
}

/// The frames so far.
pub(super) struct Frames(Vec<Sample>);

impl Frames {
    /// Adds a request in every version.
    pub(super) fn add<R: Request>(&mut self, request: R) {
        let api = supported_apis().into_iter().find(|api| api.key == R::KEY.code());
        for version in api.unwrap().versions {
            let frame = encode_request(&request, version, 7, Some("hostile"))
                .unwrap()
                .concat();
            self.0.push(Sample {
                frame: frame[4..].to_vec(),
                read: read::<R>,
            });
        }
    }
}

/// Reads a frame as the broker does: its header, and the request in the version that the header names.
fn read<R: Request>(mut frame: Bytes) {
    if let Ok(header) = RequestHeader::decode(&mut frame)
        && R::KEY.versions().contains(&header.api_version)
        && let Ok(request) = decode_message::<R>(frame, header.api_version)
    {
        // What could be read can be written, or is said to be too long.
        let _ = encode_request(&request, header.api_version, 1, None);
    }
}

fn name() -> String {
    "t".to_owned()
}

fn group_id() -> String {
    "g".to_owned()
}

fn records(frames: &mut Frames, topic_id: Uuid) {
    let mut produce = crate::records::produce_request(topic_id, 0, batch(&["a", "b"]));
    produce.topic_data[0].name = name();
    frames.add(produce);
    let mut fetch = crate::records::fetch_request(topic_id, vec![from_offset(0, 0), from_offset(1, 0)]);
    fetch.topics[0].topic = name();
    frames.add(fetch);
    let partitions = |timestamp| list_offsets::ListOffsetsPartition {
        timestamp,
        ..Default::default()
    };
    frames.add(ListOffsetsRequest {
        topics: vec![list_offsets::ListOffsetsTopic {
            name: name(),
            partitions: vec![partitions(1_700_000_000_000)],
        }],
        ..Default::default()
    });
    frames.add(DeleteRecordsRequest {
        topics: vec![delete_records::DeleteRecordsTopic {
            name: name(),
            partitions: vec![delete_records::DeleteRecordsPartition::default()],
        }],
        ..Default::default()
    });
    frames.add(OffsetForLeaderEpochRequest {
        topics: vec![offset_for_leader_epoch::OffsetForLeaderTopic {
            topic: name(),
            partitions: vec![offset_for_leader_epoch::OffsetForLeaderPartition::default()],
        }],
        ..Default::default()
    });
    frames.add(InitProducerIdRequest::default());
}

fn topics(frames: &mut Frames, topic_id: Uuid) {
    frames.add(ApiVersionsRequest::default());
    frames.add(MetadataRequest {
        topics: Some(vec![metadata::MetadataRequestTopic {
            topic_id,
            name: Some(name()),
        }]),
        allow_auto_topic_creation: false,
        ..Default::default()
    });
    frames.add(DescribeClusterRequest::default());
    frames.add(DescribeQuorumRequest {
        topics: vec![describe_quorum::TopicData {
            topic_name: "__cluster_metadata".to_owned(),
            partitions: vec![describe_quorum::PartitionData::default()],
        }],
    });
    frames.add(UpdateFeaturesRequest {
        feature_updates: vec![update_features::FeatureUpdateKey {
            feature: "transaction.version".to_owned(),
            max_version_level: 2,
            ..Default::default()
        }],
        ..Default::default()
    });
    frames.add(CreateTopicsRequest {
        topics: vec![topic("new", 1, &[("retention.ms", "1000")])],
        validate_only: true,
        ..Default::default()
    });
    frames.add(DeleteTopicsRequest {
        topics: vec![delete_topics::DeleteTopicState {
            name: Some("gone".to_owned()),
            ..Default::default()
        }],
        topic_names: vec!["gone".to_owned()],
        ..Default::default()
    });
    frames.add(CreatePartitionsRequest {
        topics: vec![create_partitions::CreatePartitionsTopic {
            name: name(),
            count: 3,
            assignments: Some(vec![create_partitions::CreatePartitionsAssignment {
                broker_ids: vec![1],
            }]),
        }],
        validate_only: true,
        ..Default::default()
    });
    frames.add(ListPartitionReassignmentsRequest::default());
    frames.add(ElectLeadersRequest {
        topic_partitions: Some(vec![elect_leaders::TopicPartitions {
            topic: name(),
            partitions: vec![0, 1],
        }]),
        ..Default::default()
    });
    let partition = alter_partition_reassignments::ReassignablePartition {
        partition_index: 0,
        replicas: Some(vec![1]),
    };
    frames.add(AlterPartitionReassignmentsRequest {
        topics: vec![alter_partition_reassignments::ReassignableTopic {
            name: name(),
            partitions: vec![partition],
        }],
        ..Default::default()
    });
    frames.add(DescribeTopicPartitionsRequest {
        topics: vec![describe_topic_partitions::TopicRequest { name: name() }],
        response_partition_limit: 5,
        cursor: Some(describe_topic_partitions::Cursor {
            topic_name: name(),
            partition_index: 0,
        }),
    });
}

fn configs(frames: &mut Frames) {
    const TOPIC: i8 = 2;
    frames.add(DescribeConfigsRequest {
        resources: vec![describe_configs::DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: name(),
            configuration_keys: Some(vec!["retention.ms".to_owned()]),
        }],
        ..Default::default()
    });
    frames.add(AlterConfigsRequest {
        resources: vec![alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: name(),
            configs: vec![alter_configs::AlterableConfig {
                name: "retention.ms".to_owned(),
                value: Some("1000".to_owned()),
            }],
        }],
        validate_only: true,
    });
    frames.add(IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: name(),
            configs: vec![incremental_alter_configs::AlterableConfig {
                name: "cleanup.policy".to_owned(),
                config_operation: 2,
                value: Some("compact".to_owned()),
            }],
        }],
        validate_only: true,
    });
    frames.add(DescribeAclsRequest::default());
}

fn security(frames: &mut Frames) {
    let user = || "u".to_owned();
    frames.add(CreateAclsRequest {
        creations: vec![create_acls::AclCreation {
            resource_name: name(),
            principal: "User:u".to_owned(),
            host: "*".to_owned(),
            ..Default::default()
        }],
    });
    frames.add(DeleteAclsRequest {
        filters: vec![delete_acls::DeleteAclsFilter {
            resource_name_filter: Some(name()),
            ..Default::default()
        }],
    });
    frames.add(SaslHandshakeRequest {
        mechanism: "PLAIN".to_owned(),
    });
    frames.add(SaslAuthenticateRequest {
        auth_bytes: Bytes::from_static(b"\0u\0password"),
    });
    frames.add(DescribeUserScramCredentialsRequest {
        users: Some(vec![describe_user_scram_credentials::UserName { name: user() }]),
    });
    frames.add(AlterUserScramCredentialsRequest {
        deletions: vec![alter_user_scram_credentials::ScramCredentialDeletion {
            name: user(),
            mechanism: 1,
        }],
        upsertions: vec![alter_user_scram_credentials::ScramCredentialUpsertion {
            name: "v".to_owned(),
            mechanism: 2,
            iterations: 4096,
            salt: Bytes::from_static(b"salt"),
            salted_password: Bytes::from_static(b"salted"),
        }],
    });
    frames.add(DescribeLogDirsRequest {
        topics: Some(vec![describe_log_dirs::DescribableLogDirTopic {
            topic: name(),
            partitions: vec![0, 1],
        }]),
    });
}

fn quotas(frames: &mut Frames) {
    let entity_type = "user".to_owned();
    frames.add(DescribeClientQuotasRequest {
        components: vec![describe_client_quotas::ComponentData {
            entity_type: entity_type.clone(),
            match_type: 0,
            match_name: Some("u".to_owned()),
        }],
        strict: true,
    });
    frames.add(AlterClientQuotasRequest {
        entries: vec![alter_client_quotas::EntryData {
            entity: vec![alter_client_quotas::EntityData {
                entity_type,
                entity_name: Some("u".to_owned()),
            }],
            ops: vec![alter_client_quotas::OpData {
                key: "producer_byte_rate".to_owned(),
                value: 1e6,
                remove: false,
            }],
        }],
        validate_only: true,
    });
}

fn members(frames: &mut Frames) {
    frames.add(FindCoordinatorRequest {
        key: group_id(),
        coordinator_keys: vec![group_id()],
        ..Default::default()
    });
    frames.add(JoinGroupRequest {
        group_id: group_id(),
        session_timeout_ms: 6000,
        rebalance_timeout_ms: 100,
        protocol_type: "consumer".to_owned(),
        protocols: vec![join_group::JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(&[0, 1, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]),
        }],
        ..Default::default()
    });
    frames.add(SyncGroupRequest {
        group_id: group_id(),
        generation_id: 1,
        member_id: "m".to_owned(),
        assignments: vec![sync_group::SyncGroupRequestAssignment {
            member_id: "m".to_owned(),
            assignment: Bytes::from_static(b"all of it"),
        }],
        ..Default::default()
    });
    frames.add(HeartbeatRequest {
        group_id: group_id(),
        generation_id: 1,
        member_id: "m".to_owned(),
        ..Default::default()
    });
    frames.add(LeaveGroupRequest {
        group_id: group_id(),
        member_id: "m".to_owned(),
        members: vec![leave_group::MemberIdentity {
            member_id: "m".to_owned(),
            ..Default::default()
        }],
    });
    frames.add(ConsumerGroupHeartbeatRequest {
        group_id: "modern".to_owned(),
        member_id: "m".to_owned(),
        rebalance_timeout_ms: 1000,
        subscribed_topic_names: Some(vec![name()]),
        subscribed_topic_regex: Some("t.*".to_owned()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    });
    frames.add(ConsumerGroupDescribeRequest {
        group_ids: vec!["modern".to_owned(), group_id()],
        include_authorized_operations: true,
    });
    frames.add(ListConfigResourcesRequest {
        resource_types: vec![2, 4, 32],
    });
    frames.add(ListGroupsRequest::default());
    frames.add(DescribeGroupsRequest {
        groups: vec![group_id()],
        ..Default::default()
    });
    frames.add(DeleteGroupsRequest {
        groups_names: vec!["gone".to_owned()],
    });
}

fn offsets(frames: &mut Frames) {
    frames.add(OffsetCommitRequest {
        group_id: group_id(),
        topics: vec![offset_commit::OffsetCommitRequestTopic {
            name: name(),
            partitions: vec![offset_commit::OffsetCommitRequestPartition {
                committed_offset: 1,
                committed_metadata: Some("here".to_owned()),
                ..Default::default()
            }],
        }],
        ..Default::default()
    });
    frames.add(OffsetFetchRequest {
        group_id: group_id(),
        topics: Some(vec![offset_fetch::OffsetFetchRequestTopic {
            name: name(),
            partition_indexes: vec![0, 1],
        }]),
        groups: vec![offset_fetch::OffsetFetchRequestGroup {
            group_id: group_id(),
            topics: Some(vec![offset_fetch::OffsetFetchRequestTopics {
                name: name(),
                partition_indexes: vec![0, 1],
            }]),
            ..Default::default()
        }],
        ..Default::default()
    });
    frames.add(OffsetDeleteRequest {
        group_id: group_id(),
        topics: vec![offset_delete::OffsetDeleteRequestTopic {
            name: name(),
            partitions: vec![offset_delete::OffsetDeleteRequestPartition::default()],
        }],
    });
}
