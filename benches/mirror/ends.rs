//! The log ends of topics, asked for on a connection of one's own: an answer costs a round trip, where librdkafka may take a
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
/// How often to ask again, at most.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// So many topics are asked for together where there are many.
const TOPICS_AT_ONCE: usize = 10;

/// The log ends of topics on a cluster of one node.
#[derive(Debug)]
pub struct Ends {
    server: SocketAddr,
    topics: Vec<String>,
    partitions: i32,
    stream: Option<TcpStream>,
}

impl Ends {
    /// Of topics that need not exist yet, on a cluster that need not run yet.
    pub fn new(bootstrap: &str, topics: Vec<String>, partitions: i32) -> Ends {
        let server = bootstrap.parse().expect("an address");
        Ends {
            server,
            topics,
            partitions,
            stream: None,
        }
    }

    /// The sum of the log ends; 0 while there are no such topics or no such cluster.
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
            let asked = Instant::now();
            let sum = self.sum();
            if sum >= wanted {
                return sum;
            }
            assert!(
                started.elapsed() < limit,
                "{:?} hold {sum} of {wanted} records after {limit:?}",
                self.topics.first()
            );
            // A question about many topics keeps the broker busy, and must not be what it does all the time.
            thread::sleep(ASK_AGAIN.max(4 * asked.elapsed()));
        }
    }

    /// Waits until each topic has so many records. Asks for few topics at a time, the next when these have them: a question about a thousand would
    /// keep the broker busy.
    pub fn wait_each(&mut self, wanted: u64, limit: Duration) {
        let all = std::mem::take(&mut self.topics);
        for some in all.chunks(TOPICS_AT_ONCE) {
            self.topics = some.to_vec();
            self.wait(wanted * some.len() as u64, limit);
        }
        self.topics = all;
    }

    fn ask(&mut self) -> io::Result<u64> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: self.topics.iter().map(|topic| self.of(topic)).collect(),
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

    fn of(&self, topic: &str) -> ListOffsetsTopic {
        let partitions = (0..self.partitions).map(|partition_index| ListOffsetsPartition {
            partition_index,
            timestamp: LATEST,
            ..ListOffsetsPartition::default()
        });
        ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: partitions.collect(),
        }
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
