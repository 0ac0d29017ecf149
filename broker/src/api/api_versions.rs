//! ApiVersions (18), versions 0-4: which APIs and versions this broker speaks.
//!
//! Of Kafka's features those are listed that say something about this broker.

use heliostat_wire::{
    ErrorCode,
    message::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse,
        api_versions::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
};

use super::{Context, Reply, TABLE, reply};

pub(super) async fn handle(context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let named = context.api_version < 3
        || is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version);
    if !named {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.into(),
            ..Default::default()
        };
    }
    if let Some((_, session)) = context.sasl() {
        session.greeted();
    }
    let features = FEATURES
        .iter()
        .filter(|feature| feature.min > 0 || context.api_version >= UNBOUND_FEATURES_SINCE);
    let supported = features.map(|feature| SupportedFeatureKey {
        name: feature.name.to_owned(),
        min_version: feature.min,
        max_version: feature.max,
    });
    let finalized = FEATURES.iter().map(|feature| FinalizedFeatureKey {
        name: feature.name.to_owned(),
        max_version_level: feature.max,
        min_version_level: feature.max,
    });
    let mut api_keys: Vec<_> = TABLE.iter().map(advertised).collect();
    api_keys.sort_by_key(|api| api.api_key);
    ApiVersionsResponse {
        api_keys,
        supported_features: supported.collect(),
        // They never change; clients take an epoch below 0 for "unknown".
        finalized_features_epoch: 0,
        finalized_features: finalized.collect(),
        ..Default::default()
    }
}

/// A feature that is finalized at its largest version.
pub(super) struct Feature {
    pub(super) name: &'static str,
    pub(super) min: i16,
    pub(super) max: i16,
}

/// With version 1 of groups there is the consumer protocol (KIP-848); with version 2 of transactions, producers get a new
/// epoch at the end of each (KIP-890).
pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "group.version",
        min: 0,
        max: 1,
    },
    Feature {
        name: "transaction.version",
        min: 0,
        max: 2,
    },
];

/// Before this version clients fail at a feature whose smallest version is 0.
const UNBOUND_FEATURES_SINCE: i16 = 4;

/// The answer to a version of this very API that is not known: in the format of version 0, which every client can
/// read, with the versions to try instead (KIP-511).
pub(super) fn unsupported(correlation_id: i32) -> Reply {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.into(),
        api_keys: TABLE
            .iter()
            .filter(|api| api.key == ApiKey::ApiVersions)
            .map(advertised)
            .collect(),
        ..Default::default()
    };
    reply::encode(&response, 0, correlation_id)
}

fn advertised(api: &super::Api) -> ApiVersion {
    ApiVersion {
        api_key: api.key.code(),
        // Kafka names 0 here although it refuses 0 to 2, because librdkafka takes anything else for a broker
        // without record batches.
        min_version: if api.key == ApiKey::Produce {
            0
        } else {
            *api.versions.start()
        },
        max_version: *api.versions.end(),
    }
}

/// Letters and digits, with dots and dashes between them.
fn is_software_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    outer(name.chars().next()) && outer(name.chars().next_back()) && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names() {
        for good in ["a", "apache-kafka-java", "2.12.1", "x--..y"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "é"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
