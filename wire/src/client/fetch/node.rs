//! What is asked of one node: long polls in a session, one at a time, and what becomes wanted meanwhile aside.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Inner,
    answer::{self, Outcome},
    compare::compare,
    session::Session,
    size::Distance,
};
use crate::{
    ErrorCode,
    client::{Connection, Error, Manner, together::backoff},
    message::{ApiKey, FetchRequest, FetchResponse},
};

/// For how long a broker waits with what is asked aside: what becomes wanted meanwhile has to wait for it.
const ASIDE_WAIT: Duration = Duration::from_millis(5);

/// A broker looks at each partition of a session with each poll, of thousands for some milliseconds. While others come and go, a poll takes at least so
/// long for each of them, so that it is not what the broker does all the time.
const POLLED_WAIT: Duration = Duration::from_micros(100);

/// A poll is longer than the one before by so much, as long as nobody had to ask aside meanwhile. The first poll of a
/// connection is as short as what is asked aside: it tells where logs end, and those who come late can join the next.
const WAIT_GROWTH: u32 = 4;

/// Readers that got records mostly want more at once. The next long poll waits for them for so long, because what it
/// does not have has to be asked for aside.
const AWAIT_READERS: Duration = Duration::from_millis(2);

/// The first version that names topics by id, and the first that has sessions.
const FIRST_VERSION_BY_ID: i16 = 13;
const FIRST_VERSION_WITH_SESSIONS: i16 = 7;

/// Starts to ask a node, until the end.
pub(super) fn start(inner: &Arc<Inner>, node: i32) {
    let (wake_main, wake_side) = {
        let mut wants = inner.wants();
        let node = wants.node(node);
        (node.wake_main.clone(), node.wake_side.clone())
    };
    spawn(inner, {
        let inner = inner.clone();
        async move { poll(&inner, node, &wake_main).await }
    });
    spawn(inner, {
        let inner = inner.clone();
        async move { poll_aside(&inner, node, &wake_side).await }
    });
}

fn spawn(inner: &Inner, work: impl Future<Output = ()> + Send + 'static) {
    let ended = inner.ended.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = work => {}
        }
    });
}

async fn poll(inner: &Arc<Inner>, node: i32, wake: &Notify) {
    let mut session = Session::default();
    let mut last: Option<Arc<Connection>> = None;
    let mut refusals = 0;
    let mut wait = ASIDE_WAIT;
    let mut distance = Distance::default();
    loop {
        while !inner.wants().node(node).main_is_due() {
            wake.notified().await;
        }
        let connection = match inner.client.connection(node, inner.config.lanes.0).await {
            Ok(connection) => connection,
            Err(error) => {
                if !unreachable(inner, node, &error).await {
                    return;
                }
                continue;
            }
        };
        if !compare(inner, node, &connection).await {
            return;
        }
        if last.as_ref().is_some_and(|last| !Arc::ptr_eq(last, &connection)) {
            (session, wait, distance) = (Session::default(), ASIDE_WAIT, Distance::default());
        }
        let Some(mut request) = prepare(inner, node, &connection, &mut session, &distance) else {
            continue;
        };
        request.max_wait_ms = millis(wait.min(inner.config.max_wait));
        let asked = Instant::now();
        let answer = ask(inner, &connection, request, session.by_id()).await;
        last = Some(connection);
        let answer = answer.map(|response| (ErrorCode::from_code(response.error_code), response));
        let outcome = match answer {
            Ok((ErrorCode::None, response)) => {
                refusals = 0;
                distance.note(asked.elapsed());
                session.answered(&response);
                let outcome = answer::read(inner, &session, response);
                inner.wants().node(node).hear();
                outcome
            }
            Ok((code, _)) if is_of_sessions(code) => {
                // The next poll begins another one: at once, unless that does not help either.
                session = Session::default();
                sleep(backoff(refusals)).await;
                refusals += 1;
                Outcome::default()
            }
            Ok((_, response)) => {
                let error = Error::broker(response.error_code, format!("asked node {node} for records"));
                let failed = answer::fail(inner, session.items(), &error);
                session = Session::default();
                failed
            }
            Err(error) => {
                let failed = answer::fail(inner, session.items(), &error);
                session = Session::default();
                failed
            }
        };
        wait = if inner.wants().node(node).has_asked_aside() {
            ASIDE_WAIT.max(POLLED_WAIT.saturating_mul(session.len()))
        } else {
            wait.saturating_mul(WAIT_GROWTH).min(inner.config.max_wait)
        };
        if !finish(inner, node, outcome, wake).await {
            return;
        }
    }
}

/// Hands over what a long poll brought, and gives readers the time to say where they want to go on.
async fn finish(inner: &Arc<Inner>, node: i32, outcome: Outcome, wake: &Notify) -> bool {
    {
        let mut wants = inner.wants();
        let node = wants.node(node);
        node.end_main();
        for slot in &outcome.served {
            node.await_more(*slot);
        }
    }
    if !outcome.hand_over(inner).await {
        return false;
    }
    let until = Instant::now() + AWAIT_READERS;
    while !inner.wants().node(node).awaits_none() {
        if timeout_at(until, wake.notified()).await.is_err() {
            break;
        }
    }
    // Who does not go on now may never do: others who come are not kept waiting for that.
    inner.wants().node(node).await_nobody();
    true
}

/// The next long poll: what has changed, or everything if there is no session. `None` if nothing is wanted.
fn prepare(
    inner: &Inner,
    node: i32,
    connection: &Connection,
    session: &mut Session,
    distance: &Distance,
) -> Option<FetchRequest> {
    let newest = connection.supports(ApiKey::Fetch).map_or(0, |(_, to)| to);
    let mut request = request(inner, inner.config.max_wait, distance);
    let mut wants = inner.wants();
    if !wants.node(node).main_is_due() {
        return None;
    }
    let changed = wants.node(node).begin_main();
    let mut changes: Vec<_> = Vec::new();
    if !session.is_new() {
        changes.extend(changed.into_iter().map(|slot| (slot, wants.item(slot, node))));
        let nameless = |(_, item): &(u32, Option<super::wants::Item>)| {
            item.as_ref().is_some_and(|item| item.topic_id.is_none())
        };
        if session.by_id() && changes.iter().any(nameless) {
            *session = Session::default();
        }
    }
    if session.is_new() {
        let all = wants.all(node);
        let by_id = newest >= FIRST_VERSION_BY_ID && all.iter().all(|item| item.topic_id.is_some());
        *session = if newest >= FIRST_VERSION_WITH_SESSIONS {
            Session::begin(by_id)
        } else {
            Session::aside(by_id)
        };
        changes = all.into_iter().map(|item| (item.slot, Some(item))).collect();
    }
    let partition_bytes = partition_bytes(inner, distance, session.len());
    session.say(changes, partition_bytes, &mut request);
    Some(request)
}

async fn poll_aside(inner: &Arc<Inner>, node: i32, wake: &Notify) {
    let mut distance = Distance::default();
    loop {
        let slots = inner.wants().node(node).begin_side();
        if slots.is_empty() {
            wake.notified().await;
            continue;
        }
        let items: Vec<_> = {
            let wants = inner.wants();
            slots.iter().filter_map(|slot| wants.item(*slot, node)).collect()
        };
        let mut numbers: Vec<_> = items.iter().map(|item| (item.slot, item.number)).collect();
        if !items.is_empty() {
            let outcome = ask_aside(inner, node, items, &mut distance).await;
            if !outcome.hand_over(inner).await {
                return;
            }
        }
        let mut wants = inner.wants();
        numbers.retain(|(slot, number)| {
            wants.open(*slot, *number).is_some() && wants.item(*slot, node).is_some()
        });
        wants
            .node(node)
            .end_side(numbers.into_iter().map(|(slot, _)| slot));
    }
}

async fn ask_aside(
    inner: &Arc<Inner>,
    node: i32,
    items: Vec<super::wants::Item>,
    distance: &mut Distance,
) -> Outcome {
    let connection = match inner.client.connection(node, inner.config.lanes.1).await {
        Ok(connection) => connection,
        Err(error) => return answer::fail(inner, items.iter(), &error),
    };
    // Who has no answer to that is not asked for records: nobody waits for them any more.
    if !compare(inner, node, &connection).await {
        return Outcome::default();
    }
    let newest = connection.supports(ApiKey::Fetch).map_or(0, |(_, to)| to);
    let by_id = newest >= FIRST_VERSION_BY_ID && items.iter().all(|item| item.topic_id.is_some());
    let mut session = Session::aside(by_id);
    let mut request = request(inner, ASIDE_WAIT.min(inner.config.max_wait), distance);
    let partitions = items.len().try_into().unwrap_or(u32::MAX);
    let partition_bytes = partition_bytes(inner, distance, partitions);
    let changes = items.into_iter().map(|item| (item.slot, Some(item)));
    session.say(changes, partition_bytes, &mut request);
    let asked = Instant::now();
    match ask(inner, &connection, request, by_id).await {
        Ok(response) if response.error_code == ErrorCode::None.code() => {
            distance.note(asked.elapsed());
            answer::read(inner, &session, response)
        }
        Ok(response) => {
            let error = Error::broker(response.error_code, format!("asked node {node} for records"));
            answer::fail(inner, session.items(), &error)
        }
        Err(error) => answer::fail(inner, session.items(), &error),
    }
}

/// Nothing can be asked of a node: its leaders may be elsewhere by now.
async fn unreachable(inner: &Arc<Inner>, node: i32, error: &Error) -> bool {
    let items = inner.wants().all(node);
    answer::fail(inner, items.iter(), error).hand_over(inner).await
}

fn request(inner: &Inner, max_wait: Duration, distance: &Distance) -> FetchRequest {
    FetchRequest {
        max_wait_ms: millis(max_wait),
        min_bytes: inner.config.min_bytes,
        max_bytes: distance.bytes(inner.config.max_bytes),
        isolation_level: i8::from(inner.config.read_committed),
        ..Default::default()
    }
}

fn partition_bytes(inner: &Inner, distance: &Distance, partitions: u32) -> i32 {
    distance.partition_bytes(
        partitions,
        inner.config.max_bytes,
        inner.config.partition_max_bytes,
    )
}

fn millis(duration: Duration) -> i32 {
    duration.as_millis().try_into().unwrap_or(i32::MAX)
}

async fn ask(
    inner: &Inner,
    connection: &Connection,
    request: FetchRequest,
    by_id: bool,
) -> Result<FetchResponse, Error> {
    let manner = Manner {
        version_max: (!by_id).then_some(FIRST_VERSION_BY_ID - 1),
        broker_waits: inner.config.max_wait,
    };
    connection.send_as(request, manner).await
}

/// Whether an error is about the session and not about what was asked for.
fn is_of_sessions(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FetchSessionIdNotFound
            | ErrorCode::InvalidFetchSessionEpoch
            | ErrorCode::FetchSessionTopicIdError
            | ErrorCode::InconsistentTopicId
    )
}
