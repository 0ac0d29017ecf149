//! From a decoded request to an encoded response.

use heliostat_wire::{
    Payload,
    message::{Message, Request, decode_message, encode_response},
};

use super::{Call, Context};

/// What happens after a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A frame is written.
    Frame(Vec<Payload>),
    /// Nothing is written: the client asked for no acknowledgement.
    Nothing,
    /// The connection is closed, because the request cannot be understood. The text says why.
    Close(String),
}

/// What a handler may return.
pub(super) trait Outcome<M> {
    /// The response; `None` if the client asked for none; or why the connection has to be closed.
    fn response(self) -> Result<Option<M>, String>;
}

impl<M: Message> Outcome<M> for M {
    fn response(self) -> Result<Option<M>, String> {
        Ok(Some(self))
    }
}

/// Decodes the request, calls its handler, and encodes the response.
pub(super) async fn run<R, F, O>(call: Call, handler: impl FnOnce(Context, R) -> F) -> Reply
where
    R: Request,
    F: Future<Output = O>,
    O: Outcome<R::Response>,
{
    let version = call.context.api_version;
    let request = match decode_message::<R>(call.body, version) {
        Ok(request) => request,
        Err(error) => return Reply::Close(format!("a {} request cannot be read: {error}", R::KEY.name())),
    };
    match handler(call.context, request).await.response() {
        Ok(Some(response)) => encode(&response, version, call.correlation_id),
        Ok(None) => Reply::Nothing,
        Err(reason) => Reply::Close(reason),
    }
}

/// A response as a frame.
pub(super) fn encode<M: Message>(response: &M, version: i16, correlation_id: i32) -> Reply {
    match encode_response(response, version, correlation_id) {
        Ok(frame) => Reply::Frame(frame),
        Err(error) => Reply::Close(format!("a {} response cannot be written: {error}", M::KEY.name())),
    }
}
