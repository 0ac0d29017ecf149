//! Disks that do not take what they are given.

use super::*;

#[test]
fn a_full_disk_refuses_appends_and_loses_nothing() {
    let mut bench = Bench::new(small());
    let log = bench.log();
    let mut room = 0;
    let mut sequence = 0;
    let (mut refused, mut kept) = (0, Vec::new());
    while kept.len() < 60 {
        // Each try finds another amount of room, so that writes fail at every place: within a batch, between a batch
        // and its index entry, within a roll.
        room = (room * 7 + 13) % 400;
        bench.manager().disk().limit(Some(room));
        let sent = produced(5, 0, sequence, 1);
        match log.append(&sent, 0, NOW) {
            Ok(appended) => {
                assert!(!appended.duplicate);
                assert_eq!(appended.base_offset, i64::from(sequence));
                kept.push(appended.base_offset);
                sequence += 1;
            }
            Err(error) => {
                assert_eq!(error.code().code(), 56, "{error}");
                assert!(matches!(&error, AppendError::Storage(storage) if storage.is_full()));
                refused += 1;
            }
        }
        let end = log.log_end_offset();
        assert_eq!(end, i64::from(sequence));
        let read = read_all(&log, 0, 10_000);
        assert_eq!(Batches::new(&read).count(), kept.len());
    }
    assert!(refused > 20, "{refused}");
    bench.manager().disk().limit(None);
    bench.append(&produced(5, 0, sequence, 1));
    drop(log);
    bench.kill();
    bench.start();
    let read = read_all(&bench.log(), 0, 10_000);
    assert_eq!(Batches::new(&read).count(), kept.len() + 1);
    assert!(bench.append(&produced(5, 0, sequence, 1)).duplicate);
    bench.restart();
    assert_eq!(bench.log().log_end_offset(), i64::from(sequence) + 1);
}

#[test]
fn a_full_disk_refuses_small_files_and_leaves_the_old_ones() {
    let bench = Bench::new(small());
    let log = bench.log();
    for sequence in 0..5 {
        bench.append(&produced(5, 0, sequence, 1));
    }
    assert_eq!(log.delete_records(2).unwrap(), 2);
    let checkpoint = bench.root.path().join("log-start-offset-checkpoint");
    let before = std::fs::read(&checkpoint).unwrap();
    for room in [0, 10] {
        bench.manager().disk().limit(Some(room));
        let error = log.delete_records(4).unwrap_err();
        assert_eq!(error.code().code(), 56, "{error}");
        assert_eq!(log.log_start_offset(), 2);
        assert_eq!(std::fs::read(&checkpoint).unwrap(), before);
        let left = std::fs::read_dir(bench.root.path()).unwrap();
        let left = left.map(|entry| entry.unwrap().path());
        assert!(
            !left
                .into_iter()
                .any(|path| path.extension() == Some("tmp".as_ref()))
        );
        assert!(bench.manager().checkpoint().is_err());
    }
    bench.manager().disk().limit(None);
    assert_eq!(log.delete_records(4).unwrap(), 4);
    bench.manager().checkpoint().unwrap();
}

#[test]
fn a_log_that_was_deleted_on_a_full_disk_leaves_nothing_to_the_next_one_of_its_name() {
    let bench = Bench::new(small());
    bench.append(&batch(&[NOW, NOW, NOW]));
    bench.log().delete_records(2).unwrap();
    bench.manager().disk().limit(Some(0));
    assert!(bench.manager().delete(TOPIC, 0, NOW).unwrap());
    let again = || {
        let id = Uuid::from_bytes([8; 16]);
        bench.manager().create(TOPIC, 0, id, bench.config.clone(), NOW)
    };
    assert!(again().unwrap_err().is_full());
    bench.manager().disk().limit(None);
    assert_eq!(again().unwrap().log_start_offset(), 0);
    assert_eq!(bench.append(&batch(&[NOW])).base_offset, 0);
}

const CHILD: &str = "HELIOSTAT_TEST_FILE_SIZE_LIMIT";

/// The same with an error of the operating system: a limit on the size of files, which a process of its own has.
#[test]
fn a_limit_on_file_size_is_a_storage_error() {
    if std::env::var_os(CHILD).is_some() {
        return write_until_refused();
    }
    let name = "log::tests::disk::a_limit_on_file_size_is_a_storage_error";
    // The signal that would end the process at the limit has to be ignored before it starts.
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

fn write_until_refused() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let bench = Bench::new(LogConfig {
        retention_ms: None,
        ..LogConfig::default()
    });
    let unlimited = getrlimit(Resource::Fsize);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(5000),
            maximum: unlimited.maximum,
        },
    )
    .unwrap();
    let mut sequence = 0;
    let error = loop {
        match bench.log().append(&produced(5, 0, sequence, 3), 0, NOW) {
            Ok(_) => sequence += 3,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code().code(), 56, "{error}");
    assert!(sequence > 9);
    let size = std::fs::metadata(bench.dir().join("00000000000000000000.log"))
        .unwrap()
        .len();
    assert_eq!(
        size,
        bench.log().size_bytes(),
        "the part that was written is cut off"
    );
    assert!(read_all(&bench.log(), 0, 900).len() > 4000);
    setrlimit(Resource::Fsize, unlimited).unwrap();
    assert_eq!(
        bench.append(&produced(5, 0, sequence, 3)).base_offset,
        i64::from(sequence)
    );
    let again = bench.append(&produced(5, 0, sequence, 3));
    assert!(again.duplicate);
}

#[test]
fn a_closed_log_answers_and_takes_nothing() {
    let bench = Bench::new(small());
    let log = bench.log();
    bench.append(&batch(&[NOW]));
    bench.manager().close(NOW).unwrap();
    assert_eq!(log.append(&batch(&[NOW]), 0, NOW).unwrap_err().code().code(), 6);
    assert_eq!(log.read(0, 1, true).unwrap_err().code().code(), 6);
    assert!(log.delete_records(-1).is_err());
    assert_eq!(log.enforce_retention(NOW).unwrap(), 0);
}
