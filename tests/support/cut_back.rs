//! A log that loses its end, as in an unclean election of its leader: the files of a cluster that stands still are cut.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use heliostat_wire::batch::Batches;

/// Cuts the log of a partition so that it ends at `offset` or at the last batch before it, among the data of a cluster of ours or of Apache
/// Kafka that does not run. Returns where it ends.
#[track_caller]
pub fn cut_back(data: &Path, topic: &str, partition: i32, offset: i64) -> i64 {
    let directory = find(data, &format!("{topic}-{partition}")).expect("the partition has a directory");
    let mut end = 0;
    for segment in segments(&directory) {
        let bytes = std::fs::read(&segment).expect("read a segment");
        let mut kept = 0;
        for batch in Batches::new(&bytes).map_while(Result::ok) {
            if batch.header().next_offset() > offset {
                break;
            }
            kept += batch.bytes().len();
            end = batch.header().next_offset();
        }
        let file = OpenOptions::new()
            .write(true)
            .open(&segment)
            .expect("open a segment");
        file.set_len(kept as u64).expect("cut a segment");
        if kept == 0 && base_offset(&segment) > 0 {
            std::fs::remove_file(&segment).expect("remove a segment");
        }
        File::sync_all(&file).expect("write it down");
        for index in ["index", "timeindex", "txnindex"] {
            remove(&segment.with_extension(index));
        }
    }
    for entry in std::fs::read_dir(&directory)
        .expect("list the partition")
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "snapshot") {
            remove(&path);
        }
    }
    // Both look at all of a log again that was not closed.
    let root = directory.parent().expect("it is in a directory");
    remove(&root.join(".kafka_cleanshutdown"));
    end
}

fn find(data: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = std::fs::read_dir(data)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    let here = entries.iter().find(|path| path.ends_with(name)).cloned();
    here.or_else(|| entries.iter().find_map(|path| find(path, name)))
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory)
        .expect("list the partition")
        .flatten();
    let mut segments: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments
}

fn base_offset(segment: &Path) -> i64 {
    let name = segment.file_stem().and_then(|stem| stem.to_str());
    name.and_then(|name| name.parse().ok()).expect("an offset")
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => panic!("remove {}: {error}", path.display()),
    }
}
