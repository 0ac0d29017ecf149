//! Runs a cluster until Ctrl-C: `cargo run -p heliostat-broker --example cluster -- 19092 3 num.partitions=4`.
//!
//! The arguments are the first port, the number of brokers, and properties. A property `data` names the directory.

use std::{collections::BTreeMap, error::Error, time::Duration};

use heliostat_broker::{Cluster, ClusterConfig};

/// How long requests in progress may take when the cluster stops.
const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(19092), |port| port.parse())?;
    let brokers = arguments.next().map_or(Ok(1), |brokers| brokers.parse())?;
    let mut properties = BTreeMap::new();
    for argument in arguments {
        let (name, value) = argument
            .split_once('=')
            .ok_or_else(|| format!("{argument} is not NAME=VALUE"))?;
        properties.insert(name.to_owned(), value.to_owned());
    }
    let data = properties.remove("data").map(Into::into);
    let cluster = Cluster::start(ClusterConfig {
        port,
        brokers,
        data,
        properties,
        ..Default::default()
    })
    .await?;
    println!(
        "cluster {} on {}",
        cluster.cluster_id(),
        cluster.bootstrap_servers()
    );
    tokio::signal::ctrl_c().await?;
    cluster.shutdown(DEADLINE).await;
    Ok(())
}
