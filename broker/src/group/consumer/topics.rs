//! Which topics a subscription means, now.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use heliostat_wire::Uuid;
use regex::{Regex, RegexBuilder};

use super::member::Member;
use crate::group::room::NAME_BYTES;
use crate::state::Image;

/// The most memory that one compiled expression may take, in bytes: expressions come from clients.
const REGEX_SIZE_MAX: usize = 1 << 20;

/// The topics of a cluster as one group sees them.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    image: Arc<Image>,
    /// What each expression of a member matches in the image.
    matches: BTreeMap<String, BTreeSet<String>>,
    /// What they take in memory.
    bytes: usize,
    /// Whether the group's fingerprint is known to be that of this image.
    pub is_checked: bool,
}

/// Checks an expression; the error says what is wrong with it.
pub(in crate::group) fn compile(pattern: &str) -> Result<Regex, String> {
    // The name has to match as a whole.
    RegexBuilder::new(&format!("^(?:{})$", unquote(pattern)))
        .size_limit(REGEX_SIZE_MAX)
        .build()
        .map_err(|error| error.to_string())
}

/// Turns RE2's quotes, `\Q` to `\E`, into escaped characters, which is what our engine knows.
fn unquote(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        if let Some(quoted) = escape.strip_prefix("\\Q") {
            let (text, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            plain.push_str(&regex::escape(text));
            rest = after;
        } else {
            let length = escape.chars().take(2).map(char::len_utf8).sum();
            let (escape, after) = escape.split_at(length);
            plain.push_str(escape);
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

impl View {
    /// Takes the image as it is now, with the expressions that these members have.
    pub fn update<'a>(&mut self, image: &Arc<Image>, members: impl Iterator<Item = &'a Member>) {
        if !Arc::ptr_eq(&self.image, image) {
            self.image = Arc::clone(image);
            self.matches.clear();
            self.bytes = 0;
            self.is_checked = false;
        }
        let patterns: BTreeSet<&str> = members
            .map(|m| m.regex.as_str())
            .filter(|r| !r.is_empty())
            .collect();
        let bytes = &mut self.bytes;
        self.matches.retain(|pattern, names| {
            let stays = patterns.contains(pattern.as_str());
            *bytes -= if stays { 0 } else { match_bytes(pattern, names) };
            stays
        });
        for pattern in patterns {
            if !self.matches.contains_key(pattern) {
                // One that cannot be compiled was refused when a member came with it.
                let matching = compile(pattern)
                    .map(|regex| self.matching(&regex))
                    .unwrap_or_default();
                self.bytes += match_bytes(pattern, &matching);
                self.matches.insert(pattern.to_owned(), matching);
            }
        }
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether this is the image that the view is of.
    pub fn is_of(&self, image: &Arc<Image>) -> bool {
        Arc::ptr_eq(&self.image, image)
    }

    /// The topics that a member reads and that exist, with the number of their partitions.
    pub fn topics_of(&self, member: &Member) -> BTreeMap<Uuid, i32> {
        let matching = self.matches.get(&member.regex);
        let names = member.topics.iter().chain(matching.into_iter().flatten());
        let topics = names.filter_map(|name| self.image.topic(name));
        topics
            .map(|topic| {
                (
                    topic.id,
                    i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                )
            })
            .collect()
    }

    /// Whether a member subscribes to the topic, whether it exists or not.
    pub fn reads(&self, member: &Member, topic: &str) -> bool {
        member.topics.contains(topic)
            || self
                .matches
                .get(&member.regex)
                .is_some_and(|names| names.contains(topic))
    }

    /// A number that tells whether the topics that these members read have changed. One that another release of the
    /// compiler works out differently only leads to an assignment more.
    pub fn fingerprint<'a>(&self, members: impl Iterator<Item = &'a Member>) -> u64 {
        let mut all = BTreeMap::new();
        for member in members {
            all.extend(self.topics_of(member));
        }
        if all.is_empty() {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        for (topic, partitions) in all {
            topic.as_bytes().hash(&mut hasher);
            partitions.hash(&mut hasher);
        }
        hasher.finish()
    }

    fn matching(&self, regex: &Regex) -> BTreeSet<String> {
        let names = self.image.topics().map(|topic| &topic.name);
        names.filter(|name| regex.is_match(name)).cloned().collect()
    }
}

/// What it takes in memory to know what an expression matches, in bytes.
fn match_bytes(pattern: &str, names: &BTreeSet<String>) -> usize {
    let names = names.iter().map(|name| name.len() + NAME_BYTES);
    pattern.len() + NAME_BYTES + names.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_whole_names() {
        let matches = |pattern: &str, name: &str| compile(pattern).unwrap().is_match(name);
        assert!(matches("a.*", "abc") && matches("a|b", "b"));
        assert!(!matches("b", "abc") && !matches("a|b", "ab"));
        assert!(matches(r"\Qa.b\E.*", "a.b-1") && !matches(r"\Qa.b\E", "axb"));
        assert!(matches(r"\\Q", r"\Q") && matches(r"\Qa+", "a+"));
        assert!(matches(r"(?i)ABC\d+", "abc12"));
    }

    #[test]
    fn what_is_no_expression_or_too_large_a_one_is_refused() {
        for bad in ["*", "(", "a{1000}{1000}{1000}", r"\"] {
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
