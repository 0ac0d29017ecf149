//! A cluster that is killed at random moments under load, and started again, keeps its word.
//!
//! `HELIOSTAT_SEED` repeats a run as far as the machine lets it; `HELIOSTAT_KILLS` makes it longer.

mod churn;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "../api/client.rs"]
mod client;
mod load;
mod members;
mod model;
mod node;
mod table;
mod writers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use churn::Churn;
use client::Client;
use load::{Answers, Load, PARTITIONS, TOPIC};
use members::{Member, Protocol};
use model::Model;
use node::Node;
use table::{Fate, Kind, TABLE, TABLE_PARTITIONS, Table};
use writers::Writers;

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
    let (mut model, mut table, mut churn) = (Model::default(), Table::default(), Churn::default());
    let mut members = [Protocol::Classic, Protocol::Consumer].map(Member::new);
    for round in 0..=kills {
        let policy = ["group", "each", "os"][random.random_range(0..3)];
        let node = Node::start(directory.path(), policy);
        if round == 0 {
            prepare(&node, &mut model, &mut table).await;
        }
        let context = format!("round {round}, policy {policy}, seed {seed}");
        model.check(&node, random.random_range(0..=100), &context).await;
        table.check(&node, &context).await;
        churn.check(&node, &context).await;
        for member in &mut members {
            member.check(&node, &context).await;
        }
        if round == kills {
            break;
        }
        let working: Vec<_> = members
            .iter()
            .map(|member| {
                random
                    .random_ratio(1, 2)
                    .then(|| member.start(&node, &mut random))
            })
            .collect();
        under_load(node, round, &mut random, &mut model, &mut table, &mut churn).await;
        for (member, working) in members.iter_mut().zip(working) {
            if let Some(working) = working {
                *member = working.await.unwrap();
            }
        }
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
    tell(&table, kills);
    let (topics, transactions) = (churn.generation, churn.transactions);
    println!("{topics} topics were deleted, and offsets committed in {transactions} transactions");
    assert!(kills < KILLS || topics > 0 && transactions > 0);
    for Member { kept, commits, .. } in members {
        println!("{commits} offsets were committed by a member, which {kept} kills have not put out");
        assert!(kills < KILLS || kept > 0 && commits > 0);
    }
}

/// Kills the node while it works for plain producers, for transactional ones of a compacted topic, or for both, and now
/// and then for one that creates and deletes a topic.
async fn under_load(
    node: Node,
    round: u32,
    random: &mut StdRng,
    model: &mut Model,
    table: &mut Table,
    churn: &mut Churn,
) {
    let (counts, table_counts): (Answers, Answers) = (Arc::default(), Arc::default());
    let load = random
        .random_ratio(1, 2)
        .then(|| Load::start(&node, model, round, &counts));
    // At least one of them.
    let asked = load.is_none() || random.random_ratio(1, 4);
    let writers = asked.then(|| Writers::start(&node, table, random, &table_counts));
    let churning = random.random_ratio(1, 2).then(|| churn.start(&node, random));
    let counts = if load.is_some() { counts } else { table_counts };
    // Mostly within the first answers, where the log has just been recovered; sometimes much later.
    let answers = if random.random_ratio(1, 4) {
        random.random_range(0..400)
    } else {
        random.random_range(0..60)
    };
    load::wait_for_answers(&counts, answers).await;
    spin(Duration::from_micros(random.random_range(0..3000)));
    node.kill();
    if let Some(load) = load {
        load.end(model).await;
    }
    for seen in &mut table.seen {
        seen.clear();
    }
    if let Some(writers) = writers {
        writers.end(table).await;
    }
    if let Some(churning) = churning {
        *churn = churning.await.unwrap();
    }
}

/// Says what became of the compacted topic's transactions, of which there must be some of every sort.
fn tell(table: &Table, kills: u32) {
    let transactional = table
        .writers
        .iter()
        .filter(|writer| writer.kind == Kind::Transactional);
    let attempts: Vec<_> = transactional.flat_map(|writer| &writer.attempts).collect();
    let committed = attempts
        .iter()
        .filter(|attempt| attempt.fate == Fate::Committed)
        .count();
    let aborted = attempts.len() - committed;
    let compacted = table.compacted;
    println!(
        "{committed} transactions were committed and {aborted} aborted; {compacted} records were compacted"
    );
    assert!(kills < KILLS || committed > 0 && aborted > 0 && compacted > 0);
}

async fn prepare(node: &Node, model: &mut Model, table: &mut Table) {
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
    // Whatever can be compacted is, and markers and tombstones are soon among it.
    let configs = [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "1500"),
        ("index.interval.bytes", "300"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "30"),
    ];
    client
        .create_topic(TABLE, TABLE_PARTITIONS.cast_signed(), &configs)
        .await;
    table.topic_id = client.metadata(&[TABLE]).await.topics[0].topic_id;
}

/// Lets a moment pass that is shorter than what timers can tell.
fn spin(moment: Duration) {
    let began = Instant::now();
    while began.elapsed() < moment {
        std::hint::spin_loop();
    }
}
