//! All topics of a cluster, for who asks for them again and again: an answer that is the same to the byte is not read again.

use bytes::Bytes;

use crate::{
    buf::{Reader, Wire, Writer},
    error::DecodeError,
    message::{ApiKey, Message, MetadataRequest, MetadataResponse, Request, ThrottleTime, decode_message},
};

/// What a cluster has told of all its topics, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllTopics {
    version: i16,
    body: Bytes,
}

/// The question for all topics, whose answer stays as it came.
#[derive(Debug, Clone, Default)]
pub(super) struct AskAllTopics(pub(super) MetadataRequest);

/// The first version in which an answer begins with how long the broker keeps the client waiting.
const FIRST_THROTTLING_VERSION: i16 = 3;

impl AllTopics {
    pub(super) fn read(&self) -> Result<MetadataResponse, DecodeError> {
        decode_message(self.body.clone(), self.version)
    }

    /// The same in memory of its own: what answers come in is used again.
    pub(super) fn to_keep(&self) -> AllTopics {
        AllTopics {
            version: self.version,
            body: Bytes::copy_from_slice(&self.body),
        }
    }
}

impl Wire for AskAllTopics {
    fn encode(&self, w: &mut Writer) {
        self.0.encode(w);
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        MetadataRequest::decode(r).map(AskAllTopics)
    }
}

impl ThrottleTime for AskAllTopics {
    fn throttle_time_ms(&self) -> i32 {
        self.0.throttle_time_ms()
    }

    fn set_throttle_time_ms(&mut self, throttle_time_ms: i32) {
        self.0.set_throttle_time_ms(throttle_time_ms);
    }
}

impl Message for AskAllTopics {
    const KEY: ApiKey = ApiKey::Metadata;
}

impl Request for AskAllTopics {
    type Response = AllTopics;
}

impl Wire for AllTopics {
    fn encode(&self, w: &mut Writer) {
        w.put_slice(&self.body);
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(AllTopics {
            version: r.version(),
            body: r.take(r.remaining())?,
        })
    }
}

impl ThrottleTime for AllTopics {
    fn throttle_time_ms(&self) -> i32 {
        let first = self.body.first_chunk().copied().map(i32::from_be_bytes);
        first
            .filter(|_| self.version >= FIRST_THROTTLING_VERSION)
            .unwrap_or(0)
    }

    fn set_throttle_time_ms(&mut self, _: i32) {}
}

impl Message for AllTopics {
    const KEY: ApiKey = ApiKey::Metadata;
}
