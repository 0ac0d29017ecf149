//! CreateAcls (30), versions 1-3: there are no access rules here, and clients are told so.

use heliostat_wire::{
    ErrorCode,
    message::{CreateAclsRequest, CreateAclsResponse, create_acls::AclCreationResult},
};

use super::{Context, describe_acls::NO_RULES};

pub(super) async fn handle(_: Context, request: CreateAclsRequest) -> CreateAclsResponse {
    let refused = AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.into(),
        error_message: Some(NO_RULES.to_owned()),
    };
    CreateAclsResponse {
        results: vec![refused; request.creations.len()],
        ..Default::default()
    }
}
