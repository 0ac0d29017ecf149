//! The line of a file that a problem is about, with secrets masked.

use std::sync::LazyLock;

use regex::Regex;

use super::problem::Snippet;
use super::yaml::Position;

/// How much of a long line is shown, in characters.
const SHOWN_CHARS_MAX: usize = 110;

/// What stands in place of a secret.
const MASK: &str = "***";

/// A key that names a secret: all that follows on the line may be one. `{ env: X }` and `{ file: X }` hold none.
static SECRET_KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)[\w.-]*(?:password|passwd|secret|jaas|token|passphrase)[\w.-]*["']?\s*:\s*"#).ok()
});

/// Where a column is after masking.
#[derive(Clone, Copy, Debug)]
enum Place {
    Shown(usize),
    /// It is gone; the mask in its place begins here.
    Hidden(usize),
}

/// Cuts the line at a position out of a text. `secrets` are masked wherever they stand.
pub(super) fn snippet(text: &str, position: Position, secrets: &[String]) -> Option<Snippet> {
    let line = text.lines().nth(position.line.checked_sub(1)?)?;
    let (masked, place) = mask_line(line, position.column.saturating_sub(1), secrets);
    let (Place::Shown(column) | Place::Hidden(column)) = place;
    let chars: Vec<char> = presentable(&masked, &[]).chars().collect();
    let column = column.min(chars.len());
    let width = token_width(&chars[column..]);
    let from = match chars.len() > SHOWN_CHARS_MAX {
        true => column.saturating_sub(SHOWN_CHARS_MAX / 2),
        false => 0,
    };
    let to = chars.len().min(from + SHOWN_CHARS_MAX);
    let shown: String = chars[from..to].iter().collect();
    let text = shown.trim_end().to_owned();
    Some(Snippet {
        text,
        indent: column - from,
        width: match place {
            Place::Shown(_) => width.min(to - column).max(1),
            Place::Hidden(_) => 0,
        },
    })
}

/// Makes a text fit to be shown: without secrets, and without characters that move a cursor or turn the writing round.
pub(super) fn presentable(text: &str, secrets: &[String]) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let unwanted = |c: char| (c.is_control() && c != '\n') || turns(c);
    mask(text, secrets).replace(unwanted, " ")
}

fn mask(text: &str, secrets: &[String]) -> String {
    let mut masked = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        masked = masked.replace(secret.as_str(), MASK);
    }
    masked
}

/// Masks a line. A column at what was masked stands at the mask afterwards.
fn mask_line(line: &str, column: usize, secrets: &[String]) -> (String, Place) {
    let mut text = mask(line, secrets);
    let mut place = moved(line, &text, column, secrets);
    let keys = SECRET_KEY.as_ref().map(|key| key.find_iter(&text));
    // What a secret's place names is no secret, and one may follow.
    let start = keys.into_iter().flatten().map(|key| key.end()).find(|end| {
        let value = &text[*end..];
        !value.is_empty() && !names_a_source(value)
    });
    if let Some(start) = start {
        let masked_from = text[..start].chars().count();
        if let Place::Shown(column) | Place::Hidden(column) = place
            && column > masked_from
        {
            place = Place::Hidden(masked_from);
        }
        text.truncate(start);
        text.push_str(MASK);
    }
    (text, place)
}

fn names_a_source(value: &str) -> bool {
    let inner = value.trim_start_matches(['{', ' ']);
    value.starts_with('{') && (inner.starts_with("env:") || inner.starts_with("file:"))
}

/// Where a column is after secrets were masked.
fn moved(before: &str, after: &str, column: usize, secrets: &[String]) -> Place {
    let at = before
        .char_indices()
        .nth(column)
        .map_or(before.len(), |(at, _)| at);
    let (head, tail) = before.split_at(at);
    let (head, tail) = (mask(head, secrets), mask(tail, secrets));
    let column = head.chars().count();
    if format!("{head}{tail}") == after {
        return Place::Shown(column);
    }
    // The column is within a secret.
    let same = before.chars().zip(after.chars());
    Place::Hidden(column.min(same.take_while(|(a, b)| a == b).count()))
}

/// How many characters the value or key that begins here has on this line.
fn token_width(chars: &[char]) -> usize {
    let Some(first) = chars.first() else { return 1 };
    let end = match first {
        '"' | '\'' => chars[1..].iter().position(|c| c == first).map(|at| at + 2),
        '{' | '[' | '-' | '}' | ']' => Some(1),
        _ => (0..chars.len()).find(|at| match chars[*at] {
            ',' | '}' | ']' => true,
            ':' => chars.get(at + 1).is_none_or(|next| *next == ' '),
            ' ' => chars.get(at + 1) == Some(&'#'),
            _ => false,
        }),
    };
    let width = end.unwrap_or(chars.len());
    chars[..width]
        .iter()
        .rposition(|c| *c != ' ')
        .map_or(1, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, column: usize, secrets: &[&str]) -> String {
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        let Snippet { text, indent, width } = snippet(line, Position { line: 1, column }, &secrets).unwrap();
        format!("{text}\n{:indent$}{:^<width$}", "", "")
    }

    #[test]
    fn marks_one_key_or_value() {
        assert_eq!(shown("port: 1", 1, &[]), "port: 1\n^^^^");
        assert_eq!(shown("{ a: 12, b: x }", 6, &[]), "{ a: 12, b: x }\n     ^^");
        assert_eq!(shown("a: 'x: y' # c", 4, &[]), "a: 'x: y' # c\n   ^^^^^^");
        assert_eq!(
            shown("a: some words  # c", 4, &[]),
            "a: some words  # c\n   ^^^^^^^^^^"
        );
        assert_eq!(shown("a: kafka:9092", 4, &[]), "a: kafka:9092\n   ^^^^^^^^^^");
        assert_eq!(shown("a:", 3, &[]), "a:\n  ^");
    }

    #[test]
    fn secrets_are_masked() {
        assert_eq!(
            shown("password: hunter2 # mine", 11, &[]),
            "password: ***\n          ^^^"
        );
        assert_eq!(
            shown("{ password: \"a, b\", c: d }", 21, &[]),
            "{ password: ***\n            "
        );
        assert_eq!(
            shown("{ password: { env: P }, token: abc, y: 1 }", 32, &[]),
            "{ password: { env: P }, token: ***\n                               ^^^"
        );
        assert_eq!(
            shown("x: { password: { env: P }, y: 1 }", 28, &[]),
            "x: { password: { env: P }, y: 1 }\n                           ^"
        );
        assert_eq!(shown("  hunter2", 3, &["hunter2"]), "  ***\n  ^^^");
        assert_eq!(
            shown("sasl.password: hunter2", 1, &[]),
            "sasl.password: ***\n^^^^^^^^^^^^^"
        );
        assert_eq!(
            shown("a: hunter2, port: 1", 13, &["hunter2"]),
            "a: ***, port: 1\n        ^^^^"
        );
        assert_eq!(
            shown("a: hunter2, port: 1", 6, &["hunter2"]),
            "a: ***, port: 1\n   "
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}HERE: 1, {}", "x".repeat(300), "y".repeat(300));
        let Snippet { text, indent, width } = snippet(&line, Position { line: 1, column: 301 }, &[]).unwrap();
        assert_eq!(text.chars().skip(indent).take(width).collect::<String>(), "HERE");
        assert!(text.len() <= 110);
    }

    #[test]
    fn a_position_outside_the_text_is_harmless() {
        assert_eq!(snippet("a", Position { line: 9, column: 1 }, &[]), None);
        assert_eq!(shown("a", 99, &[]), "a\n ^");
    }
}
