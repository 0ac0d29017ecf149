//! What the surroundings refuse: ports and directories that others have, a group that does not take the daemon.

use std::net::TcpListener;
use std::time::Duration;

use heliostat::observe::status::State;

use crate::support::built_in::BuiltIn;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::{Daemon, heliostat};
use crate::support::ports::Ports;
use crate::support::process::temp_dir;
use crate::support::rec::Rec;
use crate::support::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

/// Runs a topology of two built-in clusters which cannot start, and returns its exit code and its errors.
fn fails(ports: &Ports, data: &str, http: &str) -> (Option<i32>, String) {
    let directory = temp_dir("refusals");
    let topology = format!(
        "name: refused\nlayout: active-standby\nclusters:\n  \
         a: {{ built_in: {{ port: {}, data: \"{data}\" }} }}\n  \
         b: {{ built_in: {{ port: {} }} }}\n\
         primary: a\nstandby: b\nhttp: {{ listen: \"{http}\" }}\n",
        ports.port(0),
        ports.port(1)
    );
    let file = directory.path().join("topology.yaml");
    std::fs::write(&file, topology).expect("write the topology");
    let file = file.to_str().expect("a name in UTF-8");
    let output = heliostat(&["run", file], Some(directory.path()));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), errors)
}

#[test]
fn ports_and_directories_that_are_taken_are_named_and_exit_with_3() {
    let ports = Ports::reserve(3);
    let http = format!("127.0.0.1:{}", ports.port(2));
    let taken = TcpListener::bind(&http).expect("take the port");
    let (code, errors) = fails(&ports, "./a", &http);
    assert_eq!(code, Some(3), "{errors}");
    assert!(
        errors.contains(&http) && errors.contains("http: { listen: "),
        "{errors}"
    );
    drop(taken);

    let other = BuiltIn::start(1, &[]);
    let data = other.data();
    let (code, errors) = fails(&ports, data.to_str().expect("a name in UTF-8"), &http);
    assert_eq!(code, Some(3), "{errors}");
    assert!(
        errors.contains("built-in cluster a") && errors.contains("in use"),
        "{errors}"
    );

    let taken = TcpListener::bind(format!("127.0.0.1:{}", ports.port(1))).expect("take the port");
    let (code, errors) = fails(&ports, "./a", &http);
    assert_eq!(code, Some(3), "{errors}");
    assert!(
        errors.contains("built-in cluster b") && errors.contains("in the topology file"),
        "{errors}"
    );
    drop(taken);
}

#[test]
fn a_group_that_does_not_take_the_daemon_is_a_state_that_says_what_to_change() {
    let (source, target) = (BuiltIn::start(1, &[]), BuiltIn::start(1, &[]));
    let client = Client::new(source.bootstrap());
    client.create_topic("orders", 1, &[]);
    client.produce("orders", &[Rec::new(0, None, Some(b"v"))], Producing::default());
    let daemon = Daemon::start(&format!(
        "name: refused\nlayout: active-standby\nclusters:\n  \
         a: {{ bootstrap_servers: \"{}\" }}\n  b: {{ bootstrap_servers: \"{}\" }}\n\
         primary: a\nstandby: b\ndefaults: {{ session_timeout: 1s }}\n",
        source.bootstrap(),
        target.bootstrap()
    ));
    let reason = wait_for(LIMIT, "the flow says that it is refused", || {
        let flow = daemon.flow("a->b");
        match (flow.state, flow.reason) {
            (State::Stalled, Some(reason)) => Ok(reason),
            (state, reason) => Err(format!("{state:?}: {reason:?}")),
        }
    });
    assert!(
        reason.contains("group heliostat.a") && reason.contains("set session_timeout"),
        "{reason}"
    );
}
