//! ApiVersions (18), versions 0-4: which APIs and versions this broker speaks.
//!
//! No features are listed: without `transaction.version` clients stay with the first transaction protocol.

use heliostat_wire::{
    ErrorCode,
    message::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, api_versions::ApiVersion},
};

use super::{Context, Reply, TABLE, reply};

pub(super) async fn handle(context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let named = context.api_version < 3
        || is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version);
    if !named {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.into(), ..Default::default() };
    }
    let mut api_keys: Vec<_> = TABLE.iter().map(advertised).collect();
    api_keys.sort_by_key(|api| api.api_key);
    ApiVersionsResponse { api_keys, ..Default::default() }
}

/// The answer to a version of this very API that is not known: in the format of version 0, which every client can
/// read, with the versions to try instead (KIP-511).
pub(super) fn unsupported(correlation_id: i32) -> Reply {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.into(),
        api_keys: TABLE.iter().filter(|api| api.key == ApiKey::ApiVersions).map(advertised).collect(),
        ..Default::default()
    };
    reply::encode(&response, 0, correlation_id)
}

fn advertised(api: &super::Api) -> ApiVersion {
    ApiVersion {
        api_key: api.key.code(),
        // Kafka names 0 here although it refuses 0 to 2, because librdkafka takes anything else for a broker
        // without record batches.
        min_version: if api.key == ApiKey::Produce { 0 } else { *api.versions.start() },
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
