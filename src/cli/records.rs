//! `heliostat produce` and `heliostat consume`: a line is a record. For trying things where Kafka's own tools are not at hand.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::args::{ConsumeArgs, ProduceArgs};
use super::exit;
use super::sasl_args::ClientSaslArgs;
use super::text::{clean, fit};
use crate::cluster::admin::explain;
use crate::cluster::complaint::{Complaint, Kind};

/// How long a cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer is waited for the word that a record was given up.
const MARGIN: Duration = Duration::from_secs(2);

/// A cluster that closes the connections of a client which it has never answered, and for so long, wants another protocol.
const CLOSED_FOR_GOOD: Duration = Duration::from_secs(2);

/// How long a cluster is waited for at first, each time longer, so that it is soon seen that it does not let us in.
const FIRST_WAITS: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// So many characters are shown of a line that cannot be taken.
const LINE_SHOWN: usize = 60;

/// How long a read waits before it looks for a reason to end.
const TICK: Duration = Duration::from_millis(100);

/// `heliostat produce`: ends with its input, or at a signal.
///
/// # Errors
/// If a record does not arrive.
pub async fn run_produce(args: ProduceArgs) -> anyhow::Result<u8> {
    let work = tokio::task::spawn_blocking(move || produce(&args, std::io::stdin().lock()));
    tokio::select! {
        records = work => {
            // Not within the line of the log, which nobody may want, and which is not looked at then.
            let records = records??;
            tracing::debug!(records, "written");
            Ok(exit::OK)
        }
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
    }
}

/// `heliostat consume`: ends after `--max-messages`, or at a signal.
///
/// # Errors
/// If the topic cannot be read.
pub async fn run_consume(args: ConsumeArgs) -> anyhow::Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let ended = move || stopped.load(Ordering::Relaxed);
    let mut work = tokio::task::spawn_blocking(move || consume(&args, std::io::stdout().lock(), ended));
    let interrupted = tokio::select! {
        records = &mut work => return records?.map(|_| exit::OK).or_else(seen_enough),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    };
    interrupted.context("listen for signals")?;
    stop.store(true, Ordering::Relaxed);
    work.await?.or_else(|error| seen_enough(error).map(|_| 0))?;
    Ok(exit::INTERRUPTED)
}

/// Whoever closed the output, `head` for example, has seen enough, and that is no failure.
fn seen_enough(error: anyhow::Error) -> anyhow::Result<u8> {
    let broken_pipe = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    if broken_pipe { Ok(exit::OK) } else { Err(error) }
}

/// What the client has heard from the cluster.
#[derive(Debug, Default)]
struct Heard {
    /// Records that were acknowledged, and records that were given up.
    arrived: AtomicU64,
    lost: AtomicU64,
    /// Why the first was given up.
    failure: Mutex<Option<String>>,
    /// The last thing that went wrong with a connection, and since when connections have gone wrong in the same way.
    trouble: Mutex<Option<(Complaint, Instant)>>,
}

impl rdkafka::ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!("{line}");
        // That a cluster closes connections, as one does that wants another protocol, is told here alone.
        if facility == "FAIL" {
            self.note(Complaint::read(None, line));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{error}: {reason}");
        self.note(Complaint::read(error.rdkafka_error_code(), reason));
    }
}

impl rdkafka::consumer::ConsumerContext for Heard {}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, _)) = result else {
            self.arrived.fetch_add(1, Ordering::Release);
            return;
        };
        if let Ok(mut first) = self.failure.lock() {
            first.get_or_insert_with(|| error.to_string());
        }
        self.lost.fetch_add(1, Ordering::Release);
    }
}

impl Heard {
    fn note(&self, complaint: Option<Complaint>) {
        let (Some(complaint), Ok(mut trouble)) = (complaint, self.trouble.lock()) else {
            return;
        };
        let since = match &*trouble {
            Some((before, since)) if before.kind == complaint.kind => *since,
            _ => Instant::now(),
        };
        *trouble = Some((complaint, since));
    }

    /// What went wrong last with a connection.
    fn trouble(&self) -> Option<(Complaint, Instant)> {
        self.trouble.lock().ok().and_then(|trouble| trouble.clone())
    }

    /// Fails if the cluster does not take this client as it is, so that waiting is of no use.
    fn see_whether_let_in(&self, servers: &str, sasl: &ClientSaslArgs) -> anyhow::Result<()> {
        match self.trouble() {
            Some((complaint, since))
                if complaint.kind == Kind::Refused
                    || (complaint.kind == Kind::Closed && since.elapsed() > CLOSED_FOR_GOOD) =>
            {
                bail!(sasl.explain(servers, &complaint))
            }
            _ => Ok(()),
        }
    }

    /// What became of all records: nothing, or why not all have arrived.
    fn outcome(&self, options: &ProduceArgs, records: u64) -> anyhow::Result<()> {
        let arrived = self.arrived.load(Ordering::Acquire);
        if arrived == records {
            return Ok(());
        }
        let failure = self.failure.lock().ok().and_then(|failure| failure.clone());
        let reason = failure.unwrap_or_else(|| format!("no answer within {} s", PATIENCE.as_secs()));
        let trouble = self.trouble().map_or(String::new(), |(complaint, _)| {
            let text = options.sasl.explain(&options.bootstrap_server, &complaint);
            format!(" ({text})")
        });
        bail!(
            "{} of {records} records were not acknowledged by {}: {reason}{trouble}",
            records - arrived,
            options.bootstrap_server
        )
    }
}

/// Connects as it is told to, and says why that fails. A cluster that wants another protocol only closes connections, which librdkafka says at this
/// level where no more than one request waits for its answer.
fn client_config(sasl: &ClientSaslArgs) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    sasl.apply(&mut config)?;
    Ok(config)
}

/// Each line of `input` becomes a record. Returns when all are acknowledged.
fn produce(options: &ProduceArgs, input: impl BufRead) -> anyhow::Result<u64> {
    let mut config = client_config(&options.sasl)?;
    let producer: ThreadedProducer<Heard> = config
        .set("bootstrap.servers", &options.bootstrap_server)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("message.timeout.ms", PATIENCE.as_millis().to_string())
        .create_with_context(Heard::default())
        .context("make a producer")?;
    let mut records = 0;
    let mut refused = None;
    for (number, line) in (1_u64..).zip(input.split(b'\n')) {
        let line = line.context("read standard input")?;
        let Some((key, value)) = split(&line, options.key_separator.as_deref()) else {
            refused = Some((number, line));
            break;
        };
        loop {
            let mut record = BaseRecord::<[u8], [u8]>::to(&options.topic).payload(value);
            if let Some(key) = key {
                record = record.key(key);
            }
            producer
                .context()
                .see_whether_let_in(&options.bootstrap_server, &options.sasl)?;
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    producer.flush(TICK).ok();
                }
                Err((error, _)) => bail!("write to {}: {error}", options.topic),
            }
        }
        records += 1;
    }
    // A record is given up after its own time, and a flush may end while that is still being said: what counts is what was heard.
    let deadline = Instant::now() + PATIENCE + MARGIN;
    let heard = producer.context();
    let settled = || heard.arrived.load(Ordering::Acquire) + heard.lost.load(Ordering::Acquire);
    while settled() < records && Instant::now() < deadline {
        heard.see_whether_let_in(&options.bootstrap_server, &options.sasl)?;
        match producer.flush(TICK).map_err(|error| error.rdkafka_error_code()) {
            Ok(()) => std::thread::sleep(Duration::from_millis(1)),
            Err(Some(RDKafkaErrorCode::OperationTimedOut)) => {}
            Err(_) => break,
        }
    }
    heard.outcome(options, records)?;
    if let Some((number, line)) = refused {
        // What came before it was written, and nothing of what comes after it.
        let separator = options.key_separator.as_deref().unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let line = fit(&clean(&line), LINE_SHOWN).into_owned();
        bail!(
            "line {number} has no key separator {separator:?}: {line:?}; the lines before it were written, it and what follows were not"
        );
    }
    Ok(records)
}

/// Key and value of a line; `None` if it lacks the separator that it should have.
fn split<'l>(line: &'l [u8], separator: Option<&str>) -> Option<(Option<&'l [u8]>, &'l [u8])> {
    let separator = separator.map(str::as_bytes).unwrap_or_default();
    if separator.is_empty() {
        return Some((None, line));
    }
    let at = line
        .windows(separator.len())
        .position(|window| window == separator)?;
    Some((Some(&line[..at]), &line[at + separator.len()..]))
}

/// Each record becomes a line of `output`, until `ended`.
fn consume(options: &ConsumeArgs, mut output: impl Write, ended: impl Fn() -> bool) -> anyhow::Result<u64> {
    let mut config = client_config(&options.sasl)?;
    let consumer: BaseConsumer<Heard> = config
        .set("bootstrap.servers", &options.bootstrap_server)
        .set("group.id", "heliostat-consume")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100")
        .create_with_context(Heard::default())
        .context("make a consumer")?;
    consumer
        .assign(&assignment(&consumer, options, &ended)?)
        .context("start to read")?;
    let mut records = 0;
    while !ended() && options.max_messages.is_none_or(|most| records < most) {
        match consumer.poll(TICK) {
            None => {}
            Some(Err(error)) => tracing::warn!("read {}: {error}", options.topic),
            Some(Ok(message)) => {
                if options.verbose {
                    let key = message.key().map_or("null".into(), String::from_utf8_lossy);
                    write!(output, "{}-{}\t{key}\t", message.partition(), message.offset())?;
                }
                output.write_all(message.payload().unwrap_or(b"null"))?;
                output.write_all(b"\n")?;
                output.flush()?;
                records += 1;
            }
        }
    }
    Ok(records)
}

/// All partitions of the topic, which is waited for.
fn assignment(
    consumer: &BaseConsumer<Heard>,
    options: &ConsumeArgs,
    ended: impl Fn() -> bool,
) -> anyhow::Result<TopicPartitionList> {
    let offset = if options.from_beginning {
        Offset::Beginning
    } else {
        Offset::End
    };
    let deadline = Instant::now() + PATIENCE;
    let mut waits = FIRST_WAITS.into_iter();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // The last question gets what is left, and those for a topic that is not there yet are answered at once.
        let wait = waits.next().unwrap_or(left.max(TICK));
        // All topics are asked for: to ask for one by name would make it on some clusters.
        let metadata = match consumer.fetch_metadata(None, wait) {
            Ok(metadata) => metadata,
            Err(error) => {
                // What the client has heard meanwhile it says when it is asked for records. It has none yet.
                drop(consumer.poll(Duration::ZERO));
                let (heard, server) = (consumer.context(), &options.bootstrap_server);
                heard.see_whether_let_in(server, &options.sasl)?;
                if ended() || Instant::now() > deadline {
                    let told = heard.trouble();
                    bail!(unreachable(
                        server,
                        &error,
                        told.map(|(complaint, _)| complaint.text)
                    ));
                }
                continue;
            }
        };
        if let Some(topic) = metadata
            .topics()
            .iter()
            .find(|topic| topic.name() == options.topic)
        {
            let mut list = TopicPartitionList::new();
            for partition in topic.partitions() {
                list.add_partition_offset(&options.topic, partition.id(), offset)?;
            }
            return Ok(list);
        }
        if ended() || Instant::now() > deadline {
            bail!(
                "there is no topic {} at {}",
                options.topic,
                options.bootstrap_server
            );
        }
        std::thread::sleep(TICK);
    }
}

fn unreachable(servers: &str, error: &KafkaError, told: Option<String>) -> String {
    let reason = told.unwrap_or_else(|| match error.rdkafka_error_code() {
        Some(code) => explain(code),
        None => error.to_string(),
    });
    format!("no answer from {servers}: {reason}; see whether a cluster listens there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_value_unless_a_separator_makes_it_key_and_value() {
        assert_eq!(split(b"a:b:c", None), Some((None, &b"a:b:c"[..])));
        assert_eq!(split(b"a:b:c", Some(":")), Some((Some(&b"a"[..]), &b"b:c"[..])));
        assert_eq!(split(b"abc", Some(":")), None);
        assert_eq!(split(b":abc", Some(":")), Some((Some(&b""[..]), &b"abc"[..])));
    }
}
