//! Refusals of what admin clients ask about topics, configs and access rules.

use heliostat_wire::message::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, CreateAclsRequest,
    CreateAclsResponse, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, ElectLeadersRequest,
    ElectLeadersResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    alter_client_quotas::EntryResult,
    alter_configs,
    alter_partition_reassignments::{ReassignablePartitionResponse, ReassignableTopicResponse},
    create_acls::AclCreationResult,
    create_partitions::CreatePartitionsTopicResult,
    create_topics::CreatableTopicResult,
    delete_topics::DeletableTopicResult,
    describe_configs::DescribeConfigsResult,
    describe_topic_partitions::DescribeTopicPartitionsResponseTopic,
    elect_leaders::{PartitionResult, ReplicaElectionResult},
    incremental_alter_configs,
};

use super::{Named, Refusable, Refusal};

/// The type of a resource that is a topic.
const TOPIC: i8 = 2;

impl Refusable for CreateTopicsRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<CreateTopicsResponse> {
        let topics = self.topics.into_iter().map(|topic| CreatableTopicResult {
            name: topic.name,
            error_code: refusal.code(),
            error_message: refusal.message(),
            ..Default::default()
        });
        Some(CreateTopicsResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for DeleteTopicsRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        let states = self.topics.iter().map(|topic| match &topic.name {
            Some(name) => Named::Name(name),
            None => Named::Id(topic.topic_id),
        });
        states
            .chain(self.topic_names.iter().map(|name| Named::Name(name)))
            .collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<DeleteTopicsResponse> {
        let refused = |name, topic_id| DeletableTopicResult {
            name,
            topic_id,
            error_code: refusal.code(),
            error_message: refusal.message(),
        };
        let names = self
            .topic_names
            .into_iter()
            .map(|name| refused(Some(name), Default::default()));
        let states = self
            .topics
            .into_iter()
            .map(|topic| refused(topic.name, topic.topic_id));
        Some(DeleteTopicsResponse {
            responses: names.chain(states).collect(),
            ..Default::default()
        })
    }
}

impl Refusable for CreatePartitionsRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<CreatePartitionsResponse> {
        let results = self.topics.into_iter().map(|topic| CreatePartitionsTopicResult {
            name: topic.name,
            error_code: refusal.code(),
            error_message: refusal.message(),
        });
        Some(CreatePartitionsResponse {
            results: results.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for DescribeConfigsRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        let topics = self
            .resources
            .iter()
            .filter(|resource| resource.resource_type == TOPIC);
        topics.map(|topic| Named::Name(&topic.resource_name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<DescribeConfigsResponse> {
        let results = self.resources.into_iter().map(|resource| DescribeConfigsResult {
            error_code: refusal.code(),
            error_message: refusal.message(),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..Default::default()
        });
        Some(DescribeConfigsResponse {
            results: results.collect(),
            ..Default::default()
        })
    }
}

macro_rules! alterations {
    ($($request:ident $response:ident $module:ident;)*) => { $(
        impl Refusable for $request {
            const NAMES_TOPICS: bool = true;

            fn topics(&self) -> Vec<Named<'_>> {
                let topics = self.resources.iter().filter(|resource| resource.resource_type == TOPIC);
                topics.map(|topic| Named::Name(&topic.resource_name)).collect()
            }

            fn refuse(self, refusal: &Refusal<'_>) -> Option<$response> {
                let responses = self.resources.into_iter().map(|resource| $module::AlterConfigsResourceResponse {
                    error_code: refusal.code(),
                    error_message: refusal.message(),
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name,
                });
                Some($response { responses: responses.collect(), ..Default::default() })
            }
        }
    )* };
}

alterations! {
    AlterConfigsRequest AlterConfigsResponse alter_configs;
    IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse incremental_alter_configs;
}

impl Refusable for DescribeTopicPartitionsRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<DescribeTopicPartitionsResponse> {
        let topics = self
            .topics
            .into_iter()
            .map(|topic| DescribeTopicPartitionsResponseTopic {
                error_code: refusal.code(),
                name: Some(topic.name),
                ..Default::default()
            });
        Some(DescribeTopicPartitionsResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for ElectLeadersRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        let topics = self.topic_partitions.iter().flatten();
        topics.map(|topic| Named::Name(&topic.topic)).collect()
    }

    /// The first version has no error for all of them.
    fn refuse(self, refusal: &Refusal<'_>) -> Option<ElectLeadersResponse> {
        let topics = self
            .topic_partitions
            .into_iter()
            .flatten()
            .map(|topic| ReplicaElectionResult {
                partition_result: topic
                    .partitions
                    .iter()
                    .map(|index| PartitionResult {
                        partition_id: *index,
                        error_code: refusal.code(),
                        error_message: refusal.message(),
                    })
                    .collect(),
                topic: topic.topic,
            });
        Some(ElectLeadersResponse {
            error_code: refusal.code(),
            replica_election_results: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for AlterPartitionReassignmentsRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<AlterPartitionReassignmentsResponse> {
        let responses = self.topics.into_iter().map(|topic| ReassignableTopicResponse {
            partitions: topic
                .partitions
                .iter()
                .map(|partition| ReassignablePartitionResponse {
                    partition_index: partition.partition_index,
                    error_code: refusal.code(),
                    error_message: refusal.message(),
                })
                .collect(),
            name: topic.name,
        });
        Some(AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: self.allow_replication_factor_change,
            error_code: refusal.code(),
            error_message: refusal.message(),
            responses: responses.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for CreateAclsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<CreateAclsResponse> {
        let results = self.creations.iter().map(|_| AclCreationResult {
            error_code: refusal.code(),
            error_message: refusal.message(),
        });
        Some(CreateAclsResponse {
            results: results.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for DescribeClientQuotasRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<DescribeClientQuotasResponse> {
        Some(DescribeClientQuotasResponse {
            error_code: refusal.code(),
            error_message: refusal.message(),
            ..Default::default()
        })
    }
}

impl Refusable for AlterClientQuotasRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<AlterClientQuotasResponse> {
        let entries = self.entries.into_iter().map(|entry| EntryResult {
            error_code: refusal.code(),
            error_message: refusal.message(),
            entity: entry.entity,
        });
        Some(AlterClientQuotasResponse {
            entries: entries.collect(),
            ..Default::default()
        })
    }
}
