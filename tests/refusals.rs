//! A group on the target that does not take the daemon.

use std::time::Duration;

use heliostat::observe::status::State;

use crate::support::built_in::BuiltIn;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::rec::Rec;
use crate::support::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

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
