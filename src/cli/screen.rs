//! The lower end of a terminal, where a table is redrawn in place while other lines go by above it.
//!
//! Only a few escape codes are used, all of which every terminal of the last decades knows: move up, erase to the end of
//! the line and of the screen, switch wrapping off and on. The cursor always rests at the beginning of the line below
//! the table.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::text::{clip, visible_width};

/// The width that is assumed where a terminal does not tell its own.
const WIDTH_OF_TERMINAL: usize = 100;

/// What does not go to a terminal is not made to fit: whoever reads it wants all of it. No line is as long as this.
pub const WIDTH_WITHOUT_TERMINAL: usize = 1 << 20;

/// After a line above it, the table is drawn again at once, unless it was drawn less than this ago: a burst of lines
/// must not become a burst of tables. Whoever draws regularly draws it then.
const REDRAW_APART: Duration = Duration::from_millis(100);

/// The size of a terminal in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

/// What a process can show on its standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ability {
    /// The output is a terminal that can redraw.
    pub redraw: bool,
    /// Colours are wanted.
    pub color: bool,
}

impl Ability {
    /// Of standard output, as it is and as the environment says: `NO_COLOR`, `TERM=dumb`.
    pub fn of_stdout() -> Ability {
        let env = |name| std::env::var(name).unwrap_or_default();
        Ability::decide(std::io::stdout().is_terminal(), &env("NO_COLOR"), &env("TERM"))
    }

    fn decide(terminal: bool, no_color: &str, term: &str) -> Ability {
        let redraw = terminal && term != "dumb";
        Ability {
            redraw,
            color: redraw && no_color.is_empty(),
        }
    }
}

/// The size of the terminal that standard output is. `COLUMNS` and `LINES` take precedence over what it says itself; where it is no terminal,
/// they are about another one.
pub fn stdout_size() -> Size {
    if !std::io::stdout().is_terminal() {
        return Size {
            width: WIDTH_WITHOUT_TERMINAL,
            height: usize::MAX,
        };
    }
    let asked = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let env = |name| std::env::var(name).ok();
    size_of(
        env("COLUMNS").as_deref(),
        env("LINES").as_deref(),
        asked.map(|size| (size.ws_col.into(), size.ws_row.into())),
    )
}

fn size_of(columns: Option<&str>, lines: Option<&str>, asked: Option<(usize, usize)>) -> Size {
    let set = |text: Option<&str>| {
        text.and_then(|text| text.trim().parse::<usize>().ok())
            .filter(|n| *n > 0)
    };
    // A terminal that has no size yet says 0.
    let (width, height) = asked.unwrap_or_default();
    Size {
        width: set(columns)
            .or((width > 0).then_some(width))
            .unwrap_or(WIDTH_OF_TERMINAL),
        height: set(lines).or((height > 0).then_some(height)).unwrap_or(24),
    }
}

/// A table at the lower end of a terminal.
pub struct Screen {
    /// Where the table goes.
    out: Box<dyn Write + Send>,
    /// Where lines above the table go.
    err: Box<dyn Write + Send>,
    /// Whether that is the terminal of the table.
    shared: bool,
    size: Box<dyn Fn() -> Size + Send>,
    /// The table as it was last asked for.
    lines: Vec<String>,
    /// The widths of the lines that are on the terminal now.
    drawn: Vec<usize>,
    drawn_at: Option<Instant>,
}

impl Screen {
    /// A screen that draws to `out`; lines that go by are written to `err`, which is the same terminal.
    pub fn new(
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
        size: impl Fn() -> Size + Send + 'static,
    ) -> Screen {
        Screen {
            out: Box::new(out),
            err: Box::new(err),
            shared: true,
            size: Box::new(size),
            lines: Vec::new(),
            drawn: Vec::new(),
            drawn_at: None,
        }
    }

    /// The screen of this process.
    pub fn of_process() -> Screen {
        let mut screen = Screen::new(std::io::stdout(), std::io::stderr(), stdout_size);
        screen.shared = std::io::stderr().is_terminal();
        screen
    }

    /// Whether log lines go to the terminal of the table and need room there.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Whether the table is on the terminal, and not erased by lines above it that were many.
    pub fn is_drawn(&self) -> bool {
        !self.drawn.is_empty()
    }

    /// How large a table may be: one line is the cursor's, and the last column stays empty because some terminals wrap
    /// as soon as it is filled.
    pub fn room(&self) -> Size {
        let size = (self.size)();
        Size {
            width: size.width.saturating_sub(1),
            height: size.height.saturating_sub(1),
        }
    }

    /// Puts a table in the place of the one before. Lines that are too wide or too many are cut.
    pub fn draw(&mut self, lines: Vec<String>, now: Instant) {
        self.lines = lines;
        let mut text = self.to_top();
        self.push_table(&mut text);
        self.drawn_at = Some(now);
        show(&mut self.out, text.as_bytes());
    }

    /// Writes lines of the log above the table. A last line without an end gets one.
    pub fn write_above(&mut self, lines: &[u8], now: Instant) {
        self.erase();
        show(&mut self.err, lines);
        if !lines.ends_with(b"\n") {
            show(&mut self.err, b"\r\n");
        }
        self.redraw(now);
    }

    /// Writes output of the program itself above the table.
    pub fn print_above(&mut self, lines: &[u8], now: Instant) {
        self.erase();
        show(&mut self.out, lines);
        if !lines.ends_with(b"\n") {
            show(&mut self.out, b"\r\n");
        }
        self.redraw(now);
    }

    fn erase(&mut self) {
        let erase = self.to_top() + "\x1b[J";
        self.drawn.clear();
        show(&mut self.out, erase.as_bytes());
    }

    fn redraw(&mut self, now: Instant) {
        if self
            .drawn_at
            .is_some_and(|at| now.saturating_duration_since(at) >= REDRAW_APART)
        {
            let mut text = String::new();
            self.push_table(&mut text);
            self.drawn_at = Some(now);
            show(&mut self.out, text.as_bytes());
        }
    }

    /// The codes that bring the cursor to the first line of what is drawn.
    fn to_top(&self) -> String {
        let size = (self.size)();
        // A terminal that has become narrower has broken the lines that no longer fit into several.
        let rows: usize = self
            .drawn
            .iter()
            .map(|drawn| drawn.div_ceil(size.width.max(1)).max(1))
            .sum();
        match rows.min(size.height.saturating_sub(1)) {
            0 => "\r".to_string(),
            rows => format!("\r\x1b[{rows}A"),
        }
    }

    fn push_table(&mut self, text: &mut String) {
        let room = self.room();
        // Wrapping is off meanwhile: the terminal may have become narrower since its size was asked for.
        *text += "\x1b[?7l";
        self.drawn.clear();
        for line in self.lines.iter().take(room.height) {
            let line = clip(line, room.width);
            self.drawn.push(visible_width(&line));
            *text += &line;
            *text += "\x1b[K\r\n";
        }
        *text += "\x1b[J\x1b[?7h";
    }
}

/// A terminal that is gone is nobody's problem here.
fn show(to: &mut Box<dyn Write + Send>, bytes: &[u8]) {
    let _ = to.write_all(bytes);
    let _ = to.flush();
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use super::fake::Terminal;
    use super::*;

    fn table(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| line.to_string()).collect()
    }

    #[test]
    fn a_table_is_redrawn_in_place() {
        let terminal = Terminal::new(20, 6);
        let mut screen = terminal.screen();
        let now = Instant::now();
        terminal.write("before\r\n");
        screen.draw(table(&["one", "two", "three"]), now);
        screen.draw(table(&["ONE", "2"]), now);
        assert_eq!(terminal.all(), ["before", "ONE", "2"]);
        screen.draw(table(&["1", "2", "3", "4"]), now);
        assert_eq!(terminal.all(), ["before", "1", "2", "3", "4"]);
    }

    #[test]
    fn lines_go_by_above_the_table() {
        let terminal = Terminal::new(20, 5);
        let mut screen = terminal.screen();
        let start = Instant::now();
        screen.draw(table(&["table 1", "table 2"]), start);
        for i in 0..10_u32 {
            screen.write_above(format!("log {i}\n").as_bytes(), start + REDRAW_APART * i);
        }
        let mut expected: Vec<String> = (0..10).map(|i| format!("log {i}")).collect();
        expected.extend(table(&["table 1", "table 2"]));
        assert_eq!(terminal.all(), expected);
    }

    #[test]
    fn long_lines_above_may_wrap_and_need_no_end() {
        let terminal = Terminal::new(10, 8);
        let mut screen = terminal.screen();
        let start = Instant::now();
        screen.draw(table(&["table"]), start);
        screen.write_above(b"0123456789abcdefghij!", start + REDRAW_APART);
        screen.write_above(b"x\ny\n", start + REDRAW_APART * 2);
        assert_eq!(
            terminal.all(),
            ["0123456789", "abcdefghij", "!", "x", "y", "table"]
        );
    }

    #[test]
    fn a_burst_of_lines_is_not_a_burst_of_tables() {
        let terminal = Terminal::new(20, 10);
        let mut screen = terminal.screen();
        let now = Instant::now();
        screen.draw(table(&["table"]), now);
        let before = terminal.written();
        for _ in 0..1_000 {
            screen.write_above(b"x\n", now);
        }
        assert!(terminal.written() - before < 1_000 * 16);
        screen.draw(table(&["table"]), now);
        let all = terminal.all();
        assert_eq!(all.len(), 1_001);
        assert_eq!(all[1_000], "table");
        assert!(all[..1_000].iter().all(|line| line == "x"));
    }

    #[test]
    fn no_line_wraps_and_none_is_drawn_off_the_screen() {
        for (width, height) in [(1, 1), (2, 2), (5, 3), (12, 4), (40, 30)] {
            let terminal = Terminal::new(width, height);
            let mut screen = terminal.screen();
            let lines: Vec<String> = (0..10)
                .map(|i| format!("\x1b[31mline {i} is quite long\x1b[0m"))
                .collect();
            for _ in 0..3 {
                screen.draw(lines.clone(), Instant::now());
            }
            let all = terminal.all();
            assert!(all.len() < height.max(2), "{width}x{height}: {all:?}");
            assert!(
                all.iter().all(|line| line.chars().count() < width),
                "{width}x{height}: {all:?}"
            );
        }
    }

    #[test]
    fn a_terminal_that_changes_its_size_shows_one_table() {
        let terminal = Terminal::new(40, 10);
        let mut screen = terminal.screen();
        let now = Instant::now();
        terminal.write("before\r\n");
        let lines = table(&[
            "a line of twenty-nine letters",
            "short",
            "another line of some length",
        ]);
        screen.draw(lines.clone(), now);
        terminal.resize(20, 10);
        assert_eq!(
            terminal.all().len(),
            6,
            "the terminal has broken the long lines: {:?}",
            terminal.all()
        );
        screen.draw(lines.clone(), now);
        assert_eq!(
            terminal.all(),
            ["before", "a line of twenty-ni", "short", "another line of som"]
        );
        terminal.resize(60, 10);
        screen.draw(lines.clone(), now);
        assert_eq!(
            terminal.all(),
            [
                "before",
                "a line of twenty-nine letters",
                "short",
                "another line of some length"
            ]
        );
    }

    #[test]
    fn sizes() {
        let size = |width, height| Size { width, height };
        assert_eq!(size_of(None, None, None), size(100, 24));
        assert_eq!(size_of(None, None, Some((0, 0))), size(100, 24));
        assert_eq!(size_of(None, None, Some((80, 50))), size(80, 50));
        assert_eq!(size_of(Some("120"), Some(" 10"), Some((80, 50))), size(120, 10));
        assert_eq!(size_of(Some("many"), Some("0"), Some((80, 50))), size(80, 50));
    }

    #[test]
    fn colours_and_redrawing() {
        let ability = |redraw, color| Ability { redraw, color };
        assert_eq!(Ability::decide(true, "", "xterm"), ability(true, true));
        assert_eq!(Ability::decide(true, "1", "xterm"), ability(true, false));
        assert_eq!(Ability::decide(true, "", "dumb"), ability(false, false));
        assert_eq!(Ability::decide(false, "", "xterm"), ability(false, false));
    }
}
