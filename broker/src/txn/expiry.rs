//! What happens with time: open transactions whose producers are silent are aborted, ids that nobody uses are forgotten.

use std::sync::Arc;
use std::time::Duration;

use heliostat_wire::ErrorCode;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{info, warn};

use super::coordinator::Coordinator;
use crate::broker::Broker;

impl Coordinator {
    /// Starts to look after time. Ends with [`Coordinator::shutdown`].
    pub(crate) fn start_timers(broker: &Arc<Broker>) {
        let this = broker.transactions();
        let (timeouts, expirations) = (
            this.config.timeout_check_interval,
            this.config.expiration_check_interval,
        );
        let of = Arc::clone(broker);
        this.tasks.spawn(async move {
            let mut ticks = ticks(timeouts);
            while tick(&of, &mut ticks).await {
                Coordinator::abort_overdue(&of).await;
            }
        });
        let of = Arc::clone(broker);
        this.tasks.spawn(async move {
            let mut ticks = ticks(expirations);
            while tick(&of, &mut ticks).await {
                of.transactions().remove_expired().await;
            }
        });
    }

    /// Aborts every transaction that is open for longer than its producer allowed, with an epoch that keeps it out.
    pub(super) async fn abort_overdue(broker: &Arc<Broker>) {
        let this = broker.transactions();
        for (id, slot) in this.all() {
            let mut place = slot.metadata.lock().await;
            let Some(overdue) = place.as_ref().filter(|known| known.is_overdue(this.now_ms())) else {
                continue;
            };
            info!(
                transactional_id = id,
                producer_id = overdue.producer_id,
                "transaction is aborted: its timeout is over"
            );
            let decision = overdue.abort(this.now_ms());
            let decided: Result<(), ErrorCode> = this.decide(broker, &id, &mut place, decision).await;
            if let Err(error) = decided {
                warn!(transactional_id = id, %error, "transaction could not be aborted; it will be tried again");
            }
        }
    }

    /// Forgets ids without a transaction that were not used for transactional.id.expiration.ms.
    pub(super) async fn remove_expired(&self) {
        let expiration_ms = i64::try_from(self.config.id_expiration.as_millis()).unwrap_or(i64::MAX);
        for (id, slot) in self.all() {
            let mut place = slot.metadata.lock().await;
            match place.as_ref() {
                Some(known) if !known.is_expired(self.now_ms(), expiration_ms) => continue,
                Some(_) if self.store(&id, None).await.is_err() => continue,
                Some(_) => *place = None,
                None => {}
            }
            drop(place);
            self.release(&id, &slot);
        }
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for the next tick; `false` when the coordinator stops.
async fn tick(broker: &Broker, ticks: &mut tokio::time::Interval) -> bool {
    tokio::select! {
        biased;
        () = broker.transactions().stopping.cancelled() => false,
        () = broker.drain().cancelled() => false,
        _ = ticks.tick() => true,
    }
}
