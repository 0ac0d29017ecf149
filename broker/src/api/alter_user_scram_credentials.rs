//! AlterUserScramCredentials (51), version 0: sets and removes passwords (KIP-554).

use std::collections::BTreeMap;

use heliostat_wire::{
    ErrorCode,
    message::{
        AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
        alter_user_scram_credentials::{
            AlterUserScramCredentialsResult, ScramCredentialDeletion, ScramCredentialUpsertion,
        },
    },
};

use super::Context;
use crate::{
    api_error::ApiError,
    broker::Broker,
    state::{
        Image,
        credentials::{ScramCredential, ScramMechanism},
    },
};

const ITERATIONS_MIN: i32 = 4096;
const ITERATIONS_MAX: i32 = 16_384;

/// More users have no passwords: each costs memory, and whoever comes may add them.
const USERS_MAX: usize = 10_000;

/// A password to set, or `None` to remove one.
type Wanted = (ScramMechanism, Option<ScramCredential>);

pub(super) async fn handle(
    context: Context,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let results = alter(&context.broker, request)
        .await
        .into_iter()
        .map(|(user, outcome)| {
            let error = outcome.err();
            AlterUserScramCredentialsResult {
                user,
                error_code: error.as_ref().map_or(0, |error| error.code.into()),
                error_message: error.map(|error| error.message),
            }
        });
    AlterUserScramCredentialsResponse {
        results: results.collect(),
        ..Default::default()
    }
}

/// One outcome for each user: a request changes one password of each at most.
async fn alter(
    broker: &Broker,
    request: AlterUserScramCredentialsRequest,
) -> BTreeMap<String, Result<(), ApiError>> {
    let mut change = broker.state().begin().await;
    let image = change.image();
    let deletions = request.deletions.into_iter().map(|asked| {
        let wanted = deletion(image, &asked);
        (asked.name, wanted)
    });
    let upsertions = request.upsertions.into_iter().map(|asked| {
        let wanted = upsertion(image, &asked);
        (asked.name, wanted)
    });
    let mut by_user = BTreeMap::<String, Result<Wanted, ApiError>>::new();
    for (user, wanted) in deletions.chain(upsertions) {
        let wanted = match by_user.get(&user) {
            None => wanted,
            // What is wrong for another reason stays so.
            Some(Err(_)) => continue,
            Some(Ok(_)) => Err(ApiError::new(
                ErrorCode::DuplicateResource,
                "the request changes passwords of this user more than once",
            )),
        };
        by_user.insert(user, wanted);
    }
    for (user, wanted) in &mut by_user {
        let is_empty = |credential: &ScramCredential| credential.salted_password.is_empty();
        if matches!(wanted, Ok((_, Some(credential))) if is_empty(credential)) {
            // Kafka finds it when all else is checked, and has no better code for it either.
            let message = "the salted password is empty";
            *wanted = Err(ApiError::new(ErrorCode::UnknownServerError, message));
        }
        // Such a user has passwords that are not among those that clients have set, and they cannot be removed either.
        let may_be_own = match wanted {
            Ok(_) => true,
            Err(error) => error.code == ErrorCode::ResourceNotFound,
        };
        if may_be_own && broker.sasl().is_some_and(|sasl| sasl.has_own(user)) {
            let message =
                "this user is in the configuration that the cluster was started with: change it there";
            *wanted = Err(ApiError::new(ErrorCode::PolicyViolation, message));
        }
    }
    let mut outcomes = BTreeMap::new();
    for (user, wanted) in by_user {
        let outcome =
            wanted.map(|(mechanism, credential)| change.put_credential(&user, mechanism, credential));
        outcomes.insert(user, outcome);
    }
    if let Err(error) = change.commit().await.map_err(ApiError::from) {
        for outcome in outcomes.values_mut().filter(|outcome| outcome.is_ok()) {
            *outcome = Err(error.clone());
        }
    }
    outcomes
}

fn deletion(image: &Image, asked: &ScramCredentialDeletion) -> Result<Wanted, ApiError> {
    let mechanism = check(&asked.name, asked.mechanism)?;
    let of_user = image.credentials().get(&asked.name);
    if of_user.is_none_or(|of_user| !of_user.contains_key(&mechanism)) {
        return Err(ApiError::new(
            ErrorCode::ResourceNotFound,
            "the user has no such password",
        ));
    }
    Ok((mechanism, None))
}

fn upsertion(image: &Image, asked: &ScramCredentialUpsertion) -> Result<Wanted, ApiError> {
    let mechanism = check(&asked.name, asked.mechanism)?;
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&asked.iterations) {
        return Err(unacceptable(format!(
            "there must be {ITERATIONS_MIN} to {ITERATIONS_MAX} iterations, not {}",
            asked.iterations
        )));
    }
    if image.credentials().len() >= USERS_MAX && !image.credentials().contains_key(&asked.name) {
        let message = format!("{USERS_MAX} users have passwords already; remove some first");
        return Err(ApiError::new(ErrorCode::PolicyViolation, message));
    }
    let credential = ScramCredential {
        iterations: asked.iterations,
        salt: asked.salt.to_vec(),
        salted_password: asked.salted_password.to_vec(),
    };
    Ok((mechanism, Some(credential)))
}

fn check(user: &str, mechanism: i8) -> Result<ScramMechanism, ApiError> {
    if user.is_empty() {
        return Err(unacceptable("a user must have a name".to_owned()));
    }
    ScramMechanism::from_code(mechanism).ok_or_else(|| {
        let message = "there are the mechanisms SCRAM-SHA-256 (1) and SCRAM-SHA-512 (2)";
        ApiError::new(ErrorCode::UnsupportedSaslMechanism, message)
    })
}

fn unacceptable(message: String) -> ApiError {
    ApiError::new(ErrorCode::UnacceptableCredential, message)
}
