//! From the producer's send until the acknowledgement, at a steady rate.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use crate::asked::Line;
use crate::load::VALUE_BYTES;
use crate::server::Kind;
use crate::support::clients::Client;
use crate::table::{self, print};

/// Not counted: connections are made, code is compiled by a JVM.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long the last acknowledgements may take.
const END: Duration = Duration::from_secs(30);
const TOPIC: &str = "bench";

/// Collects how long each acknowledgement took.
#[derive(Clone)]
struct Delays {
    clock: Instant,
    each: Arc<Mutex<Vec<Duration>>>,
}

impl ClientContext for Delays {}

impl ProducerContext for Delays {
    /// When the record was sent, on the clock.
    type DeliveryOpaque = Box<Duration>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Duration>) {
        if let Err((error, _)) = result {
            panic!("a record was not written: {error}");
        }
        let took = self.clock.elapsed() - *sent;
        if *sent > WARM_UP {
            self.each.lock().expect("no panic while it was held").push(took);
        }
    }
}

/// Runs and prints; returns what is asked for.
pub fn run(rate: u32, seconds: u32, servers: &[Kind]) -> Vec<Line> {
    let (mut rows, mut lines, mut kafka) = (Vec::new(), Vec::new(), None);
    let in_milliseconds = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
    for &kind in servers {
        let Some(server) = kind.start() else { continue };
        let client = server.client();
        client.create_topic(TOPIC, 1, &[]);
        let delays = measure(&client, rate, WARM_UP + Duration::from_secs(u64::from(seconds)));
        let slow = percentile_99(delays.clone());
        match (kind, kafka) {
            (Kind::Kafka, _) => kafka = Some(slow),
            // Only what comes from the page cache promises what Kafka does.
            (Kind::HeliostatOs, Some(kafka)) => {
                let what = format!("{}: p99 of acknowledgements", kind.name());
                lines.push(Line::at_most_of_kafkas(what, 1.0, kafka, slow, in_milliseconds));
            }
            _ => {}
        }
        rows.push(table::delays(kind.name(), delays, 2));
    }
    println!(
        "\n{rate} records/s of {VALUE_BYTES} bytes, acks=all, one partition, {seconds} s; from send to acknowledgement:"
    );
    print(&["", "p50", "p99", "max", "records"], &rows);
    lines
}

/// In seconds.
fn percentile_99(mut delays: Vec<Duration>) -> f64 {
    delays.sort_unstable();
    let at = (delays.len() * 99 / 100).min(delays.len().saturating_sub(1));
    delays.get(at).map_or(f64::NAN, Duration::as_secs_f64)
}

fn measure(client: &Client, rate: u32, during: Duration) -> Vec<Duration> {
    let delays = Delays {
        clock: Instant::now(),
        each: Arc::default(),
    };
    let producer: ThreadedProducer<Delays> = client
        .config()
        .set("linger.ms", "0")
        .set("enable.idempotence", "true")
        .create_with_context(delays.clone())
        .expect("create a producer");
    let total = (during.as_secs_f64() * f64::from(rate)) as u64;
    for number in 0..total {
        let due = delays.clock + Duration::from_secs_f64(number as f64 / f64::from(rate));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let value = [b'.'; VALUE_BYTES];
        let sent = Box::new(delays.clock.elapsed());
        let record: BaseRecord<'_, (), [u8], Box<Duration>> = BaseRecord::with_opaque_to(TOPIC, sent)
            .partition(0)
            .payload(&value[..]);
        producer
            .send(record)
            .unwrap_or_else(|(error, _)| panic!("write a record: {error}"));
    }
    producer.flush(END).expect("write the last records");
    let mut each = delays.each.lock().expect("no panic while it was held");
    std::mem::take(&mut *each)
}
