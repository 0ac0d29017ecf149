//! DeleteAcls (31), versions 1-3: there are no access rules here, and clients are told so.

use heliostat_wire::{
    ErrorCode,
    message::{DeleteAclsRequest, DeleteAclsResponse, delete_acls::DeleteAclsFilterResult},
};

use super::{Context, describe_acls::NO_RULES};

pub(super) async fn handle(_: Context, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.into(),
        error_message: Some(NO_RULES.to_owned()),
        matching_acls: Vec::new(),
    };
    DeleteAclsResponse {
        filter_results: vec![refused; request.filters.len()],
        ..Default::default()
    }
}
