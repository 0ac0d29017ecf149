//! The requests about committed offsets.

use heliostat_wire::ErrorCode;
use heliostat_wire::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use heliostat_wire::message::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup, OffsetFetchResponseTopics,
};
use heliostat_wire::message::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};
use thiserror::Error;

use super::actor::Handle;
use super::calls::{Call, Commit, CommitOffset};
use super::coordinator::{Coordinator, ask, identity};
use super::offsets::Offsets;

/// The change could not be made durable, and has not been made; it may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the change to a group's offsets is not stored; the reason is in the log")]
pub struct NotStored;

impl Coordinator {
    /// OffsetCommit: offsets are durable when this returns. Whether the topics exist is the caller's to check.
    pub async fn commit_offsets(&self, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let mut topics = Vec::with_capacity(request.topics.len());
        let mut offsets = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for p in topic.partitions {
                partitions.push(OffsetCommitResponsePartition {
                    partition_index: p.partition_index,
                    error_code: 0,
                });
                offsets.push(CommitOffset {
                    topic: topic.name.clone(),
                    partition: p.partition_index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.committed_metadata.unwrap_or_default(),
                });
            }
            topics.push(OffsetCommitResponseTopic {
                name: topic.name,
                partitions,
            });
        }
        let commit = Commit {
            member: identity(request.member_id, request.group_instance_id),
            generation: request.generation_id_or_member_epoch,
            modern: version >= 9,
            producer_id: None,
            retention: (request.retention_time_ms != -1).then_some(request.retention_time_ms),
            offsets,
        };
        let codes = self.commit(&request.group_id, version >= 9, commit).await;
        for (partition, code) in topics.iter_mut().flat_map(|t| t.partitions.iter_mut()).zip(codes) {
            partition.error_code = code.code();
        }
        OffsetCommitResponse {
            topics,
            ..OffsetCommitResponse::default()
        }
    }

    /// TxnOffsetCommit: offsets are durable when this returns, and visible when the transaction commits
    /// ([`Coordinator::end_transaction`]). Whether the producer may do this is the caller's to check.
    pub async fn commit_transactional_offsets(
        &self,
        request: TxnOffsetCommitRequest,
    ) -> TxnOffsetCommitResponse {
        let mut topics = Vec::with_capacity(request.topics.len());
        let mut offsets = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for p in topic.partitions {
                partitions.push(TxnOffsetCommitResponsePartition {
                    partition_index: p.partition_index,
                    error_code: 0,
                });
                offsets.push(CommitOffset {
                    topic: topic.name.clone(),
                    partition: p.partition_index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.committed_metadata.unwrap_or_default(),
                });
            }
            topics.push(TxnOffsetCommitResponseTopic {
                name: topic.name,
                partitions,
            });
        }
        let commit = Commit {
            member: identity(request.member_id, request.group_instance_id),
            generation: request.generation_id,
            modern: true,
            producer_id: Some(request.producer_id),
            retention: None,
            offsets,
        };
        let codes = self.commit(&request.group_id, false, commit).await;
        for (partition, code) in topics.iter_mut().flat_map(|t| t.partitions.iter_mut()).zip(codes) {
            partition.error_code = code.code();
        }
        TxnOffsetCommitResponse {
            topics,
            ..TxnOffsetCommitResponse::default()
        }
    }

    /// A producer's transaction has ended: the offsets that it committed for this group take effect, or are dropped. Doing
    /// it again does nothing.
    pub async fn end_transaction(
        &self,
        group_id: &str,
        producer_id: i64,
        commit: bool,
    ) -> Result<(), NotStored> {
        let Some(group) = self.find(group_id) else {
            return Ok(());
        };
        match ask(&group, |answer| Call::EndTransaction {
            producer_id,
            commit,
            answer,
        })
        .await
        {
            Some(Ok(())) => Ok(()),
            // A group that has just been deleted has nothing pending; one that stops must be asked again after the restart.
            None if !self.stopping.is_cancelled() => Ok(()),
            Some(Err(_)) | None => Err(NotStored),
        }
    }

    /// OffsetFetch, for one group.
    pub async fn fetch_offsets(
        &self,
        group: OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> OffsetFetchResponseGroup {
        let OffsetFetchRequestGroup {
            group_id,
            member_id,
            member_epoch,
            topics,
        } = group;
        let mut response = OffsetFetchResponseGroup {
            group_id,
            ..OffsetFetchResponseGroup::default()
        };
        match self.find(&response.group_id) {
            Some(group) => match ask(&group, |answer| Call::Fetch {
                topics,
                require_stable,
                member: (member_id, member_epoch),
                answer,
            })
            .await
            {
                Some(Ok(topics)) => response.topics = topics,
                Some(Err(error)) => response.error_code = error.code(),
                None => response.error_code = ErrorCode::CoordinatorNotAvailable.code(),
            },
            None => {
                response.error_code = self.absent(ErrorCode::None).code();
                response.topics = nothing_committed(topics);
            }
        }
        response
    }

    /// OffsetDelete: an error for the whole request, or one code for each partition.
    pub async fn delete_offsets(
        &self,
        group_id: &str,
        partitions: Vec<(String, i32)>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        if group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let Some(group) = self.find(group_id) else {
            return Err(self.absent(ErrorCode::GroupIdNotFound));
        };
        let answer = ask(&group, |answer| Call::DeleteOffsets { partitions, answer }).await;
        answer.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    /// A topic has been deleted: so are all offsets that were committed for it.
    pub async fn topic_deleted(&self, topic: &str) -> Result<(), NotStored> {
        let groups: Vec<Handle> = self.registry().values().cloned().collect();
        let mut outcome = Ok(());
        for group in groups {
            let topic = topic.to_owned();
            if let Some(Err(_)) = ask(&group, |answer| Call::ForgetTopic { topic, answer }).await {
                outcome = Err(NotStored);
            }
        }
        outcome
    }

    async fn commit(&self, group_id: &str, says_not_found: bool, commit: Commit) -> Vec<ErrorCode> {
        let count = commit.offsets.len();
        let missing = if says_not_found {
            ErrorCode::GroupIdNotFound
        } else {
            ErrorCode::IllegalGeneration
        };
        let group = match self.find(group_id) {
            None if commit.generation < 0 => self.find_or_create(group_id, 0),
            found => found.ok_or(self.absent(missing)),
        };
        let group = match group {
            Ok(group) => group,
            Err(error) => return vec![error; count],
        };
        match ask(&group, |answer| Call::Commit {
            commit: Box::new(commit),
            answer,
        })
        .await
        {
            Some(Ok(codes)) => codes,
            Some(Err(error)) => vec![error; count],
            None => vec![ErrorCode::CoordinatorNotAvailable; count],
        }
    }
}

/// The answer to OffsetFetch for a group that does not exist.
fn nothing_committed(topics: Option<Vec<OffsetFetchRequestTopics>>) -> Vec<OffsetFetchResponseTopics> {
    let nothing = Offsets::default();
    let topic = |t: OffsetFetchRequestTopics| OffsetFetchResponseTopics {
        partitions: t
            .partition_indexes
            .iter()
            .map(|&p| nothing.fetch(&t.name, p, false))
            .collect(),
        name: t.name,
    };
    topics.unwrap_or_default().into_iter().map(topic).collect()
}
