//! Bytes behind the last batch of a segment that is closed: nobody wrote them, and nobody gets to see them.

use std::fs;

use heliostat_wire::Payload;

use super::*;

/// Several closed segments; returns what consumers read, and the base offsets of the segments.
fn bench() -> (Bench, Vec<u8>, Vec<i64>) {
    let bench = Bench::new(small());
    for i in 0..30 {
        bench.append(&batch(&[NOW + i, NOW + i]));
    }
    let all = read_all(&bench.log(), 0, 700);
    let mut bases: Vec<i64> = bench
        .names()
        .iter()
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .collect();
    bases.sort_unstable();
    assert!(bases.len() > 5);
    (bench, all, bases)
}

/// What consumers read whose records are sent from their files.
fn read_files(log: &Log) -> Vec<u8> {
    let (mut out, mut next) = (Vec::new(), 0);
    loop {
        let request = ReadRequest {
            offset: next,
            max_bytes: 5000,
            min_one_batch: true,
            isolation: Isolation::ReadUncommitted,
            in_file_from: 1,
        };
        let Some(slice) = log.read_some(request).unwrap().in_file else {
            return out;
        };
        let bytes = Payload::File(slice).into_bytes().unwrap();
        next = Batches::new(&bytes)
            .last()
            .unwrap()
            .unwrap()
            .header()
            .next_offset();
        out.extend_from_slice(&bytes);
    }
}

#[test]
fn junk_behind_a_closed_segment_is_never_read() {
    let (mut bench, all, bases) = bench();
    let first = first_batch(&all).bytes().to_vec();
    let mut next_batch = first.clone();
    next_batch[..8].copy_from_slice(&bases[2].to_be_bytes());
    let mut endless = first.clone();
    endless[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let kinds: [(&str, Vec<u8>); 6] = [
        ("zeros", vec![0; 5000]),
        ("noise", (0..300u32).map(|i| (i * 167 % 251) as u8).collect()),
        ("a byte", vec![7]),
        ("an older batch once more", first),
        ("a batch that would belong to the next segment", next_batch),
        ("a batch without an end", endless),
    ];
    for (what, junk) in kinds {
        for clean in [true, false] {
            bench.manager().checkpoint().unwrap();
            if clean {
                bench.manager().close(NOW).unwrap();
            }
            bench.kill();
            let path = bench.dir().join(format!("{:020}.log", bases[1]));
            let good = fs::read(&path).unwrap();
            fs::write(&path, [good.clone(), junk.clone()].concat()).unwrap();
            bench.start();
            let log = bench.log();
            assert_eq!(log.log_end_offset(), 60, "{what}, clean: {clean}");
            for max_bytes in [1, 700, 5000] {
                assert!(read_all(&log, 0, max_bytes) == all, "{what}, clean: {clean}");
            }
            assert!(read_files(&log) == all, "{what}, clean: {clean}");
            fs::write(&path, good).unwrap();
        }
    }
}

#[test]
fn junk_in_a_log_that_is_recovered_from_its_start_does_not_end_it() {
    let (mut bench, all, bases) = bench();
    bench.kill();
    let path = bench.dir().join(format!("{:020}.log", bases[1]));
    let good = fs::read(&path).unwrap();
    fs::write(&path, [&good[..], &[0; 1000]].concat()).unwrap();
    bench.start();
    assert!(read_all(&bench.log(), 0, 700) == all);
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[test]
fn a_damaged_batch_at_the_end_of_a_closed_segment_is_an_error_and_no_gap() {
    let (mut bench, all, bases) = bench();
    bench.manager().close(NOW).unwrap();
    bench.kill();
    let path = bench.dir().join(format!("{:020}.log", bases[1]));
    let mut bytes = fs::read(&path).unwrap();
    let last = Batches::new(&bytes).last().unwrap().unwrap().bytes().len();
    let at = bytes.len() - last;
    // Its length says that it goes on beyond the file.
    bytes[at + 8] = 0x40;
    fs::write(&path, bytes).unwrap();
    bench.start();
    let log = bench.log();
    let before = log.read(0, 1 << 20, true).unwrap().records;
    assert!(all.starts_with(&before));
    // What is whole before it is read; it itself is damage, however it is asked for.
    let mut next = bases[1];
    while next < bases[2] - 2 {
        let records = log.read(next, 1 << 20, true).unwrap().records;
        next = Batches::new(&records)
            .last()
            .unwrap()
            .unwrap()
            .header()
            .next_offset();
    }
    let error = log.read(next, 1 << 20, true).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    let after = log.read(bases[2], 1 << 20, true).unwrap().records;
    assert_eq!(first_batch(&after).header().base_offset, bases[2]);
}
