//! Built-in clusters: as a process of their own, to be killed and started again, and within the test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use heliostat_broker::{Cluster, ClusterConfig};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::ports::Ports;
use super::process::{Process, temp_dir};
use super::{daemon, http, wait_for};

/// How long it may take until it listens, on a machine that compiles beside it.
const START: Duration = Duration::from_secs(30);
/// How long a clean end may take.
const END: Duration = Duration::from_secs(30);

/// A `heliostat broker` of one's own. Dropping it kills it and deletes its data.
#[derive(Debug)]
pub struct BuiltIn {
    brokers: u16,
    arguments: Vec<String>,
    process: Process,
    directory: TempDir,
    ports: Ports,
}

impl BuiltIn {
    /// Starts a cluster of `brokers` nodes with further arguments to `heliostat broker`, and waits until it listens.
    #[track_caller]
    pub fn start(brokers: u16, arguments: &[&str]) -> BuiltIn {
        let directory = temp_dir("built-in");
        let ports = Ports::reserve(brokers);
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = run(&ports, brokers, &arguments, directory.path());
        let mut built_in = BuiltIn {
            brokers,
            arguments,
            process,
            directory,
            ports,
        };
        built_in.wait_listening();
        built_in
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> String {
        self.ports.address().to_string()
    }

    /// Its first port.
    pub fn port(&self) -> u16 {
        self.ports.port(0)
    }

    /// The directory of its data.
    pub fn data(&self) -> PathBuf {
        data(self.directory.path())
    }

    /// The process itself: its id, kill -9, SIGSTOP and SIGCONT.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait(END)
    }

    /// Starts it again after its end, on the same ports with the same data.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.ended().is_some(), "it still runs");
        self.process = run(&self.ports, self.brokers, &self.arguments, self.directory.path());
        self.wait_listening();
    }

    #[track_caller]
    fn wait_listening(&mut self) {
        for index in 0..self.brokers {
            let address = super::ports::loopback(self.ports.port(index));
            wait_for(
                START,
                &format!("the built-in cluster listens at {address}"),
                || {
                    if let Some(status) = self.process.ended() {
                        panic!(
                            "it ended ({status}) before it listened:\n{}",
                            self.process.stderr_tail()
                        );
                    }
                    http::connects(address)
                        .map_err(|error| format!("{error}\n{}", self.process.stderr_tail()))
                },
            );
        }
    }
}

fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn run(ports: &Ports, brokers: u16, arguments: &[String], directory: &Path) -> Process {
    let mut command = daemon::binary();
    command.arg("broker").args([
        "--port",
        &ports.port(0).to_string(),
        "--brokers",
        &brokers.to_string(),
    ]);
    command
        .arg("--data")
        .arg(data(directory))
        .args(arguments)
        .current_dir(directory);
    Process::start("broker", command, directory)
}

/// A built-in cluster within the test, on a runtime of its own. Dropping it ends it.
pub struct InProcess {
    cluster: Option<Cluster>,
    runtime: Option<Runtime>,
    bootstrap: String,
    own_data: Option<TempDir>,
    _ports: Ports,
}

impl InProcess {
    /// Starts a cluster of `brokers` nodes with these broker properties, and data that ends with it.
    #[track_caller]
    pub fn start(brokers: u16, properties: &[(&str, &str)]) -> InProcess {
        let data = temp_dir("in-process");
        let mut cluster = InProcess::start_in(brokers, properties, data.path());
        cluster.own_data = Some(data);
        cluster
    }

    /// The same with data that stays, at this place.
    #[track_caller]
    pub fn start_in(brokers: u16, properties: &[(&str, &str)], data: &Path) -> InProcess {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.expect("build a runtime");
        let ports = Ports::reserve(brokers);
        let properties: BTreeMap<String, String> = properties
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let config = ClusterConfig {
            port: ports.port(0),
            brokers,
            data: Some(data.to_path_buf()),
            properties,
            ..ClusterConfig::default()
        };
        // On a thread of the runtime, because the test itself may be running on another one.
        let started = std::thread::scope(|scope| {
            scope
                .spawn(|| runtime.block_on(Cluster::start(config)))
                .join()
                .expect("the start does not panic")
        });
        let cluster = started.unwrap_or_else(|error| panic!("start a built-in cluster: {error}"));
        let bootstrap = cluster.bootstrap_servers();
        InProcess {
            cluster: Some(cluster),
            runtime: Some(runtime),
            bootstrap,
            own_data: None,
            _ports: ports,
        }
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    /// A clean end, after which the data is complete on disk.
    pub fn stop(mut self) {
        let (Some(cluster), Some(runtime)) = (self.cluster.take(), self.runtime.take()) else {
            return;
        };
        std::thread::scope(|scope| {
            scope
                .spawn(|| runtime.block_on(cluster.shutdown(END)))
                .join()
                .expect("the end does not panic");
        });
        runtime.shutdown_background();
    }

    /// The cluster's own handle.
    pub fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("it is taken only on drop")
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // Without its clean end: its files go with it.
        drop(self.cluster.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
