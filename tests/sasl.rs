//! Built-in clusters that ask who connects: librdkafka's mechanisms, mirroring, and the commands.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use tempfile::TempDir;

use heliostat::cluster::{Admin, Cluster};
use heliostat::topology::{self, ClusterKind, Mechanism, Protocol, Secret, Security};

use crate::support::built_in::BuiltIn;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::{Daemon, binary, heliostat};
use crate::support::ports::Ports;
use crate::support::process::temp_dir;
use crate::support::rec::Rec;
use crate::support::{kafka, wait_until};

/// How long records may take to arrive, on a machine that compiles beside it.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a client that is not let in tries.
const TRYING: Duration = Duration::from_secs(1);

const PASSWORDS: [&str; 2] = ["the-mirrors-password", "the-applications-password"];

/// Two clusters with the users `mirror` and `app`, of which the second one takes no PLAIN.
struct Secured {
    ports: Ports,
    directory: TempDir,
    topology: String,
}

impl Secured {
    fn new() -> Secured {
        let (ports, directory) = (Ports::reserve(2), temp_dir("sasl"));
        let secret = |name: &str, password: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, password).expect("write a password");
            format!("{name}: {{ file: \"{}\" }}", path.display())
        };
        let users = format!(
            "{{ {}, {} }}",
            secret("mirror", PASSWORDS[0]),
            secret("app", PASSWORDS[1])
        );
        let topology = format!(
            "name: secured\nlayout: active-standby\nprimary: source\nstandby: target\nclusters:\n  \
             source: {{ built_in: {{ port: {}, sasl: {{ users: {users} }} }} }}\n  \
             target: {{ built_in: {{ port: {}, sasl: {{ mechanisms: [SCRAM-SHA-256], users: {users} }} }} }}\n",
            ports.port(0),
            ports.port(1)
        );
        Secured {
            ports,
            directory,
            topology,
        }
    }

    /// A client of a cluster as the application.
    fn client(&self, cluster: u16, mechanism: &str, password: &str) -> Client {
        Client::new(format!("127.0.0.1:{}", self.ports.port(cluster))).with(&[
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", mechanism),
            ("sasl.username", "app"),
            ("sasl.password", password),
        ])
    }
}

/// Runs a command on the topology file; what it printed, in which no password may be.
#[track_caller]
fn said(daemon: &Daemon, command: &[&str]) -> String {
    let file = daemon.topology().to_str().expect("the path of the file");
    let arguments: Vec<&str> = [command[0], file].iter().chain(&command[1..]).copied().collect();
    let output = heliostat(&arguments, None);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    conceals(&format!("{command:?}"), &text);
    text
}

#[track_caller]
fn conceals(place: &str, text: &str) {
    let shown = PASSWORDS.iter().find(|password| text.contains(**password));
    assert_eq!(shown, None, "{place} shows a password: {text}");
}

#[test]
fn secured_built_in_clusters_are_mirrored_and_keep_others_out() {
    let secured = Secured::new();
    let mut daemon = Daemon::start(&secured.topology);
    let checked = said(&daemon, &["check"]);
    assert!(checked.contains("librdkafka"), "{checked}");
    assert!(
        checked.contains("SASL_PLAINTEXT with SCRAM-SHA-512 as mirror"),
        "{checked}"
    );

    let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    let clients = mechanisms.map(|mechanism| secured.client(0, mechanism, PASSWORDS[1]));
    clients[0].create_topic("orders", 1, &[]);
    for (mechanism, client) in mechanisms.iter().zip(&clients) {
        let record = Rec::new(0, None, Some(mechanism.as_bytes()));
        client.produce("orders", &[record], Producing::default());
    }
    let reader = secured.client(1, "SCRAM-SHA-256", PASSWORDS[1]);
    wait_until(LIMIT, "the mirror has the records", || {
        let topics = reader.topics();
        topics.contains(&"source.orders".to_owned()) && reader.end_offsets("source.orders") == [3]
    });
    let values = reader
        .read("source.orders")
        .into_iter()
        .map(|record| record.value);
    let expected = mechanisms.map(|mechanism| Some(mechanism.as_bytes().to_vec()));
    assert_eq!(values.collect::<Vec<_>>(), expected);

    said(&daemon, &["check", "--connect"]);
    said(&daemon, &["check", "-o", "json"]);
    said(&daemon, &["status"]);
    assert!(said(&daemon, &["status", "--clusters"]).contains("source->target"));
    let offsets = [
        "offsets",
        "--topic",
        "orders",
        "--partition",
        "0",
        "--offset",
        "2",
    ];
    // What the mirror has is on record a moment later.
    let file = daemon
        .topology()
        .to_str()
        .expect("the path of the file")
        .to_owned();
    let all: Vec<&str> = [offsets[0], &file]
        .into_iter()
        .chain(offsets[1..].iter().copied())
        .collect();
    wait_until(LIMIT, "the offset is on record", || {
        heliostat(&all, None).status.success()
    });
    assert!(said(&daemon, &offsets).contains("source.orders"));
    for path in ["/api/v1/status", "/metrics"] {
        conceals(path, &daemon.get(path).body);
    }

    for stranger in [
        secured.client(0, "PLAIN", "wrong"),
        secured.client(0, "SCRAM-SHA-512", "wrong"),
        secured.client(1, "PLAIN", PASSWORDS[1]),
        Client::new(format!("127.0.0.1:{}", secured.ports.port(0))),
    ] {
        let refused = stranger.consumer().fetch_metadata(None, TRYING);
        assert!(refused.is_err(), "a stranger is let in");
    }
    for reason in ["refused", "no-credentials"] {
        let series =
            format!(r#"heliostat_broker_failed_authentications_total{{cluster="source",reason="{reason}"}}"#);
        assert!(
            daemon.metric(&series).is_some_and(|count| count > 0.0),
            "{series}"
        );
    }
    let log = daemon.log();
    let says = |parts: &[&str]| {
        log.lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    };
    let address = "address=127.0.0.1:";
    assert!(
        says(&[
            "authentication failed",
            r#"cluster="source""#,
            address,
            r#"user="app""#
        ]),
        "{log}"
    );
    assert!(
        says(&["a client did not say who it is", r#"cluster="source""#, address]),
        "{log}"
    );
    daemon.stop(LIMIT);
    conceals("the log", &daemon.log());
    conceals("the output", &daemon.output());
    // What it says to try works as it stands there.
    let path = secured.directory.path().join("mirror");
    for said in [
        "(built-in, SASL_PLAINTEXT with PLAIN or SCRAM-SHA-256 or SCRAM-SHA-512, data gone when it ends)",
        &format!(
            "--user mirror=file:{} --mechanism SCRAM-SHA-512\n",
            path.display()
        ),
        &format!(
            "--user mirror=file:{} --mechanism SCRAM-SHA-256\n",
            path.display()
        ),
    ] {
        assert!(
            daemon.output().contains(said),
            "{said:?} is not in {}",
            daemon.output()
        );
    }
    drop(secured.directory);
}

/// A file with a password, and the words for a user that has it.
fn user(directory: &TempDir, name: &str, password: &str) -> String {
    let path = directory.path().join(format!("{name}-{password}"));
    std::fs::write(&path, password).expect("write a password");
    format!("{name}=file:{}", path.display())
}

/// An admin client of a cluster, as a daemon has it, which connects as this user or as nobody.
fn admin(bootstrap: &str, as_user: Option<(&str, &str)>) -> Admin {
    let security = as_user.map(|(name, password)| Security {
        protocol: Protocol::SaslPlaintext,
        sasl: Some(topology::Sasl {
            mechanism: Mechanism::ScramSha256,
            username: name.to_owned(),
            password: Secret::new(password),
        }),
        tls: None,
    });
    let spec = topology::Cluster {
        alias: "standby".to_owned(),
        kind: ClusterKind::Existing {
            bootstrap_servers: bootstrap.split(',').map(str::to_owned).collect(),
        },
        security,
        properties: Default::default(),
    };
    Admin::new(Arc::new(Cluster::new(&spec, None)), "test").expect("a client")
}

#[test]
fn why_a_cluster_is_away_is_said_until_it_answers() {
    let directory = temp_dir("sasl-reason");
    let user = user(&directory, "app", PASSWORDS[1]);
    let (_, file) = user.split_once("file:").expect("the file with the password");
    let change = |password: &str| std::fs::write(file, password).expect("write a password");
    let mut cluster = BuiltIn::start(2, &["--user", &user]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let admin = admin(&cluster.bootstrap(), Some(("app", PASSWORDS[1])));
    // Each question waits for some seconds, and librdkafka tells the reason during the first one only.
    let reasons = || {
        (0..3)
            .map(|_| runtime.block_on(admin.topics()).expect_err("no answer").reason)
            .collect::<Vec<_>>()
    };
    runtime.block_on(admin.topics()).expect("topics");

    assert!(cluster.stop().success());
    for reason in reasons() {
        assert!(reason.contains("Connection refused"), "{reason}");
    }
    change("another one");
    cluster.restart();
    for reason in reasons() {
        assert!(
            reason.starts_with("it refuses the user app with SCRAM-SHA-256: ")
                && reason.contains("invalid credentials"),
            "{reason}"
        );
    }
    change(PASSWORDS[1]);
    cluster.interrupt(false);
    wait_until(LIMIT, "it answers again", || {
        runtime.block_on(admin.topics()).is_ok()
    });
    assert_eq!(admin.cluster().reach().reason, None);
}

#[test]
fn a_client_that_is_not_let_in_is_told_so_soon() {
    let directory = temp_dir("sasl-told");
    let arguments = [
        "--user",
        &user(&directory, "app", PASSWORDS[1]),
        "--mechanism",
        "PLAIN",
    ];
    let (cluster, open) = (BuiltIn::start(1, &arguments), BuiltIn::start(1, &[]));
    let (wrong, right) = (
        user(&directory, "app", "wrong"),
        user(&directory, "app", PASSWORDS[1]),
    );
    let said = |arguments: &[&str]| {
        let began = Instant::now();
        let mut command = binary();
        command.args(arguments).args(["--topic", "t"]);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start heliostat");
        let mut input = process.stdin.take().expect("its input");
        // It may have given up by then.
        let _ = input.write_all(b"hello\n");
        drop(input);
        let output = process.wait_with_output().expect("its end");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        // Nobody waits for what is clear: a cluster that is away is waited for 10 s.
        assert!(began.elapsed() < Duration::from_secs(9), "{arguments:?}: {text}");
        text
    };
    for command in ["produce", "consume"] {
        for (server, more, expected) in [
            (
                &cluster,
                &["--user", &wrong, "--mechanism", "PLAIN"][..],
                "authentication failed for user app with PLAIN at ",
            ),
            (&cluster, &["--user", &right], " takes no SCRAM-SHA-512: "),
            (&cluster, &[], "does it ask for SASL? try --user "),
            (&open, &["--user", &right], " asks nobody who they are: "),
        ] {
            let bootstrap = server.bootstrap();
            let text = said(&[&[command, "--bootstrap-server", &bootstrap], more].concat());
            assert!(text.contains(expected), "{command} {more:?}: {text}");
            conceals(command, &text);
        }
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let nobody = runtime.block_on(admin(&cluster.bootstrap(), None).topics());
    let reason = nobody.expect_err("no answer").reason;
    assert!(
        reason.contains("it may want SASL or TLS: see `security`"),
        "{reason}"
    );
}

#[test]
fn one_cluster_on_its_own_asks_too_and_javas_tools_answer() {
    let directory = temp_dir("sasl-tools");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("write a file");
        path.to_str().expect("a path").to_owned()
    };
    let source = format!("admin=file:{}", write("password", PASSWORDS[0]));
    let cluster = BuiltIn::start(1, &["--user", &source]);
    let bootstrap = cluster.bootstrap();
    let consume = [
        "consume",
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        "t",
        "--from-beginning",
        "--max-messages",
        "1",
        "--user",
        &source,
        "--mechanism",
    ];
    let client = Client::new(&bootstrap).with(&[
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "admin"),
        ("sasl.password", PASSWORDS[0]),
    ]);
    client.create_topic("t", 1, &[]);
    client.produce("t", &[Rec::new(0, None, Some(b"hello"))], Producing::default());
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let output = heliostat(&[&consume[..], &[mechanism]].concat(), None);
        assert_eq!(output.stdout, b"hello\n", "{output:?}");
    }
    if !kafka::available("one_cluster_on_its_own_asks_too_and_javas_tools_answer") {
        return;
    }
    let login = |name: &str, mechanism: &str, module: &str, password: &str| {
        let text = format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\nsasl.jaas.config=\
             org.apache.kafka.common.security.{module} required username=\"{name}\" password=\"{password}\";\n"
        );
        write(name, &text)
    };
    let admin = login("admin", "PLAIN", "plain.PlainLoginModule", PASSWORDS[0]);
    let carol = login("carol", "SCRAM-SHA-512", "scram.ScramLoginModule", PASSWORDS[1]);
    let tool = |tool: &str, arguments: &[&str], input: &str| {
        let all = [&["--bootstrap-server", &bootstrap], arguments].concat();
        let output = kafka::tool_reading(tool, &all, input);
        assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
    };
    let password = format!("SCRAM-SHA-512=[password={}]", PASSWORDS[1]);
    let add = [
        "--alter",
        "--add-config",
        &password,
        "--entity-type",
        "users",
        "--entity-name",
        "carol",
    ];
    tool(
        "kafka-configs",
        &[&add[..], &["--command-config", &admin]].concat(),
        "",
    );
    tool(
        "kafka-console-producer",
        &["--topic", "t", "--command-config", &carol],
        "from Java\n",
    );
    let values: Vec<_> = client
        .read("t")
        .into_iter()
        .filter_map(|record| record.value)
        .collect();
    assert_eq!(values, [b"hello".to_vec(), b"from Java".to_vec()]);
}
