//! From a decoded request to an encoded response.

use std::{any::Any, pin::Pin, time::Duration};

use heliostat_wire::{
    Payload,
    message::{FetchResponse, Message, Request, ThrottleTime, decode_request, encode_response},
};

use super::{
    Call, Context,
    answers::{self, Full, Held},
    throttle::Meter,
};

/// What happens after a request.
pub(crate) enum Reply {
    /// A frame is written.
    Frame(Vec<Payload>),
    /// The same, with the room that it takes until it is written.
    Large(Vec<Payload>, Held),
    /// Nothing is written: the client asked for no acknowledgement.
    Nothing,
    /// One of the others, after which nothing is read from the client for a while (KIP-219).
    Throttled(Box<Reply>, Duration),
    /// The connection is closed, because the request cannot be understood. The text says why.
    Close(String),
    /// It is not known who the client is: after a while the answer is written, if there is one, and the connection closed.
    Refused {
        answer: Option<Box<Reply>>,
        delay: Duration,
        reason: String,
    },
    /// The request is done, and its reply comes when the future is ready. The next request may begin meanwhile.
    Later(Later<Reply>),
}

/// Something that is waited for while other requests begin.
pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a handler has come to.
pub(super) enum Settled<M> {
    /// The response; `None` if the client asked for none; or why the connection has to be closed.
    Now(Result<Option<M>, String>),
    /// The same, but it has to be waited for.
    Later(Later<Result<Option<M>, String>>),
}

/// What a handler may return.
pub(super) trait Outcome<M> {
    fn settle(self) -> Settled<M>;
}

impl<M: Message> Outcome<M> for M {
    fn settle(self) -> Settled<M> {
        Settled::Now(Ok(Some(self)))
    }
}

/// Decodes the request, calls its handler, and encodes the response: again if there was no room for it.
pub(super) async fn run<R, F, O>(call: Call, handler: impl Fn(Context, R) -> F) -> Reply
where
    R: Request<Response: 'static>,
    F: Future<Output = O>,
    O: Outcome<R::Response>,
{
    if !answers::can_be_made_again(R::KEY) {
        return answer(call, &handler, None).await.unwrap_or_else(no_room);
    }
    let again = call.clone();
    match answer(call, &handler, None).await {
        Ok(reply) => reply,
        Err(full) => {
            let room = tokio::select! {
                room = answers::wait(full) => room,
                () = again.context.broker.drain().cancelled() => None,
            };
            match room {
                Some(room) => answer(again, &handler, Some(room)).await.unwrap_or_else(no_room),
                None => no_room(full),
            }
        }
    }
}

/// Makes an answer, for which there may be room already.
async fn answer<R, F, O>(
    call: Call,
    handler: &impl Fn(Context, R) -> F,
    room: Option<Held>,
) -> Result<Reply, Full>
where
    R: Request<Response: 'static>,
    F: Future<Output = O>,
    O: Outcome<R::Response>,
{
    let version = call.context.api_version;
    let meter = Meter::new(&call, R::KEY);
    let turn = answers::turn(R::KEY, call.request_bytes).await;
    let request = match decode_request::<R>(call.body, version) {
        Ok(request) => request,
        Err(error) => {
            return Ok(Reply::Close(format!(
                "a {} request cannot be read: {error}",
                R::KEY.name()
            )));
        }
    };
    let outcome = meter.run(handler(call.context, request)).await.settle();
    let reply = move |response: Result<Option<R::Response>, String>| {
        let _turn = turn;
        match response {
            Ok(Some(mut response)) => {
                let throttle_time_ms = meter.throttle_time_ms(response.throttle_time_ms());
                response.set_throttle_time_ms(throttle_time_ms);
                let reply = encode(&response, version, call.correlation_id);
                Ok(in_room::<R>(reply, &response, room)?.and_throttle(throttle_time_ms))
            }
            Ok(None) => Ok(Reply::Nothing.and_throttle(meter.throttle_time_ms(0))),
            Err(reason) => Ok(Reply::Close(reason)),
        }
    };
    match outcome {
        Settled::Now(response) => reply(response),
        Settled::Later(response) => Ok(Reply::Later(Box::pin(async move {
            reply(response.await).unwrap_or_else(no_room)
        }))),
    }
}

/// An encoded answer with the room that it takes.
fn in_room<R: Request<Response: 'static>>(
    reply: Reply,
    response: &R::Response,
    room: Option<Held>,
) -> Result<Reply, Full> {
    let Reply::Frame(pieces) = reply else {
        return Ok(reply);
    };
    let bytes = in_memory(&pieces).saturating_sub(counted_elsewhere(response));
    // What was asked about may have grown meanwhile; nobody waits a second time.
    let can_be_made_again = room.is_none() && answers::can_be_made_again(R::KEY);
    let room = match room.filter(|room| room.bytes() >= bytes) {
        None => answers::hold(bytes, can_be_made_again)?,
        room => room,
    };
    Ok(match room {
        Some(room) => Reply::Large(pieces, room),
        None => Reply::Frame(pieces),
    })
}

fn in_memory(pieces: &[Payload]) -> usize {
    pieces.iter().map(memory_of).sum()
}

fn memory_of(piece: &Payload) -> usize {
    match piece {
        Payload::Memory(bytes) => bytes.len(),
        Payload::File(_) => 0,
    }
}

/// The records of a fetch have a memory of their own.
fn counted_elsewhere<M: 'static>(response: &M) -> usize {
    let response: &dyn Any = response;
    let fetched = response.downcast_ref::<FetchResponse>();
    let topics = fetched.into_iter().flat_map(|fetched| &fetched.responses);
    let partitions = topics.flat_map(|topic| &topic.partitions);
    partitions.map(|partition| memory_of(&partition.records)).sum()
}

fn no_room(Full(bytes): Full) -> Reply {
    Reply::Close(format!(
        "there was no room for an answer of {bytes} bytes: too many clients do not read theirs"
    ))
}

impl Reply {
    fn and_throttle(self, throttle_time_ms: i32) -> Reply {
        match u64::try_from(throttle_time_ms) {
            Ok(ms @ 1..) => Reply::Throttled(Box::new(self), Duration::from_millis(ms)),
            _ => self,
        }
    }
}

/// A response as a frame.
pub(super) fn encode<M: Message>(response: &M, version: i16, correlation_id: i32) -> Reply {
    match encode_response(response, version, correlation_id) {
        Ok(frame) => Reply::Frame(frame),
        Err(error) => Reply::Close(format!("a {} response cannot be written: {error}", M::KEY.name())),
    }
}

/// A token as a frame without a header (SaslHandshake version 0).
pub(super) fn bare(token: Vec<u8>) -> Reply {
    let size = i32::try_from(token.len()).unwrap_or(i32::MAX).to_be_bytes();
    Reply::Frame(vec![Payload::Memory([&size[..], &token].concat().into())])
}
