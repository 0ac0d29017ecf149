//! Ports for servers under test: free now, and nobody else's until they are given back.
//!
//! A port from the range that the system hands to clients can be taken by any connection between two tries of a server
//! to bind it, so these lie below 32768. Test processes agree through lock files, which the system releases however a
//! process ends; everyone else is met by trying to bind.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::PathBuf;

use rand::RngExt as _;
use rustix::fs::{FlockOperation, flock};

const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;
const TRIES: usize = 10_000;

/// Consecutive ports on the loopback interface, kept until this is dropped.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    // Held for their locks.
    _locks: Vec<File>,
}

impl Ports {
    /// Reserves `count` consecutive ports.
    pub fn reserve(count: u16) -> Ports {
        let directory = lock_directory();
        let mut random = rand::rng();
        for _ in 0..TRIES {
            let first = random.random_range(FIRST..LAST - count);
            let locks: Option<Vec<File>> = (first..first + count)
                .map(|port| lock(&directory, port))
                .collect();
            if let Some(locks) = locks {
                return Ports { first, _locks: locks };
            }
        }
        panic!("found no {count} free ports between {FIRST} and {LAST}");
    }

    /// The port at `index`, counted from 0.
    pub fn port(&self, index: u16) -> u16 {
        self.first + index
    }

    /// The first port's address.
    pub fn address(&self) -> SocketAddr {
        loopback(self.first)
    }
}

/// `port` on the loopback interface.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

fn lock_directory() -> PathBuf {
    let directory = std::env::temp_dir().join("heliostat-test-ports");
    fs::create_dir_all(&directory).expect("create the directory of port locks");
    directory
}

fn lock(directory: &std::path::Path, port: u16) -> Option<File> {
    let path = directory.join(port.to_string());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    // A server may listen on every interface, which a bind to the loopback address alone would not meet.
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()?;
    Some(file)
}
