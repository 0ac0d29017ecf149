//! What one connection has come to: who its client is, or how far it is in saying so (KIP-43, KIP-152, KIP-368).

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use heliostat_wire::{ErrorCode, message::ApiKey};

use super::{Exchange, Mistrust, Sasl, SaslMechanism, Step, lifetime, shown};
use crate::broker::Broker;

/// How often a client may say anew who it is.
const REAUTHENTICATION_PAUSE: Duration = Duration::from_secs(1);

/// A connection to a SASL listener.
#[derive(Debug, Default)]
pub(crate) struct Session {
    state: Mutex<State>,
    user: OnceLock<User>,
}

/// Who was authenticated first, which does not change.
#[derive(Debug)]
struct User {
    name: String,
    mechanism: SaslMechanism,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// When authentication began anew.
    restarted: Option<Instant>,
    /// When requests are no longer taken.
    expires: Option<Instant>,
    /// Who the client says it is.
    claim: Claim,
}

/// Who a client says it is, as a log can take it; nobody has proven it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claim {
    /// The user.
    pub(crate) user: Option<String>,
    /// The name that the client gives itself.
    pub(crate) client_id: Option<String>,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing was said.
    #[default]
    New,
    /// The client knows which versions there are.
    Greeted,
    /// The mechanism is known, and tokens are exchanged: in SaslAuthenticate requests, or without any header.
    Tokens {
        mechanism: SaslMechanism,
        exchange: Exchange,
        framed: bool,
    },
    /// It is known who the client is.
    Open,
    /// The connection is about to be closed.
    Failed(String),
}

/// What is to be done with a request.
pub(crate) enum Admission {
    /// It is handled.
    Handled,
    /// It is refused with ILLEGAL_SASL_STATE, and the connection closed: see [`Session::failure`].
    Refused,
    /// The client has not said who it is, and the connection is closed at once.
    Unknown(String),
    /// The connection is closed at once.
    Closed(String),
}

impl Session {
    /// The user, once it is known.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.get().map(|user| user.name.as_str())
    }

    /// Who the client says it is.
    pub(crate) fn claim(&self) -> Claim {
        self.state().claim.clone()
    }

    /// Whether it is known who the client is, and it is not saying so anew.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state().stage, Stage::Open)
    }

    /// Whether the next frame is a token without a header (SaslHandshake version 0).
    pub(crate) fn takes_bare_tokens(&self) -> bool {
        matches!(self.state().stage, Stage::Tokens { framed: false, .. })
    }

    /// Why the connection is to be closed, if it is.
    pub(crate) fn failure(&self) -> Option<String> {
        match &self.state().stage {
            Stage::Failed(reason) => Some(reason.clone()),
            _ => None,
        }
    }

    /// Whether a request of this API can be handled now.
    pub(crate) fn admit(&self, api: ApiKey) -> Admission {
        let mut state = self.state();
        let name = api.name();
        let unexpected = |during: &str| format!("{name} is not possible during the SASL {during}");
        match (&state.stage, api) {
            (Stage::New, ApiKey::ApiVersions | ApiKey::SaslHandshake)
            | (Stage::Greeted, ApiKey::SaslHandshake)
            | (Stage::Tokens { .. }, ApiKey::SaslAuthenticate) => Admission::Handled,
            (Stage::New | Stage::Greeted, _) => Admission::Unknown(unexpected("handshake")),
            (Stage::Tokens { .. }, _) => {
                state.stage = Stage::Failed(unexpected("authentication"));
                Admission::Refused
            }
            (Stage::Open, ApiKey::SaslHandshake) => Admission::Handled,
            (Stage::Open, _) => match state.expires {
                Some(expires) if Instant::now() > expires => {
                    Admission::Closed("connections.max.reauth.ms passed".to_owned())
                }
                _ => Admission::Handled,
            },
            (Stage::Failed(reason), _) => Admission::Closed(reason.clone()),
        }
    }

    /// The client was told the versions. It may ask once.
    pub(crate) fn greeted(&self) {
        let mut state = self.state();
        if let Stage::New = state.stage {
            state.stage = Stage::Greeted;
        }
    }

    /// Answers a SaslHandshake of this version with an error or none, and the mechanisms that there are.
    pub(crate) fn handshake(
        &self,
        sasl: &Sasl,
        client_id: &str,
        version: i16,
        mechanism: &str,
    ) -> (ErrorCode, Vec<String>) {
        let mut state = self.state();
        state.claim = Claim {
            user: None,
            client_id: (!client_id.is_empty()).then(|| shown(client_id)),
        };
        if let Stage::Open = state.stage {
            let is_early = |began: Instant| began.elapsed() < REAUTHENTICATION_PAUSE;
            if state.expires.is_none() || state.restarted.is_some_and(is_early) {
                return (ErrorCode::IllegalSaslState, Vec::new());
            }
            state.restarted = Some(Instant::now());
        }
        let names = sasl.mechanism_names();
        let Some(mechanism) = sasl.enabled(mechanism) else {
            let shown: String = mechanism.escape_debug().take(64).collect();
            state.stage = Stage::Failed(format!("Unsupported SASL mechanism {shown}"));
            return (ErrorCode::UnsupportedSaslMechanism, names);
        };
        state.stage = Stage::Tokens {
            mechanism,
            exchange: Exchange::new(mechanism),
            framed: version > 0,
        };
        (ErrorCode::None, names)
    }

    /// Takes a token. Returns the answer, and for how many milliseconds the connection is good then, 0 for good; or why the
    /// client is not let in.
    pub(crate) fn authenticate(
        &self,
        broker: &Broker,
        sasl: &Sasl,
        token: &[u8],
    ) -> Result<(Vec<u8>, i64), (ErrorCode, String)> {
        let mut state = self.state();
        let State { stage, claim, .. } = &mut *state;
        let Stage::Tokens {
            mechanism, exchange, ..
        } = stage
        else {
            let message = "SaslAuthenticate request received after successful authentication";
            return Err((ErrorCode::IllegalSaslState, message.to_owned()));
        };
        let mechanism = *mechanism;
        if let Some(user) = exchange.claimed(token) {
            claim.user = Some(shown(&user));
        }
        let step = exchange.step(broker, sasl, token).and_then(|step| {
            if let Step::Done { user, .. } = &step {
                self.identify(user, mechanism)?;
            }
            Ok(step)
        });
        match step {
            Ok(Step::Challenge(token)) => Ok((token, 0)),
            Ok(Step::Done { token, .. }) => {
                let lifetime = lifetime(broker);
                state.expires = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
                state.stage = Stage::Open;
                let lifetime_ms = lifetime.map_or(0, |lifetime| lifetime.as_millis());
                Ok((token, i64::try_from(lifetime_ms).unwrap_or(i64::MAX)))
            }
            Err(mistrust) => {
                let again = if self.user.get().is_some() { "re-" } else { "" };
                let message = match mistrust {
                    Mistrust::Because(reason) => reason,
                    Mistrust::Concealed => format!(
                        "Authentication failed during {again}authentication due to invalid credentials with SASL mechanism {mechanism}"
                    ),
                };
                state.stage = Stage::Failed(message.clone());
                Err((ErrorCode::SaslAuthenticationFailed, message))
            }
        }
    }

    /// Takes note of the user, who cannot become another one, nor come by another mechanism.
    fn identify(&self, name: &str, mechanism: SaslMechanism) -> Result<(), Mistrust> {
        let user = self.user.get_or_init(|| User {
            name: name.to_owned(),
            mechanism,
        });
        if user.mechanism != mechanism {
            return Err(Mistrust::Because(format!(
                "SASL mechanism '{mechanism}' requested by client is not supported for re-authentication of mechanism '{}'",
                user.mechanism
            )));
        }
        if user.name != name {
            return Err(Mistrust::Because(format!(
                "Cannot change principals during re-authentication from User:{} to User:{name}",
                user.name
            )));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
