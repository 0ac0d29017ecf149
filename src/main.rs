//! temp
use std::sync::Arc; use std::time::Duration; use heliostat::*;
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_env("HELIOSTAT_LOG")).with_writer(std::io::stderr).init();
    let a: Vec<String> = std::env::args().collect();
    let mk = |alias: &str, b: &str| topology::Cluster{alias: alias.into(), kind: topology::ClusterKind::Existing{bootstrap_servers: vec![b.into()]}, security: None, properties: Default::default()};
    let (s, t) = (Arc::new(cluster::Cluster::new(&mk("a", &a[1]), None)), Arc::new(cluster::Cluster::new(&mk("b", &a[2]), None)));
    let flow = topology::Flow { name: "a->b".into(), source: "a".into(), target: "b".into(), topics: policy::TopicFilter, naming: policy::Naming, on_gap: topology::OnGap::Record, on_recreated: topology::OnRecreated::Halt, replication_factor: None, discovery_interval: Duration::from_secs(2), session_timeout: Duration::from_secs(10), limits: topology::Limits{ in_flight_bytes: 32<<20, bytes_per_second: None } };
    let stop = tokio_util::sync::CancellationToken::new();
    let f = flow::Flow::start(Arc::new(flow), s, t, vec!["a".into(), "b".into()], stop.clone());
    let n: u64 = a[3].parse().unwrap();
    let t0 = std::time::Instant::now();
    while t0.elapsed().as_secs() < n { tokio::time::sleep(Duration::from_millis(500)).await; let st = f.status();
        println!("{:.1}s {:?} {:?} lag {:?} rec {} err {}", t0.elapsed().as_secs_f64(), st.state, st.reason, st.lag, st.records_total, st.errors_total);
        if std::env::var("V").is_ok() { for p in &st.partitions { println!("   {}-{} {:?} {:?} pos {:?} end {:?} tgt {:?} mine {} {:?}", p.topic,p.partition,p.state,p.reason,p.position,p.source_end,p.target_position,p.mine,p.lag); } } }
    stop.cancel(); f.ended().await; println!("ended {:?}", t0.elapsed());
}
