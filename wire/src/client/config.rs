//! What a client is told when it is made.

use std::time::Duration;

/// How a client finds its cluster, and how patient it is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name that the client gives itself: quotas and the brokers' logs go by it.
    pub client_id: String,
    /// Hosts and ports that are asked for the rest of the cluster.
    pub bootstrap: Vec<(String, u16)>,
    /// For how long a connection may take, until the broker has told which versions it speaks.
    pub connect_timeout: Duration,
    /// For how long an answer may take, from the moment in which its request is written.
    pub request_timeout: Duration,
    /// How long to wait before a node is connected to again that has failed once. It doubles with every failure.
    pub reconnect_backoff: Duration,
    /// The longest such wait.
    pub reconnect_backoff_max: Duration,
    /// Leaders that were asked for this long ago are asked for again, in the background.
    pub metadata_max_age: Duration,
    /// How many requests a connection carries at once.
    pub in_flight_requests: usize,
    /// The largest answer that is read; a broker that announces a larger one is not believed.
    pub max_response_bytes: usize,
}

/// Two and a half times what a broker answers at most by default (`fetch.max.bytes` is 55 MiB), and room for one
/// large batch.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// As many as one connection can make use of: what is on its way, and what the broker works on.
const IN_FLIGHT_REQUESTS: usize = 64;

impl Config {
    /// The defaults, for a cluster that is found at these addresses.
    pub fn new(client_id: impl Into<String>, bootstrap: Vec<(String, u16)>) -> Self {
        Config {
            client_id: client_id.into(),
            bootstrap,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(60),
            in_flight_requests: IN_FLIGHT_REQUESTS,
            max_response_bytes: MAX_RESPONSE_BYTES,
        }
    }
}
