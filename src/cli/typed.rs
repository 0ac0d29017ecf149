//! Values of arguments: what cannot be read is said with what to write.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A whole number of a type that knows no fractions.
pub(super) fn whole<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| match text.parse::<i128>() {
        // It is a number, and what is wrong with it the type knows.
        Ok(_) => error.to_string(),
        Err(_) => "write a whole number, such as 10".to_owned(),
    })
}

/// A port, or 0 for a free one.
pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "write a number from 0 to 65535, such as 19092".to_owned())
}

/// How many brokers a cluster has.
pub(super) fn brokers(text: &str) -> Result<u16, String> {
    let brokers = text.parse().ok().filter(|brokers| (1..=9).contains(brokers));
    brokers.ok_or_else(|| "write a number from 1 to 9".to_owned())
}

/// The id of a broker.
pub(super) fn broker(text: &str) -> Result<i32, String> {
    text.parse()
        .map_err(|_| "write the id of a broker, such as 1; heliostat cluster brokers lists them".to_owned())
}

/// An address to listen on.
pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        "write an IP address: 127.0.0.1 for this machine only, or 0.0.0.0 for all its addresses".to_owned()
    })
}

/// An address with a port to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write an IP address and a port, such as 127.0.0.1:8080".to_owned())
}

/// The name of a topic, as far as it can be wrong here.
pub(super) fn topic(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a topic has a name: write one, such as orders".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Why something is paused.
pub(super) fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("write why, or leave --reason out".to_owned()),
        _ => Ok(text.to_owned()),
    }
}
