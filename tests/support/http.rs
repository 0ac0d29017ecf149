//! Questions over plain HTTP, small enough to have no client library behind them.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Asks for `path`, and waits for the whole answer, at most `limit` for each read.
pub fn get(server: SocketAddr, path: &str, limit: Duration) -> io::Result<Response> {
    ask(server, "GET", path, "", limit)
}

/// Sends JSON to `path`, and waits for the whole answer, at most `limit` for each read.
pub fn post(server: SocketAddr, path: &str, json: &str, limit: Duration) -> io::Result<Response> {
    ask(server, "POST", path, json, limit)
}

/// DELETEs a path and reads the whole answer, at most `limit` for each read.
pub fn delete(server: SocketAddr, path: &str, limit: Duration) -> io::Result<Response> {
    ask(server, "DELETE", path, "", limit)
}

fn ask(server: SocketAddr, method: &str, path: &str, json: &str, limit: Duration) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&server, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    // HTTP/1.0: the body comes whole, and ends with the connection.
    let body = match json {
        "" => String::new(),
        json => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            json.len()
        ),
    };
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {server}\r\n{body}Connection: close\r\n\r\n{json}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{server}{path} did not answer in HTTP"),
        )
    })
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Response {
        status,
        headers,
        body: body.to_owned(),
    })
}

/// Whether something accepts connections at `server`.
pub fn connects(server: SocketAddr) -> io::Result<()> {
    TcpStream::connect_timeout(&server, Duration::from_secs(1)).map(drop)
}
