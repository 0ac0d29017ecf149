//! AlterClientQuotas (49), versions 0-1: sets and removes quotas, which take effect at once (KIP-546).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use heliostat_wire::{
    ErrorCode,
    message::{
        AlterClientQuotasRequest, AlterClientQuotasResponse,
        alter_client_quotas::{EntityData, EntryData, EntryResult, OpData},
    },
};

use super::Context;
use crate::{
    api_error::ApiError,
    broker::Broker,
    quota::{CLIENT_ID, CONNECTION_CREATION_RATE, IP, QuotaEntity, QuotaKind, QuotaMap, QuotaValues, USER},
    state::Change,
};

/// More entities have no quotas: each costs memory, and whoever comes may add them.
const ENTITIES_MAX: usize = 10_000;

/// More bytes the name of a user or a client id does not take: all names are kept in memory, and in every image of the
/// state.
const NAME_BYTES_MAX: usize = 1024;

/// How far a number may be from a whole one that it is meant to be.
const WHOLE_TOLERANCE: f64 = 1e-6;

/// What became of each entity of a request.
type Outcomes = BTreeMap<QuotaEntity, Result<(), ApiError>>;

pub(super) async fn handle(context: Context, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let results = alter(&context.broker, &request)
        .await
        .into_iter()
        .map(|(QuotaEntity(names), outcome)| {
            let error = outcome.err();
            let names = names.into_iter().map(|(entity_type, entity_name)| EntityData {
                entity_type,
                entity_name,
            });
            EntryResult {
                error_code: error.as_ref().map_or(0, |error| error.code.into()),
                error_message: error.map(|error| error.message),
                entity: names.collect(),
            }
        });
    AlterClientQuotasResponse {
        entries: results.collect(),
        ..Default::default()
    }
}

async fn alter(broker: &Broker, request: &AlterClientQuotasRequest) -> Outcomes {
    let mut change = broker.state().begin().await;
    let mut outcomes = Outcomes::new();
    for entry in &request.entries {
        let entity = entity(entry);
        let outcome = if outcomes.contains_key(&entity) {
            Err(ApiError::invalid_request(
                "the request names this entity more than once",
            ))
        } else {
            apply(&mut change, &entity, &entry.ops)
        };
        outcomes.insert(entity, outcome);
    }
    if request.validate_only {
        return outcomes;
    }
    match change.commit_and_hold().await {
        Ok((image, _held)) => broker.quotas().set(image.quotas()),
        Err(error) => {
            let error = ApiError::from(error);
            for outcome in outcomes.values_mut().filter(|outcome| outcome.is_ok()) {
                *outcome = Err(error.clone());
            }
        }
    }
    outcomes
}

fn apply(change: &mut Change, entity: &QuotaEntity, ops: &[OpData]) -> Result<(), ApiError> {
    check_entity(entity)?;
    let values = altered(change.image().quotas(), entity, ops)?;
    change.put_quotas(entity.clone(), values);
    Ok(())
}

/// Of several names of one kind the last counts.
fn entity(entry: &EntryData) -> QuotaEntity {
    let parts = entry
        .entity
        .iter()
        .map(|part| (part.entity_type.clone(), part.entity_name.clone()));
    QuotaEntity(parts.collect())
}

fn check_entity(entity: &QuotaEntity) -> Result<(), ApiError> {
    let QuotaEntity(names) = entity;
    if names.is_empty() {
        return Err(ApiError::invalid_request(
            "an entity has no names: whom is the quota for?",
        ));
    }
    for (kind, name) in names {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return Err(ApiError::invalid_request(format!(
                "{kind:?} is no entity type: there are {USER}, {CLIENT_ID} and {IP}"
            )));
        }
        if name.as_ref().is_some_and(String::is_empty) {
            return Err(ApiError::invalid_request(format!(
                "the name of a {kind} cannot be empty"
            )));
        }
        if name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return Err(ApiError::invalid_request(format!(
                "the name of a {kind} takes at most {NAME_BYTES_MAX} bytes"
            )));
        }
    }
    match names.get(IP) {
        Some(_) if names.len() > 1 => Err(ApiError::invalid_request(
            "a quota of an address cannot be one of a user or a client id too",
        )),
        // Kafka would look a name up; here it has to be an address.
        Some(Some(name)) if name.parse::<IpAddr>().is_err() => {
            Err(ApiError::invalid_request(format!("{name:?} is no IP address")))
        }
        _ => Ok(()),
    }
}

fn altered(quotas: &QuotaMap, entity: &QuotaEntity, ops: &[OpData]) -> Result<QuotaValues, ApiError> {
    let current = quotas.get(entity);
    let mut values = current.cloned().unwrap_or_default();
    let mut keys = BTreeSet::new();
    for op in ops {
        if !keys.insert(&op.key) {
            return Err(ApiError::twice(&op.key));
        }
        if op.remove {
            values.remove(&op.key);
        } else {
            check_value(entity, &op.key, op.value)?;
            values.insert(op.key.clone(), op.value);
        }
    }
    if current.is_none() && !values.is_empty() && quotas.len() >= ENTITIES_MAX {
        let message = format!("there are quotas of {ENTITIES_MAX} entities already; remove some first");
        return Err(ApiError::new(ErrorCode::PolicyViolation, message));
    }
    Ok(values)
}

fn check_value(entity: &QuotaEntity, key: &str, value: f64) -> Result<(), ApiError> {
    let of_address = entity.0.contains_key(IP);
    let whole_max = match key {
        CONNECTION_CREATION_RATE if of_address => Some(f64::from(i32::MAX)),
        _ if of_address => None,
        _ if key == QuotaKind::Produce.key() || key == QuotaKind::Fetch.key() => Some(i64::MAX as f64),
        _ if key == QuotaKind::Request.key() || key == QuotaKind::ControllerMutation.key() => {
            Some(f64::INFINITY)
        }
        _ => None,
    };
    let Some(max) = whole_max else {
        return Err(ApiError::invalid_request(format!(
            "this kind of entity has no quota {key:?}"
        )));
    };
    if value.is_nan() || value <= 0.0 {
        return Err(ApiError::invalid_request(format!(
            "the quota {key} must be more than 0, not {value}"
        )));
    }
    if value > max {
        return Err(ApiError::invalid_request(format!(
            "the quota {key} must be at most {max}, not {value}"
        )));
    }
    if max.is_finite() && (value - value.round()).abs() > WHOLE_TOLERANCE {
        return Err(ApiError::invalid_request(format!(
            "the quota {key} must be a whole number, not {value}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_end() {
        let of = |bytes| QuotaEntity([(CLIENT_ID.to_owned(), Some("x".repeat(bytes)))].into());
        assert!(check_entity(&of(NAME_BYTES_MAX)).is_ok());
        let refused = check_entity(&of(NAME_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRequest);
    }
}
