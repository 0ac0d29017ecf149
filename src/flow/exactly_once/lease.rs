//! For how long a claim may be relied on, and when it is claimed anew.
//!
//! Two things on the target keep an owner from before out, and both are forgotten: the coordinator forgets a transactional id that nobody
//! has claimed for `transactional.id.expiration.ms`, and a partition's log forgets the epoch of a producer that has not written for
//! `producer.id.expiration.ms`. So no owner relies on a claim that is nearly as old: it claims anew in time, and one that wakes up after a long
//! sleep sends nothing before it has.

use std::time::{Duration, Instant, SystemTime};

use heliostat_wire::client::{Client, Error, Lane};
use heliostat_wire::message::DescribeConfigsRequest;
use heliostat_wire::message::describe_configs::DescribeConfigsResource;
use tokio::time::timeout;

/// What a target has that does not say: Kafka's defaults, in milliseconds.
const EXPIRATIONS: [(&str, u64); 2] = [
    ("transactional.id.expiration.ms", 7 * DAY_MS),
    ("producer.id.expiration.ms", DAY_MS),
];

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A claim is renewed after this part of the shortest time after which something is forgotten, and not used after twice that.
const PART: u32 = 4;

/// Partitions are looked at ten times a second, and each renewal drains one.
const PERIOD_MIN: Duration = Duration::from_millis(250);

/// Brokers, among the resources that have configs.
const BROKER_RESOURCE: i8 = 4;

/// The lane of questions about the cluster.
const LANE: Lane = Lane(99);

/// How long a broker may take to tell before another one is asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// The time that a claim has.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// This clock stands still while the machine sleeps, and the other one may be set.
    began: (Instant, SystemTime),
    period: Duration,
}

impl Lease {
    /// Of a claim that is about to be asked for.
    pub fn begin(period: Duration) -> Lease {
        Lease {
            began: (Instant::now(), SystemTime::now()),
            period,
        }
    }

    /// Whether it is time to claim anew.
    pub fn is_old(&self) -> bool {
        self.age() > self.period
    }

    /// Whether the claim may not be used any more.
    pub fn is_over(&self) -> bool {
        self.age() > self.period.saturating_mul(2)
    }

    fn age(&self) -> Duration {
        let by_wall = self.began.1.elapsed().unwrap_or_default();
        self.began.0.elapsed().max(by_wall)
    }
}

/// After what time claims at a target are renewed.
pub async fn period(target: &Client) -> Duration {
    let told = ask(target).await.unwrap_or_else(|error| {
        tracing::debug!("the target does not tell for how long it remembers producers: {error}");
        Vec::new()
    });
    let expiration = |(name, default): (&str, u64)| {
        let told = told.iter().find(|(told, _)| told == name);
        told.map_or(default, |(_, value)| *value)
    };
    let shortest = EXPIRATIONS.map(expiration).into_iter().min().unwrap_or(DAY_MS);
    (Duration::from_millis(shortest) / PART).max(PERIOD_MIN)
}

/// What the first broker tells that answers.
async fn ask(target: &Client) -> Result<Vec<(String, u64)>, Error> {
    let mut last = Error::UnknownNode { node: -1 };
    for broker in target.metadata(&[]).await?.brokers {
        match timeout(PATIENCE, ask_node(target, broker.node_id)).await {
            Ok(Ok(told)) => return Ok(told),
            Ok(Err(error)) => last = error,
            Err(_elapsed) => {
                last = Error::TimedOut {
                    node: broker.node_id,
                    api: "DescribeConfigs",
                    after: PATIENCE,
                    sent: true,
                }
            }
        }
    }
    Err(last)
}

async fn ask_node(target: &Client, node: i32) -> Result<Vec<(String, u64)>, Error> {
    let names = EXPIRATIONS.map(|(name, _)| name.to_owned());
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: BROKER_RESOURCE,
            resource_name: node.to_string(),
            configuration_keys: Some(names.into()),
        }],
        ..Default::default()
    };
    let answer = target.to(node, LANE, request).await?;
    let configs = answer.results.into_iter().flat_map(|result| result.configs);
    Ok(configs
        .filter_map(|config| Some((config.name, config.value?.parse().ok()?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aged(age: Duration) -> Lease {
        let lease = Lease::begin(Duration::from_secs(60));
        let began = (lease.began.0, lease.began.1 - age);
        Lease { began, ..lease }
    }

    #[test]
    fn a_claim_is_renewed_before_it_may_not_be_used() {
        let [fresh, old, over] = [10, 90, 150].map(|age| aged(Duration::from_secs(age)));
        assert!(!fresh.is_old() && !fresh.is_over());
        assert!(old.is_old() && !old.is_over());
        assert!(over.is_old() && over.is_over());
    }
}
