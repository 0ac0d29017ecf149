//! Beginning where nobody is in the group: one daemon begins with everything, and does not wait for the group; of several that begin at the same moment
//! the [first](crate::offsets::first).

use tokio::task::JoinHandle;

use super::*;
use crate::flow::discover::read_maps;
use crate::offsets::first::{First, HOLDS, Start};

/// How often who is first says so again, in the time for which that holds: with each beat.
const SAID_AGAIN: u32 = 4;

/// For so long at most what the group gives to a daemon waits until the first one has released it. A group takes 3 s to decide by default
/// (`group.initial.rebalance.delay.ms`), and what is on its way up to [`RELEASE_DEADLINE`] to arrive.
const AWAITED: Duration = Duration::from_secs(10);

/// How often is asked again where the group takes nobody.
const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// What is known of who begins.
pub(super) struct Told {
    /// Whether it is this daemon.
    is_first: bool,
    /// Whether it has said that it would.
    has_said: bool,
}

/// What a daemon has to do with who begins.
pub(super) struct Beginning {
    /// Its name for this.
    daemon: String,
    /// When it was last asked.
    asked_at: Instant,
    /// When it said last that it begins.
    said_at: Option<Instant>,
    /// Says that it is over.
    ending: Option<JoinHandle<()>>,
    /// What the map says of it is being read.
    is_reading: bool,
    /// Until then what the group has given to it is taken when the first one has released it.
    awaits: Option<Instant>,
}

impl Default for Beginning {
    fn default() -> Beginning {
        Beginning {
            daemon: format!("{:016x}", rand::random::<u64>()),
            asked_at: Instant::now(),
            said_at: None,
            ending: None,
            is_reading: false,
            awaits: None,
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
    let read = async || {
        let map = [discovery.map_topic.as_str()];
        let read = read_maps(&discovery.target, &discovery.target_maps, map.into_iter()).await;
        read.is_ok().then(|| discovery.target_maps.first())
    };
    let other = |first: First| first.is_other(daemon, (now_ms(), Instant::now()));
    if !is_empty().await || read().await.is_none_or(other) {
        let (is_first, has_said) = (false, false);
        return Told { is_first, has_said };
    }
    let start = Start::new(daemon, now_ms(), HOLDS);
    let is_first = discovery.writer.first(Some(&start)).await.is_ok()
        && read().await.is_some_and(|first| first.is(daemon))
        && is_empty().await;
    let has_said = true;
    Told { is_first, has_said }
}

/// Says in the map which daemon begins, or that none does any more. It has its place in the order of the map when this returns.
fn say(discovery: &Discovery, start: Option<&Start>) -> impl Future<Output = ()> + Send + use<> {
    let said = discovery.writer.first(start);
    let flow = discovery.flow.clone();
    async move {
        if let Err(error) = said.await {
            tracing::debug!(flow = %flow.name, "who begins: {error}");
        }
    }
}

impl Supervisor {
    pub(super) fn ask_who_begins(&mut self) {
        self.beginning.asked_at = Instant::now();
        let (discovery, daemon) = (self.discovery.clone(), self.beginning.daemon.clone());
        let (is_first, has_said) = (false, true);
        self.beside(Report::First(Told { is_first, has_said }), async move {
            Report::First(begin(&discovery, &daemon).await)
        });
    }

    /// The group takes nobody. Who begins may have ended since it was asked, and nobody else would do the work then.
    pub(super) fn ask_again_who_begins(&mut self) {
        let is_outside = self.alone == Some(false) && self.assigned.is_empty();
        if is_outside && self.beginning.asked_at.elapsed() >= ASKED_AGAIN {
            self.alone = None;
            self.ask_who_begins();
        }
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

    /// As long as this daemon copies, and the group has given nothing to anybody: others that come wait for that.
    pub(super) fn say_again_who_begins(&mut self) {
        let said_at = self.beginning.said_at;
        let is_due = said_at.is_some_and(|at| at.elapsed() >= HOLDS / SAID_AGAIN);
        if self.alone == Some(true) && is_due && !self.mine.is_empty() && !self.has_lost_source() {
            self.beginning.said_at = Some(Instant::now());
            let start = Start::new(&self.beginning.daemon, now_ms(), HOLDS);
            tokio::spawn(say(&self.discovery, Some(&start)));
        }
    }

    /// The group decides from now on. What it has not given to this daemon is released, and then others need not wait any more.
    pub(super) fn end_alone(&mut self) {
        if self.alone.replace(false) != Some(true) {
            return;
        }
        let keys = self.mine.keys().filter(|key| !self.assigned.contains(*key));
        let others: Vec<_> = keys.cloned().collect();
        // Partitions that the group does not know yet come with its next assignment.
        let (done, released) = mpsc::channel();
        self.release(others, Some(done));
        self.end_beginning(Some(released));
    }

    /// Others need not wait any more when all senders of this channel are gone.
    fn end_beginning(&mut self, released: Option<mpsc::Receiver<()>>) {
        if self.beginning.said_at.take().is_none() {
            return;
        }
        let (discovery, daemon) = (self.discovery.clone(), self.beginning.daemon.clone());
        self.beginning.ending = Some(tokio::spawn(async move {
            if let Some(released) = released {
                let wait = move || released.recv_timeout(RELEASE_DEADLINE);
                let _ = tokio::task::spawn_blocking(wait).await;
            }
            let start = Start::new(&daemon, now_ms(), Duration::ZERO);
            say(&discovery, Some(&start)).await;
        }));
    }

    /// This daemon ends, and has released everything.
    pub(super) async fn end_beginning_by(&mut self, until: tokio::time::Instant) {
        self.end_beginning(None);
        if let Some(ending) = self.beginning.ending.take() {
            let _ = tokio::time::timeout_at(until, ending).await;
        }
    }

    /// The group has assigned something to this daemon, which is in it since a moment ago. Who has begun with everything has said so before it could be
    /// seen in the group: it is in the map by now, and not all of that may have been read.
    pub(super) fn read_who_begins(&mut self) {
        self.beginning.awaits = Some(Instant::now() + AWAITED);
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
        self.take_what_was_awaited();
    }

    /// Whether the one that has begun with everything has still to release what the group gives to others. Then they take it a little later.
    pub(super) fn waits_for_first(&self) -> bool {
        self.beginning.is_reading || self.beginning.awaits.is_some()
    }

    /// Take what was waited for, once that is over.
    pub(super) fn take_what_was_awaited(&mut self) {
        let Some(until) = self.beginning.awaits.filter(|_| !self.beginning.is_reading) else {
            return;
        };
        let (first, now) = (self.discovery.target_maps.first(), Instant::now());
        if now < until && first.is_other(&self.beginning.daemon, (now_ms(), now)) {
            return;
        }
        self.beginning.awaits = None;
        if first.is_left_by_another(&self.beginning.daemon) {
            // It was killed, or its clock is wrong. Nobody needs to wait for it again.
            tokio::spawn(say(&self.discovery, None));
        }
        self.adopt();
    }
}
