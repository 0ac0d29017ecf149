//! A cluster that is killed at random moments under load, and started again, keeps its word.
//!
//! `HELIOSTAT_SEED` repeats a run as far as the machine lets it; `HELIOSTAT_KILLS` makes it longer.

#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "../api/client.rs"]
mod client;
mod load;
mod model;
mod node;

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use client::Client;
use load::{Load, PARTITIONS, TOPIC};
use model::Model;
use node::Node;

/// Kills in a run of which nothing else is said.
const KILLS: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_or_seen_is_lost_or_changed() {
    if node::is_child() {
        return node::serve().await;
    }
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = number("HELIOSTAT_SEED").unwrap_or_else(rand::random);
    let kills = number("HELIOSTAT_KILLS").map_or(KILLS, |kills| u32::try_from(kills).unwrap());
    println!("HELIOSTAT_SEED={seed} HELIOSTAT_KILLS={kills}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    for round in 0..=kills {
        let policy = ["group", "each", "os"][random.random_range(0..3)];
        let node = Node::start(directory.path(), policy);
        if round == 0 {
            prepare(&node, &mut model).await;
        }
        let context = format!("round {round}, policy {policy}, seed {seed}");
        model.check(&node, random.random_range(0..=100), &context).await;
        if round == kills {
            break;
        }
        let load = Load::start(&node, &model, round);
        // Mostly within the first answers, where the log has just been recovered; sometimes much later.
        let answers = if random.random_ratio(1, 4) {
            random.random_range(0..400)
        } else {
            random.random_range(0..60)
        };
        load.wait_for_answers(answers).await;
        spin(Duration::from_micros(random.random_range(0..3000)));
        node.kill();
        load.end(&mut model).await;
    }
    let records: usize = model
        .partitions
        .iter()
        .map(|partition| partition.records.len())
        .sum();
    println!(
        "{records} records, {} commits survived {kills} kills",
        model.committed
    );
    assert!(records > usize::try_from(kills).unwrap() && model.committed > 0);
}

async fn prepare(node: &Node, model: &mut Model) {
    let mut client = Client::connect(node.address).await;
    // Segments and index intervals so small that rolls and index entries are among what is interrupted.
    let configs = [
        ("internal.segment.bytes", "4000"),
        ("index.interval.bytes", "300"),
        ("retention.ms", "-1"),
    ];
    client.create_topic(TOPIC, PARTITIONS, &configs).await;
    model.topic_id = client.metadata(&[TOPIC]).await.topics[0].topic_id;
    for partition in &mut model.partitions {
        partition.producer_id = load::producer_id(&mut client).await;
    }
}

/// Lets a moment pass that is shorter than what timers can tell.
fn spin(moment: Duration) {
    let began = Instant::now();
    while began.elapsed() < moment {
        std::hint::spin_loop();
    }
}
