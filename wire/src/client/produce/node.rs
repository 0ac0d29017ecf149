//! What goes to one node: requests, as soon as there is something to send and a place for it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::{Notify, mpsc};

use super::{Inner, answer::Sent, slots::Part};
use crate::{
    client::{Connection, Error, Manner, Pending},
    message::{
        ProduceRequest, ProduceResponse,
        produce::{PartitionProduceData, TopicProduceData},
    },
};

/// Later versions name topics by id.
const LAST_VERSION_BY_NAME: i16 = 12;

/// All in-sync replicas.
const ACKS_ALL: i16 = -1;

/// What a broker may take to say that its replicas took too long.
const GRACE: Duration = Duration::from_secs(1);

/// A request that is out, or could not be sent.
type Out = (Result<Pending<ProduceResponse>, Error>, Sent);

/// Sends to a node until the pipeline ends.
pub(super) async fn run(inner: Arc<Inner>, node: i32, wake: Arc<Notify>) {
    let places = inner.config.in_flight_requests.max(1);
    let (out, answers) = mpsc::channel(places);
    tokio::spawn(settle(inner.clone(), node, answers));
    tokio::select! {
        () = inner.ended.cancelled() => {}
        () = send(&inner, node, &wake, places, out) => {}
    }
}

async fn send(inner: &Inner, node: i32, wake: &Notify, places: usize, out: mpsc::Sender<Out>) {
    let mut last: Option<Arc<Connection>> = None;
    loop {
        while !inner.slots().is_ready(node, places) {
            wake.notified().await;
        }
        // Nothing is taken before it can be sent, so that a node which cannot be reached costs no doubts.
        let connection = match inner.client.connection(node, inner.config.lane).await {
            Ok(connection) => connection,
            Err(error) => {
                let stale = inner.slots().fail_ready(node, &error);
                for (topic, partition, epoch) in stale {
                    inner.client.stale_leader(&topic, partition, epoch);
                }
                inner.reported.notify_one();
                continue;
            }
        };
        if last.as_ref().is_some_and(|last| !Arc::ptr_eq(last, &connection)) {
            // What was out on the connection before has failed, and what comes after it must not overtake the news.
            while inner.slots().in_flight(node) > 0 {
                wake.notified().await;
            }
        }
        let parts = inner.slots().take(node, inner.config.request_bytes);
        if !parts.is_empty() && out.send(start(inner, &connection, parts).await).await.is_err() {
            return;
        }
        last = Some(connection);
    }
}

async fn start(inner: &Inner, connection: &Connection, parts: Vec<Part>) -> Out {
    let (timeout, patience) = (inner.config.timeout, inner.client.config().request_timeout);
    let by_name = parts.iter().any(|part| part.topic_id.is_none());
    let (sent, topic_data) = arrange(parts);
    let request = ProduceRequest {
        transactional_id: None,
        acks: ACKS_ALL,
        timeout_ms: timeout.as_millis().try_into().unwrap_or(i32::MAX),
        topic_data,
    };
    let manner = Manner {
        version_max: by_name.then_some(LAST_VERSION_BY_NAME),
        broker_waits: timeout.saturating_sub(patience) + GRACE,
    };
    (connection.start_as(request, manner).await, sent)
}

/// Groups batches by topic, as the request wants them.
fn arrange(parts: Vec<Part>) -> (Sent, Vec<TopicProduceData>) {
    let mut topics: HashMap<Arc<str>, usize> = HashMap::new();
    let mut data: Vec<TopicProduceData> = Vec::new();
    let mut places = HashMap::with_capacity(parts.len());
    for (number, part) in parts.iter().enumerate() {
        let outgoing = &part.outgoing;
        let topic = *topics.entry(outgoing.topic.clone()).or_insert_with(|| {
            data.push(TopicProduceData {
                name: outgoing.topic.to_string(),
                topic_id: part.topic_id.unwrap_or_default(),
                partition_data: Vec::new(),
            });
            data.len() - 1
        });
        data[topic].partition_data.push(PartitionProduceData {
            index: outgoing.partition,
            records: outgoing.batch.clone(),
        });
        places.insert((topic, outgoing.partition), number);
    }
    let topics = data
        .iter()
        .map(|topic| (topic.name.clone(), topic.topic_id))
        .collect();
    (Sent::new(parts, topics, places), data)
}

/// Takes the answers as they come, which is in the order of the requests.
async fn settle(inner: Arc<Inner>, node: i32, mut answers: mpsc::Receiver<Out>) {
    while let Some((pending, sent)) = answers.recv().await {
        let outcome = async { pending?.await };
        tokio::select! {
            () = inner.ended.cancelled() => return,
            outcome = outcome => sent.settle(&inner, node, outcome),
        }
    }
}
