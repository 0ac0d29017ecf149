//! The built-in cluster beside Apache Kafka: the same requests to both, and every field of their answers compared.
//!
//! Every API that the built-in cluster answers has a script here, in every version that both speak. What may differ
//! is listed in `allowed.rs` and `absent.rs`, with reasons; what each cluster makes up by itself is made equal by `rules.rs`.
//!
//! `HELIOSTAT_PARITY=name` runs only the scripts whose name contains it.

mod absent;
mod allowed;
mod guide;
mod harness;
mod requests;
mod rules;
mod sasl;
#[path = "../api/sasl/scram.rs"]
mod scram;
mod scripts;
mod several;
mod side;
mod support;
mod tree;

use heliostat_broker::{Cluster, ClusterConfig};

use harness::Parity;
use side::Side;
use support::kafka::{Jvm, Kafka, available};

/// How both are set up to be comparable. The scripts write records of years ago, which on a slow machine would be
/// deleted between a question to the one and the same question to the other.
const PROPERTIES: [(&str, &str); 1] = [("log.retention.ms", "-1")];

#[tokio::test]
async fn the_built_in_cluster_answers_as_kafka_does() {
    if !available("the_built_in_cluster_answers_as_kafka_does") {
        return;
    }
    let kafka = tokio::task::spawn_blocking(|| {
        let properties = PROPERTIES.map(|(key, value)| format!("{key}={value}"));
        let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
        Kafka::start_with("parity", &properties, Jvm::Test)
    });
    // Kafka acknowledges what is in the page cache.
    let properties = [("log.flush.policy", "os")].iter().chain(&PROPERTIES);
    let properties = properties.map(|&(key, value)| (key.to_owned(), value.to_owned()));
    let properties = properties.collect();
    let cluster = Cluster::start(ClusterConfig {
        properties,
        ..Default::default()
    })
    .await
    .expect("start a built-in cluster");
    let ours = Side::connect(cluster.addresses()[0]).await;
    let kafka = kafka.await.expect("start a Kafka");
    let address = kafka.bootstrap().parse().expect("Kafka's address");
    let mut parity = Parity::new(ours, Side::connect(address).await).await;
    scripts::run(&mut parity).await;
    eprintln!("{}", parity.summary());
    let report = parity.report();
    assert!(report.is_empty(), "the answers differ:\n{report}");
}
