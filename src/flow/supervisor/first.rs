//! Beginning where nobody is in the group: one daemon begins with everything, and does not wait for the group; of several that begin at the same moment
//! the [first](crate::offsets::first).

use tokio::task::JoinHandle;

use super::*;
use crate::flow::discover::read_maps;
use crate::offsets::first::{First, Start};

/// How often who is first says so again, in the time for which that holds.
const SAID_AGAIN: u32 = 3;

/// For how long it holds that a daemon begins, if it says nothing more: as long as the group would wait for it.
fn holds(flow: &Flow) -> Duration {
    flow.session_timeout.max(SAID_AGAIN * BEAT)
}

/// What is known of who begins.
pub(super) struct Told {
    /// Whether it is this daemon.
    is_first: bool,
    /// Whether it has said that it would.
    has_said: bool,
}

impl Told {
    /// Nothing could be found out.
    fn nothing() -> Told {
        Told {
            is_first: false,
            has_said: true,
        }
    }
}

/// What a daemon has to do with who begins.
pub(super) struct Beginning {
    /// Its name for this.
    daemon: String,
    /// When it said last that it begins.
    said_at: Option<Instant>,
    /// It is being said that it is over.
    is_ending: bool,
    /// What the map says of it is being read.
    is_reading: bool,
    /// What the group has given to it is taken when the first one has released it.
    is_awaited: bool,
}

impl Default for Beginning {
    fn default() -> Beginning {
        Beginning {
            daemon: format!("{:016x}", rand::random::<u64>()),
            said_at: None,
            is_ending: false,
            is_reading: false,
            is_awaited: false,
        }
    }
}

/// Whether a daemon is the one that begins: there is nobody in the group, nor was there anybody when this had been read in the map.
async fn begin(discovery: &Discovery, daemon: &str) -> Told {
    let group = group_id(&discovery.flow.source);
    // If the group cannot be asked, it decides in its own time.
    let is_empty = async || {
        discovery
            .target
            .group_members(&group)
            .await
            .is_ok_and(|count| count == 0)
    };
    if !is_empty().await {
        return Told {
            is_first: false,
            has_said: false,
        };
    }
    let start = Start::new(daemon, now_ms(), holds(&discovery.flow));
    let map = [discovery.map_topic.as_str()];
    let is_first = discovery.writer.first(&start).await.is_ok()
        && read_maps(&discovery.target, &discovery.target_maps, map.into_iter())
            .await
            .is_ok()
        && discovery.target_maps.first().is(daemon)
        && is_empty().await;
    Told {
        is_first,
        has_said: true,
    }
}

/// Says in the map that a daemon begins, or that this is over. It has its place in the order of the map when this returns.
fn say(discovery: &Discovery, daemon: &str, holds: Duration) -> impl Future<Output = ()> + Send + use<> {
    let said = discovery.writer.first(&Start::new(daemon, now_ms(), holds));
    let flow = discovery.flow.clone();
    async move {
        if let Err(error) = said.await {
            tracing::debug!(flow = %flow.name, "who begins: {error}");
        }
    }
}

impl Supervisor {
    pub(super) fn ask_who_begins(&self) {
        let (discovery, daemon) = (self.discovery.clone(), self.beginning.daemon.clone());
        self.beside(Report::First(Told::nothing()), async move {
            Report::First(begin(&discovery, &daemon).await)
        });
    }

    /// It is known whether this daemon is the one that begins.
    pub(super) fn on_first(&mut self, told: &Told) {
        let Told { is_first, has_said } = *told;
        self.beginning.said_at = has_said.then(Instant::now);
        // The group may have answered in the meantime; then it is the one that decides.
        if self.alone.is_some() || !is_first {
            self.end_beginning(None);
        }
        if self.alone.is_none() {
            self.alone = Some(is_first);
            self.adopt();
        }
    }

    /// As long as the group has given nothing to anybody: others that come wait for that.
    pub(super) fn say_again_who_begins(&mut self) {
        let holds = holds(&self.flow);
        let said_at = self.beginning.said_at;
        let is_due = said_at.is_some_and(|at| at.elapsed() >= holds / SAID_AGAIN);
        if self.alone == Some(true) && is_due && !self.beginning.is_ending {
            self.beginning.said_at = Some(Instant::now());
            tokio::spawn(say(&self.discovery, &self.beginning.daemon, holds));
        }
    }

    /// Others need not wait any more once this is done, which is begun when all senders of this channel are gone.
    pub(super) fn end_beginning(&mut self, released: Option<mpsc::Receiver<()>>) -> Option<JoinHandle<()>> {
        self.beginning.said_at?;
        if std::mem::replace(&mut self.beginning.is_ending, true) {
            return None;
        }
        let (discovery, daemon) = (self.discovery.clone(), self.beginning.daemon.clone());
        Some(tokio::spawn(async move {
            if let Some(released) = released {
                let wait = move || released.recv_timeout(RELEASE_DEADLINE);
                let _ = tokio::task::spawn_blocking(wait).await;
            }
            say(&discovery, &daemon, Duration::ZERO).await;
        }))
    }

    /// The group has assigned something to this daemon, which is in it since a moment ago. Who has begun with everything has said so before it could be
    /// seen in the group: it is in the map by now, and not all of that may have been read.
    pub(super) fn read_who_begins(&mut self) {
        if std::mem::replace(&mut self.beginning.is_reading, true) {
            return;
        }
        let discovery = self.discovery.clone();
        self.beside(Report::MapRead, async move {
            let map = [discovery.map_topic.as_str()];
            let read = read_maps(&discovery.target, &discovery.target_maps, map.into_iter()).await;
            if let Err(error) = read {
                tracing::debug!(flow = %discovery.flow.name, "who begins: {error}");
            }
            Report::MapRead
        });
    }

    pub(super) fn on_map_read(&mut self) {
        self.beginning.is_reading = false;
        self.adopt();
    }

    /// Whether the one that has begun with everything has still to release what the group gives to others. Then they take it a little later.
    pub(super) fn waits_for_first(&mut self) -> bool {
        let first: First = self.discovery.target_maps.first();
        let waits = self.beginning.is_reading
            || self.alone != Some(true)
                && first.is_other(&self.beginning.daemon, holds(&self.flow), Instant::now());
        self.beginning.is_awaited = waits;
        waits
    }

    /// Take what was waited for, once that is over.
    pub(super) fn adopt_what_was_awaited(&mut self) {
        if self.beginning.is_awaited && !self.beginning.is_reading && !self.waits_for_first() {
            self.adopt();
        }
    }
}
