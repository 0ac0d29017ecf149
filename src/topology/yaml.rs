//! A YAML text as a tree of our own, and where in the text each node stands.
//!
//! The YAML crate stops at its first error and tells a visitor no positions. So the text is read into a tree that keeps
//! everything, duplicate keys too, and the nodes are numbered in the order in which they are visited. Where a node stands
//! is found by reading once more and failing at its number: the crate attaches the place to that failure. It costs a pass
//! per problem, and nothing where there is none.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde_yaml::Deserializer;

/// Aliases can make a small file mean a huge tree, so the tree is bounded. A file of a thousand flows has about 20,000 nodes.
const NODES_MAX: u32 = 200_000;

/// The number of a node, in the order of visiting.
pub(super) type NodeId = u32;

/// One value of the file.
#[derive(Debug)]
pub(super) struct Node {
    pub id: NodeId,
    pub value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// Pairs in the order of the file, so that a key that is there twice can be seen.
    Map(Vec<(Node, Node)>),
    /// A value with a tag of its own, such as `!secret x`.
    Tagged(String),
}

/// A place in the file, both counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub line: usize,
    pub column: usize,
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) enum ReadError {
    /// Nothing but comments.
    Empty,
    /// Not YAML, or nested or repeated beyond the limits.
    Syntax {
        message: String,
        position: Option<Position>,
    },
    /// A second document after `---`.
    SecondDocument { position: Option<Position> },
}

/// Reads a whole file.
pub(super) fn read(text: &str) -> Result<Node, ReadError> {
    let mut documents = Deserializer::from_str(text);
    let Some(first) = documents.next() else {
        return Err(ReadError::Empty);
    };
    let counter = Counter::new(None);
    let root = Seed { counter: &counter }
        .deserialize(first)
        .map_err(|error| syntax(&error))?;
    if let Some(second) = documents.next() {
        // Failing at its first node tells where it begins; a syntax error in it tells as much.
        let counter = Counter::new(Some(0));
        let position = Seed { counter: &counter }
            .deserialize(second)
            .err()
            .and_then(|error| position(&error));
        return Err(ReadError::SecondDocument { position });
    }
    match root.value {
        Value::Null => Err(ReadError::Empty),
        _ => Ok(root),
    }
}

/// Where a node of the tree that [`read`] made of the same text stands.
pub(super) fn locate(text: &str, id: NodeId) -> Option<Position> {
    let first = Deserializer::from_str(text).next()?;
    let counter = Counter::new(Some(id));
    let failure = Seed { counter: &counter }.deserialize(first).err()?;
    position(&failure)
}

impl Value {
    /// The whole number that a text or a fraction stands for: people put `"9092"` in quotes.
    pub(super) fn whole_number(&self) -> Option<i128> {
        match self {
            Value::Text(text) => text.trim().parse().ok(),
            Value::Float(number) if number.fract() == 0.0 => format!("{number:.0}").parse().ok(),
            _ => None,
        }
    }

    /// Which of the two a text stands for. Older YAML has more words for them.
    pub(super) fn truth(&self) -> Option<bool> {
        let Value::Text(text) = self else { return None };
        match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    /// What it is, for a message: `a number`.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Value::Null => "empty",
            Value::Bool(_) => "true or false",
            Value::Int(_) => "a number",
            Value::Float(_) => "a number with a fraction",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Tagged(_) => "a value with a tag",
        }
    }
}

fn syntax(error: &serde_yaml::Error) -> ReadError {
    let text = error.to_string();
    // The crate appends its own positions, which count otherwise than ours where a path comes first.
    let message = text.split(" at line ").next().unwrap_or(&text);
    let message = message.split(" at position ").next().unwrap_or(message);
    // It puts a path before what this module says, and quotes a value that does not fit its tag: both may be secrets.
    let message = match (message.find("the file means"), message.find("invalid ")) {
        (Some(own), _) => &message[own..],
        (None, Some(_)) => "a value is not what its tag says",
        (None, None) => message,
    };
    ReadError::Syntax {
        message: message.to_owned(),
        position: position(error),
    }
}

fn position(error: &serde_yaml::Error) -> Option<Position> {
    error.location().map(|location| Position {
        line: location.line(),
        column: location.column(),
    })
}

/// Numbers the nodes of one pass, and ends the pass at a given one.
struct Counter {
    next: Cell<NodeId>,
    stop_at: Option<NodeId>,
}

impl Counter {
    fn new(stop_at: Option<NodeId>) -> Counter {
        Counter {
            next: Cell::new(0),
            stop_at,
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'c> {
    counter: &'c Counter,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let id = self.counter.next.get();
        self.counter.next.set(id + 1);
        let value = deserializer.deserialize_any(ValueVisitor {
            counter: self.counter,
            id,
        })?;
        Ok(Node { id, value })
    }
}

struct ValueVisitor<'c> {
    counter: &'c Counter,
    id: NodeId,
}

impl ValueVisitor<'_> {
    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.counter.stop_at == Some(self.id) {
            return Err(E::custom("here"));
        }
        if self.id >= NODES_MAX {
            return Err(E::custom(format_args!(
                "the file means more than {NODES_MAX} values"
            )));
        }
        Ok(())
    }

    fn scalar<E: serde::de::Error>(&self, value: Value) -> Result<Value, E> {
        self.enter().map(|()| value)
    }
}

impl<'de> Visitor<'de> for ValueVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.scalar(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.scalar(Value::Int(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.scalar(Value::Int(value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        self.scalar(Value::Int(value))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        // Nothing in a topology is that large: the nearest number that we have is refused for its size all the same.
        self.scalar(Value::Int(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.scalar(Value::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.scalar(Value::Text(value.to_owned()))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.scalar(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.scalar(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Seed {
            counter: self.counter,
        })? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(Seed {
            counter: self.counter,
        })? {
            let value = entries.next_value_seed(Seed {
                counter: self.counter,
            })?;
            map.push((key, value));
        }
        Ok(Value::Map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        self.enter()?;
        let (tag, content) = data.variant::<String>()?;
        content.newtype_variant_seed(Seed {
            counter: self.counter,
        })?;
        Ok(Value::Tagged(tag))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(line: usize, column: usize) -> Option<Position> {
        Some(Position { line, column })
    }

    #[test]
    fn every_node_is_found_again() {
        let text = "a: 1\nb:\n  - x\n  - { c: true, d: ~ }\ne: &e [1.5]\nf: *e\n";
        let root = read(text).unwrap();
        let Value::Map(entries) = &root.value else {
            panic!("{root:?}")
        };
        let places: Vec<_> = entries
            .iter()
            .map(|(key, value)| (locate(text, key.id), locate(text, value.id)))
            .collect();
        assert_eq!(
            places,
            [
                (at(1, 1), at(1, 4)),
                (at(2, 1), at(3, 3)),
                (at(5, 1), at(5, 4)),
                // What an alias means stands where the anchor is.
                (at(6, 1), at(5, 4)),
            ]
        );
    }

    #[test]
    fn duplicate_keys_are_kept() {
        let root = read("a: 1\na: 2\n").unwrap();
        assert!(matches!(root.value, Value::Map(entries) if entries.len() == 2));
    }

    #[test]
    fn empty_files_and_second_documents_are_told_apart() {
        for text in ["", "# nothing\n", "---\n", "~"] {
            assert!(matches!(read(text), Err(ReadError::Empty)), "{text:?}");
        }
        let Err(ReadError::SecondDocument { position }) = read("a: 1\n---\nb: 2\n") else {
            panic!("read")
        };
        assert_eq!(position, at(3, 1));
    }

    #[test]
    fn aliases_cannot_make_a_huge_tree() {
        let wide = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(1000), "*a,".repeat(1000));
        let Err(ReadError::Syntax { message, .. }) = read(&wide) else {
            panic!("read")
        };
        assert!(
            message.ends_with("the file means more than 200000 values"),
            "{message}"
        );
        let mut high = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let items = format!("*a{}, ", level - 1).repeat(10);
            high += &format!("a{level}: &a{level} [{items}]\n");
        }
        let Err(ReadError::Syntax { .. }) = read(&high) else {
            panic!("read")
        };
        let Err(ReadError::Syntax { .. }) = read("a: &a [*a]") else {
            panic!("read")
        };
        let deep = "[".repeat(100_000);
        let Err(ReadError::Syntax { .. }) = read(&deep) else {
            panic!("read")
        };
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z:\\[\\]{}&*!|>\"' \n,#~<%@-]{0,60}") {
            if let Ok(root) = read(&text) {
                prop_assert!(locate(&text, root.id).is_some());
            }
        }
    }
}
