//! A message as a tree of named fields, and how two such trees differ.
//!
//! The tree is read from what `{:?}` prints of a message, so that neither the messages nor the broker carry anything
//! for the sake of this test.

use std::fmt;

/// A message, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    Struct(Vec<(String, Tree)>),
    List(Vec<Tree>),
    /// A number, a truth, a quoted text, an id; `null` for what is not there.
    Leaf(String),
}

/// A place at which two trees are not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub path: String,
    pub ours: String,
    pub kafka: String,
}

/// Fields by which an element of a list is told from the others, if it has one of them.
const KEYS: &[&str] = &[
    "name",
    "topic",
    "transactional_id",
    "partition_index",
    "partition_id",
    "entity_type",
    "partition",
    "index",
    "group_id",
    "member_id",
    "api_key",
    "key",
    "node_id",
    "broker_id",
    "user",
    "mechanism",
    "resource_name",
    "config_name",
    "topic_id",
];

/// What stands for an element that one of the two does not have.
pub const ABSENT: &str = "(not there)";

impl Tree {
    /// The tree of any value that derives `Debug`.
    pub fn of(value: &impl fmt::Debug) -> Tree {
        let text = format!("{value:?}");
        let mut parser = Parser { rest: &text };
        let tree = parser.value();
        assert!(parser.rest.is_empty(), "{:?} is left of {text}", parser.rest);
        tree
    }

    /// A leaf with this text.
    pub fn leaf(text: impl Into<String>) -> Tree {
        Tree::Leaf(text.into())
    }

    fn field(&self, name: &str) -> Option<&Tree> {
        match self {
            Tree::Struct(fields) => fields
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, tree)| tree),
            _ => None,
        }
    }

    /// What tells this element from the others of its list.
    fn key(&self) -> Option<String> {
        let named = KEYS.iter().find_map(|name| match self.field(name) {
            Some(Tree::Leaf(text)) if text != "null" && text != "\"\"" => {
                Some(text.trim_matches('"').to_owned())
            }
            _ => None,
        });
        let empty = || {
            KEYS.iter()
                .any(|name| self.field(name).is_some())
                .then(String::new)
        };
        match self {
            Tree::Leaf(text) => Some(text.clone()),
            // A resource that is nothing but its name and its type: names are shared by types.
            Tree::Struct(fields) if fields.len() == 2 && self.field("resource_type").is_some() => {
                let texts: Vec<_> = fields.iter().map(|(_, tree)| tree.to_string()).collect();
                Some(texts.join(" "))
            }
            _ => named.or_else(empty),
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tree::Leaf(text) => f.write_str(text),
            Tree::List(elements) => {
                f.write_str("[")?;
                for (index, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Tree::Struct(fields) => {
                f.write_str("{")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Every place at which the trees differ. Lists whose elements can be told apart are compared element by element, and
/// their order by itself.
pub fn differences(path: &str, ours: &Tree, kafka: &Tree) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(path, ours, kafka, &mut found);
    found
}

fn compare(path: &str, ours: &Tree, kafka: &Tree, found: &mut Vec<Difference>) {
    match (ours, kafka) {
        (Tree::Struct(a), Tree::Struct(b)) if same_fields(a, b) => {
            for ((name, ours), (_, kafka)) in a.iter().zip(b) {
                let dot = if path.is_empty() { "" } else { "." };
                compare(&format!("{path}{dot}{name}"), ours, kafka, found);
            }
        }
        (Tree::List(a), Tree::List(b)) => compare_lists(path, a, b, found),
        _ if ours != kafka => found.push(Difference {
            path: path.to_owned(),
            ours: ours.to_string(),
            kafka: kafka.to_string(),
        }),
        _ => {}
    }
}

fn same_fields(a: &[(String, Tree)], b: &[(String, Tree)]) -> bool {
    a.iter().map(|(name, _)| name).eq(b.iter().map(|(name, _)| name))
}

fn compare_lists(path: &str, ours: &[Tree], kafka: &[Tree], found: &mut Vec<Difference>) {
    let (Some(our_keys), Some(their_keys)) = (keys(ours), keys(kafka)) else {
        return compare_by_position(path, ours, kafka, found);
    };
    let mut difference =
        |path: String, ours: String, kafka: String| found.push(Difference { path, ours, kafka });
    for (key, tree) in our_keys
        .iter()
        .zip(ours)
        .filter(|(key, _)| !their_keys.contains(key))
    {
        difference(format!("{path}[{key}]"), tree.to_string(), ABSENT.to_owned());
    }
    for (key, tree) in their_keys
        .iter()
        .zip(kafka)
        .filter(|(key, _)| !our_keys.contains(key))
    {
        difference(format!("{path}[{key}]"), ABSENT.to_owned(), tree.to_string());
    }
    let common = |keys: &[String], others: &[String]| -> Vec<String> {
        keys.iter().filter(|key| others.contains(key)).cloned().collect()
    };
    let (ours_in_order, theirs_in_order) = (common(&our_keys, &their_keys), common(&their_keys, &our_keys));
    if ours_in_order != theirs_in_order {
        difference(
            format!("{path}(order)"),
            ours_in_order.join(" "),
            theirs_in_order.join(" "),
        );
    }
    for (key, tree) in our_keys.iter().zip(ours) {
        if let Some(at) = their_keys.iter().position(|other| other == key) {
            compare(&format!("{path}[{key}]"), tree, &kafka[at], found);
        }
    }
}

fn compare_by_position(path: &str, ours: &[Tree], kafka: &[Tree], found: &mut Vec<Difference>) {
    for index in 0..ours.len().max(kafka.len()) {
        let path = format!("{path}[#{index}]");
        match (ours.get(index), kafka.get(index)) {
            (Some(ours), Some(kafka)) => compare(&path, ours, kafka, found),
            (ours, kafka) => {
                let text = |tree: Option<&Tree>| tree.map_or(ABSENT.to_owned(), Tree::to_string);
                found.push(Difference {
                    path,
                    ours: text(ours),
                    kafka: text(kafka),
                });
            }
        }
    }
}

/// The key of each element, if they all have one and no two have the same.
fn keys(elements: &[Tree]) -> Option<Vec<String>> {
    let keys: Vec<String> = elements.iter().map(Tree::key).collect::<Option<_>>()?;
    let distinct = (0..keys.len()).all(|index| !keys[..index].contains(&keys[index]));
    distinct.then_some(keys)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn value(&mut self) -> Tree {
        if self.eat("[") {
            let mut elements = Vec::new();
            while !self.eat("]") {
                elements.push(self.value());
                self.eat(", ");
            }
            return Tree::List(elements);
        }
        if self.rest.starts_with('"') || self.rest.starts_with("b\"") {
            return Tree::Leaf(self.quoted());
        }
        let end = self
            .rest
            .find([',', ']', '}', '(', ')', ' '])
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        // What is wrapped, in `Some` or in a variant, is taken as it is.
        if self.eat("(") {
            let inner = self.value();
            assert!(self.eat(")"), "no end of {word} at {:?}", self.rest);
            return inner;
        }
        if !self.eat(" { ") {
            return Tree::leaf(if word == "None" { "null" } else { word });
        }
        let mut fields = Vec::new();
        while !self.eat(" }") {
            let (name, rest) = self.rest.split_once(": ").expect("a field has a name");
            let name = name.to_owned();
            self.rest = rest;
            fields.push((name, self.value()));
            self.eat(", ");
        }
        Tree::Struct(fields)
    }

    fn quoted(&mut self) -> String {
        let start = self.rest.find('"').expect("a quote") + 1;
        let bytes = self.rest.as_bytes();
        let mut end = start;
        while bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let (text, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        text.to_owned()
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

/// The bytes that `{:?}` printed as `b"…"`.
pub fn unquote_bytes(text: &str) -> Option<Vec<u8>> {
    let mut inner = text.strip_prefix("b\"")?.strip_suffix('"')?.bytes();
    let mut bytes = Vec::new();
    while let Some(byte) = inner.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match inner.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'x' => {
                let digits = [inner.next()?, inner.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

#[test]
fn messages_become_trees_and_trees_are_compared_by_path() {
    use heliostat_wire::message::metadata::{MetadataResponse, MetadataResponseTopic};
    let topic = |name: &str, error_code| MetadataResponseTopic {
        name: Some(name.to_owned()),
        error_code,
        ..Default::default()
    };
    let with = |topics| {
        Tree::of(&MetadataResponse {
            topics,
            ..Default::default()
        })
    };
    let (ours, kafka) = (
        with(vec![topic("a \" b", 0), topic("c", 3)]),
        with(vec![topic("c", 0), topic("a \" b", 0)]),
    );
    let found = differences("", &ours, &kafka);
    let paths: Vec<_> = found.iter().map(|found| found.path.as_str()).collect();
    assert_eq!(paths, ["topics(order)", "topics[c].error_code"]);
    assert_eq!((found[1].ours.as_str(), found[1].kafka.as_str()), ("3", "0"));
    let bytes = bytes::Bytes::from_static(b"\0\x01\n\"\\x\xff");
    assert_eq!(unquote_bytes(&format!("{bytes:?}")).unwrap(), bytes);
}
