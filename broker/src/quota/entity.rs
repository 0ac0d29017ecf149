//! Whom a quota is for, and which of several counts (KIP-55, KIP-546, KIP-612).

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

/// The kinds of names that quotas go by.
pub(crate) const USER: &str = "user";
pub(crate) const CLIENT_ID: &str = "client-id";
pub(crate) const IP: &str = "ip";

/// Whom a quota is for: kinds of names with a name each, or `None` for all names without a quota of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuotaEntity(pub BTreeMap<String, Option<String>>);

/// Keys of a quota with their values.
pub type QuotaValues = BTreeMap<String, f64>;

/// All quotas.
pub(crate) type QuotaMap = BTreeMap<QuotaEntity, QuotaValues>;

/// The quotas of one key, by user and client id.
#[derive(Debug, Default)]
pub(super) struct Limits(BTreeMap<Part, BTreeMap<Part, f64>>);

/// The quota that counts for a client, and with whom the client shares it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limit {
    pub(super) value: f64,
    /// Empty: the users of this client id share it.
    pub(super) user: String,
    /// Empty: all client ids of the user share it.
    pub(super) client_id: String,
}

/// The limits of new connections by address.
#[derive(Debug, Default)]
pub(super) struct AddressLimits {
    default: Option<f64>,
    by_address: BTreeMap<IpAddr, f64>,
}

/// A user or client id, as a quota names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Absent,
    Default,
    Named(String),
}

impl QuotaEntity {
    fn part(&self, kind: &str) -> Part {
        match self.0.get(kind) {
            None => Part::Absent,
            Some(None) => Part::Default,
            Some(Some(name)) => Part::Named(name.clone()),
        }
    }
}

impl Limits {
    /// The quotas that have this key.
    pub(super) fn new(quotas: &QuotaMap, key: &str) -> Self {
        let mut limits = BTreeMap::<Part, BTreeMap<Part, f64>>::new();
        for (entity, values) in quotas {
            if let Some(value) = values.get(key)
                && !entity.0.contains_key(IP)
            {
                let of_user = limits.entry(entity.part(USER)).or_default();
                of_user.insert(entity.part(CLIENT_ID), *value);
            }
        }
        Limits(limits)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The quota that counts, from the most to the least particular, in Kafka's order.
    pub(super) fn find(&self, user: &str, client_id: &str) -> Option<Limit> {
        let (user_part, client_part) = (Part::Named(user.to_owned()), Part::Named(client_id.to_owned()));
        let order = [
            (&user_part, &client_part),
            (&user_part, &Part::Default),
            (&user_part, &Part::Absent),
            (&Part::Default, &client_part),
            (&Part::Default, &Part::Default),
            (&Part::Default, &Part::Absent),
            (&Part::Absent, &client_part),
            (&Part::Absent, &Part::Default),
        ];
        let found = order.into_iter().find_map(|(of_user, of_client)| {
            let value = self.0.get(of_user)?.get(of_client)?;
            Some((*value, *of_user != Part::Absent, *of_client != Part::Absent))
        });
        let (value, by_user, by_client) = found?;
        let tag = |name: &str, wanted: bool| if wanted { name.to_owned() } else { String::new() };
        Some(Limit {
            value,
            user: tag(user, by_user),
            client_id: tag(client_id, by_client),
        })
    }
}

impl AddressLimits {
    /// The quotas of addresses that have this key. Names that were resolved when the quota was set are addresses.
    pub(super) fn new(quotas: &QuotaMap, key: &str) -> Self {
        let mut limits = AddressLimits::default();
        for (entity, values) in quotas {
            let (Some(name), Some(value)) = (entity.0.get(IP), values.get(key)) else {
                continue;
            };
            match name {
                None => limits.default = Some(*value),
                Some(name) => {
                    if let Ok(address) = name.parse() {
                        limits.by_address.insert(address, *value);
                    }
                }
            }
        }
        limits
    }

    pub(super) fn is_empty(&self) -> bool {
        self.default.is_none() && self.by_address.is_empty()
    }

    pub(super) fn find(&self, address: IpAddr) -> Option<f64> {
        self.by_address.get(&address).copied().or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(user: Option<Option<&str>>, client_id: Option<Option<&str>>) -> QuotaEntity {
        let name = |kind: &str, name: Option<&str>| (kind.to_owned(), name.map(str::to_owned));
        let parts = [
            user.map(|user| name(USER, user)),
            client_id.map(|id| name(CLIENT_ID, id)),
        ];
        QuotaEntity(parts.into_iter().flatten().collect())
    }

    #[test]
    fn the_most_particular_quota_counts() {
        let (me, any) = (Some(Some("u")), Some(None));
        let client = Some(Some("c"));
        let order = [
            (me, client, "u", "c"),
            (me, any, "u", "c"),
            (me, None, "u", ""),
            (any, client, "u", "c"),
            (any, any, "u", "c"),
            (any, None, "u", ""),
            (None, client, "", "c"),
            (None, any, "", "c"),
        ];
        let mut quotas = QuotaMap::new();
        for (value, (user, client_id, user_tag, client_tag)) in order.into_iter().enumerate().rev() {
            let values = QuotaValues::from([("k".to_owned(), value as f64)]);
            quotas.insert(entity(user, client_id), values);
            let found = Limits::new(&quotas, "k").find("u", "c");
            let expected = Limit {
                value: value as f64,
                user: user_tag.to_owned(),
                client_id: client_tag.to_owned(),
            };
            assert_eq!(found, Some(expected));
        }
        let limits = Limits::new(&quotas, "k");
        assert_eq!(limits.find("other", "c").unwrap().value, 3.0);
        assert_eq!(limits.find("other", "other").unwrap().value, 4.0);
        assert!(Limits::new(&quotas, "another key").is_empty());
    }
}
