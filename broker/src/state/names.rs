//! What a topic may be called.

use super::Image;

/// The log of KRaft's metadata. It is no topic, and clients of Kafka know that there can be none of this name.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";

const LENGTH_MAX: usize = 249;

/// Why a name is refused, or `None` if it is good.
pub(crate) fn problem(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => Some("a topic's name cannot be empty".to_owned()),
        "." | ".." => Some(format!("a topic cannot be called {name:?}")),
        _ if name.len() > LENGTH_MAX => Some(format!(
            "a topic's name has at most {LENGTH_MAX} characters, this one has {}",
            name.len()
        )),
        _ if !name.chars().all(allowed) => Some(format!(
            "the topic name {name:?} has other characters than letters, digits, '.', '_' and '-'"
        )),
        _ => None,
    }
}

/// A topic whose name differs only by dots in place of underscores: Kafka's metrics could not tell them apart, so
/// Kafka does not allow both.
pub(crate) fn collision<'a>(name: &str, image: &'a Image) -> Option<&'a str> {
    image.name_without_dots(name).filter(|other| *other != name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "A.b_c-9", "...", "__consumer_offsets", &"x".repeat(249)] {
            assert_eq!(problem(good), None);
        }
        for bad in ["", ".", "..", "a b", "é", "a/b", "a\0", &"x".repeat(250)] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
