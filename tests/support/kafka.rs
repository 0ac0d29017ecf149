//! Real Apache Kafka brokers, from the jars that `tests/kafka/kafka` fetches.
//!
//! Where Java or Maven is missing, a test that asks for a Kafka gets none and returns; a line on standard error says
//! so, because a skipped test must not look like a passed one. In CI (`CI` is set) it fails instead.

use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::ports::{Ports, loopback};
use super::process::{Process, temp_dir};
use super::{http, wait_for};

/// How long the jars may take to arrive.
const FETCH: Duration = Duration::from_secs(600);
/// How long a JVM may take until it listens, on a machine that compiles beside it.
const START: Duration = Duration::from_secs(120);
/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(60);
/// How long one of Kafka's tools may take.
const TOOL: Duration = Duration::from_secs(60);
/// One single-node KRaft cluster. Dropping it kills it and deletes its data.
#[derive(Debug)]
pub struct Kafka {
    name: String,
    properties: Vec<String>,
    jvm: Jvm,
    /// The id of its cluster, where it is one of several brokers.
    cluster_id: Option<&'static str>,
    // Dropped in this order: the process is gone when its files are deleted and its ports are given back.
    process: Option<Process>,
    directory: TempDir,
    ports: Ports,
}

/// What a broker's JVM is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jvm {
    /// A test: starts fast, needs little, works slowly.
    Test,
    /// A benchmark: Kafka's own choice of collector and compiler, and this heap, as `-Xmx` takes it.
    Benchmark(&'static str),
}

/// Two clusters that tests share.
#[derive(Debug)]
pub struct Pair {
    /// One.
    pub a: Kafka,
    /// The other.
    pub b: Kafka,
}

/// The pair of clusters for every test that only needs "a Kafka": started at the first call, in parallel, ended with
/// the test binary. A test keeps to topics and groups with unique names, and never stops or pauses these.
pub fn shared(test: &str) -> Option<&'static Pair> {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    available(test).then(|| PAIR.get_or_init(|| Pair::start("shared", &[])))
}

/// Whether Kafkas can be started here. If not: in CI this panics, elsewhere it says loudly that `test` is skipped.
pub fn available(test: &str) -> bool {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(|| match run(runner(&["fetch"]), FETCH) {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error),
    });
    let Some(missing) = missing else { return true };
    assert!(
        std::env::var_os("CI").is_none(),
        "{test} needs a real Kafka: {missing}"
    );
    // Not `eprintln!`, which the test harness swallows.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED {test}: it needs a real Kafka: {missing}"
    );
    false
}

impl Pair {
    /// Starts two clusters of one's own, in parallel. Only where [`available`].
    pub fn start(name: &str, properties: &[&str]) -> Pair {
        let start = |side| Kafka::start_with(&format!("{name}-{side}"), properties, Jvm::Test);
        thread::scope(|scope| {
            let a = scope.spawn(|| start("a"));
            let b = start("b");
            Pair {
                a: a.join().expect("start the first cluster"),
                b,
            }
        })
    }
}

impl Kafka {
    /// Starts a cluster with these broker properties (`key=value`) and waits until it answers; none where there is no
    /// Kafka to be had, see [`available`].
    pub fn start(test: &str, properties: &[&str]) -> Option<Kafka> {
        available(test).then(|| Kafka::start_with(test, properties, Jvm::Test))
    }

    /// The same with a JVM of one's choice. Only where [`available`].
    pub fn start_with(name: &str, properties: &[&str], jvm: Jvm) -> Kafka {
        // The third is for `behind`.
        let ports = Ports::reserve(3);
        let properties = properties.iter().map(|&property| property.to_owned()).collect();
        let directory = temp_dir(&format!("kafka-{name}"));
        let mut kafka = Kafka {
            name: name.to_owned(),
            properties,
            jvm,
            cluster_id: None,
            process: None,
            directory,
            ports,
        };
        kafka.restart();
        kafka
    }

    /// One cluster of several brokers with the ids from 1 on, each of them a controller too. Only where [`available`].
    pub fn start_several(name: &str, count: u16, properties: &[&str]) -> Vec<Kafka> {
        let ports: Vec<Ports> = (0..count).map(|_| Ports::reserve(2)).collect();
        let voters: Vec<String> = (1..)
            .zip(&ports)
            .map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.port(1)))
            .collect();
        let voters = voters.join(",");
        let prepared = (1..).zip(ports).map(|(id, ports)| {
            let own = [
                format!("node.id={id}"),
                format!("controller.quorum.voters={voters}"),
            ];
            Kafka {
                name: format!("{name}-{id}"),
                properties: own
                    .into_iter()
                    .chain(properties.iter().map(|&property| property.to_owned()))
                    .collect(),
                jvm: Jvm::Test,
                cluster_id: Some("3vH4zvhqQEmxbwtpu0bEpA"),
                process: None,
                directory: temp_dir(&format!("kafka-{name}-{id}")),
                ports,
            }
        });
        let mut brokers: Vec<Kafka> = prepared.collect();
        // None of them listens before most of them are there.
        thread::scope(|scope| {
            for broker in &mut brokers {
                scope.spawn(|| broker.restart());
            }
        });
        brokers
    }

    /// A cluster that clients reach through a proxy too: who connects to `proxy` is told to go on using `proxy`, which
    /// must pass connections on to [`Kafka::proxied`]. [`Kafka::bootstrap`] stays the direct way.
    pub fn start_behind(test: &str, proxy: u16, properties: &[&str]) -> Option<Kafka> {
        available(test).then(|| Kafka::start_behind_with(test, proxy, properties, Jvm::Test))
    }

    /// The same with a JVM of one's choice. Only where [`available`].
    pub fn start_behind_with(name: &str, proxy: u16, properties: &[&str], jvm: Jvm) -> Kafka {
        let ports = Ports::reserve(3);
        let (direct, controller, behind) = (ports.port(0), ports.port(1), ports.port(2));
        let mut all = vec![
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{direct},CONTROLLER://127.0.0.1:{controller},\
                 PROXIED://127.0.0.1:{behind}"
            ),
            format!("advertised.listeners=PLAINTEXT://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxy}"),
        ];
        all.extend(properties.iter().map(|&property| property.to_owned()));
        let directory = temp_dir(&format!("kafka-{name}"));
        let mut kafka = Kafka {
            name: name.to_owned(),
            properties: all,
            jvm,
            cluster_id: None,
            process: None,
            directory,
            ports,
        };
        kafka.restart();
        kafka
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> String {
        self.ports.address().to_string()
    }

    /// Where a proxy connects, for a cluster of [`Kafka::start_behind`].
    pub fn proxied(&self) -> std::net::SocketAddr {
        loopback(self.ports.port(2))
    }

    /// Its process id.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the broker runs").pid()
    }

    /// The directory of its log segments.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("broker").join("data")
    }

    /// What the broker has logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Kill -9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// A clean stop.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM);
            process.wait(STOP);
        }
    }

    /// Starts it again, on the same port with the same data, and waits until it answers.
    pub fn restart(&mut self) {
        self.stop();
        let mut command = runner(&["run"]);
        match self.jvm {
            Jvm::Test => command.env("KAFKA_HEAP", "256m").env("KAFKA_FAST", "1"),
            Jvm::Benchmark(heap) => command.env("KAFKA_HEAP", heap),
        };
        command
            .arg(self.directory.path().join("broker"))
            .arg(self.ports.port(0).to_string());
        command.args(&self.properties);
        if let Some(id) = self.cluster_id {
            command.env("KAFKA_CLUSTER_ID", id);
        }
        let mut process = Process::start("kafka", command, self.directory.path());
        let address = self.ports.address();
        wait_for(
            START,
            &format!("Kafka {} listens at {address}", self.name),
            || {
                if let Some(status) = process.ended() {
                    panic!(
                        "Kafka {} ended ({status}) before it listened: {}",
                        self.name,
                        process.stderr_tail()
                    );
                }
                http::connects(address).map_err(|error| format!("{error}\n{}", process.stderr_tail()))
            },
        );
        self.process = Some(process);
    }

    /// SIGSTOP: connections stay open, and nothing answers.
    pub fn pause(&mut self) {
        self.process.as_mut().expect("the broker runs").pause();
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.process.as_mut().expect("the broker runs").resume();
    }

    /// Runs one of Kafka's tools on this cluster, with `--bootstrap-server` put before `arguments`.
    #[track_caller]
    pub fn tool(&self, tool: &str, arguments: &[&str]) -> Output {
        let bootstrap = self.bootstrap();
        tool_on(tool, &[&["--bootstrap-server", &bootstrap], arguments].concat())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(process) = self.process.as_ref().filter(|_| thread::panicking()) {
            // Captured, so that it is shown with the failed test.
            eprintln!(
                "the log of Kafka {} ends with:\n{}",
                self.name,
                process.stderr_tail()
            );
        }
    }
}

/// Runs one of Kafka's tools, with a deadline; what it is to talk to is among the `arguments`. Only where [`available`].
#[track_caller]
pub fn tool_on(tool: &str, arguments: &[&str]) -> Output {
    tool_within(TOOL, tool, arguments)
}

/// The same with a deadline of one's own.
#[track_caller]
pub fn tool_within(limit: Duration, tool: &str, arguments: &[&str]) -> Output {
    let command = runner(&[&[tool], arguments].concat());
    run(command, limit).unwrap_or_else(|error| panic!("{tool} {arguments:?}: {error}"))
}

/// The same for a tool that reads `input` from its standard input.
#[track_caller]
pub fn tool_reading(tool: &str, arguments: &[&str], input: &str) -> Output {
    let mut file = tempfile::tempfile().expect("make a temporary file");
    file.write_all(input.as_bytes()).expect("write the input");
    file.rewind().expect("rewind the input");
    let command = runner(&[&[tool], arguments].concat());
    run_reading(command, file.into(), TOOL).unwrap_or_else(|error| panic!("{tool} {arguments:?}: {error}"))
}

/// A tool that goes on until it is killed. Only where [`available`].
pub fn tool_running(tool: &str, arguments: &[&str], directory: &Path) -> Process {
    Process::start(tool, runner(&[&[tool], arguments].concat()), directory)
}

/// Waits until a tool that goes on has printed exactly so many lines.
#[track_caller]
pub fn wait_lines(tool: &mut Process, lines: usize) {
    wait_for(TOOL, &format!("the tool has printed {lines} lines"), || {
        let printed = tool.stdout();
        if printed.lines().count() == lines {
            Ok(())
        } else {
            Err(printed + &tool.stderr())
        }
    });
}

/// A MirrorMaker 2 that runs the flows of `properties`, a file that it is given in `directory`. Only where [`available`].
pub fn mirror_maker(properties: &str, directory: &Path) -> Process {
    let path = directory.join("mm2.properties");
    std::fs::write(&path, properties).expect("write mm2.properties");
    let mut command = runner(&["mm2"]);
    command.arg(path);
    Process::start("mm2", command, directory)
}

fn runner(arguments: &[&str]) -> Command {
    let mut command = Command::new(super::KAFKA);
    command.args(arguments);
    command
}

/// Runs a command to its end, at most for `limit`, and collects what it prints.
fn run(command: Command, limit: Duration) -> Result<Output, String> {
    run_reading(command, Stdio::null(), limit)
}

fn run_reading(command: Command, input: Stdio, limit: Duration) -> Result<Output, String> {
    let directory = temp_dir("tool");
    let mut process = Process::start_reading("tool", command, input, directory.path());
    let started = Instant::now();
    while process.ended().is_none() {
        if started.elapsed() > limit {
            return Err(format!("did not end within {limit:?}: {}", process.stderr_tail()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    let status = process.wait(limit);
    Ok(Output {
        status,
        stdout: process.stdout().into_bytes(),
        stderr: process.stderr().into_bytes(),
    })
}
