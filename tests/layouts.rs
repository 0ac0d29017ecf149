//! The layouts: every record arrives everywhere it should, once, under the expected names, and nothing goes round.

use crate::support::built_in::InProcess;
use crate::support::check::judge;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::load::{Load, Shape, Written};
use crate::support::mirrors::{CATCH_UP, LOOK_OFTEN, bootstrap, topics, wait_ends, wait_quiet};
use crate::support::ports::Ports;
use crate::support::wait_for;

const SHAPE: Shape = Shape {
    rate: Some(300),
    partitions: 2,
    value_bytes: 100,
    compression: "lz4",
};

/// What each load writes at least while everything runs.
const RECORDS: u64 = 400;

/// A shipped topology, started on ports of this test, with a client of each cluster.
struct Shipped {
    daemon: Daemon,
    clients: Vec<Client>,
    _ports: Vec<Ports>,
}

impl Shipped {
    /// Starts `topologies/NAME.yaml`; `clusters` are the port and the number of brokers of each cluster in it.
    fn start(name: &str, clusters: &[(u16, u16)]) -> Shipped {
        let path = format!("{}/topologies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let mut topology = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut replace = |from: String, to: String| {
            assert_eq!(topology.matches(&from).count(), 1, "{from} in {path}");
            topology = topology.replace(&from, &to);
        };
        // The test's own address is put there instead.
        replace("http: { listen: 127.0.0.1:8080 }".to_owned(), String::new());
        let mut all = Vec::new();
        for &(port, brokers) in clusters {
            let ports = Ports::reserve(brokers);
            replace(format!("port: {port},"), format!("port: {},", ports.port(0)));
            all.push(ports);
        }
        let daemon = Daemon::start(&topology);
        let client = |ports: &Ports| Client::new(ports.address().to_string());
        Shipped {
            daemon,
            clients: all.iter().map(client).collect(),
            _ports: all,
        }
    }
}

/// Writes to a new topic of each cluster at once, until all have written enough.
fn write_everywhere(clients: &[Client], topic: &str) -> Vec<Written> {
    for client in clients {
        client.create_topic(topic, SHAPE.partitions, &[]);
    }
    let loads: Vec<Load> = clients
        .iter()
        .map(|client| Load::start(client, topic, SHAPE))
        .collect();
    wait_for(CATCH_UP, "every load has written enough", || {
        let counts: Vec<u64> = loads.iter().map(Load::acknowledged).collect();
        if counts.iter().all(|&count| count >= RECORDS) {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
    loads.into_iter().map(Load::stop).collect()
}

/// A topic of a cluster, and whose load it must hold.
type Expected<'a> = (&'a str, usize);

/// Panics unless each cluster has exactly these topics, each with exactly that load, once everything stands still.
#[track_caller]
fn expect(clients: &[Client], written: &[Written], expected: &[&[Expected<'_>]]) {
    for (client, expected) in clients.iter().zip(expected) {
        for (topic, load) in *expected {
            let ends: Vec<i64> = (0..SHAPE.partitions)
                .map(|partition| written[*load].acknowledged[&partition].len() as i64)
                .collect();
            wait_ends(client, topic, &ends);
        }
    }
    wait_quiet(&clients.iter().collect::<Vec<_>>());
    for (client, expected) in clients.iter().zip(expected) {
        let mut names: Vec<&str> = expected.iter().map(|(topic, _)| *topic).collect();
        names.sort_unstable();
        assert_eq!(topics(client), names, "at {}", bootstrap(client));
        for (topic, load) in *expected {
            let written = &written[*load];
            judge(&written.name, &written.acknowledged, &client.read(topic)).expect_exact();
        }
    }
}

#[test]
fn active_standby_copies_one_way() {
    let shipped = Shipped::start("active-standby", &[(19092, 1), (29092, 1)]);
    let written = write_everywhere(&shipped.clients, "orders");
    expect(
        &shipped.clients,
        &written,
        &[&[("orders", 0)], &[("orders", 1), ("primary.orders", 0)]],
    );
}

#[test]
fn active_active_copies_both_ways_and_nothing_comes_back() {
    let shipped = Shipped::start("active-active", &[(19092, 1), (29092, 1)]);
    let local = write_everywhere(&shipped.clients[..1], "local-notes");
    let written = write_everywhere(&shipped.clients, "orders");
    let written = [written, local].concat();
    expect(
        &shipped.clients,
        &written,
        &[
            &[("orders", 0), ("west.orders", 1), ("local-notes", 2)],
            &[("orders", 1), ("east.orders", 0)],
        ],
    );
    for (flow, mirror) in [("east->west", "west.orders"), ("west->east", "east.orders")] {
        let flow = shipped.daemon.flow(flow);
        let left_out = flow.left_out.iter().find(|left_out| left_out.topic == mirror);
        let reason = &left_out
            .expect("the mirror is left out, and the status says so")
            .reason;
        assert!(reason.starts_with("it would come back in a circle"), "{reason}");
    }
}

#[test]
fn hub_and_spoke_brings_every_spokes_records_to_all_the_others() {
    let shipped = Shipped::start("hub-and-spoke", &[(19092, 3), (29092, 1), (29192, 1), (29292, 1)]);
    let written = write_everywhere(&shipped.clients, "sales");
    expect(
        &shipped.clients,
        &written,
        &[
            &[
                ("sales", 0),
                ("spoke-1.sales", 1),
                ("spoke-2.sales", 2),
                ("spoke-3.sales", 3),
            ],
            &[
                ("sales", 1),
                ("hub.sales", 0),
                ("hub.spoke-2.sales", 2),
                ("hub.spoke-3.sales", 3),
            ],
            &[
                ("sales", 2),
                ("hub.sales", 0),
                ("hub.spoke-1.sales", 1),
                ("hub.spoke-3.sales", 3),
            ],
            &[
                ("sales", 3),
                ("hub.sales", 0),
                ("hub.spoke-1.sales", 1),
                ("hub.spoke-2.sales", 2),
            ],
        ],
    );
}

/// Clusters in the test, with clients.
fn clusters<const N: usize>() -> ([InProcess; N], Vec<Client>) {
    let clusters = [(); N].map(|()| InProcess::start(1, &[]));
    let clients = clusters
        .iter()
        .map(|cluster| Client::new(cluster.bootstrap()))
        .collect();
    (clusters, clients)
}

fn custom(clients: &[Client], flows: &str) -> String {
    let cluster = |(client, alias): (&Client, char)| {
        format!("  {alias}: {{ bootstrap_servers: \"{}\" }}\n", bootstrap(client))
    };
    let clusters: String = clients.iter().zip('a'..).map(cluster).collect();
    format!(
        "name: custom\nlayout: custom\nclusters:\n{clusters}defaults: {{ {LOOK_OFTEN} }}\nflows:\n{flows}"
    )
}

#[test]
fn a_chain_hands_records_on_and_each_name_tells_the_way() {
    let (_clusters, clients) = clusters::<3>();
    let _daemon = Daemon::start(&custom(&clients, "  - name: a->b\n  - name: b->c\n"));
    let written = write_everywhere(&clients, "orders");
    expect(
        &clients,
        &written,
        &[
            &[("orders", 0)],
            &[("orders", 1), ("a.orders", 0)],
            &[("orders", 2), ("b.orders", 1), ("b.a.orders", 0)],
        ],
    );
}

#[test]
fn a_chain_under_one_name_hands_records_on() {
    let (_clusters, clients) = clusters::<3>();
    let identity = "naming: { policy: identity }";
    let flows = format!("  - {{ name: a->b, {identity} }}\n  - {{ name: b->c, {identity} }}\n");
    let _daemon = Daemon::start(&custom(&clients, &flows));
    let written = write_everywhere(&clients[..1], "orders");
    expect(
        &clients,
        &written,
        &[&[("orders", 0)], &[("orders", 0)], &[("orders", 0)]],
    );
}

#[test]
fn a_ring_of_three_hands_records_round_and_stops_before_they_are_home() {
    let (_clusters, clients) = clusters::<3>();
    let _daemon = Daemon::start(&custom(
        &clients,
        "  - name: a->b\n  - name: b->c\n  - name: c->a\n",
    ));
    let written = write_everywhere(&clients, "orders");
    expect(
        &clients,
        &written,
        &[
            &[("orders", 0), ("c.orders", 2), ("c.b.orders", 1)],
            &[("orders", 1), ("a.orders", 0), ("a.c.orders", 2)],
            &[("orders", 2), ("b.orders", 1), ("b.a.orders", 0)],
        ],
    );
}

#[test]
fn names_that_tell_nothing_of_the_way_do_not_make_a_circle() {
    let (_clusters, clients) = clusters::<2>();
    let flows = "  - { name: a->b, naming: { policy: template, template: \"copy.{topic}\" } }\n  \
                 - { name: b->a, naming: { policy: template, template: \"copy.{topic}\" } }\n";
    let _daemon = Daemon::start(&custom(&clients, flows));
    let written = write_everywhere(&clients, "orders");
    expect(
        &clients,
        &written,
        &[
            &[("orders", 0), ("copy.orders", 1)],
            &[("orders", 1), ("copy.orders", 0)],
        ],
    );
}
