//! UpdateFeatures (57), versions 0-2: finalizes features at other versions. All that this broker has are finalized at their
//! largest, and stay there: what asks for exactly that is granted, and everything else is refused.

use heliostat_wire::{
    ErrorCode,
    message::{
        UpdateFeaturesRequest, UpdateFeaturesResponse,
        update_features::{FeatureUpdateKey, UpdatableFeatureResult},
    },
};

use super::{Context, api_versions::FEATURES};

/// Since this version there is one answer for all features.
const ONE_ANSWER_SINCE: i16 = 2;

/// How a feature is to change.
const UPGRADE: i8 = 1;
const UNSAFE_DOWNGRADE: i8 = 3;

pub(super) async fn handle(context: Context, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    if let Some((error, why)) = request.feature_updates.iter().find_map(refusal) {
        return UpdateFeaturesResponse {
            error_code: error.into(),
            error_message: Some(format!(
                "no feature was updated, since one of them cannot be: {why}"
            )),
            ..Default::default()
        };
    }
    let per_feature = context.api_version < ONE_ANSWER_SINCE;
    let results = request.feature_updates.into_iter().filter(|_| per_feature);
    UpdateFeaturesResponse {
        results: results
            .map(|update| UpdatableFeatureResult {
                feature: update.feature,
                // Kafka says this where nothing is wrong.
                error_message: Some("NONE".to_owned()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// Why an update cannot be, as Kafka says it.
fn refusal(update: &FeatureUpdateKey) -> Option<(ErrorCode, String)> {
    let FeatureUpdateKey {
        feature: name,
        max_version_level: level,
        upgrade_type,
        ..
    } = update;
    let refuse = |error, why: &str| Some((error, format!("{name} at {level}: {why}")));
    if !(UPGRADE..=UNSAFE_DOWNGRADE).contains(upgrade_type) {
        return refuse(ErrorCode::InvalidUpdateVersion, "there is no such type of update");
    }
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == *name) else {
        return refuse(ErrorCode::InvalidUpdateVersion, "there is no such feature");
    };
    if !(feature.min..=feature.max).contains(level) {
        return refuse(ErrorCode::InvalidUpdateVersion, "there is no such version of it");
    }
    if *level < feature.max {
        return refuse(
            ErrorCode::InvalidUpdateVersion,
            "features of a built-in cluster stay at their largest version",
        );
    }
    None
}
