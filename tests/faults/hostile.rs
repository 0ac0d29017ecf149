//! Configurations that cannot work: the exit code that the help documents, and a message that says what to do.

use std::net::TcpListener;
use std::path::Path;

use crate::support::built_in::BuiltIn;
use crate::support::daemon::heliostat;
use crate::support::ports::Ports;
use crate::support::process::temp_dir;

/// Exit codes of `heliostat help`.
const USAGE: i32 = 2;
const PRECONDITION: i32 = 3;

/// Runs a command that must fail, and expects this exit code and each of these texts in its message.
#[track_caller]
fn fails(arguments: &[&str], code: i32, said: &[&str]) {
    let output = heliostat(arguments, None);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    for text in said {
        assert!(
            message.contains(text),
            "{arguments:?} does not say {text:?}: {message}"
        );
    }
    assert!(!message.contains("panicked"), "{message}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is UTF-8")
}

/// A topology with two built-in clusters.
fn built_in(http: u16, ports: (u16, u16), data: &Path) -> String {
    format!(
        "name: hostile\nlayout: active-standby\nprimary: a\nstandby: b\nclusters:\n  \
         a: {{ built_in: {{ port: {}, data: \"{}\" }} }}\n  \
         b: {{ built_in: {{ port: {} }} }}\n\
         http: {{ listen: \"127.0.0.1:{http}\" }}\n",
        ports.0,
        data.display(),
        ports.1
    )
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = temp_dir("hostile");
    let missing = directory.path().join("missing.yaml");
    let binary = directory.path().join("binary.yaml");
    std::fs::write(&binary, [0xff, 0xfe, 0, 1]).expect("write a file");
    for command in ["run", "check", "status"] {
        fails(&[command, text(&missing)], USAGE, &["missing.yaml"]);
        fails(&[command, text(&binary)], USAGE, &["binary.yaml"]);
        fails(
            &[command, text(directory.path())],
            USAGE,
            &[text(directory.path())],
        );
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_change() {
    let ports = Ports::reserve(3);
    let directory = temp_dir("hostile");
    let file = directory.path().join("t.yaml");
    let data = directory.path().join("data");
    let topology = built_in(ports.port(0), (ports.port(1), ports.port(2)), &data);
    std::fs::write(&file, topology).expect("write a topology");
    for (taken, change) in [(0, "http:"), (1, "port"), (2, "port")] {
        let address = format!("127.0.0.1:{}", ports.port(taken));
        let _taken = TcpListener::bind(&address).expect("take the port");
        fails(&["run", text(&file)], PRECONDITION, &[&address, change]);
    }
}

#[test]
fn data_that_another_process_uses_is_left_alone() {
    let running = BuiltIn::start(1, &[]);
    let ports = Ports::reserve(3);
    let data = running.data();
    let port = ports.port(1).to_string();
    let broker = ["broker", "--port", &port, "--data", text(&data)];
    fails(&broker, PRECONDITION, &[text(&data), "in use by another broker"]);
    let directory = temp_dir("hostile");
    let file = directory.path().join("t.yaml");
    let topology = built_in(ports.port(0), (ports.port(1), ports.port(2)), &data);
    std::fs::write(&file, topology).expect("write a topology");
    fails(
        &["run", text(&file)],
        PRECONDITION,
        &[text(&data), "in use by another broker"],
    );
}

#[test]
fn a_data_directory_that_cannot_be_made_or_written_is_named() {
    let directory = temp_dir("hostile");
    let ports = Ports::reserve(3);
    let port = ports.port(1).to_string();
    let occupied = directory.path().join("a-file");
    std::fs::write(&occupied, "").expect("write a file");
    // Not even root may make a directory there.
    for data in [occupied.join("data"), Path::new("/proc/heliostat").to_path_buf()] {
        let broker = ["broker", "--port", &port, "--data", text(&data)];
        fails(&broker, PRECONDITION, &[text(&data), "--data"]);
        let file = directory.path().join("t.yaml");
        let topology = built_in(ports.port(0), (ports.port(1), ports.port(2)), &data);
        std::fs::write(&file, topology).expect("write a topology");
        fails(&["run", text(&file)], PRECONDITION, &[text(&data), "data:"]);
    }
}
