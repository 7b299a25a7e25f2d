//! What is remembered on disk: how far each file is delivered. `FORMAT.md` describes the form.
//!
//! The file is replaced as a whole and synced, so that it is always either the old or the new one.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::mark::{FileId, Head};

const MAGIC: &str = "shipwake-tail 1";
const FILES_MAX: usize = 10_000;
const FORGOTTEN_AFTER_MS: u64 = 3_600_000;

/// What is known about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it was last seen.
    pub path: PathBuf,
    /// The name under which it was found first.
    pub named: PathBuf,
    pub id: FileId,
    pub head: Head,
    /// Drawn when the file was first seen or found truncated.
    pub life: u128,
    /// Bytes that are acknowledged.
    pub position: u64,
    /// The end of the batch that was about to be sent.
    pub pending: Option<u64>,
    pub size: u64,
    pub rotated: bool,
    pub seen_ms: u64,
}

/// The folder of the state, locked as long as this lives.
pub struct StateDir {
    dir: PathBuf,
    _lock: File,
}

impl StateDir {
    /// # Errors
    /// When the folder cannot be made or another process uses it.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("failed to make the folder {}", dir.display()))?;
        let path = dir.join("lock");
        let lock = File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(StateDir { dir: dir.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!("another shipwake tail uses the state in {}: give each its own with --state", dir.display())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("failed to lock {}", path.display())),
        }
    }

    /// What was written last; nothing when this is the first time.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged: to go on would send lines twice.
    pub fn read(&self) -> anyhow::Result<Vec<Entry>> {
        let path = self.dir.join("positions");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
        };
        decode(&text).with_context(|| format!("{} is damaged; remove it to begin anew", path.display()))
    }

    /// Replaces what was written. Durable when it returns.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, entries: &[Entry]) -> anyhow::Result<()> {
        let (new, path) = (self.dir.join("positions.new"), self.dir.join("positions"));
        let replace = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(encode(entries).as_bytes())?;
            file.sync_data()?;
            std::fs::rename(&new, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        replace().with_context(|| format!("failed to write {}", path.display()))
    }
}

/// Leaves out what is not worth remembering any more.
pub fn prune(entries: &mut Vec<Entry>, now_ms: u64) {
    entries.retain(|entry| now_ms.saturating_sub(entry.seen_ms) < FORGOTTEN_AFTER_MS || entry.pending.is_some());
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.seen_ms));
    entries.truncate(FILES_MAX);
}

fn encode(entries: &[Entry]) -> String {
    let files: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut file = json!({
                "path": entry.path.to_string_lossy(),
                "named": entry.named.to_string_lossy(),
                "dev": entry.id.dev,
                "ino": entry.id.ino,
                "head_bytes": entry.head.bytes,
                "head_hash": format!("{:016x}", entry.head.hash),
                "life": format!("{:032x}", entry.life),
                "position": entry.position,
                "size": entry.size,
                "rotated": entry.rotated,
                "seen_ms": entry.seen_ms,
            });
            if let Some(pending) = entry.pending {
                file["pending"] = pending.into();
            }
            file
        })
        .collect();
    let body = json!({ "files": files }).to_string();
    format!("{MAGIC} {:08x}\n{body}", crc32c::crc32c(body.as_bytes()))
}

fn decode(text: &str) -> anyhow::Result<Vec<Entry>> {
    let (head, body) = text.split_once('\n').context("no first line")?;
    let crc = head.strip_prefix(MAGIC).with_context(|| format!("not of the form {MAGIC:?}"))?;
    if u32::from_str_radix(crc.trim(), 16).ok() != Some(crc32c::crc32c(body.as_bytes())) {
        bail!("the checksum does not fit");
    }
    let json: Value = serde_json::from_str(body)?;
    let files = json["files"].as_array().context("no files")?;
    files.iter().map(|file| entry(file).with_context(|| format!("an entry lacks something: {file}"))).collect()
}

fn entry(file: &Value) -> Option<Entry> {
    let number = |key: &str| file[key].as_u64();
    let text = |key: &str| file[key].as_str();
    Some(Entry {
        path: PathBuf::from(text("path")?),
        named: PathBuf::from(text("named")?),
        id: FileId { dev: number("dev")?, ino: number("ino")? },
        head: Head { bytes: number("head_bytes")?, hash: u64::from_str_radix(text("head_hash")?, 16).ok()? },
        life: u128::from_str_radix(text("life")?, 16).ok()?,
        position: number("position")?,
        pending: number("pending"),
        size: number("size")?,
        rotated: file["rotated"].as_bool()?,
        seen_ms: number("seen_ms")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(n: u64) -> Entry {
        Entry {
            path: PathBuf::from(format!("/var/log/ä \"{n}\".log.1")),
            named: PathBuf::from("/var/log/a.log"),
            id: FileId { dev: u64::MAX, ino: n },
            head: Head { bytes: 1024, hash: u64::MAX - n },
            life: u128::MAX - u128::from(n),
            position: 1 << 60,
            pending: n.is_multiple_of(2).then_some(n),
            size: 1 << 61,
            rotated: n == 1,
            seen_ms: n,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(&folder.path().join("a/b")).expect("made");
        assert!(state.read().expect("readable").is_empty());
        let entries: Vec<Entry> = (0..3).map(some).collect();
        state.write(&entries).expect("written");
        state.write(&entries[..2]).expect("replaced");
        assert_eq!(state.read().expect("readable"), entries[..2]);
        let again = StateDir::open(&folder.path().join("a/b")).map(drop).expect_err("locked").to_string();
        assert!(again.contains("--state"), "{again}");
        drop(state);
        assert!(StateDir::open(&folder.path().join("a/b")).is_ok());
    }

    /// A file of the first version opens for ever.
    #[test]
    fn the_first_version_is_read() {
        let body = r#"{"files":[{"dev":66306,"head_bytes":11,"head_hash":"00000000deadbeef","ino":12,"life":"0000000000000000000000000000002a","named":"/var/log/a.log","path":"/var/log/a.log.1","pending":90,"position":80,"rotated":true,"seen_ms":1795428000000,"size":100}]}"#;
        let text = format!("shipwake-tail 1 bdd5f0dc\n{body}");
        let found = decode(&text).expect("readable");
        assert_eq!((found[0].position, found[0].pending, found[0].life), (80, Some(90), 42));
        assert_eq!((found[0].head.hash, found[0].rotated), (0xdead_beef, true));
    }

    #[test]
    fn damage_is_found() {
        let text = encode(&[some(1)]);
        for bad in [text.replace("rotated\":true", "rotated\":false"), "shipwake-tail 2 0\n{}".into(), String::new()] {
            assert!(decode(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_not_seen_for_long_is_forgotten_unless_it_is_pending() {
        let mut entries: Vec<Entry> = (1..4).map(some).collect();
        entries[2].seen_ms = 5_000_000;
        prune(&mut entries, 5_000_001);
        let left: Vec<u64> = entries.iter().map(|entry| entry.id.ino).collect();
        assert_eq!(left, [3, 2]);
    }
}
