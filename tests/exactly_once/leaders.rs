//! Leaders that move, and nodes that stop, on both sides.

use std::time::{Duration, Instant};

use heliostat_broker::{Control, Isolation};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::{MIRROR, TOPIC, finish, let_pass, load, log, random, sides, topology, wait_mirrored, write_odd};
use crate::support::built_in::InProcess;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;

const PARTITIONS: i32 = 4;

/// Records a second, over all partitions.
const RATE: u32 = 6_000;

pub(super) fn create(client: &Client) {
    let admin: AdminClient<DefaultClientContext> = client.config().create().expect("an admin client");
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(3));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let created = runtime
        .expect("a runtime")
        .block_on(admin.create_topics([&topic], &AdminOptions::new()));
    created.expect("create a topic")[0]
        .as_ref()
        .expect("create a topic");
}

/// Moves a leader, or stops, starts or isolates a node of three, two of which stay up.
async fn disturb(control: &Control, topic: &str, random: &mut StdRng) {
    let down = random.random_range(2..=3);
    // What is not possible just now is not done.
    let _ = match random.random_range(0..8) {
        0 => control.stop_node(down).await,
        1 => {
            let isolation = [Isolation::Silent, Isolation::Refuses][random.random_range(0..2)];
            control
                .isolate_node(
                    down,
                    isolation,
                    Some(Duration::from_millis(random.random_range(1..200))),
                )
                .await
        }
        2 | 3 => {
            let _ = control.start_node(2).await;
            control.start_node(3).await
        }
        _ => {
            control
                .move_leader(
                    topic,
                    random.random_range(0..PARTITIONS),
                    random.random_range(1..=3),
                )
                .await
        }
    };
}

/// Disturbs a cluster, or both, while records are copied.
fn disturbed(name: &str, source_too: bool, target_too: bool) {
    let mut random = random(name);
    let source = InProcess::start(3, &[]);
    let target = InProcess::start(3, &[("group.min.session.timeout.ms", "1000")]);
    let clients = [&source, &target].map(|cluster| {
        Client::new(cluster.bootstrap()).with(&[("socket.timeout.ms", "2000"), ("retry.backoff.ms", "50")])
    });
    create(&clients[0]);
    write_odd(&clients[0], PARTITIONS);
    let file = topology(
        &source.bootstrap(),
        &target.bootstrap(),
        ", replication_factor: 3",
    );
    let mut daemon = Daemon::spawn(&file, &log());
    daemon.wait_ready();
    let load = load(&clients[0], PARTITIONS, RATE);
    wait_mirrored(&clients[1], 16);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        for (cluster, topic, wanted) in [(&source, TOPIC, source_too), (&target, MIRROR, target_too)] {
            if wanted {
                runtime.block_on(disturb(cluster.cluster().control(), topic, &mut random));
            }
        }
        let_pass(Duration::from_millis(random.random_range(10..250)));
    }
    for cluster in [&source, &target] {
        for node in 2..=3 {
            // It may be up already.
            let _ = runtime.block_on(cluster.cluster().control().start_node(node));
        }
    }
    load.stop();
    let [from, to] = clients;
    finish(&sides(from, to), vec![daemon])
        .expect_equal()
        .expect_whole_map();
}

#[test]
fn leaders_that_move_on_the_source_cost_nothing_and_repeat_nothing() {
    disturbed("leaders of the source", true, false);
}

#[test]
fn leaders_that_move_on_the_target_cost_nothing_and_repeat_nothing() {
    disturbed("leaders of the target", false, true);
}

#[test]
fn leaders_that_move_on_both_sides_cost_nothing_and_repeat_nothing() {
    disturbed("leaders of both", true, true);
}
