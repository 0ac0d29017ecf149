//! Which topics have a mirror, what it is called, and how it is made.

use crate::support::built_in::InProcess;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::mirrors::{
    self, CATCH_UP, FLOW, LOOK_OFTEN, Pair, bootstrap, topics, wait_mirrored, write_numbers,
};
use crate::support::wait_for;

#[test]
fn each_naming_policy_gives_its_names() {
    let clusters = [(); 5].map(|()| InProcess::start(1, &[]));
    let [origin, dotted, dashed, same, framed] = clusters
        .each_ref()
        .map(|cluster| Client::new(cluster.bootstrap()));
    origin.create_topic("orders", 2, &[]);
    write_numbers(&origin, "orders", 2, 0..100);
    let [a, b, c, d, e] = [&origin, &dotted, &dashed, &same, &framed].map(bootstrap);
    let topology = format!(
        r#"
name: names
layout: custom
clusters:
  origin: {{ bootstrap_servers: "{a}" }}
  dotted: {{ bootstrap_servers: "{b}" }}
  dashed: {{ bootstrap_servers: "{c}" }}
  same: {{ bootstrap_servers: "{d}" }}
  framed: {{ bootstrap_servers: "{e}" }}
defaults: {{ {LOOK_OFTEN} }}
flows:
  - name: origin->dotted
  - {{ name: origin->dashed, naming: {{ policy: prefix, separator: "-" }} }}
  - {{ name: origin->same, naming: {{ policy: identity }} }}
  - {{ name: origin->framed, naming: {{ policy: template, template: "from_{{source}}.{{topic}}.to_{{target}}" }} }}
"#
    );
    let _daemon = Daemon::start(&topology);
    for (cluster, mirror) in [
        (&dotted, "origin.orders"),
        (&dashed, "origin-orders"),
        (&same, "orders"),
        (&framed, "from_origin.orders.to_framed"),
    ] {
        wait_mirrored(&origin, "orders", cluster, mirror);
        assert_eq!(topics(cluster), [mirror]);
    }
}

#[test]
fn patterns_decide_which_topics_have_a_mirror() {
    let pair = Pair::start();
    let all = [
        "orders",
        "orders.eu",
        "orders.test",
        "payments",
        "reorders",
        "x.internal",
    ];
    for topic in all {
        pair.primary.create_topic(topic, 1, &[]);
        write_numbers(&pair.primary, topic, 1, 0..10);
    }
    let topology = pair.topology(r#"topics: { include: ["orders.*", "pay.+"], exclude: [".*\\.test"] }"#);
    let daemon = Daemon::start(&topology);
    for topic in ["orders", "orders.eu", "payments"] {
        pair.wait_mirrored(topic);
    }
    // One that comes later shows that a whole further look was taken.
    pair.primary.create_topic("orders.late", 1, &[]);
    write_numbers(&pair.primary, "orders.late", 1, 0..10);
    pair.wait_mirrored("orders.late");
    assert_eq!(
        topics(&pair.standby),
        [
            "primary.orders",
            "primary.orders.eu",
            "primary.orders.late",
            "primary.payments"
        ]
    );
    let flow = daemon.flow(FLOW);
    let seen: Vec<&str> = flow
        .partitions
        .iter()
        .map(|partition| partition.topic.as_str())
        .collect();
    assert_eq!(seen, ["orders", "orders.eu", "orders.late", "payments"]);
}

#[test]
fn a_mirror_topic_is_made_like_its_source() {
    let pair = Pair::start();
    let taken_over = [
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "123456789"),
        ("retention.bytes", "987654321"),
        ("segment.bytes", "2097152"),
        ("max.message.bytes", "3000000"),
        ("min.compaction.lag.ms", "1000"),
        ("compression.type", "zstd"),
    ];
    let left_to_the_target = [
        ("min.insync.replicas", "1"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    let all: Vec<(&str, &str)> = taken_over.iter().chain(&left_to_the_target).copied().collect();
    pair.primary.create_topic("made", 7, &all);
    pair.primary.create_topic("plain", 2, &[]);
    write_numbers(&pair.primary, "made", 7, 0..70);
    let _daemon = Daemon::start(&pair.topology(""));
    mirrors::wait_ends(&pair.standby, "primary.made", &[10; 7]);
    mirrors::wait_ends(&pair.standby, "primary.plain", &[0; 2]);
    let made = pair.standby.topic_configs("primary.made");
    for (key, value) in taken_over {
        assert_eq!(made[key].as_deref(), Some(value), "{key}");
    }
    assert_eq!(made["message.timestamp.type"].as_deref(), Some("CreateTime"));
    assert_eq!(
        pair.standby.topic_configs("primary.plain"),
        pair.primary.topic_configs("plain")
    );
}

#[test]
fn a_mirror_whose_name_belongs_to_another_cluster_is_not_written_to() {
    let clusters = [(); 3].map(|()| InProcess::start(1, &[]));
    let [a, b, target] = clusters
        .each_ref()
        .map(|cluster| Client::new(cluster.bootstrap()));
    let flow = |source: &Client| {
        format!(
            "name: one\nlayout: custom\nclusters:\n  site: {{ bootstrap_servers: \"{}\" }}\n  \
             centre: {{ bootstrap_servers: \"{}\" }}\ndefaults: {{ {LOOK_OFTEN} }}\nflows:\n  - {{ name: site->centre }}\n",
            bootstrap(source),
            bootstrap(&target)
        )
    };
    for (cluster, count) in [(&a, 10), (&b, 20)] {
        cluster.create_topic("orders", 1, &[]);
        write_numbers(cluster, "orders", 1, 0..count);
    }
    let _first = Daemon::start(&flow(&a));
    wait_mirrored(&a, "orders", &target, "site.orders");
    // Another cluster under the same alias, as after a mistake in a file.
    let second = Daemon::start(&flow(&b));
    let reason = wait_for(CATCH_UP, "the second daemon says what hinders it", || {
        let flow = second.flow("site->centre");
        let left_out = flow.left_out.iter().find(|left_out| left_out.topic == "orders");
        left_out
            .map(|left_out| left_out.reason.clone())
            .ok_or_else(|| format!("{flow:?}"))
    });
    assert!(
        reason.contains("is the mirror of orders of another cluster already"),
        "{reason}"
    );
    mirrors::wait_quiet(&[&target]);
    wait_mirrored(&a, "orders", &target, "site.orders");
}
