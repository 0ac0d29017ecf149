//! The log: which events, in which form, to where.

use std::io::IsTerminal;

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The environment variable that takes precedence over the level of the command line.
pub const FILTER_VARIABLE: &str = "HELIOSTAT_LOG";

/// What libraries say below this is noise to whoever runs a mirror; a filter that names them has the last word.
const LIBRARIES: &str = "librdkafka=warn,rdkafka=warn,hyper=warn,hyper_util=warn";

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object to a line.
    Json,
}

/// Begins to write the log, once for the life of the process.
///
/// `level` is a level (`info`) or a list of filters (`info,heliostat::flow=debug`); the variable `HELIOSTAT_LOG` takes
/// precedence over it. Fails if either is wrong, or if there is a log already.
pub fn init<W>(format: LogFormat, level: &str, writer: W) -> anyhow::Result<()>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let color = std::io::stderr().is_terminal() && std::env::var("NO_COLOR").unwrap_or_default().is_empty();
    let filter = filter(level, std::env::var(FILTER_VARIABLE).ok().as_deref())?;
    let begun = match format {
        LogFormat::Human => {
            let log = tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_ansi(color)
                .with_writer(writer);
            log.try_init()
        }
        LogFormat::Json => {
            let log = tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_ansi(false)
                .with_writer(writer);
            log.json().flatten_event(true).with_span_list(false).try_init()
        }
    };
    begun.map_err(|error| anyhow::anyhow!("begin the log: {error}"))
}

fn filter(level: &str, variable: Option<&str>) -> anyhow::Result<EnvFilter> {
    let (directives, origin) = match variable.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => (text, FILTER_VARIABLE),
        None => (level.trim(), "the log level"),
    };
    for directive in directives
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
    {
        // A word alone would be taken for the name of a module all of whose events are wanted: `inof` would
        // silently switch off everything else.
        let is_word = !directive.contains(['=', '[', ':']);
        if is_word && directive.parse::<LevelFilter>().is_err() {
            bail!(
                "{origin}: {directive:?} is no level; write off, error, warn, info, debug or trace, \
                 or a module with its level, such as heliostat::flow=debug"
            );
        }
    }
    EnvFilter::builder()
        .parse(format!("{LIBRARIES},{directives}"))
        .with_context(|| format!("{origin}: {directives:?} is no filter"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn the_variable_takes_precedence_and_libraries_are_quiet() {
        for (level, variable, on, off) in [
            ("info", None, vec!["info", "librdkafka=warn"], "debug"),
            ("info", Some("debug"), vec!["debug", "librdkafka=warn"], "trace"),
            ("info", Some("  "), vec!["info"], "debug"),
            (
                "warn,librdkafka=debug",
                None,
                vec!["warn", "librdkafka=debug"],
                "info",
            ),
        ] {
            let filter = filter(level, variable).unwrap().to_string();
            let directives: Vec<&str> = filter.split(',').collect();
            for directive in on {
                assert!(directives.contains(&directive), "{level} {variable:?}: {filter}");
            }
            assert!(!directives.contains(&off), "{level} {variable:?}: {filter}");
        }
    }

    #[test]
    fn a_wrong_filter_says_what_to_write() {
        for (level, variable, expected) in [
            (
                "inof",
                None,
                "the log level: \"inof\" is no level; write off, error",
            ),
            (
                "info",
                Some("info,verbose"),
                "HELIOSTAT_LOG: \"verbose\" is no level",
            ),
            (
                "heliostat=loud",
                None,
                "the log level: \"heliostat=loud\" is no filter",
            ),
        ] {
            let error = filter(level, variable).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(filter("heliostat::flow=debug", None).is_ok());
        assert!(filter("heliostat::flow[partition]=debug,info", None).is_ok());
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_begins_once_and_goes_where_it_should() {
        let out = Shared::default();
        let writer = out.clone();
        init(LogFormat::Json, "info", move || writer.clone()).unwrap();
        tracing::info!(flow = "a->b", "a line of this test");
        tracing::debug!("not wanted in this test");
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("a line of this test"))
            .unwrap();
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&json["flow"], &json["level"]),
            (&"a->b".into(), &"INFO".into()),
            "{json}"
        );
        assert!(!text.contains("not wanted"));
        assert!(
            init(LogFormat::Human, "info", std::io::stderr).is_err(),
            "a second log"
        );
    }
}
