//! How the sockets of both sides are set.

use std::io;

use tokio::net::TcpStream;

/// How Linux sends where there is nothing to find out: it is in every kernel, and every user may choose it.
#[cfg(target_os = "linux")]
const WITHOUT_PACING: &str = "reno";

/// Readies a connection for requests and answers: what is written goes out at once, and to this very machine as fast as
/// it is taken.
///
/// # Errors
/// If the connection is broken.
pub fn ready(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    if is_within_the_machine(stream)? {
        // Where the system's choice is BBR, a timer paces what no line limits, at up to twice the processor time. If the
        // system refuses, the connection works as well, only not as cheaply.
        let _ = rustix::net::sockopt::set_tcp_congestion(stream, WITHOUT_PACING);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn is_within_the_machine(stream: &TcpStream) -> io::Result<bool> {
    let peer = stream.peer_addr()?.ip().to_canonical();
    Ok(peer.is_loopback() || peer == stream.local_addr()?.ip().to_canonical())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::net::sockopt::tcp_congestion;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn nothing_is_held_back_or_paced_within_the_machine() {
        for address in ["127.0.0.1:0", "127.3.2.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else {
                // Not every machine has IPv6.
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            for stream in [&client, &server] {
                ready(stream).unwrap();
                assert!(stream.nodelay().unwrap(), "{address}");
                assert_eq!(tcp_congestion(stream).unwrap(), WITHOUT_PACING, "{address}");
            }
        }
    }
}
