//! Members of a group of each protocol, which commit in their generation until the node is killed, and go on in the same
//! one afterwards.

use std::net::SocketAddr;

use heliostat_wire::message::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetFetchRequest, Request, SyncGroupRequest,
    join_group::JoinGroupRequestProtocol,
    leave_group::MemberIdentity,
    offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    sync_group::SyncGroupRequestAssignment,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinHandle;

use crate::{
    client::Client,
    load::{TOPIC, ask},
    node::Node,
};

/// Kafka's numbers of UNKNOWN_MEMBER_ID and MEMBER_ID_REQUIRED.
const UNKNOWN_MEMBER_ID: i16 = 25;
const MEMBER_ID_REQUIRED: i16 = 79;

/// Longer than a run: no member is lost because the machine is slow.
const SESSION_MS: i32 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Classic,
    /// KIP-848.
    Consumer,
}

/// The only member of a group, and what is known of it.
#[derive(Debug, Clone)]
pub struct Member {
    protocol: Protocol,
    id: String,
    /// The generation, or the epoch, once it was acknowledged to be a member in it.
    generation: Option<i32>,
    /// What was acknowledged to be committed, and what may be in its place.
    committed: i64,
    undecided: Option<i64>,
    /// How often it had to go on after a kill.
    pub kept: u32,
    pub commits: u32,
}

/// A member at work.
struct Session {
    client: Client,
    known: Member,
    random: StdRng,
}

impl Member {
    pub fn new(protocol: Protocol) -> Member {
        Member {
            protocol,
            id: String::new(),
            generation: None,
            committed: -1,
            undecided: None,
            kept: 0,
            commits: 0,
        }
    }

    /// Begins, where the last one ended.
    pub fn start(&self, node: &Node, random: &mut StdRng) -> JoinHandle<Member> {
        let (address, known, seed) = (node.address, self.clone(), random.random());
        tokio::spawn(run(address, known, seed))
    }

    /// The offset is one that was committed last, and whoever was a member is one.
    pub async fn check(&mut self, node: &Node, context: &str) {
        let mut client = Client::connect(node.address).await;
        let committed = self.fetch(&mut client).await;
        assert!(
            committed == self.committed || Some(committed) == self.undecided,
            "{committed} is committed by a member, {self:?}, {context}"
        );
        (self.committed, self.undecided) = (committed, None);
        if let Some(generation) = self.generation {
            let error = self.beat(&mut client, generation).await;
            assert_eq!(error, Some(0), "{self:?}, {context}");
            self.kept += 1;
        }
    }

    fn group(&self) -> String {
        format!("members-{:?}", self.protocol)
    }

    async fn fetch(&self, client: &mut Client) -> i64 {
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: self.group(),
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: TOPIC.to_owned(),
                    partition_indexes: vec![0],
                }]),
                ..Default::default()
            }],
            ..Default::default()
        };
        // The topic's id is not known here.
        let response = ask(client, &request, 9).await.expect("the node is there");
        let partition = &response.groups[0].topics[0].partitions[0];
        assert_eq!(partition.error_code, 0, "{self:?}");
        partition.committed_offset
    }

    /// Says that the member is there; the error code.
    async fn beat(&self, client: &mut Client, generation: i32) -> Option<i16> {
        match self.protocol {
            Protocol::Classic => {
                let request = HeartbeatRequest {
                    group_id: self.group(),
                    generation_id: generation,
                    member_id: self.id.clone(),
                    group_instance_id: None,
                };
                ask(client, &request, 4).await.map(|answer| answer.error_code)
            }
            Protocol::Consumer => {
                let answer = ask(client, &self.consuming(generation), 1).await?;
                assert!(answer.error_code != 0 || answer.member_epoch == generation);
                Some(answer.error_code)
            }
        }
    }

    fn consuming(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.group(),
            member_id: self.id.clone(),
            member_epoch: epoch,
            ..Default::default()
        }
    }
}

async fn run(address: SocketAddr, known: Member, seed: u64) -> Member {
    let Ok(client) = Client::try_connect(address).await else {
        return known;
    };
    let random = StdRng::seed_from_u64(seed);
    let mut session = Session {
        client,
        known,
        random,
    };
    // It ends when the connection does.
    let _ = session.work().await;
    session.known
}

impl Session {
    async fn work(&mut self) -> Option<()> {
        loop {
            let generation = match self.known.generation {
                Some(generation) => generation,
                None => self.join().await?,
            };
            for _ in 0..self.random.random_range(1..30) {
                self.commit(generation).await?;
                if self.random.random_ratio(1, 4) {
                    let error = self.known.beat(&mut self.client, generation).await?;
                    assert_eq!(error, 0, "{:?}", self.known);
                }
            }
            // Another generation, or another member.
            self.known.generation = None;
            if self.random.random_ratio(1, 3) {
                self.leave().await?;
            }
        }
    }

    async fn join(&mut self) -> Option<i32> {
        let generation = match self.known.protocol {
            Protocol::Classic => self.join_classic().await?,
            Protocol::Consumer => {
                // Consumers choose their ids, which no two of them share.
                if self.known.id.is_empty() {
                    self.known.id = format!("member-{}", self.random.random::<u64>());
                }
                let request = ConsumerGroupHeartbeatRequest {
                    rebalance_timeout_ms: SESSION_MS,
                    subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
                    topic_partitions: Some(Vec::new()),
                    ..self.known.consuming(0)
                };
                let answer = self.ask(&request, 1).await?;
                assert_eq!(answer.error_code, 0, "{:?}", self.known);
                answer.member_epoch
            }
        };
        self.known.generation = Some(generation);
        Some(generation)
    }

    async fn join_classic(&mut self) -> Option<i32> {
        let generation = loop {
            let request = JoinGroupRequest {
                group_id: self.known.group(),
                session_timeout_ms: SESSION_MS,
                rebalance_timeout_ms: SESSION_MS,
                member_id: self.known.id.clone(),
                protocol_type: "consumer".to_owned(),
                protocols: vec![JoinGroupRequestProtocol {
                    name: "range".to_owned(),
                    ..Default::default()
                }],
                ..Default::default()
            };
            let answer = self.ask(&request, 9).await?;
            match answer.error_code {
                0 => break answer.generation_id,
                MEMBER_ID_REQUIRED => self.known.id = answer.member_id,
                // An id that was given out, and not yet that of a member, does not outlive the node.
                UNKNOWN_MEMBER_ID => self.known.id.clear(),
                error => panic!("joining fails with {error}, {:?}", self.known),
            }
        };
        let request = SyncGroupRequest {
            group_id: self.known.group(),
            generation_id: generation,
            member_id: self.known.id.clone(),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: self.known.id.clone(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self.ask(&request, 4).await?;
        assert_eq!(answer.error_code, 0, "{:?}", self.known);
        Some(generation)
    }

    async fn leave(&mut self) -> Option<()> {
        // Whether it has left is not known before it is answered: then it asks to join with the id that it had.
        let error = match self.known.protocol {
            Protocol::Classic => {
                let request = LeaveGroupRequest {
                    group_id: self.known.group(),
                    members: vec![MemberIdentity {
                        member_id: self.known.id.clone(),
                        ..Default::default()
                    }],
                    ..Default::default()
                };
                self.ask(&request, 5).await?.error_code
            }
            Protocol::Consumer => {
                let request = self.known.consuming(-1);
                self.ask(&request, 1).await?.error_code
            }
        };
        assert_eq!(error, 0, "{:?}", self.known);
        self.known.id.clear();
        Some(())
    }

    async fn commit(&mut self, generation: i32) -> Option<()> {
        let offset = self.known.committed + 1;
        let request = OffsetCommitRequest {
            group_id: self.known.group(),
            generation_id_or_member_epoch: generation,
            member_id: self.known.id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: TOPIC.to_owned(),
                partitions: vec![OffsetCommitRequestPartition {
                    committed_offset: offset,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        self.known.undecided = Some(offset);
        let answer = self.ask(&request, 9).await?;
        let error = answer.topics[0].partitions[0].error_code;
        assert_eq!(error, 0, "{:?}", self.known);
        (self.known.committed, self.known.undecided) = (offset, None);
        self.known.commits += 1;
        Some(())
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        ask(&mut self.client, request, version).await
    }
}
