//! librdkafka's admin client, which has threads that wake up all the time: it is there as long as something is asked of it now and then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::AdminClient;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::KafkaResult;

use crate::cluster::complaint::Complaint;
use crate::cluster::native::admin as native;

/// After what time without a question a client counts as unused.
const UNUSED_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Context;

impl ClientContext for Context {}

/// A client that is made when it is first needed, and when it is needed again.
pub(super) struct OnDemand {
    config: ClientConfig,
    made: Mutex<Option<Made>>,
}

struct Made {
    client: Arc<AdminClient<Context>>,
    used: Instant,
}

impl OnDemand {
    pub(super) fn new(config: ClientConfig) -> OnDemand {
        OnDemand {
            config,
            made: Mutex::default(),
        }
    }

    /// The client; it connects in the background.
    pub(super) fn get(&self) -> KafkaResult<Arc<AdminClient<Context>>> {
        let mut made = self.lock();
        let client = match made.take() {
            Some(made) => made.client,
            None => Arc::new(AdminClient::from_config_and_context(&self.config, Context)?),
        };
        let used = Instant::now();
        *made = Some(Made {
            client: client.clone(),
            used,
        });
        Ok(client)
    }

    /// Ends the client if nothing was asked of it for some time.
    pub(super) fn give_up_unused(&self) {
        let is_unused = |made: &mut Made| made.used.elapsed() >= UNUSED_AFTER;
        if let Some(unused) = self.lock().take_if(is_unused) {
            // Its threads are waited for.
            drop(tokio::task::spawn_blocking(move || drop(unused)));
        }
    }

    /// What its connections last complained of.
    pub(super) fn last_complaint(&self) -> Option<Complaint> {
        let client = self.lock().as_ref().map(|made| made.client.clone())?;
        native::last_complaint(&client)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
