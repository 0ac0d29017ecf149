//! Requests with two things wrong at once, to see which of them Kafka looks at first.
//!
//! Each script has a request that is good, and what can be wrong with it; both clusters are asked with each fault by
//! itself, and with each two of them.

use heliostat_wire::message::Request;

use crate::{harness::Parity, side::Side};

mod administration;
mod changes;
mod data;
mod groups;
mod transactions;

pub use administration::{configs, create_topics, grow, passwords, quotas, reassignments, replaced_configs};
pub use changes::{delete_records, delete_topics};
pub use data::{fetch, leader_epochs, list_offsets, produce, produce_sequenced};
pub use groups::{classic, commits, consumers};
pub use transactions::{idle, initializing, ongoing};

/// What is wrong, and what makes a good request so.
type Fault<R> = (&'static str, fn(&Side, &mut R));

/// Asks both clusters with each fault and with each two of them. Where two change the same, the later one is alone.
async fn pairs<R: Request>(p: &mut Parity, versions: &[i16], good: impl Fn(&Side) -> R, faults: &[Fault<R>]) {
    for (at, (first, spoil)) in faults.iter().enumerate() {
        for (second, spoil_more) in &faults[at..] {
            let case = if first == second {
                format!("a fault: {first}")
            } else {
                format!("two faults: {first}; {second}")
            };
            for version in versions {
                p.at(&case, *version, |side| {
                    let mut request = good(side);
                    spoil(side, &mut request);
                    if first != second {
                        spoil_more(side, &mut request);
                    }
                    request
                })
                .await;
            }
        }
    }
}

/// The oldest and the newest version that both have.
fn ends<R: Request>(p: &Parity) -> [i16; 2] {
    let versions = p.versions(R::KEY);
    [*versions.start(), *versions.end()]
}
