//! What is answered to which request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::control::API;
use super::{CLUSTERS_PATH, Control, ControlAnswer, PAUSE_PATH, RESUME_PATH, Sources, StatusFn};
use crate::observe::built_in::{BuiltInFacts, BuiltInFn};
use crate::observe::events::Events;
use crate::observe::metrics;
use crate::observe::process::Process;
use crate::observe::status::Status;

/// Calls to the sources of status and metrics at once. One that hangs must not take a thread for each request that comes after it.
const CALLS_MAX: usize = 2;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// The path of the events.
pub const EVENTS_PATH: &str = "/api/v1/events";

/// The paths, and what the page at `/` says of them.
pub const PATHS: [(&str, &str); 9] = [
    ("/", "this page"),
    ("/metrics", "metrics in the text format of Prometheus"),
    ("/livez", "200 while the process serves"),
    (
        "/readyz",
        "200 while every cluster that is a target can be reached, otherwise 503 and the reasons",
    ),
    (
        "/api/v1/status",
        "clusters, flows and partitions as JSON; `heliostat status` prints the same as a table",
    ),
    (
        EVENTS_PATH,
        "what has happened to the flows, as JSON; ?since=NUMBER for the events from that number on",
    ),
    (
        PAUSE_PATH,
        "POST a flow, and a topic, a partition and a reason if you like, to pause it",
    ),
    (RESUME_PATH, "POST the same to resume it"),
    (
        CLUSTERS_PATH,
        "the built-in clusters: their brokers and faults; POST below it stops, starts, moves and breaks",
    ),
];

/// Answers requests. A clone shares everything.
#[derive(Clone)]
pub(super) struct Routes {
    status: Option<StatusFn>,
    built_in: Option<BuiltInFn>,
    control: Option<Control>,
    events: Option<Events>,
    pauses: Option<Control>,
    slots: Arc<Semaphore>,
    patience: Duration,
}

/// An answer before it has headers.
struct Answer {
    code: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Routes {
    /// `patience` is how long an answer waits for the status.
    pub(super) fn new(sources: Sources, patience: Duration) -> Routes {
        Routes {
            status: sources.status,
            built_in: sources.built_in,
            control: sources.control,
            events: sources.events,
            pauses: sources.pauses,
            slots: Arc::new(Semaphore::new(CALLS_MAX)),
            patience,
        }
    }

    /// The response to a request of this client. Its body is read only where built-in clusters are concerned.
    pub(super) async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let below = path.strip_prefix(CLUSTERS_PATH);
        if let Some(control) = &self.control
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            return Answer::json(control.respond(request, client, CLUSTERS_PATH).await).into_response();
        }
        if let Some(pauses) = &self.pauses
            && matches!(path, PAUSE_PATH | RESUME_PATH)
        {
            return Answer::json(pauses.respond(request, client, API).await).into_response();
        }
        if !self.paths().any(|(known, _)| known == path) {
            return Answer::text(StatusCode::NOT_FOUND, "not found; / lists what there is\n").into_response();
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let answer = Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
            let mut response = answer.into_response();
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/livez" => Answer::text(StatusCode::OK, "ok\n"),
            "/readyz" => self.of_status(ready).await,
            "/metrics" => self.metrics().await,
            "/api/v1/status" => self.of_status(status_json).await,
            EVENTS_PATH => self.events(request.uri().query()).await,
            _ => Answer::text(StatusCode::OK, self.page()),
        }
        .into_response()
    }

    /// The paths that there are here.
    fn paths(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let (has_status, has_control) = (self.status.is_some(), self.control.is_some());
        let (has_events, has_pauses) = (self.events.is_some(), self.pauses.is_some());
        let has_metrics = has_status || self.built_in.is_some();
        PATHS.into_iter().filter(move |(path, _)| match *path {
            "/" | "/livez" => true,
            CLUSTERS_PATH => has_control,
            EVENTS_PATH => has_events,
            PAUSE_PATH | RESUME_PATH => has_pauses,
            "/metrics" => has_metrics,
            _ => has_status,
        })
    }

    fn page(&self) -> String {
        let mut page = format!("Heliostat {}\n\n", crate::VERSION);
        let width = self.paths().map(|(path, _)| path.len() + 2).max().unwrap_or(0);
        for (path, what) in self.paths() {
            page += &format!("{path:<width$}{what}\n");
        }
        page
    }

    async fn of_status(&self, view: fn(&Status) -> Answer) -> Answer {
        let source = self.status.clone();
        self.made(move || Some(view(&source?()))).await
    }

    async fn metrics(&self) -> Answer {
        let (status, built_in) = (self.status.clone(), self.built_in.clone());
        let make = move || {
            let status = status.map(|source| source());
            let built_in = built_in.map(|source| source()).unwrap_or_default();
            Some(metrics_text(status.as_ref(), &built_in))
        };
        self.made(make).await
    }

    async fn events(&self, query: Option<&str>) -> Answer {
        let since = match since(query) {
            Ok(since) => since,
            Err(problem) => return Answer::text(StatusCode::BAD_REQUEST, problem),
        };
        let events = self.events.clone();
        self.made(move || {
            let list = events?.from(since);
            Some(json(&list, "events"))
        })
        .await
    }

    /// Makes an answer on a thread where it may take its time, and gives up waiting after a while.
    async fn made(&self, make: impl FnOnce() -> Option<Answer> + Send + 'static) -> Answer {
        let made = async {
            let permit = self.slots.clone().acquire_owned().await.ok()?;
            let task = tokio::task::spawn_blocking(move || {
                // The permit goes with the thread: a call that nobody waits for any longer still counts.
                let _permit = permit;
                make()
            });
            task.await.ok().flatten()
        };
        match timeout(self.patience, made).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Answer::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the status could not be made; see the log\n",
            ),
            Err(_) => {
                let seconds = self.patience.as_secs_f64();
                Answer::text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("no status within {seconds} s\n"),
                )
            }
        }
    }
}

impl Answer {
    fn text(code: StatusCode, body: impl Into<String>) -> Answer {
        Answer {
            code,
            content_type: TEXT,
            body: Bytes::from(body.into()),
        }
    }

    fn json(answer: ControlAnswer) -> Answer {
        Answer {
            code: answer.code,
            content_type: JSON,
            body: Bytes::from(answer.body.to_string()),
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

fn ready(status: &Status) -> Answer {
    let reasons = status.reasons_not_ready();
    if reasons.is_empty() {
        Answer::text(StatusCode::OK, "ready\n")
    } else {
        Answer::text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}

fn metrics_text(status: Option<&Status>, built_in: &[BuiltInFacts]) -> Answer {
    match metrics::render(status, built_in, &Process::current()) {
        Ok(text) => Answer {
            code: StatusCode::OK,
            content_type: metrics::CONTENT_TYPE,
            body: Bytes::from(text),
        },
        Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {error}\n")),
    }
}

/// The number that a query asks for: 0 where it asks for none.
fn since(query: Option<&str>) -> Result<u64, String> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(0);
    };
    let number = query
        .strip_prefix("since=")
        .and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("{query:?} is not understood; write ?since=NUMBER\n"))
}

fn status_json(status: &Status) -> Answer {
    json(status, "status")
}

fn json(value: &impl serde::Serialize, what: &str) -> Answer {
    match serde_json::to_vec(value) {
        Ok(json) => Answer {
            code: StatusCode::OK,
            content_type: JSON,
            body: Bytes::from(json),
        },
        Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{what}: {error}\n")),
    }
}
