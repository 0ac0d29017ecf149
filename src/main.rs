//! temp
use heliostat::*;
use std::sync::Arc;
use std::time::Duration;
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("HELIOSTAT_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let a: Vec<String> = std::env::args().collect();
    let mk = |alias: &str, b: &str| topology::Cluster {
        alias: alias.into(),
        kind: topology::ClusterKind::Existing {
            bootstrap_servers: vec![b.into()],
        },
        security: None,
        properties: Default::default(),
    };
    let p = |s: &str| policy::Pattern::new(s).unwrap();
    let inc = std::env::var("T").unwrap_or(".*".into());
    let flow = topology::Flow {
        name: "a->b".into(),
        source: "a".into(),
        target: "b".into(),
        topics: policy::TopicFilter {
            include: vec![p(&inc)],
            exclude: vec![p("__.*"), p(".*[-.]internal")],
        },
        naming: policy::Naming::Prefix {
            separator: ".".into(),
        },
        on_gap: topology::OnGap::Record,
        on_recreated: topology::OnRecreated::Halt,
        replication_factor: None,
        discovery_interval: Duration::from_secs(2),
        session_timeout: Duration::from_secs(10),
        limits: topology::Limits {
            in_flight_bytes: 32 << 20,
            bytes_per_second: None,
        },
    };
    let topo = topology::Topology {
        file: "x".into(),
        name: "x".into(),
        clusters: vec![mk("a", &a[1]), mk("b", &a[2])],
        flows: vec![flow],
        http: topology::Http {
            listen: "127.0.0.1:8080".parse().unwrap(),
        },
    };
    if a[3] == "survey" {
        println!(
            "{}",
            serde_json::to_string_pretty(&flow::survey::survey(&topo, "v".into()).await).unwrap()
        );
        return;
    }
    let t0 = std::time::Instant::now();
    let d = flow::daemon::Daemon::start(&topo, flow::daemon::Fleet::new(&topo, |_| None), "v".into());
    let n: u64 = a[3].parse().unwrap();
    let q = std::env::var("Q").is_ok();
    let mut last = 0;
    while t0.elapsed().as_secs() < n {
        tokio::time::sleep(Duration::from_millis(if q { 20 } else { 500 })).await;
        let st = d.status().flows.remove(0);
        if q {
            if st.records_total != last && last == 0 {
                println!("first at {:?}", t0.elapsed());
            }
            last = st.records_total;
            if st.state == observe::status::State::CaughtUp && last > 0 {
                break;
            }
            continue;
        }
        println!(
            "{:.1}s {:?} {:?} lag {:?} rec {} err {}",
            t0.elapsed().as_secs_f64(),
            st.state,
            st.reason,
            st.lag,
            st.records_total,
            st.errors_total
        );
        if std::env::var("V").is_ok() {
            for p in &st.partitions {
                println!(
                    "   {}-{} {:?} {:?} pos {:?} end {:?} tgt {:?} mine {} {:?}",
                    p.topic,
                    p.partition,
                    p.state,
                    p.reason,
                    p.position,
                    p.source_end,
                    p.target_position,
                    p.mine,
                    p.lag
                );
            }
        }
    }
    println!("records {last} in {:?}", t0.elapsed());
    d.stop();
    d.ended(Duration::from_secs(10)).await;
    println!("ended {:?}", t0.elapsed());
    print!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|l| l.starts_with("VmHWM"))
            .collect::<String>()
    );
    let _ = Arc::new(1);
}
