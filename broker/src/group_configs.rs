//! The configuration of groups: what a group has of its own, instead of what is set for the brokers.

use std::collections::BTreeMap;

use crate::{
    api_error::ApiError,
    broker::Broker,
    configs::{Alteration, ConfigEntry, Operation, Setting, Source},
    group::{HEARTBEAT_INTERVAL, SESSION_TIMEOUT},
    state::{Image, keys::BROKER_KEYS},
};

/// A key of a group.
struct GroupKey {
    name: &'static str,
    /// The brokers' keys that give its value where the group has none, and its bounds.
    broker: &'static str,
    min: &'static str,
    max: &'static str,
    documentation: &'static str,
}

const KEYS: [GroupKey; 2] = [
    GroupKey {
        name: HEARTBEAT_INTERVAL,
        broker: "group.consumer.heartbeat.interval.ms",
        min: "group.consumer.min.heartbeat.interval.ms",
        max: "group.consumer.max.heartbeat.interval.ms",
        documentation: "How often members of the consumer protocol are told to send heartbeats",
    },
    GroupKey {
        name: SESSION_TIMEOUT,
        broker: "group.consumer.session.timeout.ms",
        min: "group.consumer.min.session.timeout.ms",
        max: "group.consumer.max.session.timeout.ms",
        documentation: "After this time without a heartbeat a member of the consumer protocol is taken out",
    },
];

impl Broker {
    /// Every key of a group with its value, whether the group exists or not.
    pub(crate) fn describe_group_configs(&self, group_id: &str) -> Result<Vec<ConfigEntry>, ApiError> {
        check_name(group_id)?;
        let image = self.image();
        let own = image.group_configs(group_id);
        let entry = |key: &GroupKey| {
            let setting = |value: String, source| Setting {
                name: key.name.to_owned(),
                value: Some(value),
                source,
            };
            // As in Kafka, what the group has of its own is all that is shown of where a value comes from.
            let settings = vec![match own.get(key.name) {
                Some(value) => setting(value.clone(), Source::Group),
                None => setting(self.broker_value(key.broker), Source::Default),
            }];
            /// Kafka's number for a number of 32 bits.
            const INT: i8 = 3;
            ConfigEntry {
                name: key.name.to_owned(),
                value: settings.first().and_then(|setting| setting.value.clone()),
                read_only: false,
                type_code: INT,
                documentation: key.documentation,
                settings,
            }
        };
        Ok(KEYS.iter().map(entry).collect())
    }

    /// Changes what is configured for a group, whether it exists or not. It counts from the next heartbeat of each member on.
    pub(crate) async fn alter_group_configs(
        &self,
        group_id: &str,
        alterations: impl FnOnce(&BTreeMap<String, String>) -> Vec<Alteration>,
        validate_only: bool,
    ) -> Result<(), ApiError> {
        check_name(group_id)?;
        let mut change = self.state().begin().await;
        let current = change.image().group_configs(group_id).clone();
        let configs = self.altered(&current, alterations(&current))?;
        if !validate_only {
            change.put_group_configs(group_id, configs);
            change.commit().await?;
        }
        Ok(())
    }

    fn altered(
        &self,
        current: &BTreeMap<String, String>,
        alterations: Vec<Alteration>,
    ) -> Result<BTreeMap<String, String>, ApiError> {
        let mut configs = current.clone();
        for (index, Alteration { name, operation }) in alterations.iter().enumerate() {
            if alterations[..index].iter().any(|earlier| earlier.name == *name) {
                return Err(ApiError::twice(name));
            }
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                return Err(ApiError::invalid_config(format!(
                    "groups have no configuration {name:?}"
                )));
            };
            match operation {
                Operation::Set(value) => {
                    self.check_value(key, value)?;
                    configs.insert(name.clone(), value.trim().to_owned());
                }
                Operation::Delete => drop(configs.remove(name)),
                Operation::Append(_) | Operation::Subtract(_) => {
                    return Err(ApiError::invalid_config(format!("{name} is no list")));
                }
            }
        }
        let value = |key: &GroupKey| {
            let value = configs.get(key.name).cloned();
            value
                .unwrap_or_else(|| self.broker_value(key.broker))
                .parse::<i64>()
                .unwrap_or(0)
        };
        let [heartbeat, session] = KEYS.each_ref().map(value);
        if session <= heartbeat {
            return Err(ApiError::invalid_config(format!(
                "{SESSION_TIMEOUT} ({session}) must be greater than {HEARTBEAT_INTERVAL} ({heartbeat})"
            )));
        }
        Ok(configs)
    }

    fn check_value(&self, key: &GroupKey, value: &str) -> Result<(), ApiError> {
        let bound = |name: &str| self.broker_value(name).parse::<i32>().unwrap_or(i32::MAX);
        let (min, max) = (bound(key.min), bound(key.max));
        match value.trim().parse::<i32>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            _ => Err(ApiError::invalid_config(format!(
                "{}={value} is not possible: expected a number from {min} ({}) to {max} ({})",
                key.name, key.min, key.max
            ))),
        }
    }

    /// What the cluster was started with, or the default.
    fn broker_value(&self, name: &str) -> String {
        let default = || {
            BROKER_KEYS
                .iter()
                .find(|key| key.name == name)
                .map(|key| key.default.to_owned())
        };
        let set = self.properties.get(name).map(|value| value.trim().to_owned());
        set.or_else(default).unwrap_or_default()
    }
}

/// The groups that have a configuration of their own.
pub(crate) fn configured(image: &Image) -> Vec<String> {
    image.configured_groups().cloned().collect()
}

fn check_name(group_id: &str) -> Result<(), ApiError> {
    if group_id.is_empty() {
        return Err(ApiError::invalid_request(
            "a group's configuration needs the name of the group",
        ));
    }
    Ok(())
}
