//! What becomes of a cluster whose state was cut, damaged, or is gone: nothing is lost in silence, and nothing is deleted.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use heliostat_broker::{Cluster, ClusterConfig};

use heliostat_wire::message::MetadataRequest;

use crate::{
    client::{Client, PATIENCE},
    records::{batch, produce},
};

fn config(directory: &Path) -> ClusterConfig {
    ClusterConfig {
        data: Some(directory.to_owned()),
        ..Default::default()
    }
}

/// Three topics with a record each. Returns the lengths of the state after the start and after each topic.
async fn fill(directory: &Path) -> Vec<u64> {
    let cluster = Cluster::start(config(directory)).await.unwrap();
    let mut client = Client::of(&cluster).await;
    let length = || fs::metadata(directory.join("state")).unwrap().len();
    let mut lengths = vec![length()];
    for topic in ["a", "b", "c"] {
        client.create_topic(topic, 1, &[]).await;
        lengths.push(length());
    }
    for topic in ["a", "b", "c"] {
        append(&mut client, topic).await;
    }
    cluster.shutdown(PATIENCE).await;
    lengths
}

async fn append(client: &mut Client, topic: &str) {
    let appended = produce(client, topic, 0, batch(&["record"])).await;
    assert_eq!(appended.error_code, 0);
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(length)
        .unwrap();
}

/// Every file below a directory with its content, but for what a start that fails may write of its own.
fn content(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else if path.extension().is_some_and(|suffix| suffix == "log") || path.ends_with("state") {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

async fn refused(directory: &Path) -> String {
    let before = content(directory);
    let first = Cluster::start(config(directory)).await.unwrap_err().to_string();
    // A second try must not succeed because the first one has tidied up.
    let second = Cluster::start(config(directory)).await.unwrap_err().to_string();
    assert_eq!(first, second);
    assert_eq!(content(directory), before);
    first
}

async fn topics(cluster: &Cluster) -> Vec<String> {
    let mut client = Client::of(cluster).await;
    let all = client
        .send(&MetadataRequest {
            topics: None,
            ..Default::default()
        })
        .await;
    all.topics.into_iter().filter_map(|topic| topic.name).collect()
}

#[tokio::test]
async fn a_state_that_was_cut_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let lengths = fill(data).await;
    let state = data.join("state");
    let whole = fs::read(&state).unwrap();

    // Within the group of topic b, with all of what came later; and exactly between two groups.
    for length in [lengths[1] + 5, lengths[1]] {
        cut(&state, length);
        let message = refused(data).await;
        assert!(message.contains(&state.display().to_string()), "{message}");
        let place = format!("it can be read up to byte {}, ", lengths[1]);
        assert!(
            message.contains(&place) && message.contains("restore it"),
            "{message}"
        );
        fs::write(&state, &whole).unwrap();
    }

    // A flipped bit in the middle.
    let mut flipped = whole.clone();
    flipped[usize::try_from(lengths[1]).unwrap() + 20] ^= 4;
    fs::write(&state, flipped).unwrap();
    let message = refused(data).await;
    assert!(
        message.contains(&format!("damaged at byte {}", lengths[1])),
        "{message}"
    );

    fs::write(&state, whole).unwrap();
    let cluster = Cluster::start(config(data)).await.unwrap();
    assert_eq!(topics(&cluster).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_torn_last_write_is_dropped_unless_records_say_that_it_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let cluster = Cluster::start(config(data)).await.unwrap();
    let mut client = Client::of(&cluster).await;
    client.create_topic("a", 1, &[]).await;
    append(&mut client, "a").await;
    client.create_topic("b", 1, &[]).await;
    cluster.shutdown(PATIENCE).await;
    let state = data.join("state");
    cut(&state, fs::metadata(&state).unwrap().len() - 3);

    let cluster = Cluster::start(config(data)).await.unwrap();
    assert_eq!(topics(&cluster).await, ["a"]);
    let mut client = Client::of(&cluster).await;
    client.create_topic("c", 1, &[]).await;
    append(&mut client, "c").await;
    cluster.shutdown(PATIENCE).await;
    cut(&state, fs::metadata(&state).unwrap().len() - 3);

    let message = refused(data).await;
    assert!(message.contains("has lost its last write"), "{message}");
    assert!(message.contains("c-0"), "{message}");
}

#[tokio::test]
async fn a_state_that_is_gone_is_not_begun_anew_over_records() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    fill(data).await;
    fs::rename(data.join("state"), data.join("elsewhere")).unwrap();
    let message = refused(data).await;
    assert!(
        message.contains("state is not there, and 3 directories hold records"),
        "{message}"
    );
    assert!(!data.join("state").exists());
}

#[tokio::test]
async fn records_of_a_topic_that_an_older_state_does_not_know_are_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let cluster = Cluster::start(config(&data)).await.unwrap();
    Client::of(&cluster).await.create_topic("old", 1, &[]).await;
    cluster.shutdown(PATIENCE).await;
    let older = fs::read(data.join("state")).unwrap();
    let cluster = Cluster::start(config(&data)).await.unwrap();
    let mut client = Client::of(&cluster).await;
    client.create_topic("new", 1, &[]).await;
    append(&mut client, "new").await;
    cluster.shutdown(PATIENCE).await;
    fs::write(data.join("state"), older).unwrap();

    // Somebody has put a copy in its place, from before the topic was made.
    let strays = || {
        let names = fs::read_dir(&data).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name.starts_with("new-0") && name.ends_with("-stray"));
        names
    };
    let mut aside = Vec::new();
    for _ in 0..2 {
        let cluster = Cluster::start(config(&data)).await.unwrap();
        if aside.is_empty() {
            assert_eq!(topics(&cluster).await, ["old"]);
            // The name is free again.
            Client::of(&cluster).await.create_topic("new", 1, &[]).await;
        }
        cluster.shutdown(PATIENCE).await;
        aside = strays();
        assert_eq!(aside.len(), 1, "{aside:?}");
    }
    let log = data.join(&aside[0]).join("00000000000000000000.log");
    assert!(fs::metadata(log).unwrap().len() > 0);
}
