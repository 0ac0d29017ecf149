//! `heliostat events`: asks the daemon what has happened to its flows, and shows it, a line for each event.

use std::io::{self, Write};
use std::time::Duration;

use super::args::{EventsArgs, OutputArg};
use super::status::{DEFAULT_URL, the_flow, url_of};
use super::text::{clean, utc};
use super::{exit, load_without_secrets};
use crate::observe::client::{FetchError, fetch_events, fetch_status};
use crate::observe::told::{Told, ToldList};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two questions of `--follow`.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

/// Runs the command.
///
/// # Errors
/// If no daemon answers, or if it has no such flow. With `--follow` only if none answers at first.
pub async fn run(args: EventsArgs) -> anyhow::Result<u8> {
    let listens_at = match &args.file {
        Some(file) => Some(url_of(load_without_secrets(file)?.http.listen)),
        None => None,
    };
    let url = args.url.clone().or(listens_at);
    let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
    if let Some(flow) = &args.flow {
        let status = fetch_status(&url, PATIENCE).await.map_err(explain)?;
        the_flow(flow, &status)?;
    }
    let list = fetch_events(&url, args.since, PATIENCE).await.map_err(explain)?;
    if !show(&args, &list)? {
        return Ok(exit::OK);
    }
    if !args.follow {
        return Ok(exit::OK);
    }
    tokio::select! {
        result = follow(&args, &url, list) => result.map(|()| exit::OK),
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
    }
}

/// Says what to do where no daemon answers.
fn explain(error: FetchError) -> anyhow::Error {
    match error {
        FetchError::NoAnswer { .. } => anyhow::anyhow!(
            "{error}; start it with heliostat run FILE, or name its topology file or its --url if it listens elsewhere"
        ),
        error => error.into(),
    }
}

/// Asks again and again, until nobody reads it any longer.
async fn follow(args: &EventsArgs, url: &str, mut last: ToldList) -> anyhow::Result<()> {
    let mut interval = tokio::time::interval(FOLLOW_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_away = false;
    loop {
        interval.tick().await;
        match next(url, &last).await {
            Ok((list, lost)) => {
                is_away = false;
                if list.since_ms != last.since_ms {
                    complain(&started_anew(&list));
                }
                if lost > 0 {
                    complain(&format!("{lost} events are not kept any more"));
                }
                if !show(args, &list)? {
                    return Ok(());
                }
                last = list;
            }
            Err(error) => {
                // It may come back, with numbers of its own.
                if !std::mem::replace(&mut is_away, true) {
                    complain(&error.to_string());
                }
            }
        }
    }
}

/// What is to be said of a daemon that is not the one that was asked before.
fn started_anew(list: &ToldList) -> String {
    format!(
        "the daemon was started anew at {}: its events are numbered from 1 again",
        utc(list.since_ms)
    )
}

/// What has happened since, and how many events of that are gone.
async fn next(url: &str, last: &ToldList) -> Result<(ToldList, u64), FetchError> {
    let list = fetch_events(url, last.next, PATIENCE).await?;
    if list.since_ms == last.since_ms {
        let lost = list.first.saturating_sub(last.next);
        return Ok((list, lost));
    }
    // Another daemon, or the same one started anew: it counts from 1.
    let list = fetch_events(url, 0, PATIENCE).await?;
    let lost = list.first.saturating_sub(1);
    Ok((list, lost))
}

/// Shows those that are wanted. False if nobody reads it any longer.
fn show(args: &EventsArgs, list: &ToldList) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    let mut write = || -> io::Result<()> {
        for event in list.events.iter().filter(|event| is_wanted(args, event)) {
            let line = match args.output {
                OutputArg::Json => serde_json::to_string(event).map_err(io::Error::from)?,
                OutputArg::Human => line(event),
            };
            writeln!(out, "{line}")?;
        }
        out.flush()
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(true),
    }
}

fn is_wanted(args: &EventsArgs, event: &Told) -> bool {
    args.flow.as_ref().is_none_or(|flow| *flow == event.flow)
        && (args.kinds.is_empty() || args.kinds.iter().any(|kind| kind.name() == event.kind))
}

/// An event for a person: number, time, flow, place, what, why.
fn line(event: &Told) -> String {
    let mut line = format!("{:>6}  {}  {}", event.sequence, utc(event.at_ms), event.flow);
    match (&event.topic, event.partition) {
        (Some(topic), Some(partition)) => line += &format!("  {topic}-{partition}"),
        (Some(topic), None) => line += &format!("  {topic}"),
        (None, _) => {}
    }
    line += &match (&event.from, &event.to) {
        (Some(from), Some(to)) => format!("  {from} -> {to}"),
        _ => format!("  {}", event.kind),
    };
    let offsets = event.offsets.map(|(first, last)| match first == last {
        true => format!("at source offset {first}"),
        false => format!("source offsets {first} to {last}"),
    });
    // Where the reason is about the offsets, they are said once.
    line += &match (offsets, &event.reason) {
        (None, None) => String::new(),
        (Some(offsets), None) => format!("  {offsets}"),
        (Some(offsets), Some(reason)) if !reason.contains(&offsets) => {
            match reason.strip_prefix("source offsets ") {
                Some(rest) => format!("  {offsets} {rest}"),
                None => format!("  {offsets}: {reason}"),
            }
        }
        (_, Some(reason)) => format!(": {reason}"),
    };
    clean(&line).into_owned()
}

fn complain(text: &str) {
    // Whoever does not read errors is not served better by a failure.
    drop(writeln!(io::stderr().lock(), "note: {}", clean(text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_people() {
        let event = Told {
            sequence: 12,
            at_ms: 1_795_275_812_271,
            flow: "a->b".into(),
            topic: Some("orders".into()),
            partition: Some(3),
            kind: "quarantined".into(),
            from: Some("copying".into()),
            to: Some("quarantined".into()),
            offsets: Some((17, 17)),
            reason: Some("too\nlarge".into()),
            ..Told::default()
        };
        assert_eq!(
            line(&event),
            "    12  2026-11-21T15:43:32.271Z  a->b  orders-3  copying -> quarantined  at source offset 17: too large"
        );
        let pause = Told {
            topic: None,
            partition: None,
            kind: "paused".into(),
            from: None,
            to: None,
            offsets: None,
            reason: None,
            clears: None,
            ..event
        };
        assert_eq!(line(&pause), "    12  2026-11-21T15:43:32.271Z  a->b  paused");
        let of_offsets = |reason: &str| Told {
            kind: "gap".into(),
            offsets: Some((5, 7)),
            reason: Some(reason.into()),
            ..pause.clone()
        };
        for (reason, expected) in [
            (
                "source offsets were deleted",
                "gap  source offsets 5 to 7 were deleted",
            ),
            (
                "source offsets 5 to 7 were deleted",
                "gap: source offsets 5 to 7 were deleted",
            ),
            ("the disk is full", "gap  source offsets 5 to 7: the disk is full"),
        ] {
            assert!(line(&of_offsets(reason)).ends_with(expected), "{reason}");
        }
        let of_a_later_version = Told {
            kind: "moved\u{1b}[2J-on".into(),
            ..pause
        };
        assert_eq!(
            line(&of_a_later_version),
            "    12  2026-11-21T15:43:32.271Z  a->b  moved [2J-on"
        );
    }
}
