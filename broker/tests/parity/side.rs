//! One of the two clusters: the connection to it, and what is its own (ids, port, times).

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use heliostat_wire::{
    Payload, Uuid,
    message::{
        ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse, Request, ResponseHeader,
        decode_message, encode_request, encode_response, metadata::MetadataRequestTopic,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Long enough for a JVM on a busy machine; a request that takes longer is not answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name that requests give their client.
pub const CLIENT_ID: &str = "parity";

/// A cluster, and a connection to its first node.
pub struct Side {
    pub address: SocketAddr,
    /// All of its nodes, where there are several, from node 1 on.
    pub nodes: Vec<SocketAddr>,
    pub cluster_id: String,
    stream: Option<TcpStream>,
    correlation_id: i32,
    /// Topics by name, all ids that they have had, the last one being the present.
    topics: BTreeMap<String, Vec<Uuid>>,
    /// Numbers that the cluster gives out, each kind in the order in which they were seen.
    pub numbers: HashMap<&'static str, Vec<String>>,
    /// Texts that a script keeps for later requests, such as member ids.
    notes: HashMap<String, String>,
}

/// What came back for a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    Answer(T),
    /// The request was taken, and nothing was said.
    Silence,
    /// The connection was closed.
    Closed,
}

impl<T> Outcome<T> {
    /// The answer; panics if there is none.
    #[track_caller]
    pub fn answer(self) -> T {
        match self {
            Outcome::Answer(answer) => answer,
            Outcome::Silence => panic!("nothing was answered"),
            Outcome::Closed => panic!("the connection was closed"),
        }
    }
}

impl Side {
    pub async fn connect(address: SocketAddr) -> Side {
        let mut side = Side {
            address,
            nodes: Vec::new(),
            cluster_id: String::new(),
            stream: None,
            correlation_id: 0,
            topics: BTreeMap::new(),
            numbers: HashMap::new(),
            notes: HashMap::new(),
        };
        side.cluster_id = side.metadata(vec![]).await.cluster_id.expect("a cluster id");
        side
    }

    /// Another connection to the same cluster.
    pub fn beside(&self) -> Side {
        Side {
            address: self.address,
            nodes: self.nodes.clone(),
            cluster_id: self.cluster_id.clone(),
            stream: None,
            correlation_id: 0,
            topics: self.topics.clone(),
            numbers: HashMap::new(),
            notes: HashMap::new(),
        }
    }

    /// Goes on with another node, whose ids count from 1.
    pub fn go_to(&mut self, node: i32) {
        self.address = self.nodes[usize::try_from(node - 1).expect("a node's id")];
        self.stream = None;
    }

    /// Forgets what the last script has seen, and its connection.
    pub fn begin(&mut self) {
        self.stream = None;
        self.numbers.clear();
        self.notes.clear();
    }

    /// Every API and version that the cluster says it answers.
    pub async fn api_versions(&mut self) -> ApiVersionsResponse {
        let request = ApiVersionsRequest {
            client_software_name: "parity".to_owned(),
            client_software_version: "1".to_owned(),
        };
        self.ask(&request, 3).await.answer()
    }

    /// Sends a request and waits for what comes.
    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Outcome<R::Response> {
        let frame = self.frame(request, version);
        self.ask_frame::<R>(&frame, version).await.0
    }

    /// A whole frame with the next correlation id.
    pub fn frame<R: Request>(&mut self, request: &R, version: i16) -> Vec<u8> {
        self.correlation_id += 1;
        encode_request(request, version, self.correlation_id, Some(CLIENT_ID))
            .expect("a request that can be written")
            .concat()
    }

    /// Sends a frame that asks for this, and decodes what comes. The second value says whether the answer can be written again, and
    /// is then the same byte by byte: otherwise our codec has lost something of it.
    pub async fn ask_frame<R: Request>(
        &mut self,
        frame: &[u8],
        version: i16,
    ) -> (Outcome<R::Response>, bool) {
        self.write(frame).await;
        match self.read().await {
            None => (Outcome::Closed, true),
            Some(bytes) => {
                let (answer, faithful) = decode::<R>(bytes, version);
                (Outcome::Answer(answer), faithful)
            }
        }
    }

    /// Sends a request that may stay without an answer, and another one after it that will not.
    pub async fn ask_for_silence<R: Request>(&mut self, request: &R, version: i16) -> Outcome<R::Response> {
        let first = self.frame(request, version);
        let expected = self.correlation_id;
        let second = self.frame(&ApiVersionsRequest::default(), 0);
        self.write(&first).await;
        self.write(&second).await;
        let Some(bytes) = self.read().await else {
            return Outcome::Closed;
        };
        if bytes[..4] != expected.to_be_bytes() {
            return Outcome::Silence;
        }
        self.read().await;
        Outcome::Answer(decode::<R>(bytes, version).0)
    }

    /// The id of a topic, and the zero id if there is none.
    pub fn topic_id(&self, name: &str) -> Uuid {
        self.topics
            .get(name)
            .and_then(|ids| ids.last())
            .copied()
            .unwrap_or(Uuid::ZERO)
    }

    /// The name of the topic that has or had this id.
    pub fn topic_with(&self, id: &str) -> Option<String> {
        let place = |ids: &[Uuid]| ids.iter().position(|known| known.to_string() == id);
        self.topics.iter().find_map(|(name, ids)| match place(ids)? {
            0 => Some(format!("<id of {name}>")),
            nth => Some(format!("<id {} of {name}>", nth + 1)),
        })
    }

    /// Looks up the ids of these topics.
    pub async fn learn(&mut self, names: &[&str]) {
        let topics = names.iter().map(|name| MetadataRequestTopic {
            name: Some((*name).to_owned()),
            ..Default::default()
        });
        for topic in self.metadata(topics.collect()).await.topics {
            self.register(topic.name.as_deref().unwrap_or_default(), topic.topic_id);
        }
    }

    /// Takes down the id of a topic.
    pub fn register(&mut self, name: &str, id: Uuid) {
        let ids = self.topics.entry(name.to_owned()).or_default();
        if !id.is_zero() && ids.last() != Some(&id) {
            ids.push(id);
        }
    }

    /// Keeps a text under a name.
    pub fn note(&mut self, name: &str, text: impl ToString) {
        self.notes.insert(name.to_owned(), text.to_string());
    }

    /// The text that was kept, empty if there is none.
    pub fn noted(&self, name: &str) -> String {
        self.notes.get(name).cloned().unwrap_or_default()
    }

    /// The number that was kept, -1 if there is none.
    pub fn noted_number(&self, name: &str) -> i64 {
        self.noted(name).parse().unwrap_or(-1)
    }

    async fn metadata(&mut self, topics: Vec<MetadataRequestTopic>) -> MetadataResponse {
        let request = MetadataRequest {
            topics: Some(topics),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        self.ask(&request, 12).await.answer()
    }

    async fn write(&mut self, frame: &[u8]) {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(
                TcpStream::connect(self.address)
                    .await
                    .expect("connect to the cluster"),
            ),
        };
        // A connection that was closed shows when it is read from.
        let _ = stream.write_all(frame).await;
    }

    /// The next frame without its size; none, and the connection gone, if it was closed.
    async fn read(&mut self) -> Option<Bytes> {
        let stream = self.stream.as_mut().expect("a connection");
        let read = async {
            let size = stream.read_i32().await?;
            let mut frame = vec![0; size as usize];
            stream.read_exact(&mut frame).await?;
            std::io::Result::Ok(Bytes::from(frame))
        };
        let frame = timeout(PATIENCE, read).await.unwrap_or_else(|_| {
            panic!("{} has not answered for {PATIENCE:?}", self.address);
        });
        if frame.is_err() {
            self.stream = None;
        }
        frame.ok()
    }
}

fn decode<R: Request>(frame: Bytes, version: i16) -> (R::Response, bool) {
    let mut rest = frame.clone();
    // An answer to a version of ApiVersions that is not known has the form of version 0.
    let read = |version, rest: &mut Bytes| {
        let header = ResponseHeader::decode(rest, R::KEY, version).expect("a response has a header");
        let message = decode_message::<R::Response>(rest.clone(), version);
        message.ok().map(|message| (header, version, message))
    };
    let (header, version, message) = read(version, &mut rest)
        .or_else(|| read(0, &mut frame.clone()))
        .unwrap_or_else(|| panic!("a response of {:?} {version} cannot be read: {frame:?}", R::KEY));
    let again = encode_response(&message, version, header.correlation_id).expect("a response can be written");
    let again = Payload::join(again).expect("a response in memory");
    (message, again[4..] == frame)
}
