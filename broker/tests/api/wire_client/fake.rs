//! A server that speaks Kafka's frames, and answers what a test wants it to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use bytes::Bytes;
use heliostat_wire::{
    Payload,
    message::{
        ApiKey, ApiVersionsResponse, Message, RequestHeader, api_versions::ApiVersion, encode_response,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A request as it came in.
pub struct Asked {
    pub header: RequestHeader,
    pub body: Bytes,
}

/// Bytes to send back, and whether to go on after that.
pub type Answer = (Vec<u8>, bool);

/// The server. It ends with the test's runtime.
pub struct Fake {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<(i16, i16, Instant)>>>,
}

impl Fake {
    /// Answers every request with what the function says.
    pub async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, noted) = (Arc::new(answer), seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), noted.clone()));
            }
        });
        Fake { address, seen }
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Arc<impl Fn(&Asked) -> Answer>,
    noted: Arc<Mutex<Vec<(i16, i16, Instant)>>>,
) {
    while let Ok(size) = stream.read_i32().await {
        let mut frame = vec![0; size as usize];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let mut body = Bytes::from(frame);
        let header = RequestHeader::decode(&mut body).unwrap();
        let at = Instant::now();
        noted
            .lock()
            .unwrap()
            .push((header.api_key, header.api_version, at));
        let (bytes, goes_on) = answer(&Asked { header, body });
        if stream.write_all(&bytes).await.is_err() || !goes_on {
            return;
        }
    }
}

/// A proper answer.
pub fn good<M: Message>(asked: &Asked, message: &M) -> Answer {
    in_version(asked, message, asked.header.api_version)
}

/// An answer in a version of its own.
pub fn in_version<M: Message>(asked: &Asked, message: &M, version: i16) -> Answer {
    let pieces = encode_response(message, version, asked.header.correlation_id).unwrap();
    (Payload::join(pieces).unwrap().to_vec(), true)
}

/// What a broker says that speaks all versions of these APIs up to the one given, or all if none is.
pub fn versions(apis: &[(ApiKey, Option<i16>)]) -> ApiVersionsResponse {
    let told = |(api, max): &(ApiKey, Option<i16>)| ApiVersion {
        api_key: api.code(),
        min_version: *api.versions().start(),
        max_version: max.unwrap_or(*api.versions().end()),
    };
    ApiVersionsResponse {
        api_keys: apis.iter().map(told).collect(),
        ..Default::default()
    }
}

/// Whether this asks for versions.
pub fn asks_versions(asked: &Asked) -> bool {
    asked.header.api_key == ApiKey::ApiVersions.code()
}
