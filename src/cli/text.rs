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

/// A moment, given in milliseconds since 1970, as `2026-11-21T15:43:32.271Z`. What is not in the years 0 to 9999 is shown as a number.
pub fn utc(ms: i64) -> String {
    const MS_PER_DAY: i64 = 86_400_000;
    let (day, of_day) = (ms.div_euclid(MS_PER_DAY), ms.rem_euclid(MS_PER_DAY));
    let Some((year, month, date)) = civil(day) else {
        return ms.to_string();
    };
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The date of a day, counted from 1 January 1970. Years begin in March here, so that the day that a leap year has more is their last one.
fn civil(day: i64) -> Option<(i64, i64, i64)> {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    // Days since 1 March of the year 0.
    let day = day.checked_add(719_468)?;
    let (era, of_era) = (
        day.div_euclid(DAYS_IN_400_YEARS),
        day.rem_euclid(DAYS_IN_400_YEARS),
    );
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (0..=9999).contains(&year).then_some((year, month, date))
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:=".contains(c);
    match word.is_empty() || !word.chars().all(is_plain) {
        true => format!("'{}'", word.replace('\'', r"'\''")),
        false => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_795_275_812_271, "2026-11-21T15:43:32.271Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "253402300800000"),
            (i64::MAX, "9223372036854775807"),
            (i64::MIN, "-9223372036854775808"),
        ] {
            assert_eq!(utc(ms), expected);
        }
    }

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
