//! What a request may still change in topics: see KIP-599.

use std::time::Duration;

use heliostat_wire::ErrorCode;

use super::{QuotaKind, Quotas};
use crate::api_error::ApiError;

/// The controller mutation quota of one request.
#[derive(Debug)]
pub(crate) struct Mutations<'a> {
    quotas: &'a Quotas,
    /// Who is charged: the user, and the name that its client gives itself.
    client: (&'a str, &'a str),
    /// Whether changes are refused. Older clients do not know the error: they are only kept waiting.
    strict: bool,
    throttle: Duration,
}

impl<'a> Mutations<'a> {
    pub(crate) fn new(quotas: &'a Quotas, client: (&'a str, &'a str), strict: bool) -> Self {
        Mutations {
            quotas,
            client,
            strict,
            throttle: Duration::ZERO,
        }
    }

    /// Takes note of partitions that are about to be created or deleted, or refuses that.
    pub(crate) fn charge(&mut self, partitions: usize) -> Result<(), ApiError> {
        let (user, client_id) = self.client;
        let record = |amount| {
            self.quotas
                .record(QuotaKind::ControllerMutation, user, client_id, amount)
        };
        let throttle = if self.strict {
            record(0.0)
        } else {
            record(partitions as f64)
        };
        self.throttle = self.throttle.max(throttle);
        if !self.strict {
            return Ok(());
        }
        if throttle.is_zero() {
            record(partitions as f64);
            return Ok(());
        }
        Err(ApiError::new(
            ErrorCode::ThrottlingQuotaExceeded,
            format!(
                "the quota controller_mutation_rate is used up for {} ms",
                throttle.as_millis()
            ),
        ))
    }

    /// For how long the client is to be kept waiting, in milliseconds.
    pub(crate) fn throttle_time_ms(&self) -> i32 {
        i32::try_from(self.throttle.as_millis()).unwrap_or(i32::MAX)
    }
}
