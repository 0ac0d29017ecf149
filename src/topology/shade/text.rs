//! Reading a text that need not be YAML: from where on a line may hold a secret.

use super::super::keys;
use super::{Below, inline, is_glued, is_known, is_word, words};

/// The lines of a text, as YAML counts them.
pub(in super::super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest?;
        let breaks = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
        let Some(at) = all.find(breaks) else {
            rest = None;
            return (!all.is_empty()).then_some(all);
        };
        let width = match all[at..].starts_with("\r\n") {
            true => 2,
            false => all[at..].chars().next().map_or(1, char::len_utf8),
        };
        rest = Some(&all[at + width..]);
        Some(&all[..at])
    })
}

/// From which character on a line, counted from 0, must not be shown.
pub(in super::super) fn hidden_from(text: &str, line: usize, is_yaml: bool) -> Option<usize> {
    let mut reader = Reader::default();
    let hidden = lines(text).map(|line| reader.line(line)).nth(line)?;
    match is_yaml {
        true => hidden,
        false => hidden.into_iter().chain(hidden_if_broken(text, line)).min(),
    }
}

/// The same for a text that is not YAML. Which brackets, quotes and lines belong together nobody can tell then, so what comes
/// behind a key of secrets is not shown, up to the next key of the top level.
fn hidden_if_broken(text: &str, line: usize) -> Option<usize> {
    let mut hidden = None;
    for line in lines(text).take(line + 1) {
        let key = line.split(':').next().unwrap_or_default();
        if keys::ROOT.contains(&key) {
            hidden = None;
        }
        let start = words(line).find(|word| Below::of(&word.to_lowercase()) != Below::Open);
        let start = start.map(|word| {
            let at = word.as_ptr() as usize - line.as_ptr() as usize + word.len();
            let is_key = line[at..].starts_with(": ");
            at + if is_key { 2 } else { 0 }
        });
        hidden = match (hidden, start) {
            // Its own key is known, and no secret.
            (Some(_), _) if is_known(key.trim()) => Some(key.chars().count() + 1),
            (Some(_), _) => Some(line.chars().take_while(|c| c.is_whitespace()).count()),
            (None, Some(start)) => Some(line[..start].chars().count()),
            (None, None) => None,
        };
    }
    hidden
}

/// A key, and what is below it.
#[derive(Clone, Copy, Debug)]
struct Frame {
    indent: usize,
    below: Below,
    /// Nothing was seen below it so far.
    is_empty: bool,
    /// What is below it has names of the user's own.
    has_names: bool,
}

/// Reads a text line by line, and keeps what has to do with secrets from one to the next.
#[derive(Debug, Default)]
struct Reader {
    /// The keys around the line, outermost first.
    frames: Vec<Frame>,
    /// For each open bracket, what stands in it.
    brackets: Vec<Below>,
    /// Within brackets: what the next value stands below.
    current: Option<Below>,
    /// The quote that a value began with, on a line before, if it has not ended.
    quote: Option<char>,
}

/// A line, while it is read.
struct Line {
    chars: Vec<char>,
    at: usize,
    hidden: Option<usize>,
}

impl Line {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn is_blank(&self, at: usize) -> bool {
        self.chars.get(at).is_none_or(|c| c.is_whitespace())
    }

    fn hide_from(&mut self, at: usize) {
        self.hidden = Some(self.hidden.map_or(at, |hidden| hidden.min(at)));
    }

    /// Goes behind the end of a quoted text; whether it ends on this line.
    fn close(&mut self, quote: char) -> bool {
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '\\' if quote == '"' => self.at += 1,
                c if c == quote && quote == '\'' && self.peek() == Some('\'') => self.at += 1,
                c if c == quote => return true,
                _ => {}
            }
        }
        false
    }

    /// Goes behind a text without quotes.
    fn plain(&mut self, in_brackets: bool) {
        while let Some(c) = self.peek() {
            let ends = match c {
                ':' => {
                    let next = self.chars.get(self.at + 1);
                    self.is_blank(self.at + 1) || (in_brackets && next.is_some_and(|c| ",[]{}".contains(*c)))
                }
                '#' => self.at > 0 && self.is_blank(self.at - 1),
                ',' | '[' | ']' | '{' | '}' => in_brackets,
                _ => false,
            };
            if ends {
                return;
            }
            self.at += 1;
        }
    }
}

impl Reader {
    /// From which character on a line must not be shown.
    fn line(&mut self, text: &str) -> Option<usize> {
        let mut line = Line {
            chars: text.chars().collect(),
            at: 0,
            hidden: inline(text).map(|part| text[..part.start].chars().count()),
        };
        if let Some(quote) = self.quote {
            line.hide_from(0);
            if !line.close(quote) {
                return line.hidden;
            }
            self.quote = None;
        }
        line.skip_blanks();
        let mut dashes = Vec::new();
        if self.brackets.is_empty() {
            while line.peek() == Some('-') && line.is_blank(line.at + 1) {
                dashes.push(line.at);
                line.at += 1;
                line.skip_blanks();
            }
        }
        let start = line.at;
        if line.peek().is_none() {
            return line.hidden;
        }
        let around = self.around(
            dashes.first().copied().unwrap_or(start),
            !dashes.is_empty(),
            &line,
        );
        let mut current = match self.brackets.last() {
            Some(inner) => self.current.unwrap_or(*inner),
            None => around,
        };
        while line.peek().is_some() {
            current = self.token(&mut line, start, current);
            line.skip_blanks();
        }
        // What goes on in the next line is no single word.
        let goes_on = current == Below::Word && !text.trim_end().ends_with([',', '[', '{']);
        self.current = Some(if goes_on { Below::Secret } else { current });
        line.hidden
    }

    /// What a line stands below, going by its indentation.
    fn around(&mut self, indent: usize, is_item: bool, line: &Line) -> Below {
        if !self.brackets.is_empty() {
            return Below::Open;
        }
        if line.peek() != Some('#') {
            let rest: String = line.chars[line.at..].iter().collect();
            let (key, value) = rest.split_once(':').unwrap_or((&rest, ""));
            let is_known_key = is_known(key.trim());
            let mut is_behind_secrets = false;
            while let Some(frame) = self.frames.last_mut() {
                let is_below = frame.indent < indent || (frame.indent == indent && is_item);
                // Where nothing is below a key of secrets, what follows was likely meant to be.
                let is_meant = frame.is_empty && frame.below != Below::Open && !is_known_key;
                if is_below || is_meant {
                    // A word is in one line.
                    if frame.below == Below::Word && !frame.is_empty {
                        frame.below = Below::Secret;
                    }
                    frame.is_empty &= !is_below;
                    frame.indent = frame.indent.min(indent);
                    break;
                }
                is_behind_secrets |= frame.below != Below::Open;
                self.frames.pop();
            }
            let parent = self.frames.last();
            let is_name =
                parent.is_some_and(|frame| frame.has_names) && !is_bare_value(value.trim().chars().next());
            // A key that no topology has, behind users: rather one of them that lost its place.
            if is_behind_secrets
                && !is_known_key
                && !is_name
                && parent.is_none_or(|frame| frame.below == Below::Open)
            {
                return Below::Users;
            }
        }
        self.frames.last().map_or(Below::Open, |frame| frame.below)
    }

    /// Reads a bracket, a comma, a comment, or a text with the colon behind it. Returns what the next one stands below.
    fn token(&mut self, line: &mut Line, start: usize, current: Below) -> Below {
        let is_secret = current != Below::Open;
        let from = line.at;
        match line.peek().unwrap_or_default() {
            '#' if from == 0 || line.is_blank(from - 1) => {
                // It may be a line that was right before somebody took it out.
                let comment: String = line.chars[from..].iter().collect();
                let has_secrets = words(&comment).any(|word| Below::of(&word.to_lowercase()) != Below::Open);
                if is_secret || has_secrets || self.brackets.iter().any(|inner| *inner != Below::Open) {
                    line.hide_from(from);
                }
                line.at = line.chars.len();
                return current;
            }
            bracket @ ('{' | '[') => {
                line.at += 1;
                let inner = current.bracket(bracket);
                if inner.is_secret() && !current.is_secret() && current != Below::Open {
                    line.hide_from(from);
                }
                self.brackets.push(inner);
                return inner;
            }
            '}' | ']' if !self.brackets.is_empty() => {
                line.at += 1;
                // Until a comma, what follows may as well belong into the bracket.
                return match self.brackets.pop() {
                    Some(inner) if inner != Below::Open => inner,
                    _ => current,
                };
            }
            ',' if !self.brackets.is_empty() => {
                line.at += 1;
                return self.brackets.last().copied().unwrap_or(current);
            }
            _ => {}
        }
        let text = self.text(line, is_secret);
        line.skip_blanks();
        let is_quoted = matches!(line.chars[from], '"' | '\'');
        let is_key = line.peek() == Some(':')
            && (line.is_blank(line.at + 1)
                || (!self.brackets.is_empty()
                    && (is_quoted || line.chars.get(line.at + 1).is_some_and(|c| ",[]{}".contains(*c)))));
        if !is_key {
            let ends = line.peek().is_none_or(|c| ",]}#".contains(c));
            let is_harmless = match current {
                Below::Open => !is_glued(&text),
                Below::Word | Below::Words => is_word(&text) && ends,
                _ => false,
            };
            if !is_harmless {
                line.hide_from(from);
            }
            // A text may go on in the next line, where a single word has its end.
            return match current {
                Below::Word if self.brackets.is_empty() => Below::Secret,
                _ => current,
            };
        }
        line.at += 1;
        let (below, is_shown) = current.key(&text);
        line.skip_blanks();
        let next = line.peek();
        // A name without a value is rather a value without a name.
        let has_value = self.brackets.is_empty() || next.is_some_and(|c| !",]}".contains(c));
        // Where the colon was forgotten, a password and a part of what follows look like a part of the name.
        let has_more = !is_quoted && text.contains(char::is_whitespace) && is_bare_value(next);
        if !is_shown || (is_secret && ((!has_value && !is_known(&text)) || has_more)) {
            line.hide_from(from);
        }
        if is_bare_value(next) && below.is_secret() {
            line.hide_from(line.at);
        }
        if self.brackets.is_empty() && from == start {
            let below = match (below, next) {
                (Below::Word, Some(c)) if c != '#' => Below::Secret,
                _ => below,
            };
            self.frames.push(Frame {
                indent: from,
                below,
                is_empty: next.is_none_or(|c| c == '#'),
                has_names: matches!(text.as_str(), "clusters" | "properties"),
            });
        } else if below != Below::Open
            && let Some(frame) = self.frames.last_mut()
            && frame.below == Below::Open
            && frame.indent >= start
        {
            // Should brackets be out of order, the lines below go by this.
            frame.below = Below::Secret;
        }
        below
    }

    /// Goes behind a text, and returns it without quotes.
    fn text(&mut self, line: &mut Line, is_secret: bool) -> String {
        let from = line.at;
        let quote = line.peek().filter(|c| matches!(c, '"' | '\''));
        match quote {
            Some(quote) => {
                line.at += 1;
                if !line.close(quote) && is_secret {
                    self.quote = Some(quote);
                }
            }
            None => line.plain(!self.brackets.is_empty()),
        }
        // At least one character, so that reading goes on.
        line.at = line.at.clamp(from + 1, line.chars.len().max(from + 1));
        let text: String = line.chars[from..line.at.min(line.chars.len())].iter().collect();
        match quote {
            Some(quote) => text.trim_matches(quote).to_owned(),
            None => text.trim_end().to_owned(),
        }
    }
}

/// Whether a value begins here that is neither a map nor a list.
fn is_bare_value(next: Option<char>) -> bool {
    next.is_some_and(|c| c != '{' && c != '[')
}
