//! A secret: what opens a receiver. It has no `Debug` and no `Display` that show it, and is read from a file or the
//! environment, never from the configuration itself, which people copy and commit.

use std::fmt;
use std::path::PathBuf;

/// Secrets are short; a file that is longer is another one.
const SECRET_BYTES_MAX: u64 = 16 << 10;
/// Shorter parts are not blanked out: they would be words.
const BLANKED_BYTES_MIN: usize = 6;

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: String) -> Self {
        Secret(text)
    }

    /// The text itself, for the request that needs it and nothing else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The text with every occurrence of the secret blanked out.
    pub(crate) fn blank(&self, text: &str) -> String {
        if self.0.len() < BLANKED_BYTES_MIN { text.to_owned() } else { text.replace(&self.0, "[secret]") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file, without the line end behind it.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    /// Says where it was looked for, and never what was found.
    pub fn read(&self, env: impl Fn(&str) -> Option<String>) -> Result<Secret, String> {
        let text = match self {
            Source::File(path) => {
                let failed = |error: std::io::Error| format!("{}: {error}", path.display());
                if std::fs::metadata(path).map_err(failed)?.len() > SECRET_BYTES_MAX {
                    return Err(format!("{}: longer than a secret is", path.display()));
                }
                std::fs::read_to_string(path).map_err(failed)?
            }
            Source::Env(name) => env(name).ok_or_else(|| format!("the environment has no {name}"))?,
        };
        let text = text.trim().to_owned();
        if text.is_empty() { Err(format!("{self}: empty")) } else { Ok(Secret(text)) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Env(name) => write!(f, "variable {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_not_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("key");
        std::fs::write(&path, "canary-secret\n").expect("written");
        let secret = Source::File(path).read(|_| None).expect("there");
        assert_eq!(secret.expose(), "canary-secret");
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.blank("no canary-secret here"), "no [secret] here");
        let env = |name: &str| (name == "KEY").then(|| "abc".to_owned());
        assert_eq!(Source::Env("KEY".to_owned()).read(env).expect("there").expose(), "abc");
        let missing = Source::Env("OTHER".to_owned()).read(env).expect_err("not there");
        assert_eq!(missing, "the environment has no OTHER");
        std::fs::write(dir.path().join("empty"), "\n").expect("written");
        assert!(Source::File(dir.path().join("empty")).read(|_| None).is_err());
        assert!(Source::File(dir.path().join("none")).read(|_| None).expect_err("none").contains("none"));
    }
}
