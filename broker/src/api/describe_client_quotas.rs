//! DescribeClientQuotas (48), versions 0-1: lists the quotas that match a filter (KIP-546).

use std::collections::{BTreeMap, BTreeSet};

use heliostat_wire::{
    ErrorCode,
    message::{
        DescribeClientQuotasRequest, DescribeClientQuotasResponse,
        describe_client_quotas::{ComponentData, EntityData, EntryData, ValueData},
    },
};

use super::Context;
use crate::{
    api_error::ApiError,
    quota::{CLIENT_ID, IP, QuotaEntity, QuotaValues, USER},
};

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// What entities are asked for.
#[derive(Debug, Default)]
struct Filter {
    /// Kinds of names, and the name; `None` for the default.
    exact: BTreeMap<String, Option<String>>,
    /// Kinds of names that an entity must have, whatever the name.
    any: BTreeSet<String>,
    strict: bool,
}

pub(super) async fn handle(
    context: Context,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let filter = match Filter::new(request) {
        Ok(filter) => filter,
        Err(error) => {
            return DescribeClientQuotasResponse {
                error_code: error.code.into(),
                error_message: Some(error.message),
                ..Default::default()
            };
        }
    };
    let image = context.broker.image();
    let matching = image.quotas().iter().filter(|(entity, _)| filter.matches(entity));
    DescribeClientQuotasResponse {
        // Kafka's text is empty, not null.
        error_message: Some(String::new()),
        entries: Some(matching.map(|(entity, values)| entry(entity, values)).collect()),
        ..Default::default()
    }
}

impl Filter {
    fn new(request: DescribeClientQuotasRequest) -> Result<Filter, ApiError> {
        let mut filter = Filter {
            strict: request.strict,
            ..Filter::default()
        };
        for component in request.components {
            filter.add(component)?;
        }
        if filter.names(IP) && (filter.names(USER) || filter.names(CLIENT_ID)) {
            return Err(ApiError::invalid_request(
                "quotas of addresses are asked for on their own, not with users or client ids",
            ));
        }
        Ok(filter)
    }

    fn names(&self, kind: &str) -> bool {
        self.exact.contains_key(kind) || self.any.contains(kind)
    }

    fn add(&mut self, component: ComponentData) -> Result<(), ApiError> {
        let kind = component.entity_type;
        if kind.is_empty() {
            return Err(ApiError::invalid_request(
                "a part of the filter has no entity type",
            ));
        }
        if self.names(&kind) {
            return Err(ApiError::twice(&kind));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            let message = format!("{kind:?} is no entity type: there are {USER}, {CLIENT_ID} and {IP}");
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, message));
        }
        match (component.match_type, component.match_name) {
            (EXACT, Some(name)) => drop(self.exact.insert(kind, Some(name))),
            (EXACT, None) => {
                return Err(ApiError::invalid_request(format!(
                    "no name is given that {kind} has to have"
                )));
            }
            (DEFAULT, None) => drop(self.exact.insert(kind, None)),
            (ANY, None) => drop(self.any.insert(kind)),
            (DEFAULT | ANY, Some(name)) => {
                return Err(ApiError::invalid_request(format!(
                    "the name {name:?} is given where only an exact match has one"
                )));
            }
            (other, _) => {
                return Err(ApiError::invalid_request(format!(
                    "{other} is no match type: there are exact (0), default (1) and any (2)"
                )));
            }
        }
        Ok(())
    }

    fn matches(&self, entity: &QuotaEntity) -> bool {
        let QuotaEntity(names) = entity;
        (!self.strict || names.len() == self.exact.len() + self.any.len())
            && self
                .exact
                .iter()
                .all(|(kind, name)| names.get(kind) == Some(name))
            && self.any.iter().all(|kind| names.contains_key(kind))
    }
}

fn entry(entity: &QuotaEntity, values: &QuotaValues) -> EntryData {
    let names = entity.0.iter().map(|(kind, name)| EntityData {
        entity_type: kind.clone(),
        entity_name: name.clone(),
    });
    let values = values.iter().map(|(key, value)| ValueData {
        key: key.clone(),
        value: *value,
    });
    EntryData {
        entity: names.collect(),
        values: values.collect(),
    }
}
