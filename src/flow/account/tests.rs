//! The books of a partition against what was sent and what arrived.

use super::*;
use crate::offsets::record::SEGMENTS_PER_BLOCK;
use proptest::prelude::*;

fn segment(source: i64, target: i64, length: i64) -> Segment {
    Segment {
        source,
        target,
        length,
    }
}

const ID: u32 = 7;

fn opened(position: i64) -> Account {
    let account = Account::new(position, None);
    account.open(ID);
    account
}

#[test]
fn once_it_is_closed_nothing_more_is_sent_and_what_is_on_its_way_still_arrives() {
    let account = opened(0);
    let first = account.sending(ID, 0, 0, 1).unwrap();
    account.close();
    assert_eq!(account.sending(ID, 1, 0, 1), None);
    account.settle(first, Some(0));
    account.reached(ID, 9);
    assert_eq!((account.snapshot().position, account.is_drained()), (1, true));
    account.open(ID + 1);
    assert_eq!(account.sending(ID, 1, 0, 1), None);
    assert!(account.sending(ID + 1, 1, 0, 1).is_some());
}

#[test]
fn the_position_waits_for_the_oldest_record() {
    let account = opened(10);
    let first = account.sending(ID, 10, 1, 5).unwrap();
    let second = account.sending(ID, 12, 2, 5).unwrap();
    account.settle(second, Some(101));
    assert_eq!(account.snapshot().position, 10);
    account.settle(first, Some(100));
    assert_eq!(account.snapshot().position, 13);
    let facts = account.take_facts().unwrap();
    assert_eq!(
        facts.blocks,
        vec![(100, vec![segment(10, 100, 1), segment(12, 101, 1)])]
    );
    assert_eq!(account.take_facts(), None);
}

#[test]
fn a_record_that_failed_holds_the_position_until_it_is_copied() {
    let account = opened(0);
    let [first, second, third] = [0, 1, 2].map(|offset| account.sending(ID, offset, 0, 1).unwrap());
    account.settle(first, Some(0));
    account.settle(second, None);
    account.settle(third, Some(1));
    assert!(account.is_drained());
    account.rewind();
    assert_eq!(account.snapshot().position, 1);
    assert_eq!(account.totals().records, 1);
    let again = account.sending(ID, 1, 0, 1).unwrap();
    account.settle(third, Some(7));
    account.settle(again, Some(2));
    assert_eq!(account.snapshot().position, 2);
}

#[test]
fn offsets_without_records_move_the_position_after_what_is_on_its_way() {
    let account = opened(0);
    let record = account.sending(ID, 0, 0, 1).unwrap();
    account.reached(ID, 5);
    assert_eq!(account.snapshot().position, 0);
    account.settle(record, Some(0));
    assert_eq!(account.snapshot().position, 5);
}

#[test]
fn facts_that_were_not_written_come_again() {
    let account = opened(0);
    let record = account.sending(ID, 0, 0, 1).unwrap();
    account.settle(record, Some(0));
    let facts = account.take_facts().unwrap();
    account.unwritten(facts.clone());
    assert_eq!(account.take_facts(), Some(facts));
}

proptest! {
    #[test]
    fn blocks_together_say_exactly_what_arrived(
        holes in prop::collection::vec(any::<bool>(), 1..1500),
        flush_every in 1usize..400,
        lose in any::<bool>(),
    ) {
        let account = opened(0);
        let mut map = std::collections::BTreeMap::new();
        let (mut source, mut expected) = (0, Vec::new());
        for (index, hole) in holes.iter().enumerate() {
            source += if *hole { 2 } else { 1 };
            let target = index as i64;
            let sequence = account.sending(ID, source, 0, 1).unwrap();
            account.settle(sequence, Some(target));
            expected.push((source, target));
            if index % flush_every == 0 && let Some(facts) = account.take_facts() {
                if lose && index % 2 == 0 { account.unwritten(facts) } else { map.extend(facts.blocks) }
            }
        }
        if let Some(facts) = account.take_facts() {
            map.extend(facts.blocks);
        }
        prop_assert!(map.values().all(|segments| segments.len() <= SEGMENTS_PER_BLOCK));
        let said: Vec<(i64, i64)> = map.values().flatten()
            .flat_map(|run| (0..run.length).map(|i| (run.source + i, run.target + i)))
            .collect();
        prop_assert_eq!(said, expected);
    }
}
