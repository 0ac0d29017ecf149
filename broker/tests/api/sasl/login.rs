//! Logging in with the SASL mechanisms.

use bytes::Bytes;
use heliostat_wire::{
    ErrorCode,
    message::{ApiVersionsRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest},
};
use tokio::io::AsyncWriteExt;

use super::scram::Scram;
use crate::client::Client;

impl Scram<'_> {
    /// Logs in with requests; the last answer.
    pub async fn login(&self, client: &mut Client) -> SaslAuthenticateResponse {
        handshake(client, self.hash.mechanism()).await;
        let first = send_token(client, self.first().as_bytes()).await;
        assert_eq!(first.error_code, 0, "{:?}", first.error_message);
        let challenge = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
        let (last, expected) = self.last(&challenge);
        let response = send_token(client, last.as_bytes()).await;
        if response.error_code == 0 {
            assert_eq!(
                response.auth_bytes,
                expected.as_bytes(),
                "the server has to prove itself too"
            );
        }
        response
    }

    /// Logs in with tokens without headers (SaslHandshake version 0).
    pub async fn login_bare(&self, client: &mut Client) {
        let request = SaslHandshakeRequest {
            mechanism: self.hash.mechanism().to_owned(),
        };
        assert_eq!(client.send_version(&request, 0).await.error_code, 0);
        write_bare(client, self.first().as_bytes()).await;
        let challenge = client.read_frame().await.unwrap();
        let (last, expected) = self.last(std::str::from_utf8(&challenge).unwrap());
        write_bare(client, last.as_bytes()).await;
        assert_eq!(client.read_frame().await.unwrap(), expected.as_bytes());
    }
}

/// Asks for the versions and for a mechanism that there is.
pub async fn handshake(client: &mut Client, mechanism: &str) {
    assert_eq!(
        client
            .send_version(&ApiVersionsRequest::default(), 2)
            .await
            .error_code,
        0
    );
    let request = SaslHandshakeRequest {
        mechanism: mechanism.to_owned(),
    };
    let response = client.send(&request).await;
    assert_eq!(ErrorCode::from_code(response.error_code), ErrorCode::None);
}

/// Sends a token in a request of the newest version.
pub async fn send_token(client: &mut Client, token: &[u8]) -> SaslAuthenticateResponse {
    let auth_bytes = Bytes::copy_from_slice(token);
    client.send(&SaslAuthenticateRequest { auth_bytes }).await
}

/// Sends a token without a header.
pub async fn write_bare(client: &mut Client, token: &[u8]) {
    let size = (token.len() as i32).to_be_bytes();
    client
        .stream
        .write_all(&[&size[..], token].concat())
        .await
        .unwrap();
}

/// Logs in with PLAIN.
pub async fn plain(client: &mut Client, user: &str, password: &str) -> SaslAuthenticateResponse {
    handshake(client, "PLAIN").await;
    send_token(client, format!("\0{user}\0{password}").as_bytes()).await
}
