//! Problems while they are collected.

use std::path::Path;

use super::problem::{Problem, ProblemKind, Problems, Severity};
use super::shade::Hidden;
use super::snippet::{hidden_key, presentable, snippet};
use super::yaml::{NodeId, locate};

/// Each problem costs a pass over the file, and nobody reads more.
const PROBLEMS_MAX: usize = 100;

/// A node and the setting that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    pub at: NodeId,
    pub path: String,
}

/// A problem whose place is not looked up yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    spot: Spot,
    severity: Option<Severity>,
    kind: Option<ProblemKind>,
    message: String,
    help: Option<String>,
    first: Option<NodeId>,
}

/// All problems of one file.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    list: Vec<Draft>,
    /// Takes what comes after the last problem that is shown.
    spare: Draft,
    left_out: usize,
    /// Texts that must not be shown.
    secrets: Vec<Hidden>,
}

impl Draft {
    /// Says what to write instead.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Draft {
        self.help = Some(help.into());
        self
    }

    /// Says on which line the other one is.
    pub(super) fn first(&mut self, first: NodeId) -> &mut Draft {
        self.first = Some(first);
        self
    }
}

impl Drafts {
    /// Problems of a file that has texts which must not be shown.
    pub(super) fn new(secrets: Vec<Hidden>) -> Drafts {
        Drafts {
            secrets,
            ..Drafts::default()
        }
    }

    /// Notes an error.
    pub(super) fn error(&mut self, kind: ProblemKind, spot: &Spot, message: impl Into<String>) -> &mut Draft {
        self.note(Severity::Error, kind, spot, message.into())
    }

    /// Notes a warning.
    pub(super) fn warning(
        &mut self,
        kind: ProblemKind,
        spot: &Spot,
        message: impl Into<String>,
    ) -> &mut Draft {
        self.note(Severity::Warning, kind, spot, message.into())
    }

    /// Whether any error was noted.
    pub(super) fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|draft| draft.severity == Some(Severity::Error))
    }

    /// Whether an error about this node was noted.
    pub(super) fn has_error_at(&self, at: NodeId) -> bool {
        self.list
            .iter()
            .any(|draft| draft.spot.at == at && draft.severity == Some(Severity::Error))
    }

    /// Gives every problem its place, in the order of the file.
    pub(super) fn finish(self, file: &Path, text: &str) -> Problems {
        let Drafts {
            list,
            left_out,
            secrets,
            ..
        } = self;
        let mut problems: Vec<Problem> = list
            .into_iter()
            .map(|draft| place(draft, file, text, &secrets))
            .collect();
        problems.sort_by_key(|problem| (problem.line, problem.column, problem.severity));
        if left_out > 0 {
            problems.push(Problem {
                severity: Severity::Error,
                kind: ProblemKind::TooMany,
                file: file.to_owned(),
                line: None,
                column: None,
                path: String::new(),
                message: format!("{left_out} more problems are not shown"),
                help: Some("mend these first, and check again".to_owned()),
                snippet: None,
            });
        }
        Problems { list: problems }
    }

    fn note(&mut self, severity: Severity, kind: ProblemKind, spot: &Spot, message: String) -> &mut Draft {
        let draft = Draft {
            spot: spot.clone(),
            severity: Some(severity),
            kind: Some(kind),
            message,
            help: None,
            first: None,
        };
        if self.list.len() >= PROBLEMS_MAX {
            self.left_out += 1;
            self.spare = draft;
            return &mut self.spare;
        }
        self.list.push(draft);
        self.list.last_mut().unwrap_or(&mut self.spare)
    }
}

fn place(draft: Draft, file: &Path, text: &str, secrets: &[Hidden]) -> Problem {
    let position = locate(text, draft.spot.at);
    let here = position.and_then(|position| hidden_key(text, position));
    let secrets: Vec<Hidden> = here.into_iter().chain(secrets.iter().cloned()).collect();
    let secrets = secrets.as_slice();
    let first = draft.first.and_then(|first| locate(text, first));
    let help = match first {
        Some(first) => {
            let place = match position {
                Some(position) if position.line == first.line => {
                    format!("the first one is at column {}", first.column)
                }
                _ => format!("the first one is on line {}", first.line),
            };
            Some(draft.help.map_or_else(
                || format!("{place}; keep one of them"),
                |help| format!("{place}; {help}"),
            ))
        }
        None => draft.help,
    };
    Problem {
        severity: draft.severity.unwrap_or(Severity::Error),
        kind: draft.kind.unwrap_or(ProblemKind::BadValue),
        file: file.to_owned(),
        line: position.map(|position| position.line),
        column: position.map(|position| position.column),
        path: presentable(&draft.spot.path, secrets),
        message: presentable(&draft.message, secrets),
        help: help.map(|help| presentable(&help, secrets)),
        snippet: position.and_then(|position| snippet(text, position, Some(secrets))),
    }
}
