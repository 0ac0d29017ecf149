//! temp
use heliostat::*;
use std::path::Path;
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    cli::logging::init(cli::logging::LogFormat::Human, "info", cli::live::Live::writer()).unwrap();
    let topo = match topology::Topology::load(Path::new(&a[2])) {
        Ok(t) => t,
        Err(e) => {
            eprintln!("{e}");
            std::process::exit(2)
        }
    };
    let code = match a[1].as_str() {
        "run" => cli::run::run(Path::new(&a[2]), &topo).await,
        _ => {
            println!(
                "{}",
                serde_json::to_string_pretty(&flow::survey::survey(&topo, "v".into()).await).unwrap()
            );
            Ok(0)
        }
    };
    match code {
        Ok(c) => std::process::exit(c.into()),
        Err(e) => {
            eprintln!("{e:#}");
            std::process::exit(1)
        }
    }
}
