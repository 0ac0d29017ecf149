//! Writing records to given partitions, and delivery reports many at a time.

use std::ffi::c_void;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaType;

use super::{Native, Record, c_name, code, millis};

/// How many delivery reports are taken out of one event at a time.
const REPORTS_AT_ONCE: usize = 512;

/// A producer. Delivery reports come out of [`Producer::deliveries`], with the tag that [`Producer::send`] was given.
pub struct Producer {
    native: Native,
}

/// A topic as one producer knows it. It must not outlive its producer.
pub struct TargetTopic {
    topic: *mut rd::rd_kafka_topic_t,
}

// SAFETY: librdkafka's topic handles may be used from any thread.
unsafe impl Send for TargetTopic {}
// SAFETY: as above.
unsafe impl Sync for TargetTopic {}

/// What became of a record that was sent.
pub struct Delivery {
    /// The tag that it was sent with.
    pub tag: u64,
    /// Its offset on the target, or why it is not there.
    pub result: Result<i64, RDKafkaErrorCode>,
}

impl Producer {
    /// A producer for the cluster that `config` describes.
    pub fn new(cluster: &str, config: &ClientConfig) -> KafkaResult<Producer> {
        Ok(Producer {
            native: Native::new(
                cluster,
                config,
                RDKafkaType::RD_KAFKA_PRODUCER,
                rd::RD_KAFKA_EVENT_DR,
            )?,
        })
    }

    /// A handle for one topic.
    pub fn topic(&self, name: &str) -> KafkaResult<TargetTopic> {
        let name = c_name(name)?;
        // SAFETY: the client and the name are alive; no configuration is passed.
        let topic = unsafe { rd::rd_kafka_topic_new(self.native.ptr(), name.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() {
            return Err(KafkaError::Subscription(format!(
                "no handle for topic {}",
                name.to_string_lossy()
            )));
        }
        Ok(TargetTopic { topic })
    }

    /// Send a consumed record on as it is: key, value, headers in order, timestamp, partition. If this fails, the record is gone: its
    /// partition has to be read again from there.
    pub fn send(&self, topic: &TargetTopic, mut record: Record, tag: u64) -> Result<(), RDKafkaErrorCode> {
        // librdkafka takes a timestamp of 0 for "now". A millisecond off is the closest that it can be told.
        let timestamp = match record.timestamp() {
            0 => 1,
            timestamp => timestamp,
        };
        let headers = record.take_headers();
        let values = [
            rkt(topic.topic),
            partition(record.partition()),
            flags(rd::RD_KAFKA_MSG_F_COPY),
            memory(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY, record.raw_key()),
            memory(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE, record.raw_value()),
            int64(timestamp),
            opaque(tag),
            headers_value(headers),
        ];
        let count = if headers.is_null() {
            values.len() - 1
        } else {
            values.len()
        };
        match self.produce(&values[..count]) {
            None => Ok(()),
            Some(error) => {
                // SAFETY: on failure the headers are still ours.
                unsafe { destroy_headers(headers) };
                Err(error)
            }
        }
    }

    /// Send a record of our own.
    pub fn send_bytes(
        &self,
        topic: &TargetTopic,
        to: i32,
        key: &[u8],
        value: Option<&[u8]>,
        tag: u64,
    ) -> Result<(), RDKafkaErrorCode> {
        let raw = |bytes: &[u8]| (bytes.as_ptr().cast_mut().cast::<c_void>(), bytes.len());
        let values = [
            rkt(topic.topic),
            partition(to),
            flags(rd::RD_KAFKA_MSG_F_COPY),
            memory(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY, raw(key)),
            memory(
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                value.map_or((std::ptr::null_mut(), 0), raw),
            ),
            opaque(tag),
        ];
        self.produce(&values).map_or(Ok(()), Err)
    }

    fn produce(&self, values: &[rd::rd_kafka_vu_t]) -> Option<RDKafkaErrorCode> {
        // SAFETY: all pointers in the values are alive, and what they point to is copied by the call, except for the headers, which
        // librdkafka owns from here on if it succeeds.
        unsafe {
            let error = rd::rd_kafka_produceva(self.native.ptr(), values.as_ptr(), values.len());
            if error.is_null() {
                return None;
            }
            let found = code(rd::rd_kafka_error_code(error));
            rd::rd_kafka_error_destroy(error);
            found.or(Some(RDKafkaErrorCode::Fail))
        }
    }

    /// Take the delivery reports that have come, waiting for the first of them. `each` is called in the order in which they were made.
    pub fn deliveries(&self, timeout: Duration, mut each: impl FnMut(Delivery)) -> usize {
        let Some(event) = self.native.next_event(timeout) else {
            return 0;
        };
        if event.kind() != rd::RD_KAFKA_EVENT_DR {
            return 0;
        }
        let mut messages: [*const rd::rd_kafka_message_t; REPORTS_AT_ONCE] =
            [std::ptr::null(); REPORTS_AT_ONCE];
        let mut reported = 0;
        loop {
            // SAFETY: the array has the stated room; the messages belong to the event and live as long as it does.
            let taken =
                unsafe { rd::rd_kafka_event_message_array(event.0, messages.as_mut_ptr(), REPORTS_AT_ONCE) };
            for &message in &messages[..taken] {
                // SAFETY: as above.
                let message = unsafe { &*message };
                // A batch that counts as a repetition of an older one is a success to librdkafka, without an offset. Where the record is,
                // or whether it is there at all, nobody knows then: it has to be copied again.
                let result = match code(message.err) {
                    None if message.offset < 0 => Err(RDKafkaErrorCode::DuplicateSequenceNumber),
                    None => Ok(message.offset),
                    Some(code) => Err(code),
                };
                each(Delivery {
                    tag: message._private as u64,
                    result,
                });
            }
            reported += taken;
            if taken < REPORTS_AT_ONCE {
                return reported;
            }
        }
    }

    /// How many records wait to be sent or to be acknowledged.
    pub fn waiting(&self) -> usize {
        // SAFETY: the client is alive.
        usize::try_from(unsafe { rd::rd_kafka_outq_len(self.native.ptr()) }).unwrap_or(0)
    }

    /// Asks the cluster which partitions a topic has, and waits for the answer. Partitions that were added are not known before.
    pub fn refresh(&self, topic: &str, timeout: Duration) -> KafkaResult<()> {
        let topic = self.topic(topic)?;
        let mut metadata = std::ptr::null();
        // SAFETY: client and topic are alive; on success the answer is ours to destroy, which is done here.
        let error = unsafe {
            let error =
                rd::rd_kafka_metadata(self.native.ptr(), 0, topic.topic, &mut metadata, millis(timeout));
            if !metadata.is_null() {
                rd::rd_kafka_metadata_destroy(metadata);
            }
            error
        };
        code(error).map_or(Ok(()), |code| Err(KafkaError::MetadataFetch(code)))
    }

    /// Give up everything that is not acknowledged; the delivery reports say so.
    pub fn purge(&self) {
        // SAFETY: the client is alive.
        unsafe {
            rd::rd_kafka_purge(
                self.native.ptr(),
                rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_INFLIGHT,
            )
        };
    }

    /// The error that made this producer unusable, if any: it has to be made anew.
    pub fn fatal_error(&self) -> Option<String> {
        self.native.fatal_error()
    }

    /// Why the cluster has refused the records of a partition within the last seconds, where librdkafka sends them again and again
    /// instead of giving up. The configuration needs `debug` with `topic`: librdkafka tells of it only there.
    pub fn refused(&self, topic: &str, partition: i32) -> Option<String> {
        self.native.refused(topic, partition)
    }

    /// The last error of the client as a whole, such as a refused connection.
    pub fn last_error(&self) -> Option<String> {
        self.native.last_error()
    }
}

impl Drop for TargetTopic {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again.
        unsafe { rd::rd_kafka_topic_destroy(self.topic) }
    }
}

/// # Safety
/// `headers` is null, or ours and not used again.
unsafe fn destroy_headers(headers: *mut rd::rd_kafka_headers_t) {
    if !headers.is_null() {
        // SAFETY: as the caller promises.
        unsafe { rd::rd_kafka_headers_destroy(headers) }
    }
}

type Union = rd::rd_kafka_vu_s__bindgen_ty_1;

fn value(vtype: rd::rd_kafka_vtype_t, u: Union) -> rd::rd_kafka_vu_t {
    rd::rd_kafka_vu_t { vtype, u }
}

fn rkt(topic: *mut rd::rd_kafka_topic_t) -> rd::rd_kafka_vu_t {
    value(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT, Union { rkt: topic })
}

fn partition(partition: i32) -> rd::rd_kafka_vu_t {
    value(
        rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
        Union { i32_: partition },
    )
}

fn flags(flags: i32) -> rd::rd_kafka_vu_t {
    value(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS, Union { i: flags })
}

fn int64(timestamp: i64) -> rd::rd_kafka_vu_t {
    value(
        rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
        Union { i64_: timestamp },
    )
}

fn opaque(tag: u64) -> rd::rd_kafka_vu_t {
    value(
        rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
        Union {
            ptr: tag as *mut c_void,
        },
    )
}

fn headers_value(headers: *mut rd::rd_kafka_headers_t) -> rd::rd_kafka_vu_t {
    value(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS, Union { headers })
}

fn memory(vtype: rd::rd_kafka_vtype_t, (ptr, size): (*mut c_void, usize)) -> rd::rd_kafka_vu_t {
    value(
        vtype,
        Union {
            mem: rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size },
        },
    )
}
