//! What a machine can check of how the project is written: dependency directions, file headers, leftovers, names in
//! ARCHITECTURE.md, and ratchets that may only shrink. Reads the tree as text; builds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which members a member may depend on. A new line here is a design change.
const DIRECTIONS: [(&str, &[&str]); 13] = [
    ("lib/features", &[]),
    ("lib/model", &[]),
    ("lib/otlp", &["model"]),
    ("lib/journal", &["model"]),
    ("lib/store", &["features", "model"]),
    ("lib/remote", &["features", "model", "store"]),
    ("lib/verdict", &["model"]),
    ("lib/rollout", &["model"]),
    ("ingest", &["features", "model", "otlp", "journal"]),
    ("aggregate", &["features", "model", "otlp", "journal", "store"]),
    ("query", &["features", "model", "store", "verdict"]),
    ("alerts", &["model", "verdict", "rollout", "store"]),
    ("dashboards", &["model"]),
];

/// Crates that only the named members may pull in, because they take minutes to build or hide a format.
const HOMES: [(&str, &[&str]); 6] = [
    ("datafusion", &["query"]),
    ("parquet", &["lib/store"]),
    ("object_store", &["lib/store", "query"]),
    ("rdkafka", &["lib/journal"]),
    ("tantivy", &["lib/store"]),
    ("tonic", &["ingest", "query"]),
];

/// A function longer than this is split, or stands in `tests/tidy_ratchet.txt` with a length that may only shrink.
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file below the root with one of the endings, without build output and third-party packages.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned();
            if path.is_dir() {
                if !["target", "node_modules", ".git", "dist", "test-results", "corpus", "artifacts"]
                    .contains(&name.as_str())
                {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").display().to_string()
}

fn assert_none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

fn dependencies(member: &str) -> BTreeSet<String> {
    let text = read(&root().join(member).join("Cargo.toml"));
    let manifest: toml::Table = text.parse().expect("a valid manifest");
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn code_depends_in_one_direction() {
    let mut findings = Vec::new();
    for (member, allowed) in DIRECTIONS {
        for dependency in dependencies(member) {
            if let Some(other) = dependency.strip_prefix("shipwake-")
                && !allowed.contains(&other)
            {
                findings.push(format!("{member} depends on {other}"));
            }
            for (name, homes) in HOMES {
                if dependency == name && !homes.contains(&member) {
                    findings.push(format!("{member} pulls in {name}, whose home is {}", homes.join(", ")));
                }
            }
        }
    }
    assert_none("dependencies against the design", &findings);
}

#[test]
fn every_member_has_its_directions_written_down() {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().expect("a valid manifest");
    let members = manifest["workspace"]["members"].as_array().expect("a list of members");
    let written: Vec<&str> = DIRECTIONS.iter().map(|(member, _)| *member).collect();
    let missing: Vec<String> = members
        .iter()
        .filter_map(toml::Value::as_str)
        .filter(|member| !written.contains(member))
        .map(str::to_owned)
        .collect();
    assert_none("members without a line in DIRECTIONS", &missing);
}

#[test]
fn every_file_says_what_it_is_for() {
    let headless: Vec<String> = files(&[".rs"])
        .iter()
        .filter(|path| !read(path).trim_start_matches("#![no_main]").trim_start().starts_with("//!"))
        .map(|path| relative(path))
        .collect();
    assert_none("files that do not start with //!", &headless);
}

#[test]
fn nothing_is_left_unfinished() {
    // Spelled in two parts, so that this file does not find itself.
    let marks = [["to", "do!("], ["unimplemen", "ted!("], ["db", "g!("], ["TO", "DO"], ["FIX", "ME"]]
        .map(|parts| parts.concat());
    let ignore = ["#[ign", "ore"].concat();
    let mut findings = Vec::new();
    for path in files(&[".rs", ".ts", ".svelte"]) {
        for (number, line) in read(&path).lines().enumerate() {
            let unfinished = marks.iter().any(|mark| line.contains(mark.as_str()));
            let skipped = line.contains(&ignore) && !line.contains("= \"");
            if unfinished || skipped {
                findings.push(format!("{}:{}: {}", relative(&path), number + 1, line.trim()));
            }
        }
    }
    assert_none("left unfinished, or ignored without a reason", &findings);
}

#[test]
fn errors_are_not_unwrapped_outside_tests() {
    let mut findings = Vec::new();
    for path in files(&[".rs"]) {
        let name = relative(&path);
        if name.contains("tests")
            || name.contains("benches")
            || name.contains("fuzz")
            || name.contains("testing")
            || name.contains("examples")
        {
            continue;
        }
        let text = read(&path);
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for (number, line) in code.lines().enumerate() {
            if line.contains(".unwrap()") && !line.trim_start().starts_with("//") {
                findings.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none("unwrap() outside tests (say why it cannot fail with expect)", &findings);
}

/// The words between backticks of a Markdown text, outside code blocks.
fn quoted(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            words.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    words
}

#[test]
fn architecture_names_only_what_exists() {
    let sources: String = files(&[".rs"]).iter().map(|path| read(path)).collect();
    let mut missing = Vec::new();
    for word in quoted(&read(&root().join("ARCHITECTURE.md"))) {
        let is_path = word.contains('/') && !word.contains([' ', '{', '*', ':', '<']) && !word.starts_with('/')
            || word.ends_with(".rs");
        let is_type = word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && word.chars().any(|c| c.is_ascii_lowercase());
        if is_path && !root().join(&word).exists() {
            missing.push(format!("file {word}"));
        }
        if is_type && !sources.contains(&word) {
            missing.push(format!("name {word}"));
        }
    }
    assert_none("ARCHITECTURE.md names what no longer exists", &missing);
}

/// Functions of a formatted file: name and length in lines, from `fn` to the brace that closes it.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let head = line.trim_start();
        let is_function =
            head.split('(').next().unwrap_or("").split_whitespace().any(|word| word == "fn") && !head.starts_with("//");
        if !is_function {
            continue;
        }
        let name = head.split("fn ").nth(1).unwrap_or("").split(['(', '<']).next().unwrap_or("").to_owned();
        let closing = format!("{}}}", " ".repeat(indent));
        let declared_only = lines[start..].iter().take_while(|l| !l.contains('{')).any(|l| l.trim_end().ends_with(';'));
        if declared_only {
            continue;
        }
        if let Some(length) = lines[start..].iter().position(|line| *line == closing) {
            found.push((name, length + 1));
        }
    }
    found
}

#[test]
fn long_functions_only_shrink() {
    let ratchet = read(&root().join("tests/tidy_ratchet.txt"));
    let mut allowed: BTreeMap<String, usize> = BTreeMap::new();
    for line in ratchet.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (name, length) = line.rsplit_once(' ').expect("a line is `path::function length`");
        allowed.insert(name.to_owned(), length.parse().expect("a length in lines"));
    }
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for path in files(&[".rs"]) {
        for (name, length) in functions(&read(&path)) {
            let key = format!("{}::{name}", relative(&path));
            let most = allowed.get(&key).copied().unwrap_or(FUNCTION_LINES_MAX);
            if length > most {
                findings.push(format!("{key} has {length} lines, {most} allowed"));
            }
            if length > FUNCTION_LINES_MAX {
                seen.insert(key);
            }
        }
    }
    findings.extend(
        allowed
            .keys()
            .filter(|key| !seen.contains(*key))
            .map(|key| format!("{key} is short now: take it off the list")),
    );
    assert_none("tests/tidy_ratchet.txt", &findings);
}

#[test]
fn function_lengths_are_counted_to_the_closing_brace() {
    let text =
        "impl A {\n    pub fn one(&self) -> u8 {\n        1\n    }\n\n    fn declared(&self);\n}\n\nfn two() {\n}\n";
    assert_eq!(functions(text), vec![("one".to_owned(), 3), ("two".to_owned(), 2)]);
}
