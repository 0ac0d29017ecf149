//! ConsumerGroupDescribe (69), versions 0-1: a group of the consumer protocol, its members, and where they are.

use heliostat_wire::message::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, consumer_group_describe::DescribedGroup,
};

use super::{Context, distinct::distinct, operations};

pub(super) async fn handle(
    context: Context,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for group_id in distinct(request.group_ids, String::clone) {
        let mut described = match context.groups_for(&group_id) {
            Ok(groups) => groups.describe_consumer_group(&group_id).await,
            Err(error) => DescribedGroup {
                group_id,
                error_code: error.code(),
                ..Default::default()
            },
        };
        if described.error_code == 0 {
            described.authorized_operations =
                operations::if_asked(request.include_authorized_operations, operations::GROUP);
        }
        groups.push(described);
    }
    ConsumerGroupDescribeResponse {
        groups,
        ..Default::default()
    }
}
