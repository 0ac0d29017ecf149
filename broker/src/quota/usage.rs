//! What was used of each quota, for as many clients as there is room for.

use std::{collections::HashMap, hash::Hash, net::IpAddr, time::Duration};

use super::{
    QuotaKind,
    bucket::Bucket,
    entity::Limit,
    rate::{Rate, Windows},
};

/// Clients, or addresses, that are remembered. Clients may call themselves what they like, so their number has to have
/// a bound; whoever was silent for the longest time is forgotten first.
const REMEMBERED_MAX: usize = 10_000;

/// Bytes of a name that are remembered. Longer names with the same beginning and checksum share a quota.
const NAME_BYTES_MAX: usize = 255;

/// What a client with a quota has used of late.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientUsage {
    /// What the quota is on.
    pub kind: QuotaKind,
    /// The user; empty if users share the quota.
    pub user: String,
    /// The client id; empty if client ids share the quota.
    pub client_id: String,
    /// The quota: bytes, percent or partitions in a second.
    pub limit: f64,
    /// What was used of it, on average over the last samples.
    pub rate: f64,
    /// Answers that were followed by a wait.
    pub throttled: u64,
    /// The sum of these waits, in milliseconds.
    pub throttled_ms: u64,
}

/// The usage of one kind of quota.
#[derive(Debug, Default)]
pub(super) struct Usages {
    by_client: HashMap<(String, String), Usage>,
}

/// Connections that addresses have opened.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    by_address: HashMap<IpAddr, (Rate, u64)>,
}

#[derive(Debug, Default)]
struct Usage {
    rate: Rate,
    bucket: Bucket,
    limit: f64,
    last_ms: u64,
    throttled: u64,
    throttled_ms: u64,
}

impl Usages {
    /// Takes note of an amount; returns for how long the client is to be kept waiting.
    pub(super) fn record(
        &mut self,
        kind: QuotaKind,
        limit: Limit,
        amount: f64,
        now_ms: u64,
        windows: Windows,
    ) -> Duration {
        let key = (short(limit.user), short(limit.client_id));
        make_room(&mut self.by_client, &key, windows, now_ms, |usage| usage.last_ms);
        let usage = self.by_client.entry(key).or_default();
        usage.limit = limit.value;
        usage.last_ms = now_ms;
        usage.rate.record(amount, now_ms, windows);
        let throttle = match kind {
            QuotaKind::ControllerMutation => {
                usage.bucket.take(amount, limit.value, now_ms, windows);
                usage.bucket.excess(limit.value, now_ms, windows)
            }
            _ => usage.rate.excess(limit.value, now_ms, windows),
        };
        if amount > 0.0 && !throttle.is_zero() {
            usage.throttled += 1;
            usage.throttled_ms += throttle.as_millis() as u64;
        }
        throttle
    }

    pub(super) fn list(&mut self, kind: QuotaKind, now_ms: u64, windows: Windows) -> Vec<ClientUsage> {
        let clients = self
            .by_client
            .iter_mut()
            .map(|((user, client_id), usage)| ClientUsage {
                kind,
                user: user.clone(),
                client_id: client_id.clone(),
                limit: usage.limit,
                rate: usage.rate.per_second(now_ms, windows),
                throttled: usage.throttled,
                throttled_ms: usage.throttled_ms,
            });
        clients.collect()
    }
}

impl Addresses {
    /// Takes note of a connection, unless it is one too many: then returns how long that will be so.
    pub(super) fn record(&mut self, address: IpAddr, limit: f64, now_ms: u64, windows: Windows) -> Duration {
        make_room(&mut self.by_address, &address, windows, now_ms, |(_, last_ms)| {
            *last_ms
        });
        let (rate, last_ms) = self.by_address.entry(address).or_default();
        *last_ms = now_ms;
        rate.record(1.0, now_ms, windows);
        let throttle = rate.excess(limit, now_ms, windows);
        if !throttle.is_zero() {
            // What was refused does not count, or a client that never gives up would be refused for ever.
            rate.record(-1.0, now_ms, windows);
        }
        throttle
    }
}

/// Makes room for one more if there is none: whoever has used nothing of late goes, else a part of all.
fn make_room<K: Hash + Eq + Clone, V>(
    map: &mut HashMap<K, V>,
    key: &K,
    windows: Windows,
    now_ms: u64,
    last_ms: impl Fn(&V) -> u64,
) {
    if map.len() < REMEMBERED_MAX || map.contains_key(key) {
        return;
    }
    map.retain(|_, value| now_ms.saturating_sub(last_ms(value)) < windows.span_ms());
    if map.len() < REMEMBERED_MAX {
        return;
    }
    // A part at once, so that not every newcomer has to look at all of them.
    let mut times: Vec<u64> = map.values().map(&last_ms).collect();
    times.sort_unstable();
    let median = times[times.len() / 2];
    map.retain(|_, value| last_ms(value) > median);
}

fn short(name: String) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let checksum = crc32c::crc32c(name.as_bytes());
    let fits = name
        .char_indices()
        .take_while(|(at, c)| at + c.len_utf8() <= NAME_BYTES_MAX - 10);
    let beginning: String = fits.map(|(_, c)| c).collect();
    format!("{beginning}~{checksum:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_change_their_names_take_no_more_room() {
        let windows = Windows {
            samples: 11,
            length: Duration::from_secs(1),
        };
        let mut usages = Usages::default();
        for turn in 0..3 * REMEMBERED_MAX {
            let limit = Limit {
                value: 1.0,
                user: String::new(),
                client_id: format!("{turn}{}", "x".repeat(turn % 2 * 30_000)),
            };
            usages.record(QuotaKind::Produce, limit, 1.0, turn as u64 / 100, windows);
        }
        assert!(usages.by_client.len() <= REMEMBERED_MAX);
        assert!(
            usages
                .by_client
                .keys()
                .all(|(_, client_id)| client_id.len() <= NAME_BYTES_MAX)
        );
    }
}
