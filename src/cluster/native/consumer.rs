//! Reading partitions without a consumer group, many records at a time.

use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaType;

use super::{Native, Queue, c_name, code, millis, text};

/// A consumer that reads partitions which it is told to read, all through one queue.
pub struct Consumer {
    // Field order is drop order: the queue must go before the client.
    queue: Queue,
    native: Native,
}

/// A topic as one consumer knows it. It must not outlive its consumer.
pub struct SourceTopic {
    topic: *mut rd::rd_kafka_topic_t,
}

// SAFETY: librdkafka's topic handles may be used from any thread.
unsafe impl Send for SourceTopic {}
// SAFETY: as above.
unsafe impl Sync for SourceTopic {}

/// One thing that came out of the queue.
pub enum Consumed {
    /// A record.
    Record(Record),
    /// The reader has seen everything up to this offset, control records included.
    End {
        /// As [`SourceTopic::id`].
        topic: usize,
        /// The partition.
        partition: i32,
        /// The offset that the next record will have, or a later one.
        offset: i64,
    },
    /// Reading this partition has failed.
    Error {
        /// As [`SourceTopic::id`].
        topic: usize,
        /// The partition.
        partition: i32,
        /// The offset that was asked for, where librdkafka says it.
        offset: i64,
        /// Kafka's or librdkafka's error.
        code: RDKafkaErrorCode,
        /// Its text.
        text: String,
    },
}

/// A consumed record, in librdkafka's memory.
pub struct Record(*mut rd::rd_kafka_message_t);

// SAFETY: a message is a plain block of memory with counted references behind it.
unsafe impl Send for Record {}

impl Consumer {
    /// A consumer of the cluster that `config` describes.
    pub fn new(cluster: &str, config: &ClientConfig) -> KafkaResult<Consumer> {
        let native = Native::new(cluster, config, RDKafkaType::RD_KAFKA_CONSUMER, 0)?;
        // SAFETY: the client is alive; the queue is ours to destroy.
        let queue = Queue(unsafe { rd::rd_kafka_queue_new(native.ptr()) });
        Ok(Consumer { queue, native })
    }

    /// A handle for one topic.
    pub fn topic(&self, name: &str) -> KafkaResult<SourceTopic> {
        let name = c_name(name)?;
        // SAFETY: the client and the name are alive; no configuration is passed.
        let topic = unsafe { rd::rd_kafka_topic_new(self.native.ptr(), name.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() {
            return Err(KafkaError::Subscription(format!(
                "no handle for topic {}",
                name.to_string_lossy()
            )));
        }
        Ok(SourceTopic { topic })
    }

    /// Start to read a partition at an offset.
    pub fn start(&self, topic: &SourceTopic, partition: i32, offset: i64) -> KafkaResult<()> {
        // SAFETY: the topic belongs to this consumer and is alive, and so is the queue.
        let failed =
            unsafe { rd::rd_kafka_consume_start_queue(topic.topic, partition, offset, self.queue.0) };
        if failed != 0 {
            // SAFETY: reads a thread-local value of librdkafka.
            let error = unsafe { rd::rd_kafka_last_error() };
            return Err(KafkaError::MessageConsumption(error.into()));
        }
        Ok(())
    }

    /// Stop to read a partition. What is in the queue of it is dropped.
    pub fn stop(&self, topic: &SourceTopic, partition: i32) {
        // SAFETY: the topic belongs to this consumer and is alive.
        unsafe { rd::rd_kafka_consume_stop(topic.topic, partition) };
    }

    /// Stop fetching a partition for now, or go on with it at the record after the last one that was taken.
    pub fn pause(&self, topic: &SourceTopic, partition: i32, paused: bool) {
        // SAFETY: list and client are alive; the list is destroyed here.
        unsafe {
            let list = rd::rd_kafka_topic_partition_list_new(1);
            rd::rd_kafka_topic_partition_list_add(list, rd::rd_kafka_topic_name(topic.topic), partition);
            if paused {
                rd::rd_kafka_pause_partitions(self.native.ptr(), list);
            } else {
                rd::rd_kafka_resume_partitions(self.native.ptr(), list);
            }
            rd::rd_kafka_topic_partition_list_destroy(list);
        }
    }

    /// Take what has arrived, at most `most` items, waiting for the first of them.
    pub fn take(&self, timeout: Duration, most: usize, out: &mut Vec<Consumed>) {
        while self.native.next_event(Duration::ZERO).is_some() {}
        // The batch call waits until the batch is full or the time is over; only a single message is given at once when it comes.
        // SAFETY: the queue is alive; the message is ours, or null.
        let first = unsafe { rd::rd_kafka_consume_queue(self.queue.0, millis(timeout)) };
        if first.is_null() {
            return;
        }
        out.push(consumed(Record(first)));
        let most = most.saturating_sub(1);
        let mut messages: Vec<*mut rd::rd_kafka_message_t> = Vec::with_capacity(most);
        // SAFETY: the vector has room for `most` pointers; librdkafka says how many it has written.
        unsafe {
            let taken = rd::rd_kafka_consume_batch_queue(self.queue.0, 0, messages.as_mut_ptr(), most);
            messages.set_len(usize::try_from(taken).unwrap_or(0).min(most));
        }
        out.extend(messages.into_iter().map(|message| consumed(Record(message))));
    }

    /// Let who waits in [`Consumer::take`] return at once, or who waits there next.
    pub fn wake(&self) {
        // SAFETY: the queue is alive, and may be used from any thread.
        unsafe { rd::rd_kafka_queue_yield(self.queue.0) }
    }

    /// The last error of the client as a whole, such as a refused connection.
    pub fn last_error(&self) -> Option<String> {
        self.native.last_error()
    }
}

fn consumed(record: Record) -> Consumed {
    // SAFETY: the message is alive as long as `record`.
    let message = unsafe { &*record.0 };
    let (topic, partition, offset) = (message.rkt as usize, message.partition, message.offset);
    match code(message.err) {
        None => Consumed::Record(record),
        Some(RDKafkaErrorCode::PartitionEOF) => Consumed::End {
            topic,
            partition,
            offset,
        },
        Some(code) => {
            // SAFETY: as above; the text is copied.
            let text = unsafe { text(rd::rd_kafka_message_errstr(record.0)) };
            Consumed::Error {
                topic,
                partition,
                offset,
                code,
                text,
            }
        }
    }
}

impl SourceTopic {
    /// What [`Record::topic`] of this topic's records gives.
    pub fn id(&self) -> usize {
        self.topic as usize
    }
}

impl Drop for SourceTopic {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again.
        unsafe { rd::rd_kafka_topic_destroy(self.topic) }
    }
}

impl Record {
    fn message(&self) -> &rd::rd_kafka_message_t {
        // SAFETY: the message lives until `self` is dropped.
        unsafe { &*self.0 }
    }

    /// Which [`SourceTopic`] it is of.
    pub fn topic(&self) -> usize {
        self.message().rkt as usize
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.message().partition
    }

    /// Its offset on the source.
    pub fn offset(&self) -> i64 {
        self.message().offset
    }

    /// The bytes of its key and value.
    pub fn size(&self) -> usize {
        self.message().len + self.message().key_len
    }

    /// Its timestamp in milliseconds; -1 where it has none.
    pub fn timestamp(&self) -> i64 {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        unsafe { rd::rd_kafka_message_timestamp(self.0, &mut kind) }
    }

    /// The key, as pointer and length; null and empty are different.
    pub(super) fn raw_key(&self) -> (*mut std::ffi::c_void, usize) {
        (self.message().key, self.message().key_len)
    }

    /// The value, as pointer and length; null and empty are different.
    pub(super) fn raw_value(&self) -> (*mut std::ffi::c_void, usize) {
        (self.message().payload, self.message().len)
    }

    /// The headers, for the caller to destroy or hand on; null where there are none. Names are not looked at: they may be any bytes.
    pub(super) fn take_headers(&mut self) -> *mut rd::rd_kafka_headers_t {
        let mut headers = std::ptr::null_mut();
        // SAFETY: the message is alive; on success the headers are ours.
        let error = unsafe { rd::rd_kafka_message_detach_headers(self.0, &mut headers) };
        if code(error).is_some() {
            std::ptr::null_mut()
        } else {
            headers
        }
    }

    /// A copy of the key.
    pub fn key(&self) -> Option<Vec<u8>> {
        bytes(self.raw_key())
    }

    /// A copy of the value.
    pub fn value(&self) -> Option<Vec<u8>> {
        bytes(self.raw_value())
    }
}

fn bytes((pointer, length): (*mut std::ffi::c_void, usize)) -> Option<Vec<u8>> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the pair comes from a message that is alive in the caller's hands.
    Some(unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), length) }.to_vec())
}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: the message is ours and not used again.
        unsafe { rd::rd_kafka_message_destroy(self.0) }
    }
}
