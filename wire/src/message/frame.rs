//! Frames: the size, the header, and the message of one request or one response.

use bytes::{BufMut, Bytes, BytesMut};

use super::{ApiKey, Message, Request};
use crate::{
    Payload,
    buf::{Reader, Wire, Writer},
    error::{DecodeError, EncodeError},
};

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API, as a number: it may be one that is not in the table.
    pub api_key: i16,
    /// The version of the request.
    pub api_version: i16,
    /// A number that the response repeats.
    pub correlation_id: i32,
    /// The name that the client gives itself.
    pub client_id: Option<String>,
}

/// The header of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The number of the request that this answers.
    pub correlation_id: i32,
}

impl RequestHeader {
    /// Bytes of the part that every request begins with, whatever its API: key, version and correlation id.
    const FIXED_BYTES: usize = 8;

    /// Reads the header of a frame (without its size). What follows the fixed part depends on the API and its
    /// version; for those that are not in the table it is left unread, and the client id is `None`.
    pub fn decode(frame: &mut Bytes) -> Result<RequestHeader, DecodeError> {
        let mut r = Reader::new(frame.clone(), 0, false);
        if r.remaining() < Self::FIXED_BYTES {
            return Err(DecodeError::Truncated {
                wanted: Self::FIXED_BYTES,
                left: r.remaining(),
            });
        }
        let mut header = RequestHeader {
            api_key: i16::decode(&mut r)?,
            api_version: i16::decode(&mut r)?,
            correlation_id: i32::decode(&mut r)?,
            client_id: None,
        };
        if let Some(api) = ApiKey::from_code(header.api_key)
            && api.versions().contains(&header.api_version)
        {
            // The client id keeps its classic length in every version, so that brokers can read it before they
            // know whether the rest is flexible.
            header.client_id = Option::decode(&mut r)?;
            if api.request_header_version(header.api_version) >= 2 {
                r.tagged_fields(|_, _| Ok(()))?;
            }
        }
        *frame = r.into_rest();
        Ok(header)
    }
}

/// A whole request frame, its size first, in one or more pieces.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut w = Writer::new(version, false);
    R::KEY.code().encode(&mut w);
    version.encode(&mut w);
    correlation_id.encode(&mut w);
    client_id.map(str::to_owned).encode(&mut w);
    if R::KEY.request_header_version(version) >= 2 {
        w.put_unsigned_varint(0);
    }
    w.set_flexible(R::KEY.is_flexible(version));
    request.encode(&mut w);
    let in_memory = |piece: Payload| {
        piece.into_bytes().map_err(|error| EncodeError::Unreadable {
            reason: error.to_string(),
        })
    };
    with_size(w)?.into_iter().map(in_memory).collect()
}

/// A whole response frame, its size first, in one or more pieces.
pub fn encode_response<M: Message>(
    response: &M,
    version: i16,
    correlation_id: i32,
) -> Result<Vec<Payload>, EncodeError> {
    let mut w = Writer::new(version, M::KEY.is_flexible(version));
    w.put_i32(correlation_id);
    if M::KEY.response_header_version(version) >= 1 {
        w.put_unsigned_varint(0);
    }
    response.encode(&mut w);
    with_size(w)
}

/// Reads a message, without its header.
pub fn decode_message<M: Message>(body: Bytes, version: i16) -> Result<M, DecodeError> {
    decode(body, version, Reader::new)
}

/// Reads a request of anybody, without its header: as [`decode_message`], but of a bounded number of elements.
pub fn decode_request<R: Request>(body: Bytes, version: i16) -> Result<R, DecodeError> {
    decode(body, version, Reader::of_request)
}

fn decode<M: Message>(
    body: Bytes,
    version: i16,
    reader: fn(Bytes, i16, bool) -> Reader,
) -> Result<M, DecodeError> {
    if !M::KEY.versions().contains(&version) {
        return Err(DecodeError::UnsupportedVersion {
            api: M::KEY.name(),
            version,
        });
    }
    M::decode(&mut reader(body, version, M::KEY.is_flexible(version)))
}

impl ResponseHeader {
    /// Reads the header of a response frame (without its size) to a request of this API and version.
    pub fn decode(frame: &mut Bytes, api: ApiKey, version: i16) -> Result<ResponseHeader, DecodeError> {
        let mut r = Reader::new(frame.clone(), version, false);
        let correlation_id = i32::decode(&mut r)?;
        if api.response_header_version(version) >= 1 {
            r.tagged_fields(|_, _| Ok(()))?;
        }
        *frame = r.into_rest();
        Ok(ResponseHeader { correlation_id })
    }
}

fn with_size(w: Writer) -> Result<Vec<Payload>, EncodeError> {
    let length = w.written();
    let size = i32::try_from(length).map_err(|_| EncodeError::TooLarge { length })?;
    let mut head = BytesMut::with_capacity(size_of::<i32>());
    head.put_i32(size);
    let mut chunks = w.finish()?;
    match chunks.first_mut() {
        // A small first piece takes the size in, so that most frames are one piece.
        Some(Payload::Memory(first)) if first.len() <= SMALL_PIECE_BYTES => {
            head.extend_from_slice(first);
            *first = head.freeze();
        }
        _ => chunks.insert(0, head.freeze().into()),
    }
    Ok(chunks)
}

/// Up to this many bytes are copied rather than sent as a piece of their own.
const SMALL_PIECE_BYTES: usize = 64 * 1024;
