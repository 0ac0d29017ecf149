//! Admin calls that the safe wrapper lacks: offsets of many partitions in one call, topics with their ids, and single configs.

use std::ffi::CStr;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::bindings as rd;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::{Event, Queue, c_name, code, millis, text};
use crate::cluster::complaint::Complaint;

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first offset that is still there.
    Earliest,
    /// The offset that the next record gets, as a reader of committed records sees it (the last stable offset).
    LatestCommitted,
}

/// The answer for one partition.
#[derive(Clone, Debug)]
pub struct PartitionOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset, or the broker's error for this partition alone.
    pub offset: Result<i64, RDKafkaErrorCode>,
}

/// What a cluster says of a topic.
#[derive(Clone, Debug)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id as clients write it (22 characters of base64); absent where the broker gives none.
    pub id: Option<String>,
    /// The number of its partitions, or the broker's error for this topic alone.
    pub partitions: Result<usize, RDKafkaErrorCode>,
}

/// ListOffsets (KIP-396) for many partitions at once. Blocks until the answer or the time-out.
pub fn list_offsets<C: ClientContext>(
    client: &AdminClient<C>,
    partitions: &[(&str, i32)],
    spec: OffsetSpec,
    timeout: Duration,
) -> KafkaResult<Vec<PartitionOffset>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = match spec {
        OffsetSpec::Earliest => -2,
        OffsetSpec::LatestCommitted => -1,
    };
    let names = partitions
        .iter()
        .map(|(topic, _)| c_name(topic))
        .collect::<KafkaResult<Vec<_>>>()?;
    let call = Call::new(
        client,
        rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
        timeout,
    );
    // SAFETY: everything that is passed is alive during the call, which copies it; the list is destroyed here.
    unsafe {
        let list = rd::rd_kafka_topic_partition_list_new(i32::try_from(partitions.len()).unwrap_or(0));
        for (name, (_, partition)) in names.iter().zip(partitions) {
            (*rd::rd_kafka_topic_partition_list_add(list, name.as_ptr(), *partition)).offset = wanted;
        }
        let error = rd::rd_kafka_AdminOptions_set_isolation_level(
            call.options,
            rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        );
        if !error.is_null() {
            rd::rd_kafka_error_destroy(error);
        }
        rd::rd_kafka_ListOffsets(call.client, list, call.options, call.queue.0);
        rd::rd_kafka_topic_partition_list_destroy(list);
    }
    let event = call.wait()?;
    let mut offsets = Vec::with_capacity(partitions.len());
    // SAFETY: the result and all that it points to live as long as the event; everything is copied out.
    unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_ListOffsets_result(event.0);
        let infos = rd::rd_kafka_ListOffsets_result_infos(result, &mut count);
        for index in 0..count {
            let found = &*rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
            offsets.push(PartitionOffset {
                topic: text(found.topic),
                partition: found.partition,
                // A call that timed out leaves what was asked for in place of an answer, without an error.
                offset: match code(found.err) {
                    None if found.offset >= 0 => Ok(found.offset),
                    None => Err(RDKafkaErrorCode::OperationTimedOut),
                    Some(code) => Err(code),
                },
            });
        }
    }
    Ok(offsets)
}

/// All offsets that a group has committed (OffsetFetch). Offsets that are part of an open transaction are waited for by asking again
/// later: the broker answers UNSTABLE_OFFSET_COMMIT. Blocks until the answer or the time-out.
pub fn group_offsets<C: ClientContext>(
    client: &AdminClient<C>,
    group: &str,
    timeout: Duration,
) -> KafkaResult<Vec<PartitionOffset>> {
    let name = c_name(group)?;
    let call = Call::new(
        client,
        rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
        timeout,
    );
    // SAFETY: everything that is passed is alive during the call, which copies it; no partitions means all of them.
    unsafe {
        let error = rd::rd_kafka_AdminOptions_set_require_stable_offsets(call.options, 1);
        if !error.is_null() {
            rd::rd_kafka_error_destroy(error);
        }
        let mut request = rd::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), std::ptr::null());
        rd::rd_kafka_ListConsumerGroupOffsets(call.client, &mut request, 1, call.options, call.queue.0);
        rd::rd_kafka_ListConsumerGroupOffsets_destroy(request);
    }
    let event = call.wait()?;
    let mut offsets = Vec::new();
    // SAFETY: the result and all that it points to live as long as the event; everything is copied out.
    unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(event.0);
        let groups = rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
        for index in 0..count {
            let group = *groups.add(index);
            let error = rd::rd_kafka_group_result_error(group);
            if !error.is_null()
                && let Some(code) = code(rd::rd_kafka_error_code(error))
            {
                return Err(KafkaError::AdminOp(code));
            }
            let list = rd::rd_kafka_group_result_partitions(group);
            let found = if list.is_null() { 0 } else { (*list).cnt };
            for index in 0..usize::try_from(found).unwrap_or(0) {
                let found = &*(*list).elems.add(index);
                match code(found.err) {
                    // Nothing is committed there.
                    None if found.offset < 0 => {}
                    failed => offsets.push(PartitionOffset {
                        topic: text(found.topic),
                        partition: found.partition,
                        offset: failed.map_or(Ok(found.offset), Err),
                    }),
                }
            }
        }
    }
    Ok(offsets)
}

/// DescribeTopics for many topics at once. Blocks until the answer or the time-out.
pub fn describe_topics<C: ClientContext>(
    client: &AdminClient<C>,
    topics: &[&str],
    timeout: Duration,
) -> KafkaResult<Vec<TopicDescription>> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let names = topics
        .iter()
        .map(|topic| c_name(topic))
        .collect::<KafkaResult<Vec<_>>>()?;
    let call = Call::new(
        client,
        rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        timeout,
    );
    // SAFETY: everything that is passed is alive during the call, which copies it; the collection is destroyed here.
    unsafe {
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        rd::rd_kafka_DescribeTopics(call.client, collection, call.options, call.queue.0);
        rd::rd_kafka_TopicCollection_destroy(collection);
    }
    let event = call.wait()?;
    let mut described = Vec::with_capacity(topics.len());
    // SAFETY: the result and all that it points to live as long as the event; everything is copied out.
    unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_DescribeTopics_result(event.0);
        let found = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for index in 0..count {
            described.push(topic_description(*found.add(index)));
        }
    }
    Ok(described)
}

/// Sets configs of a topic, and leaves the others as they are (KIP-339). Blocks until the answer or the time-out.
pub fn set_topic_configs<C: ClientContext>(
    client: &AdminClient<C>,
    topic: &str,
    configs: &[(&str, &str)],
    timeout: Duration,
) -> KafkaResult<()> {
    let topic = c_name(topic)?;
    let pairs = configs
        .iter()
        .map(|(name, value)| Ok((c_name(name)?, c_name(value)?)));
    let pairs = pairs.collect::<KafkaResult<Vec<_>>>()?;
    let call = Call::new(
        client,
        rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
        timeout,
    );
    // SAFETY: everything that is passed is alive during the call, which copies it; the resource is destroyed here.
    unsafe {
        let kind = rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        let mut resource = rd::rd_kafka_ConfigResource_new(kind, topic.as_ptr());
        for (name, value) in &pairs {
            let set = rd::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET;
            let (name, value) = (name.as_ptr(), value.as_ptr());
            let error = rd::rd_kafka_ConfigResource_add_incremental_config(resource, name, set, value);
            if !error.is_null() {
                rd::rd_kafka_error_destroy(error);
            }
        }
        rd::rd_kafka_IncrementalAlterConfigs(call.client, &mut resource, 1, call.options, call.queue.0);
        rd::rd_kafka_ConfigResource_destroy(resource);
    }
    let event = call.wait()?;
    // SAFETY: the result and all that it points to live as long as the event.
    let failed = unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_IncrementalAlterConfigs_result(event.0);
        let resources = rd::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
        (0..count).find_map(|index| code(rd::rd_kafka_ConfigResource_error(*resources.add(index))))
    };
    failed.map_or(Ok(()), |code| Err(KafkaError::AdminOp(code)))
}

/// # Safety
/// `topic` is alive during the call.
unsafe fn topic_description(topic: *const rd::rd_kafka_TopicDescription_t) -> TopicDescription {
    // SAFETY: as the caller promises; texts are copied.
    unsafe {
        let error = rd::rd_kafka_TopicDescription_error(topic);
        let failed = if error.is_null() {
            None
        } else {
            code(rd::rd_kafka_error_code(error))
        };
        let mut partitions = 0;
        rd::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        TopicDescription {
            name: text(rd::rd_kafka_TopicDescription_name(topic)),
            id: topic_id(rd::rd_kafka_TopicDescription_topic_id(topic)),
            partitions: failed.map_or(Ok(partitions), Err),
        }
    }
}

/// # Safety
/// `id` is null or alive during the call.
unsafe fn topic_id(id: *const rd::rd_kafka_Uuid_t) -> Option<String> {
    if id.is_null() {
        return None;
    }
    // SAFETY: as the caller promises; the text belongs to the id and is copied.
    let written = unsafe { CStr::from_ptr(rd::rd_kafka_Uuid_base64str(id)) }
        .to_string_lossy()
        .into_owned();
    // The zero id is how a broker that knows no topic ids answers.
    (!written.is_empty() && written.bytes().any(|byte| byte != b'A' && byte != b'=')).then_some(written)
}

/// One admin call under way: its options and the queue for its answer.
struct Call {
    client: *mut rd::rd_kafka_t,
    options: *mut rd::rd_kafka_AdminOptions_t,
    queue: Queue,
    timeout: Duration,
}

impl Call {
    fn new<C: ClientContext>(
        client: &AdminClient<C>,
        operation: rd::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Call {
        let client = client.inner().native_ptr();
        // SAFETY: the client is alive; options and queue are ours to destroy.
        unsafe {
            let options = rd::rd_kafka_AdminOptions_new(client, operation);
            let mut ignored = [0; 256];
            rd::rd_kafka_AdminOptions_set_request_timeout(
                options,
                millis(timeout),
                ignored.as_mut_ptr(),
                ignored.len(),
            );
            Call {
                client,
                options,
                queue: Queue(rd::rd_kafka_queue_new(client)),
                timeout,
            }
        }
    }

    fn wait(&self) -> KafkaResult<Event> {
        // librdkafka answers at its own time-out; the margin covers a thread that is late.
        match self.queue.poll(self.timeout + Duration::from_secs(1)) {
            None => Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)),
            Some(event) => event.result().map(|()| event),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // SAFETY: the options are ours and not used again.
        unsafe { rd::rd_kafka_AdminOptions_destroy(self.options) }
    }
}

/// What an admin client's connections last complained of, such as a refused connection, if that tells why. Nobody else reads the client's log
/// and error events, so they are cleared away here.
pub fn last_complaint<C: ClientContext>(client: &AdminClient<C>) -> Option<Complaint> {
    // SAFETY: the client is alive; the queue handle is ours to destroy.
    let main = Queue(unsafe { rd::rd_kafka_queue_get_main(client.inner().native_ptr()) });
    let mut last = None;
    while let Some(event) = main.poll(Duration::ZERO) {
        let complaint = match event.kind() {
            rd::RD_KAFKA_EVENT_ERROR => Complaint::read(event.error_code(), &event.error_text()),
            rd::RD_KAFKA_EVENT_LOG => event.failure().and_then(|line| Complaint::read(None, &line)),
            _ => None,
        };
        last = complaint.or(last);
    }
    last
}
