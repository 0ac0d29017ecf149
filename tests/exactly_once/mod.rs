//! Exactly once, whatever is killed, cut or refused: every case ends with a look at both sides that knows nothing of how
//! the records came there.
//!
//! Moments are chosen at random. Each test prints the seed that it was given, `HELIOSTAT_SEED` gives it again, and
//! `HELIOSTAT_KILLS` says how many times something is killed, over all cases.

mod cut_back;
mod cut_off;
mod first;
mod forgotten;
mod halted;
mod held_up;
mod kafka;
mod kafka_nodes;
mod killed;
mod late;
mod leaders;
mod line;
mod made_again;
mod map_cut_back;
mod model;
mod no_ids;
mod owners;
mod pair;
mod raw;
mod recovered;
mod refused;
mod sources;
mod steps;
mod topics;
mod unfenced;
mod unnamed;

use std::time::Duration;

use heliostat_wire::client::{Client as Wire, Config, CoordinatorType, Lane, Tcp};
use heliostat_wire::message::leave_group::MemberIdentity;
use heliostat_wire::message::{DescribeGroupsRequest, LeaveGroupRequest};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::support::built_in::BuiltIn;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::exact::{Exact, Sides};
use crate::support::load::{Load, Shape};
use crate::support::rec::Rec;
use crate::support::{wait_for, wait_until};

/// How long anything may take that is waited for, on a machine that does much else at once.
const LIMIT: Duration = Duration::from_secs(90);

/// How long a daemon may take to drain and end.
const END: Duration = Duration::from_secs(20);

const FLOW: &str = "source->target";
const TOPIC: &str = "orders";
const MIRROR: &str = "source.orders";
const GROUP: &str = "heliostat.source";
const MAP: &str = "heliostat.source.offset-map.internal";

/// Members of a group are missed soon, and a group does not wait for more of them. What a kill must not lose is with the
/// system, as on Kafka: it need not be on the disk.
const TARGET: &[&str] = &[
    "--config",
    "group.min.session.timeout.ms=1000",
    "--config",
    "group.initial.rebalance.delay.ms=0",
    "--config",
    "log.flush.policy=os",
];
const SOURCE: &[&str] = &["--config", "log.flush.policy=os"];

/// How many kills all cases have together, if nobody asks for more.
const KILLS: usize = 100;

/// A random generator of this test's own, with a seed that is printed.
fn random(test: &str) -> StdRng {
    let seed = std::env::var("HELIOSTAT_SEED").ok();
    let seed: u64 = match seed {
        Some(text) => text.parse().expect("HELIOSTAT_SEED is a number"),
        None => rand::random(),
    };
    eprintln!("{test}: HELIOSTAT_SEED={seed} chooses the same moments again");
    StdRng::seed_from_u64(seed)
}

/// How many kills a case has, of a hundred over all cases.
fn kills(of_a_hundred: usize) -> usize {
    let all = std::env::var("HELIOSTAT_KILLS").ok();
    let all = all.map_or(KILLS, |text| text.parse().expect("HELIOSTAT_KILLS is a number"));
    (all * of_a_hundred).div_ceil(KILLS)
}

/// Lets a moment pass that was chosen at random: nothing can be looked at that would be the right moment.
fn let_pass(moment: Duration) {
    let (_never, nothing) = std::sync::mpsc::channel::<()>();
    let _ = nothing.recv_timeout(moment);
}

/// Two clusters as processes, with a topic on the source.
struct Rig {
    source: BuiltIn,
    target: BuiltIn,
    partitions: i32,
}

impl Rig {
    #[track_caller]
    fn start(partitions: i32) -> Rig {
        Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), partitions)
    }

    #[track_caller]
    fn of(source: BuiltIn, target: BuiltIn, partitions: i32) -> Rig {
        let rig = Rig {
            source,
            target,
            partitions,
        };
        rig.source().create_topic(TOPIC, partitions, &[]);
        write_odd(&rig.source(), partitions);
        rig
    }

    fn source(&self) -> Client {
        Client::new(self.source.bootstrap())
    }

    fn target(&self) -> Client {
        Client::new(self.target.bootstrap())
    }

    fn topology(&self) -> String {
        topology(&self.source.bootstrap(), &self.target.bootstrap(), "")
    }

    fn load(&self, rate: u32) -> Load {
        load(&self.source(), self.partitions, rate)
    }

    fn sides(&self) -> Sides {
        sides(self.source(), self.target())
    }

    /// Ends a load, waits until a daemon has copied all of it, ends the daemons, and reads both sides.
    #[track_caller]
    fn finish(&self, load: Load, daemons: Vec<Daemon>) -> Exact {
        let written = load.stop();
        assert_eq!(
            written.failed, 0,
            "a producer that never gives up fails no record"
        );
        finish(&self.sides(), daemons)
    }
}

/// Waits until a daemon has copied all that is on the source, ends the daemons, and reads both sides.
#[track_caller]
fn finish(sides: &Sides, mut daemons: Vec<Daemon>) -> Exact {
    wait_copied(sides, &daemons[0]);
    for daemon in &mut daemons {
        let status = daemon.stop(END);
        assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
        eprintln!("{}", tail(&daemon.log()));
    }
    let exact = Exact::read(sides).by(daemons[0].topology());
    eprintln!(
        "{} records in the mirror of {}",
        exact.mirror.len(),
        exact.source.len()
    );
    exact
}

/// Waits until a daemon says that all that is committed on the source now is on the target.
#[track_caller]
fn wait_copied(sides: &Sides, daemon: &Daemon) {
    let ends: Vec<Option<i64>> = sides
        .source
        .end_offsets(&sides.topic)
        .into_iter()
        .map(Some)
        .collect();
    wait_for(LIMIT, "all is copied", || {
        let flow = daemon.flow(&format!("{}->target", sides.alias));
        let partitions = flow
            .partitions
            .iter()
            .filter(|partition| partition.topic == sides.topic);
        let positions: Vec<Option<i64>> = partitions.map(|partition| partition.position).collect();
        if positions == ends {
            Ok(())
        } else {
            Err(format!(
                "positions {positions:?} of {ends:?}: {:?} {:?}\n{}",
                flow.state,
                flow.reason,
                tail(&daemon.log())
            ))
        }
    });
}

/// The environment of a daemon whose log shall show more: `HELIOSTAT_LOG` says what.
fn log() -> Vec<(&'static str, &'static str)> {
    let wanted = std::env::var("HELIOSTAT_LOG").ok();
    wanted
        .map(|wanted| ("RUST_LOG", &*wanted.leak()))
        .into_iter()
        .collect()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    // Who asks for more of the log wants to see it.
    let wanted = std::env::var_os("HELIOSTAT_LOG").map_or(12, |_| lines.len());
    lines[lines.len().saturating_sub(wanted)..].join("\n")
}

fn sides(source: Client, target: Client) -> Sides {
    Sides {
        source,
        topic: TOPIC.to_owned(),
        target,
        mirror: MIRROR.to_owned(),
        alias: "source".to_owned(),
    }
}

/// A topology of one flow between two clusters, with further settings of the flow.
fn topology(source: &str, target: &str, settings: &str) -> String {
    topology_from("source", source, target, settings)
}

/// The same where the source has another alias, and with it a group and a map of its own.
fn topology_from(alias: &str, source: &str, target: &str, settings: &str) -> String {
    format!(
        "name: exactly-once\n\
         layout: custom\n\
         clusters:\n  \
           {alias}: {{ bootstrap_servers: \"{source}\" }}\n  \
           target: {{ bootstrap_servers: \"{target}\" }}\n\
         flows: [{{ name: {alias}->target, session_timeout: 1s, discovery_interval: 200ms{settings} }}]\n"
    )
}

/// Writes numbered records to each partition, some hundreds a batch, compressed.
fn load(source: &Client, partitions: i32, rate: u32) -> Load {
    let shape = Shape {
        rate: Some(rate),
        partitions,
        compression: "lz4",
        ..Shape::default()
    };
    Load::start(source, TOPIC, shape)
}

/// Writes records of which a careless copy would lose something.
#[track_caller]
fn write_odd(source: &Client, partitions: i32) {
    let mut records = Vec::new();
    for partition in 0..partitions {
        records.push(Rec::with_every_kind_of_header(partition));
        records.push(Rec::new(partition, None, None).at(1_000_000_000_000));
        records.push(Rec::new(partition, Some(b""), Some(b"")));
        // The same again, to the byte: it is another record.
        records.push(Rec::new(partition, None, None).at(1_000_000_000_000));
    }
    source.produce(TOPIC, &records, Producing::default());
}

/// Waits until the mirror has grown to so many offsets, over all partitions.
#[track_caller]
fn wait_mirrored(target: &Client, offsets: i64) -> i64 {
    wait_for(LIMIT, "the mirror has grown", || {
        let count: i64 = match target.partitions(MIRROR) {
            Some(_) => target.end_offsets(MIRROR).iter().sum(),
            None => 0,
        };
        if count >= offsets {
            Ok(count)
        } else {
            Err(format!("{count} of {offsets} offsets"))
        }
    })
}

/// Waits until so many more records are acknowledged.
#[track_caller]
fn wait_more(load: &Load, records: u64) {
    let wanted = load.acknowledged() + records;
    wait_until(LIMIT, "more records are acknowledged", || {
        load.acknowledged() >= wanted
    });
}

/// Takes the members of the flow's group out of it, as their session time-out would: who comes next need not wait for it.
fn forget_members(target: &str) {
    let (host, port) = target.rsplit_once(':').expect("a host and a port");
    let config = Config::new("tests", vec![(host.to_owned(), port.parse().expect("a port"))]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let client = Wire::new(config, std::sync::Arc::new(Tcp));
    // It may have been asked to answer with errors.
    wait_for(LIMIT, &format!("nobody is in {GROUP}"), || {
        runtime.block_on(forget(&client))
    });
}

async fn forget(client: &Wire) -> Result<(), heliostat_wire::client::Error> {
    let node = client.coordinator(CoordinatorType::Group, GROUP).await?;
    let groups = vec![GROUP.to_owned()];
    let request = DescribeGroupsRequest {
        groups,
        ..Default::default()
    };
    let described = client.to(node, Lane(1), request).await?;
    let members = described.groups.into_iter().flat_map(|group| group.members);
    let members: Vec<MemberIdentity> = members
        .map(|member| MemberIdentity {
            member_id: member.member_id,
            ..Default::default()
        })
        .collect();
    let request = LeaveGroupRequest {
        group_id: GROUP.to_owned(),
        members,
        ..Default::default()
    };
    client.to(node, Lane(1), request).await.map(drop)
}
