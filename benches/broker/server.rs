//! Those who serve, behind one face: Apache Kafka and the built-in cluster.

use clap::ValueEnum;

use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::kafka::{self, Jvm, Kafka};
use crate::usage::{self, Usage};

/// A server and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One Apache Kafka with a heap of 1 GB.
    Kafka,
    /// One node with its defaults.
    Heliostat,
    /// One node that acknowledges as Kafka does, from the page cache.
    HeliostatOs,
}

/// A server at work. Dropping it ends it and deletes its data.
#[derive(Debug)]
pub enum Server {
    /// Apache Kafka.
    Kafka(Kafka),
    /// A `heliostat broker`.
    BuiltIn(BuiltIn),
}

impl Kind {
    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kafka => "Apache Kafka",
            Kind::Heliostat => "heliostat, defaults",
            Kind::HeliostatOs => "heliostat, page cache",
        }
    }

    /// Starts one without data. None where there is no Java for it.
    pub fn start(self) -> Option<Server> {
        let server = match self {
            Kind::Kafka if !kafka::available("the benchmark") => return None,
            Kind::Kafka => Server::Kafka(Kafka::start_with("bench", &[], Jvm::Benchmark("1g"))),
            Kind::Heliostat => Server::BuiltIn(BuiltIn::start(1, &[])),
            Kind::HeliostatOs => Server::BuiltIn(BuiltIn::start(1, PAGE_CACHE)),
        };
        Some(server)
    }
}

/// What makes a built-in cluster acknowledge from the page cache.
const PAGE_CACHE: &[&str] = &["--config", "log.flush.policy=os"];

impl Server {
    /// Where clients connect.
    pub fn bootstrap(&self) -> String {
        match self {
            Server::Kafka(kafka) => kafka.bootstrap(),
            Server::BuiltIn(built_in) => built_in.bootstrap(),
        }
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.bootstrap())
    }

    /// What its process has used so far.
    pub fn usage(&mut self) -> Usage {
        usage::of(match self {
            Server::Kafka(kafka) => kafka.pid(),
            Server::BuiltIn(built_in) => built_in.process().pid(),
        })
    }
}
