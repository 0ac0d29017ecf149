//! What `heliostat status` prints and with which exit code it ends.

use std::sync::Arc;

use expect_test::expect;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::observe::{http, samples};

const LAYOUT: Layout = Layout {
    width: 100,
    color: false,
    partitions: 12,
};

fn options(url: Option<String>) -> Options {
    Options {
        url,
        topology: None,
        flow: None,
        watch: false,
        output: Output::Human,
        check: false,
        partitions: 12,
    }
}

async fn daemon(status: Status) -> (String, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url_of(listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let sources = http::Sources {
        status: Some(Arc::new(move || status.clone())),
        built_in: None,
        control: None,
        events: None,
        pauses: None,
    };
    http::serve(listener, sources, stop.clone());
    (url, stop)
}

/// An address where nobody listens: its port was given out and is free again.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url_of(listener.local_addr().unwrap())
}

fn clusters_say(status: Status) -> Option<FromClusters<'static>> {
    Some(Box::new(move || {
        let status = status.clone();
        Box::pin(async move { Ok(status) })
    }))
}

/// Exit code, standard output and standard error, with the daemon's address made the same in every run.
async fn shown(options: &Options, from_clusters: Option<FromClusters<'_>>) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let asker = Asker {
        options,
        from_clusters,
    };
    let code = match asker.once(LAYOUT, &mut out, &mut err).await {
        Ok(code) => code.to_string(),
        Err(error) => format!("{error:#}"),
    };
    let text = [out, err].map(|bytes| String::from_utf8(bytes).unwrap());
    let all = format!("{}{}exit: {code}\n", text[0], text[1]);
    all.replace(options.url.as_deref().unwrap_or("?"), "URL")
}

#[tokio::test]
async fn the_daemon_answers() {
    let (url, _stop) = daemon(samples::lagging()).await;
    let mut options = options(Some(url));
    expect![[r#"
        two-datacenters  heliostat 0.1.0 (abc1234), running for 1 h 2 min

        CLUSTER  KIND      REACHABLE  BOOTSTRAP
        primary  built-in  yes        127.0.0.1:19092
        standby  built-in  yes        127.0.0.1:19192

        FLOW              STATE    FOR  PARTITIONS  LAG RECORDS  LAG TIME  COPIED
        primary->standby  copying  2 s           3       12,345     1.7 s   3,000

        primary->standby
          TOPIC     PARTITION  STATE        FOR  POSITION  SOURCE END  LAG RECORDS  LAG TIME
          orders            1  copying      2 s      1000       13345       12,345     1.7 s
          orders            0  caught-up  1 min      1000        1000            0       0 s
          payments          0  caught-up  1 min      1000        1000            0       0 s
        exit: 0
    "#]]
    .assert_eq(&shown(&options, clusters_say(samples::truncated())).await);

    options.output = Output::Json;
    let json = shown(&options, None).await;
    let (json, code) = json.rsplit_once("exit").unwrap();
    assert_eq!(
        (serde_json::from_str::<Status>(json).unwrap(), code),
        (samples::lagging(), ": 0\n")
    );

    options.topology = Some("another".into());
    options.flow = Some("b->a".into());
    expect![[r#"
        note: the daemon at URL runs the topology "two-datacenters", and the file is "another"
        exit: there is no flow b->a; there are: primary->standby
    "#]]
    .assert_eq(&shown(&options, None).await);
}

#[tokio::test]
async fn clusters_answer_where_no_daemon_does() {
    let options = options(Some(nobody().await));
    expect![[r#"
        two-datacenters  the clusters themselves were asked

        CLUSTER  KIND      REACHABLE  BOOTSTRAP
        primary  built-in  yes        127.0.0.1:19092
        standby  built-in  yes        127.0.0.1:19192

        FLOW              STATE      PARTITIONS  LAG RECORDS  LAG TIME
        primary->standby  caught-up           3            0       0 s

        primary->standby
          TOPIC     PARTITION  STATE      POSITION  SOURCE END  LAG RECORDS  LAG TIME
          orders            0  caught-up      1000        1000            0       0 s
          orders            1  caught-up      1000        1000            0       0 s
          payments          0  caught-up      1000        1000            0       0 s
        note: no daemon answers at URL/api/v1/status: Connection refused (os error 111); the clusters are asked instead
        exit: 0
    "#]]
    .assert_eq(&shown(&options, clusters_say(samples::healthy())).await);
    expect![[r#"
        exit: no daemon answers at URL/api/v1/status: Connection refused (os error 111); name a topology file, and its clusters are asked instead
    "#]]
    .assert_eq(&shown(&options, None).await);
    let fails: FromClusters<'_> = Box::new(|| Box::pin(async { bail!("no cluster answers") }));
    expect![[r#"
        exit: ask the clusters: no cluster answers
    "#]]
    .assert_eq(
        &shown(
            &Options {
                url: None,
                ..options.clone()
            },
            Some(fails),
        )
        .await,
    );
    expect![[r#"
        exit: nobody to ask: give the address of a daemon with --url, or a topology file
    "#]]
    .assert_eq(&shown(&Options { url: None, ..options }, None).await);
}

#[tokio::test]
async fn check_is_an_exit_code() {
    let mut all = String::new();
    for status in [
        samples::healthy(),
        samples::lagging(),
        samples::source_unreachable(),
        samples::truncated(),
    ] {
        let options = Options {
            check: true,
            output: Output::Json,
            ..options(None)
        };
        let text = shown(&options, clusters_say(status)).await;
        let end: Vec<&str> = text.lines().skip_while(|line| *line != "}").skip(1).collect();
        all += &(end.join("\n") + "\n");
    }
    expect![[r#"
        exit: 0
        exit: 0
        not healthy: flow primary->standby: waiting, lag unknown for 12 s, at least 120 records, 16 s: primary cannot be reached: connection refused
        exit: 8
        not healthy: flow primary->standby: recreated, 5,000 records behind, 1 min 30 s: payments was deleted and made again on primary
        exit: 8
    "#]]
    .assert_eq(&all);
}

#[tokio::test]
async fn one_flow_of_several() {
    let mut status = samples::healthy();
    let mut back = samples::truncated().flows.remove(0);
    back.name = "standby->third".into();
    back.source = "standby".into();
    back.target = "third".into();
    status.flows.push(back);
    let mut options = Options {
        check: true,
        flow: Some("primary->standby".into()),
        ..options(None)
    };
    let text = shown(&options, clusters_say(status.clone())).await;
    assert!(text.ends_with("exit: 0\n") && !text.contains("third"), "{text}");
    options.flow = Some("standby->third".into());
    let text = shown(&options, clusters_say(status)).await;
    assert!(
        text.ends_with("exit: 8\n") && !text.contains("primary->standby"),
        "{text}"
    );
}

#[tokio::test]
async fn watching_goes_on_when_the_daemon_is_away() {
    let (url, stop) = daemon(samples::lagging()).await;
    let options = options(Some(url));
    let asker = Asker {
        options: &options,
        from_clusters: None,
    };
    let mut rates = Rates::default();
    let lines = asker.look(&mut rates, LAYOUT).await.unwrap();
    assert!(lines[0].starts_with("two-datacenters"), "{lines:?}");
    stop.cancel();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let lines = asker.look(&mut rates, LAYOUT).await.unwrap();
        if lines[0].starts_with("no daemon answers") {
            break;
        }
        assert!(Instant::now() < deadline, "{lines:?}");
    }
}

#[test]
fn addresses() {
    for (listen, url) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:80", "http://[::1]:80"),
        ("10.1.2.3:8080", "http://10.1.2.3:8080"),
    ] {
        assert_eq!(url_of(listen.parse().unwrap()), url);
    }
}
