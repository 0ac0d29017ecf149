//! Requests that ask for the same thing again and again.
//!
//! What is asked for takes a few bytes and its description many thousands, so a small request could fetch an answer
//! that no memory can hold. Each thing is described once: the size of an answer is bounded by what there is.

use std::{collections::HashSet, hash::Hash};

/// The first of those that have the same key, in their order.
pub(super) fn distinct<T, K: Hash + Eq>(asked: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = HashSet::with_capacity(asked.len());
    asked.into_iter().filter(|one| seen.insert(key(one))).collect()
}
