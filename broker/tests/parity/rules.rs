//! What is made equal before answers are compared: what each cluster makes up by itself (ids, ports, times) and the
//! words of messages for people. Whatever has no rule here is compared as it is.

use std::time::{SystemTime, UNIX_EPOCH};

use heliostat_wire::{Uuid, batch::Batches};

use crate::{
    side::Side,
    tree::{Tree, unquote_bytes},
};

/// A time that is not further from now is one that the cluster has looked at its clock for.
const NOW_MS: i64 = 600_000;

/// The most that a batch in these tests holds when it is not compressed.
const INFLATED_MAX: usize = 16 << 20;

/// A tree with everything replaced that the cluster has made up.
pub fn normalized(tree: &Tree, side: &mut Side) -> Tree {
    walk("", tree, side)
}

fn walk(field: &str, tree: &Tree, side: &mut Side) -> Tree {
    match tree {
        Tree::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|(name, tree)| (name.clone(), walk(name, tree, side)));
            Tree::Struct(fields.collect())
        }
        Tree::List(elements) => Tree::List(
            elements
                .iter()
                .map(|element| walk(field, element, side))
                .collect(),
        ),
        Tree::Leaf(text) if field == "records" => records(text, side),
        Tree::Leaf(text) => Tree::Leaf(leaf(field, text, side)),
    }
}

fn leaf(field: &str, text: &str, side: &mut Side) -> String {
    let inner = text.trim_matches('"');
    match field {
        // Whether there is a text is compared, and two short ones that programs look at.
        "error_message" | "batch_index_error_message" | "status_message"
            if !matches!(inner, "null" | "" | "NONE") =>
        {
            "(a text)".to_owned()
        }
        "documentation" if text != "null" => "(a text)".to_owned(),
        "topic_id" => side.topic_with(text).unwrap_or_else(|| new_id(text)),
        "port" if let Some(node) = side.nodes.iter().position(|n| inner == n.port().to_string()) => {
            format!("<the port of node {}>", node + 1)
        }
        "port" if inner == side.address.port().to_string() => "<its port>".to_owned(),
        "cluster_id" if inner == side.cluster_id => "<its id>".to_owned(),
        "producer_id" if number(text).is_some_and(|id| id >= 0) => numbered("producer", text, side),
        "log_dir" if inner.starts_with('/') => numbered("directory", text, side),
        "total_bytes" | "usable_bytes" if number(text).is_some_and(|bytes| bytes > 0) => "<some>".to_owned(),
        "session_id" if text != "0" => numbered("session", text, side),
        "log_append_time_ms"
        | "timestamp"
        | "base_timestamp"
        | "max_timestamp"
        | "transaction_start_time_ms"
        | "last_timestamp"
        | "last_fetch_timestamp"
        | "last_caught_up_timestamp" => time(text),
        "member_id" | "leader" => generated(text, side),
        _ => text.to_owned(),
    }
}

/// An id that the cluster has made up, unless it is one that a request made up, whose bytes are all the same.
fn new_id(text: &str) -> String {
    match text.parse::<Uuid>() {
        Ok(id) if id.as_bytes().iter().any(|byte| *byte != id.as_bytes()[0]) => "<a new id>".to_owned(),
        _ => text.to_owned(),
    }
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// The first, the second … number of its kind that the cluster gave out in this script.
fn numbered(kind: &'static str, text: &str, side: &mut Side) -> String {
    let seen = side.numbers.entry(kind).or_default();
    let at = seen.iter().position(|known| known == text).unwrap_or_else(|| {
        seen.push(text.to_owned());
        seen.len() - 1
    });
    format!("<{kind} {}>", at + 1)
}

fn time(text: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_millis() as i64;
    match number(text) {
        Some(time) if (time - now).abs() < NOW_MS => "<now>".to_owned(),
        _ => text.to_owned(),
    }
}

/// Member ids that end with a random id, in one of the two forms that Kafka writes ids in.
fn generated(text: &str, side: &mut Side) -> String {
    const LONG: usize = 36;
    const SHORT: usize = 22;
    let inner = text.trim_matches('"');
    let is_long = |tail: &str| {
        tail.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') && tail.matches('-').count() == 4
    };
    if let Some(at) = inner.len().checked_sub(LONG)
        && inner.get(at..).is_some_and(is_long)
    {
        return format!(
            "{:?}",
            format!("{}{}", &inner[..at], numbered("member", text, side))
        );
    }
    let is_short = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if inner.len() == SHORT && inner.bytes().all(is_short) {
        return format!("{:?}", numbered("member", text, side));
    }
    text.to_owned()
}

/// Record batches with all that is in them. Their checksums are checked, not compared: they cover times.
fn records(text: &str, side: &mut Side) -> Tree {
    let Some(bytes) = unquote_bytes(text) else {
        return Tree::leaf(text);
    };
    let mut batches = Batches::new(&bytes);
    let mut trees: Vec<Tree> = batches
        .by_ref()
        .map(|batch| match batch {
            Ok(batch) => batch_tree(&batch, side),
            Err(error) => Tree::leaf(format!("broken: {error}")),
        })
        .collect();
    if batches.consumed() < bytes.len() {
        trees.push(Tree::leaf("a batch that is cut short"));
    }
    Tree::List(trees)
}

fn batch_tree(batch: &heliostat_wire::batch::BatchView<'_>, side: &mut Side) -> Tree {
    let header = batch.header();
    let mut fields = match Tree::of(header) {
        Tree::Struct(fields) => fields,
        other => return other,
    };
    fields.retain(|(name, _)| name != "crc");
    let crc = if batch.check_crc().is_ok() { "good" } else { "bad" };
    fields.push(("crc".to_owned(), Tree::leaf(crc)));
    let records = match batch.decompress(INFLATED_MAX) {
        Ok(bytes) => batch
            .records(&bytes)
            .map(|record| match record {
                Ok(record) => Tree::leaf(format!(
                    "{:?} at {} +{} ms: {:?} = {:?} {:?}",
                    record.attributes,
                    record.offset_delta,
                    record.timestamp_delta,
                    record.key,
                    record.value,
                    record.headers.collect::<Vec<_>>(),
                )),
                Err(error) => Tree::leaf(format!("broken: {error}")),
            })
            .collect(),
        Err(error) => vec![Tree::leaf(format!("broken: {error}"))],
    };
    fields.push(("contents".to_owned(), Tree::List(records)));
    walk("", &Tree::Struct(fields), side)
}
