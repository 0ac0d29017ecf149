//! From a decoded request to an encoded response.

use std::{pin::Pin, time::Duration};

use heliostat_wire::{
    Payload,
    message::{Message, Request, ThrottleTime, decode_message, encode_response},
};

use super::{Call, Context, throttle::Meter};

/// What happens after a request.
pub(crate) enum Reply {
    /// A frame is written.
    Frame(Vec<Payload>),
    /// Nothing is written: the client asked for no acknowledgement.
    Nothing,
    /// One of the others, after which nothing is read from the client for a while (KIP-219).
    Throttled(Box<Reply>, Duration),
    /// The connection is closed, because the request cannot be understood. The text says why.
    Close(String),
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

/// Decodes the request, calls its handler, and encodes the response.
pub(super) async fn run<R, F, O>(call: Call, handler: impl FnOnce(Context, R) -> F) -> Reply
where
    R: Request<Response: 'static>,
    F: Future<Output = O>,
    O: Outcome<R::Response>,
{
    let version = call.context.api_version;
    let meter = Meter::new(&call, R::KEY);
    let request = match decode_message::<R>(call.body, version) {
        Ok(request) => request,
        Err(error) => return Reply::Close(format!("a {} request cannot be read: {error}", R::KEY.name())),
    };
    let outcome = meter.run(handler(call.context, request)).await.settle();
    let reply = move |response: Result<Option<R::Response>, String>| match response {
        Ok(Some(mut response)) => {
            let throttle_time_ms = meter.throttle_time_ms(response.throttle_time_ms());
            response.set_throttle_time_ms(throttle_time_ms);
            encode(&response, version, call.correlation_id).and_throttle(throttle_time_ms)
        }
        Ok(None) => Reply::Nothing.and_throttle(meter.throttle_time_ms(0)),
        Err(reason) => Reply::Close(reason),
    };
    match outcome {
        Settled::Now(response) => reply(response),
        Settled::Later(response) => Reply::Later(Box::pin(async move { reply(response.await) })),
    }
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
