//! What a mirror topic is called.

use std::fmt;

use serde::{Serialize, Serializer};

/// The longest name that Kafka takes for a topic, in characters.
const TOPIC_CHARS_MAX: usize = 249;

/// How a flow names the copies of its topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum Naming {
    /// The source's alias, a separator, the topic: `primary.orders`. MirrorMaker's default.
    Prefix {
        /// What stands between alias and topic.
        separator: String,
    },
    /// The same name on both sides.
    Identity,
    /// Any text around the topic.
    Template {
        /// The text, with its placeholders.
        template: Template,
    },
}

/// A name with the placeholders `{source}`, `{target}` and, exactly once, `{topic}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    before: Vec<Part>,
    after: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Source,
    Target,
}

/// Why a text is not a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// All mirrors would have one name.
    #[error("it has no {{topic}}, so every topic would get the same name")]
    NoTopic,
    /// Which is the topic could not be told from the name.
    #[error("it has {{topic}} more than once")]
    TopicTwice,
    /// Not one of the three.
    #[error("it has no placeholder {{{0}}}: there are {{source}}, {{target}} and {{topic}}")]
    UnknownPlaceholder(String),
    /// A brace without its partner.
    #[error("it has a brace without a partner")]
    Unbalanced,
    /// A character that Kafka has in no topic name.
    #[error("`{0}` cannot be in the name of a topic: letters, digits, `.`, `_` and `-` can")]
    BadCharacter(char),
    /// A name that would be taken for one of Kafka's own topics.
    #[error("names that begin with `__` are Kafka's own")]
    Internal,
}

/// Why a topic can have no mirror under a [`Naming`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamingError {
    /// Kafka takes up to 249 characters.
    #[error("the mirror's name `{name}` has {length} characters, and Kafka takes {TOPIC_CHARS_MAX} at most")]
    TooLong {
        /// The name.
        name: String,
        /// Its characters.
        length: usize,
    },
    /// Kafka takes letters, digits, `.`, `_` and `-`.
    #[error("the mirror's name `{name}` has `{character}`, which Kafka takes in no topic name")]
    BadCharacter {
        /// The name.
        name: String,
        /// The first such character.
        character: char,
    },
    /// Kafka takes neither an empty name nor `.` nor `..`.
    #[error("the mirror's name `{name}` is one that Kafka does not take")]
    Reserved {
        /// The name.
        name: String,
    },
}

impl Naming {
    /// The name of the copy of `topic` that a flow `source->target` makes.
    ///
    /// # Errors
    /// If Kafka would not take that name: too long, or characters that are not for topics.
    pub fn mirror_topic(&self, source: &str, target: &str, topic: &str) -> Result<String, NamingError> {
        let (before, after) = self.around(source, target);
        let name = format!("{before}{topic}{after}");
        check_topic_name(&name)?;
        Ok(name)
    }

    /// The topic whose copy has this name, if any topic's has.
    pub fn source_topic<'t>(&self, source: &str, target: &str, mirror: &'t str) -> Option<&'t str> {
        let (before, after) = self.around(source, target);
        let topic = mirror
            .strip_prefix(before.as_str())?
            .strip_suffix(after.as_str())?;
        (!topic.is_empty()).then_some(topic)
    }

    /// What stands before and after the topic in the names that a flow gives.
    pub fn around(&self, source: &str, target: &str) -> (String, String) {
        match self {
            Naming::Prefix { separator } => (format!("{source}{separator}"), String::new()),
            Naming::Identity => (String::new(), String::new()),
            Naming::Template { template } => (
                join(&template.before, source, target),
                join(&template.after, source, target),
            ),
        }
    }
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Naming::Prefix { separator } => write!(f, "prefix `{separator}`"),
            Naming::Identity => f.write_str("identity"),
            Naming::Template { template } => write!(f, "template `{}`", template.text),
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// If a placeholder is unknown, if `{topic}` is not there exactly once, or if the rest is not for topic names.
    pub fn new(text: &str) -> Result<Template, TemplateError> {
        let mut sides: [Vec<Part>; 2] = Default::default();
        let mut topics = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let side = &mut sides[usize::from(topics > 0)];
            if let Some(after_brace) = rest.strip_prefix('{') {
                let (placeholder, after) = after_brace.split_once('}').ok_or(TemplateError::Unbalanced)?;
                match placeholder {
                    "source" => side.push(Part::Source),
                    "target" => side.push(Part::Target),
                    "topic" => topics += 1,
                    other => return Err(TemplateError::UnknownPlaceholder(other.to_owned())),
                }
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                let (literal, after) = rest.split_at(end);
                match literal.chars().find(|c| !is_topic_char(*c)) {
                    Some('}') => return Err(TemplateError::Unbalanced),
                    Some(other) => return Err(TemplateError::BadCharacter(other)),
                    None => side.push(Part::Literal(literal.to_owned())),
                }
                rest = after;
            }
        }
        match topics {
            0 => Err(TemplateError::NoTopic),
            1 if text.starts_with("__") => Err(TemplateError::Internal),
            1 => {
                let [before, after] = sides;
                Ok(Template {
                    text: text.to_owned(),
                    before,
                    after,
                })
            }
            _ => Err(TemplateError::TopicTwice),
        }
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// The chain of known aliases in front of a topic's name, the last hop first: `hub.spoke-1.orders` has `hub` and `spoke-1`.
///
/// Only aliases that are known count, so `orders.v1` is no mirror of a cluster `orders`. Something must remain after the
/// last alias: a topic that is called `hub` is not a mirror either.
pub fn aliases_in_name<'a, S: AsRef<str>>(topic: &str, separator: &str, known: &'a [S]) -> Vec<&'a str> {
    let mut chain = Vec::new();
    let mut rest = topic;
    // An alias or separator of no characters would be found without end.
    while !separator.is_empty() {
        let after = |alias: &str| {
            let after = rest.strip_prefix(alias)?.strip_prefix(separator)?;
            (!alias.is_empty() && !after.is_empty()).then_some(after)
        };
        // `eu-1.orders` came from `eu-1`, also where a cluster `eu` exists and the separator is `-`: the longest wins.
        let found = known
            .iter()
            .map(AsRef::as_ref)
            .filter_map(|alias| Some((alias, after(alias)?)));
        let Some((alias, after)) = found.max_by_key(|(alias, _)| alias.len()) else {
            break;
        };
        chain.push(alias);
        rest = after;
    }
    chain
}

fn check_topic_name(name: &str) -> Result<(), NamingError> {
    if let Some(character) = name.chars().find(|c| !is_topic_char(*c)) {
        return Err(NamingError::BadCharacter {
            name: name.to_owned(),
            character,
        });
    }
    // From here on a character is a byte.
    if name.len() > TOPIC_CHARS_MAX {
        return Err(NamingError::TooLong {
            name: name.to_owned(),
            length: name.len(),
        });
    }
    match name {
        "" | "." | ".." => Err(NamingError::Reserved {
            name: name.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn is_topic_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn join(parts: &[Part], source: &str, target: &str) -> String {
    let text = |part: &Part| match part {
        Part::Literal(text) => text.clone(),
        Part::Source => source.to_owned(),
        Part::Target => target.to_owned(),
    };
    parts.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(separator: &str) -> Naming {
        Naming::Prefix {
            separator: separator.to_owned(),
        }
    }

    fn template(text: &str) -> Naming {
        Naming::Template {
            template: Template::new(text).unwrap(),
        }
    }

    #[test]
    fn names_by_each_policy() {
        let name = |naming: Naming| naming.mirror_topic("eu", "us", "orders").unwrap();
        assert_eq!(name(prefix(".")), "eu.orders");
        assert_eq!(name(prefix("__")), "eu__orders");
        assert_eq!(name(Naming::Identity), "orders");
        assert_eq!(
            name(template("{source}-to-{target}.{topic}.copy")),
            "eu-to-us.orders.copy"
        );
    }

    #[test]
    fn names_that_kafka_does_not_take_are_refused() {
        let long = "t".repeat(247);
        assert_eq!(prefix(".").mirror_topic("a", "b", &long).unwrap().len(), 249);
        let error = prefix(".").mirror_topic("ab", "b", &long).unwrap_err();
        assert!(
            matches!(error, NamingError::TooLong { length: 250, .. }),
            "{error}"
        );
        let error = Naming::Identity.mirror_topic("a", "b", "über").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the mirror's name `über` has `ü`, which Kafka takes in no topic name"
        );
        for name in ["", ".", ".."] {
            let error = Naming::Identity.mirror_topic("a", "b", name).unwrap_err();
            assert_eq!(
                error,
                NamingError::Reserved {
                    name: name.to_owned()
                }
            );
        }
    }

    #[test]
    fn a_wrong_template_gives_the_reason() {
        for (text, error) in [
            ("{source}", TemplateError::NoTopic),
            ("", TemplateError::NoTopic),
            ("{topic}.{topic}", TemplateError::TopicTwice),
            (
                "{src}.{topic}",
                TemplateError::UnknownPlaceholder("src".to_owned()),
            ),
            ("{topic", TemplateError::Unbalanced),
            ("topic}", TemplateError::Unbalanced),
            ("{source}/{topic}", TemplateError::BadCharacter('/')),
            ("__{topic}", TemplateError::Internal),
        ] {
            assert_eq!(Template::new(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn only_known_aliases_count() {
        let known = ["hub", "spoke-1", "spoke-10", "eu", "eu-west"];
        assert_eq!(
            aliases_in_name("hub.spoke-1.orders", ".", &known),
            ["hub", "spoke-1"]
        );
        assert_eq!(aliases_in_name("spoke-10.orders", ".", &known), ["spoke-10"]);
        assert!(aliases_in_name("orders.v1", ".", &known).is_empty());
        assert!(aliases_in_name("hub", ".", &known).is_empty());
        assert!(aliases_in_name("hub.", ".", &known).is_empty());
        assert!(aliases_in_name("orders.hub.x", ".", &known).is_empty());
        assert_eq!(aliases_in_name("eu-west-orders", "-", &known), ["eu-west"]);
        assert!(aliases_in_name("huborders", "", &known).is_empty());
    }

    proptest! {
        #[test]
        fn a_mirrors_name_leads_back_to_its_topic(topic in "[a-zA-Z0-9._-]{1,60}", which in 0..4) {
            let naming = match which {
                0 => prefix("."),
                1 => prefix("_"),
                2 => Naming::Identity,
                _ => template("m-{target}.{topic}-of-{source}"),
            };
            if let Ok(mirror) = naming.mirror_topic("eu", "us", &topic) {
                prop_assert_eq!(naming.source_topic("eu", "us", &mirror), Some(topic.as_str()));
            }
        }

        #[test]
        fn every_hop_shows_in_the_name(hops in prop::collection::vec(0..3usize, 0..5), topic in "[d-z]{1,10}") {
            let known = ["a", "b", "cc"];
            let mut name = topic;
            for hop in &hops {
                name = prefix(".").mirror_topic(known[*hop], "x", &name).unwrap();
            }
            let expected: Vec<_> = hops.iter().rev().map(|hop| known[*hop]).collect();
            prop_assert_eq!(aliases_in_name(&name, ".", &known), expected);
        }

        #[test]
        fn any_text_is_a_template_or_an_error(text in any::<String>()) {
            if let Ok(template) = Template::new(&text) {
                let naming = Naming::Template { template };
                prop_assert!(naming.mirror_topic("a", "b", "t").is_ok());
            }
        }

        #[test]
        fn a_name_that_is_given_is_one_that_kafka_takes(topic in any::<String>(), separator in "[._-]{1,2}") {
            if let Ok(name) = prefix(&separator).mirror_topic("eu", "us", &topic) {
                prop_assert!(!name.is_empty() && name.len() <= 249);
                prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
            }
        }
    }
}
