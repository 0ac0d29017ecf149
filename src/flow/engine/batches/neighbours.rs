//! What is done so that a node of the target that does not answer holds up nobody but the partitions that it leads.

use tokio::time::Instant;

use super::nodes::NodeId;
use super::pump::{LISTEN_TICK, Pump};

impl Pump {
    /// Where there is no room, looks now and then whether that is because of nodes that do not answer, and takes theirs.
    pub(super) fn listen(&mut self) {
        let now = Instant::now();
        if self.has_room() || !self.nodes.are_several() || now < self.listen_at {
            return;
        }
        self.listen_at = now + LISTEN_TICK;
        for node in self.nodes.fall_silent(now) {
            self.put_back(node);
        }
    }

    /// What was fetched for a node and not sent is fetched again when it answers.
    fn put_back(&mut self, node: NodeId) {
        let mut bytes = 0;
        for (&id, slot) in &mut self.slots {
            if slot.node != node || slot.is_stopped {
                continue;
            }
            let before = slot.buffered();
            slot.put_back();
            bytes += before - slot.buffered();
            if std::mem::take(&mut slot.is_fetching) {
                self.fetcher.stop(id);
            }
            if !std::mem::replace(&mut slot.is_parked, true) {
                self.nodes.park(node, id);
            }
        }
        self.buffered -= bytes;
        tracing::info!(flow = %self.settings.flow, node, bytes, "a node of the target does not answer: what waits for it is read again when it does");
    }

    /// Nodes have answered: these slots may be fetched again, and others may have room to send.
    pub(super) fn go_on_where_answered(&mut self, parked: Vec<u32>) {
        for id in parked {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.is_parked = false;
            }
            self.fetch(id);
        }
        for id in self.nodes.no_longer_crowded() {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.is_crowded = false;
            }
            self.send(id);
        }
    }
}
