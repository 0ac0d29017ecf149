//! The client of `heliostat-wire`: against the built-in cluster and its faults, and against servers that are no brokers.

mod by_name;
mod connection;
mod fake;
mod fetching;
mod hostile;
mod leaders;
mod sending;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use heliostat_broker::{Cluster, Fault, FaultKind};
use heliostat_wire::client::{Client, Config, Tcp};

use crate::client::PATIENCE;

/// How the client is to be for these addresses.
fn config(addresses: &[SocketAddr]) -> Config {
    let bootstrap = addresses
        .iter()
        .map(|address| (address.ip().to_string(), address.port()));
    Config::new("test", bootstrap.collect())
}

/// As above, not patient.
fn hasty(addresses: &[SocketAddr]) -> Config {
    Config {
        connect_timeout: Duration::from_millis(300),
        request_timeout: Duration::from_millis(300),
        ..config(addresses)
    }
}

fn client_of(cluster: &Cluster) -> Client {
    made(config(cluster.addresses()))
}

fn made(config: Config) -> Client {
    Client::new(config, Arc::new(Tcp))
}

/// A fault that hits requests of one API.
fn fault(kind: FaultKind, api: &str) -> Fault {
    Fault {
        api: Some(api.to_owned()),
        ..Fault::new(kind)
    }
}

/// What comes of it in good time; a test that waits longer has failed.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("nothing comes of it")
}
