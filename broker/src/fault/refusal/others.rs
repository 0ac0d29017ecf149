//! Refusals of the consumer protocol's requests, and of those about users and access rules.

use std::collections::BTreeSet;

use heliostat_wire::message::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DeleteAclsRequest, DeleteAclsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, ListConfigResourcesRequest, ListConfigResourcesResponse,
    alter_user_scram_credentials::AlterUserScramCredentialsResult, consumer_group_describe::DescribedGroup,
    delete_acls::DeleteAclsFilterResult,
};

use super::{Named, Refusable, Refusal};

impl Refusable for ConsumerGroupHeartbeatRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        let names = self.subscribed_topic_names.iter().flatten();
        let ids = self.topic_partitions.iter().flatten();
        let names = names.map(|name| Named::Name(name));
        names.chain(ids.map(|topic| Named::Id(topic.topic_id))).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<ConsumerGroupHeartbeatResponse> {
        Some(ConsumerGroupHeartbeatResponse {
            error_code: refusal.code(),
            error_message: refusal.message(),
            ..Default::default()
        })
    }
}

impl Refusable for ConsumerGroupDescribeRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<ConsumerGroupDescribeResponse> {
        let groups = self.group_ids.into_iter().map(|group_id| DescribedGroup {
            error_code: refusal.code(),
            error_message: refusal.message(),
            group_id,
            ..Default::default()
        });
        Some(ConsumerGroupDescribeResponse {
            groups: groups.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for ListConfigResourcesRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<ListConfigResourcesResponse> {
        Some(ListConfigResourcesResponse {
            error_code: refusal.code(),
            ..Default::default()
        })
    }
}

impl Refusable for DeleteAclsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<DeleteAclsResponse> {
        let results = self.filters.iter().map(|_| DeleteAclsFilterResult {
            error_code: refusal.code(),
            error_message: refusal.message(),
            ..Default::default()
        });
        Some(DeleteAclsResponse {
            filter_results: results.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for DescribeUserScramCredentialsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<DescribeUserScramCredentialsResponse> {
        Some(DescribeUserScramCredentialsResponse {
            error_code: refusal.code(),
            error_message: refusal.message(),
            ..Default::default()
        })
    }
}

impl Refusable for AlterUserScramCredentialsRequest {
    /// One error for each user, however often the request names it.
    fn refuse(self, refusal: &Refusal<'_>) -> Option<AlterUserScramCredentialsResponse> {
        let deleted = self.deletions.into_iter().map(|deletion| deletion.name);
        let upserted = self.upsertions.into_iter().map(|upsertion| upsertion.name);
        let users: BTreeSet<String> = deleted.chain(upserted).collect();
        let results = users.into_iter().map(|user| AlterUserScramCredentialsResult {
            user,
            error_code: refusal.code(),
            error_message: refusal.message(),
        });
        Some(AlterUserScramCredentialsResponse {
            results: results.collect(),
            ..Default::default()
        })
    }
}
