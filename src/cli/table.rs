//! Tables of text that fit a width.
//!
//! A cell never holds a control character, so nobody can move the cursor or colour the screen with a topic's name.

use std::borrow::Cow;

use super::text::{clean, clip, fit, width};

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
        Cell {
            text: clean(text.as_ref()).into_owned(),
            paint,
        }
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
        let headings: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::new(column.header, Paint::Dim))
            .collect();
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
            let widest = self
                .rows
                .iter()
                .filter_map(|row| row.get(i))
                .map(|cell| width(&cell.text))
                .max();
            let widest = widest.unwrap_or(0);
            if widest > 0 {
                columns.push((i, widest.max(width(column.header))));
            }
        }
        let total = |columns: &[(usize, usize)]| {
            columns
                .iter()
                .map(|(_, w)| w + GAP)
                .sum::<usize>()
                .saturating_sub(GAP)
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
            let first_to_go = columns
                .iter()
                .enumerate()
                .filter(|(_, c)| self.columns[c.0].goes > 0)
                .min_by_key(|(_, c)| self.columns[c.0].goes);
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

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;
    use crate::cli::text::visible_width;

    fn table() -> Table {
        let column = |header, align, shrinks_to, goes| Column {
            header,
            align,
            shrinks_to,
            goes,
        };
        let columns = vec![
            column("NAME", Align::Left, 6, 0),
            column("COUNT", Align::Right, 0, 2),
            column("NOTE", Align::Left, 0, 1),
            column("NEVER", Align::Left, 0, 0),
            column("REASON", Align::Left, 8, 0),
        ];
        let rows = vec![
            vec!["a".into(), "1,234".into(), "x".into(), "".into(), "short".into()],
            vec![
                Cell::new("a-long-name", Paint::Bad),
                "5".into(),
                "".into(),
                "".into(),
                "a rather long reason".into(),
            ],
        ];
        Table {
            columns,
            rows,
            indent: 2,
        }
    }

    #[test]
    fn a_table_gives_up_room_in_order() {
        let mut all = String::new();
        for width in [80, 40, 30, 20, 10] {
            all += &format!(
                "{}\n{}\n",
                "-".repeat(width),
                table().lines(width, false).join("\n")
            );
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
    }
}
