//! Secrets: read from the environment or a file, and never printed.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::draft::Drafts;
use super::problem::ProblemKind;
use super::reading::{Field, Keys};
use super::yaml::Value;

/// What stands in place of a secret wherever it could be seen.
const REDACTED: &str = "<redacted>";

/// The longest secret that is read from a file. Keys and tokens are far shorter.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A text that is never printed, logged or serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    /// Where it was read, as `--user` takes it: `env:VARIABLE` or `file:PATH`.
    source: Option<String>,
}

/// Where the names of environment variables are looked up; `None` leaves secrets unread, those in files too.
pub(super) type Environment<'e> = Option<&'e dyn Fn(&str) -> Option<String>>;

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret {
            text: text.into(),
            source: None,
        }
    }

    /// Reads an environment variable; why it could not, otherwise.
    pub fn from_environment(name: &str) -> Result<Secret, String> {
        read_variable(name, Some(&|name| std::env::var(name).ok()))
    }

    /// Reads a file that holds nothing else; why it could not, otherwise.
    pub fn from_file(path: &Path) -> Result<Secret, String> {
        read_file(path)
            .map(|secret| secret.from(format!("file:{}", path.display())))
            .map_err(|reason| format!("the secret cannot be read from `{}`: {reason}", path.display()))
    }

    /// The text itself, to hand to a client.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Where it was read, as `--user` takes it: `env:VARIABLE` or `file:PATH`.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    fn from(self, source: String) -> Secret {
        Secret {
            source: Some(source),
            ..self
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// Reads `{ env: NAME }` or `{ file: PATH }`, and the secret from there.
pub(super) fn read_secret(
    drafts: &mut Drafts,
    field: &Field<'_>,
    environment: Environment<'_>,
) -> Option<Secret> {
    let key = field.spot.path.rsplit('.').next().unwrap_or_default();
    if let Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) = &field.node.value {
        let message = format!(
            "`{}` is written in the file, where everybody who reads the file reads it",
            field.spot.path
        );
        let help = format!(
            "write `{key}: {{ env: NAME }}` for an environment variable, or `{key}: {{ file: PATH }}` for a file with nothing else"
        );
        drafts
            .error(ProblemKind::PlainSecret, &field.spot, message)
            .help(help);
        return None;
    }
    let table = drafts.table(field, None, Keys::These(super::keys::SECRET))?;
    let variable = drafts.optional(&table, "env", "env: STANDBY_PASSWORD");
    let file = drafts.optional(&table, "file", "file: /run/secrets/standby");
    match (variable, file) {
        (Some(variable), None) => from_environment(drafts, &variable, environment),
        (None, Some(file)) => from_file(drafts, &file, environment),
        (Some(_), Some(_)) => {
            let message = format!("`{}` has both `env` and `file`", field.spot.path);
            drafts
                .error(ProblemKind::BadValue, &field.spot, message)
                .help("keep one of them");
            None
        }
        (None, None) => {
            if !table.has("env") && !table.has("file") {
                let message = format!("`{}` does not say where it is", field.spot.path);
                let help = format!("write `{key}: {{ env: NAME }}` or `{key}: {{ file: PATH }}`");
                drafts
                    .error(ProblemKind::MissingKey, &field.spot, message)
                    .help(help);
            }
            None
        }
    }
}

fn from_environment(drafts: &mut Drafts, field: &Field<'_>, environment: Environment<'_>) -> Option<Secret> {
    let name = drafts.text(field)?;
    let help = format!("set it before you start: `export {name}=…`");
    let missing = |message| {
        drafts
            .error(ProblemKind::MissingSecret, &field.spot, message)
            .help(help);
    };
    read_variable(name, environment).map_err(missing).ok()
}

fn from_file(drafts: &mut Drafts, field: &Field<'_>, environment: Environment<'_>) -> Option<Secret> {
    let path = drafts.text(field)?;
    if environment.is_none() {
        return Some(Secret::new(""));
    }
    let help = "the file holds the secret and nothing else; a relative path begins at the working directory";
    let missing = |message| {
        drafts
            .error(ProblemKind::MissingSecret, &field.spot, message)
            .help(help);
    };
    Secret::from_file(Path::new(path)).map_err(missing).ok()
}

fn read_variable(name: &str, environment: Environment<'_>) -> Result<Secret, String> {
    let Some(environment) = environment else {
        return Ok(Secret::new(""));
    };
    match environment(name) {
        Some(value) if !value.is_empty() => Ok(Secret::new(value).from(format!("env:{name}"))),
        Some(_) => Err(format!("the environment variable `{name}` is empty")),
        None => Err(format!("the environment variable `{name}` is not set")),
    }
}

fn read_file(path: &Path) -> Result<Secret, String> {
    // A pipe or a device could block or never end.
    let metadata = path.metadata().map_err(|error| describe(&error))?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| describe(&error))?;
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| describe(&error))?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("it is longer than {SECRET_BYTES_MAX} bytes"));
    }
    // Editors and `echo` end a file with a line break that is not part of the secret.
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    match secret {
        "" => Err("it is empty".to_owned()),
        secret if secret.contains(['\n', '\r']) => Err("it has more than one line".to_owned()),
        secret => Ok(Secret::new(secret)),
    }
}

/// An I/O error without the number that the standard library appends.
pub(super) fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "<redacted> <redacted>");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"<redacted>\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_file_gives_its_one_line_and_only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        for (content, secret) in [
            ("s3 cret\n", "s3 cret"),
            ("x\r\n", "x"),
            ("no newline", "no newline"),
        ] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(read_file(&file), Ok(Secret::new(secret)));
        }
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(read_file(&file), Err("it is empty".to_owned()));
        for content in ["a\nb\n", "a\n\n", "\na", "a\rb"] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(read_file(&file), Err("it has more than one line".to_owned()));
        }
        std::fs::write(&file, vec![b'x'; 70_000]).unwrap();
        assert_eq!(read_file(&file), Err("it is longer than 65536 bytes".to_owned()));
        assert_eq!(
            read_file(directory.path()),
            Err("it is not a regular file".to_owned())
        );
        assert_eq!(
            read_file(Path::new("/dev/zero")),
            Err("it is not a regular file".to_owned())
        );
        assert_eq!(
            read_file(&directory.path().join("none")),
            Err("no such file or directory".to_owned())
        );
    }
}
