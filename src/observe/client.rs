//! Asks a running daemon for its status, or for what has happened.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::EVENTS_PATH;
use super::status::Status;
use super::told::ToldList;

/// An answer that is longer is not a status: 100,000 partitions take about 50 MB.
const BODY_BYTES_MAX: usize = 256 << 20;

/// How much of an error's text is shown.
const ERROR_TEXT_CHARS: usize = 200;

/// Why a status could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address makes no sense.
    #[error("{url}: not the address of a daemon: {problem}; write it as http://host:port")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody answers in time, or the connection breaks.
    #[error("no daemon answers at {url}: {problem}")]
    NoAnswer {
        /// The page that was asked for.
        url: String,
        /// What happened.
        problem: String,
    },
    /// Somebody answers, but not with a status.
    #[error("{url} does not answer with what a daemon has: {problem}")]
    NotAStatus {
        /// The page that was asked for.
        url: String,
        /// What it answered.
        problem: String,
    },
}

/// Asks the daemon at `url` (`http://host:port`, or `host:port`) for its status, and waits no longer than `patience`.
pub async fn fetch_status(url: &str, patience: Duration) -> Result<Status, FetchError> {
    let address = Address::parse(url).map_err(|problem| FetchError::Url {
        url: url.to_string(),
        problem,
    })?;
    within(patience, &address, get(&address)).await
}

/// Asks the daemon at `url` for what has happened, from this number on.
pub async fn fetch_events(url: &str, since: u64, patience: Duration) -> Result<ToldList, FetchError> {
    let address =
        Address::of(url, &format!("{EVENTS_PATH}?since={since}")).map_err(|problem| FetchError::Url {
            url: url.to_string(),
            problem,
        })?;
    within(patience, &address, get(&address)).await
}

/// Asks for something else than the status: a path below `url`, with a JSON body if there is one. Returns the status code
/// and the body.
pub async fn send(
    url: &str,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
    patience: Duration,
) -> Result<(StatusCode, Bytes), FetchError> {
    let address = Address::of(url, path).map_err(|problem| FetchError::Url {
        url: url.to_string(),
        problem,
    })?;
    within(patience, &address, exchange(&address, method, body)).await
}

async fn within<T>(
    patience: Duration,
    address: &Address,
    answer: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    timeout(patience, answer).await.unwrap_or_else(|_| {
        Err(FetchError::NoAnswer {
            url: address.url.clone(),
            problem: format!("nothing within {} s", patience.as_secs_f64()),
        })
    })
}

/// Where to connect, and what to ask for.
#[derive(Debug, PartialEq)]
struct Address {
    /// For messages.
    url: String,
    /// What the Host header says: host and port as they were written.
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl Address {
    fn parse(url: &str) -> Result<Address, String> {
        Address::of(url, "/api/v1/status")
    }

    fn of(url: &str, page: &str) -> Result<Address, String> {
        let full = if url.contains("://") {
            url.to_string()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = full
            .parse()
            .map_err(|error: hyper::http::uri::InvalidUri| error.to_string())?;
        if uri.scheme_str() != Some("http") {
            return Err(format!(
                "{:?} is not a scheme that a daemon serves",
                uri.scheme_str().unwrap_or_default()
            ));
        }
        let (Some(host), Some(authority)) = (uri.host().filter(|host| !host.is_empty()), uri.authority())
        else {
            return Err("it names no host".to_string());
        };
        if authority.as_str().contains('@') {
            return Err("it holds a user, and a daemon knows none".to_string());
        }
        // Behind a proxy the daemon may live below some path.
        let path = format!("{}{page}", uri.path().trim_end_matches('/'));
        Ok(Address {
            url: format!("http://{authority}{path}"),
            authority: authority.to_string(),
            host: host.trim_start_matches('[').trim_end_matches(']').to_string(),
            port: uri.port_u16().unwrap_or(80),
            path,
        })
    }
}

async fn get<T: DeserializeOwned>(address: &Address) -> Result<T, FetchError> {
    let not_a_status = |problem: String| FetchError::NotAStatus {
        url: address.url.clone(),
        problem,
    };
    let (code, body) = exchange(address, Method::GET, None).await?;
    if code != StatusCode::OK {
        let text: String = String::from_utf8_lossy(&body)
            .trim()
            .chars()
            .take(ERROR_TEXT_CHARS)
            .collect();
        return Err(not_a_status(format!("{code}: {text}")));
    }
    serde_json::from_slice(&body).map_err(|error| not_a_status(error.to_string()))
}

async fn exchange(
    address: &Address,
    method: Method,
    body: Option<Vec<u8>>,
) -> Result<(StatusCode, Bytes), FetchError> {
    let no_answer = |error: &dyn std::fmt::Display| FetchError::NoAnswer {
        url: address.url.clone(),
        problem: error.to_string(),
    };
    let stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(|error| no_answer(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| no_answer(&error))?;
    // It ends by itself once the sender and the response are gone, also where the caller stops waiting.
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(&address.path)
        .header(HOST, &address.authority)
        .header(ACCEPT, "application/json");
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(|error| no_answer(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| no_answer(&error))?;
    let code = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| no_answer(&error))?.to_bytes();
    Ok((code, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> String {
        match Address::parse(url) {
            Ok(a) => format!("{} port {} asks {} of {}", a.host, a.port, a.path, a.authority),
            Err(problem) => problem,
        }
    }

    #[test]
    fn addresses() {
        for (url, expected) in [
            (
                "http://127.0.0.1:8080",
                "127.0.0.1 port 8080 asks /api/v1/status of 127.0.0.1:8080",
            ),
            (
                "localhost:8080",
                "localhost port 8080 asks /api/v1/status of localhost:8080",
            ),
            (
                "http://[::1]:8080/",
                "::1 port 8080 asks /api/v1/status of [::1]:8080",
            ),
            (
                "http://proxy/mirror/",
                "proxy port 80 asks /mirror/api/v1/status of proxy",
            ),
            ("https://host:1", "\"https\" is not a scheme that a daemon serves"),
            ("http://a@host:1", "it holds a user, and a daemon knows none"),
            ("http://", "empty string"),
            ("a b", "invalid uri character"),
            ("", "empty string"),
        ] {
            assert_eq!(parsed(url), expected, "{url}");
        }
    }
}
