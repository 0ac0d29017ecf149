//! A status of every kind, as a person sees it.

use expect_test::{Expect, expect};

use super::*;
use crate::cli::text::visible_width;
use crate::observe::samples;
use crate::observe::status::{DeletedTopic, LeftOut};

const WIDE: Layout = Layout {
    width: 140,
    color: false,
    partitions: PARTITIONS_SHOWN,
};

fn check(status: &Status, expected: Expect) {
    expected.assert_eq(&(full(status, &Rates::default(), WIDE).join("\n") + "\n"));
}

#[test]
fn healthy() {
    check(
        &samples::healthy(),
        expect![[r#"
            two-datacenters  heliostat 0.1.0 (abc1234), running for 1 h 2 min

            CLUSTER  KIND      REACHABLE  BOOTSTRAP
            primary  built-in  yes        127.0.0.1:19092
            standby  built-in  yes        127.0.0.1:19192

            FLOW              STATE        FOR  PARTITIONS  LAG RECORDS  LAG TIME  COPIED
            primary->standby  caught-up  1 min           3            0       0 s   3,000

            primary->standby
              TOPIC     PARTITION  STATE        FOR  POSITION  SOURCE END  LAG RECORDS  LAG TIME
              orders            0  caught-up  1 min      1000        1000            0       0 s
              orders            1  caught-up  1 min      1000        1000            0       0 s
              payments          0  caught-up  1 min      1000        1000            0       0 s
        "#]],
    );
}

#[test]
fn lagging_with_a_rate() {
    let mut status = samples::lagging();
    let mut rates = Rates::default();
    rates.note(&status);
    status.at_ms += 2_000;
    status.flows[0].records_total += 5_000;
    rates.note(&status);
    expect![[r#"
        two-datacenters  heliostat 0.1.0 (abc1234), running for 1 h 2 min

        CLUSTER  KIND      REACHABLE  BOOTSTRAP
        primary  built-in  yes        127.0.0.1:19092
        standby  built-in  yes        127.0.0.1:19192

        FLOW              STATE    FOR  PARTITIONS  LAG RECORDS  LAG TIME  COPIED     RATE
        primary->standby  copying  4 s           3       12,345     1.7 s   8,000  2,500/s

        primary->standby
          TOPIC     PARTITION  STATE            FOR  POSITION  SOURCE END  LAG RECORDS  LAG TIME
          orders            1  copying          4 s      1000       13345       12,345     1.7 s
          orders            0  caught-up  1 min 2 s      1000        1000            0       0 s
          payments          0  caught-up  1 min 2 s      1000        1000            0       0 s
    "#]]
    .assert_eq(&(full(&status, &rates, WIDE).join("\n") + "\n"));
}

#[test]
fn source_unreachable() {
    check(
        &samples::source_unreachable(),
        expect![[r#"
            two-datacenters  heliostat 0.1.0 (abc1234), running for 1 h 2 min

            CLUSTER  KIND      REACHABLE  BOOTSTRAP        REASON
            primary  built-in  no         127.0.0.1:19092  connection refused
            standby  built-in  yes        127.0.0.1:19192

            FLOW              STATE     FOR  PARTITIONS               LAG RECORDS  LAG TIME  COPIED  ERRORS  REASON
            primary->standby  waiting  12 s           3  ≥ 120 (unknown for 12 s)      16 s   2,000       7  primary cannot be reached: connection refu…

            primary->standby
              TOPIC     PARTITION  STATE     FOR  POSITION  SOURCE END               LAG RECORDS  LAG TIME  REASON
              orders            0  waiting  12 s      1000        1120  ≥ 120 (unknown for 12 s)      16 s  primary cannot be reached: connection refus…
              orders            1  waiting  12 s      1000        1000          unknown for 12 s      12 s  primary cannot be reached: connection refus…
              payments          0  waiting  12 s         -           -          unknown for 12 s      12 s  primary cannot be reached: connection refus…

            REASONS IN FULL
              primary cannot be reached: connection refused
        "#]],
    );
}

#[test]
fn truncated_and_recreated() {
    check(
        &samples::truncated(),
        expect![[r#"
            two-datacenters  heliostat 0.1.0 (abc1234), running for 1 h 2 min

            CLUSTER  KIND      REACHABLE  BOOTSTRAP
            primary  built-in  yes        127.0.0.1:19092
            standby  built-in  yes        127.0.0.1:19192

            FLOW              STATE            FOR  PARTITIONS  LAG RECORDS    LAG TIME  COPIED  REASON
            primary->standby  recreated  2 h 3 min           3        5,000  1 min 30 s   3,000  payments was deleted and made again on primary

            primary->standby
              TOPIC     PARTITION  STATE      POSITION  SOURCE END  LAG RECORDS    LAG TIME  GAP RECORDS  REASON
              payments          0  recreated      1000        1000            0         0 s               payments was deleted and made again on primary
              orders            1  gap            1000        6000        5,000  1 min 30 s        4,000  offsets 1000 to 4999 were deleted on primary …
              orders            0  caught-up      1000        1000            0         0 s
              left out: standby.orders: it comes from standby, and would go back there

            REASONS IN FULL
              offsets 1000 to 4999 were deleted on primary before they were copied
        "#]],
    );
}

#[test]
fn many_partitions() {
    check(
        &samples::many(),
        expect![[r#"
            two-datacenters  heliostat 0.1.0 (abc1234), running for 1 h 2 min

            CLUSTER  KIND      REACHABLE  BOOTSTRAP
            primary  built-in  yes        127.0.0.1:19092
            standby  built-in  yes        127.0.0.1:19192

            FLOW              STATE      FOR  PARTITIONS  LAG RECORDS  LAG TIME   COPIED  REASON
            primary->standby  stalled  1 min         200          337      31 s  200,000  nothing was acknowledged by standby for 30 s

            primary->standby
              TOPIC   PARTITION  STATE        FOR  POSITION  SOURCE END  LAG RECORDS  LAG TIME  REASON
              clicks         42  stalled    1 min      1000        1000            9      31 s  nothing was acknowledged by standby for 30 s
              clicks        157  copying    1 min      1000        1157          157     0.3 s
              clicks        107  copying    1 min      1000        1107          107     0.3 s
              clicks         57  copying    1 min      1000        1057           57     0.3 s
              clicks          7  copying    1 min      1000        1007            7     0.3 s
              clicks          0  caught-up  1 min      1000        1000            0       0 s
              clicks          1  caught-up  1 min      1000        1000            0       0 s
              clicks          2  caught-up  1 min      1000        1000            0       0 s
              clicks          3  caught-up  1 min      1000        1000            0       0 s
              clicks          4  caught-up  1 min      1000        1000            0       0 s
              clicks          5  caught-up  1 min      1000        1000            0       0 s
              clicks          6  caught-up  1 min      1000        1000            0       0 s
              … and 188 more, all caught up
        "#]],
    );
}

#[test]
fn other_cases() {
    let mut status = samples::many();
    status.flows[0].left_out = (0..5)
        .map(|i| LeftOut {
            topic: format!("t{i}"),
            reason: "it would come back".into(),
        })
        .collect();
    for partition in &mut status.flows[0].partitions[..20] {
        partition.mine = false;
    }
    let layout = Layout {
        partitions: 3,
        ..WIDE
    };
    expect![[r#"
        two-datacenters  heliostat 0.1.0 (abc1234), running for 1 h 2 min

        CLUSTER  KIND      REACHABLE  BOOTSTRAP
        primary  built-in  yes        127.0.0.1:19092
        standby  built-in  yes        127.0.0.1:19192

        FLOW              STATE      FOR  PARTITIONS  LAG RECORDS  LAG TIME   COPIED  REASON
        primary->standby  stalled  1 min         200          337      31 s  200,000  nothing was acknowledged by standby for 30 s

        primary->standby
          TOPIC   PARTITION  STATE      FOR  POSITION  SOURCE END  LAG RECORDS  LAG TIME  REASON
          clicks         42  stalled  1 min      1000        1000            9      31 s  nothing was acknowledged by standby for 30 s
          clicks        157  copying  1 min      1000        1157          157     0.3 s
          clicks        107  copying  1 min      1000        1107          107     0.3 s
          … and 197 more: 2 copying, 195 caught up
          left out: t0: it would come back
          left out: t1: it would come back
          left out: t2: it would come back
          left out: … and 2 more topics
    "#]]
    .assert_eq(&(full(&status, &Rates::default(), layout).join("\n") + "\n"));

    let nothing = Status {
        source: StatusSource::Clusters,
        name: "empty".into(),
        ..Status::default()
    };
    check(
        &nothing,
        expect![[r#"
            empty  the clusters themselves were asked


            no flows
        "#]],
    );
}

#[test]
fn narrow_terminals() {
    let mut all = String::new();
    for width in [100, 80, 60, 40, 20] {
        let layout = Layout { width, ..WIDE };
        all += &format!("{}\n", "=".repeat(width));
        all += &full(&samples::truncated(), &Rates::default(), layout)[6..].join("\n");
        all += "\n";
    }
    expect![[r#"
        ====================================================================================================
        FLOW              STATE      LAG RECORDS    LAG TIME  REASON
        primary->standby  recreated        5,000  1 min 30 s  payments was deleted and made again on primary

        primary->standby
          TOPIC     PARTITION  STATE      LAG RECORDS    LAG TIME  REASON
          payments          0  recreated            0         0 s  payments was deleted and made again on p…
          orders            1  gap              5,000  1 min 30 s  offsets 1000 to 4999 were deleted on pri…
          orders            0  caught-up            0         0 s
          left out: standby.orders: it comes from standby, and would go back there

        REASONS IN FULL
          offsets 1000 to 4999 were deleted on primary before they were copied
        ================================================================================
        FLOW              STATE      LAG RECORDS
        primary->standby  recreated        5,000

        primary->standby
          TOPIC     PARTITION  STATE      REASON
          payments          0  recreated  payments was deleted and made again on primary
          orders            1  gap        offsets 1000 to 4999 were deleted on primary …
          orders            0  caught-up
          left out: standby.orders: it comes from standby, and would go back there

        REASONS IN FULL
          offsets 1000 to 4999 were deleted on primary before they were copied
        ============================================================
        FLOW              STATE      LAG RECORDS
        primary->standby  recreated        5,000

        primary->standby
          TOPIC     STATE
          payments  recreated
          orders    gap
          orders    caught-up
          left out: standby.orders: it comes from standby, and woul…

        REASONS IN FULL
          payments was deleted and made again on primary
          offsets 1000 to 4999 were deleted on primary before they
          were copied
        ========================================
        FLOW              STATE      LAG RECORDS
        primary->standby  recreated        5,000

        primary->standby
          TOPIC     STATE
          payments  recreated
          orders    gap
          orders    caught-up
          left out: standby.orders: it comes fr…

        REASONS IN FULL
          payments was deleted and made again on
          primary
          offsets 1000 to 4999 were deleted on
          primary before they were copied
        ====================
        FLOW              ST
        primary->standby  re

        primary->standby
          TOPIC     STATE
          payments  recreate
          orders    gap
          orders    caught-u
          left out: standby…

        REASONS IN FULL
          payments was
          deleted and made
          again on primary
          offsets 1000 to
          4999 were deleted
          on primary before
          they were copied
    "#]]
    .assert_eq(&all);
}

#[test]
fn live_shows_flows_and_what_is_wrong() {
    let mut all = String::new();
    let mut two_reasons = samples::source_unreachable();
    two_reasons.flows[0].partitions[2].state = State::Quarantined;
    two_reasons.flows[0].partitions[2].reason = Some("standby refuses offset 17: RECORD_TOO_LARGE".into());
    for status in [
        samples::healthy(),
        samples::source_unreachable(),
        two_reasons,
        samples::truncated(),
        samples::many(),
    ] {
        all += &live(&status, &Rates::default(), Layout { width: 120, ..WIDE }, 20).join("\n");
        all += "\n\n";
    }
    let mut two_flows = samples::truncated();
    two_flows.flows.push(samples::healthy().flows.remove(0));
    two_flows.flows[1].name = "standby->primary".into();
    all += &live(&two_flows, &Rates::default(), Layout { width: 120, ..WIDE }, 20).join("\n");
    all += "\n\n";
    all += &live(&samples::truncated(), &Rates::default(), WIDE, 3).join("\n");
    expect![[r#"
        FLOW              STATE        FOR  PARTITIONS  LAG RECORDS  LAG TIME  COPIED
        primary->standby  caught-up  1 min           3            0       0 s   3,000

        FLOW              STATE                 LAG RECORDS  LAG TIME  COPIED  ERRORS  REASON
        primary->standby  waiting  ≥ 120 (unknown for 12 s)      16 s   2,000       7  primary cannot be reached: connection re…
        CLUSTER  KIND      REACHABLE  BOOTSTRAP        REASON
        primary  built-in  no         127.0.0.1:19092  connection refused

        FLOW              STATE                 LAG RECORDS  LAG TIME  COPIED  ERRORS  REASON
        primary->standby  waiting  ≥ 120 (unknown for 12 s)      16 s   2,000       7  primary cannot be reached: connection re…
        CLUSTER  KIND      REACHABLE  BOOTSTRAP        REASON
        primary  built-in  no         127.0.0.1:19092  connection refused
          TOPIC     PARTITION  STATE                     LAG RECORDS  LAG TIME  REASON
          payments          0  quarantined          unknown for 12 s      12 s  standby refuses offset 17: RECORD_TOO_LARGE
          orders            0  waiting      ≥ 120 (unknown for 12 s)      16 s  primary cannot be reached: connection refused
          orders            1  waiting              unknown for 12 s      12 s  primary cannot be reached: connection refused

        FLOW              STATE            FOR  LAG RECORDS    LAG TIME  COPIED  REASON
        primary->standby  recreated  2 h 3 min        5,000  1 min 30 s   3,000  payments was deleted and made again on primary
          TOPIC     PARTITION  STATE      LAG RECORDS    LAG TIME  GAP RECORDS  REASON
          payments          0  recreated            0         0 s               payments was deleted and made again on primary
          orders            1  gap              5,000  1 min 30 s        4,000  offsets 1000 to 4999 were deleted on primary be…

        FLOW              STATE      FOR  PARTITIONS  LAG RECORDS  LAG TIME   COPIED  REASON
        primary->standby  stalled  1 min         200          337      31 s  200,000  nothing was acknowledged by standby for 3…

        FLOW              STATE            FOR  LAG RECORDS    LAG TIME  COPIED  REASON
        primary->standby  recreated  2 h 3 min        5,000  1 min 30 s   3,000  payments was deleted and made again on primary
        standby->primary  caught-up      1 min            0         0 s   3,000
        primary->standby
          TOPIC     PARTITION  STATE      LAG RECORDS    LAG TIME  GAP RECORDS  REASON
          payments          0  recreated            0         0 s               payments was deleted and made again on primary
          orders            1  gap              5,000  1 min 30 s        4,000  offsets 1000 to 4999 were deleted on primary be…

        FLOW              STATE            FOR  PARTITIONS  LAG RECORDS    LAG TIME  COPIED  REASON
        primary->standby  recreated  2 h 3 min           3        5,000  1 min 30 s   3,000  payments was deleted and made again on primary
        … 3 more lines; `heliostat status` shows all"#]]
    .assert_eq(&all);
}

#[test]
fn a_flow_in_one_line() {
    let mut lines = Vec::new();
    for status in [
        samples::healthy(),
        samples::lagging(),
        samples::source_unreachable(),
        samples::truncated(),
    ] {
        lines.push(flow_line(&status.flows[0], status.at_ms));
    }
    expect![[r#"
        flow primary->standby: caught-up
        flow primary->standby: copying, 12,345 records behind, 1.7 s
        flow primary->standby: waiting, lag unknown for 12 s, at least 120 records, 16 s: primary cannot be reached: connection refused
        flow primary->standby: recreated, 5,000 records behind, 1 min 30 s: payments was deleted and made again on primary
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn one_record_is_not_several() {
    let mut status = samples::lagging();
    let flow = &mut status.flows[0];
    flow.lag.records = 1;
    assert_eq!(
        flow_line(flow, status.at_ms),
        "flow primary->standby: copying, 1 record behind, 1.7 s"
    );
}

#[test]
fn left_out_topics_stand_under_their_own_flow() {
    let mut status = samples::healthy();
    let mut back = status.flows[0].clone();
    back.name = "standby->primary".into();
    back.partitions.clear();
    back.left_out = samples::truncated().flows[0].left_out.clone();
    status.flows.push(back);
    let lines = full(&status, &Rates::default(), WIDE);
    expect![[r#"
        primary->standby
          TOPIC     PARTITION  STATE        FOR  POSITION  SOURCE END  LAG RECORDS  LAG TIME
          orders            0  caught-up  1 min      1000        1000            0       0 s
          orders            1  caught-up  1 min      1000        1000            0       0 s
          payments          0  caught-up  1 min      1000        1000            0       0 s

        standby->primary
          left out: standby.orders: it comes from standby, and would go back there
    "#]]
    .assert_eq(&(lines[lines.len() - 8..].join("\n") + "\n"));
}

#[test]
fn what_is_cut_on_a_narrow_terminal_shows_it() {
    let layout = Layout { width: 50, ..WIDE };
    for color in [false, true] {
        let lines = full(
            &samples::truncated(),
            &Rates::default(),
            Layout { color, ..layout },
        );
        for start in ["two-datacenters", "left out:"] {
            let line = lines.iter().find(|line| line.contains(start)).unwrap();
            assert!(line.trim_end_matches("\x1b[0m").ends_with('…'), "{line:?}");
            assert_eq!(visible_width(line), layout.width, "{line:?}");
        }
    }
}

#[test]
fn a_cluster_that_is_not_built_in_is_existing() {
    let mut status = samples::healthy();
    status.clusters[0].built_in = false;
    let lines = full(&status, &Rates::default(), WIDE);
    assert!(lines[3].starts_with("primary  existing  yes"), "{lines:#?}");
}

#[test]
fn no_line_is_too_wide_in_any_layout() {
    for status in [
        samples::truncated(),
        samples::many(),
        samples::source_unreachable(),
    ] {
        for width in 0..160 {
            for color in [false, true] {
                let layout = Layout {
                    width,
                    color,
                    partitions: 5,
                };
                let lines = full(&status, &Rates::default(), layout);
                for line in lines.iter().chain(&live(&status, &Rates::default(), layout, 10)) {
                    assert!(visible_width(line) <= width, "{width}: {line:?}");
                    assert!(color || !line.contains('\x1b'), "{line:?}");
                }
            }
        }
    }
}

#[test]
fn a_reason_is_in_full_once_on_a_terminal_of_any_width() {
    let mut status = samples::truncated();
    let flow = &mut status.flows[0];
    let reason = "offsets 1000 to 4999 were deleted on primary before they were copied";
    assert!(
        flow.partitions
            .iter()
            .any(|partition| partition.reason.as_deref() == Some(reason))
    );
    flow.reason = Some(format!("orders-1 and 3 more: {reason}"));
    for width in 70..160 {
        let text = full(&status, &Rates::default(), Layout { width, ..WIDE }).join("\n");
        assert_eq!(text.matches(reason).count(), 1, "{width}:\n{text}");
    }
}

#[test]
fn topics_that_were_deleted_are_named() {
    let mut status = samples::healthy();
    status.flows[0].deleted = (0..7)
        .map(|i| DeletedTopic {
            topic: format!("t{i}"),
            target_topic: format!("primary.t{i}"),
            at_ms: samples::NOW_MS - 300_000,
            missing: i,
        })
        .collect();
    let lines = full(&status, &Rates::default(), WIDE);
    let lines: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| line.contains("deleted"))
        .map(|line| line.strip_prefix("  ").expect("it stands below its flow"))
        .collect();
    expect![[r#"
          deleted on primary: t6, 5 min ago; its mirror primary.t6 is kept, without 6 source offsets that were not copied yet
          deleted on primary: t5, 5 min ago; its mirror primary.t5 is kept, without 5 source offsets that were not copied yet
          deleted on primary: t4, 5 min ago; its mirror primary.t4 is kept, without 4 source offsets that were not copied yet
          deleted on primary: t3, 5 min ago; its mirror primary.t3 is kept, without 3 source offsets that were not copied yet
          deleted on primary: t2, 5 min ago; its mirror primary.t2 is kept, without 2 source offsets that were not copied yet
          deleted on primary: … and 2 more topics"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn names_from_outside_are_cleaned() {
    let mut status = samples::truncated();
    status.name = "\x1b[2Jname".into();
    status.version = "\x1b[2J".into();
    status.clusters[0].reason = Some("a\x1b]0;title\x07\r\nb".into());
    status.flows[0].name = "a\x1b[1m->b".into();
    status.flows[0].partitions[0].topic = "\x1b[31m".into();
    status.flows[0].left_out[0].topic = "\x1b[31m".into();
    for line in full(&status, &Rates::default(), WIDE) {
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
    assert!(!flow_line(&status.flows[0], 0).contains('\x1b'));
}
