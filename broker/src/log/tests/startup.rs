//! Data directories: opened, closed, killed, damaged.

use super::*;
use std::fs;

#[test]
fn a_directory_belongs_to_one_process_and_one_cluster() {
    let bench = Bench::new(small());
    let options = LogManagerOptions::new(bench.root.path());
    let second = LogManager::open(options.clone(), NOW, &|_| small());
    assert!(matches!(second, Err(OpenError::Locked(_))));
    let cluster = bench.manager().meta().cluster_id.clone();
    assert_eq!(cluster.len(), 22);
    drop(bench.manager);
    let other = LogManagerOptions {
        cluster_id: Some("another".to_owned()),
        ..options.clone()
    };
    assert!(matches!(
        LogManager::open(other, NOW, &|_| small()),
        Err(OpenError::OtherCluster { .. })
    ));
    let same = LogManagerOptions {
        cluster_id: Some(cluster),
        ..options
    };
    LogManager::open(same, NOW, &|_| small()).unwrap();
}

#[test]
fn a_deletion_that_was_interrupted_is_finished() {
    let mut bench = Bench::new(small());
    bench.append(&batch(&[NOW; 3]));
    assert!(bench.manager().delete(TOPIC, 0, NOW).unwrap());
    assert!(!bench.manager().delete(TOPIC, 0, NOW).unwrap());
    assert!(!bench.dir().exists());
    let rest = bench
        .root
        .path()
        .join("gone-3.0123456789abcdef0123456789abcdef-delete");
    fs::create_dir(&rest).unwrap();
    fs::write(rest.join("00000000000000000000.log"), "x").unwrap();
    bench.kill();
    bench.start();
    assert!(bench.manager().logs().is_empty());
    bench.manager().remove_deleted(NOW);
    assert!(!rest.exists());
    let fresh = bench
        .manager()
        .create(TOPIC, 0, Uuid::from_bytes([8; 16]), small(), NOW)
        .unwrap();
    assert_eq!((fresh.log_start_offset(), fresh.log_end_offset()), (0, 0));
}

#[test]
fn topic_ids_are_kept_and_names_are_checked() {
    let mut bench = Bench::new(small());
    let id = bench.log().topic_id();
    let again = bench.manager().create(TOPIC, 0, id, small(), NOW).unwrap();
    assert!(Arc::ptr_eq(&again, &bench.log()));
    assert!(
        bench
            .manager()
            .create(TOPIC, 0, Uuid::from_bytes([9; 16]), small(), NOW)
            .is_err()
    );
    for name in ["..", ".", "", "a/b", "ä", "../x"] {
        assert!(
            bench.manager().create(name, 0, id, small(), NOW).is_err(),
            "{name}"
        );
    }
    bench.kill();
    bench.start();
    assert_eq!(bench.log().topic_id(), id);
}

#[test]
fn unknown_files_are_left_alone() {
    let mut bench = Bench::new(small());
    bench.append(&batch(&[NOW; 3]));
    for path in ["notes.txt", "orders-0/notes.txt", "orders-0/12.log"] {
        fs::write(bench.root.path().join(path), "mine").unwrap();
    }
    fs::create_dir(bench.root.path().join("lost+found")).unwrap();
    bench.kill();
    bench.start();
    assert_eq!(bench.manager().logs().len(), 1);
    for path in ["notes.txt", "orders-0/notes.txt", "orders-0/12.log"] {
        assert_eq!(fs::read(bench.root.path().join(path)).unwrap(), b"mine");
    }
    assert_eq!(bench.log().log_end_offset(), 3);
}

#[test]
fn indexes_and_snapshots_are_rebuilt_whatever_became_of_them() {
    for suffix in [".index", ".timeindex", ".snapshot"] {
        for content in [None, Some(&b"garbage"[..]), Some(&[0xff; 24][..])] {
            let mut bench = Bench::new(small());
            for i in 0..60 {
                bench.append(&produced(9, 0, i, 1));
            }
            let all = read_all(&bench.log(), 0, 500);
            bench.restart();
            bench.manager().close(NOW).unwrap();
            bench.kill();
            for name in bench.names().iter().filter(|name| name.ends_with(suffix)) {
                let path = bench.dir().join(name);
                content
                    .map_or_else(|| fs::remove_file(&path), |content| fs::write(&path, content))
                    .unwrap();
            }
            bench.start();
            assert_eq!(read_all(&bench.log(), 0, 500), all, "{suffix} with {content:?}");
            for offset in 0..60 {
                let records = bench.log().read(offset, 1, true).unwrap().records;
                assert_eq!(first_batch(&records).header().base_offset, offset);
            }
            let found = bench.log().offset_for_timestamp(NOW).unwrap().unwrap();
            assert_eq!(found.offset, 0);
            assert!(
                bench.append(&produced(9, 0, 59, 1)).duplicate,
                "{suffix} with {content:?}"
            );
        }
    }
}

#[test]
fn recovery_starts_at_the_recovery_point() {
    let mut bench = Bench::new(small());
    for _ in 0..30 {
        bench.append(&batch(&[NOW; 2]));
    }
    bench.log().flush(NOW).unwrap();
    bench.manager().checkpoint().unwrap();
    for _ in 0..3 {
        bench.append(&batch(&[NOW; 2]));
    }
    // A byte of a record that was on disk before: it is not looked at again, and the log goes on.
    let first = bench.dir().join("00000000000000000000.log");
    let mut bytes = fs::read(&first).unwrap();
    bytes[70] ^= 1;
    fs::write(&first, bytes).unwrap();
    bench.kill();
    bench.start();
    assert!(!bench.manager().started_clean());
    assert_eq!(bench.log().log_end_offset(), 66);
}

#[test]
fn a_bad_batch_ends_the_log_and_later_segments_go() {
    let mut bench = Bench::new(small());
    for _ in 0..30 {
        bench.append(&batch(&[NOW; 2]));
    }
    let segments: Vec<String> = bench
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .collect();
    let second = bench.dir().join(&segments[1]);
    let mut bytes = fs::read(&second).unwrap();
    let whole = first_batch(&bytes).bytes().len();
    let end = first_batch(&bytes).header().next_offset();
    bytes[whole + 70] ^= 1;
    fs::write(&second, bytes).unwrap();
    bench.kill();
    bench.start();
    assert_eq!(
        (bench.log().log_end_offset(), bench.log().segment_count()),
        (end, 2)
    );
    assert_eq!(bench.append(&batch(&[NOW])).base_offset, end);
    assert_eq!(
        bench.names().iter().filter(|name| name.ends_with(".log")).count(),
        2
    );
}

#[test]
fn a_log_that_ends_before_its_start_begins_anew_at_its_start() {
    let mut bench = Bench::new(LogConfig::default());
    bench.append(&batch(&[NOW; 50]));
    bench.append(&batch(&[NOW; 50]));
    bench.log().delete_records(90).unwrap();
    bench.kill();
    let path = bench.dir().join("00000000000000000000.log");
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(100)
        .unwrap();
    bench.start();
    assert_eq!(
        (bench.log().log_start_offset(), bench.log().log_end_offset()),
        (90, 90)
    );
    assert_eq!(bench.append(&batch(&[NOW])).base_offset, 90);
    bench.restart();
    assert_eq!(bench.log().log_end_offset(), 91);
}

#[test]
fn the_files_are_those_that_kafka_writes() {
    let mut bench = Bench::new(LogConfig {
        index_interval_bytes: 0,
        ..LogConfig::default()
    });
    for i in 0..3 {
        bench.append(&produced(9, 0, i, 1));
    }
    bench.restart();
    bench.manager().close(NOW).unwrap();
    assert_eq!(
        bench.names(),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "00000000000000000003.snapshot",
            "leader-epoch-checkpoint",
            "partition.metadata"
        ]
    );
    let read = |name: &str| fs::read_to_string(bench.root.path().join(name)).unwrap();
    assert_eq!(read("orders-0/leader-epoch-checkpoint"), "0\n1\n0 0\n");
    assert_eq!(
        read("orders-0/partition.metadata"),
        format!("version: 0\ntopic_id: {}", bench.log().topic_id())
    );
    assert_eq!(read("recovery-point-offset-checkpoint"), "0\n1\norders 0 3\n");
    assert_eq!(read("log-start-offset-checkpoint"), "0\n0\n");
    assert!(read(".kafka_cleanshutdown").starts_with("{\"version\":0"));
}

#[test]
fn lost_leader_epochs_are_found_in_the_log() {
    let mut bench = Bench::new(small());
    let mut torn: [(&str, Option<&[u8]>); 4] = [
        ("gone", None),
        ("empty", Some(b"")),
        ("cut", Some(b"0\n3\n0 0\n1")),
        ("zeros", Some(&[0; 16])),
    ];
    torn.reverse();
    for (epoch, (what, content)) in (0..).zip(torn) {
        for _ in 0..9 {
            bench.log().append(&batch(&[NOW; 3]), epoch, NOW).unwrap();
        }
        let expected = bench.log().leader_epochs();
        let file = bench.dir().join("leader-epoch-checkpoint");
        for clean in [true, false] {
            if clean {
                bench.manager().close(NOW).unwrap();
            } else {
                bench.log().flush(NOW).unwrap();
                bench.manager().checkpoint().unwrap();
            }
            bench.kill();
            match content {
                Some(content) => fs::write(&file, content).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            bench.start();
            assert_eq!(bench.log().leader_epochs(), expected, "{what}, closed: {clean}");
        }
    }
}

#[test]
fn a_data_directory_that_was_removed_takes_no_new_logs() {
    let bench = Bench::new(LogConfig::default());
    fs::remove_dir_all(bench.root.path()).unwrap();
    let id = Uuid::from_bytes([8; 16]);
    let created = bench.manager().create("late", 0, id, LogConfig::default(), NOW);
    assert!(created.is_err());
    assert!(!bench.root.path().exists());
}

#[test]
fn a_log_of_many_segments_is_flushed_whole() {
    let mut bench = Bench::new(small());
    for _ in 0..300 {
        bench.append(&batch(&[NOW; 3]));
    }
    assert!(bench.log().segment_count() > 64);
    assert_eq!(bench.log().flush(NOW).unwrap(), 900);
    assert_eq!(bench.log().recovery_point(), 900);
    bench.restart();
    assert_eq!(bench.log().log_end_offset(), 900);
}

#[test]
fn a_log_whose_topic_id_is_torn_goes_to_the_topic_of_its_name() {
    for torn in [&b""[..], b"version: 0\ntopic_", &[0; 46]] {
        let mut bench = Bench::new(small());
        for _ in 0..5 {
            bench.append(&batch(&[NOW; 3]));
        }
        bench.kill();
        fs::write(bench.dir().join("partition.metadata"), torn).unwrap();
        bench.start();
        assert!(bench.log().topic_id().is_zero());
        let id = Uuid::from_bytes([9; 16]);
        let log = bench.manager().create(TOPIC, 0, id, small(), NOW).unwrap();
        assert_eq!((log.topic_id(), log.log_end_offset()), (id, 15));
        assert_eq!(log.append(&batch(&[NOW]), 0, NOW).unwrap().base_offset, 15);
        bench.restart();
        assert_eq!((bench.log().topic_id(), bench.log().log_end_offset()), (id, 16));
    }
}

/// The kinds of locks that this process has on a file: by what the system tells of each open
/// file, since `/proc/locks` shows a lock twice, or not at all, while others come and go.
#[cfg(target_os = "linux")]
fn locks_on(path: &std::path::Path) -> Vec<String> {
    let path = std::fs::canonicalize(path).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for opened in std::fs::read_dir("/proc/self/fd").unwrap() {
        let opened = opened.unwrap();
        // Other tests close their files meanwhile.
        let Ok(of) = std::fs::read_link(opened.path()) else {
            continue;
        };
        if of != path {
            continue;
        }
        let told = std::path::Path::new("/proc/self/fdinfo").join(opened.file_name());
        let told = std::fs::read_to_string(told).unwrap();
        let locks = told.lines().filter(|line| line.starts_with("lock:"));
        kinds.extend(locks.map(|line| line.split_whitespace().nth(2).unwrap().to_owned()));
    }
    kinds.into_iter().collect()
}

#[test]
#[cfg(target_os = "linux")]
fn the_directory_stays_locked_when_the_whole_file_system_is_flushed() {
    let bench = Bench::with_policy(LogConfig::default(), FlushPolicy::GroupCommit);
    let lock = bench.root.path().join(".lock");
    // Kafka takes the one, and the other keeps clusters of one process apart.
    assert_eq!(locks_on(&lock), ["FLOCK", "POSIX"]);
    let manager = bench.manager();
    let logs: Vec<Arc<Log>> = (1..=100)
        .map(|partition| {
            let id = Uuid::from_bytes([7; 16]);
            manager
                .create(TOPIC, partition, id, LogConfig::default(), NOW)
                .unwrap()
        })
        .collect();
    for log in &logs {
        log.append(&batch(&[NOW]), 0, NOW).unwrap();
    }
    manager.start_commits(std::time::Duration::ZERO).unwrap();
    for log in &logs {
        log.append(&batch(&[NOW]), 0, NOW).unwrap();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while logs.iter().any(|log| log.durable_offset() < 2) {
        assert!(std::time::Instant::now() < deadline, "nothing is flushed");
        std::thread::yield_now();
    }
    assert_eq!(locks_on(&lock), ["FLOCK", "POSIX"]);
}
