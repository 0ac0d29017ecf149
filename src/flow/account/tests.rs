//! The books of a partition against what was sent and what arrived.

use super::*;
use crate::flow::ledger::BLOCKS_WAITING_MAX;
use crate::offsets::record::SEGMENTS_PER_BLOCK;
use proptest::prelude::*;

/// Blocks by what is their key in the map.
fn by_id(blocks: Vec<Draft>) -> impl Iterator<Item = (i64, Draft)> {
    blocks.into_iter().map(|block| (block.id, block))
}

fn segment(source: i64, target: i64, length: i64) -> Segment {
    Segment {
        source,
        target,
        length,
    }
}

const ID: u32 = 7;

fn opened(position: i64) -> Account {
    let account = Account::new(position, None, Some((position, 0)));
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
        vec![Draft {
            id: 100,
            from: Some((10, 0)),
            segments: vec![segment(10, 100, 1), segment(12, 101, 1)],
        }]
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
    account.unwritten(facts.clone(), "refused");
    assert_eq!(account.take_facts(), Some(facts));
}

/// Copies one record behind a hole, if it may be. Returns whether.
fn copy_behind_a_hole(account: &Account, number: i64) -> bool {
    if account.is_held_up() {
        return false;
    }
    let sequence = account.sending(ID, number * 2, 0, 1).unwrap();
    account.settle(sequence, Some(number));
    true
}

#[test]
fn what_waits_for_the_offset_map_is_bounded_and_nothing_of_it_is_forgotten() {
    let account = opened(0);
    let mut copied = 0;
    let mut written = std::collections::BTreeMap::new();
    let most = (BLOCKS_WAITING_MAX * SEGMENTS_PER_BLOCK) as i64;
    // Each write takes long, and fails: meanwhile copying goes on, as far as there is room.
    for _ in 0..10 {
        let under_way = account.take_facts();
        while copy_behind_a_hole(&account, copied) {
            copied += 1;
            assert!(
                copied <= most + SEGMENTS_PER_BLOCK as i64,
                "{copied} segments wait"
            );
        }
        if let Some(facts) = under_way {
            account.unwritten(facts, "the disk is full");
        }
        assert!(account.is_held_up());
    }
    assert!(copied > most - 2 * SEGMENTS_PER_BLOCK as i64, "{copied}");
    assert_eq!(account.held_up_by().as_deref(), Some("the disk is full"));
    // It can be written again: first what may be there already, as it was.
    while let Some(facts) = account.take_facts() {
        assert!(
            account.is_held_up() || !written.is_empty(),
            "what is being written is there still"
        );
        assert!(facts.blocks.len() <= BLOCKS_WAITING_MAX + 1);
        account.written(&facts);
        written.extend(by_id(facts.blocks));
    }
    assert_eq!((account.is_held_up(), account.held_up_by()), (false, None));
    while copied < 2 * most {
        assert!(copy_behind_a_hole(&account, copied), "at {copied}");
        copied += 1;
        if account.is_pressing() {
            let facts = account.take_facts().unwrap();
            account.written(&facts);
            written.extend(by_id(facts.blocks));
        }
    }
    written.extend(
        account
            .take_facts()
            .into_iter()
            .flat_map(|facts| by_id(facts.blocks)),
    );
    let said: Vec<Segment> = written.into_values().flat_map(|block| block.segments).collect();
    let expected: Vec<Segment> = (0..copied).map(|number| segment(number * 2, number, 1)).collect();
    assert_eq!(said, expected);
}

#[test]
fn batches_on_their_way_count_by_the_holes_in_them() {
    let account = opened(0);
    let mut runs = RunList::default();
    (0..SEGMENTS_PER_BLOCK as i64).for_each(|number| runs.push(number * 2 + 1, 1));
    let entry = || InFlight {
        runs: runs.clone(),
        next: 0,
        timestamp: 0,
        bytes: 1,
        holes: 0,
        how: None,
        outcome: Outcome::Pending,
    };
    for number in 0..BLOCKS_WAITING_MAX as i64 {
        assert!(!account.is_held_up(), "{number}");
        account.enter(ID, entry()).unwrap();
    }
    assert!(account.is_held_up());
    account.rewind();
    assert!(!account.is_held_up());
}

#[test]
fn a_block_ascends_also_where_the_mirror_has_lost_its_end() {
    let account = opened(0);
    for (source, target) in [(0, 0), (2, 1), (4, 2), (6, 1), (8, 2)] {
        let sequence = account.sending(ID, source, 0, 1).unwrap();
        account.settle(sequence, Some(target));
    }
    let facts = account.take_facts().unwrap();
    let first = vec![segment(0, 0, 1), segment(2, 1, 1), segment(4, 2, 1)];
    let second = vec![segment(6, 1, 1), segment(8, 2, 1)];
    let drafts = [(0, (0, 0), first), (1, (6, 1), second)].map(|(id, from, segments)| Draft {
        id,
        from: Some(from),
        segments,
    });
    assert_eq!(facts.blocks, drafts);
}

proptest! {
    #[test]
    fn blocks_together_say_exactly_what_arrived(
        holes in prop::collection::vec(any::<bool>(), 1..1500),
        flush_every in 1usize..400,
        lose in any::<bool>(),
    ) {
        let account = opened(0);
        let (mut map, mut late) = (std::collections::BTreeMap::new(), Vec::new());
        let (mut source, mut expected) = (0, Vec::new());
        for (index, hole) in holes.iter().enumerate() {
            source += if *hole { 2 } else { 1 };
            let target = index as i64;
            let sequence = account.sending(ID, source, 0, 1).unwrap();
            account.settle(sequence, Some(target));
            expected.push((source, target));
            if index % flush_every == 0 && let Some(facts) = account.take_facts() {
                if lose && index % 2 == 0 {
                    late.extend(facts.blocks.clone());
                    account.unwritten(facts, "lost");
                } else {
                    account.written(&facts);
                    map.extend(by_id(facts.blocks));
                }
            }
        }
        while let Some(facts) = account.take_facts() {
            account.written(&facts);
            map.extend(by_id(facts.blocks));
        }
        // Whenever a broker writes what it was sent and did not answer to, it says nothing else than the map.
        for block in late {
            prop_assert_eq!(map.get(&block.id), Some(&block));
        }
        prop_assert!(map.values().all(|block| block.segments.len() <= SEGMENTS_PER_BLOCK));
        // Each begins where the one before ends: where one is lost, that is seen.
        let mut end = (0, 0);
        for block in map.values() {
            prop_assert_eq!(block.from, Some(end));
            let last = block.segments[block.segments.len() - 1];
            end = (last.source_end(), last.target_end());
        }
        let said: Vec<(i64, i64)> = map.values().flat_map(|block| &block.segments)
            .flat_map(|run| (0..run.length).map(|i| (run.source + i, run.target + i)))
            .collect();
        prop_assert_eq!(said, expected);
    }
}

#[test]
fn what_was_found_again_does_not_bring_back_what_lies_behind_it_on_the_mirror() {
    // Two of five records were found on the source; the other three come again behind them.
    let account = Account::new(97, Some(101), Some((95, 95)));
    account.recovered(&[segment(95, 95, 2)], 97);
    let facts = account.take_facts().unwrap();
    assert_eq!((facts.position, facts.target_position), (97, 101));
    assert_eq!(facts.blocks[0].segments, vec![segment(95, 95, 2)]);
}
