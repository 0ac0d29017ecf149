//! Built-in clusters: as a process of their own, to be killed and started again, and within the test.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use heliostat_broker::{Cluster, ClusterConfig, Fault, FaultStatus};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::ports::Ports;
use super::process::{Process, temp_dir};
use super::proxy::Proxy;
use super::{daemon, http, wait_for};

/// How long it may take until it listens, on a machine that compiles beside it.
const START: Duration = Duration::from_secs(30);
/// How long a clean end may take.
const END: Duration = Duration::from_secs(30);
/// Where a cluster listens that has a line to it: another address of this machine, as long as the proxy's own.
const BEHIND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A `heliostat broker` of one's own. Dropping it kills it and deletes its data.
#[derive(Debug)]
pub struct BuiltIn {
    first: SocketAddr,
    brokers: u16,
    arguments: Vec<String>,
    process: Process,
    directory: TempDir,
    _ports: Option<Ports>,
}

impl BuiltIn {
    /// Starts a cluster of `brokers` nodes with further arguments to `heliostat broker`, and waits until it listens.
    #[track_caller]
    pub fn start(brokers: u16, arguments: &[&str]) -> BuiltIn {
        let ports = Ports::reserve(brokers);
        BuiltIn::start_at(ports.address(), brokers, arguments, Some(ports))
    }

    /// Starts a cluster of one node with a line to it. Clients that begin at the proxy stay on that line; those that
    /// begin at [`BuiltIn::bootstrap`] do not touch it.
    #[track_caller]
    pub fn start_behind(arguments: &[&str]) -> (BuiltIn, Proxy) {
        let proxy = Proxy::new();
        let own = SocketAddr::new(BEHIND, proxy.port());
        let built_in = BuiltIn::start_at(own, 1, arguments, None);
        proxy.stand_for(own);
        (built_in, proxy)
    }

    fn start_at(first: SocketAddr, brokers: u16, arguments: &[&str], ports: Option<Ports>) -> BuiltIn {
        let directory = temp_dir("built-in");
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = run(first, brokers, &arguments, directory.path());
        let mut built_in = BuiltIn {
            first,
            brokers,
            arguments,
            process,
            directory,
            _ports: ports,
        };
        built_in.wait_listening();
        built_in
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> String {
        self.first.to_string()
    }

    /// Its first port.
    pub fn port(&self) -> u16 {
        self.first.port()
    }

    /// From now on no file of it can be written beyond this many bytes, as on a disk that is full, or at 0 on one that
    /// takes nothing; `None` makes room again.
    #[track_caller]
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        let pid = i32::try_from(self.process.pid()).ok().and_then(Pid::from_raw);
        prlimit(pid, Resource::Fsize, limit).expect("limit the size of files");
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

    /// Kills it, or stops it as planned, and starts it again.
    #[track_caller]
    pub fn interrupt(&mut self, kill: bool) {
        if kill {
            self.process().kill();
        } else {
            assert!(self.stop().success());
        }
        self.restart();
    }

    /// Starts it again after its end, on the same ports with the same data.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.ended().is_some(), "it still runs");
        self.process = run(self.first, self.brokers, &self.arguments, self.directory.path());
        self.wait_listening();
    }

    #[track_caller]
    fn wait_listening(&mut self) {
        for index in 0..self.brokers {
            let address = SocketAddr::new(self.first.ip(), self.first.port() + index);
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

fn run(first: SocketAddr, brokers: u16, arguments: &[String], directory: &Path) -> Process {
    // Writing beyond a limit on file sizes shall be an error, as a full disk is, and not a signal that kills.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    let broker = daemon::binary();
    command.arg(broker.get_program());
    for (name, value) in broker.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .args(["broker", "--host", &first.ip().to_string()])
        .args(["--port", &first.port().to_string()])
        .args(["--brokers", &brokers.to_string()])
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

    /// Adds a fault, and tells its id.
    #[track_caller]
    pub fn add_fault(&self, fault: Value) -> u64 {
        let text = fault.to_string();
        let fault: Fault = serde_json::from_value(fault).unwrap_or_else(|error| panic!("{error}: {text}"));
        let added = self.cluster().control().add_fault(fault);
        added.unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What became of a fault that was added.
    #[track_caller]
    pub fn fault(&self, id: u64) -> FaultStatus {
        let faults = self.cluster().control().faults();
        let found = faults.into_iter().find(|fault| fault.id == id);
        found.unwrap_or_else(|| panic!("there is no fault {id}"))
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
