//! Tells the program which commit it was built from.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // An image is built without the repository's history: whoever builds it says the commit.
    println!("cargo:rerun-if-env-changed=HELIOSTAT_COMMIT");
    let given = std::env::var("HELIOSTAT_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty());
    // The log of HEAD has a line more after every commit and every switch of branches; HEAD itself only after a switch.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!(
        "cargo:rustc-env=HELIOSTAT_COMMIT={}",
        commit.as_deref().unwrap_or("commit unknown")
    );
}

/// The one line that git answers, if there is git and a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
