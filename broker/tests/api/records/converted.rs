//! What the conversion makes of a fetched answer, produced: the broker's own checks take every batch of it.

use heliostat_wire::{
    batch::{BatchView, Retained},
    compression::Compression,
    convert::{Converter, How, Options, Ready, merge},
    record::HeaderView,
};

use super::*;

/// Offset, timestamp, key, value, and the value of each header.
type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Option<Vec<u8>>>);

fn row(offset: i64) -> Row {
    let text = |name: &str| format!("{name} {offset}").into_bytes();
    let key = (offset % 4 != 0).then(|| text("key"));
    let value = (offset % 5 != 0).then(|| text("value").repeat(6));
    let headers = (0..offset % 3).map(|i| (i == 0).then(|| text("header")));
    (offset, NOW - offset * 7, key, value, headers.collect())
}

/// Ten records from `base` on, as `edit` wants the batch.
fn ten(base: i64, edit: impl FnOnce(BatchBuilder) -> BatchBuilder) -> Vec<u8> {
    let mut builder = edit(BatchBuilder::new().base_offset(base).leader_epoch(4));
    for offset in base..base + 10 {
        let (_, timestamp, key, value, headers) = row(offset);
        let headers = headers.iter().map(|value| HeaderView {
            key: b"h",
            value: value.as_deref(),
        });
        builder.push(NewRecord {
            timestamp,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &headers.collect::<Vec<_>>(),
        });
    }
    builder.build().unwrap()
}

/// Every second record of a batch, as compaction leaves them.
fn compacted(bytes: &[u8]) -> Vec<u8> {
    let batch = BatchView::parse(bytes).unwrap();
    let plain = batch.decompress(1 << 20).unwrap();
    let how = Retained {
        level: None,
        delete_horizon: Some(NOW * 2),
    };
    let keep = &mut |record: &heliostat_wire::record::RecordView<'_>| record.offset_delta % 2 == 1;
    batch.retain(&plain, how, keep).unwrap()
}

/// Three messages of format 1 without a checksum.
fn messages(base: i64) -> Vec<u8> {
    let message = |offset: i64| {
        let (_, timestamp, key, value, _) = row(offset);
        let mut body = vec![0, 0, 0, 0, 1, 0];
        body.extend(timestamp.to_be_bytes());
        for part in [key, value] {
            body.extend(part.as_ref().map_or(-1, |part| part.len() as i32).to_be_bytes());
            body.extend(part.unwrap_or_default());
        }
        [
            &offset.to_be_bytes()[..],
            &(body.len() as i32).to_be_bytes(),
            &body,
        ]
        .concat()
    };
    (base..base + 3).flat_map(message).collect()
}

/// An answer with every kind of batch, what a consumer sees of it, and its aborted transactions.
fn answer() -> (Vec<u8>, Vec<Row>, Vec<(i64, i64)>) {
    let (mut bytes, mut rows, mut aborted) = (Vec::new(), Vec::new(), Vec::new());
    for (base, codec) in (0..).step_by(100).zip(Compression::ALL) {
        let packed = |b: BatchBuilder| b.compression(codec, None);
        bytes.extend(ten(base, packed));
        bytes.extend(ten(base + 10, |b| packed(b).producer(5, 1, 7).transactional()));
        bytes.extend(ten(base + 20, |b| packed(b).producer(6, 1, 7).transactional()));
        aborted.push((6, base + 20));
        let marker = BatchBuilder::new().base_offset(base + 30).producer(6, 1, -1);
        let mut marker = marker.transactional().control();
        marker.push(NewRecord {
            key: Some(&[0; 4]),
            value: Some(&[0; 6]),
            ..NewRecord::default()
        });
        bytes.extend(marker.build().unwrap());
        bytes.extend(compacted(&ten(base + 40, packed)));
        bytes.extend(ten(base + 50, |b| packed(b).log_append_time(NOW + 1)));
        bytes.extend(messages(base + 60));
        rows.extend((base..base + 20).map(row));
        rows.extend((base + 40..base + 50).filter(|offset| offset % 2 == 1).map(row));
        rows.extend((base + 50..base + 60).map(|offset| {
            let (_, _, key, value, headers) = row(offset);
            (offset, NOW + 1, key, value, headers)
        }));
        rows.extend((base + 60..base + 63).map(|offset| {
            let (_, timestamp, key, value, _) = row(offset);
            (offset, timestamp, key, value, Vec::new())
        }));
    }
    (bytes, rows, aborted)
}

/// The records of the topic, with these offsets in place of their own.
async fn rows_of(client: &mut Client, topic: &str, offsets: impl Iterator<Item = i64>) -> Vec<Row> {
    let records = fetch(client, topic, 0).await.records.into_bytes().unwrap();
    let (mut rows, mut offsets, mut next) = (Vec::new(), offsets, 0);
    for batch in Batches::new(&records) {
        let batch = batch.unwrap();
        assert_eq!(batch.header().base_offset, next, "without a gap");
        next = batch.header().next_offset();
        let plain = batch.decompress(1 << 20).unwrap();
        for record in batch.records(&plain) {
            let record = record.unwrap();
            rows.push((
                offsets.next().unwrap(),
                batch.header().timestamp(record.timestamp_delta),
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                record.headers.map(|h| h.value.map(<[u8]>::to_vec)).collect(),
            ));
        }
    }
    rows
}

/// Produces all of them as one idempotent producer, and compares what is in the topic then.
async fn arrive(client: &mut Client, topic: &str, ready: &[Ready], rows: &[Row]) {
    let producer = client
        .send(&InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        })
        .await;
    let mut sequence = 0;
    for ready in ready {
        let sealed = ready.seal(producer.producer_id, producer.producer_epoch, sequence);
        let response = produce(client, topic, 0, sealed).await;
        assert_eq!(
            (response.error_code, response.base_offset),
            (0, i64::from(sequence)),
            "{ready:?} {:?}",
            response.error_message
        );
        sequence += ready.records;
    }
    let offsets = ready.iter().flat_map(|ready| ready.source.offsets());
    assert_eq!(rows_of(client, topic, offsets).await, rows, "{topic}");
}

#[tokio::test]
async fn every_batch_that_the_conversion_makes_is_taken() {
    let cluster = start(&[]).await;
    let client = &mut Client::of(&cluster).await;
    let (bytes, rows, aborted) = answer();
    let bytes = Bytes::from(bytes);
    let mut hows = Vec::new();
    for (index, (limit, codec)) in [
        (1 << 20, None),
        (400, None),
        (1 << 20, Some(Compression::Zstd)),
        (300, Some(Compression::Lz4)),
    ]
    .into_iter()
    .enumerate()
    {
        let options = Options {
            compression: codec,
            max_batch_bytes: limit,
            // The messages of format 1 have no checksum here.
            verify: false,
            ..Options::default()
        };
        let mut converter = Converter::new(options);
        converter.start_at(4);
        let mut ready = Vec::new();
        converter.convert(&bytes, &aborted, &mut ready).unwrap();
        hows.extend(ready.iter().map(|ready| ready.how));
        let limit = limit.to_string();
        for (kind, ready) in [("one", ready.clone()), ("merged", merged(&ready, &options))] {
            let topic = format!("{kind}{index}");
            client
                .create_topic(&topic, 1, &[("max.message.bytes", &limit)])
                .await;
            arrive(client, &topic, &ready, &rows[4..]).await;
        }
    }
    for how in [How::Passed, How::Rebuilt, How::Split, How::Recompressed] {
        assert!(hows.contains(&how), "{how:?}");
    }
    cluster.shutdown(PATIENCE).await;
}

/// Merged in fours where that is possible.
fn merged(ready: &[Ready], options: &Options) -> Vec<Ready> {
    let merged = ready
        .chunks(4)
        .map(|group| merge(group, options).map_or_else(|_| group.to_vec(), |one| vec![one]));
    merged.flatten().collect()
}
