//! What is wrong with a file: where, what, and what to write instead; as text for people and as JSON.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// One thing that is wrong, or odd, in a topology file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// Which rule it breaks.
    pub kind: ProblemKind,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; absent where the file as a whole is meant.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The setting, such as `clusters.primary.built_in.port`; empty where the file as a whole is meant.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The line of the file, with secrets masked.
    pub snippet: Option<Snippet>,
}

/// The line of a file that a [`Problem`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snippet {
    /// The line, or the part of a long line that matters; secrets are masked.
    pub text: String,
    /// How many characters of `text` stand before the marked ones.
    pub indent: usize,
    /// How many characters are marked; 0 where the ones that matter are masked.
    pub width: usize,
}

/// Whether a file with a [`Problem`] can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can; this is likely not what was meant.
    Warning,
}

/// The rule that a [`Problem`] breaks. Its kebab-case name stands in the JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The file cannot be read.
    UnreadableFile,
    /// The file is longer than 1 MB.
    FileTooLarge,
    /// The file has no settings.
    EmptyFile,
    /// The file is not YAML.
    Syntax,
    /// A key that does not exist here.
    UnknownKey,
    /// A key that is there twice.
    DuplicateKey,
    /// A key that must be there.
    MissingKey,
    /// A key without a value.
    EmptyValue,
    /// A text where a number is wanted, and the like.
    WrongType,
    /// The right type, and not a value that is possible.
    BadValue,
    /// A value that a later version will take.
    NotYet,
    /// An alias that cannot name a cluster.
    BadAlias,
    /// A flow or a role names a cluster that the file does not have.
    UnknownCluster,
    /// A cluster that no flow uses.
    UnusedCluster,
    /// Two aliases for one cluster.
    SameCluster,
    /// Two built-in clusters, or a built-in cluster and the HTTP server, on one port.
    PortOverlap,
    /// Two built-in clusters with one data directory.
    DataOverlap,
    /// A key that belongs to another layout.
    ExtraRole,
    /// An override for a flow that the layout does not have.
    UnknownFlow,
    /// The same flow twice.
    DuplicateFlow,
    /// A flow from a cluster to itself.
    FlowToItself,
    /// A pattern that is not a regular expression.
    BadPattern,
    /// A pattern that is likely not what was meant.
    OddPattern,
    /// A template that names no topic.
    BadTemplate,
    /// Flows that would carry records around in a circle.
    Circle,
    /// Two flows that would write one mirror topic.
    NameCollision,
    /// A password in the file.
    PlainSecret,
    /// An environment variable or a file with a secret that is not there.
    MissingSecret,
    /// A file that the topology names and that is not there.
    MissingFile,
    /// A client property that librdkafka does not take, or that Heliostat sets itself.
    BadProperty,
    /// More problems than are shown.
    TooMany,
}

/// Everything that is wrong with one file; at least one is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems {
    /// The problems, in the order of the file.
    pub list: Vec<Problem>,
}

impl Problems {
    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.list
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count()
    }
}

impl std::error::Error for Problems {}

impl std::error::Error for Problem {}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// A problem in several lines, the place and the line of the file among them; without a line break at the end.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        let margin = self.line.map_or(1, |line| line.to_string().len());
        write!(f, "\n{:margin$}--> {}", "", self.file.display())?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if let (Some(line), Some(snippet)) = (self.line, &self.snippet) {
            let Snippet { text, indent, width } = snippet;
            write!(f, "\n{:margin$} |\n{line} | {text}", "")?;
            if *width > 0 {
                write!(f, "\n{:margin$} | {:indent$}{:^<width$}", "", "", "")?;
            }
        }
        for (index, line) in self.help.iter().flat_map(|help| help.lines()).enumerate() {
            let lead = if index == 0 { "= help: " } else { "        " };
            write!(f, "\n{:margin$} {lead}{line}", "")?;
        }
        Ok(())
    }
}

/// All problems, an empty line between two, and how many there are.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(f, "{problem}\n")?;
        }
        let count = |count: usize, noun| match count {
            1 => format!("1 {noun}"),
            _ => format!("{count} {noun}s"),
        };
        let errors = self.errors();
        f.write_str(&count(errors, "error"))?;
        match self.list.len() - errors {
            0 => Ok(()),
            warnings => write!(f, ", {}", count(warnings, "warning")),
        }
    }
}
