//! Configuration: what is set where, which value counts, and how it is changed.
//!
//! A topic's value comes from the topic, else from what was set for the brokers while they ran, else from the
//! properties that the cluster was started with, else from the default. What is set for a single node is told apart by
//! `node_configs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api_error::ApiError,
    log::{
        ConfigKey, ConfigKind, TOPIC_CONFIGS,
        config::{check_topic_config, topic_config},
    },
    state::{
        BrokerConfigs,
        keys::{BROKER_KEYS, BrokerKey, SYNONYMS, Synonym},
    },
};

/// The key that is null where it is not set; others are empty texts.
const NULL_BY_DEFAULT: &str = "broker.rack";

/// Where a value comes from, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Topic = 1,
    Broker = 2,
    AllBrokers = 3,
    Properties = 4,
    Default = 5,
    Group = 8,
}

/// One place that has a value for a key, under the name that the place knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

/// A key with its value, as clients see it.
#[derive(Debug, Clone)]
pub(crate) struct ConfigEntry {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) read_only: bool,
    /// Kafka's number for the type.
    pub(crate) type_code: i8,
    pub(crate) documentation: &'static str,
    /// Every place that has a value, the one that counts first.
    pub(crate) settings: Vec<Setting>,
}

/// The layers of configuration below the topics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers<'a> {
    /// What was set for the node.
    pub(crate) broker: &'a BrokerConfigs,
    /// What was set for all nodes.
    pub(crate) all_brokers: &'a BrokerConfigs,
    /// What the cluster was started with.
    pub(crate) properties: &'a BTreeMap<String, String>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alteration {
    pub(crate) name: String,
    pub(crate) operation: Operation,
}

/// What is done to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

/// Which keys a resource has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    Topic,
    Broker,
}

impl ConfigEntry {
    /// Where the value that counts comes from.
    pub(crate) fn source(&self) -> Source {
        self.settings
            .first()
            .map_or(Source::Default, |setting| setting.source)
    }
}

/// Kafka's number for 32-bit numbers.
const INT: i8 = 3;

impl<'a> Layers<'a> {
    fn each(self) -> [(&'a BTreeMap<String, String>, Source); 3] {
        [
            (self.broker, Source::Broker),
            (self.all_brokers, Source::AllBrokers),
            (self.properties, Source::Properties),
        ]
    }

    /// What a layer has for a key. Kafka writes `min.insync.replicas` down for all brokers when a cluster is made
    /// (KIP-966), so that it is set there even if nobody has set it.
    fn value_in(self, layer: &BTreeMap<String, String>, source: Source, name: &str) -> Option<String> {
        const ALWAYS_SET: &str = "min.insync.replicas";
        let set = layer.get(name).cloned();
        if set.is_some() || source != Source::AllBrokers || name != ALWAYS_SET {
            return set;
        }
        let at_start = self.properties.get(name).cloned();
        at_start.or_else(|| topic_config(name).map(|key| key.default.to_owned()))
    }

    /// Every key of a topic with its value.
    pub(crate) fn describe_topic(self, configs: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
        TOPIC_CONFIGS
            .iter()
            .map(|key| self.topic_entry(key, configs))
            .collect()
    }

    /// The values of all keys that count for a topic, except defaults.
    pub(crate) fn topic_values(self, configs: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut values = configs.clone();
        for key in TOPIC_CONFIGS {
            if let Some((synonym, setting)) = self.broker_settings(key.name).next() {
                let value = || topic_value(synonym, setting.value.as_deref().unwrap_or_default());
                values.entry(key.name.to_owned()).or_insert_with(value);
            }
        }
        values
    }

    fn topic_entry(self, key: &ConfigKey, configs: &BTreeMap<String, String>) -> ConfigEntry {
        let own = configs.get(key.name);
        let own = own.map(|value| setting(key.name, value.clone(), Source::Topic));
        let below = self.broker_settings(key.name).collect::<Vec<_>>();
        let value = match (&own, below.first()) {
            (Some(own), _) => own.value.clone(),
            (None, Some((synonym, setting))) => {
                setting.value.as_deref().map(|value| topic_value(synonym, value))
            }
            (None, None) => Some(key.default.to_owned()),
        };
        // Kafka tells of the broker's keys from the one in the topic's unit on, also where another one counts.
        let shown = SYNONYMS.iter().find(|synonym| synonym.topic_key == key.name);
        let below = shown.map_or_else(Vec::new, |shown| self.settings_from(shown));
        ConfigEntry {
            name: key.name.to_owned(),
            value,
            read_only: false,
            type_code: key.kind.wire_code(),
            documentation: key.doc,
            settings: own.into_iter().chain(below).collect(),
        }
    }

    /// What Kafka tells of one of several keys that set the same: what the layers have for all of them, with their
    /// defaults, but nothing in front of the key itself.
    fn settings_from(self, synonym: &Synonym) -> Vec<Setting> {
        let set = self
            .broker_settings(synonym.topic_key)
            .map(|(_, setting)| setting);
        let all = SYNONYMS
            .iter()
            .filter(|other| other.topic_key == synonym.topic_key);
        let defaults = all.filter_map(|other| {
            let default = synonym_default(other, topic_config(other.topic_key)?)?;
            Some(setting(other.name, default, Source::Default))
        });
        let all = set.chain(defaults);
        all.skip_while(|setting| setting.name != synonym.name).collect()
    }

    /// What the layers have for a topic's key, the one that counts first.
    fn broker_settings(self, topic_key: &str) -> impl Iterator<Item = (&'static Synonym, Setting)> {
        self.each().into_iter().flat_map(move |(layer, source)| {
            SYNONYMS
                .iter()
                .filter(move |synonym| synonym.topic_key == topic_key)
                .filter_map(move |synonym| {
                    let value = self.value_in(layer, source, synonym.name)?;
                    Some((
                        synonym,
                        Setting {
                            name: synonym.name.to_owned(),
                            value: Some(value),
                            source,
                        },
                    ))
                })
        })
    }

    /// The value of one of the broker's own keys.
    pub(crate) fn broker_value(self, name: &str) -> &'a str {
        let set = self.each().into_iter().find_map(|(layer, _)| layer.get(name));
        set.map_or_else(|| broker_key(name).map_or("", |key| key.default), String::as_str)
    }

    /// Every key of a broker with its value.
    pub(crate) fn describe_broker(self) -> Vec<ConfigEntry> {
        let own = BROKER_KEYS.iter().map(|key| {
            let default = Some(key.default.to_owned()).filter(|_| key.name != NULL_BY_DEFAULT);
            ConfigEntry {
                type_code: key.kind.code(),
                read_only: !key.dynamic,
                documentation: key.documentation,
                ..entry(key.name, self.settings_of(key.name, default))
            }
        });
        let synonyms = SYNONYMS.iter().filter_map(|synonym| {
            let key = topic_config(synonym.topic_key)?;
            Some(ConfigEntry {
                // Kafka counts hours and minutes in 32 bits.
                type_code: if synonym.unit_ms > 1 {
                    INT
                } else {
                    key.kind.wire_code()
                },
                read_only: !synonym.dynamic,
                documentation: key.doc,
                ..entry(synonym.name, self.settings_from(synonym))
            })
        });
        own.chain(synonyms).collect()
    }

    /// What the layers have for one of the broker's own keys, and its default.
    fn settings_of(self, name: &str, default: Option<String>) -> Vec<Setting> {
        let set = self.each().into_iter().filter_map(|(layer, source)| {
            let value = self.value_in(layer, source, name)?;
            Some(setting(name, value, source))
        });
        let default = default.map(|value| setting(name, value, Source::Default));
        set.chain(default).collect()
    }
}

fn setting(name: &str, value: String, source: Source) -> Setting {
    Setting {
        name: name.to_owned(),
        value: Some(value),
        source,
    }
}

/// A key of a broker with the first of these settings, and nothing else said of it.
fn entry(name: &str, settings: Vec<Setting>) -> ConfigEntry {
    ConfigEntry {
        name: name.to_owned(),
        value: settings.first().and_then(|setting| setting.value.clone()),
        read_only: false,
        type_code: INT,
        documentation: "",
        settings,
    }
}

/// Checks that each key is changed once, and that only lists are added to and taken from.
pub(crate) fn check_operations(schema: Schema, alterations: &[Alteration]) -> Result<(), ApiError> {
    let mut names = BTreeSet::new();
    if let Some(twice) = alterations.iter().find(|change| !names.insert(&change.name)) {
        return Err(ApiError::twice(&twice.name));
    }
    let mut of_lists = alterations
        .iter()
        .filter(|change| matches!(change.operation, Operation::Append(_) | Operation::Subtract(_)));
    of_lists.try_for_each(|change| schema.list(&change.name).map(|_| ()))
}

/// Applies changes to what is set. The result is checked key by key.
pub(crate) fn alter(
    schema: Schema,
    current: &BTreeMap<String, String>,
    alterations: &[Alteration],
) -> Result<BTreeMap<String, String>, ApiError> {
    check_operations(schema, alterations)?;
    let mut altered = current.clone();
    for Alteration { name, operation } in alterations {
        // What cannot be set is not set: deleting it from a topic changes nothing, as in Kafka.
        if schema == Schema::Broker || !matches!(operation, Operation::Delete) {
            schema.check_name(name)?;
        }
        let value = match operation {
            Operation::Delete => {
                altered.remove(name);
                continue;
            }
            Operation::Set(value) => value.clone(),
            Operation::Append(value) => schema.list_change(name, &altered, value, true)?,
            Operation::Subtract(value) => schema.list_change(name, &altered, value, false)?,
        };
        schema.check_value(name, &value)?;
        altered.insert(name.clone(), value);
    }
    Ok(altered)
}

/// Checks a property that a cluster is to be started with.
pub fn check_property(name: &str, value: &str) -> Result<(), PropertyProblem> {
    let outcome = match BROKER_KEYS.iter().find(|key| key.name == name) {
        Some(key) => key.kind.check(value).map_err(|bad| bad.to_string()),
        None => match SYNONYMS.iter().find(|synonym| synonym.name == name) {
            Some(synonym) => check_synonym(synonym, value),
            None => return Err(PropertyProblem::Unknown),
        },
    };
    outcome.map_err(PropertyProblem::Bad)
}

/// A broker config that a built-in cluster takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Kafka's name of it.
    pub name: &'static str,
    /// Its value where nothing is set; absent for a key whose default another key gives.
    pub default: Option<String>,
    /// Whether it takes effect without a restart.
    pub dynamic: bool,
}

/// Every broker config that a built-in cluster takes.
pub fn broker_configs() -> Vec<BrokerConfig> {
    let empty = BTreeMap::new();
    let layers = Layers {
        broker: &empty,
        all_brokers: &empty,
        properties: &empty,
    };
    let configs = layers.describe_broker().into_iter().filter_map(|entry| {
        let own = BROKER_KEYS.iter().map(|key| key.name);
        let name = own
            .chain(SYNONYMS.iter().map(|synonym| synonym.name))
            .find(|name| *name == entry.name)?;
        Some(BrokerConfig {
            name,
            default: entry.value,
            dynamic: !entry.read_only,
        })
    });
    configs.collect()
}

/// What is wrong with a property.
#[derive(Debug, PartialEq, Eq)]
pub enum PropertyProblem {
    /// There is no such key.
    Unknown,
    /// The value is not one that the key accepts; the text says what is.
    Bad(String),
}

impl Schema {
    fn check_name(self, name: &str) -> Result<(), ApiError> {
        match self {
            Schema::Topic if topic_config(name).is_some() => Ok(()),
            Schema::Topic => Err(ApiError::invalid_config(format!(
                "topics have no configuration {name:?}"
            ))),
            Schema::Broker
                if SYNONYMS
                    .iter()
                    .any(|synonym| synonym.dynamic && synonym.name == name)
                    || broker_key(name).is_some_and(|key| key.dynamic) =>
            {
                Ok(())
            }
            Schema::Broker if SYNONYMS.iter().any(|s| s.name == name) || broker_key(name).is_some() => {
                Err(ApiError::invalid_request(format!(
                    "{name} of a broker can only be set when the cluster is started"
                )))
            }
            Schema::Broker => Err(ApiError::invalid_config(format!(
                "brokers have no configuration {name:?}"
            ))),
        }
    }

    fn check_value(self, name: &str, value: &str) -> Result<(), ApiError> {
        let outcome = match self {
            Schema::Topic => check_topic_config(name, value).map_err(|error| error.to_string()),
            Schema::Broker => match SYNONYMS.iter().find(|synonym| synonym.name == name) {
                Some(synonym) => check_synonym(synonym, value),
                None => broker_key(name)
                    .map_or(Ok(()), |key| key.kind.check(value).map_err(|bad| bad.to_string())),
            },
        };
        outcome.map_err(|problem| {
            let message = format!("{name}={value} is not possible: {problem}");
            match self {
                Schema::Topic => ApiError::invalid_config(message),
                Schema::Broker => ApiError::invalid_request(message),
            }
        })
    }

    /// The key of a topic that this list is, or stands for.
    fn list(self, name: &str) -> Result<&'static ConfigKey, ApiError> {
        let topic_key = match self {
            Schema::Topic => Some(name),
            Schema::Broker => SYNONYMS
                .iter()
                .find(|synonym| synonym.name == name)
                .map(|s| s.topic_key),
        };
        let key = topic_key
            .and_then(topic_config)
            .filter(|key| key.kind == ConfigKind::List);
        key.ok_or_else(|| {
            ApiError::invalid_config(format!(
                "{name} is no list: values can neither be appended to it nor taken from it"
            ))
        })
    }

    fn list_change(
        self,
        name: &str,
        current: &BTreeMap<String, String>,
        value: &str,
        append: bool,
    ) -> Result<String, ApiError> {
        let key = self.list(name)?;
        let before = current.get(name).map_or(key.default, String::as_str);
        let given = elements(value).collect::<Vec<_>>();
        let mut after = elements(before).collect::<Vec<_>>();
        if append {
            let new = given
                .into_iter()
                .filter(|element| !after.contains(element))
                .collect::<Vec<_>>();
            after.extend(new);
        } else {
            after.retain(|element| !given.contains(element));
        }
        Ok(after.join(","))
    }
}

fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

fn broker_key(name: &str) -> Option<&'static BrokerKey> {
    BROKER_KEYS.iter().find(|key| key.name == name)
}

fn check_synonym(synonym: &Synonym, value: &str) -> Result<(), String> {
    if synonym.unit_ms > 1 && value.trim().parse::<i32>().is_err() {
        return Err("expected a number of 32 bits".to_owned());
    }
    check_topic_config(synonym.topic_key, &topic_value(synonym, value)).map_err(|error| error.to_string())
}

/// A broker's value in the unit of the topic's key. Negative numbers mean "without limit" in every unit.
fn topic_value(synonym: &Synonym, value: &str) -> String {
    match value.trim().parse::<i64>() {
        Ok(number) if synonym.unit_ms > 1 && number >= 0 => {
            number.saturating_mul(synonym.unit_ms).to_string()
        }
        _ => value.trim().to_owned(),
    }
}

/// Where several keys stand for one, Kafka gives a default only to the one with the largest unit; and none to the one
/// that another key, which does not exist here, would set.
fn synonym_default(synonym: &Synonym, key: &ConfigKey) -> Option<String> {
    const WITHOUT_DEFAULT: &str = "log.flush.interval.ms";
    if synonym.name == WITHOUT_DEFAULT {
        return None;
    }
    let largest = SYNONYMS
        .iter()
        .filter(|s| s.topic_key == synonym.topic_key)
        .map(|s| s.unit_ms)
        .max()?;
    if synonym.unit_ms < largest {
        return None;
    }
    match key.default.parse::<i64>() {
        Ok(number) if synonym.unit_ms > 1 => Some((number / synonym.unit_ms).to_string()),
        _ => Some(key.default.to_owned()),
    }
}

#[cfg(test)]
mod tests;
