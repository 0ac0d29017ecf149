//! A password is in no log, no status and no message, whatever fails, and however much is logged.

use crate::support::built_in::BuiltIn;
use crate::support::daemon::{Daemon, binary};
use crate::support::process::temp_dir;
use crate::support::{unique, wait_for};

#[test]
fn passwords_never_appear() {
    let (source, target) = (BuiltIn::start(1, &[]), BuiltIn::start(1, &[]));
    let (in_file, in_environment) = (unique("of-the-file"), unique("of-the-environment"));
    let directory = temp_dir("secrets");
    let file = directory.path().join("password");
    std::fs::write(&file, &in_file).expect("write a password");
    let security = |password: &str| {
        format!(
            "security: {{ protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: mirror, password: {password} }}"
        )
    };
    let topology = format!(
        "name: secrets\nlayout: active-standby\nprimary: source\nstandby: target\nclusters:\n  \
         source: {{ bootstrap_servers: \"{}\", {}, properties: {{ debug: all }} }}\n  \
         target: {{ bootstrap_servers: \"{}\", {}, properties: {{ debug: all }} }}\n",
        source.bootstrap(),
        security(&format!("{{ file: \"{}\" }}", file.display())),
        target.bootstrap(),
        security("{ env: HELIOSTAT_TEST_PASSWORD }"),
    );
    let environment = [
        ("HELIOSTAT_TEST_PASSWORD", in_environment.as_str()),
        (
            "HELIOSTAT_LOG",
            "trace,librdkafka=trace,rdkafka=trace,hyper=trace",
        ),
    ];
    let mut daemon = Daemon::spawn(&topology, &environment);
    // The brokers know nothing of SASL: both sides fail, and say why.
    wait_for(super::LIMIT, "both clusters are known to be away", || {
        crate::support::http::connects(daemon.http()).map_err(|error| error.to_string())?;
        let clusters = daemon.status().clusters;
        if clusters.iter().all(|cluster| cluster.reason.is_some()) {
            Ok(())
        } else {
            Err(format!("{clusters:?}"))
        }
    });
    let mut said: Vec<(String, String)> = ["/api/v1/status", "/metrics", "/readyz", "/"]
        .map(|path| (path.to_owned(), daemon.get(path).body))
        .into();
    let topology_file = daemon.topology().to_path_buf();
    for arguments in [
        &["check", "-o", "json"][..],
        &["check"],
        &["status"],
        &["status", "--clusters"],
        &["run"],
    ] {
        let mut command = binary();
        command
            .arg(arguments[0])
            .arg(&topology_file)
            .args(&arguments[1..])
            .envs(environment);
        let output = command.output().expect("run heliostat");
        let text = [output.stdout, output.stderr].concat();
        said.push((
            format!("{arguments:?}"),
            String::from_utf8_lossy(&text).into_owned(),
        ));
    }
    daemon.stop(super::LIMIT);
    assert!(daemon.log().contains("librdkafka"), "librdkafka logs too");
    said.push(("the log".to_owned(), daemon.log()));
    said.push(("the output".to_owned(), daemon.output()));
    for (place, text) in said {
        assert!(!text.is_empty() || place == "the output", "{place} says nothing");
        for secret in [&in_file, &in_environment] {
            assert!(!text.contains(secret.as_str()), "{place} shows {secret}");
        }
    }
}
