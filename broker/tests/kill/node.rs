//! A cluster in a process of its own, which can be killed.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use heliostat_broker::{Cluster, ClusterConfig};

/// Names the data directory; its presence makes the test a child.
const DIRECTORY: &str = "HELIOSTAT_TEST_NODE_DIRECTORY";
const POLICY: &str = "HELIOSTAT_TEST_NODE_POLICY";
const LISTENING: &str = "listening on ";
const TEST: &str = "nothing_that_was_acknowledged_or_seen_is_lost_or_changed";

/// The process, and where it listens.
#[derive(Debug)]
pub struct Node {
    pub address: SocketAddr,
    process: Child,
}

/// Whether this process is one that was started by [`Node::start`].
pub fn is_child() -> bool {
    std::env::var_os(DIRECTORY).is_some()
}

/// Runs the cluster until the process is killed.
pub async fn serve() {
    let properties = BTreeMap::from([
        ("log.flush.policy".to_owned(), std::env::var(POLICY).unwrap()),
        // As often as it can be, so that checkpoints are written all the time.
        ("log.retention.check.interval.ms".to_owned(), "5".to_owned()),
        ("log.cleaner.backoff.ms".to_owned(), "5".to_owned()),
        // There is one member in a group, and no other to wait for.
        ("group.initial.rebalance.delay.ms".to_owned(), "0".to_owned()),
        (
            "transaction.abort.timed.out.transaction.cleanup.interval.ms".to_owned(),
            "20".to_owned(),
        ),
    ]);
    let cluster = Cluster::start(ClusterConfig {
        data: Some(PathBuf::from(std::env::var_os(DIRECTORY).unwrap())),
        properties,
        ..Default::default()
    })
    .await
    .unwrap();
    println!("{LISTENING}{}", cluster.bootstrap_servers());
    std::future::pending().await
}

impl Node {
    /// Starts a cluster on the directory, and waits until it listens.
    pub fn start(directory: &Path, policy: &str) -> Node {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(DIRECTORY, directory)
            .env(POLICY, policy)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut addresses = lines.map_while(Result::ok).filter_map(|line| {
            let (_, address) = line.split_once(LISTENING)?;
            address.parse().ok()
        });
        match addresses.next() {
            Some(address) => Node { address, process },
            None => panic!("the cluster does not start: {:?}", process.wait()),
        }
    }

    /// Ends the process at once, in the middle of whatever it does.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A process that has ended already is not an error.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
