//! Style, as a test over the files of the project.
//!
//! What is asked for is written beside each rule; CONTRIBUTING.md says why. A finding names the file and the line, and
//! all findings come at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

/// A file of more lines is split.
const LINES: usize = 600;
/// A file of more lines is pointed at.
const LINES_TO_REPORT: usize = 500;

/// Test files that may wait without looking at anything, each with the reason why nothing can be looked at.
const SLEEPS: &[(&str, &str)] = &[
    (
        "broker/tests/api/consumer_script.rs",
        "the pause between two questions to a broker, which end at a deadline",
    ),
    (
        "broker/tests/api/group_script.rs",
        "the pause between two questions to a broker, which end at a deadline",
    ),
];

/// The licences that a dependency may have.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Dependencies that are there in two versions, each with the reason why.
const TWICE: &[(&str, &str)] = &[(
    "syn",
    "derive macros move from version 2 to 3 one by one; it is not in the binary",
)];

#[test]
fn every_rust_file_begins_with_what_it_is_for() {
    let found = rust_files().filter(|file| !file.text.starts_with("//! "));
    expect_none(found.map(|file| format!("{}: its first line is not a module doc (//! …)", file.name)));
}

#[test]
fn no_file_is_too_long_to_read() {
    for file in rust_files().filter(|file| file.lines().count() > LINES_TO_REPORT) {
        eprintln!(
            "{}: {} lines, think of where to split it",
            file.name,
            file.lines().count()
        );
    }
    let found = rust_files().filter(|file| file.lines().count() > LINES);
    expect_none(found.map(|file| format!("{}: more than {LINES} lines; split it by concern", file.name)));
}

#[test]
fn nothing_is_left_for_later() {
    // Put together, so that this file does not match itself.
    let marks = regex(concat!(r"\b(TO", "DO|FIX", "ME|XX", "X)\\b"));
    let tests = regex(concat!(
        r"#\[ign",
        r"ore|should_",
        r"panic|\bdb",
        "g!|to",
        "do!|unimpl",
        "emented!"
    ));
    let marked = files()
        .iter()
        .flat_map(|file| file.matches(&marks, "do it, or write an issue"));
    let left = rust_files().flat_map(|file| file.matches(&tests, "a test runs and states what holds"));
    expect_none(marked.chain(left));
}

#[test]
fn tests_wait_for_conditions_and_do_not_sleep() {
    let sleep = regex(r"\bsleep(_until|_ms)?\(");
    let tests = rust_files().filter(|file| {
        let in_tests = file.name.starts_with("tests/") || file.name.contains("/tests/");
        in_tests && !file.name.starts_with("tests/support/")
    });
    let mut unused: BTreeSet<&str> = SLEEPS.iter().map(|(name, _)| *name).collect();
    let mut found = Vec::new();
    for file in tests {
        let hint =
            "wait for a condition with a deadline (support::wait_until), or give a reason in tests/tidy.rs";
        let sleeps: Vec<String> = file.matches(&sleep, hint).collect();
        if !sleeps.is_empty() && !unused.remove(file.name.as_str()) {
            found.extend(sleeps);
        }
    }
    found.extend(
        unused
            .iter()
            .map(|name| format!("{name}: has a reason to sleep, and does not")),
    );
    expect_none(found.into_iter());
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let path = regex(concat!(
        r"(^|[^\w./-])/(wo",
        "rk|ro",
        "ot|ho",
        "me|Us",
        r"ers|tm",
        r"p)/\w|\.\./sha",
        "red"
    ));
    expect_none(
        files()
            .iter()
            .flat_map(|file| file.matches(&path, "this exists on one machine only")),
    );
}

#[test]
fn no_line_ends_with_a_space_and_every_file_with_a_line_break() {
    let space = regex(r"[ \t]+$");
    let spaces = files()
        .iter()
        .flat_map(|file| file.matches(&space, "it ends with a space"));
    let unfinished = files()
        .iter()
        .filter(|file| !file.text.is_empty() && !file.text.ends_with('\n'));
    expect_none(spaces.chain(unfinished.map(|file| format!("{}: its last line is not ended", file.name))));
}

#[test]
fn ci_runs_the_tests_that_the_readme_names() {
    const COMMAND: &str = "cargo test --workspace";
    let named = |name: &str| files().iter().find(|file| file.name == name);
    let without = ["README.md", ".ci/run"]
        .into_iter()
        .filter_map(named)
        .filter(|file| !file.text.contains(COMMAND));
    expect_none(without.map(|file| format!("{}: does not name {COMMAND:?}", file.name)));
}

#[test]
fn every_dependency_may_be_used_and_is_there_once() {
    let metadata = cargo_metadata();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut found = Vec::new();
    for package in resolved(&metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        let version = package["version"].as_str().unwrap_or_default();
        versions.entry(name).or_default().insert(version);
        match package["license"].as_str() {
            Some(licence) if allowed(licence) => {}
            licence => found.push(format!(
                "{name} {version} has the licence {licence:?}: see LICENCES"
            )),
        }
    }
    let twice: BTreeMap<&str, &str> = TWICE.iter().copied().collect();
    for (name, versions) in &versions {
        if versions.len() > 1 && !twice.contains_key(name) {
            found.push(format!(
                "{name} is there in versions {versions:?}: unite them, or give a reason in TWICE"
            ));
        }
    }
    let once = |name: &&&str| versions.get(**name).is_none_or(|versions| versions.len() < 2);
    found.extend(
        twice
            .keys()
            .filter(once)
            .map(|name| format!("{name} is in TWICE, and is there once")),
    );
    expect_none(found.into_iter());
}

/// A tracked file.
struct SourceFile {
    name: String,
    text: String,
}

impl SourceFile {
    fn lines(&self) -> std::str::Lines<'_> {
        self.text.lines()
    }

    fn matches(&self, pattern: &Regex, hint: &str) -> impl Iterator<Item = String> {
        let found = self
            .lines()
            .enumerate()
            .filter(|(_, line)| pattern.is_match(line));
        found.map(move |(index, line)| format!("{}:{}: {hint}: {}", self.name, index + 1, line.trim()))
    }
}

fn files() -> &'static [SourceFile] {
    static FILES: OnceLock<Vec<SourceFile>> = OnceLock::new();
    FILES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut names = tracked(root).unwrap_or_else(|| walked(root));
        names.retain(|name| name != Path::new("LICENSE"));
        let read = |name: PathBuf| {
            // What is not text is nobody's style.
            let text = std::fs::read_to_string(root.join(&name)).ok()?;
            Some(SourceFile {
                name: name.to_str()?.to_owned(),
                text,
            })
        };
        let files: Vec<SourceFile> = names.into_iter().filter_map(read).collect();
        assert!(
            files.iter().any(|file| file.name == "src/main.rs"),
            "the files of the project are not found"
        );
        files
    })
}

fn rust_files() -> impl Iterator<Item = &'static SourceFile> {
    files().iter().filter(|file| file.name.ends_with(".rs"))
}

/// What git tracks or would track; none where there is no git or no repository.
fn tracked(root: &Path) -> Option<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root);
    let output = git.output().ok().filter(|output| output.status.success())?;
    let names = String::from_utf8(output.stdout).ok()?;
    let names: Vec<PathBuf> = names.split_terminator('\0').map(PathBuf::from).collect();
    (!names.is_empty()).then_some(names)
}

/// Every file, but for what is built or run here.
fn walked(root: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("it lies within").to_path_buf();
            if path.is_dir() {
                let foreign = [".git", "target", "data"]
                    .iter()
                    .any(|foreign| name == Path::new(foreign));
                open.extend((!foreign).then_some(path));
            } else {
                names.push(name);
            }
        }
    }
    names
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

#[track_caller]
fn expect_none(found: impl Iterator<Item = String>) {
    let found: Vec<String> = found.collect();
    assert!(
        found.is_empty(),
        "{} findings:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// What cargo knows of this workspace, for the system that it is built on.
fn cargo_metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let version = Command::new(&cargo)
        .args(["version", "--verbose"])
        .output()
        .expect("ask cargo for its version");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("cargo names its host");
    let mut metadata = Command::new(&cargo);
    metadata.args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--offline",
        "--filter-platform",
        host,
    ]);
    let output = metadata
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("ask cargo for its metadata");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo answers in JSON")
}

/// The packages that are built, of all that the lock file names.
fn resolved(metadata: &Value) -> impl Iterator<Item = &Value> {
    let nodes = metadata["resolve"]["nodes"].as_array().into_iter().flatten();
    let ids: BTreeSet<&str> = nodes.filter_map(|node| node["id"].as_str()).collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.filter(move |package| package["id"].as_str().is_some_and(|id| ids.contains(id)))
}

/// Whether an SPDX expression can be satisfied with [`LICENCES`]. `OR` binds weaker than `AND`; an older way to write
/// `OR` is a slash.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    // What stands in brackets is judged first, and becomes a licence that is allowed or is not.
    if let Some((before, rest)) = expression.rsplit_once('(') {
        let Some((inner, after)) = rest.split_once(')') else {
            return false;
        };
        let judged = if allowed(inner) { LICENCES[0] } else { "none" };
        return allowed(&format!("{before}{judged}{after}"));
    }
    let all = |terms: &str| terms.split(" AND ").all(|term| LICENCES.contains(&term.trim()));
    expression.split(" OR ").any(all)
}

#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-2.0 OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "ISC AND (MIT)",
    ] {
        assert!(allowed(good), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "",
        "(MIT",
        "none",
    ] {
        assert!(!allowed(bad), "{bad}");
    }
}
