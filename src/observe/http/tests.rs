//! The server as its clients see it, over real sockets.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use expect_test::expect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::observe::client::{FetchError, fetch_status};
use crate::observe::samples;

/// Nothing here takes this long unless something is wrong.
const DEADLINE: Duration = Duration::from_secs(20);

struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(source: impl Fn() -> Status + Send + Sync + 'static, limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let sources = Sources {
            status: Some(Arc::new(source)),
            built_in: None,
            control: None,
            events: None,
            pauses: None,
        };
        let task = serve_within(listener, sources, stop.clone(), limits);
        Server { address, stop, task }
    }

    async fn with(status: Status) -> Server {
        Server::start(move || status.clone(), Limits::default()).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes, and returns what comes back until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may have closed already, having seen enough.
        let _ = stream.write_all(bytes).await;
        until_closed(&mut stream).await
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        self.raw(format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await
    }
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("the server closes");
    // A reset is a close as well: the server does not read what it does not want.
    let _ = read;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The answer without its date, and with a version that is the same in every build.
fn without_date(answer: &str) -> String {
    let length = answer.contains(crate::VERSION);
    let lines = answer.lines().filter(|line| !line.starts_with("date: "));
    let lines: Vec<&str> = lines
        .filter(|line| !(length && line.starts_with("content-length: ")))
        .collect();
    lines.join("\n").replace(crate::VERSION, "VERSION") + "\n"
}

#[tokio::test]
async fn the_page_lists_the_paths() {
    let server = Server::with(samples::healthy()).await;
    expect![[r#"
        HTTP/1.1 200 OK
        content-type: text/plain; charset=utf-8
        cache-control: no-store
        x-content-type-options: nosniff
        connection: close

        Heliostat VERSION

        /               this page
        /metrics        metrics in the text format of Prometheus
        /livez          200 while the process serves
        /readyz         200 while every cluster that is a target can be reached, otherwise 503 and the reasons
        /api/v1/status  clusters, flows and partitions as JSON; `heliostat status` prints the same as a table
    "#]]
    .assert_eq(&without_date(&server.ask("GET", "/").await));
}

#[tokio::test]
async fn every_path_answers_as_it_should() {
    let server = Server::with(samples::healthy()).await;
    for (method, path, begin, part) in [
        ("GET", "/livez", "HTTP/1.1 200", "\r\n\r\nok\n"),
        ("GET", "/readyz", "HTTP/1.1 200", "\r\n\r\nready\n"),
        ("GET", "/readyz?verbose", "HTTP/1.1 200", "\r\n\r\nready\n"),
        (
            "GET",
            "/metrics",
            "HTTP/1.1 200",
            "content-type: text/plain; version=0.0.4",
        ),
        (
            "GET",
            "/metrics",
            "HTTP/1.1 200",
            "\nheliostat_cluster_reachable{cluster=\"primary\"} 1\n",
        ),
        (
            "GET",
            "/api/v1/status",
            "HTTP/1.1 200",
            "content-type: application/json",
        ),
        ("GET", "/nothing", "HTTP/1.1 404", "not found"),
        ("GET", "/metrics/", "HTTP/1.1 404", "not found"),
        ("GET", "//", "HTTP/1.1 404", "not found"),
        ("POST", "/nothing", "HTTP/1.1 404", "not found"),
        ("POST", "/metrics", "HTTP/1.1 405", "allow: GET, HEAD\r\n"),
        ("DELETE", "/api/v1/status", "HTTP/1.1 405", "only GET and HEAD"),
        ("OPTIONS", "*", "HTTP/1.1 404", ""),
        ("CONNECT", "example:80", "HTTP/1.1 404", ""),
        ("INVENTED", "/", "HTTP/1.1 405", ""),
        ("GET", "http://anywhere/livez", "HTTP/1.1 200", "ok\n"),
    ] {
        let answer = server.ask(method, path).await;
        assert!(
            answer.starts_with(begin) && answer.contains(part),
            "{method} {path}: {answer}"
        );
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::with(samples::healthy()).await;
    for path in ["/", "/livez", "/readyz", "/api/v1/status", "/nothing"] {
        let get = server.ask("GET", path).await;
        let head = server.ask("HEAD", path).await;
        let (get_head, body) = get.split_once("\r\n\r\n").unwrap();
        let length = format!("content-length: {}", body.len());
        assert!(head.contains(&length), "{path}: {head}");
        assert_eq!(without_date(head.trim_end()), without_date(get_head), "{path}");
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = Server::with(samples::healthy()).await;
    let answer = server
        .raw(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /livez HTTP/1.0\r\n\r\n")
        .await;
    assert_eq!(answer.matches("\r\n\r\nok\n").count(), 3, "{answer}");
}

#[tokio::test]
async fn readiness_is_about_targets() {
    let mut status = samples::healthy();
    status.clusters[0].reachable = false;
    let answer = Server::with(status.clone()).await.ask("GET", "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "a source that is away changes nothing: {answer}"
    );

    status.clusters[1].reachable = false;
    status.clusters[1].reason = Some("connection refused".into());
    let answer = Server::with(status).await.ask("GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.ends_with(
            "\r\n\r\ncluster standby, the target of primary->standby: not reachable: connection refused\n"
        ),
        "{answer}"
    );
}

#[tokio::test]
async fn the_client_reads_back_the_status() {
    let server = Server::with(samples::source_unreachable()).await;
    let url = format!("http://{}", server.address);
    assert_eq!(
        fetch_status(&url, DEADLINE).await.unwrap(),
        samples::source_unreachable()
    );
    assert_eq!(
        fetch_status(&server.address.to_string(), DEADLINE)
            .await
            .unwrap()
            .name,
        "two-datacenters"
    );

    let error = fetch_status(&format!("{url}/elsewhere"), DEADLINE)
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::NotAStatus { .. }), "{error}");
    assert!(error.to_string().contains("404 Not Found: not found"), "{error}");

    server.stop.cancel();
    server.task.await.unwrap();
    let error = fetch_status(&url, DEADLINE).await.unwrap_err();
    assert!(matches!(error, FetchError::NoAnswer { .. }), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = fetch_status(
        &silent.local_addr().unwrap().to_string(),
        Duration::from_millis(50),
    )
    .await
    .unwrap_err();
    assert!(error.to_string().ends_with("nothing within 0.05 s"), "{error}");
}

#[tokio::test]
async fn no_bytes_break_it() {
    let server = Server::with(samples::healthy()).await;
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(500));
    let endless_header = format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(100_000));
    let cases: Vec<&[u8]> = vec![
        b"\0",
        b"\r\n\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: \xff\xfe\r\nconnection: close\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nconnection: close\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nffffffffffffffff\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1000000\r\n\r\nnot that many",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        long_path.as_bytes(),
        many_headers.as_bytes(),
        endless_header.as_bytes(),
    ];
    for bytes in cases {
        let mut stream = server.connect().await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let answer = until_closed(&mut stream).await;
        assert!(!answer.starts_with("HTTP/1.1 500"), "{answer}");
        assert!(
            server.ask("GET", "/livez").await.ends_with("ok\n"),
            "after {:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    for (bytes, code) in [
        (&long_path, "414"),
        (&many_headers, "431"),
        (&endless_header, "431"),
    ] {
        let answer = server.raw(bytes.as_bytes()).await;
        // The close may overtake the answer where the server did not read everything.
        let begin = format!("HTTP/1.1 {code}");
        assert!(
            answer.is_empty() || answer.starts_with(&begin) || answer.starts_with("HTTP/1.1 431"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn random_bytes_do_not_break_it() {
    let server = Server::with(samples::healthy()).await;
    for seed in 0..200_u64 {
        // A small generator of its own, so that a failure can be repeated from its number.
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let bytes: Vec<u8> = (0..64)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x as u8
            })
            .collect();
        let mut stream = server.connect().await;
        let _ = stream.write_all(b"GET /").await;
        let _ = stream.write_all(&bytes).await;
        drop(stream);
    }
    assert!(server.ask("GET", "/livez").await.ends_with("ok\n"));
    assert!(!server.task.is_finished());
}

#[tokio::test]
async fn a_silent_client_and_a_slow_one_are_closed_and_disturb_nobody() {
    let limits = Limits {
        head: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = Server::start(samples::healthy, limits).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /livez HTT").await.unwrap();
    let mut idle = server.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(server.ask("GET", "/livez").await.ends_with("ok\n"));

    assert_eq!(until_closed(&mut silent).await, "");
    assert!(!until_closed(&mut slow).await.contains("200"));
    assert!(until_closed(&mut idle).await.ends_with("ok\n"));

    // One byte at a time does not help: the head as a whole has a limit.
    let mut dripping = server.connect().await;
    let start = Instant::now();
    while dripping.write_all(b"a").await.is_ok() && start.elapsed() < DEADLINE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() < DEADLINE, "it may drip for ever");
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_closed() {
    let mut status = samples::many();
    // Far more than the socket buffers of both sides hold.
    let all = status.flows[0].partitions.clone();
    status.flows[0].partitions = (0..40).flat_map(|_| all.clone()).collect();
    let limits = Limits {
        stall: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = Server::start(move || status.clone(), limits).await;
    let mut stream = server.connect().await;
    for _ in 0..20 {
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
    }
    // It writes and never reads; a write fails once the other side is gone.
    let start = Instant::now();
    while stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .is_ok()
    {
        assert!(
            start.elapsed() < DEADLINE,
            "the server holds on to the connection"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(server.ask("GET", "/livez").await.ends_with("ok\n"));
}

#[tokio::test]
async fn the_newest_connection_is_served_whatever_the_others_do() {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    let server = Server::start(samples::healthy, limits).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(server.connect().await);
    }
    assert!(server.ask("GET", "/livez").await.ends_with("ok\n"));
    assert_eq!(until_closed(&mut silent[0]).await, "", "the oldest made room");
}

#[tokio::test]
async fn an_old_connection_is_closed() {
    let limits = Limits {
        age: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Server::start(samples::healthy, limits).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(until_closed(&mut stream).await.ends_with("ok\n"));
}

#[tokio::test]
async fn livez_answers_while_the_status_hangs() {
    let calls = Arc::new(AtomicUsize::new(0));
    let open = Arc::new(AtomicBool::new(false));
    let (count, gate) = (calls.clone(), open.clone());
    let source = move || {
        count.fetch_add(1, Ordering::SeqCst);
        while !gate.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        samples::healthy()
    };
    let limits = Limits {
        status: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Server::start(source, limits).await;
    for path in ["/readyz", "/metrics", "/api/v1/status", "/readyz"] {
        let answer = server.ask("GET", path).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("no status within 0.2 s\n"), "{answer}");
    }
    assert!(server.ask("GET", "/livez").await.ends_with("ok\n"));
    assert_eq!(calls.load(Ordering::SeqCst), 2, "calls that hang do not pile up");

    open.store(true, Ordering::SeqCst);
    let start = Instant::now();
    while !server.ask("GET", "/readyz").await.ends_with("ready\n") {
        assert!(start.elapsed() < DEADLINE);
    }
}

#[tokio::test]
async fn a_source_that_panics_is_an_answer() {
    let server = Server::start(|| panic!("a bug"), Limits::default()).await;
    assert!(server.ask("GET", "/metrics").await.starts_with("HTTP/1.1 500"));
    assert!(server.ask("GET", "/livez").await.ends_with("ok\n"));
}

#[tokio::test]
async fn stopping_finishes_requests_and_waits_for_no_one_else() {
    let open = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicBool::new(false));
    let (gate, seen) = (open.clone(), asked.clone());
    let source = move || {
        seen.store(true, Ordering::SeqCst);
        while !gate.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        samples::healthy()
    };
    let limits = Limits {
        drain: Duration::from_secs(10),
        ..Limits::default()
    };
    let server = Server::start(source, limits).await;
    let mut silent = server.connect().await;
    let mut asking = server.connect().await;
    asking
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let start = Instant::now();
    while !asked.load(Ordering::SeqCst) {
        assert!(start.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop.cancel();
    assert_eq!(until_closed(&mut silent).await, "");
    assert!(
        TcpStream::connect(server.address).await.is_err() || server.ask("GET", "/livez").await.is_empty()
    );
    open.store(true, Ordering::SeqCst);
    assert!(until_closed(&mut asking).await.ends_with("ready\n"));
    timeout(Duration::from_secs(5), server.task)
        .await
        .expect("it need not wait for the deadline")
        .unwrap();
}

#[tokio::test]
async fn stopping_has_a_deadline() {
    let limits = Limits {
        drain: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Server::start(samples::healthy, limits).await;
    let mut half = server.connect().await;
    half.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    assert!(server.ask("GET", "/livez").await.ends_with("ok\n"));
    server.stop.cancel();
    timeout(DEADLINE, server.task).await.expect("it ends").unwrap();
    assert_eq!(until_closed(&mut half).await, "");
}
