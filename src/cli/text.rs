//! Pieces of text for a terminal: cleaned, measured, cut, wrapped; numbers and times for people.
//!
//! Everything that comes from outside (topic names, error texts) goes through [`clean`] before it reaches a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// A text without control characters: each becomes a space. Marks that change the direction of writing count as such.
pub fn clean(text: &str) -> Cow<'_, str> {
    let unwanted = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(unwanted) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(unwanted, " "))
}

/// The character cells that a text without escape codes takes.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// A text without escape codes, cut to a width; the cut shows as `…`.
pub fn fit(text: &str, room: usize) -> Cow<'_, str> {
    if width(text) <= room {
        return Cow::Borrowed(text);
    }
    let mut used = 0;
    let mut cut = String::new();
    for c in text.chars() {
        if used + char_width(c) >= room {
            break;
        }
        used += char_width(c);
        cut.push(c);
    }
    if room > 0 {
        cut.push('…');
    }
    Cow::Owned(cut)
}

/// A text without escape codes in as many lines as it takes, each indented; a word that is too long for a line is cut
/// where the line ends.
pub fn wrap(text: &str, room: usize, indent: usize) -> Vec<String> {
    let room = room.saturating_sub(indent);
    let margin = " ".repeat(indent);
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split_whitespace() {
        let space = usize::from(used > 0);
        if used + space + width(word) <= room {
            line += if space > 0 { " " } else { "" };
            line += word;
            used += space + width(word);
            continue;
        }
        if used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for c in word.chars() {
            if used + char_width(c) > room && used > 0 {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            // Not even one character may fit.
            if char_width(c) <= room {
                line.push(c);
                used += char_width(c);
            }
        }
    }
    if used > 0 {
        lines.push(line);
    }
    lines.into_iter().map(|line| margin.clone() + &line).collect()
}

/// A line that may hold colours, cut to a width; colours end with it.
pub fn clip(line: &str, room: usize) -> String {
    let mut clipped = String::with_capacity(line.len());
    let mut used = 0;
    let mut chars = line.chars();
    let mut coloured = false;
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            coloured = true;
            clipped.push(c);
            for code in chars.by_ref() {
                clipped.push(code);
                if code.is_ascii_alphabetic() {
                    break;
                }
            }
            continue;
        }
        if used + char_width(c) > room {
            if coloured {
                clipped += "\x1b[0m";
            }
            return clipped;
        }
        used += char_width(c);
        clipped.push(c);
    }
    clipped
}

/// The character cells that a line takes, its colours left out.
pub fn visible_width(line: &str) -> usize {
    let mut chars = line.chars();
    let mut used = 0;
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            // A colour ends with a letter.
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            used += char_width(c);
        }
    }
    used
}

/// Writes rows of two columns, a line each; the right one is cleaned.
pub fn columns(text: &mut String, indent: &str, rows: &[[String; 2]]) {
    let first = rows.iter().map(|[first, _]| width(first)).max().unwrap_or(0);
    for [left, right] in rows {
        let gap = first - width(left) + 2;
        let _ = writeln!(text, "{indent}{left}{:gap$}{}", "", clean(right));
    }
}

/// The cells of a character: enough of Unicode to keep columns straight for names and messages in any script.
fn char_width(c: char) -> usize {
    match c as u32 {
        0x0300..=0x036f | 0x200b..=0x200d | 0xfe00..=0xfe0f | 0xfeff => 0,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A number with commas between the thousands.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in the one or two units that matter: `0.3 s`, `12 s`, `3 min 5 s`, `2 h 5 min`, `3 d 4 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_string();
    }
    let tenths = (seconds * 10.0).round() / 10.0;
    if tenths == 0.0 {
        return "0 s".to_string();
    }
    if tenths < 10.0 {
        // Whole seconds stay whole.
        let decimals = usize::from(tenths.fract() != 0.0);
        return format!("{tenths:.decimals$} s");
    }
    let s = seconds.round() as u64;
    let two = |big: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {unit}"),
        small => format!("{big} {unit} {small} {small_unit}"),
    };
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => two(s / 60, "min", s % 60, "s"),
        3_600..86_400 => two(s / 3_600, "h", s % 3_600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\nc\u{9b}1A\u{202e}d"), "a [2Jb  c 1A d");
    }

    #[test]
    fn times_and_numbers() {
        let shown: Vec<String> = [
            0.0,
            0.04,
            0.3,
            9.94,
            9.96,
            59.6,
            185.0,
            7_500.0,
            90_000.0,
            f64::NAN,
            -1.0,
        ]
        .map(duration)
        .into();
        assert_eq!(
            shown,
            [
                "0 s",
                "0 s",
                "0.3 s",
                "9.9 s",
                "10 s",
                "1 min",
                "3 min 5 s",
                "2 h 5 min",
                "1 d 1 h",
                "?",
                "?"
            ]
        );
        let shown: Vec<String> = [0, 999, 1_000, 1_234_567, u64::MAX].map(thousands).into();
        assert_eq!(
            shown,
            ["0", "999", "1,000", "1,234,567", "18,446,744,073,709,551,615"]
        );
    }

    proptest! {
        #[test]
        fn a_fitted_text_fits(text in "\\PC{0,40}", room in 0_usize..50) {
            prop_assert!(width(&fit(&text, room)) <= room);
            prop_assert!(visible_width(&clip(&text, room)) <= room);
        }

        #[test]
        fn a_wrapped_text_is_all_there(text in "[a-z0-9漢 ]{0,80}", room in 4_usize..50) {
            let lines = wrap(&text, room, 2);
            prop_assert!(lines.iter().all(|line| width(line) <= room), "{lines:?}");
            let letters = |text: &str| text.replace(' ', "");
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
