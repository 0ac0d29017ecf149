//! What can be seen of a mirror while a cluster is away: metrics, status, readiness, the command line.

use heliostat::observe::status::{State, Status};

use super::{FLOW, Pair, QUICK_GROUPS, TOPIC, topology, wait_flow, wait_mirrored};
use crate::support::built_in::BuiltIn;
use crate::support::daemon::{Daemon, heliostat};
use crate::support::wait_for;

/// Runs `heliostat status` on the daemon's file; returns its exit code, standard output and standard error.
#[track_caller]
fn status(daemon: &Daemon, options: &[&str]) -> (Option<i32>, String, String) {
    let file = daemon.topology().to_str().expect("a path that is UTF-8");
    let output = heliostat(&[&["status", file], options].concat(), None);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn status_json(daemon: &Daemon) -> Status {
    let (code, stdout, stderr) = status(daemon, &["-o", "json"]);
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
}

/// A metric of the flow.
#[track_caller]
fn metric(daemon: &Daemon, name: &str) -> f64 {
    let series = format!("heliostat_{name}{{flow=\"{FLOW}\",source=\"source\",target=\"target\"}}");
    daemon
        .metric(&series)
        .unwrap_or_else(|| panic!("no {series} in {}", daemon.get("/metrics").body))
}

#[track_caller]
fn reachable(daemon: &Daemon, cluster: &str) -> f64 {
    let series = format!("heliostat_cluster_reachable{{cluster=\"{cluster}\"}}");
    daemon
        .metric(&series)
        .unwrap_or_else(|| panic!("no {series} in {}", daemon.get("/metrics").body))
}

#[test]
fn a_source_that_is_away_shows_as_an_unknown_growing_lag_everywhere_and_leaves_the_daemon_ready() {
    let mut pair = Pair::start(1);
    let mut daemon = Daemon::start(&pair.topology());
    let load = pair.load(500);
    wait_mirrored(&pair.target(), 500);
    wait_flow(&mut daemon, "the lag is known", |flow| {
        flow.lag.known && flow.is_healthy()
    });
    assert_eq!(
        (metric(&daemon, "flow_lag_known"), reachable(&daemon, "source")),
        (1.0, 1.0)
    );
    pair.source.process().kill();
    wait_flow(&mut daemon, "the lag is unknown", |flow| {
        flow.state == State::Waiting && !flow.lag.known
    });
    assert_eq!(
        (metric(&daemon, "flow_lag_known"), reachable(&daemon, "source")),
        (0.0, 0.0)
    );
    assert_eq!(reachable(&daemon, "target"), 1.0);
    let before = metric(&daemon, "flow_lag_seconds");
    wait_for(super::LIMIT, "the lag grows", || {
        let now = metric(&daemon, "flow_lag_seconds");
        if now > before + 1.0 {
            Ok(())
        } else {
            Err(format!("{before}, then {now}"))
        }
    });
    assert_eq!(daemon.get("/readyz").status, 200);
    assert_eq!(daemon.get("/livez").status, 200);
    let (code, table, _) = status(&daemon, &[]);
    assert_eq!(code, Some(0));
    assert!(
        table.contains("source is away") && table.contains("waiting"),
        "{table}"
    );
    let seen = status_json(&daemon);
    let flow = &seen.flows[0];
    assert!(!flow.lag.known && flow.lag.seconds > before, "{flow:?}");
    assert!(
        seen.clusters
            .iter()
            .any(|cluster| cluster.alias == "source" && !cluster.reachable)
    );
    let (code, _, complaint) = status(&daemon, &["--check"]);
    assert_eq!(code, Some(8), "{complaint}");
    assert!(complaint.contains(FLOW), "{complaint}");
    pair.source.restart();
    wait_flow(&mut daemon, "the lag is known again", |flow| {
        flow.lag.known && flow.is_healthy()
    });
    pair.finish(load, &daemon).verdict.expect_exact();
    assert_eq!(status(&daemon, &["--check"]).0, Some(0));
}

#[test]
fn a_target_that_is_away_makes_the_daemon_not_ready_and_the_lag_grow() {
    let mut pair = Pair::start(1);
    let mut daemon = Daemon::start(&pair.topology());
    let load = pair.load(500);
    wait_mirrored(&pair.target(), 500);
    pair.target.process().kill();
    let flow = wait_flow(&mut daemon, "the flow waits for its target", |flow| {
        flow.state == State::Waiting
            && flow
                .reason
                .as_ref()
                .is_some_and(|reason| reason.contains("target is away"))
    });
    // The source is there: how much is missing is known.
    assert!(flow.lag.known, "{flow:?}");
    let more = flow.lag.records + 500;
    wait_flow(&mut daemon, "the lag grows", |flow| {
        flow.lag.known && flow.lag.records > more
    });
    let ready = daemon.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("target"), "{}", ready.body);
    assert_eq!(daemon.get("/livez").status, 200);
    assert_eq!(reachable(&daemon, "target"), 0.0);
    assert!(metric(&daemon, "flow_lag_records") > 500.0);
    let (code, table, _) = status(&daemon, &[]);
    assert_eq!(code, Some(0));
    assert!(table.contains("target is away"), "{table}");
    pair.target.restart();
    daemon.wait_ready();
    pair.finish(load, &daemon).verdict.expect_complete();
}

#[test]
fn without_a_daemon_the_clusters_tell_the_status_and_which_of_them_is_away() {
    let (source, proxy) = BuiltIn::start_behind(&[]);
    let pair = Pair::of(source, BuiltIn::start(1, QUICK_GROUPS), 2);
    let mut daemon = Daemon::start(&topology(&proxy.address().to_string(), &pair.target.bootstrap()));
    let load = pair.load(500);
    wait_mirrored(&pair.target(), 500);
    assert_eq!(daemon.stop(super::LIMIT).code(), Some(0));
    load.stop();
    let ends = pair.source().end_offsets(TOPIC);
    let seen = status_json(&daemon);
    let flow = &seen.flows[0];
    let positions: Vec<i64> = flow
        .partitions
        .iter()
        .filter_map(|partition| partition.position)
        .collect();
    assert_eq!(positions.len(), 2, "{flow:?}");
    let missing: i64 = ends.iter().sum::<i64>() - positions.iter().sum::<i64>();
    assert!(flow.lag.known, "{flow:?}");
    assert_eq!(i64::try_from(flow.lag.records), Ok(missing), "{flow:?}");
    assert!(
        flow.reason
            .as_ref()
            .is_some_and(|reason| reason.contains("no daemon")),
        "{flow:?}"
    );
    proxy.refuse();
    let (code, stdout, stderr) = status(&daemon, &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("the clusters are asked instead"), "{stderr}");
    assert!(stdout.contains("source"), "{stdout}");
    let seen = status_json(&daemon);
    assert!(!seen.flows[0].lag.known, "{seen:?}");
    // How far the mirror is stands on the target: that is what one wants to know when the source is lost.
    let on_record: Vec<i64> = seen.flows[0]
        .partitions
        .iter()
        .filter_map(|partition| partition.position)
        .collect();
    assert_eq!(on_record, positions, "{seen:?}");
    let source = seen.clusters.iter().find(|cluster| cluster.alias == "source");
    assert!(
        source.is_some_and(|source| !source.reachable && source.reason.is_some()),
        "{seen:?}"
    );
    assert_eq!(status(&daemon, &["--check"]).0, Some(8));
}
