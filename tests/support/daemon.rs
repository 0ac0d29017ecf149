//! The `heliostat` binary as a child process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use heliostat::observe::status::{FlowStatus, Status};
use rustix::process::Signal;
use tempfile::TempDir;

use super::http::{self, Response};
use super::ports::Ports;
use super::process::{Process, temp_dir};
use super::wait_for;

/// How long it may take to be ready, on a machine that compiles beside it.
const READY: Duration = Duration::from_secs(60);
/// How long it may take to answer a request.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(60);

/// A running `heliostat run`. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    http: SocketAddr,
    topology: PathBuf,
    environment: Vec<(String, String)>,
    directory: TempDir,
    _ports: Ports,
}

impl Daemon {
    /// Writes `topology` to a file, starts `heliostat run` on it, and waits until it says that it is ready. The text
    /// has no `http:` of its own; a free port is put there.
    #[track_caller]
    pub fn start(topology: &str) -> Daemon {
        let mut daemon = Daemon::spawn(topology, &[]);
        daemon.wait_ready();
        daemon
    }

    /// The same with environment variables, and without waiting for anything.
    pub fn spawn(topology: &str, environment: &[(&str, &str)]) -> Daemon {
        let ports = Ports::reserve(1);
        let directory = temp_dir("daemon");
        let path = directory.path().join("topology.yaml");
        let http = ports.address();
        std::fs::write(&path, format!("{topology}\nhttp: {{ listen: \"{http}\" }}\n"))
            .expect("write a topology");
        let environment: Vec<(String, String)> = environment
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let process = run(&path, &environment, directory.path());
        Daemon {
            process,
            http,
            topology: path,
            environment,
            directory,
            _ports: ports,
        }
    }

    /// Starts it again, with the same file and port, after it has ended.
    #[track_caller]
    pub fn restart(&mut self) {
        self.respawn();
        self.wait_ready();
    }

    /// The same without waiting for anything.
    #[track_caller]
    pub fn respawn(&mut self) {
        assert!(self.process.ended().is_some(), "it still runs");
        self.process = run(&self.topology, &self.environment, self.directory.path());
    }

    /// Waits until `/readyz` answers 200.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        wait_for(READY, "the daemon is ready", || {
            if let Some(status) = self.process.ended() {
                panic!(
                    "the daemon ended ({status}) before it was ready:\n{}",
                    self.process.stderr_tail()
                );
            }
            match http::get(self.http, "/readyz", ANSWER) {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("/readyz answers {}: {}", answer.status, answer.body)),
                Err(error) => Err(format!("/readyz: {error}\n{}", self.process.stderr_tail())),
            }
        });
    }

    /// Waits until standard error contains `text`.
    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        wait_for(READY, &format!("the daemon logs {text:?}"), || {
            if self.log().contains(text) {
                Ok(())
            } else {
                Err(self.process.stderr_tail())
            }
        });
    }

    /// Where its HTTP server listens.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The topology file that it was started with; a test may rewrite it.
    pub fn topology(&self) -> &Path {
        &self.topology
    }

    /// A directory of its own for whatever the topology names.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Whether its HTTP server answers, whatever it says.
    pub fn answers(&self) -> bool {
        http::get(self.http, "/healthz", ANSWER).is_ok()
    }

    /// Asks its HTTP server.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        http::get(self.http, path, ANSWER)
            .unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.process.stderr_tail()))
    }

    /// Its status.
    #[track_caller]
    pub fn status(&self) -> Status {
        let answer = self.get("/api/v1/status");
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {}", answer.body))
    }

    /// The status of one flow.
    #[track_caller]
    pub fn flow(&self, name: &str) -> FlowStatus {
        let status = self.status();
        let flow = status.flows.iter().find(|flow| flow.name == name);
        flow.cloned()
            .unwrap_or_else(|| panic!("no flow {name} in {status:?}"))
    }

    /// The value of one series in `/metrics`, given as it is written there: `name{label="value"}`.
    #[track_caller]
    pub fn metric(&self, series: &str) -> Option<f64> {
        let answer = self.get("/metrics");
        let line = answer
            .body
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(
            line.trim()
                .parse()
                .unwrap_or_else(|error| panic!("{series} is {line:?}: {error}")),
        )
    }

    /// What it has logged since it was first started.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// What it has printed since it was first started.
    pub fn output(&self) -> String {
        self.process.stdout()
    }

    /// The process itself: its id, kill -9, SIGSTOP and SIGCONT.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGTERM, and waits until it has drained and ended.
    #[track_caller]
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait(limit)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Captured, so that it is shown with the failed test.
            eprintln!("the daemon's log ends with:\n{}", self.process.stderr_tail());
        }
    }
}

/// Runs `heliostat` with `arguments` to its end, in a directory of its own or in `directory`.
#[track_caller]
pub fn heliostat(arguments: &[&str], directory: Option<&Path>) -> Output {
    let own = temp_dir("command");
    let mut command = binary();
    command
        .args(arguments)
        .current_dir(directory.unwrap_or(own.path()));
    let mut process = Process::start("heliostat", command, own.path());
    let started = Instant::now();
    let status = process.wait(COMMAND.saturating_sub(started.elapsed()));
    Output {
        status,
        stdout: process.stdout().into_bytes(),
        stderr: process.stderr().into_bytes(),
    }
}

/// The binary under test, without arguments and deaf to the developer's environment.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heliostat"));
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

fn run(topology: &Path, environment: &[(String, String)], directory: &Path) -> Process {
    let mut command = binary();
    command.arg("run").arg(topology).current_dir(directory);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Process::start("heliostat", command, directory)
}
