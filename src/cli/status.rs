//! `heliostat status`: asks the daemon, or the clusters themselves where no daemon answers, and shows the answer.

use std::future::Future;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Failure;
use super::rates::Rates;
use super::screen::{Ability, Screen, stdout_size};
use super::text::clean;
use super::view::{self, Layout};
use crate::observe::client::{FetchError, fetch_status};
use crate::observe::status::{FlowStatus, Status, StatusSource};

/// Where a daemon listens unless its file says otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Exit code: done.
pub const EXIT_OK: u8 = super::exit::OK;
/// Exit code: wrong usage, here a flow that does not exist.
pub const EXIT_USAGE: u8 = super::exit::USAGE;
/// Exit code of `--check`: a flow is not healthy.
pub const EXIT_UNHEALTHY: u8 = super::exit::UNHEALTHY;
/// Exit code: interrupted, which is how `--watch` ends.
pub const EXIT_INTERRUPTED: u8 = super::exit::INTERRUPTED;

/// How long a daemon may take to answer before the clusters are asked.
const DAEMON_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What to show, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The daemon's address; `None` asks the clusters at once.
    pub url: Option<String>,
    /// The name of the topology in the file that was given. A daemon that runs another one is worth a warning.
    pub topology: Option<String>,
    /// Only the flow of this name.
    pub flow: Option<String>,
    /// Look again every second.
    pub watch: bool,
    /// For people or programs.
    pub output: Output,
    /// Answer with [`EXIT_UNHEALTHY`] if a flow is not healthy.
    pub check: bool,
    /// Partitions shown of each flow; [`view::PARTITIONS_SHOWN`] is a good number.
    pub partitions: usize,
}

/// The form of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Tables.
    #[default]
    Human,
    /// The [`Status`] as it is: one indented object, or with `watch` one object to a line.
    Json,
}

/// Makes a status by asking the clusters of a topology.
pub type FromClusters<'a> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = anyhow::Result<Status>> + 'a>> + 'a>;

/// The address of a daemon that listens there. One that listens on every address is asked on the loopback.
pub fn url_of(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// The flow of this name.
///
/// # Errors
/// If there is none, which says which there are.
pub(super) fn the_flow<'s>(name: &str, status: &'s Status) -> Result<&'s FlowStatus, Failure> {
    if let Some(flow) = status.flows.iter().find(|flow| flow.name == name) {
        return Ok(flow);
    }
    let names: Vec<&str> = status.flows.iter().map(|flow| flow.name.as_str()).collect();
    let message = match names[..] {
        [] => format!("there is no flow {name}: there are no flows"),
        _ => format!("there is no flow {name}; there are: {}", names.join(", ")),
    };
    let message = clean(&message).into_owned();
    Err(Failure {
        code: EXIT_USAGE,
        message,
    })
}

/// Runs the command and returns its exit code. `from_clusters` is there if a topology file was given.
///
/// Fails if nobody answers: no daemon, and no clusters that could be asked.
pub async fn run(options: &Options, from_clusters: Option<FromClusters<'_>>) -> anyhow::Result<u8> {
    let asker = Asker {
        options,
        from_clusters,
    };
    let ability = Ability::of_stdout();
    let result = if options.watch {
        tokio::select! {
            result = asker.watch(ability) => result,
            _ = tokio::signal::ctrl_c() => Ok(EXIT_INTERRUPTED),
        }
    } else {
        let layout = Layout {
            width: stdout_size().width,
            color: ability.color,
            partitions: options.partitions,
        };
        asker.once(layout, &mut io::stdout(), &mut io::stderr()).await
    };
    match result {
        // Whoever reads the output, `head` for example, has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(EXIT_OK),
        result => result,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Knows whom to ask.
struct Asker<'o, 'c> {
    options: &'o Options,
    from_clusters: Option<FromClusters<'c>>,
}

impl Asker<'_, '_> {
    /// Asks the daemon, then the clusters. Notes are for the person: why it was not the daemon that answered.
    async fn ask(&self) -> anyhow::Result<(Status, Vec<String>)> {
        let mut notes = Vec::new();
        if let Some(url) = &self.options.url {
            match fetch_status(url, DAEMON_PATIENCE).await {
                Ok(status) => {
                    if let Some(name) = self
                        .options
                        .topology
                        .as_ref()
                        .filter(|name| **name != status.name)
                    {
                        notes.push(format!(
                            "the daemon at {url} runs the topology {:?}, and the file is {name:?}",
                            status.name
                        ));
                    }
                    return Ok((status, notes));
                }
                Err(error @ FetchError::Url { .. }) if self.from_clusters.is_none() => {
                    return Err(error.into());
                }
                Err(error) if self.from_clusters.is_none() => {
                    bail!("{error}; name a topology file, and its clusters are asked instead");
                }
                Err(error) => notes.push(format!("{error}; the clusters are asked instead")),
            }
        }
        let Some(from_clusters) = &self.from_clusters else {
            bail!("nobody to ask: give the address of a daemon with --url, or a topology file");
        };
        let mut status = from_clusters().await.context("ask the clusters")?;
        status.source = StatusSource::Clusters;
        Ok((status, notes))
    }

    async fn once(&self, layout: Layout, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<u8> {
        let (mut status, notes) = self.ask().await?;
        for note in notes {
            writeln!(err, "note: {note}")?;
        }
        self.narrow(&mut status)?;
        match self.options.output {
            Output::Json => {
                serde_json::to_writer_pretty(&mut *out, &status).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            Output::Human => print(out, &view::full(&status, &Rates::default(), layout))?,
        }
        out.flush()?;
        if self.options.check {
            return self.verdict(&status, err);
        }
        Ok(EXIT_OK)
    }

    /// Leaves only the flow that was asked for, and its clusters.
    fn narrow(&self, status: &mut Status) -> Result<(), Failure> {
        let Some(name) = &self.options.flow else {
            return Ok(());
        };
        let flow = the_flow(name, status)?.clone();
        status
            .clusters
            .retain(|cluster| cluster.alias == flow.source || cluster.alias == flow.target);
        status.flows = vec![flow];
        Ok(())
    }

    fn verdict(&self, status: &Status, err: &mut dyn Write) -> anyhow::Result<u8> {
        let mut code = EXIT_OK;
        for flow in status.flows.iter().filter(|flow| !flow.is_healthy()) {
            writeln!(err, "not healthy: {}", view::flow_line(flow, status.at_ms))?;
            code = EXIT_UNHEALTHY;
        }
        Ok(code)
    }

    /// Looks again and again, in place on a terminal, one block after the other elsewhere. It never ends by itself,
    /// unless nobody reads it any longer.
    async fn watch(&self, ability: Ability) -> anyhow::Result<u8> {
        let mut screen = (ability.redraw && self.options.output == Output::Human).then(Screen::of_process);
        let mut rates = Rates::default();
        let mut interval = tokio::time::interval(WATCH_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let width = screen
                .as_ref()
                .map_or_else(|| stdout_size().width, |screen| screen.room().width);
            let layout = Layout {
                width,
                color: ability.color,
                partitions: self.options.partitions,
            };
            let mut lines = self.look(&mut rates, layout).await?;
            match &mut screen {
                Some(screen) => {
                    view::cut_to_height(&mut lines, width, screen.room().height);
                    screen.draw(lines, Instant::now());
                }
                None => print_block(&mut io::stdout(), &lines, self.options.output)?,
            }
        }
    }

    /// One look of `watch`. That nobody answers is something to see, too: the daemon may come back.
    async fn look(&self, rates: &mut Rates, layout: Layout) -> Result<Vec<String>, Failure> {
        let (mut status, notes) = match self.ask().await {
            Ok(answer) => answer,
            Err(error) => {
                let json = serde_json::json!({ "error": format!("{error:#}") }).to_string();
                return Ok(match self.options.output {
                    Output::Json => vec![json],
                    Output::Human => super::text::wrap(&format!("{error:#}"), layout.width, 0),
                });
            }
        };
        self.narrow(&mut status)?;
        rates.note(&status);
        Ok(match self.options.output {
            Output::Json => vec![serde_json::to_string(&status).unwrap_or_default()],
            Output::Human => {
                let mut lines = view::full(&status, rates, layout);
                for note in notes {
                    lines.extend(super::text::wrap(&format!("note: {note}"), layout.width, 0));
                }
                lines
            }
        })
    }
}

fn print(out: &mut dyn Write, lines: &[String]) -> io::Result<()> {
    let mut text = lines.join("\n");
    text.push('\n');
    out.write_all(text.as_bytes())
}

fn print_block(out: &mut dyn Write, lines: &[String], output: Output) -> anyhow::Result<()> {
    print(out, lines)?;
    if output == Output::Human {
        writeln!(out)?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests;
