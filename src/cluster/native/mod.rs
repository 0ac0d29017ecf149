//! The part of librdkafka that its safe wrapper does not reach.
//!
//! Three things need it: many records at a time in and out of the copying threads, delivery reports in batches, and admin calls that the
//! wrapper lacks (ListOffsets, DescribeTopics with topic ids). This folder is the only one in the crate with `unsafe` code. Every
//! pointer that librdkafka hands out is owned by exactly one of these types and destroyed in its `Drop`.
#![allow(unsafe_code)]

pub mod admin;
mod consumer;
mod producer;

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaType;

pub use admin::{OffsetSpec, PartitionOffset, TopicDescription};
pub use consumer::{Consumed, Consumer, Record, SourceTopic};
pub use producer::{Delivery, Producer, TargetTopic};

use super::complaint::Complaint;

/// How syslog numbers errors, and librdkafka after it; what is worse has a lower number.
const LOG_ERROR: i32 = 3;

/// A client whose logs and errors go to `tracing` under the cluster's alias, and that remembers its last error for people to read.
struct Native {
    // Field order is drop order: the queue must go before the client.
    main: Queue,
    client: Client<Context>,
}

/// The context of a native client: which cluster it talks to.
struct Context {
    cluster: String,
    last_error: Mutex<Option<String>>,
    refused: Mutex<HashMap<(String, i32), Refused>>,
}

/// A partition's records were refused, and are sent again.
struct Refused {
    at: Instant,
    reason: String,
}

/// librdkafka sends again after a second at most, so one that is older has been overcome.
const REFUSED_RECENTLY: Duration = Duration::from_secs(3);

impl ClientContext for Context {}

impl Native {
    fn new(cluster: &str, config: &ClientConfig, kind: RDKafkaType, events: i32) -> KafkaResult<Native> {
        let native_config = config.create_native_config()?;
        // SAFETY: the configuration is alive; the call only sets a bit mask in it.
        unsafe { rd::rd_kafka_conf_set_events(native_config.ptr(), events | rd::RD_KAFKA_EVENT_ERROR) };
        let context = Context {
            cluster: cluster.to_string(),
            last_error: Mutex::new(None),
            refused: Mutex::default(),
        };
        let client = Client::new(config, native_config, kind, context)?;
        // SAFETY: the client is alive; the returned queue is ours to destroy.
        let main = Queue(unsafe { rd::rd_kafka_queue_get_main(client.native_ptr()) });
        Ok(Native { main, client })
    }

    fn ptr(&self) -> *mut rd::rd_kafka_t {
        self.client.native_ptr()
    }

    /// The next event that the caller must handle; logs and errors are dealt with here.
    fn next_event(&self, timeout: Duration) -> Option<Event> {
        let mut wait = timeout;
        loop {
            let event = self.main.poll(wait)?;
            match event.kind() {
                rd::RD_KAFKA_EVENT_LOG => self.note_log(&event),
                rd::RD_KAFKA_EVENT_ERROR => {
                    let text = event.error_text();
                    tracing::debug!(cluster = %self.client.context().cluster, "{text}");
                    // That all brokers are down is no reason, and must not stand in front of one.
                    if Complaint::read(event.error_code(), &text).is_some() {
                        *lock(&self.client.context().last_error) = Some(text);
                    }
                }
                _ => return Some(event),
            }
            wait = Duration::ZERO;
        }
    }

    fn note_log(&self, event: &Event) {
        let Some(line) = event.log_text() else { return };
        let context = self.client.context();
        if let Some((topic, partition, reason)) = refusal(&line) {
            let refused = Refused {
                at: Instant::now(),
                reason: reason.to_string(),
            };
            lock(&context.refused).insert((topic.to_string(), partition), refused);
        }
        // librdkafka calls a refused connection an error and repeats it at every attempt. The flow's state says it once, with the
        // reason; here it is a detail.
        tracing::debug!(target: "librdkafka", cluster = %context.cluster, "{line}");
    }

    fn refused(&self, topic: &str, partition: i32) -> Option<String> {
        let mut refused = lock(&self.client.context().refused);
        refused.retain(|_, refused| refused.at.elapsed() < REFUSED_RECENTLY);
        refused
            .get(&(topic.to_string(), partition))
            .map(|refused| refused.reason.clone())
    }

    fn last_error(&self) -> Option<String> {
        lock(&self.client.context().last_error).clone()
    }

    /// The error that made a client unusable, if any: it has to be made anew.
    fn fatal_error(&self) -> Option<String> {
        self.client
            .fatal_error()
            .map(|(code, text)| format!("{code:?}: {text}"))
    }
}

/// A lock is only poisoned by a panic while it was held; the values behind these locks are whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Queue(*mut rd::rd_kafka_queue_t);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    fn poll(&self, timeout: Duration) -> Option<Event> {
        // SAFETY: the queue is alive; the event, if any, is ours to destroy.
        let event = unsafe { rd::rd_kafka_queue_poll(self.0, millis(timeout)) };
        (!event.is_null()).then_some(Event(event))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the pointer is ours and not used again.
        unsafe { rd::rd_kafka_queue_destroy(self.0) }
    }
}

struct Event(*mut rd::rd_kafka_event_t);

impl Event {
    fn kind(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { rd::rd_kafka_event_type(self.0) }
    }

    fn error_code(&self) -> Option<RDKafkaErrorCode> {
        // SAFETY: the event is alive.
        code(unsafe { rd::rd_kafka_event_error(self.0) })
    }

    fn error_text(&self) -> String {
        // SAFETY: the event is alive; the text is copied before the event goes.
        unsafe { text(rd::rd_kafka_event_error_string(self.0)) }
    }

    fn result(&self) -> KafkaResult<()> {
        match self.error_code() {
            None => Ok(()),
            Some(code) => Err(KafkaError::AdminOp(code)),
        }
    }

    fn log_text(&self) -> Option<String> {
        self.log().map(|(_, _, line)| line)
    }

    /// The line of a log event that says what became of a connection, or that is an error.
    fn failure(&self) -> Option<String> {
        let (level, facility, line) = self.log()?;
        (facility == "FAIL" || level <= LOG_ERROR).then_some(line)
    }

    /// Level, facility and line of a log event.
    fn log(&self) -> Option<(i32, String, String)> {
        let (mut facility, mut line, mut level) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: the event is alive and a log event; the texts are copied before it goes.
        unsafe {
            let failed = rd::rd_kafka_event_log(self.0, &mut facility, &mut line, &mut level);
            (failed == 0).then(|| (level, text(facility), text(line)))
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the pointer is ours and not used again.
        unsafe { rd::rd_kafka_event_destroy(self.0) }
    }
}

/// The topic, the partition and the reason in librdkafka's line about a produce request that was refused and is sent again.
fn refusal(line: &str) -> Option<(&str, i32, &str)> {
    let (place, reason) = line.split_once("]: broker unavailable: produce: ")?;
    let (topic, partition) = place.rsplit_once(" [")?;
    let topic = topic.rsplit(' ').next()?;
    let reason = reason
        .trim_start_matches("Broker: ")
        .trim_start_matches("Local: ");
    Some((topic, partition.parse().ok()?, reason))
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

fn code(code: rd::rd_kafka_resp_err_t) -> Option<RDKafkaErrorCode> {
    (code != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
}

/// # Safety
/// `pointer` is null or a C string that is alive during the call.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// A topic name as C wants it. Kafka's names cannot hold a NUL; one that does is refused rather than cut.
fn c_name(topic: &str) -> KafkaResult<CString> {
    CString::new(topic).map_err(KafkaError::Nul)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_other_lines() {
        let line =
            "[thrd:127.0.0.1:9092/1]: source.orders [12]: broker unavailable: produce: Broker: Disk error";
        assert_eq!(refusal(line), Some(("source.orders", 12, "Disk error")));
        assert_eq!(
            refusal("orders [0]: broker unavailable: produce: x"),
            Some(("orders", 0, "x"))
        );
        assert_eq!(refusal("orders [0]: broker unavailable: fetch: x"), None);
        assert_eq!(refusal("orders [x]: broker unavailable: produce: x"), None);
        assert_eq!(refusal("]: broker unavailable: produce: "), None);
    }
}
