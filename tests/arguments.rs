//! What is wrong on the command line is told what to write, and nobody needs what a command does not.

use crate::cli::{file, run, text};

#[test]
fn a_value_that_cannot_be_read_is_told_what_to_write() {
    let topology = "topologies/active-standby.yaml";
    for (arguments, expected) in [
        (
            &["broker", "--host", "localhost"][..],
            "write an IP address: 127.0.0.1",
        ),
        (&["broker", "--http", "8080"], "such as 127.0.0.1:8080"),
        (&["broker", "--brokers", "x"], "write a number from 1 to 9"),
        (&["broker", "--port", "x"], "write a number from 0 to 65535"),
        (&["broker", "--user", "=env:X"], "the name is missing"),
        (&["broker", "--user", "mirror=env:"], "the variable is missing"),
        (&["broker", "--user", "mirror=hunter2"], "not the password itself"),
        (&["cluster", "stop", "x"], "write the id of a broker"),
        (
            &["consume", "--topic", "t", "--max-messages", "x"],
            "write a whole number",
        ),
        (&["events", "--since", "x"], "write a whole number"),
        (
            &[
                "offsets",
                topology,
                "--topic",
                "t",
                "--partition",
                "0",
                "--offset",
                "-3",
            ],
            "-3 is not in",
        ),
        (
            &["help", "foo"],
            "The commands of heliostat are: run, check, status",
        ),
        (&["check", topology, "--topic", ""], "a topic has a name"),
        (
            &["pause", topology, "--reason", ""],
            "write why, or leave --reason out",
        ),
        (
            &["fault", "add", "error", "--api", "Prodce"],
            "did you mean Produce?",
        ),
        (
            &["fault", "add", "error", "--api", "Foo"],
            "docs/built-in-cluster.md lists",
        ),
        (
            &["fault", "add", "error", "--error", "NOT_LEADER"],
            "such as NOT_LEADER_OR_FOLLOWER",
        ),
        (
            &["status", "--url", "https://127.0.0.1:1"],
            "write it as http://host:port",
        ),
        (
            &["produce", "--topic", "t", "--mechanism", "MD5"],
            "SCRAM-SHA-512",
        ),
    ] {
        let (code, stdout, stderr) = text(&run(arguments));
        assert_ne!(code, Some(0), "{arguments:?}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("hunter2"), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
}

#[test]
fn whoever_asks_a_daemon_needs_none_of_its_passwords() {
    let cluster = |port| {
        format!(
            "{{ bootstrap_servers: 127.0.0.1:{port}, security: {{ protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: u, password: {{ env: HELIOSTAT_TEST_UNSET }} }} }}"
        )
    };
    let (_directory, file) = file(&format!(
        "name: t\nlayout: active-standby\nprimary: a\nstandby: b\nhttp: {{ listen: 127.0.0.1:1 }}\nclusters:\n  a: {}\n  b: {}\n",
        cluster(2),
        cluster(3)
    ));
    let (code, _, stderr) = text(&run(&["events", &file]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("no daemon answers") && stderr.contains("heliostat run"),
        "{stderr}"
    );
    // No daemon answers, and the clusters cannot be asked without passwords.
    for arguments in [&["status", &file][..], &["status", &file, "--clusters"]] {
        let (code, _, stderr) = text(&run(arguments));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("`HELIOSTAT_TEST_UNSET` is not set"), "{stderr}");
    }
    let (code, _, stderr) = text(&run(&["cluster", "--url", "http://127.0.0.1:1", "brokers"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("heliostat broker --http"), "{stderr}");
}
