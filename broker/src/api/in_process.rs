//! Frames without connections, for tests that have very many of them.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use heliostat_wire::Payload;

use super::{Peer, Reply};
use crate::{Cluster, fault};

impl Cluster {
    /// Answers a frame, without its size, as the first node answers one that comes over a connection: everything behind
    /// the socket is the same. `None`: there is no answer, or the connection would be closed.
    #[doc(hidden)]
    pub async fn answer(&self, frame: Bytes) -> Option<Bytes> {
        let broker = self.broker();
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let peer = Peer {
            address: localhost,
            port: 0,
            local_address: localhost,
            node_id: broker.nodes().first()?.id,
            session: None,
        };
        let mut reply = fault::handle(broker, &peer, frame).await;
        loop {
            reply = match reply {
                Reply::Frame(pieces) | Reply::Large(pieces, _) => return Payload::join(pieces).ok(),
                Reply::Throttled(reply, _) => *reply,
                Reply::Later(reply) => reply.await,
                Reply::Nothing | Reply::Close(_) | Reply::Refused { .. } => return None,
            }
        }
    }
}
