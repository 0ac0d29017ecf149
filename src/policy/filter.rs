//! Which topics of a source a flow copies.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::{Serialize, Serializer};

/// How much memory one compiled pattern may take. A name has 249 characters at most, so real patterns stay far below.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A regular expression that must match a topic's whole name.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PatternError {
    /// What the regular expression compiler says, in one line.
    pub reason: String,
}

/// The topics of a flow: in if an include pattern matches and no exclude pattern does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopicFilter {
    /// One of them must match.
    pub include: Vec<Pattern>,
    /// None of them may match; they win over `include`.
    pub exclude: Vec<Pattern>,
}

/// What a [`TopicFilter`] says of a topic, with the reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Selection<'a> {
    /// It is copied.
    Included,
    /// It is Kafka's or Heliostat's own, and never copied, whatever the patterns say.
    Internal,
    /// This exclude pattern matches it.
    Excluded(&'a Pattern),
    /// No include pattern matches it.
    NotIncluded,
}

/// Whether a topic is Kafka's own (`__consumer_offsets`) or Heliostat's own (`heliostat.primary.offset-map.internal`).
///
/// Such a topic describes the cluster that it is on. On another cluster it would be wrong, so it is never copied.
pub fn is_internal(topic: &str) -> bool {
    topic.starts_with("__") || (topic.starts_with("heliostat.") && topic.ends_with(".internal"))
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If the text is not a regular expression, or one that takes more than 1 MiB to compile.
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        // Compiled alone first: `a)(b` is wrong, and would be right between the parentheses that are put around it.
        compile(text)?;
        let regex = compile(&format!(r"\A(?:{text})\z"))?;
        Ok(Pattern {
            text: text.to_owned(),
            regex,
        })
    }

    /// Whether the whole name matches.
    pub fn matches(&self, topic: &str) -> bool {
        self.regex.is_match(topic)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The one name that this pattern matches, if it is a plain name (a dot written `\.`).
    pub fn literal(&self) -> Option<String> {
        let plain = self.text.replace(r"\.", "");
        let is_name = plain
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        (is_name && !self.text.is_empty()).then(|| self.text.replace(r"\.", "."))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl TopicFilter {
    /// Whether a flow with this filter copies the topic, by its name alone.
    pub fn includes(&self, topic: &str) -> bool {
        self.select(topic) == Selection::Included
    }

    /// The same with the reason.
    pub fn select(&self, topic: &str) -> Selection<'_> {
        if is_internal(topic) {
            return Selection::Internal;
        }
        if let Some(pattern) = self.exclude.iter().find(|pattern| pattern.matches(topic)) {
            return Selection::Excluded(pattern);
        }
        match self.include.iter().any(|pattern| pattern.matches(topic)) {
            true => Selection::Included,
            false => Selection::NotIncluded,
        }
    }

    /// Whether one topic name can pass both filters.
    ///
    /// The answer is exact if one of the two includes only plain names, and otherwise yes: two regular expressions are
    /// taken to overlap.
    pub fn may_share_topics(&self, other: &TopicFilter) -> bool {
        match (self.plain_names(), other.plain_names()) {
            (Some(names), _) | (None, Some(names)) => names
                .iter()
                .any(|name| self.includes(name) && other.includes(name)),
            (None, None) => true,
        }
    }

    fn plain_names(&self) -> Option<Vec<String>> {
        self.include.iter().map(Pattern::literal).collect()
    }
}

impl fmt::Display for Selection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selection::Included => f.write_str("included"),
            Selection::Internal => {
                f.write_str("an internal topic of Kafka or Heliostat, which is never copied")
            }
            Selection::Excluded(pattern) => write!(f, "excluded by the pattern `{pattern}`"),
            Selection::NotIncluded => f.write_str("no include pattern matches it"),
        }
    }
}

fn compile(text: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| {
            let reason = match error {
                regex::Error::CompiledTooBig(_) => "it takes too much memory to compile".to_owned(),
                // The compiler's text has several lines, a drawing among them; the reason stands on the last one.
                other => {
                    let text = other.to_string();
                    let last = text.lines().last().unwrap_or_default().trim();
                    last.strip_prefix("error: ").unwrap_or(last).to_owned()
                }
            };
            PatternError { reason }
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> TopicFilter {
        let compile = |list: &[&str]| list.iter().map(|text| Pattern::new(text).unwrap()).collect();
        TopicFilter {
            include: compile(include),
            exclude: compile(exclude),
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_name_or_nothing() {
        let orders = filter(&["orders"], &[]);
        assert!(orders.includes("orders"));
        assert!(!orders.includes("orders2"));
        assert!(!orders.includes("my-orders"));
        let either = filter(&["a|b"], &[]);
        assert!(either.includes("a") && either.includes("b"));
        assert!(!either.includes("ab") && !either.includes("xb"));
        assert!(!filter(&["(?m)^a$"], &[]).includes("a\nb"));
    }

    #[test]
    fn exclude_wins_and_says_which_pattern() {
        let filter = filter(&["orders.*"], &[r".*\.tmp"]);
        assert!(filter.includes("orders.eu"));
        let Selection::Excluded(pattern) = filter.select("orders.tmp") else {
            panic!("not excluded")
        };
        assert_eq!(pattern.as_str(), r".*\.tmp");
        assert_eq!(filter.select("payments"), Selection::NotIncluded);
    }

    #[test]
    fn a_wrong_pattern_gives_the_reason_in_one_line() {
        for (text, reason) in [
            ("*", "repetition operator missing expression"),
            ("orders(", "unclosed group"),
            ("a)(b", "unopened group"),
            (
                "[z-a]",
                "invalid character class range, the start must be <= the end",
            ),
            (".{100000}{100}", "it takes too much memory to compile"),
        ] {
            assert_eq!(Pattern::new(text).unwrap_err().reason, reason, "{text}");
        }
    }

    #[test]
    fn plain_names_are_told_from_patterns() {
        let literal = |text| Pattern::new(text).unwrap().literal();
        assert_eq!(literal("orders-eu_1"), Some("orders-eu_1".to_owned()));
        assert_eq!(literal(r"orders\.v1"), Some("orders.v1".to_owned()));
        assert_eq!(literal("orders.v1"), None);
        assert_eq!(literal(".*"), None);
        assert_eq!(literal(""), None);
    }

    #[test]
    fn filters_share_topics_unless_plain_names_show_that_they_do_not() {
        let orders = filter(&["orders"], &[]);
        let payments = filter(&["payments", r"refunds\.v1"], &[]);
        let all = filter(&[".*"], &["payments"]);
        assert!(!orders.may_share_topics(&payments));
        assert!(orders.may_share_topics(&all) && all.may_share_topics(&orders));
        assert!(payments.may_share_topics(&all), "refunds.v1");
        assert!(!filter(&["payments"], &[]).may_share_topics(&all));
        assert!(
            filter(&["a.*"], &[]).may_share_topics(&filter(&["b.*"], &[])),
            "cannot be told, so yes"
        );
    }

    proptest! {
        #[test]
        fn internal_topics_never_pass(rest in "[a-z.]{0,20}", pattern in r"[a-z.*|]{0,8}") {
            let mut include = vec![Pattern::new(".*").unwrap()];
            include.extend(Pattern::new(&pattern));
            let filter = TopicFilter { include, exclude: Vec::new() };
            let kafka = format!("__{rest}");
            let heliostat = format!("heliostat.{rest}.internal");
            prop_assert!(!filter.includes(&kafka));
            prop_assert!(!filter.includes(&heliostat));
        }

        #[test]
        fn a_plain_name_matches_itself_only(name in r"[a-z0-9_-]{1,12}", other in r"[a-z0-9_-]{1,12}") {
            let pattern = Pattern::new(&name).unwrap();
            prop_assert!(pattern.matches(&name));
            prop_assert_eq!(pattern.matches(&other), name == other);
        }

        #[test]
        fn any_text_is_a_pattern_or_a_reason(text in any::<String>(), topic in "[a-z.]{0,10}") {
            match Pattern::new(&text) {
                Ok(pattern) => { pattern.matches(&topic); }
                Err(error) => prop_assert!(!error.reason.is_empty() && !error.reason.contains('\n')),
            }
        }
    }
}
