//! What a mirror does while something is broken: a daemon or a cluster killed, a line cut, a disk full, a daemon that
//! joins or leaves, a configuration that cannot work. Clusters and daemons are processes of their own.

mod cluster_killed;
mod daemon_killed;
mod disk;
mod ending;
mod hostile;
mod line;
mod secrets;
mod seen;
mod sharing;

use std::time::Duration;

use heliostat::observe::status::FlowStatus;

use crate::support::built_in::BuiltIn;
use crate::support::check::{Verdict, judge};
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::load::{Load, Shape, Written};
use crate::support::rec::Rec;
use crate::support::wait_for;

/// How long anything may take that is waited for, on a machine that does much else at once.
const LIMIT: Duration = Duration::from_secs(90);

/// The one flow of these topologies.
const FLOW: &str = "source->target";

/// The source topic, and what its mirror is called.
const TOPIC: &str = "orders";
const MIRROR: &str = "source.orders";

/// Members of a group are missed soon, and a group does not wait for more of them.
const QUICK_GROUPS: &[&str] = &[
    "--config",
    "group.min.session.timeout.ms=1000",
    "--config",
    "group.initial.rebalance.delay.ms=0",
];

/// Two clusters, and what is to be known of the records between them.
struct Pair {
    source: BuiltIn,
    target: BuiltIn,
    partitions: i32,
}

/// A load that has ended and is copied.
struct Finished {
    written: Written,
    mirror: Vec<Rec>,
    verdict: Verdict,
}

impl Pair {
    /// Starts both, with a topic on the source.
    #[track_caller]
    fn start(partitions: i32) -> Pair {
        Pair::of(
            BuiltIn::start(1, &[]),
            BuiltIn::start(1, QUICK_GROUPS),
            partitions,
        )
    }

    /// The same with clusters that run.
    #[track_caller]
    fn of(source: BuiltIn, target: BuiltIn, partitions: i32) -> Pair {
        Client::new(source.bootstrap()).create_topic(TOPIC, partitions, &[]);
        Pair {
            source,
            target,
            partitions,
        }
    }

    /// A topology of one flow between them.
    fn topology(&self) -> String {
        topology(&self.source.bootstrap(), &self.target.bootstrap())
    }

    /// A client of the source, with connections of its own.
    fn source(&self) -> Client {
        Client::new(self.source.bootstrap())
    }

    /// A client of the target, with connections of its own.
    fn target(&self) -> Client {
        Client::new(self.target.bootstrap())
    }

    /// Starts to write to the source.
    fn load(&self, records_per_second: u32) -> Load {
        let shape = Shape {
            rate: Some(records_per_second),
            partitions: self.partitions,
            ..Shape::default()
        };
        Load::start(&self.source(), TOPIC, shape)
    }

    /// Ends a load, waits until a daemon has copied all of it, and judges the mirror.
    #[track_caller]
    fn finish(&self, load: Load, daemon: &Daemon) -> Finished {
        let written = load.stop();
        assert_eq!(
            written.failed, 0,
            "a producer that never gives up fails no record"
        );
        self.wait_copied(daemon);
        let mirror = self.target().read(MIRROR);
        let verdict = judge(&written.name, &written.acknowledged, &mirror);
        eprintln!("{verdict}");
        Finished {
            written,
            mirror,
            verdict,
        }
    }

    /// Waits until a daemon says that all that is on the source now is on the target.
    #[track_caller]
    fn wait_copied(&self, daemon: &Daemon) {
        let ends: Vec<Option<i64>> = self.source().end_offsets(TOPIC).into_iter().map(Some).collect();
        wait_for(LIMIT, "all is copied", || {
            let flow = daemon.flow(FLOW);
            let positions: Vec<Option<i64>> = flow
                .partitions
                .iter()
                .map(|partition| partition.position)
                .collect();
            if positions == ends {
                Ok(())
            } else {
                Err(format!("positions {positions:?} of {ends:?}; {}", line(&flow)))
            }
        });
    }
}

/// A topology of one flow between two clusters.
fn topology(source: &str, target: &str) -> String {
    format!(
        "name: faults\n\
         layout: custom\n\
         clusters:\n  \
           source: {{ bootstrap_servers: \"{source}\" }}\n  \
           target: {{ bootstrap_servers: \"{target}\" }}\n\
         flows: [{{ name: {FLOW}, session_timeout: 1s, discovery_interval: 200ms }}]\n"
    )
}

/// Waits until the flow is as wanted, and returns how it then was.
#[track_caller]
fn wait_flow(daemon: &mut Daemon, what: &str, wanted: impl Fn(&FlowStatus) -> bool) -> FlowStatus {
    wait_for(LIMIT, what, || {
        if let Some(status) = daemon.process().ended() {
            panic!("the daemon ended ({status}) while {what} was waited for");
        }
        let flow = daemon.flow(FLOW);
        if wanted(&flow) { Ok(flow) } else { Err(line(&flow)) }
    })
}

/// Waits until so many more records are acknowledged.
#[track_caller]
fn wait_more(load: &Load, records: u64) {
    let wanted = load.acknowledged() + records;
    wait_for(LIMIT, "more records are acknowledged", || {
        let count = load.acknowledged();
        if count >= wanted {
            Ok(())
        } else {
            Err(format!("{count} of {wanted}"))
        }
    });
}

/// Waits until the mirror has so many records, of all partitions together.
#[track_caller]
fn wait_mirrored(target: &Client, records: i64) {
    wait_for(LIMIT, "the mirror has grown", || {
        let count = match target.partitions(MIRROR) {
            Some(_) => target.end_offsets(MIRROR).iter().sum(),
            None => 0,
        };
        if count >= records {
            Ok(())
        } else {
            Err(format!("{count} of {records} records"))
        }
    });
}

/// A flow for a message.
fn line(flow: &FlowStatus) -> String {
    format!(
        "{} because {:?}, lag {:?}, {} errors",
        flow.state, flow.reason, flow.lag, flow.errors_total
    )
}
