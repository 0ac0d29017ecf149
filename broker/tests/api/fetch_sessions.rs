//! Fetch sessions (KIP-227): the same sequences as Apache Kafka 4.2 was asked, with the same answers.

use heliostat_broker::Cluster;
use heliostat_wire::{
    ErrorCode,
    message::{
        FetchRequest,
        fetch::{FetchPartition, FetchTopic, ForgottenTopic},
    },
};

use crate::{
    client::{Client, start, start_nodes},
    records::{batch, from_offset, id_of, produce},
};

const BY_NAME: i16 = 12;
const UNKNOWN: i16 = ErrorCode::UnknownTopicOrPartition as i16;
const OUT_OF_RANGE: i16 = ErrorCode::OffsetOutOfRange as i16;

/// A partition of an answer: topic, index, error, whether there are records.
type Told = (String, i32, i16, bool);

struct Session {
    client: Client,
    id: i32,
    epoch: i32,
}

impl Session {
    async fn of(cluster: &Cluster) -> Session {
        let client = Client::of(cluster).await;
        Session {
            client,
            id: 0,
            epoch: 0,
        }
    }

    /// Sends the next request of the session; the error, and what is told.
    async fn fetch(&mut self, asked: &[(&str, &[(i32, i64)])], forget: &[(&str, i32)]) -> (i16, Vec<Told>) {
        self.fetch_bytes(asked, forget, i32::MAX).await
    }

    async fn fetch_bytes(
        &mut self,
        asked: &[(&str, &[(i32, i64)])],
        forget: &[(&str, i32)],
        max_bytes: i32,
    ) -> (i16, Vec<Told>) {
        let partition = |(index, offset): &(i32, i64)| from_offset(*index, *offset);
        let topics = asked.iter().map(|(name, partitions)| FetchTopic {
            topic: name.to_string(),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        });
        let forgotten = forget.iter().map(|(name, index)| ForgottenTopic {
            topic: name.to_string(),
            partitions: vec![*index],
            ..Default::default()
        });
        let request = FetchRequest {
            session_id: self.id,
            session_epoch: self.epoch,
            topics: topics.collect(),
            forgotten_topics_data: forgotten.collect(),
            max_bytes,
            max_wait_ms: 0,
            ..Default::default()
        };
        let response = self.client.send_version(&request, BY_NAME).await;
        if response.error_code == 0 {
            self.id = response.session_id;
            self.epoch += 1;
        }
        let told = response.responses.iter().flat_map(|topic| {
            topic.partitions.iter().map(|data| {
                (
                    topic.topic.clone(),
                    data.partition_index,
                    data.error_code,
                    !data.records.is_empty(),
                )
            })
        });
        (response.error_code, told.collect())
    }
}

fn told(topic: &str, index: i32, error: i16, has_records: bool) -> Told {
    (topic.to_owned(), index, error, has_records)
}

async fn with_records(cluster: &Cluster, partitions: &[i32]) {
    let mut client = Client::of(cluster).await;
    client.create_topic("a", 3, &[]).await;
    client.create_topic("b", 1, &[]).await;
    for index in partitions {
        produce(&mut client, "a", *index, batch(&["one"])).await;
    }
}

const ALL: &[(&str, &[(i32, i64)])] = &[("a", &[(0, 0), (1, 0), (2, 0)]), ("b", &[(0, 0)])];

#[tokio::test]
async fn only_what_has_changed_is_told() {
    let cluster = start(&[("auto.create.topics.enable", "false")]).await;
    with_records(&cluster, &[1]).await;
    let mut session = Session::of(&cluster).await;
    let (_, first) = session.fetch(ALL, &[]).await;
    assert_eq!(first.len(), 4);
    assert!(session.id > 0);
    assert_eq!(session.fetch(&[], &[]).await, (0, vec![told("a", 1, 0, true)]));
    assert_eq!(session.fetch(&[("a", &[(1, 1)])], &[]).await, (0, vec![]));
    // New records are told, and what is added, and errors until they are gone; then that they are.
    produce(&mut session.client, "b", 0, batch(&["more"])).await;
    let added: &[(&str, &[(i32, i64)])] = &[("a", &[(9, 0)]), ("c", &[(0, 0)]), ("a", &[(0, 99)])];
    let (_, after) = session.fetch(added, &[]).await;
    let errors = [told("a", 9, UNKNOWN, false), told("c", 0, UNKNOWN, false)];
    let out_of_range = told("a", 0, OUT_OF_RANGE, false);
    let more = told("b", 0, 0, true);
    assert_eq!(
        after,
        [vec![out_of_range.clone(), more], errors.to_vec()].concat()
    );
    session.client.create_topic("c", 1, &[]).await;
    let seen: &[(&str, &[(i32, i64)])] = &[("b", &[(0, 1)])];
    let (_, after) = session.fetch(seen, &[("a", 9)]).await;
    assert_eq!(after, [out_of_range, told("c", 0, 0, false)]);
    assert_eq!(
        session.fetch(&[("a", &[(0, 0)])], &[]).await,
        (0, vec![told("a", 0, 0, false)])
    );
    assert_eq!(session.fetch(&[], &[]).await, (0, vec![]));
}

#[tokio::test]
async fn sessions_end_and_cannot_be_guessed() {
    let cluster = start_nodes(2, &[]).await;
    with_records(&cluster, &[]).await;
    let mut session = Session::of(&cluster).await;
    session.fetch(ALL, &[]).await;
    session.epoch = 7;
    assert_eq!(
        session.fetch(&[], &[]).await.0,
        ErrorCode::InvalidFetchSessionEpoch.code()
    );
    session.epoch = 1;
    let by_id = FetchRequest {
        session_id: session.id,
        session_epoch: 1,
        ..Default::default()
    };
    let response = session.client.send(&by_id).await;
    assert_eq!(response.error_code, ErrorCode::FetchSessionTopicIdError.code());
    let elsewhere = Client::connect(cluster.addresses()[1]).await;
    let here = std::mem::replace(&mut session.client, elsewhere);
    assert_eq!(
        session.fetch(&[], &[]).await.0,
        ErrorCode::FetchSessionIdNotFound.code()
    );
    session.client = here;

    // Forgetting everything ends it.
    let all = [("a", 0), ("a", 1), ("a", 2), ("b", 0)];
    assert_eq!(session.fetch(&[], &all).await, (0, vec![]));
    assert_eq!(session.id, 0);
    // So does another full fetch, which may begin the next one.
    (session.id, session.epoch) = (0, 0);
    session.fetch(ALL, &[]).await;
    let first = session.id;
    session.epoch = 0;
    session.fetch(ALL, &[]).await;
    assert!(session.id > 0 && session.id != first);
    let second = std::mem::replace(&mut session.id, first);
    assert_eq!(
        session.fetch(&[], &[]).await.0,
        ErrorCode::FetchSessionIdNotFound.code()
    );
    (session.id, session.epoch) = (second, -1);
    assert_eq!(session.fetch(ALL, &[]).await.1.len(), 4);
    assert_eq!(session.id, 0);
    (session.id, session.epoch) = (second, 1);
    assert_eq!(
        session.fetch(&[], &[]).await.0,
        ErrorCode::FetchSessionIdNotFound.code()
    );
}

#[tokio::test]
async fn partitions_take_turns_when_an_answer_is_full() {
    let cluster = start(&[]).await;
    with_records(&cluster, &[0, 1, 2]).await;
    let mut session = Session::of(&cluster).await;
    let mut turns = Vec::new();
    for turn in 0..7 {
        let asked = if turn == 0 { &ALL[..1] } else { &[] };
        let (_, told) = session.fetch_bytes(asked, &[], 1).await;
        let full: Vec<i32> = told.iter().filter(|told| told.3).map(|told| told.1).collect();
        assert_eq!(full.len(), 1);
        turns.extend(full);
    }
    assert_eq!(
        turns,
        [0, 0, 1, 2, 0, 1, 2],
        "the first answer comes before the session"
    );
}

#[tokio::test]
async fn where_there_is_no_place_for_a_session_none_is_given() {
    let cluster = start(&[("max.incremental.fetch.session.cache.slots", "2")]).await;
    with_records(&cluster, &[]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let mut session = Session::of(&cluster).await;
        assert_eq!(session.fetch(ALL, &[]).await.1.len(), 4);
        ids.push(session.id > 0);
    }
    assert_eq!(ids, [true, true, false, false]);

    let cluster = start(&[("max.incremental.fetch.session.cache.slots", "1")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let topic_id = id_of(&mut client, "t").await;
    let partitions: Vec<FetchPartition> = (0..260_000).map(|index| from_offset(index, 0)).collect();
    let request = FetchRequest {
        session_epoch: 0,
        max_wait_ms: 0,
        ..crate::records::fetch_request(topic_id, partitions)
    };
    let response = client.send(&request).await;
    assert_eq!(
        (response.session_id, response.responses[0].partitions.len()),
        (0, 260_000)
    );
}
