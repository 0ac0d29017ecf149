//! Tables of text that fit a width.
//!
//! Everything that comes from outside (topic names, error texts) goes through [`clean`] before it reaches a terminal:
//! a cell never holds a control character, so nobody can move the cursor or colour the screen with a topic's name.

use std::borrow::Cow;

/// How a piece of text is shown where colours are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// As it is.
    #[default]
    Plain,
    /// A heading.
    Bold,
    /// Of little interest.
    Dim,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Someone must act.
    Bad,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Paint::Plain => "",
            Paint::Bold => "\x1b[1m",
            Paint::Dim => "\x1b[2m",
            Paint::Good => "\x1b[32m",
            Paint::Warn => "\x1b[33m",
            Paint::Bad => "\x1b[31m",
        }
    }
}

/// On which side of its column a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column of a table. One whose cells are all empty is not shown.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub header: &'static str,
    /// Where its texts stand.
    pub align: Align,
    /// How narrow it may become, in character cells; 0 if it may not be cut.
    pub shrinks_to: usize,
    /// Where there is not enough room, the columns with the lowest number go first; 0 stays.
    pub goes: u8,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How it is shown.
    pub paint: Paint,
}

impl Cell {
    /// A cell; control characters in the text become spaces.
    pub fn new(text: impl AsRef<str>, paint: Paint) -> Cell {
        Cell { text: clean(text.as_ref()).into_owned(), paint }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::new(text, Paint::Plain)
    }
}

/// Rows of cells under headings.
#[derive(Clone, Debug)]
pub struct Table {
    /// The columns. Each row has as many cells.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// How far it stands from the left.
    pub indent: usize,
}

/// Between two columns.
const GAP: usize = 2;

impl Table {
    /// The lines of the table, none of them wider than `width`, the headings first. No lines if there are no rows.
    pub fn lines(&self, width: usize, color: bool) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let columns = self.fitted(width.saturating_sub(self.indent));
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        let headings: Vec<Cell> =
            self.columns.iter().map(|column| Cell::new(column.header, Paint::Dim)).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let line = clip(&self.line(row, &columns, color), width);
            // Trailing blanks would wrap on a terminal that becomes narrower.
            lines.push(line.trim_end().to_string());
        }
        lines
    }

    /// The columns that are shown, with their widths.
    fn fitted(&self, room: usize) -> Vec<(usize, usize)> {
        let mut columns: Vec<(usize, usize)> = Vec::new();
        for (i, column) in self.columns.iter().enumerate() {
            let widest = self.rows.iter().filter_map(|row| row.get(i)).map(|cell| width(&cell.text)).max();
            let widest = widest.unwrap_or(0);
            if widest > 0 {
                columns.push((i, widest.max(width(column.header))));
            }
        }
        let total = |columns: &[(usize, usize)]| {
            columns.iter().map(|(_, w)| w + GAP).sum::<usize>().saturating_sub(GAP)
        };
        let least = |(i, natural): (usize, usize)| match self.columns[i].shrinks_to {
            0 => natural,
            least => natural.min(least.max(self.columns[i].header.len())),
        };
        loop {
            let narrowest: Vec<_> = columns.iter().map(|c| (c.0, least(*c))).collect();
            if total(&narrowest) <= room {
                break;
            }
            let first_to_go =
                columns.iter().enumerate().filter(|(_, c)| self.columns[c.0].goes > 0).min_by_key(|(_, c)| self.columns[c.0].goes);
            match first_to_go {
                Some((at, _)) => drop(columns.remove(at)),
                None => break,
            }
        }
        // The last column that can shrink is the least worth its room: it holds the long texts.
        let mut excess = total(&columns).saturating_sub(room);
        for column in columns.iter_mut().rev() {
            let give = excess.min(column.1 - least(*column));
            column.1 -= give;
            excess -= give;
        }
        columns
    }

    fn line(&self, row: &[Cell], columns: &[(usize, usize)], color: bool) -> String {
        let mut line = " ".repeat(self.indent);
        for (place, (i, room)) in columns.iter().enumerate() {
            let Some(cell) = row.get(*i) else { continue };
            let text = fit(&cell.text, *room);
            let fill = " ".repeat(room - width(&text));
            let last = place + 1 == columns.len();
            let text = painted(&text, cell.paint, color);
            match self.columns[*i].align {
                Align::Right => line += &(fill + &text),
                Align::Left if last => line += &text,
                Align::Left => line += &(text.into_owned() + &fill),
            }
            if !last {
                line += &" ".repeat(GAP);
            }
        }
        line
    }
}

/// A text in a colour, if colours are wanted.
pub fn painted(text: &str, paint: Paint, color: bool) -> Cow<'_, str> {
    if !color || paint == Paint::Plain || text.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{text}\x1b[0m", paint.code()))
}

/// A text without control characters: each becomes a space. Marks that change the direction of writing count as such.
pub fn clean(text: &str) -> Cow<'_, str> {
    let unwanted = |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
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
        if i > 0 && (digits.len() - i) % 3 == 0 {
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
        return format!("{tenths:.1} s");
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
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    fn table() -> Table {
        let column = |header, align, shrinks_to, goes| Column { header, align, shrinks_to, goes };
        let columns = vec![
            column("NAME", Align::Left, 6, 0),
            column("COUNT", Align::Right, 0, 2),
            column("NOTE", Align::Left, 0, 1),
            column("NEVER", Align::Left, 0, 0),
            column("REASON", Align::Left, 8, 0),
        ];
        let rows = vec![
            vec!["a".into(), "1,234".into(), "x".into(), "".into(), "short".into()],
            vec![Cell::new("a-long-name", Paint::Bad), "5".into(), "".into(), "".into(), "a rather long reason".into()],
        ];
        Table { columns, rows, indent: 2 }
    }

    #[test]
    fn a_table_gives_up_room_in_order() {
        let mut all = String::new();
        for width in [80, 40, 30, 20, 10] {
            all += &format!("{}\n{}\n", "-".repeat(width), table().lines(width, false).join("\n"));
        }
        expect![[r#"
            --------------------------------------------------------------------------------
              NAME         COUNT  NOTE  REASON
              a            1,234  x     short
              a-long-name      5        a rather long reason
            ----------------------------------------
              NAME         COUNT  NOTE  REASON
              a            1,234  x     short
              a-long-name      5        a rather lo…
            ------------------------------
              NAME         COUNT  REASON
              a            1,234  short
              a-long-name      5  a rathe…
            --------------------
              NAME      REASON
              a         short
              a-long-…  a rathe…
            ----------
              NAME
              a
              a-lon…
        "#]]
        .assert_eq(&all);
    }

    #[test]
    fn colours_take_no_room() {
        let plain = table().lines(40, false);
        for (line, plain) in table().lines(40, true).iter().zip(&plain) {
            assert_eq!(visible_width(line), width(plain), "{line:?}");
        }
        assert_eq!(clip("\x1b[31mabc\x1b[0m", 2), "\x1b[31mab\x1b[0m");
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\nc\u{9b}1A\u{202e}d"), "a [2Jb  c 1A d");
    }

    #[test]
    fn times_and_numbers() {
        let shown: Vec<String> =
            [0.0, 0.04, 0.3, 9.94, 9.96, 59.6, 185.0, 7_500.0, 90_000.0, f64::NAN, -1.0].map(duration).into();
        assert_eq!(
            shown,
            ["0 s", "0 s", "0.3 s", "9.9 s", "10 s", "1 min", "3 min 5 s", "2 h 5 min", "1 d 1 h", "?", "?"]
        );
        let shown: Vec<String> = [0, 999, 1_000, 1_234_567, u64::MAX].map(thousands).into();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567", "18,446,744,073,709,551,615"]);
    }

    proptest! {
        #[test]
        fn no_line_is_ever_too_wide(
            texts in proptest::collection::vec("\\PC{0,30}", 10),
            room in 0_usize..120,
            color: bool,
        ) {
            let mut table = table();
            for (cell, text) in table.rows.iter_mut().flatten().zip(&texts) {
                cell.text = clean(text).into_owned();
            }
            for line in table.lines(room, color) {
                prop_assert!(visible_width(&line) <= room, "{line:?}");
            }
        }

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
