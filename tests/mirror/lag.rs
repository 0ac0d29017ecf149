//! The lag of an idle mirror is zero, wherever one looks.

use std::time::{SystemTime, UNIX_EPOCH};

use heliostat::observe::status::{FlowStatus, Lag, State, Status};

use crate::support::built_in::BuiltIn;
use crate::support::clients::Producing;
use crate::support::daemon::{Daemon, heliostat};
use crate::support::mirrors::{CATCH_UP, FLOW, Pair, write_numbers};
use crate::support::ports::Ports;
use crate::support::rec::Rec;
use crate::support::{hold, wait_for, wait_until};

const NONE: Lag = Lag {
    known: true,
    records: 0,
    seconds: 0.0,
    unknown_since_ms: None,
    at_least: false,
};

/// The status as the command line prints it.
fn printed(daemon: &Daemon, more: &[&str]) -> Status {
    let file = daemon.topology().to_str().expect("a path in UTF-8");
    let arguments = [&["status", file, "-o", "json"], more].concat();
    let output = heliostat(&arguments, None);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn assert_idle(flow: &FlowStatus) {
    assert_eq!(
        (flow.name.as_str(), flow.lag, flow.state),
        (FLOW, NONE, State::CaughtUp),
        "{flow:?}"
    );
    assert_eq!(flow.partitions.len(), 4, "{flow:?}");
    for partition in &flow.partitions {
        assert_eq!(
            (partition.lag, partition.state),
            (NONE, State::CaughtUp),
            "{partition:?}"
        );
        assert_eq!(partition.position, Some(100), "{partition:?}");
        assert_eq!(partition.source_end, Some(100), "{partition:?}");
        assert_eq!(partition.target_position, Some(100), "{partition:?}");
    }
}

#[test]
fn an_idle_mirror_of_old_records_has_no_lag_in_status_metrics_and_on_the_command_line() {
    let pair = Pair::start();
    pair.primary.create_topic("old", 4, &[("retention.ms", "-1")]);
    let records: Vec<Rec> = (0..400)
        .map(|n| Rec::new(n % 4, None, Some(b"of 2001")).at(978_307_200_000))
        .collect();
    pair.primary.produce("old", &records, Producing::default());
    let daemon = Daemon::start(&pair.topology(""));
    pair.wait_mirrored("old");
    wait_for(CATCH_UP, "the daemon knows that it has caught up", || {
        let flow = daemon.flow(FLOW);
        if flow.lag == NONE {
            Ok(())
        } else {
            Err(format!("{flow:?}"))
        }
    });
    hold(std::time::Duration::from_secs(2), "the lag is 0", || {
        daemon.flow(FLOW).lag == NONE
    });
    assert_idle(&daemon.flow(FLOW));
    assert_eq!(daemon.flow(FLOW).records_total, 400);
    assert_idle(&printed(&daemon, &[]).flows[0]);
    // What the clusters say without the daemon: its last facts may be a second old.
    wait_for(CATCH_UP, "the offset map says so too", || {
        let status = printed(&daemon, &["--clusters"]);
        if status.flows[0].lag.records == 0 {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    });
    assert_idle(&printed(&daemon, &["--clusters"]).flows[0]);
    assert_metrics_are_idle(&daemon);
}

fn assert_metrics_are_idle(daemon: &Daemon) {
    let metrics = daemon.get("/metrics").body;
    for (name, count, expected) in [
        ("heliostat_flow_lag_records", 1, "0"),
        ("heliostat_flow_lag_seconds", 1, "0"),
        ("heliostat_flow_lag_known", 1, "1"),
        ("heliostat_flow_records_total", 1, "400"),
        ("heliostat_partition_lag_records", 4, "0"),
        ("heliostat_partition_lag_seconds", 4, "0"),
        ("heliostat_partition_lag_known", 4, "1"),
        ("heliostat_partition_position", 4, "100"),
        ("heliostat_partition_records_total", 4, "100"),
    ] {
        let series = format!("{name}{{");
        let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with(&series)).collect();
        assert_eq!(lines.len(), count, "{name} in {metrics}");
        for line in lines {
            assert!(line.ends_with(&format!(" {expected}")), "{line}");
        }
    }
}

#[test]
fn a_flow_with_nothing_to_mirror_is_caught_up_to_the_daemon_and_to_the_clusters() {
    let pair = Pair::start();
    // Its name says that it came from the target, so the flow leaves it out.
    pair.primary.create_topic("standby.orders", 1, &[]);
    let mut daemon = Daemon::start(&pair.topology(""));
    let seen = |flow: &FlowStatus| (flow.state, flow.reason.clone(), flow.lag);
    let nothing = (
        State::CaughtUp,
        Some("no topic on the source matches".into()),
        NONE,
    );
    wait_for(CATCH_UP, "the daemon has nothing to mirror", || {
        let flow = daemon.flow(FLOW);
        if seen(&flow) == nothing {
            Ok(())
        } else {
            Err(format!("{flow:?}"))
        }
    });
    let asked = ["--clusters", "--check"];
    assert_eq!(seen(&printed(&daemon, &asked).flows[0]), nothing);
    assert!(daemon.stop(CATCH_UP).success());
    assert_eq!(seen(&printed(&daemon, &asked).flows[0]), nothing);
    // What no daemon has seen yet is missing.
    pair.primary.create_topic("orders", 1, &[]);
    let flow = &printed(&daemon, &["--clusters"]).flows[0];
    assert_eq!((flow.state, flow.lag.known), (State::Waiting, false), "{flow:?}");
}

#[test]
fn the_lag_counts_what_is_not_copied_and_goes_back_to_zero() {
    let pair = Pair::start();
    pair.primary.create_topic("slow", 1, &[]);
    write_numbers(&pair.primary, "slow", 1, 0..1);
    let daemon = Daemon::start(&pair.topology("limits: { bytes_per_second: 20KB }"));
    pair.wait_mirrored("slow");
    // A batch is not cut for the sake of a limit: the second waits for as long as the first should have taken.
    let large = vec![Rec::new(0, None, Some(&[b'x'; 1_000])); 60];
    for _ in 0..3 {
        pair.primary.produce("slow", &large, Producing::default());
    }
    wait_for(CATCH_UP, "it is seconds behind", || {
        let flow = daemon.flow(FLOW);
        let behind = flow.state == State::Copying && flow.lag.records > 10 && flow.lag.seconds > 1.0;
        if behind && flow.lag.known {
            Ok(())
        } else {
            Err(format!("{:?}", flow.lag))
        }
    });
    pair.wait_mirrored("slow");
    wait_for(CATCH_UP, "it has caught up", || {
        let flow = daemon.flow(FLOW);
        if flow.lag == NONE {
            Ok(())
        } else {
            Err(format!("{flow:?}"))
        }
    });
}

#[test]
fn a_backlog_is_as_old_as_its_oldest_record_also_to_a_daemon_that_has_just_started_and_copies_nothing() {
    let pair = Pair::start();
    pair.primary.create_topic("late", 1, &[]);
    write_numbers(&pair.primary, "late", 1, 0..5);
    let mut daemon = Daemon::start(&pair.topology(""));
    pair.wait_mirrored("late");
    let file = daemon.topology().to_str().expect("a path in UTF-8").to_owned();
    assert!(heliostat(&["pause", &file], None).status.success());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let two_minutes_ago = since.as_millis() as i64 - 120_000;
    let records = vec![Rec::new(0, None, Some(b"of two minutes ago")).at(two_minutes_ago); 10];
    pair.primary.produce("late", &records, Producing::default());
    daemon.process().kill();
    daemon.restart();
    let late = |flow: &FlowStatus| flow.lag.known && flow.lag.records == 10;
    let mut first = None;
    let flow = wait_for(CATCH_UP, "it knows how old the backlog is", || {
        let flow = daemon.flow(FLOW);
        if !late(&flow) {
            return Err(format!("{flow:?}"));
        }
        first.get_or_insert(flow.lag);
        if flow.lag.at_least {
            Err(format!("{:?}", flow.lag))
        } else {
            Ok(flow)
        }
    });
    assert!((120.0..600.0).contains(&flow.lag.seconds), "{:?}", flow.lag);
    // Until then it has not claimed to know.
    let first = first.expect("a lag");
    assert!(first.at_least || first.seconds >= 120.0, "{first:?}");
    let shown = printed(&daemon, &["--clusters"]).flows.remove(0);
    assert!(shown.lag.seconds >= 120.0 && !shown.lag.at_least, "{shown:?}");
}

/// Whose alert is on the seconds alone hears of a source that was away when the daemon started.
#[test]
fn the_lag_behind_a_source_that_was_never_seen_grows() {
    let target = BuiltIn::start(1, &[]);
    let source = Ports::reserve(1);
    let topology = format!(
        "name: unseen\nlayout: active-standby\nclusters:\n  primary: {{ bootstrap_servers: \"{}\" }}\n  \
         standby: {{ bootstrap_servers: \"{}\" }}\nprimary: primary\nstandby: standby\n",
        source.address(),
        target.bootstrap()
    );
    let daemon = Daemon::spawn(&topology, &[]);
    let series =
        "heliostat_flow_lag_seconds{flow=\"primary->standby\",source=\"primary\",target=\"standby\"}";
    wait_until(CATCH_UP, "the daemon answers", || daemon.answers());
    wait_for(CATCH_UP, "the lag grows", || match daemon.metric(series) {
        Some(seconds) if seconds > 2.0 => Ok(()),
        seconds => Err(format!("it is {seconds:?}")),
    });
    let lag = daemon.flow(FLOW).lag;
    assert!(
        !lag.known && lag.at_least && lag.unknown_since_ms.is_some(),
        "{lag:?}"
    );
}
