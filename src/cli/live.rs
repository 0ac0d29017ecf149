//! What `heliostat run` shows while it runs: a live table on a terminal, a line per change elsewhere.
//!
//! The table lives at the lower end of the terminal. Log lines go by above it: whoever sets up logging uses
//! [`Live::writer`], which makes room for each line. Before a table is there, after it, and where standard output or
//! standard error is no terminal, log lines go to standard error as they are.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use super::rates::Rates;
use super::screen::{Ability, Screen};
use super::view::{self, Layout};
use crate::observe::http::StatusFn;
use crate::observe::status::{FlowStatus, State, Status};

/// How often a change may show.
const TICK: Duration = Duration::from_millis(250);

/// The table is drawn this often even if nothing has changed, which repairs what something else wrote over it.
const REDRAW: Duration = Duration::from_secs(1);

/// The pause between two looks at a status is so many times as long as the look takes, if many partitions make it long.
const WORTH: u32 = 500;

/// How long [`Live::stop`] waits for the last table. A status that hangs must not keep a process from ending.
const STOP: Duration = Duration::from_secs(1);

/// Between two lines on the same flow, where there is no terminal.
const LINE_APART: Duration = Duration::from_secs(1);

/// The longest pause between two lines on a flow that goes on changing between copying and caught up.
const LINE_APART_MAX: Duration = Duration::from_secs(60);

/// Between two looks at why flows are not healthy, where their states do not change: a look may cost some time.
const REASONS_APART: Duration = Duration::from_secs(2);

/// Tells the state of each flow, by name.
pub type StatesFn = Arc<dyn Fn() -> Vec<(String, State)> + Send + Sync>;

/// The screen, while there is a table on it.
type SharedScreen = Arc<Mutex<Option<Screen>>>;

/// The one screen that a process has.
static SCREEN: LazyLock<SharedScreen> = LazyLock::new(SharedScreen::default);

/// The display of a running daemon. Dropping it stops it.
pub struct Live {
    screen: SharedScreen,
    stop: mpsc::Sender<()>,
    stopped: mpsc::Receiver<()>,
}

impl Live {
    /// Begins to show what `source` says, on a thread of its own: a live table if standard output is a terminal that
    /// can redraw, otherwise a line whenever the state of a flow has changed. `states` says which state each flow is in.
    pub fn start(source: StatusFn, states: StatesFn) -> Live {
        let ability = Ability::of_stdout();
        if ability.redraw {
            *lock(&SCREEN) = Some(Screen::of_process());
            Live::table(source, SCREEN.clone(), ability.color)
        } else {
            Live::lines(source, states, io::stdout())
        }
    }

    /// Where log lines go so that they do not disturb the table. It may be used before there is one and after it.
    pub fn writer() -> LogWriter {
        LogWriter {
            screen: SCREEN.clone(),
        }
    }

    /// Writes text to standard output, above the table if there is one.
    pub fn print(text: &str) {
        match lock(&SCREEN).as_mut() {
            Some(screen) => screen.print_above(text.as_bytes(), Instant::now()),
            // Standard output may be closed, which is no reason to end.
            None => drop(io::stdout().lock().write_all(text.as_bytes())),
        }
    }

    /// Stops, with the last table left on the screen.
    pub fn stop(self) {
        drop(self);
    }

    fn table(source: StatusFn, screen: SharedScreen, color: bool) -> Live {
        let shared = screen.clone();
        Live::spawn(screen, move |stop| {
            let mut table = TableState {
                rates: Rates::default(),
                shown: Vec::new(),
                shown_at: None,
                color,
            };
            let mut wait = TICK;
            loop {
                let last = stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
                let before = Instant::now();
                let status = source();
                wait = (before.elapsed() * WORTH).clamp(TICK, REDRAW);
                match lock(&shared).as_mut() {
                    Some(screen) => table.show(&status, screen, last, Instant::now()),
                    None => return,
                }
                if last {
                    return;
                }
            }
        })
    }

    fn lines(source: StatusFn, states: StatesFn, mut out: impl Write + Send + 'static) -> Live {
        Live::spawn(SharedScreen::default(), move |stop| {
            let mut changes = Changes::default();
            loop {
                let last = stop.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout);
                // The whole status is made only where something is to be said of it.
                let before = Instant::now();
                if last || changes.are_due(&states(), before) {
                    let status = source();
                    changes.look_again_at = before + (before.elapsed() * WORTH).max(REASONS_APART);
                    for line in changes.lines(&status, Instant::now()) {
                        // Standard output may be closed, which is no reason to end.
                        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
                    }
                }
                if last {
                    return;
                }
            }
        })
    }

    fn spawn(screen: SharedScreen, show: impl FnOnce(&mpsc::Receiver<()>) + Send + 'static) -> Live {
        let (stop, stopping) = mpsc::channel();
        let (done, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("live".to_string());
        let spawned = thread.spawn(move || {
            // Held until the thread ends, however it ends: its end is what `stop` waits for.
            let _done: mpsc::Sender<()> = done;
            show(&stopping);
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "there is no live table: its thread cannot be started");
        }
        Live {
            screen,
            stop,
            stopped,
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        let _ = self.stopped.recv_timeout(STOP);
        // From here on, log lines go below the last table.
        *lock(&self.screen) = None;
    }
}

/// A poisoned lock means that a thread panicked while it drew: the table may be wrong, log lines must go on.
fn lock(screen: &SharedScreen) -> MutexGuard<'_, Option<Screen>> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the live table remembers between two looks.
struct TableState {
    rates: Rates,
    shown: Vec<String>,
    shown_at: Option<Instant>,
    color: bool,
}

impl TableState {
    /// Draws the table if it has changed, if it was not drawn for a while, or if it is the last.
    fn show(&mut self, status: &Status, screen: &mut Screen, last: bool, now: Instant) {
        self.rates.note(status);
        let room = screen.room();
        let layout = Layout {
            width: room.width,
            color: self.color,
            partitions: 0,
        };
        // An empty line sets it apart from what goes by above.
        let mut lines = vec![String::new()];
        lines.extend(view::live(
            status,
            &self.rates,
            layout,
            room.height.saturating_sub(1),
        ));
        let due = self
            .shown_at
            .is_none_or(|at| now.saturating_duration_since(at) >= REDRAW);
        if due || last || lines != self.shown || !screen.is_drawn() {
            screen.draw(lines.clone(), now);
            self.shown = lines;
            self.shown_at = Some(now);
        }
    }
}

/// Which lines to write where there is no terminal.
struct Changes {
    flows: BTreeMap<String, Said>,
    /// When to see whether there are other reasons.
    look_again_at: Instant,
}

/// What was said of a flow, when, and how long nothing more is said.
struct Said {
    state: State,
    reason: Option<String>,
    at: Instant,
    pause: Duration,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes {
            flows: BTreeMap::new(),
            look_again_at: Instant::now(),
        }
    }
}

impl Changes {
    /// Whether there is a line to write of any of these flows, or one to forget.
    fn are_due(&self, states: &[(String, State)], now: Instant) -> bool {
        states.len() != self.flows.len()
            || states.iter().any(|(name, state)| {
                let said = self.flows.get(name);
                let is_over = |said: &Said| said.is_over(*state, now);
                let may_be_over = |said: &Said| !said.state.is_healthy() && now >= self.look_again_at;
                said.is_none_or(|said| is_over(said) || may_be_over(said))
            })
    }

    /// A line for each flow whose state is another than the one last written, or why it is not healthy.
    ///
    /// A flow with a trickle of records changes between copying and caught up all the time. Such lines become rarer,
    /// so that they do not flood a log, until something else happens or the flow has been calm for a while.
    fn lines(&mut self, status: &Status, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        self.flows
            .retain(|name, _| status.flows.iter().any(|flow| flow.name == *name));
        for flow in &status.flows {
            let mut pause = LINE_APART;
            if let Some(said) = self.flows.get(&flow.name) {
                let is_over = said.is_over(flow.state, now);
                if !is_over && !said.has_other_reason(flow, now) {
                    continue;
                }
                let since = now.saturating_duration_since(said.at);
                if (said.is_usual(flow.state) || !is_over) && since < LINE_APART_MAX {
                    pause = (said.pause * 2).min(LINE_APART_MAX);
                }
            }
            lines.push(view::flow_line(flow, status.at_ms));
            self.flows.insert(
                flow.name.clone(),
                Said {
                    state: flow.state,
                    reason: flow.reason.clone(),
                    at: now,
                    pause,
                },
            );
        }
        lines
    }
}

impl Said {
    /// Whether this is a state that flows with a trickle of records are in now and then.
    fn is_usual(&self, state: State) -> bool {
        self.state.is_healthy() && state.is_healthy()
    }

    /// Whether it is time to say that the state is another one.
    fn is_over(&self, state: State, now: Instant) -> bool {
        let wait = if self.is_usual(state) {
            self.pause
        } else {
            LINE_APART
        };
        self.state != state && now.saturating_duration_since(self.at) >= wait
    }

    /// Whether it is time to say that a flow is not healthy for another reason. One with numbers in it changes all the time.
    fn has_other_reason(&self, flow: &FlowStatus, now: Instant) -> bool {
        let is_another = flow.reason.is_some() && flow.reason != self.reason;
        let is_due = now.saturating_duration_since(self.at) >= self.pause;
        self.state == flow.state && !flow.state.is_healthy() && is_another && is_due
    }
}

/// Makes room above the live table for each piece of log that is written.
#[derive(Clone)]
pub struct LogWriter {
    screen: SharedScreen,
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine {
            screen: self.screen.clone(),
            bytes: Vec::new(),
        }
    }
}

/// One event of the log. It is written as one piece when it is dropped, so that nothing comes in between.
pub struct LogLine {
    screen: SharedScreen,
    bytes: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        match lock(&self.screen).as_mut() {
            Some(screen) if screen.is_shared() => screen.write_above(&self.bytes, Instant::now()),
            // Nobody is left to tell when standard error cannot be written.
            _ => drop(io::stderr().lock().write_all(&self.bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::cli::screen::fake::Terminal;
    use crate::observe::samples;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < DEADLINE, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A status that a test changes while it is shown.
    fn source_of(status: Status) -> (Arc<Mutex<Status>>, StatusFn) {
        let shared = Arc::new(Mutex::new(status));
        let read = shared.clone();
        (shared, Arc::new(move || read.lock().unwrap().clone()))
    }

    #[test]
    fn a_table_is_live_and_the_log_goes_by_above() {
        let terminal = Terminal::new(100, 12);
        let screen: SharedScreen = Arc::new(Mutex::new(Some(terminal.screen())));
        let writer = LogWriter {
            screen: screen.clone(),
        };
        let (status, source) = source_of(samples::healthy());
        terminal.write("two clusters are up\r\n");
        let live = Live::table(source, screen, false);
        until("the table appears", || terminal.all().len() == 4);
        writer.make_writer().write_all(b"WARN something\n").unwrap();
        writer.make_writer().write_all(b"INFO something else\n").unwrap();
        *status.lock().unwrap() = samples::lagging();
        until("the table changes", || {
            terminal.all().last().is_some_and(|line| line.contains("12,345"))
        });
        *status.lock().unwrap() = samples::source_unreachable();
        live.stop();
        // This one goes to standard error: the table stays where it is.
        writer.make_writer().write_all(b"").unwrap();
        expect![[r#"
            two clusters are up
            WARN something
            INFO something else

            FLOW              STATE                 LAG RECORDS  REASON
            primary->standby  waiting  ≥ 120 (unknown for 12 s)  primary cannot be reached: connection refused
            CLUSTER  KIND      REACHABLE  BOOTSTRAP        REASON
            primary  built-in  no         127.0.0.1:19092  connection refused
        "#]]
        .assert_eq(&(terminal.all().join("\n") + "\n"));
    }

    #[test]
    fn nothing_new_is_not_drawn_again_at_once() {
        let terminal = Terminal::new(100, 12);
        let mut screen = terminal.screen();
        let mut table = TableState {
            rates: Rates::default(),
            shown: Vec::new(),
            shown_at: None,
            color: true,
        };
        let start = Instant::now();
        let mut drawn = Vec::new();
        for tick in 0..=4_u32 {
            let before = terminal.written();
            table.show(&samples::lagging(), &mut screen, false, start + TICK * tick);
            drawn.push(terminal.written() > before);
        }
        assert_eq!(drawn, [true, false, false, false, true], "once a second");
        let before = terminal.written();
        table.show(&samples::healthy(), &mut screen, false, start + TICK * 5);
        assert!(terminal.written() > before, "a change");
        screen.write_above(b"a\n", start + TICK * 5);
        table.show(&samples::healthy(), &mut screen, false, start + TICK * 6);
        assert_eq!(terminal.all().len(), 4, "what a log line erased");
    }

    #[test]
    fn nothing_wraps_on_a_narrow_terminal_that_changes() {
        // High enough for what the terminal itself breaks: what has scrolled away, nobody can erase.
        let terminal = Terminal::new(60, 40);
        let mut screen = terminal.screen();
        let mut table = TableState {
            rates: Rates::default(),
            shown: Vec::new(),
            shown_at: None,
            color: true,
        };
        let now = Instant::now();
        for (width, height) in [(60, 40), (30, 40), (30, 30), (90, 40), (12, 60), (100, 40)] {
            terminal.resize(width, height);
            for status in [
                samples::truncated(),
                samples::source_unreachable(),
                samples::many(),
            ] {
                table.show(&status, &mut screen, false, now);
                let all = terminal.all();
                assert!(
                    all.iter().all(|line| line.chars().count() < width),
                    "{width}: {all:#?}"
                );
            }
        }
        let tables = terminal
            .all()
            .iter()
            .filter(|line| line.contains("STATE"))
            .count();
        assert_eq!(tables, 1, "{:#?}", terminal.all());
    }

    #[test]
    fn a_status_that_hangs_does_not_hold_up_the_end() {
        let terminal = Terminal::new(60, 8);
        let screen: SharedScreen = Arc::new(Mutex::new(Some(terminal.screen())));
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let source: StatusFn = Arc::new(move || {
            let _ = gate.lock().unwrap().recv();
            Status::default()
        });
        let start = Instant::now();
        Live::table(source, screen.clone(), false).stop();
        assert!(start.elapsed() < DEADLINE);
        assert!(lock(&screen).is_none());
        drop(release);
    }

    #[test]
    fn without_a_terminal_changes_are_lines() {
        let mut changes = Changes::default();
        let start = Instant::now();
        let mut all = String::new();
        let mut see = |seconds: f64, status: &Status| {
            for line in changes.lines(status, start + Duration::from_secs_f64(seconds)) {
                all += &format!("after {seconds} s: {line}\n");
            }
        };
        see(0.0, &samples::healthy());
        see(0.5, &samples::lagging());
        see(1.0, &samples::lagging());
        see(1.5, &samples::lagging());
        see(2.5, &samples::healthy());
        see(3.0, &samples::healthy());
        // From healthy to healthy it becomes rarer; trouble is told within a second.
        for i in 0..20 {
            see(
                f64::from(i) + 4.0,
                &if i % 2 == 0 {
                    samples::lagging()
                } else {
                    samples::healthy()
                },
            );
        }
        see(30.0, &samples::source_unreachable());
        see(30.5, &samples::healthy());
        see(31.0, &samples::healthy());
        see(100.0, &samples::lagging());
        see(101.0, &samples::healthy());
        expect![[r#"
            after 0 s: flow primary->standby: caught-up
            after 1 s: flow primary->standby: copying, 12,345 records behind, 1.7 s
            after 3 s: flow primary->standby: caught-up
            after 8 s: flow primary->standby: copying, 12,345 records behind, 1.7 s
            after 17 s: flow primary->standby: caught-up
            after 30 s: flow primary->standby: waiting, lag unknown for 12 s, at least 120 records, 16 s: primary cannot be reached: connection refused
            after 31 s: flow primary->standby: caught-up
            after 100 s: flow primary->standby: copying, 12,345 records behind, 1.7 s
            after 101 s: flow primary->standby: caught-up
        "#]]
        .assert_eq(&all);
    }

    #[test]
    fn another_reason_of_trouble_is_a_line() {
        let mut changes = Changes::default();
        let start = Instant::now();
        let mut status = samples::source_unreachable();
        let mut all = String::new();
        for (seconds, reason) in [
            (0, "the topics are being looked for"),
            (2, "the topics are being looked for"),
            (4, "invalid credentials"),
            (6, "invalid credentials"),
            (60, "1 attempt"),
            (61, "2 attempts"),
            (62, "3 attempts"),
            (63, "4 attempts"),
            (64, "5 attempts"),
        ] {
            status.flows[0].reason = Some(reason.to_owned());
            for line in changes.lines(&status, start + Duration::from_secs(seconds)) {
                let reason = line.rsplit(": ").next().unwrap_or_default();
                all += &format!("after {seconds} s: {reason}\n");
            }
        }
        expect![[r#"
            after 0 s: the topics are being looked for
            after 4 s: invalid credentials
            after 60 s: 1 attempt
            after 64 s: 5 attempts
        "#]]
        .assert_eq(&all);
    }

    #[test]
    fn lines_go_to_the_output() {
        #[derive(Clone, Default)]
        struct Shared(Arc<Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let out = Shared::default();
        let (_, source) = source_of(samples::truncated());
        let states: StatesFn = Arc::new(|| vec![("primary->standby".to_owned(), State::Recreated)]);
        Live::lines(source, states, out.clone()).stop();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(
            text.starts_with("flow primary->standby: recreated, 5,000 records behind"),
            "{text}"
        );
        assert!(!text.contains('\x1b'));
    }
}
