//! Translation against a simple model, in both directions, and the cases that the model does not have.

use proptest::prelude::*;

use super::*;
use crate::offsets::record::VERSION;
use crate::offsets::segments::push;

fn run(source: i64, target: i64, length: i64) -> Segment {
    Segment {
        source,
        target,
        length,
    }
}

fn block(owner: Option<Owner>, segments: Vec<Segment>, (position, target_position): (i64, i64)) -> Block {
    Block {
        v: VERSION,
        source_topic: "orders".into(),
        source_topic_id: None,
        target_topic_id: None,
        position,
        target_position,
        from: None,
        segments,
        at_ms: 0,
        producer_id: owner.map(|owner| owner.0),
        producer_epoch: owner.map(|owner| owner.1),
        source_epochs: Default::default(),
        released: false,
    }
}

fn begins_at(from: (i64, i64), block: Block) -> Block {
    Block {
        from: Some(from),
        ..block
    }
}

fn log(start: i64, end: i64) -> Now {
    Now {
        start,
        end,
        ..Now::default()
    }
}

fn at(place: Place, next: i64) -> Translation {
    Translation { place, next }
}

/// What was copied, said in the simplest way.
#[derive(Debug)]
struct Model {
    /// Source and target offset of each record on record.
    pairs: Vec<(i64, i64)>,
    /// Where the copy begins.
    begin: (i64, i64),
    /// The positions on record.
    end: (i64, i64),
    blocks: Vec<Block>,
}

/// How one owner of a partition copies: steps of a hole on the source, a hole on the target, and a run; how many records at the end it
/// did not bring on record; whether it says something again after its successor has begun.
#[derive(Clone, Debug)]
struct Turn {
    steps: Vec<(i64, i64, i64)>,
    unwritten: usize,
    trailing: i64,
    late: bool,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let step = (0i64..4, 0i64..3, 1i64..5);
    let turn = (
        prop::collection::vec(step, 0..12),
        0usize..6,
        0i64..3,
        any::<bool>(),
    );
    prop::collection::vec(
        turn.prop_map(|(steps, unwritten, trailing, late)| Turn {
            steps,
            unwritten,
            trailing,
            late,
        }),
        1..6,
    )
}

/// The blocks of an owner who begins at these positions, with at most so many runs in each. Before `from` something may have been copied.
fn blocks_of(
    owner: Option<Owner>,
    pairs: &[(i64, i64)],
    (mut from, begin): ((i64, i64), (i64, i64)),
    runs: usize,
) -> Vec<Block> {
    let mut segments = Vec::new();
    for &(source, target) in pairs {
        push(&mut segments, run(source, target, 1));
    }
    let whole = segments.chunks(runs).map(|chunk| {
        let last = chunk[chunk.len() - 1];
        let end = (last.source_end(), last.target_end());
        begins_at(
            std::mem::replace(&mut from, end),
            block(owner, chunk.to_vec(), end),
        )
    });
    let blocks: Vec<Block> = whole.collect();
    match blocks.is_empty() {
        true => vec![begins_at(from, block(owner, Vec::new(), begin))],
        false => blocks,
    }
}

impl Model {
    fn of(turns: &[Turn], runs: usize, exactly_once: bool) -> Model {
        let begin = (3, 2);
        let (mut source, mut target) = begin;
        let mut copied: Vec<(i64, i64)> = Vec::new();
        let mut recorded = 0;
        let mut blocks: Vec<Block> = Vec::new();
        let mut end = begin;
        for (epoch, turn) in turns.iter().enumerate() {
            // Whoever takes over goes on from what is on record, and says of what it found there itself where it landed.
            let from = recorded;
            let anchor = (if epoch == 0 { (0, 0) } else { end }, end);
            for &(source_hole, target_hole, length) in &turn.steps {
                source += source_hole;
                target += target_hole;
                copied.extend((0..length).map(|at| (source + at, target + at)));
                source += length;
                target += length;
            }
            let owner = exactly_once.then_some((7, epoch as i16));
            recorded = copied.len().saturating_sub(turn.unwritten).max(from);
            let mut said = blocks_of(owner, &copied[from..recorded], anchor, runs);
            let all_written = recorded == copied.len();
            if let Some(last) = said.last_mut() {
                end = (last.position, last.target_position);
                if all_written {
                    source += turn.trailing;
                    end.0 = source;
                    last.position = source;
                }
            }
            // What the one before says late is true, and older than what its successor says.
            let late = blocks.pop_if(|_| turn.late && exactly_once && !said.is_empty());
            blocks.append(&mut said);
            blocks.extend(late);
        }
        copied.truncate(recorded);
        Model {
            pairs: copied,
            begin,
            end,
            blocks,
        }
    }

    fn to_target(&self, source: i64, start: i64) -> (Translation, bool) {
        let kept = || self.pairs.iter().filter(|pair| pair.1 >= start);
        let next = kept()
            .find(|pair| pair.0 >= source)
            .map_or(self.end.1.max(start), |pair| pair.1);
        let is_lost = self.pairs.iter().any(|pair| pair.0 >= source && pair.1 < start);
        let place = if kept().any(|pair| pair.0 == source) || source == self.end.0 {
            Place::Exact
        } else if source > self.end.0 {
            Place::Beyond
        } else if source < self.begin.0 || is_lost {
            Place::Before
        } else {
            Place::Gap
        };
        // Of a hole right before what is left it depends on which blocks are left whether it is known to be one.
        let is_open = place == Place::Gap && kept().all(|pair| pair.0 > source);
        (at(place, next), is_open)
    }

    fn to_source(&self, target: i64, start: i64) -> (Translation, bool) {
        let next = self
            .pairs
            .iter()
            .find(|pair| pair.1 >= target)
            .map_or(self.end.0, |pair| pair.0);
        let end = self.end.1.max(start);
        let place = if target < start.max(self.begin.1) {
            Place::Before
        } else if self.pairs.iter().any(|pair| pair.1 == target) || target == end {
            Place::Exact
        } else if target > end {
            Place::Beyond
        } else {
            Place::Gap
        };
        let mut kept = self.pairs.iter().filter(|pair| pair.1 >= start);
        let is_open = place == Place::Gap && kept.all(|pair| pair.1 > target);
        (at(place, next), is_open)
    }
}

proptest! {
    #[test]
    fn every_offset_is_translated_as_the_model_does(
        turns in turns(), runs in 1usize..5, exactly_once: bool, start in 0i64..60, expired: bool,
    ) {
        let mut model = Model::of(&turns, runs, exactly_once);
        if expired {
            // Blocks of what the mirror has lost are taken back, but for the last one.
            let last = model.blocks.iter().rposition(|block| block.position == model.end.0).unwrap();
            let mut index = 0;
            model.blocks.retain(|block| {
                index += 1;
                block.target_position > start || index - 1 == last
            });
        }
        let end = model.end.1.max(start) + 2;
        let map = PartitionMap::new(&model.blocks, &log(start, end)).unwrap();
        prop_assert_eq!(map.end(), (model.end.0, model.end.1.max(start)));
        for source in 0..model.end.0 + 3 {
            let (expected, is_open) = model.to_target(source, start);
            let found = map.to_target(source);
            prop_assert_eq!(found.next, expected.next, "source offset {}", source);
            prop_assert!(
                found.place == expected.place || is_open && found.place == Place::Before,
                "source offset {}: {:?}, expected {:?}", source, found, expected
            );
        }
        for target in 0..end {
            let (expected, is_open) = model.to_source(target, start);
            let found = map.to_source(target);
            let is_known = target >= start || !expired;
            prop_assert!(!is_known || found.next == expected.next, "target offset {}: {:?} {:?}", target, found, expected);
            prop_assert!(
                found.place == expected.place || is_open && found.place == Place::Before,
                "target offset {}: {:?}, expected {:?}", target, found, expected
            );
        }
    }

    #[test]
    fn a_map_that_has_lost_blocks_skips_no_record_and_says_what_it_does_not_know(
        turns in turns(), runs in 1usize..5, exactly_once: bool, start in 0i64..60, lost: Vec<bool>,
    ) {
        let mut model = Model::of(&turns, runs, exactly_once);
        // Whoever copies on writes the last one again.
        let last = model.blocks.iter().rposition(|block| block.position == model.end.0).unwrap();
        let mut index = 0;
        model.blocks.retain(|_| {
            index += 1;
            index - 1 == last || !lost.get(index - 1).copied().unwrap_or(false)
        });
        let end = model.end.1.max(start) + 2;
        let map = PartitionMap::new(&model.blocks, &log(start, end)).unwrap();
        let is_told = |source: i64| {
            model.blocks.iter().any(|block| block.segments.iter().any(|run| run.source <= source && source < run.source_end()))
        };
        let kept: Vec<_> = model.pairs.iter().filter(|pair| pair.1 >= start).collect();
        for source in 0..model.end.0 + 3 {
            let found = map.to_target(source);
            let next = kept.iter().find(|pair| pair.0 >= source).map_or(model.end.1.max(start), |pair| pair.1);
            prop_assert!(found.next <= next, "source offset {}: {:?} skips {}", source, found, next);
            match kept.iter().find(|pair| pair.0 == source) {
                Some(pair) if is_told(source) => prop_assert_eq!(found, at(Place::Exact, pair.1)),
                Some(_) => prop_assert_eq!(found.place, Place::Unknown, "source offset {}", source),
                None => {}
            }
        }
        for pair in &kept {
            let found = map.to_source(pair.1);
            prop_assert!(found.next <= pair.0, "target offset {}: {:?} skips {}", pair.1, found, pair.0);
            let expected = if is_told(pair.0) { Place::Exact } else { Place::Unknown };
            prop_assert_eq!(found.place, expected, "target offset {}", pair.1);
        }
    }

    #[test]
    fn a_consumer_that_is_moved_there_and_back_misses_nothing(turns in turns(), runs in 1usize..5) {
        let model = Model::of(&turns, runs, true);
        let map = PartitionMap::new(&model.blocks, &log(0, model.end.1)).unwrap();
        for source in 0..=model.end.0 {
            let back = map.to_source(map.to_target(source).next).next;
            let unread = |from: i64| model.pairs.iter().filter(move |pair| pair.0 >= from).count();
            prop_assert_eq!(unread(source), unread(back), "{} became {}", source, back);
        }
    }

    #[test]
    fn any_blocks_are_taken(
        blocks in prop::collection::vec((prop::collection::vec((any::<i64>(), any::<i64>(), any::<i64>()), 0..4), any::<(i64, i64)>()), 0..5),
        start: i64, end: i64, asked: i64,
    ) {
        let blocks: Vec<Block> = blocks.into_iter()
            .map(|(runs, end)| block(None, runs.into_iter().map(Segment::from).collect(), end))
            .collect();
        if let Some(map) = PartitionMap::new(&blocks, &log(start, end)) {
            map.to_target(asked);
            map.to_source(asked);
        }
    }
}

#[test]
fn a_map_without_blocks_answers_nothing() {
    assert_eq!(PartitionMap::new(&[], &log(0, 0)), None);
}

#[test]
fn a_mirror_that_has_only_begun_ends_where_it_begins() {
    let map = PartitionMap::new(&[block(Some((7, 0)), Vec::new(), (40, 1))], &log(0, 1)).unwrap();
    assert_eq!(map.to_target(39), at(Place::Before, 1));
    assert_eq!(map.to_target(40), at(Place::Exact, 1));
    assert_eq!(map.to_target(41), at(Place::Beyond, 1));
    assert_eq!(map.to_source(0), at(Place::Before, 40));
    assert_eq!(map.to_source(1), at(Place::Exact, 40));
    assert_eq!(map.to_source(2), at(Place::Beyond, 40));
}

#[test]
fn a_mirror_that_lost_its_end_and_was_copied_again_says_where_records_are_now() {
    let before = block(Some((7, 0)), vec![run(0, 0, 100)], (100, 100));
    let after = block(Some((7, 1)), vec![run(80, 81, 30)], (110, 111));
    let map = PartitionMap::new(&[before.clone(), after], &log(0, 111)).unwrap();
    assert_eq!(map.to_target(79), at(Place::Exact, 79));
    assert_eq!(map.to_target(80), at(Place::Exact, 81));
    assert_eq!(map.to_target(99), at(Place::Exact, 100));
    assert_eq!(map.to_source(81), at(Place::Exact, 80));
    assert_eq!(map.to_source(100), at(Place::Exact, 99));
    // Until somebody has noticed, only what is still there counts.
    let map = PartitionMap::new(&[before], &log(0, 80)).unwrap();
    assert_eq!(map.end(), (80, 80));
    assert_eq!(map.to_target(79), at(Place::Exact, 79));
    assert_eq!(map.to_target(80), at(Place::Exact, 80));
    assert_eq!(map.to_target(81), at(Place::Beyond, 80));
}

#[test]
fn records_that_the_source_has_lost_are_a_gap_and_those_that_came_in_their_place_are_not_skipped() {
    let before = block(Some((7, 0)), vec![run(0, 0, 100)], (100, 100));
    let cut_back = block(Some((7, 1)), Vec::new(), (80, 100));
    let map = PartitionMap::new(&[before.clone(), cut_back], &log(0, 101)).unwrap();
    assert_eq!(map.to_target(79), at(Place::Exact, 79));
    assert_eq!(map.to_target(80), at(Place::Exact, 100));
    assert_eq!(map.to_target(90), at(Place::Beyond, 100));
    assert_eq!(map.to_source(90), at(Place::Gap, 80));
    let after = block(Some((7, 1)), vec![run(80, 101, 30)], (110, 131));
    let map = PartitionMap::new(&[before, after], &log(0, 131)).unwrap();
    assert_eq!(map.to_target(90), at(Place::Exact, 111));
    assert_eq!(map.to_source(90), at(Place::Gap, 80));
    assert_eq!(map.to_source(111), at(Place::Exact, 90));
}

#[test]
fn records_that_are_there_twice_are_gone_on_with_at_the_later_one() {
    let before = block(None, vec![run(0, 0, 100)], (100, 100));
    let after = block(None, vec![run(90, 100, 20)], (110, 120));
    let map = PartitionMap::new(&[before, after], &log(0, 120)).unwrap();
    assert_eq!(map.to_target(89), at(Place::Exact, 89));
    assert_eq!(map.to_target(95), at(Place::Exact, 105));
    assert_eq!(map.to_source(89), at(Place::Exact, 89));
    assert_eq!(map.to_source(95), at(Place::Gap, 90));
    assert_eq!(map.to_source(105), at(Place::Exact, 95));
}

fn with_ids(mut block: Block, source: &str, target: &str) -> Block {
    block.source_topic_id = Some(source.into());
    block.target_topic_id = Some(target.into());
    block
}

#[test]
fn a_source_that_was_made_again_is_not_the_one_that_older_blocks_speak_of() {
    let old = with_ids(
        block(Some((7, 0)), vec![run(0, 0, 100)], (100, 100)),
        "one",
        "mirror",
    );
    let new = with_ids(
        block(Some((7, 1)), vec![run(0, 101, 50)], (50, 151)),
        "two",
        "mirror",
    );
    let map = PartitionMap::new(&[old.clone(), new.clone()], &log(0, 151)).unwrap();
    assert_eq!(map.to_target(20), at(Place::Exact, 121));
    assert_eq!(map.to_target(70), at(Place::Beyond, 151));
    assert_eq!(map.to_source(60), at(Place::Before, 0));
    let now = Now {
        source_id: Some("two".into()),
        target_id: Some("mirror".into()),
        ..log(0, 100)
    };
    assert_eq!(
        PartitionMap::new(std::slice::from_ref(&old), &now),
        None,
        "nothing of it is copied"
    );
    let now = Now {
        source_id: Some("one".into()),
        ..now
    };
    assert!(PartitionMap::new(&[old], &now).is_some());
}

#[test]
fn a_mirror_that_was_made_again_is_not_the_one_that_older_blocks_speak_of() {
    let old = with_ids(
        block(Some((7, 0)), vec![run(0, 0, 100)], (100, 100)),
        "source",
        "one",
    );
    let new = with_ids(
        block(Some((7, 1)), vec![run(10, 1, 20)], (30, 21)),
        "source",
        "two",
    );
    let map = PartitionMap::new(&[old, new], &log(0, 21)).unwrap();
    assert_eq!(map.to_target(10), at(Place::Exact, 1));
    assert_eq!(map.to_target(9), at(Place::Before, 1));
    assert_eq!(map.to_target(50), at(Place::Beyond, 21));
    assert_eq!(map.to_source(20), at(Place::Exact, 29));
}

#[test]
fn a_lost_block_of_a_source_that_was_made_again_hides_none_of_its_records() {
    let of = |id: &str, block: Block| Block {
        source_topic_id: Some(id.to_owned()),
        ..block
    };
    let first = block(Some((7, 0)), vec![run(0, 0, 10_000)], (10_000, 10_000));
    // The block from (0, 10000) to (300, 10300) is lost.
    let later = block(Some((7, 2)), vec![run(300, 10_300, 50)], (350, 10_350));
    let blocks = [
        of("old", begins_at((0, 0), first)),
        of("new", begins_at((300, 10_300), later)),
    ];
    let map = PartitionMap::new(&blocks, &log(0, 10_350)).unwrap();
    let found = map.to_target(150);
    assert!(found.next <= 10_150, "record 150 is at 10150: {found:?}");
}
