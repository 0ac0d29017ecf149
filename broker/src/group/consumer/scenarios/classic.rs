//! Consumers that speak the classic protocol among those that do not.

use bytes::{BufMut as _, Bytes, BytesMut};
use heliostat_wire::message::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use heliostat_wire::message::leave_group::MemberIdentity;
use heliostat_wire::message::sync_group::SyncGroupRequest;

use super::*;
use crate::group::consumer::classic::{ClassicJoin, ClassicJoined};
use crate::group::embedded::Told;

/// As [`REBALANCE_TIMEOUT_MS`], so that whoever is asked to join again in time does so.
const CLASSIC_SESSION_TIMEOUT_MS: i32 = 45_000;

impl World {
    /// A heartbeat, and all that it leads to: joining again, and asking for partitions.
    pub(super) fn beat_classic(&mut self, who: usize, lost: bool) {
        let consumer = &self.consumers[who];
        if consumer.joined && !consumer.unsure {
            let identity = self.identity(who);
            let epoch = self.consumers[who].epoch;
            match self.group.heartbeat_classic(&identity, epoch, self.now) {
                _ if lost => return self.consumers[who].unsure = true,
                Ok(()) => return,
                Err(ErrorCode::RebalanceInProgress) => {}
                Err(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                    return self.consumers[who].lose_everything();
                }
                Err(other) => panic!("{other}"),
            }
        }
        match self.join(who) {
            _ if lost => self.consumers[who].unsure = true,
            Ok(generation) => {
                let consumer = &mut self.consumers[who];
                assert!(!consumer.joined || generation >= consumer.epoch);
                (consumer.joined, consumer.unsure, consumer.epoch) = (true, false, generation);
                self.sync(who);
            }
            Err(ErrorCode::CoordinatorNotAvailable) => self.consumers[who].unsure = true,
            Err(ErrorCode::UnknownMemberId) => self.consumers[who].lose_everything(),
            Err(other) => panic!("{other}"),
        }
    }

    pub(super) fn leave_classic(&mut self, who: usize) {
        if self.consumers[who].joined {
            let (gone, _) = self.group.leaving_classic(&[self.identity(who)]);
            if !gone.is_empty() {
                let image = Arc::clone(&self.image);
                let changes = self.group.without(gone.iter().map(String::as_str), &image);
                self.store(changes);
            }
        }
        self.consumers[who].lose_everything();
        self.consumers[who].life += 1;
    }

    fn identity(&self, who: usize) -> MemberIdentity {
        MemberIdentity {
            member_id: self.consumers[who].id(who),
            group_instance_id: self.consumers[who].instance.clone(),
            reason: None,
        }
    }

    fn join(&mut self, who: usize) -> Result<i32, ErrorCode> {
        let consumer = &self.consumers[who];
        let id = consumer.id(who);
        // A static member that does not know its id is given one; here, the one that it would have by itself.
        let says = if consumer.instance.is_some() && !consumer.joined {
            String::new()
        } else {
            id.clone()
        };
        let request = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: CLASSIC_SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: says,
            group_instance_id: consumer.instance.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "cooperative-sticky".into(),
                metadata: self.subscription(consumer),
            }],
            reason: None,
        };
        let client = Client {
            id: "app".into(),
            host: "/127.0.0.1".into(),
        };
        let image = Arc::clone(&self.image);
        let join = ClassicJoin {
            client: &client,
            version: 9,
            request: &request,
            unique: &id,
            image: &image,
        };
        let ClassicJoined {
            response, changes, ..
        } = self.group.join_classic(&join).map_err(|(_, error)| error)?;
        if !self.store(changes) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        assert_eq!(response.member_id, id);
        self.group.joined_classic(&id, self.now);
        Ok(response.generation_id)
    }

    fn sync(&mut self, who: usize) {
        let request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: self.consumers[who].epoch,
            member_id: self.consumers[who].id(who),
            group_instance_id: self.consumers[who].instance.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("cooperative-sticky".into()),
            assignments: Vec::new(),
        };
        let image = Arc::clone(&self.image);
        match self.group.sync_classic(&request, self.now, &image) {
            Ok(response) => {
                let told = Told::read(&response.assignment).expect("an assignment");
                let ids = told.partitions.into_iter().flat_map(|(topic, partitions)| {
                    let topic = image.topic(&topic).expect("a topic that is there").id;
                    partitions.into_iter().map(move |partition| (topic, partition))
                });
                let consumer = &mut self.consumers[who];
                consumer.told = ids.collect();
                consumer.reads = consumer.reads.iter().chain(consumer.told.iter()).collect();
            }
            Err(ErrorCode::RebalanceInProgress) => self.consumers[who].unsure = true,
            Err(other) => panic!("{other}"),
        }
    }

    /// What a consumer says of itself when it joins: version 1, its topics, no data of its own, what it reads.
    fn subscription(&self, consumer: &Consumer) -> Bytes {
        let mut bytes = BytesMut::new();
        let string = |bytes: &mut BytesMut, text: &str| {
            bytes.put_i16(text.len() as i16);
            bytes.put_slice(text.as_bytes());
        };
        bytes.put_i16(1);
        bytes.put_i32(consumer.topics.len() as i32);
        consumer.topics.iter().for_each(|topic| string(&mut bytes, topic));
        bytes.put_i32(-1);
        // It knows topics by their names only, so that what it read of one that was deleted counts for the next one of its name.
        let reads: Vec<_> = consumer.reads.topics().collect();
        bytes.put_i32(reads.len() as i32);
        for (topic, partitions) in reads {
            string(&mut bytes, &self.made[&topic]);
            bytes.put_i32(partitions.len() as i32);
            partitions.iter().for_each(|&partition| bytes.put_i32(partition));
        }
        bytes.freeze()
    }
}
