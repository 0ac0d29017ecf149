//! What an administrator sets and looks at beside topics and groups: quotas, passwords, access rules, log directories.

use super::{Lab, assert_contains};

#[test]
fn quotas_passwords_and_log_directories() {
    let Some(lab) = Lab::start("quotas_passwords_and_log_directories") else {
        return;
    };
    let configs = |arguments: &[&str]| lab.tool("kafka-configs", arguments);
    let alter = |entity: &[&str], change: &[&str]| {
        let printed = configs(&[&["--alter"], entity, change].concat());
        assert_contains(&printed, &["Completed updating "]);
    };
    let user = ["--entity-type", "users", "--entity-name", "alice"];
    let both = [
        user.as_slice(),
        &["--entity-type", "clients", "--entity-name", "loader"],
    ]
    .concat();
    let clients = ["--entity-type", "clients", "--entity-default"];
    let address = ["--entity-type", "ips", "--entity-name", "127.0.0.9"];
    let scram = "SCRAM-SHA-256=[iterations=4096,password=secret]";
    // The tool takes quotas and passwords apart.
    alter(&user, &["--add-config", scram]);
    alter(&user, &["--add-config", "producer_byte_rate=5000"]);
    alter(&both, &["--add-config", "request_percentage=50"]);
    alter(
        &clients,
        &[
            "--add-config",
            "consumer_byte_rate=7000000,controller_mutation_rate=9",
        ],
    );
    alter(&address, &["--add-config", "connection_creation_rate=5"]);
    let all_of = |types: &[&str]| configs(&[types, &["--describe"]].concat());
    assert_contains(
        &all_of(&["--entity-type", "users"]),
        &[
            "Quota configs for user-principal 'alice' are producer_byte_rate=5000.0",
            "SCRAM credential configs for user-principal 'alice' are SCRAM-SHA-256=iterations=4096",
        ],
    );
    assert_contains(
        &all_of(&["--entity-type", "users", "--entity-type", "clients"]),
        &["Quota configs for user-principal 'alice', client-id 'loader' are request_percentage=50.0"],
    );
    assert_contains(
        &all_of(&["--entity-type", "clients"]),
        &[
            "Quota configs for the default client-id are consumer_byte_rate=7000000.0, controller_mutation_rate=9.0",
        ],
    );
    assert_contains(
        &all_of(&["--entity-type", "ips"]),
        &["Quota configs for ip '127.0.0.9' are connection_creation_rate=5.0"],
    );
    alter(&user, &["--delete-config", "producer_byte_rate"]);
    alter(&user, &["--delete-config", "SCRAM-SHA-256"]);
    let left = all_of(&["--entity-type", "users"]);
    assert!(!left.contains("alice"), "{left}");
    alter(&clients, &["--delete-config", "consumer_byte_rate"]);
    let left = all_of(&["--entity-type", "clients"]);
    assert_contains(&left, &["are controller_mutation_rate=9.0"]);
    // Without access rules, all three answer as a Kafka does that has no authorizer.
    let rule = [
        "--allow-principal",
        "User:alice",
        "--operation",
        "Read",
        "--topic",
        "t",
    ];
    for action in [
        ["--list"].as_slice(),
        &[["--add"].as_slice(), &rule].concat(),
        &[["--remove", "--force"].as_slice(), &rule].concat(),
    ] {
        assert_contains(
            &lab.complaint("kafka-acls", action),
            &["SecurityDisabledException"],
        );
    }
    lab.tool("kafka-topics", &["--create", "--topic", "t", "--partitions", "2"]);
    lab.produce("t", "a:1\nb:2\nc:3\n");
    let directories = lab.tool("kafka-log-dirs", &["--describe", "--topic-list", "t"]);
    assert_contains(
        &directories,
        &[
            "from brokers 1,2,3",
            r#""partition":"t-0""#,
            r#""partition":"t-1""#,
            r#""error":null"#,
            &format!(r#""logDir":"{}""#, lab.0.data().display()),
        ],
    );
}

#[test]
fn a_single_broker_is_configured_by_its_id() {
    let Some(lab) = Lab::start_with("a_single_broker_is_configured_by_its_id", 1, &[]) else {
        return;
    };
    let configs = |entity: &[&str], arguments: &[&str]| {
        let brokers = ["--entity-type", "brokers"];
        lab.tool("kafka-configs", &[&brokers, entity, arguments].concat())
    };
    let (one, all) = (["--entity-name", "1"], ["--entity-default"]);
    let set = ["--alter", "--add-config", "log.cleaner.threads=2"];
    assert_contains(&configs(&one, &set), &["Completed updating config for broker 1."]);
    let set = ["--alter", "--add-config", "log.cleaner.threads=3"];
    configs(&all, &set);
    // What is set for the broker itself wins, and behind it stand the others.
    let own = "DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2, DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.threads=3, \
               DEFAULT_CONFIG:log.cleaner.threads=1";
    let shown = format!("log.cleaner.threads=2 sensitive=false synonyms={{{own}}}");
    assert_contains(&configs(&one, &["--describe"]), &[&shown]);
    let unset = ["--alter", "--delete-config", "log.cleaner.threads"];
    configs(&one, &unset);
    assert_contains(
        &configs(&one, &["--describe", "--all"]),
        &[
            "log.cleaner.threads=3 ",
            "log.cleaner.backoff.ms=15000 ",
            "node.id=1 ",
        ],
    );
}

#[test]
fn the_quorum_and_the_features() {
    let Some(lab) = Lab::start("the_quorum_and_the_features") else {
        return;
    };
    let quorum = |what: &str| lab.tool("kafka-metadata-quorum", &["describe", what]);
    assert_contains(
        &quorum("--status"),
        &[
            "LeaderId: 1",
            "LeaderEpoch: 1",
            "MaxFollowerLag: 0",
            "CurrentObservers: []",
        ],
    );
    let replicas = quorum("--replication");
    let lines: Vec<Vec<&str>> = replicas.lines().map(|line| line.split(' ').collect()).collect();
    let shown: Vec<_> = lines[1..]
        .iter()
        .map(|line| (line[0], line[3], line[6]))
        .collect();
    assert_eq!(
        shown,
        [
            ("1", "0", "Leader"),
            ("2", "0", "Follower"),
            ("3", "0", "Follower")
        ],
        "{replicas}"
    );
    let upgrade = ["upgrade", "--feature", "transaction.version=2", "--dry-run"];
    assert_contains(
        &lab.tool("kafka-features", &["describe"]),
        &[
            "Feature: group.version SupportedMinVersion: 0 SupportedMaxVersion: 1 FinalizedVersionLevel: 1",
            "Feature: transaction.version SupportedMinVersion: 0 SupportedMaxVersion: 2 FinalizedVersionLevel: 2",
        ],
    );
    assert_contains(
        &lab.tool("kafka-features", &upgrade),
        &["transaction.version can be upgraded to 2."],
    );
    assert_contains(
        &lab.complaint(
            "kafka-features",
            &["downgrade", "--feature", "transaction.version=1"],
        ),
        &["stay at their largest version"],
    );
}
