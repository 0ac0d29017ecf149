//! DescribeUserScramCredentials (50), version 0: which users have a password, not what it is (KIP-554).

use std::collections::BTreeMap;

use heliostat_wire::{
    ErrorCode,
    message::{
        DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
        describe_user_scram_credentials::{CredentialInfo, DescribeUserScramCredentialsResult},
    },
};

use super::{Context, distinct::distinct};

pub(super) async fn handle(
    context: Context,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let image = context.broker.image();
    // What clients set for a user of the configuration before it was one does not count.
    let mut credentials: BTreeMap<_, _> = image.credentials().iter().collect();
    credentials.extend(context.broker.sasl().iter().flat_map(|sasl| sasl.own()));
    credentials.retain(|_, of_user| !of_user.is_empty());
    let asked: Vec<String> = match request.users {
        Some(users) if !users.is_empty() => users.into_iter().map(|user| user.name).collect(),
        _ => credentials.keys().map(|user| user.to_string()).collect(),
    };
    let mut times = BTreeMap::<String, usize>::new();
    for user in &asked {
        *times.entry(user.clone()).or_default() += 1;
    }
    let results = distinct(asked, String::clone).into_iter().map(|user| {
        let refused = |code: ErrorCode, message: &str| DescribeUserScramCredentialsResult {
            user: user.clone(),
            error_code: code.into(),
            error_message: Some(format!("{message}: {user}")),
            ..Default::default()
        };
        if times.get(&user).is_some_and(|times| *times > 1) {
            return refused(
                ErrorCode::DuplicateResource,
                "the request names a user more than once",
            );
        }
        let Some(of_user) = credentials.get(&user) else {
            return refused(ErrorCode::ResourceNotFound, "a user has no password");
        };
        let infos = of_user.iter().map(|(mechanism, credential)| CredentialInfo {
            mechanism: *mechanism as i8,
            iterations: credential.iterations,
        });
        DescribeUserScramCredentialsResult {
            credential_infos: infos.collect(),
            // Kafka's text is empty, not null.
            error_message: Some(String::new()),
            user,
            ..Default::default()
        }
    });
    DescribeUserScramCredentialsResponse {
        results: results.collect(),
        error_message: Some(String::new()),
        ..Default::default()
    }
}
