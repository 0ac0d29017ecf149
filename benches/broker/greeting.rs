//! The first words of a client: which APIs there are, and which topics.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// ApiVersions, version 0, without a client id.
const API_VERSIONS: &[u8] = &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
/// Metadata of all topics, version 1, without a client id.
const METADATA: &[u8] = &[
    0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];

/// Connects and asks what every client asks first.
pub fn greet(address: &str) -> TcpStream {
    let mut server = connect(address);
    ask(&mut server, API_VERSIONS);
    ask(&mut server, METADATA);
    server
}

/// Asks for the metadata of all topics, and waits for the whole answer. That it can be connected to says little: the
/// system accepts connections for a process that does not look at them yet.
pub fn answers(address: &str) {
    ask(&mut connect(address), METADATA);
}

fn connect(address: &str) -> TcpStream {
    let server = TcpStream::connect(address).expect("connect; `ulimit -n` must allow it");
    server.set_read_timeout(Some(PATIENCE)).expect("set a time-out");
    server
}

fn ask(server: &mut TcpStream, request: &[u8]) {
    server.write_all(request).expect("ask");
    let mut size = [0; 4];
    server.read_exact(&mut size).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    server.read_exact(&mut answer).expect("a whole answer");
}
