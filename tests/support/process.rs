//! Child processes that end when the test does, however it ends.
//!
//! Dropping a [`Process`] kills it. A test binary that aborts, is killed, or holds a process in a static never drops
//! anything, so a small shell, the reaper, reads from a pipe which processes and directories there are: when the pipe
//! closes because its writer is gone, it kills and deletes what is left.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{wait_for, wait_until};

/// How long a process that was killed may take to be gone.
const GONE: Duration = Duration::from_secs(30);

/// A running child process, its output collected in files.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`. What it prints is appended to `name.stdout` and `name.stderr` in `directory`.
    pub fn start(name: &str, command: Command, directory: &Path) -> Process {
        Process::start_reading(name, command, Stdio::null(), directory)
    }

    /// The same with a standard input that is not empty.
    pub fn start_reading(name: &str, mut command: Command, input: Stdio, directory: &Path) -> Process {
        let stdout = directory.join(format!("{name}.stdout"));
        let stderr = directory.join(format!("{name}.stderr"));
        let open = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .expect("open an output file")
        };
        // A group of its own: Ctrl-C on the terminal is for the test, whose end then ends this.
        command
            .stdin(input)
            .stdout(open(&stdout))
            .stderr(open(&stderr))
            .process_group(0);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {name} ({command:?}): {error}"));
        reap(&format!("add {}", child.id()));
        Process {
            name: name.to_owned(),
            child,
            status: None,
            stdout,
            stderr,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it and its predecessors of the same name have printed to standard output.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it and its predecessors of the same name have printed to standard error.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// The end of standard error, for a message.
    pub fn stderr_tail(&self) -> String {
        let text = self.stderr();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("ask for the exit status");
            if self.status.is_some() {
                reap(&format!("del {}", self.child.id()));
            }
        }
        self.status
    }

    /// Waits for its end. Panics, with the end of its standard error, when it still runs after `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} has ended", self.name);
        wait_for(limit, &what, || self.ended().ok_or_else(|| self.stderr_tail()))
    }

    /// Sends a signal; does nothing when the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // The child has not been waited for, so this id is still its own.
            kill_process(Pid::from_child(&self.child), signal).expect("send a signal");
        }
    }

    /// Kill -9, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait(GONE);
    }

    /// SIGSTOP, and waits until it stands still.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        let pid = self.pid();
        wait_until(GONE, "the process stands still", || state_of(pid) == Some('T'));
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Not `self.kill()`: nothing in here may panic while a failed test unwinds.
            let _ = self.child.kill();
            let _ = self.child.wait();
            reap(&format!("del {}", self.child.id()));
        }
    }
}

/// A temporary directory that is deleted also when nothing is dropped any more.
pub fn temp_dir(name: &str) -> TempDir {
    let directory = tempfile::Builder::new()
        .prefix(&format!("heliostat-{name}-"))
        .tempdir();
    let directory = directory.expect("create a temporary directory");
    reap(&format!("dir {}", directory.path().display()));
    directory
}

fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The state letter of a process, where the system tells it as Linux does; 'T' means stopped.
fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything, also a closing bracket.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Reads lines `add PID`, `del PID` and `dir PATH`; at the end of its input it ends and deletes what is left.
const REAPER: &str = r#"
trap '' INT TERM HUP
pids=' ' dirs=''
while IFS=' ' read -r verb what; do
  case $verb in
    add) pids="$pids$what " ;;
    del) case $pids in *" $what "*) pids="${pids%%" $what "*} ${pids#*" $what "}" ;; esac ;;
    dir) dirs="$dirs$what
" ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
# A process that is still dying may still write.
for pid in $pids; do
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
done
printf %s "$dirs" | while read -r dir; do
  rm -rf "$dir" 2>/dev/null
done
"#;

fn reap(line: &str) {
    static REAPER_PIPE: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let pipe = REAPER_PIPE.get_or_init(|| {
        let mut command = Command::new("sh");
        command
            .args(["-c", REAPER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        #[expect(
            clippy::zombie_processes,
            reason = "it outlives this process, which is the point of it"
        )]
        let mut child = command.process_group(0).spawn().expect("start the reaper");
        Mutex::new(child.stdin.take().expect("the reaper's input is a pipe"))
    });
    let mut pipe: MutexGuard<'_, ChildStdin> = pipe.lock().unwrap_or_else(PoisonError::into_inner);
    // One write for a line: shorter than a pipe's buffer, so it arrives whole.
    let _ = pipe.write_all(format!("{line}\n").as_bytes());
}
