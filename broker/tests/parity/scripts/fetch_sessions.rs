//! Fetch sessions (KIP-227) as sequences: what is told depends on what was asked and told before.

use heliostat_wire::message::{
    ApiKey, DeleteTopicsRequest, FetchRequest,
    delete_topics::DeleteTopicState,
    fetch::{FetchTopic, ForgottenTopic},
};

use crate::{
    harness::Parity,
    requests::{batch, fetch_topic, produce},
    side::Side,
};

/// The first version with sessions.
const SESSIONS_SINCE: i16 = 7;

/// The first version in which topics go by their ids.
const TOPIC_IDS_SINCE: i16 = 13;

pub async fn life(p: &mut Parity) {
    p.create("remembered", 3, &[]).await;
    p.create("remembered-too", 1, &[]).await;
    for version in SESSIONS_SINCE..=*p.versions(ApiKey::Fetch).end() {
        let all = |side: &Side| topics(side, &[("remembered", &[(0, 0), (1, 0)])]);
        begin(p, version, all).await;
        next(p, "nothing new", version, |_| vec![]).await;
        next(p, "nothing new again", version, |_| vec![]).await;
        p.append("remembered", &batch(&["a", "b"])).await;
        next(p, "new records", version, |_| vec![]).await;
        next(p, "new records that were told", version, |_| vec![]).await;
        let end = if version == SESSIONS_SINCE { 1 } else { 2 };
        next(p, "from another offset", version, |side| {
            topics(side, &[("remembered", &[(0, end)])])
        })
        .await;
        next(p, "with more partitions", version, |side| {
            topics(side, &[("remembered", &[(2, 0)]), ("remembered-too", &[(0, 0)])])
        })
        .await;
        next(p, "out of range", version, |side| {
            topics(side, &[("remembered", &[(2, 99)])])
        })
        .await;
        next(p, "still out of range", version, |_| vec![]).await;
        next(p, "an unknown partition", version, |side| {
            topics(side, &[("remembered", &[(7, 0), (2, 0)])])
        })
        .await;
        next(p, "still unknown", version, |_| vec![]).await;
        forgetting(p, version).await;
        next(p, "after forgetting", version, |_| vec![]).await;
        if version < TOPIC_IDS_SINCE {
            next(p, "an unknown topic", version, |side| {
                topics(side, &[("remembered-none", &[(0, 0)])])
            })
            .await;
            next(p, "still an unknown topic", version, |_| vec![]).await;
        }
        refused(p, version).await;
        p.at("closing", version, |side| FetchRequest {
            session_epoch: -1,
            ..request(side, all(side))
        })
        .await;
        p.at("closed", version, |side| request(side, vec![])).await;
    }
}

pub async fn limits(p: &mut Parity) {
    p.create("rotated", 3, &[]).await;
    for partition in 0..3 {
        p.newest("set up", |side| {
            produce(side, "rotated", partition, batch(&["a"]))
        })
        .await;
    }
    for version in [12, 18] {
        begin(p, version, |side| {
            topics(side, &[("rotated", &[(0, 0), (1, 0), (2, 0)])])
        })
        .await;
        for turn in 0..4 {
            p.at(&format!("turn {turn}"), version, |side| FetchRequest {
                max_bytes: 1,
                ..request(side, vec![])
            })
            .await;
            advance(p);
        }
    }
}

pub async fn topics_that_change(p: &mut Parity) {
    for version in [12, 18] {
        let name = &format!("changing-{version}");
        p.create(name, 1, &[]).await;
        begin(p, version, |side| topics(side, &[(name, &[(0, 0)])])).await;
        p.newest("deleting it", |_| DeleteTopicsRequest {
            topic_names: vec![name.clone()],
            topics: vec![DeleteTopicState {
                name: Some(name.clone()),
                ..Default::default()
            }],
            timeout_ms: 10_000,
        })
        .await;
        p.gone(name).await;
        next(p, "deleted in the session", version, |_| vec![]).await;
        next(p, "still deleted in the session", version, |_| vec![]).await;
        p.create(name, 1, &[]).await;
        p.append(name, &batch(&["anew"])).await;
        next(p, "created again in the session", version, |_| vec![]).await;
        next(p, "named again in the session", version, |side| {
            topics(side, &[(name, &[(0, 0)])])
        })
        .await;
        // A session goes on as it began: by name or by id.
        let other = if version == 12 { 18 } else { 12 };
        p.at("in another version", other, |side| request(side, vec![]))
            .await;
    }
}

/// Begins a session and takes its id down.
async fn begin(p: &mut Parity, version: i16, topics: impl Fn(&Side) -> Vec<FetchTopic>) {
    p.each(|side| {
        side.note("session", 0);
        side.note("epoch", 0);
    });
    let begun = p
        .at("beginning", version, |side| request(side, topics(side)))
        .await;
    p.keep("session", &begun, |answer| answer.session_id.to_string());
    advance(p);
}

/// The next request of the session.
async fn next(p: &mut Parity, case: &str, version: i16, topics: impl Fn(&Side) -> Vec<FetchTopic>) {
    p.at(case, version, |side| request(side, topics(side))).await;
    advance(p);
}

async fn forgetting(p: &mut Parity, version: i16) {
    p.at("forgetting", version, |side| {
        let forgotten = |topic: &str, partitions: &[i32]| ForgottenTopic {
            topic: topic.to_owned(),
            topic_id: side.topic_id(topic),
            partitions: partitions.to_vec(),
        };
        FetchRequest {
            forgotten_topics_data: vec![
                forgotten("remembered", &[1, 7, 9]),
                forgotten("remembered-too", &[0]),
            ],
            ..request(side, vec![])
        }
    })
    .await;
    advance(p);
}

/// Requests that are not the next one. None of them ends the session.
async fn refused(p: &mut Parity, version: i16) {
    for (case, by) in [("the last epoch", -1), ("a later epoch", 1)] {
        p.at(case, version, |side| {
            let next = request(side, vec![]);
            FetchRequest {
                session_epoch: next.session_epoch + by,
                ..next
            }
        })
        .await;
    }
    p.at("an unknown session", version, |side| FetchRequest {
        session_id: 1,
        ..request(side, vec![])
    })
    .await;
    p.at("no session, and an epoch", version, |side| FetchRequest {
        session_id: 0,
        ..request(side, vec![])
    })
    .await;
    next(p, "going on", version, |_| vec![]).await;
}

fn request(side: &Side, topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest {
        max_bytes: 1 << 20,
        session_id: side.noted_number("session") as i32,
        session_epoch: side.noted_number("epoch") as i32,
        topics,
        ..Default::default()
    }
}

fn advance(p: &mut Parity) {
    p.each(|side| side.note("epoch", side.noted_number("epoch") + 1));
}

fn topics(side: &Side, topics: &[(&str, &[(i32, i64)])]) -> Vec<FetchTopic> {
    let topic = |(name, partitions): &(&str, &[(i32, i64)])| fetch_topic(side, name, partitions);
    topics.iter().map(topic).collect()
}
