//! A password that was written into the file by mistake is shown nowhere, whatever the mistake is.

use std::path::Path;

use heliostat::topology::Topology;

use crate::support::daemon::binary;
use crate::support::process::temp_dir;

/// What must not be seen. In rows with `abc` it is that.
const SECRET: &str = "HUNTER2";

/// Part of the cluster `primary`, behind its address, in one line or several: lines have the indentation of `built_in`.
const ROWS: &[&str] = &[
    // In place of a user's password.
    "built_in: { port: 1, sasl: { users: { app: HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: [HUNTER2] } } }",
    "built_in: { port: 1, sasl: { users: { app: { value: HUNTER2 } } } }",
    "built_in: { port: 1, sasl: { users: { app: { evn: HUNTER2 } } } }",
    "built_in: { port: 1, sasl: { users: { app: { HUNTER2 } } } }",
    "built_in: { port: 1, sasl: { users: { app: { HUNTER2: x } } } }",
    "built_in: { port: 1, sasl: { users: { app: { env: { HUNTER2 } } } } }",
    "built_in: { port: 1, sasl: { users: { app: { env: [HUNTER2] } } } }",
    "built_in: { port: 1, sasl: { users: { app: abc } } }",
    "built_in: { port: 1, sasl: { users: { app: abc, bob: { abc } } } }",
    "built_in: { port: 1, sasl: { users: { app:abc } } }",
    "built_in: { port: 1, sasl: { users: { app: HUNTER2, bob: [ HUNTER2 ] } } }",
    "built_in: { port: 1, sasl: { users: { app: one HUNTER2, two: HUNTER2, HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: \"one\nHUNTER2\" } } }",
    "built_in: { port: 1, sasl: { users: { app: \"one }}}}}\nHUNTER2: x\nHUNTER2\", b: [ } }",
    "built_in: { port: 1, sasl: { users: { app:\nHUNTER2,\nbob: HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: { env: X } # HUNTER2\n, bob: 1 } } }",
    "built_in: { port: 1, sasl: { users: { app: !HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: !!int HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: ! HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: &HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: *HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: @HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: %HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: \"\\HUNTER2\" } } }",
    "built_in: { port: 1, sasl: { users: { app: \"HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: 'HUNTER2' s } } }",
    "built_in: { port: 1, sasl: { users: { app: {HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app=HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app:HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { \"app\":\"HUNTER2\" } } }",
    "built_in: { port: 1, sasl: { users: { app: HUNTER2: x } } }",
    "built_in: { port: 1, sasl: { users: { ? app : HUNTER2 } } }",
    // In place of the users.
    "built_in: { port: 1, sasl: { users: HUNTER2 } }",
    "built_in: { port: 1, sasl: { users: [HUNTER2] } }",
    "built_in: { port: 1, sasl: { users: [ { app: HUNTER2 } ] } }",
    "built_in: { port: 1, sasl: { users: [ { name: app, password: HUNTER2 } ] } }",
    "built_in: { port: 1, sasl: { users: [ { name: HUNTER2 } ] } }",
    "built_in: { port: 1, sasl: { users: [ app:HUNTER2 ] } }",
    "built_in: { port: 1, sasl: { users: { HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app, HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users:HUNTER2 } }",
    "built_in: { port: 1, sasl: { user: { app: HUNTER2 } } }",
    "built_in: { port: 1, sasl: { usres: { app: [ HUNTER2 ] } } }",
    "built_in: { port: 1, sasl: { accounts: { app: { p: HUNTER2 } } } }",
    "built_in: { port: 1, sasl: { app: HUNTER2 } }",
    "built_in: { port: 1, sasl: { app: { is: HUNTER2 } } }",
    "built_in: { port: 1, sasl: { mechanisms: [PLAIN, { app: HUNTER2 }], users: {} } }",
    "built_in: { port: 1, sasl: { mechanisms: [PLAIN] users: { app: HUNTER2 } } }",
    // In place of `sasl`, or beside it.
    "built_in: { port: 1, sasl: app=HUNTER2 }",
    "built_in: { port: 1, sasl: HUNTER2 }",
    "built_in: { port: 1, sasl: [HUNTER2] }",
    "built_in: { port: 1, sasl:{ users: { app: HUNTER2 } } }",
    "built_in: { port: 1, sals: { users: { app: HUNTER2 } } }",
    "built_in: { port: 1, auth: { app: HUNTER2 } }",
    "built_in: { port: 1, users: { app: HUNTER2 } }",
    "built_in: { port: 1, user: { app: HUNTER2 } }",
    "built_in: { port: 1, password: HUNTER2 }",
    "built_in: { port: 1, password:HUNTER2 }",
    "built_in: { port: 1 password: HUNTER2 }",
    "built_in: { port: 1, properties: { sasl.jaas.config: x username=a password=HUNTER2 } }",
    "built_in: { port: 1, properties: { listener.name.x.jaas: [ HUNTER2 ] } }",
    "built_in: { port: 1, properties: { log.retention.hours: password=HUNTER2 } }",
    "built_in: { port: 1 }, sasl: { users: { app: HUNTER2 } }",
    "built_in: { port: 1 }, users: { app: [HUNTER2] }",
    // In lines of their own.
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app: HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app:\n        HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app:\n      HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app: |\n        HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app: one\n        HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app:\n        - HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app: \"one\n        HUNTER2: x\"",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app: \"one\nHUNTER2: x\n        HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      - app: HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n    - app: HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      - HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      - name: app\n        password: HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n    app: HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n    app: [HUNTER2]\n    bob: [HUNTER2]",
    "built_in:\n  port: 1\n  users:\n    app: HUNTER2",
    "built_in:\n  port: 1\n  users:\n  app: HUNTER2\n  bob: { HUNTER2 }",
    "built_in:\n  port: 1\n  sasl:\n  users:\n    app: HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app: HUNTER2: x",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app: HUNTER2\n        bob: HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n\tapp: HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app:HUNTER2",
    "built_in:\n  port: 1\n  sasl:\n    users:\n      app:HUNTER2\n      bob: { env: X }",
    "built_in:\n  port: 1\n  sasl:{users: { app: HUNTER2 }}",
    "built_in:\n  port: 1\n  sasl: { users: {\n    app: HUNTER2,\n    bob: { env: X }",
    "built_in:\n  port: 1\n  sasl: { users: {\napp: \"HUNTER2\n}}}\n",
    // What the daemon connects with.
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, pasword: HUNTER2 }",
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, pass: HUNTER2 }",
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, credential: [HUNTER2] }",
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, password: HUNTER2 }",
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, password: one, HUNTER2: x }",
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u password: HUNTER2 }",
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, password:HUNTER2 }",
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, password=HUNTER2 }",
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: [u, HUNTER2] }",
    "bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u password HUNTER2, key: . }",
    "bootstrap_servers: b:1, security: { protocol: PLAINTEXT, passphrase: HUNTER2 }",
    "bootstrap_servers: b:1, security: { protocol: SSL, key: \"-----BEGIN KEY----- HUNTER2 -----END KEY-----\" }",
    "bootstrap_servers: b:1, security: { protocol: SSL, key_pasword: HUNTER2 }",
    "bootstrap_servers: b:1, security: HUNTER2",
    "bootstrap_servers: b:1, security: [ HUNTER2 ]",
    "bootstrap_servers: b:1, securty: { protocol: SSL, x: HUNTER2 }",
    "bootstrap_servers: b:1, password: HUNTER2",
    "bootstrap_servers: b:1, pasword: [HUNTER2]",
    "bootstrap_servers: \"u:HUNTER2@b:1\"",
    "bootstrap_servers: \"sasl://u:HUNTER2@b\"",
    "bootstrap_servers: b:1\nsecurity:\n  protocol: SSL\n  key: |\n    -----BEGIN KEY-----\n    HUNTER2",
    "bootstrap_servers: b:1\nsecurity:\n  protocol: SASL_SSL\n  mechanism: PLAIN\n  username: u\n  password:\n  HUNTER2",
    "bootstrap_servers: b:1\nsecurity:\n  protocol: SASL_SSL\n  username: u\n  pwd: HUNTER2\n   HUNTER2: y",
    // Properties of a client.
    "bootstrap_servers: b:1, properties: { sasl.jaas.config: x username=a password=HUNTER2 }",
    "bootstrap_servers: b:1, properties: { sasl.jaas.config: 'x username=a password=\"HUNTER2\";' }",
    "bootstrap_servers: b:1, properties: { sasl.oauthbearer.config: '... password=HUNTER2' }",
    "bootstrap_servers: b:1, properties: { sasl.username: HUNTER2 }",
    "bootstrap_servers: b:1, properties: { sasl.pasword: HUNTER2 }",
    "bootstrap_servers: b:1, properties: { sasl.kerberos.kinit.cmd: [ HUNTER2 ] }",
    "bootstrap_servers: b:1, properties: { sasl.kerberos.min.time.before.relogin: HUNTER2 }",
    "bootstrap_servers: b:1, properties: { client.dns.lookup: password=HUNTER2 }",
    "bootstrap_servers: b:1, properties: { ssl.key.pem: HUNTER2 }",
    "bootstrap_servers: b:1, properties: { sasl: { jaas: { config: HUNTER2 } } }",
    "bootstrap_servers: b:1\nproperties:\n  sasl.jaas.config: >\n    x required\n    password=HUNTER2;\n   bad: [",
    "bootstrap_servers: b:1\nproperties:\n  ssl.key.pem: |\n    -----BEGIN KEY-----\n    HUNTER2\n  x: [",
    // What is wrong is elsewhere.
    "built_in: { sasl: { users: { app: HUNTER2 } }, prot: 1 }",
    "built_in: { port: x, sasl: { users: { app: HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: HUNTER2 } }, sasl: { users: { app: HUNTER2 } } }",
    "built_in: { port: 1, sasl: { users: { app: HUNTER2, app: HUNTER2 } } }",
];

/// A file with a row of the table in it: in one line where the row is one, or else in several.
fn topology(row: &str) -> String {
    let cluster = match row.split_once('\n') {
        Some(_) if row.starts_with("built_in:\n") || row.starts_with("bootstrap_servers: b:1\n") => {
            row.lines().map(|line| format!("\n    {line}")).collect()
        }
        _ => format!(" {{ {row} }}"),
    };
    format!(
        "name: t\nlayout: active-standby\nprimary: primary\nstandby: standby\nclusters:\n  standby: {{ built_in: {{ port: 9 }} }}\n  primary:{cluster}\n"
    )
}

/// The secret of a row.
fn secret(row: &str) -> &'static str {
    if row.contains(SECRET) { SECRET } else { "abc" }
}

#[test]
fn a_password_that_is_written_by_mistake_is_shown_nowhere() {
    let directory = temp_dir("leaks");
    let file = directory.path().join("t.yaml");
    let mut leaks = String::new();
    for row in ROWS {
        std::fs::write(&file, topology(row)).expect("write a topology");
        for arguments in [&[][..], &["-o", "json"]] {
            let output = binary()
                .arg("check")
                .arg(&file)
                .args(arguments)
                .output()
                .expect("run heliostat");
            assert_eq!(output.status.code(), Some(2), "{row}");
            assert!(!output.stderr.is_empty(), "{row}");
            for bytes in [output.stdout, output.stderr] {
                let text = String::from_utf8_lossy(&bytes);
                if text.contains(secret(row)) {
                    leaks += &format!("{row}\n{text}\n");
                    break;
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks}");
}

/// A second slip comes with the first: each row is tried with a bracket, a comma or the like too many or too few.
#[test]
fn nor_is_it_where_a_second_mistake_is_next_to_the_first() {
    let slips = ["", "\n", "{", "}", "[", ",", "\""];
    let is_inner = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let mut leaks = String::new();
    // Where nothing but a `=` or a `@` tells that it is a secret, or it looks like a key itself, one slip more hides even that.
    let rows = ROWS.iter().filter(|row| row.contains(SECRET));
    for row in rows.filter(|row| !row.contains(['=', '@']) && !row.contains("HUNTER2: x")) {
        let text = topology(row);
        let start = text.find("  primary:").expect("the cluster") + "  primary:".len();
        for (at, c) in text.char_indices().skip_while(|(at, _)| *at < start) {
            if is_inner(c) && text[..at].ends_with(is_inner) {
                continue;
            }
            for slip in slips
                .iter()
                .filter(|slip| !slip.is_empty() || "{}[],\"'".contains(c))
            {
                let rest = if slip.is_empty() { at + c.len_utf8() } else { at };
                let slipped = format!("{}{slip}{}", &text[..at], &text[rest..]);
                let Err(problems) = Topology::parse_with(Path::new("t.yaml"), &slipped, &|_| None) else {
                    continue;
                };
                let shown = format!("{problems}\n{}", serde_json::to_string(&problems).expect("JSON"));
                if shown.contains(SECRET) {
                    leaks += &format!("{slip:?} in\n{}\n{problems}\n\n", &slipped[start..]);
                }
            }
        }
    }
    assert!(
        leaks.is_empty(),
        "{} leaks: {leaks}",
        leaks.matches(" in\n").count()
    );
}
