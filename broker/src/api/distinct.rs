//! Requests that ask for the same thing again and again.
//!
//! What is asked for takes a few bytes and its description many thousands, so a small request could fetch an answer
//! that no memory can hold. Each thing is described once: the size of an answer is bounded by what there is.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

/// The first of those that have the same key, in their order.
pub(super) fn distinct<T, K: Hash + Eq>(asked: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = HashSet::with_capacity(asked.len());
    asked.into_iter().filter(|one| seen.insert(key(one))).collect()
}

/// Those whose key is asked for once, in their order, and each key that is asked for more often.
pub(super) fn once<T, K: Hash + Eq + Clone>(asked: Vec<T>, key: impl Fn(&T) -> K) -> (Vec<T>, Vec<K>) {
    let mut counts = HashMap::with_capacity(asked.len());
    for one in &asked {
        *counts.entry(key(one)).or_insert(0) += 1;
    }
    let repeated = |key: &K| counts.get(key).is_some_and(|count| *count > 1);
    let more = distinct(asked.iter().map(&key).filter(repeated).collect(), K::clone);
    (
        asked.into_iter().filter(|one| !repeated(&key(one))).collect(),
        more,
    )
}

/// The last of those that have the same key.
pub(super) fn last<T, K: Hash + Eq>(mut asked: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    asked.reverse();
    let mut last = distinct(asked, key);
    last.reverse();
    last
}
