//! A terminal for tests: it understands the escape codes that [`super::Screen`] uses, wraps and scrolls as real ones
//! do, and panics on anything else.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::{Screen, Size};

/// A terminal. A clone is the same terminal.
#[derive(Clone)]
pub(crate) struct Terminal(Arc<Mutex<Grid>>);

struct Grid {
    size: Size,
    /// Every line since the beginning; the last `size.height` of them are on the screen.
    lines: Vec<Vec<char>>,
    /// Lines that go on in the next one because the terminal broke them.
    broken: Vec<bool>,
    /// The first line that is on the screen.
    top: usize,
    row: usize,
    column: usize,
    wrapping: bool,
    /// An escape code of which not everything was seen yet.
    code: String,
    written: usize,
}

impl Terminal {
    pub(crate) fn new(width: usize, height: usize) -> Terminal {
        Terminal(Arc::new(Mutex::new(Grid {
            size: Size { width, height },
            lines: vec![Vec::new()],
            broken: vec![false],
            top: 0,
            row: 0,
            column: 0,
            wrapping: true,
            code: String::new(),
            written: 0,
        })))
    }

    /// A screen on this terminal.
    pub(crate) fn screen(&self) -> Screen {
        let terminal = self.clone();
        Screen::new(self.clone(), self.clone(), move || {
            terminal.0.lock().unwrap().size
        })
    }

    pub(crate) fn write(&self, text: &str) {
        self.0.lock().unwrap().write(text);
    }

    /// Every line that was ever shown, up to the cursor's, without blanks at their ends.
    pub(crate) fn all(&self) -> Vec<String> {
        let grid = self.0.lock().unwrap();
        assert_eq!(grid.code, "", "an escape code has no end");
        let mut lines: Vec<String> = grid
            .lines
            .iter()
            .map(|line| line.iter().collect::<String>().trim_end().to_string())
            .collect();
        while lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
        lines
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> usize {
        self.0.lock().unwrap().written
    }

    /// Makes the terminal another size. Lines that no longer fit are broken, as most terminals do it.
    pub(crate) fn resize(&self, width: usize, height: usize) {
        let mut grid = self.0.lock().unwrap();
        let cursor_at_end = grid.row + 1 == grid.lines.len();
        assert!(
            cursor_at_end && grid.column == 0,
            "the cursor rests below everything"
        );
        let mut whole: Vec<Vec<char>> = Vec::new();
        let mut goes_on = false;
        for (line, broken) in grid.lines.iter().zip(&grid.broken) {
            match whole.last_mut() {
                Some(last) if goes_on => last.extend(line),
                _ => whole.push(line.clone()),
            }
            goes_on = *broken;
        }
        grid.lines.clear();
        grid.broken.clear();
        for mut line in whole {
            while line.last() == Some(&' ') {
                line.pop();
            }
            let pieces: Vec<Vec<char>> = line.chunks(width).map(<[char]>::to_vec).collect();
            let count = pieces.len();
            if count == 0 {
                grid.lines.push(Vec::new());
                grid.broken.push(false);
            }
            for (i, piece) in pieces.into_iter().enumerate() {
                grid.lines.push(piece);
                grid.broken.push(i + 1 < count);
            }
        }
        grid.size = Size { width, height };
        grid.row = grid.lines.len() - 1;
        grid.top = grid.lines.len().saturating_sub(height);
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Grid {
    fn write(&mut self, text: &str) {
        self.written += text.len();
        for c in text.chars() {
            if !self.code.is_empty() || c == '\x1b' {
                self.code.push(c);
                if self.code.len() > 2 && c.is_ascii_alphabetic() {
                    let code = std::mem::take(&mut self.code);
                    self.escape(&code[1..]);
                }
                continue;
            }
            match c {
                '\r' => self.column = 0,
                // The terminal's driver makes a line's end begin the next line.
                '\n' => self.next_line(false),
                c => self.put(c),
            }
        }
    }

    fn put(&mut self, c: char) {
        if self.column >= self.size.width {
            if self.wrapping {
                self.next_line(true);
            } else {
                self.column = self.size.width - 1;
            }
        }
        let line = &mut self.lines[self.row];
        while line.len() <= self.column {
            line.push(' ');
        }
        line[self.column] = c;
        self.column += 1;
    }

    fn next_line(&mut self, broken: bool) {
        self.broken[self.row] = broken;
        self.row += 1;
        self.column = 0;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
            self.broken.push(false);
        }
        self.top = self.top.max((self.row + 1).saturating_sub(self.size.height));
    }

    fn escape(&mut self, code: &str) {
        match code {
            "[?7l" => self.wrapping = false,
            "[?7h" => self.wrapping = true,
            "[K" => self.lines[self.row].truncate(self.column),
            "[J" => {
                self.lines[self.row].truncate(self.column);
                self.lines.truncate(self.row + 1);
                self.broken.truncate(self.row + 1);
            }
            colour if colour.ends_with('m') => {}
            up if up.ends_with('A') => {
                let rows: usize = up[1..up.len() - 1].parse().unwrap();
                // What has left the screen cannot be reached.
                self.row = self.row.saturating_sub(rows).max(self.top);
            }
            other => panic!("escape code {other:?}"),
        }
    }
}
