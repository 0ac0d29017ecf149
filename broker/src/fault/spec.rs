//! A fault as it is asked for, and whether it makes sense.

use std::time::Duration;

use heliostat_wire::{ErrorCode, message::ApiKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::refusal;
use crate::api::supported_apis;

/// A fault as it is asked for. What a kind does not need is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The error code, by Kafka's name or by number. Of `error`, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long a request, or each access to the disk, is held up. Of `delay` and `slow-disk`, which need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Whether the request takes effect before its connection is cut. Of `cut`; false if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_effect: Option<bool>,
    /// How many bytes still fit. Of `full-disk`; none if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_bytes: Option<u64>,
    /// How far the clock is ahead; behind, if it is negative. Of `clock`, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead_ms: Option<i64>,
    /// Only requests of this API, by Kafka's name or by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Only requests of clients that give themselves this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Only requests that name this topic, or only its logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Only at this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<i32>,
    /// How many requests that fit are let pass first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// How many are hit then; all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The share of those that fit which is hit, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// What the share is drawn with, so that the same requests are hit again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// A request is answered with an error code, and nothing is done.
    Error,
    /// A request waits before it is looked at.
    Delay,
    /// The connection of a request is cut.
    Cut,
    /// A connection is closed as soon as it is accepted.
    Refuse,
    /// Everything that is written to a log, or forced to disk, takes longer.
    SlowDisk,
    /// Nothing more fits on the disk of the logs.
    FullDisk,
    /// What was written to a log cannot be forced to disk.
    FailedFsync,
    /// The clock is wrong.
    Clock,
}

/// Why there is no such fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FaultError {
    /// It cannot be meant so.
    #[error("{0}")]
    Wrong(String),
    /// There is no such error code.
    #[error("Kafka has no error code {0:?}")]
    NoError(String),
    /// There is no such API.
    #[error("the built-in cluster has no API {0:?}")]
    NoApi(String),
    /// There is one of this kind already.
    #[error("fault {id} is one of this kind already, and there can be only one: remove it first")]
    There {
        /// The one that is there.
        id: u64,
    },
    /// There are too many.
    #[error("there are {FAULTS_MAX} faults already: remove one first")]
    TooMany,
    /// There is no fault with this id.
    #[error("there is no fault {0}")]
    Unknown(u64),
}

/// Every fault that fits a request is looked at, so there is an end to them.
pub(super) const FAULTS_MAX: usize = 100;

/// Longer waits are not a delay but a silence: a node can be isolated for that.
const DELAY_MS_MAX: u64 = 3_600_000;

/// A clock that is wrong by more than ten years is of no use to anybody.
const AHEAD_MS_MAX: u64 = 10 * 365 * 86_400_000;

/// What a fault does, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Error(ErrorCode),
    Delay(Duration),
    Cut { takes_effect: bool },
    Refuse,
    SlowDisk(Duration),
    FullDisk { room_bytes: u64 },
    FailedFsync,
    Clock { ahead_ms: i64 },
}

impl Fault {
    /// A fault of this kind and nothing else.
    pub fn new(kind: FaultKind) -> Fault {
        Fault {
            kind,
            error: None,
            delay_ms: None,
            takes_effect: None,
            room_bytes: None,
            ahead_ms: None,
            api: None,
            client_id: None,
            topic: None,
            node: None,
            skip: None,
            count: None,
            fraction: None,
            seed: None,
        }
    }

    /// What it does, and to which API, if it makes sense.
    pub(super) fn check(&self) -> Result<(Effect, Option<ApiKey>), FaultError> {
        use FaultKind::{Clock, Cut, Delay, Error, FailedFsync, FullDisk, Refuse, SlowDisk};
        let of_requests = [Error, Delay, Cut];
        let of_connections = [Error, Delay, Cut, Refuse];
        self.only(self.error.is_some(), "error", &[Error])?;
        self.only(self.delay_ms.is_some(), "delay_ms", &[Delay, SlowDisk])?;
        self.only(self.takes_effect.is_some(), "takes_effect", &[Cut])?;
        self.only(self.room_bytes.is_some(), "room_bytes", &[FullDisk])?;
        self.only(self.ahead_ms.is_some(), "ahead_ms", &[Clock])?;
        self.only(self.api.is_some(), "api", &of_requests)?;
        self.only(self.client_id.is_some(), "client_id", &of_requests)?;
        self.only(
            self.topic.is_some(),
            "topic",
            &[Error, Delay, Cut, SlowDisk, FullDisk, FailedFsync],
        )?;
        self.only(self.node.is_some(), "node", &of_connections)?;
        self.only(self.skip.is_some(), "skip", &of_connections)?;
        self.only(self.count.is_some(), "count", &of_connections)?;
        self.only(self.fraction.is_some(), "fraction", &of_connections)?;
        self.only(self.seed.is_some(), "seed", &of_connections)?;
        if self
            .fraction
            .is_some_and(|fraction| !(0.0..=1.0).contains(&fraction))
        {
            return wrong("a fraction is a number from 0 to 1");
        }
        if self.seed.is_some() && self.fraction.is_none() {
            return wrong("a seed goes with a fraction");
        }
        if self.count == Some(0) {
            return wrong("a fault with a count of 0 would do nothing");
        }
        let api = self.api_key()?;
        let effect = match self.kind {
            Error => Effect::Error(self.error_code()?),
            Delay => Effect::Delay(self.delay()?),
            Cut => Effect::Cut {
                takes_effect: self.takes_effect.unwrap_or(false),
            },
            Refuse => Effect::Refuse,
            SlowDisk => Effect::SlowDisk(self.delay()?),
            FullDisk => Effect::FullDisk {
                room_bytes: self.room_bytes.unwrap_or(0),
            },
            FailedFsync => Effect::FailedFsync,
            Clock => Effect::Clock {
                ahead_ms: self.ahead()?,
            },
        };
        if matches!(effect, Effect::Error(_)) && api.is_none() {
            return wrong("a fault of the kind error needs an `api`: each has its own places for a code");
        }
        Ok((effect, api))
    }

    fn only(&self, given: bool, field: &str, kinds: &[FaultKind]) -> Result<(), FaultError> {
        if given && !kinds.contains(&self.kind) {
            return wrong(format!(
                "a fault of the kind {} takes no `{field}`",
                self.kind.name()
            ));
        }
        Ok(())
    }

    fn delay(&self) -> Result<Duration, FaultError> {
        match self.delay_ms {
            None => wrong(format!(
                "a fault of the kind {} needs `delay_ms`",
                self.kind.name()
            )),
            Some(0) => wrong("a delay of 0 ms would do nothing"),
            Some(ms) if ms > DELAY_MS_MAX => wrong(format!("a delay is at most {DELAY_MS_MAX} ms")),
            Some(ms) => Ok(Duration::from_millis(ms)),
        }
    }

    fn ahead(&self) -> Result<i64, FaultError> {
        match self.ahead_ms {
            None => wrong("a fault of the kind clock needs `ahead_ms`"),
            Some(ms) if ms.unsigned_abs() > AHEAD_MS_MAX => {
                wrong(format!("a clock is wrong by at most {AHEAD_MS_MAX} ms"))
            }
            Some(ms) => Ok(ms),
        }
    }

    fn error_code(&self) -> Result<ErrorCode, FaultError> {
        let Some(text) = &self.error else {
            return wrong("a fault of the kind error needs an `error`, such as NOT_LEADER_OR_FOLLOWER");
        };
        let is_it =
            |error: &&ErrorCode| error.name().eq_ignore_ascii_case(text) || text.parse() == Ok(error.code());
        match ErrorCode::ALL.iter().find(is_it) {
            Some(ErrorCode::None) => wrong("NONE is no error"),
            Some(error) => Ok(*error),
            None => Err(FaultError::NoError(text.clone())),
        }
    }

    fn api_key(&self) -> Result<Option<ApiKey>, FaultError> {
        let Some(text) = &self.api else {
            return Ok(None);
        };
        let apis = supported_apis();
        let is_it =
            |api: &&crate::SupportedApi| api.name.eq_ignore_ascii_case(text) || text.parse() == Ok(api.key);
        let found = apis.iter().find(is_it).and_then(|api| ApiKey::from_code(api.key));
        let Some(key) = found else {
            return Err(FaultError::NoApi(text.clone()));
        };
        match refusal::abilities(key) {
            None if self.kind == FaultKind::Error => wrong(format!(
                "{} has no place for an error code that could be chosen",
                key.name()
            )),
            names if self.topic.is_some() && names != Some(true) => {
                wrong(format!("requests of {} name no topics", key.name()))
            }
            _ => Ok(Some(key)),
        }
    }
}

/// Its kind and what was said beside it, such as `delay api=Fetch delay_ms=500`.
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.name())?;
        let fields = serde_json::to_value(self).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten();
        for (name, value) in fields.filter(|(name, _)| *name != "kind") {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 8] = [
        FaultKind::Error,
        FaultKind::Delay,
        FaultKind::Cut,
        FaultKind::Refuse,
        FaultKind::SlowDisk,
        FaultKind::FullDisk,
        FaultKind::FailedFsync,
        FaultKind::Clock,
    ];

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Error => "error",
            FaultKind::Delay => "delay",
            FaultKind::Cut => "cut",
            FaultKind::Refuse => "refuse",
            FaultKind::SlowDisk => "slow-disk",
            FaultKind::FullDisk => "full-disk",
            FaultKind::FailedFsync => "failed-fsync",
            FaultKind::Clock => "clock",
        }
    }
}

fn wrong<T>(reason: impl Into<String>) -> Result<T, FaultError> {
    Err(FaultError::Wrong(reason.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> String {
        let fault: Result<Fault, _> = serde_json::from_str(json);
        match fault {
            Err(error) => error.to_string(),
            Ok(fault) => fault.check().unwrap_err().to_string(),
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (json, expected) in [
            (r#"{}"#, "missing field `kind`"),
            (r#"{"kind":"fire"}"#, "unknown variant `fire`"),
            (r#"{"kind":"cut","when":1}"#, "unknown field `when`"),
            (
                r#"{"kind":"error","error":"NONE","api":"Fetch"}"#,
                "NONE is no error",
            ),
            (r#"{"kind":"error","api":"Fetch"}"#, "needs an `error`, such as"),
            (r#"{"kind":"error","error":"6"}"#, "needs an `api`"),
            (
                r#"{"kind":"error","error":"OOPS","api":"Fetch"}"#,
                "no error code \"OOPS\"",
            ),
            (
                r#"{"kind":"error","error":"6","api":"Fetsch"}"#,
                "no API \"Fetsch\"",
            ),
            (r#"{"kind":"delay"}"#, "needs `delay_ms`"),
            (r#"{"kind":"delay","delay_ms":0}"#, "would do nothing"),
            (r#"{"kind":"delay","delay_ms":3600001}"#, "at most 3600000 ms"),
            (
                r#"{"kind":"cut","delay_ms":5}"#,
                "the kind cut takes no `delay_ms`",
            ),
            (
                r#"{"kind":"refuse","topic":"t"}"#,
                "the kind refuse takes no `topic`",
            ),
            (r#"{"kind":"full-disk","node":1}"#, "takes no `node`"),
            (r#"{"kind":"clock"}"#, "needs `ahead_ms`"),
            (r#"{"kind":"cut","fraction":1.5}"#, "from 0 to 1"),
            (r#"{"kind":"cut","seed":1}"#, "goes with a fraction"),
            (r#"{"kind":"cut","count":0}"#, "would do nothing"),
            (
                r#"{"kind":"cut","api":"Heartbeat","topic":"t"}"#,
                "Heartbeat name no topics",
            ),
        ] {
            let problem = problem(json);
            assert!(problem.contains(expected), "{json}: {problem}");
        }
    }

    #[test]
    fn names_and_numbers_mean_the_same() {
        let mut fault = Fault {
            error: Some("not_leader_or_follower".to_owned()),
            ..Fault::new(FaultKind::Error)
        };
        fault.api = Some("produce".to_owned());
        let expected = Ok((
            Effect::Error(ErrorCode::NotLeaderOrFollower),
            Some(ApiKey::Produce),
        ));
        assert_eq!(fault.check(), expected);
        fault.error = Some("6".to_owned());
        fault.api = Some("0".to_owned());
        assert_eq!(fault.check(), expected);
        for kind in FaultKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
