//! The line of a file that a problem is about, with secrets masked.

use super::problem::Snippet;
use super::shade::{Hidden, MASK, hidden_from, is_known, lines, without_secrets};
use super::yaml::Position;

/// How much of a long line is shown, in characters.
const SHOWN_CHARS_MAX: usize = 110;

/// Where a column is after masking.
#[derive(Clone, Copy, Debug)]
enum Place {
    Shown(usize),
    /// It is gone; the mask in its place begins here.
    Hidden(usize),
}

/// Cuts the line at a position out of a text. `secrets` are masked wherever they stand.
/// `None`: it is not YAML, so that nobody knows them.
pub(super) fn snippet(text: &str, position: Position, secrets: Option<&[Hidden]>) -> Option<Snippet> {
    let index = position.line.checked_sub(1)?;
    let line = lines(text).nth(index)?;
    let hidden_from = hidden_from(text, index, secrets.is_some());
    let (masked, place) = mask_line(
        line,
        position.column.saturating_sub(1),
        hidden_from,
        secrets.unwrap_or_default(),
    );
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

/// The key that stands at a position which must not be shown: what comes behind a secret may be a part of it.
pub(super) fn hidden_key(text: &str, position: Position) -> Option<Hidden> {
    let index = position.line.checked_sub(1)?;
    let column = position.column.checked_sub(1)?;
    if column < hidden_from(text, index, true)? {
        return None;
    }
    let line: Vec<char> = lines(text).nth(index)?.chars().collect();
    let rest = line.get(column..)?;
    let key: String = rest[..token_width(rest).min(rest.len())].iter().collect();
    let key = key.trim_matches(['"', '\'']);
    // Properties have such names, and passwords hardly.
    let is_property = key.contains('.')
        && key
            .chars()
            .all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_' | '-'));
    (!key.is_empty() && !is_known(key) && !is_property).then(|| Hidden {
        text: key.to_owned(),
        everywhere: false,
    })
}

/// Makes a text fit to be shown: without secrets, and without characters that move a cursor or turn the writing round.
pub(super) fn presentable(text: &str, secrets: &[Hidden]) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let unwanted = |c: char| (c.is_control() && c != '\n') || turns(c);
    without_secrets(text, secrets).replace(unwanted, " ")
}

/// Masks a line. A column at what was masked stands at the mask afterwards.
fn mask_line(line: &str, column: usize, hidden_from: Option<usize>, secrets: &[Hidden]) -> (String, Place) {
    let mask = |text: &str| {
        let everywhere = secrets.iter().filter(|hidden| hidden.everywhere);
        everywhere.fold(text.to_owned(), |text, hidden| {
            text.replace(hidden.text.as_str(), MASK)
        })
    };
    let split = |text: &str, at: usize| {
        let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
        let (head, tail) = text.split_at(at);
        (head.to_owned(), tail.to_owned())
    };
    let (shown, mut text) = match hidden_from {
        Some(from) => (split(line, from).0, mask(&split(line, from).0) + MASK),
        None => (line.to_owned(), mask(line)),
    };
    if hidden_from.is_some_and(|from| column > from) {
        text.truncate(text.len() - MASK.len());
        let place = Place::Hidden(text.chars().count());
        return (text + MASK, place);
    }
    let (head, tail) = split(&shown, column);
    let (head, tail) = (mask(&head), mask(&tail));
    let place = match text.starts_with(&format!("{head}{tail}")) {
        true => Place::Shown(head.chars().count()),
        // The column is within a secret.
        false => {
            let same = shown.chars().zip(text.chars()).take_while(|(a, b)| a == b);
            Place::Hidden(head.chars().count().min(same.count()))
        }
    };
    (text, place)
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
        let hidden = |secret: &&str| Hidden {
            text: (*secret).to_owned(),
            everywhere: true,
        };
        let secrets: Vec<Hidden> = secrets.iter().map(hidden).collect();
        let Snippet { text, indent, width } =
            snippet(line, Position { line: 1, column }, Some(&secrets)).unwrap();
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
        let Snippet { text, indent, width } =
            snippet(&line, Position { line: 1, column: 301 }, Some(&[])).unwrap();
        assert_eq!(text.chars().skip(indent).take(width).collect::<String>(), "HERE");
        assert!(text.len() <= 110);
    }

    #[test]
    fn a_position_outside_the_text_is_harmless() {
        assert_eq!(snippet("a", Position { line: 9, column: 1 }, Some(&[])), None);
        assert_eq!(shown("a", 99, &[]), "a\n ^");
    }
}
