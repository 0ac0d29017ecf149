//! DescribeAcls (29), versions 1-3: there are no access rules here, and clients are told so.

use heliostat_wire::{
    ErrorCode,
    message::{DescribeAclsRequest, DescribeAclsResponse},
};

use super::Context;

/// What is said to everyone who asks for access rules.
pub(super) const NO_RULES: &str = "this cluster has no access rules: everyone may do everything";

pub(super) async fn handle(_: Context, _: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.into(),
        error_message: Some(NO_RULES.to_owned()),
        ..Default::default()
    }
}
