//! Requests that change something, the built-in clusters or what is paused: who may send them, and what they may hold.
//!
//! What they mean is not known here: a [`ControlFn`] answers them.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ORIGIN};
use hyper::{Method, Request, StatusCode};
use tokio::time::timeout;

/// The path under which the built-in clusters are.
pub const CLUSTERS_PATH: &str = "/api/v1/clusters";

/// What the paths of a daemon's own begin with.
pub(super) const API: &str = "/api/v1";

/// The path that pauses.
pub const PAUSE_PATH: &str = "/api/v1/pause";

/// The path that resumes.
pub const RESUME_PATH: &str = "/api/v1/resume";

/// A body that is longer is no request: the longest is a fault, a few hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ControlRequest {
    /// GET, POST or DELETE.
    pub method: Method,
    /// The path below [`CLUSTERS_PATH`], or below `/api/v1` where something is paused, in its parts.
    pub path: Vec<String>,
    /// The body, if there is one.
    pub body: Bytes,
}

/// What comes of it, as JSON.
#[derive(Clone, Debug)]
pub struct ControlAnswer {
    /// The status code.
    pub code: StatusCode,
    /// The body.
    pub body: serde_json::Value,
}

/// Answers such requests.
pub type ControlFn =
    Arc<dyn Fn(ControlRequest) -> Pin<Box<dyn Future<Output = ControlAnswer> + Send>> + Send + Sync>;

/// What changes something, for those who may.
#[derive(Clone)]
pub struct Control {
    /// Answers.
    pub answer: ControlFn,
    /// Whether other machines may ask too.
    pub open: bool,
}

impl ControlAnswer {
    /// An error with a text for people.
    pub fn error(code: StatusCode, message: impl std::fmt::Display) -> ControlAnswer {
        ControlAnswer {
            code,
            body: serde_json::json!({ "error": message.to_string() }),
        }
    }
}

impl Control {
    /// Answers a request of this client; what its path begins with is not of interest.
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
        below: &str,
    ) -> ControlAnswer {
        if let Some(refusal) = self.refuse(&request, client) {
            return refusal;
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path().strip_prefix(below).unwrap_or_default();
        let path = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        let path = path.collect();
        match timeout(BODY_PATIENCE, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => {
                let body = body.to_bytes();
                let method = head.method;
                (self.answer)(ControlRequest { method, path, body }).await
            }
            Ok(Err(_)) => ControlAnswer::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is broken, or longer than {BODY_BYTES_MAX} bytes"),
            ),
            Err(_) => ControlAnswer::error(StatusCode::REQUEST_TIMEOUT, "the body does not arrive"),
        }
    }

    fn refuse(&self, request: &Request<Incoming>, client: IpAddr) -> Option<ControlAnswer> {
        let forbidden = |message: &str| Some(ControlAnswer::error(StatusCode::FORBIDDEN, message));
        if !self.open && !client.to_canonical().is_loopback() {
            return forbidden("only this machine may ask: --open-control lets others ask too");
        }
        // A page in a browser on this machine is not its user.
        if request.headers().contains_key(ORIGIN) {
            return forbidden("browsers may not ask");
        }
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_json = content_type.is_some_and(|value| {
            value
                .to_str()
                .is_ok_and(|text| text.split(';').next() == Some("application/json"))
        });
        if request.method() == Method::POST && !is_json {
            return Some(ControlAnswer::error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a POST needs the header content-type: application/json",
            ));
        }
        None
    }
}
