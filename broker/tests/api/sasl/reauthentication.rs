//! Clients that have to say anew who they are (KIP-368).

use std::time::Instant;

use heliostat_broker::SaslMechanism;
use heliostat_wire::{
    ErrorCode,
    message::{MetadataRequest, SaslHandshakeRequest},
};

use super::{PASSWORD, login::plain, login::send_token, secured, works};
use crate::client::{Client, PATIENCE};

const LIFETIME: (&str, &str) = ("connections.max.reauth.ms", "400");
const AT_ONCE: (&str, &str) = ("connection.failed.authentication.delay.ms", "0");

async fn begin_again(client: &mut Client, mechanism: &str) -> i16 {
    let mechanism = mechanism.to_owned();
    client.send(&SaslHandshakeRequest { mechanism }).await.error_code
}

#[tokio::test]
async fn a_connection_is_good_for_as_long_as_its_client_was_told() {
    let cluster = secured(&[SaslMechanism::Plain], &[LIFETIME, AT_ONCE]).await;
    let mut client = Client::of(&cluster).await;
    let began = Instant::now();
    let response = plain(&mut client, "alice", PASSWORD).await;
    assert_eq!(response.session_lifetime_ms, 400);
    assert!(works(&mut client).await);
    assert_eq!(begin_again(&mut client, "PLAIN").await, 0);
    let response = send_token(&mut client, format!("\0alice\0{PASSWORD}").as_bytes()).await;
    assert_eq!((response.error_code, response.session_lifetime_ms), (0, 400));
    // Once a second is enough.
    assert_eq!(
        begin_again(&mut client, "PLAIN").await,
        ErrorCode::IllegalSaslState.code()
    );
    loop {
        client.write(&MetadataRequest::default(), 9).await;
        if client.read_frame().await.is_none() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the connection is good for ever");
        tokio::task::yield_now().await;
    }
    assert!(began.elapsed().as_millis() >= 400);
}

#[tokio::test]
async fn nobody_becomes_another_user() {
    let mechanisms = [SaslMechanism::Plain, SaslMechanism::ScramSha256];
    let cluster = secured(&mechanisms, &[("connections.max.reauth.ms", "60000"), AT_ONCE]).await;
    for (token, reason) in [
        ("\0bob\0bob-secret", "Cannot change principals"),
        ("\0alice\0wrong", "Invalid username or password"),
    ] {
        let mut client = Client::of(&cluster).await;
        plain(&mut client, "alice", PASSWORD).await;
        assert_eq!(begin_again(&mut client, "PLAIN").await, 0);
        let response = send_token(&mut client, token.as_bytes()).await;
        assert_eq!(response.error_code, ErrorCode::SaslAuthenticationFailed.code());
        assert!(response.error_message.unwrap().contains(reason));
        assert_eq!(client.read_frame().await, None);
    }
    let mut client = Client::of(&cluster).await;
    plain(&mut client, "alice", PASSWORD).await;
    assert_eq!(begin_again(&mut client, "PLAIN").await, 0);
    client.write(&MetadataRequest::default(), 9).await;
    assert!(client.read_frame().await.is_some(), "an answer that says so");
    assert_eq!(client.read_frame().await, None);
}
