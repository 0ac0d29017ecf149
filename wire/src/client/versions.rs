//! Which versions a client and a broker have in common (KIP-35, KIP-511).

use std::collections::HashMap;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{error::Error, frames::Frames};
use crate::{
    ErrorCode,
    error::DecodeError,
    message::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, Message, ResponseHeader, decode_message,
        encode_request,
    },
};

/// What a broker speaks.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions(HashMap<ApiKey, (i16, i16)>);

/// The name and version that a broker may note down: letters, digits, `-` and `.` only.
const SOFTWARE_NAME: &str = "heliostat";
const SOFTWARE_VERSION: &str = env!("CARGO_PKG_VERSION");

impl Versions {
    /// The versions that both sides speak.
    pub(super) fn common(&self, api: ApiKey) -> Option<(i16, i16)> {
        let (from, to) = self.of_broker(api)?;
        let ours = api.versions();
        let common = (from.max(*ours.start()), to.min(highest_of_clients(api)));
        (common.0 <= common.1).then_some(common)
    }

    /// The versions that the broker speaks.
    pub(super) fn of_broker(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.0.get(&api).copied()
    }

    fn new(response: &ApiVersionsResponse) -> Self {
        let known = response.api_keys.iter().filter_map(|told| {
            ApiKey::from_code(told.api_key).map(|api| (api, (told.min_version, told.max_version)))
        });
        Versions(known.collect())
    }
}

/// Some versions are not for every client: later ones of AddPartitionsToTxn are for brokers, and those of EndTxn and
/// TxnOffsetCommit begin another protocol of transactions (KIP-890), which a cluster has to be set to.
fn highest_of_clients(api: ApiKey) -> i16 {
    let highest = *api.versions().end();
    match api {
        ApiKey::AddPartitionsToTxn => highest.min(3),
        ApiKey::EndTxn | ApiKey::TxnOffsetCommit => highest.min(4),
        _ => highest,
    }
}

/// Asks a broker what it speaks: in the newest version, and in the one that it names if it does not know that.
pub(super) async fn negotiate<R, W>(
    frames: &mut Frames<R>,
    writer: &mut W,
    client_id: &str,
) -> Result<Versions, Refusal>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let newest = *ApiKey::ApiVersions.versions().end();
    let response = ask(frames, writer, client_id, newest).await?;
    let response = if response.error_code == ErrorCode::UnsupportedVersion.code() {
        ask(frames, writer, client_id, fall_back(&response, newest)).await?
    } else {
        response
    };
    match ErrorCode::from_code(response.error_code) {
        ErrorCode::None => Ok(Versions::new(&response)),
        code => Err(Refusal(format!(
            "asked for its versions, the broker answered {code}"
        ))),
    }
}

/// Why there is nothing to talk about.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

/// The version to ask in when the newest is not known: brokers name it since Kafka 2.4.
fn fall_back(response: &ApiVersionsResponse, newest: i16) -> i16 {
    let own = ApiKey::ApiVersions.code();
    let told = response.api_keys.iter().find(|told| told.api_key == own);
    told.map(|told| told.max_version)
        .filter(|version| (0..newest).contains(version))
        .unwrap_or(0)
}

async fn ask<R, W>(
    frames: &mut Frames<R>,
    writer: &mut W,
    client_id: &str,
    version: i16,
) -> Result<ApiVersionsResponse, Refusal>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let request = ApiVersionsRequest {
        client_software_name: SOFTWARE_NAME.to_owned(),
        client_software_version: SOFTWARE_VERSION.to_owned(),
    };
    let correlation_id = i32::from(version);
    let pieces = encode_request(&request, version, correlation_id, Some(client_id))
        .map_err(|error| Refusal(error.to_string()))?;
    for piece in pieces {
        writer
            .write_all(&piece)
            .await
            .map_err(|error| Refusal(error.to_string()))?;
    }
    writer.flush().await.map_err(|error| Refusal(error.to_string()))?;
    let frame = frames.next().await.map_err(|error| Refusal(error.to_string()))?;
    read(frame, version, correlation_id).map_err(|error| Refusal(error.to_string()))
}

fn read(mut frame: Bytes, version: i16, correlation_id: i32) -> Result<ApiVersionsResponse, Error> {
    const API: ApiKey = ApiVersionsRequest::KEY;
    let unreadable = |source: DecodeError| Error::Protocol {
        api: API.name(),
        source,
    };
    let header = ResponseHeader::decode(&mut frame, API, version).map_err(unreadable)?;
    if header.correlation_id != correlation_id {
        return Err(Error::Nonsense {
            api: API.name(),
            reason: format!("it is numbered {}, not {correlation_id}", header.correlation_id),
        });
    }
    // A broker that does not know the version answers in the oldest one, because it cannot know what this client reads.
    let unknown = frame.starts_with(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
    decode_message(frame, if unknown { 0 } else { version }).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::api_versions::ApiVersion;

    fn told(api: ApiKey, min_version: i16, max_version: i16) -> Versions {
        Versions::new(&ApiVersionsResponse {
            api_keys: vec![
                ApiVersion {
                    api_key: api.code(),
                    min_version,
                    max_version,
                },
                ApiVersion {
                    api_key: 9999,
                    min_version: 0,
                    max_version: 9,
                },
            ],
            ..Default::default()
        })
    }

    #[test]
    fn the_common_range_is_what_both_speak() {
        assert_eq!(told(ApiKey::Produce, 0, 7).common(ApiKey::Produce), Some((3, 7)));
        assert_eq!(told(ApiKey::Fetch, 4, 99).common(ApiKey::Fetch), Some((4, 18)));
        assert_eq!(told(ApiKey::Produce, 0, 2).common(ApiKey::Produce), None);
        assert_eq!(told(ApiKey::Produce, 14, 15).common(ApiKey::Produce), None);
        assert_eq!(told(ApiKey::Produce, 5, 4).common(ApiKey::Produce), None);
        assert_eq!(told(ApiKey::Fetch, 4, 18).common(ApiKey::Produce), None);
        assert_eq!(told(ApiKey::EndTxn, 0, 5).common(ApiKey::EndTxn), Some((0, 4)));
    }
}
