//! Names of files: patterns, and what rotation makes of a name.

use std::path::{Path, PathBuf};

/// The most entries of a folder that are looked at when a rotated file is searched.
const ENTRIES_MAX: usize = 10_000;

/// What a user named: a file, or a pattern.
#[derive(Clone, Debug)]
pub struct Named {
    text: String,
}

impl Named {
    /// # Errors
    /// When it is a pattern that cannot be read, or a folder, of which nobody knows which files are meant.
    pub fn new(text: &str) -> anyhow::Result<Self> {
        if Path::new(text).is_dir() {
            anyhow::bail!("{text} is a folder: name the files in it, as in '{}/*.log'", text.trim_end_matches('/'));
        }
        glob::Pattern::new(text).map_err(|error| anyhow::anyhow!("the pattern {text:?} cannot be read: {error}"))?;
        Ok(Named { text: text.to_owned() })
    }

    /// The files that it stands for now. A name that exists as it is written is no pattern.
    pub fn expand(&self) -> Vec<PathBuf> {
        let plain = Path::new(&self.text);
        if plain.exists() {
            return vec![plain.to_owned()];
        }
        let found = glob::glob(&self.text).map(|paths| paths.filter_map(Result::ok).collect());
        found.unwrap_or_default()
    }
}

/// The files beside `path`, at most [`ENTRIES_MAX`].
pub fn siblings(path: &Path) -> Vec<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.take(ENTRIES_MAX).filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.is_file()).collect()
}

/// Whether `other` is what rotation makes of `path`: `app.log.1`, `app.log-20261126`, `app.log.2026-11-26_10`, `app-1.log`;
/// not a compressed one, which cannot be read on.
pub fn is_generation(path: &Path, other: &Path) -> bool {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let (Some(path), Some(other)) = (name(path), name(other)) else { return false };
    if let Some(mark) = other.strip_prefix(&path) {
        return is_mark(mark);
    }
    // Between the stem and the ending.
    let Some((stem, ending)) = path.rsplit_once('.') else { return false };
    let mark = other.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending)?.strip_suffix('.'));
    !stem.is_empty() && mark.is_some_and(is_mark)
}

/// A separator, then digits with separators.
fn is_mark(mark: &str) -> bool {
    let separator = |c: char| matches!(c, '.' | '-' | '_');
    let digits = |c: char| c.is_ascii_digit() || matches!(c, 'T' | ':') || separator(c);
    mark.starts_with(separator) && mark.chars().all(digits) && mark.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_no_file_to_wait_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = folder.path().display().to_string();
        for named in [name.clone(), format!("{name}/")] {
            let error = Named::new(&named).expect_err("a folder").to_string();
            assert!(error.contains("is a folder") && error.ends_with(&format!("'{name}/*.log'")), "{error}");
        }
        for named in [format!("{name}/*.log"), format!("{name}/app.log")] {
            assert!(Named::new(&named).expect("files").expand().is_empty());
        }
    }

    #[test]
    fn generations_of_a_file_are_known_by_their_names() {
        let check = |other: &str, expected: bool| {
            let found = is_generation(Path::new("/var/log/app.log"), &Path::new("/var/log").join(other));
            assert_eq!(found, expected, "{other}");
        };
        for other in [
            "app.log.1",
            "app.log-20261126",
            "app.log.2026-11-26_10",
            "app.log.2026-11-26T10:00",
            "app-1.log",
            "app.12.log",
        ] {
            check(other, true);
        }
        for other in [
            "app.log",
            "app.log.gz",
            "app.log.1.gz",
            "app.log.bak",
            "app.log.",
            "app.log1",
            "apple.log",
            "app-x.log",
            "other.log.1",
            "app-.log",
        ] {
            check(other, false);
        }
        assert!(is_generation(Path::new("access_log"), Path::new("access_log.1")));
    }

    #[test]
    fn a_name_that_exists_is_no_pattern() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a[1].log", "a1.log", "b.log"] {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        let expand = |name: &str| {
            let named = Named::new(folder.path().join(name).to_str().expect("text")).expect("readable");
            let mut found: Vec<_> =
                named.expand().iter().map(|path| path.file_name().expect("named").to_owned()).collect();
            found.sort();
            found
        };
        assert_eq!(expand("a[1].log"), ["a[1].log"]);
        assert_eq!(expand("a[0-9].log"), ["a1.log"]);
        assert_eq!(expand("*.log"), ["a1.log", "a[1].log", "b.log"]);
        assert!(expand("later.log").is_empty());
        assert_eq!(siblings(&folder.path().join("x")).len(), 3);
        assert!(Named::new("a[").is_err());
    }
}
