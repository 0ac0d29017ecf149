//! What carries bytes to and from a client.

use std::io;
use std::time::Duration;

use heliostat_wire::FileSlice;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

/// How much of a file is read at once where the system cannot move it by itself.
const READ_BYTES: usize = 64 * 1024;

/// How often a stream with unread bytes is looked at for whether its other end is closed.
const CLOSED_CHECK: Duration = Duration::from_secs(1);

/// A stream that parts of files can be sent on.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Sends the beginning of the part, and returns how many bytes that were.
    ///
    /// # Errors
    /// If the stream is broken, or the file cannot be read or has become shorter.
    fn send_file(&mut self, slice: &FileSlice) -> impl Future<Output = io::Result<usize>> + Send
    where
        Self: Sized,
    {
        copy(self, slice)
    }

    /// Returns when the other end is closed, also if there are bytes that were not read. Where that cannot be told it
    /// never returns.
    fn closed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

async fn copy(stream: &mut (impl AsyncWrite + Unpin + Send), slice: &FileSlice) -> io::Result<usize> {
    let mut part = slice.clone();
    part.len = part.len.min(READ_BYTES);
    let bytes = part.read()?;
    stream.write(&bytes).await
}

impl Transport for TcpStream {
    async fn closed(&self) {
        // Unread bytes make the stream ready all the time, so that there is nothing to wait for but the next look.
        loop {
            match self.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => tokio::time::sleep(CLOSED_CHECK).await,
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// The system moves the bytes from its page cache to the socket: they never enter this process.
    #[cfg(target_os = "linux")]
    async fn send_file(&mut self, slice: &FileSlice) -> io::Result<usize> {
        loop {
            self.writable().await?;
            let mut position = slice.position;
            let sent = self.try_io(Interest::WRITABLE, || {
                let sent = rustix::fs::sendfile(&*self, &*slice.file, Some(&mut position), slice.len);
                sent.map_err(io::Error::from)
            });
            match sent {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }
}

#[cfg(test)]
impl Transport for tokio::io::DuplexStream {}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    fn slice(content: &[u8], position: u64, len: usize) -> FileSlice {
        let mut file: File = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let file = Arc::new(file);
        FileSlice {
            file,
            position,
            len,
            keeps: None,
        }
    }

    #[tokio::test]
    async fn a_part_of_a_file_arrives_through_a_socket_that_fills_up() {
        let content: Vec<u8> = (0..20_000_000u32).map(|number| (number % 251) as u8).collect();
        let (mut client, mut server) = connected().await;
        let mut part = slice(&content, 1000, 19_000_000);
        let sender = tokio::spawn(async move {
            while part.len > 0 {
                let sent = server.send_file(&part).await.unwrap();
                part.advance(sent);
            }
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        sender.await.unwrap();
        assert!(received == content[1000..19_001_000]);
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_is_an_error() {
        let (_client, mut server) = connected().await;
        let error = server.send_file(&slice(b"abc", 5, 4)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
