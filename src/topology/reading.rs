//! Reading a tree of values in such a way that everything wrong is collected.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::draft::{Drafts, Spot};
use super::problem::ProblemKind;
use super::suggest::nearest;
use super::units::{Wrong, format_duration, format_size, parse_duration, parse_size};
use super::yaml::{Node, NodeId, Value};

/// A map of the file.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub spot: Spot,
    entries: Vec<Entry<'a>>,
    /// Where in `entries` each key is, unknown keys too.
    index: HashMap<&'a str, usize>,
    /// Keys that were meant by unknown ones: that they are missing need not be said as well.
    meant: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    key: &'a str,
    key_id: NodeId,
    value: &'a Node,
}

/// A value of the file, with what a right one would look like.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub node: &'a Node,
    pub spot: Spot,
    /// How the setting could be written, such as `port: 19092`.
    pub example: &'static str,
}

/// Which keys a map may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keys {
    These(&'static [&'static str]),
    /// Names of the user's own: aliases, properties.
    Any,
}

/// Reading values. Whatever is `None` here was noted as an error, or is a key that may be absent.
impl Drafts {
    /// The value of a key that may be absent.
    pub(super) fn optional<'a>(
        &mut self,
        table: &Table<'a>,
        key: &str,
        example: &'static str,
    ) -> Option<Field<'a>> {
        let entry = table.get(key)?;
        if matches!(entry.value.value, Value::Null) {
            let spot = Spot {
                at: entry.key_id,
                path: table.path_of(key),
            };
            let help = format!("write `{example}`, or leave the key out");
            self.error(
                ProblemKind::EmptyValue,
                &spot,
                format!("`{}` has no value", spot.path),
            )
            .help(help);
            return None;
        }
        let spot = Spot {
            at: entry.value.id,
            path: table.path_of(key),
        };
        Some(Field {
            node: entry.value,
            spot,
            example,
        })
    }

    /// The value of a key that must be there.
    pub(super) fn required<'a>(
        &mut self,
        table: &Table<'a>,
        key: &str,
        example: &'static str,
    ) -> Option<Field<'a>> {
        if !table.has(key) && !table.meant(key) {
            let message = match table.spot.path.as_str() {
                "" => format!("`{key}` is missing"),
                path => format!("`{key}` is missing in `{path}`"),
            };
            self.error(ProblemKind::MissingKey, &table.spot, message)
                .help(format!("write `{example}`"));
        }
        self.optional(table, key, example)
    }

    /// A map with keys that are texts, each there once, and known.
    pub(super) fn table<'a>(
        &mut self,
        field: &Field<'a>,
        key: Option<NodeId>,
        keys: Keys,
    ) -> Option<Table<'a>> {
        let Value::Map(pairs) = &field.node.value else {
            self.wrong_type(field, "a map");
            return None;
        };
        let spot = Spot {
            at: key.unwrap_or(field.spot.at),
            path: field.spot.path.clone(),
        };
        let mut table = Table {
            spot,
            entries: Vec::new(),
            index: HashMap::new(),
            meant: Vec::new(),
        };
        let mut merges = Vec::new();
        for (key, value) in pairs {
            match &key.value {
                Value::Text(text) if text == "<<" => merges.push(value),
                Value::Text(text) => self.entry(
                    &mut table,
                    Entry {
                        key: text,
                        key_id: key.id,
                        value,
                    },
                ),
                other => {
                    let spot = Spot {
                        at: key.id,
                        path: table.spot.path.clone(),
                    };
                    let message = format!("a key must be a text, not {}", other.noun());
                    self.error(ProblemKind::WrongType, &spot, message)
                        .help("put the key in quotes");
                }
            }
        }
        for merge in merges {
            self.merge(&mut table, merge, 0);
        }
        if let Keys::These(known) = keys {
            self.check_keys(&mut table, known);
        }
        Some(table)
    }

    /// The items of a list.
    pub(super) fn list<'a>(&mut self, field: &Field<'a>) -> Option<Vec<Field<'a>>> {
        let Value::List(items) = &field.node.value else {
            self.wrong_type(field, "a list");
            return None;
        };
        let item = |(index, node): (usize, &'a Node)| {
            let spot = Spot {
                at: node.id,
                path: format!("{}[{index}]", field.spot.path),
            };
            Field {
                node,
                spot,
                example: field.example,
            }
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// A text that is not empty.
    pub(super) fn text<'a>(&mut self, field: &Field<'a>) -> Option<&'a str> {
        match &field.node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text),
            Value::Text(_) => {
                let message = format!("`{}` is an empty text", field.spot.path);
                self.error(ProblemKind::EmptyValue, &field.spot, message)
                    .help(format!("write `{}`", field.example));
                None
            }
            _ => {
                self.wrong_type(field, "a text");
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn bool(&mut self, field: &Field<'_>) -> Option<bool> {
        match &field.node.value {
            Value::Bool(value) => Some(*value),
            _ => {
                let mended = field.node.value.truth().map(|value| value.to_string());
                self.not_of_type(field, "true or false", mended);
                None
            }
        }
    }

    /// A whole number in a range.
    pub(super) fn int<T: TryFrom<i128>>(
        &mut self,
        field: &Field<'_>,
        range: RangeInclusive<i128>,
    ) -> Option<T> {
        let Value::Int(value) = &field.node.value else {
            let mended = field
                .node
                .value
                .whole_number()
                .filter(|number| range.contains(number));
            let mended = mended.map(|number| number.to_string());
            self.not_of_type(field, "a whole number", mended);
            return None;
        };
        if !range.contains(value) {
            let message = format!(
                "`{}` is {value}, and must be from {} to {}",
                field.spot.path,
                range.start(),
                range.end()
            );
            self.error(ProblemKind::BadValue, &field.spot, message)
                .help(format!("write `{}`", field.example));
            return None;
        }
        T::try_from(*value).ok()
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<'_>, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(field)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let possible: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let key = field.spot.path.rsplit('.').next().unwrap_or_default();
        let help = match nearest(text, possible.iter().copied()) {
            Some(word) => format!("did you mean `{key}: {word}`?"),
            None => format!("write {}", alternatives(&possible)),
        };
        let message = format!("`{}` cannot be `{text}`", field.spot.path);
        self.error(ProblemKind::BadValue, &field.spot, message).help(help);
        None
    }

    /// A number of bytes in a range: `50MB`, or a plain number.
    pub(super) fn size(&mut self, field: &Field<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let parsed = match &field.node.value {
            Value::Int(bytes) => {
                u64::try_from(*bytes).map_err(|_| Wrong::new(format!("`{bytes}` is not a number of bytes")))
            }
            Value::Text(text) => parse_size(text),
            _ => {
                self.wrong_type(field, "a size");
                return None;
            }
        };
        let value = self.quantity(field, parsed, &range, parse_size)?;
        self.in_range(field, value, range, |bytes| format_size(*bytes))
    }

    /// A duration in a range: `10s`.
    pub(super) fn duration(
        &mut self,
        field: &Field<'_>,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let parsed = match &field.node.value {
            Value::Int(number) => parse_duration(&number.to_string()),
            Value::Text(text) => parse_duration(text),
            _ => {
                self.wrong_type(field, "a duration");
                return None;
            }
        };
        let value = self.quantity(field, parsed, &range, parse_duration)?;
        self.in_range(field, value, range, |duration| format_duration(*duration))
    }

    /// Notes that a value has the wrong type, and what to write.
    pub(super) fn wrong_type(&mut self, field: &Field<'_>, wanted: &str) {
        self.not_of_type(field, wanted, None);
    }

    /// Notes that a value has the wrong type, and what it would be in the right one, if that can be told.
    fn not_of_type(&mut self, field: &Field<'_>, wanted: &str, mended: Option<String>) {
        let quoted = match (&field.node.value, wanted) {
            (Value::Int(number), "a text") => Some(number.to_string()),
            (Value::Float(number), "a text") => Some(number.to_string()),
            (Value::Bool(value), "a text") => Some(value.to_string()),
            _ => None,
        };
        let key = field.spot.path.rsplit('.').next().unwrap_or_default();
        let help = match (mended, quoted, &field.node.value) {
            (Some(value), ..) => {
                let quotes = match &field.node.value {
                    Value::Text(text) if *text == value => ", without quotes",
                    _ => "",
                };
                format!("write `{key}: {value}`{quotes}")
            }
            (None, Some(text), _) => format!("put it in quotes: \"{text}\""),
            (None, None, Value::Tagged(tag)) => {
                format!("leave the tag `!{tag}` out: write `{}`", field.example)
            }
            (None, None, _) => format!("write `{}`", field.example),
        };
        let message = match &field.node.value {
            Value::Null => format!("`{}` has no value, and must be {wanted}", field.spot.path),
            other => format!("`{}` must be {wanted}, not {}", field.spot.path, other.noun()),
        };
        self.error(ProblemKind::WrongType, &field.spot, message)
            .help(help);
    }

    fn quantity<T: PartialOrd>(
        &mut self,
        field: &Field<'_>,
        parsed: Result<T, Wrong>,
        range: &RangeInclusive<T>,
        parse: fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(Wrong { reason, meant }) => {
                let message = format!("`{}`: {reason}", field.spot.path);
                let key = field.spot.path.rsplit('.').next().unwrap_or_default();
                // What is offered must be right: the next run would refuse a quantity that is out of range.
                let meant = meant
                    .iter()
                    .filter(|meant| parse(meant).is_ok_and(|value| range.contains(&value)));
                let meant: Vec<String> = meant.map(|meant| format!("{key}: {meant}")).collect();
                let words: Vec<&str> = meant.iter().map(String::as_str).collect();
                let help = match words.is_empty() {
                    false => format!("did you mean {}?", alternatives(&words)),
                    true => format!("write a whole number and a unit, such as `{}`", field.example),
                };
                self.error(ProblemKind::BadValue, &field.spot, message).help(help);
                None
            }
        }
    }

    fn in_range<T: PartialOrd>(
        &mut self,
        field: &Field<'_>,
        value: T,
        range: RangeInclusive<T>,
        format: impl Fn(&T) -> String,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let (start, end) = (format(range.start()), format(range.end()));
        let message = format!(
            "`{}` is {}, and must be from {start} to {end}",
            field.spot.path,
            format(&value)
        );
        self.error(ProblemKind::BadValue, &field.spot, message)
            .help(format!("write `{}`", field.example));
        None
    }

    fn entry<'a>(&mut self, table: &mut Table<'a>, entry: Entry<'a>) {
        let Some(first) = table.get(entry.key) else {
            table.add(entry);
            return;
        };
        let spot = Spot {
            at: entry.key_id,
            path: table.path_of(entry.key),
        };
        let message = format!("`{}` is there twice", spot.path);
        let first = first.key_id;
        self.error(ProblemKind::DuplicateKey, &spot, message).first(first);
    }

    /// Takes in what a merge key `<<` brings: keys that the map has itself win.
    fn merge<'a>(&mut self, table: &mut Table<'a>, node: &'a Node, depth: usize) {
        match &node.value {
            Value::Map(pairs) => {
                for (key, value) in pairs {
                    match &key.value {
                        Value::Text(text) if text == "<<" => self.merge(table, value, depth + 1),
                        Value::Text(text) if !table.has(text) => {
                            table.add(Entry {
                                key: text,
                                key_id: key.id,
                                value,
                            });
                        }
                        _ => {}
                    }
                }
            }
            Value::List(maps) if depth == 0 => {
                for map in maps {
                    self.merge(table, map, 1);
                }
            }
            other => {
                let spot = Spot {
                    at: node.id,
                    path: table.path_of("<<"),
                };
                let message = format!(
                    "the merge key `<<` takes a map or a list of maps, not {}",
                    other.noun()
                );
                self.error(ProblemKind::WrongType, &spot, message)
                    .help("write `<<: *name` for a map with `&name`");
            }
        }
    }

    fn check_keys(&mut self, table: &mut Table<'_>, known: &'static [&'static str]) {
        let unknown = |entry: &&Entry<'_>| !known.contains(&entry.key);
        for entry in table.entries.clone().iter().filter(unknown) {
            let spot = Spot {
                at: entry.key_id,
                path: table.path_of(entry.key),
            };
            let place = match table.spot.path.as_str() {
                "" => String::new(),
                path => format!(" in `{path}`"),
            };
            let message = format!("unknown key `{}`{place}", entry.key);
            let (kind, help, meant) = super::hints::for_key(entry.key, known);
            table.meant.extend(meant);
            self.error(kind, &spot, message).help(help);
        }
    }
}

impl<'a> Table<'a> {
    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.index.contains_key(key)
    }

    /// Whether an unknown key was likely a slip for this one.
    pub(super) fn meant(&self, key: &str) -> bool {
        self.meant.contains(&key)
    }

    /// The key itself, if it is there.
    pub(super) fn key_spot(&self, key: &str) -> Option<Spot> {
        let entry = self.get(key)?;
        Some(Spot {
            at: entry.key_id,
            path: self.path_of(key),
        })
    }

    /// All keys with their values, in the order of the file.
    pub(super) fn fields(&self, example: &'static str) -> impl Iterator<Item = (&'a str, Spot, Field<'a>)> {
        self.entries.iter().map(move |entry| {
            let path = self.path_of(entry.key);
            let key_spot = Spot {
                at: entry.key_id,
                path: path.clone(),
            };
            let field = Field {
                node: entry.value,
                spot: Spot {
                    at: entry.value.id,
                    path,
                },
                example,
            };
            (entry.key, key_spot, field)
        })
    }

    fn get(&self, key: &str) -> Option<&Entry<'a>> {
        self.entries.get(*self.index.get(key)?)
    }

    fn add(&mut self, entry: Entry<'a>) {
        self.index.insert(entry.key, self.entries.len());
        self.entries.push(entry);
    }

    fn path_of(&self, key: &str) -> String {
        match self.spot.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

/// `a`, `b` or `c`.
pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
