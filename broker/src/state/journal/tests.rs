//! Cuts, damage, failing disks, and rewrites.

use super::*;
use proptest::prelude::*;

type Map = Content;
type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn set(key: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.into(), Some(value.into()))
}

fn apply(model: &mut Map, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn changes() -> impl Strategy<Value = Changes> {
    let key = proptest::collection::vec(0u8..4, 0..3);
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    proptest::collection::vec((key, value), 1..5)
}

proptest! {
    /// Whatever is put, and wherever in its last group the file is then cut, what is read back is the state before that
    /// group. A file that was cut before it is refused, and left as it is.
    #[test]
    fn a_cut_file_reads_as_the_state_after_a_put(puts in proptest::collection::vec(changes(), 0..12), cut in 0.0f64..=1.0) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let mut states = vec![(journal.end, Map::new())];
        for changes in &puts {
            journal.put(changes).unwrap();
            let mut next = states.last().unwrap().1.clone();
            apply(&mut next, changes);
            states.push((journal.end, next));
        }
        drop(journal);
        let (start, end) = (states[0].0, states.last().unwrap().0);
        let keep = start + ((end - start) as f64 * cut) as u64;
        OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
        let last = states.iter().rev().nth(1).map_or(start, |(end, _)| *end);
        if keep < last {
            let refused = Journal::open(&path).unwrap_err();
            let whole = states.iter().rev().find(|(end, _)| *end <= keep).unwrap().0;
            prop_assert!(
                matches!(refused, JournalError::Cut { position, mark, .. } if (position, mark) == (whole, last)),
                "{}", refused
            );
            prop_assert_eq!(fs::metadata(&path).unwrap().len(), keep);
            return Ok(());
        }

        let (mut journal, live) = Journal::open(&path).unwrap();
        let (_, expected) = states.iter().rev().find(|(end, _)| *end <= keep).unwrap();
        prop_assert_eq!(&live, expected);

        // A journal that dropped a tail takes puts as any other.
        let mut expected = expected.clone();
        let more = vec![set("more", "x"), (vec![1], None)];
        apply(&mut expected, &more);
        journal.put(&more).unwrap();
        prop_assert_eq!(Journal::open(&path).unwrap().1, expected);
    }

    /// One changed byte is never read as other content: it is an error, or, in the last group, the state before it.
    #[test]
    fn a_changed_byte_is_found(puts in proptest::collection::vec(changes(), 1..8), at in 0.0f64..1.0, flip in 1u8..) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let (mut before_last, mut last_start) = (Map::new(), 0);
        let mut live = Map::new();
        for changes in &puts {
            (before_last, last_start) = (live.clone(), journal.end);
            journal.put(changes).unwrap();
            apply(&mut live, changes);
        }
        let mut content = fs::read(&path).unwrap();
        let position = (content.len() as f64 * at) as usize;
        content[position] ^= flip;
        fs::write(&path, &content).unwrap();
        match Journal::open(&path) {
            Ok((_, found)) => {
                prop_assert!(position as u64 >= last_start);
                prop_assert_eq!(found, before_last);
            }
            Err(JournalError::Damaged { position: named, .. } | JournalError::Cut { position: named, .. }) => {
                prop_assert!(named as usize <= position);
            }
            Err(JournalError::NotAJournal { .. }) => prop_assert!(position < MAGIC.len()),
            Err(other) => prop_assert!(false, "unexpected error: {}", other),
        }
    }
}

#[test]
fn damage_in_the_middle_names_the_file_and_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut journal, _) = Journal::open(&path).unwrap();
    journal.put(&[set("a", "1")]).unwrap();
    let second = journal.end;
    journal.put(&[set("b", "2")]).unwrap();
    journal.put(&[set("c", "3")]).unwrap();
    let mut content = fs::read(&path).unwrap();
    // A length that points far beyond the end must not be taken for a torn tail either.
    content[second as usize] = 0x7f;
    fs::write(&path, content).unwrap();
    let message = Journal::open(&path).unwrap_err().to_string();
    assert!(message.contains("journal is damaged at byte 43: "), "{message}");
}

#[test]
fn a_file_much_larger_than_its_content_is_rewritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut journal, _) = Journal::open(&path).unwrap();
    let large = "x".repeat(100_000);
    for i in 0..40 {
        journal
            .put(&[set("key", &large), set("count", &i.to_string())])
            .unwrap();
    }
    assert!(fs::metadata(&path).unwrap().len() <= SMALLEST_REWRITE);
    let (_, live) = Journal::open(&path).unwrap();
    assert_eq!(
        live,
        Map::from([("key".into(), large.into()), ("count".into(), "39".into())])
    );
    assert!(!temporary_path(&path).exists());
}

#[test]
fn content_of_many_groups_survives_a_rewrite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut journal, _) = Journal::open(&path).unwrap();
    let all: Changes = (0..40)
        .map(|i| set(&format!("key-{i}"), &"x".repeat(100_000)))
        .collect();
    journal.put(&all).unwrap();
    journal.rewrite().unwrap();
    journal.put(&[set("later", "1")]).unwrap();
    let mut model = Map::new();
    apply(&mut model, &all);
    apply(&mut model, &vec![set("later", "1")]);
    assert_eq!(Journal::open(&path).unwrap().1, model);
}

#[test]
fn a_put_that_fails_changes_nothing_and_the_next_one_may_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut journal, _) = Journal::open(&path).unwrap();
    journal.put(&[set("a", "1")]).unwrap();
    // This device answers every write as a full disk does; it cannot be truncated either.
    journal.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = journal.put(&[set("a", "2")]).unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
    assert_eq!(journal.live, Map::from([("a".into(), "1".into())]));
    journal.put(&[set("b", "3")]).unwrap();
    let expected = Map::from([("a".into(), "1".into()), ("b".into(), "3".into())]);
    assert_eq!(Journal::open(&path).unwrap().1, expected);
}

/// However many bytes of a put reach the file, and whether the process goes on or dies: what was there is there, and what
/// was refused is not.
#[test]
fn a_put_that_stops_at_any_byte_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for (puts, room, dies) in (0..4).flat_map(|puts| {
        let rooms = 0..=80;
        rooms.flat_map(move |room| [true, false].map(|dies| (puts, room, dies)))
    }) {
        let what = format!("after {puts} puts, {room} bytes, the process dies: {dies}");
        let path = directory.path().join(format!("{puts}-{room}-{dies}"));
        let disk = Disk::default();
        let (mut journal, mut model) = Journal::open_on(&path, disk.clone()).unwrap();
        let put = |model: &mut Map, changes: Changes| {
            apply(model, &changes);
            changes
        };
        for i in 0..puts {
            journal
                .put(&put(
                    &mut model,
                    vec![set("key", &i.to_string()), set(&"long".repeat(i), "")],
                ))
                .unwrap();
        }
        disk.limit(Some(room));
        let refused = vec![set("refused", "value")];
        if journal.put(&refused).is_ok() {
            apply(&mut model, &refused);
        }
        disk.limit(None);
        if !dies {
            journal.put(&put(&mut model, vec![set("more", "1")])).unwrap();
        }
        for i in 0..3 {
            let (mut journal, found) = Journal::open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(found, model, "{what}");
            journal
                .put(&put(&mut model, vec![set("later", &i.to_string())]))
                .unwrap();
        }
    }
}

#[test]
fn what_was_damaged_to_its_end_is_not_taken_for_a_torn_write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut journal, _) = Journal::open(&path).unwrap();
    for key in ["a", "b", "c"] {
        journal.put(&[set(key, "1")]).unwrap();
    }
    let mut content = fs::read(&path).unwrap();
    content[45..].fill(0);
    fs::write(&path, &content).unwrap();
    let message = Journal::open(&path).unwrap_err().to_string();
    assert!(
        message.contains("it can be read up to byte 43, and 66 bytes of it were on disk"),
        "{message}"
    );
    assert_eq!(fs::read(&path).unwrap(), content);
}

#[test]
fn a_file_of_the_first_version_is_read_and_becomes_one_of_this() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let mut content = MAGIC_1.to_vec();
    content.extend(encode_group(8, [(&b"a"[..], Some(&b"1"[..]))].into_iter()));
    fs::write(&path, content).unwrap();
    let (mut journal, live) = Journal::open(&path).unwrap();
    assert_eq!(live, Map::from([("a".into(), "1".into())]));
    journal.put(&[set("b", "2")]).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(MAGIC));
    let expected = Map::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
    assert_eq!(Journal::open(&path).unwrap().1, expected);
}

#[test]
fn what_is_no_journal_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    fs::write(&path, "topics: []").unwrap();
    assert!(matches!(
        Journal::open(&path),
        Err(JournalError::NotAJournal { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), b"topics: []");
}
