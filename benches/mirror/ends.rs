//! A topic's log ends, asked for on a connection of one's own: an answer costs a round trip, where librdkafka may take a
//! tenth of a second to give one.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_wire::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use heliostat_wire::message::{ApiKey, ResponseHeader, decode_message, encode_request};

/// A version that every broker since Kafka 2.0 speaks.
const VERSION: i16 = 4;
/// The timestamp that stands for the log end.
const LATEST: i64 = -1;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How often to ask again.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// The log ends of one topic on a cluster of one node.
#[derive(Debug)]
pub struct Ends {
    server: SocketAddr,
    topic: String,
    partitions: i32,
    stream: Option<TcpStream>,
}

impl Ends {
    /// Of a topic that need not exist yet, on a cluster that need not run yet.
    pub fn new(bootstrap: &str, topic: &str, partitions: i32) -> Ends {
        let server = bootstrap.parse().expect("an address");
        Ends {
            server,
            topic: topic.to_owned(),
            partitions,
            stream: None,
        }
    }

    /// The sum of the log ends; 0 while there is no such topic or no such cluster.
    pub fn sum(&mut self) -> u64 {
        match self.ask() {
            Ok(sum) => sum,
            Err(_) => {
                self.stream = None;
                0
            }
        }
    }

    /// Waits until the sum is at least `wanted`, and returns it. Panics after `limit`.
    pub fn wait(&mut self, wanted: u64, limit: Duration) -> u64 {
        let started = Instant::now();
        loop {
            let sum = self.sum();
            if sum >= wanted {
                return sum;
            }
            assert!(
                started.elapsed() < limit,
                "{} holds {sum} of {wanted} records after {limit:?}",
                self.topic
            );
            thread::sleep(ASK_AGAIN);
        }
    }

    fn ask(&mut self) -> io::Result<u64> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: self.topic.clone(),
                partitions: (0..self.partitions)
                    .map(|partition_index| ListOffsetsPartition {
                        partition_index,
                        timestamp: LATEST,
                        ..ListOffsetsPartition::default()
                    })
                    .collect(),
            }],
            ..ListOffsetsRequest::default()
        };
        let frame = encode_request(&request, VERSION, 1, Some("bench")).map_err(io::Error::other)?;
        let stream = self.connect()?;
        for piece in frame {
            stream.write_all(&piece)?;
        }
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let mut body = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut body)?;
        let mut body = Bytes::from(body);
        ResponseHeader::decode(&mut body, ApiKey::ListOffsets, VERSION).map_err(io::Error::other)?;
        let answer: ListOffsetsResponse = decode_message(body, VERSION).map_err(io::Error::other)?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions
            .filter_map(|partition| u64::try_from(partition.offset).ok())
            .sum())
    }

    fn connect(&mut self) -> io::Result<&mut TcpStream> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.server, ANSWER)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER))?;
                stream
            }
        };
        Ok(self.stream.insert(stream))
    }
}
