//! A client that sends one request and waits for its response.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use heliostat_broker::{Cluster, ClusterConfig};
use heliostat_wire::message::{
    CreateTopicsRequest, MetadataRequest, MetadataResponse, Request, ResponseHeader,
    create_topics::{CreatableTopic, CreatableTopicConfig},
    decode_message, encode_request,
    metadata::MetadataRequestTopic,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Long enough for a busy machine; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to one node.
pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    /// Connects to a node.
    pub async fn connect(address: SocketAddr) -> Client {
        Self::try_connect(address).await.unwrap()
    }

    /// Connects to a node that may be gone.
    pub async fn try_connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            correlation_id: 0,
        })
    }

    /// Connects to the first node.
    pub async fn of(cluster: &Cluster) -> Client {
        Self::connect(cluster.addresses()[0]).await
    }

    /// Sends a request of the newest version.
    pub async fn send<R: Request>(&mut self, request: &R) -> R::Response {
        self.send_version(request, *R::KEY.versions().end()).await
    }

    /// Sends a request of this version.
    pub async fn send_version<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.write(request, version).await;
        timeout(PATIENCE, self.read::<R>(version))
            .await
            .expect("no response in time")
    }

    /// Sends a request without waiting for the response.
    pub async fn write<R: Request>(&mut self, request: &R, version: i16) {
        self.try_write(request, version).await.unwrap();
    }

    /// As [`Client::write`], to a node that may be gone.
    pub async fn try_write<R: Request>(&mut self, request: &R, version: i16) -> std::io::Result<()> {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, Some("test")).unwrap();
        self.stream.write_all(&frame.concat()).await
    }

    /// Waits for the response to the last request.
    pub async fn read<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self.read_frame().await.expect("the connection was closed");
        let header = ResponseHeader::decode(&mut frame, R::KEY, version).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        decode_message(frame, version).unwrap()
    }

    /// The next frame, or `None` if the connection is closed.
    pub async fn read_frame(&mut self) -> Option<Bytes> {
        let size = timeout(PATIENCE, self.stream.read_i32())
            .await
            .expect("nothing arrives")
            .ok()?;
        let mut frame = vec![0; size as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    /// Metadata of these topics, which are not created.
    pub async fn metadata(&mut self, topics: &[&str]) -> MetadataResponse {
        let topic = |name: &&str| MetadataRequestTopic {
            name: Some(name.to_string()),
            ..Default::default()
        };
        let topics = Some(topics.iter().map(topic).collect());
        self.send(&MetadataRequest {
            topics,
            allow_auto_topic_creation: false,
            ..Default::default()
        })
        .await
    }

    /// Creates a topic.
    pub async fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let request = CreateTopicsRequest {
            topics: vec![topic(name, partitions, configs)],
            ..Default::default()
        };
        let response = self.send(&request).await;
        assert_eq!(
            response.topics[0].error_code, 0,
            "{:?}",
            response.topics[0].error_message
        );
    }
}

/// A topic to create, with the broker's replication factor.
pub fn topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: name.to_string(),
                value: Some(value.to_string()),
            })
            .collect(),
        ..Default::default()
    }
}

/// A cluster with one node and these properties, in a temporary directory.
pub async fn start(properties: &[(&str, &str)]) -> Cluster {
    start_nodes(1, properties).await
}

/// A cluster with this many nodes.
pub async fn start_nodes(brokers: u16, properties: &[(&str, &str)]) -> Cluster {
    let properties = properties
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    Cluster::start(ClusterConfig {
        brokers,
        properties,
        ..Default::default()
    })
    .await
    .unwrap()
}
