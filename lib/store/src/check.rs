//! The offline check of a data directory, or of a bucket: everything is read, nothing is changed.
//!
//! Goes on after a finding, so that a person sees all of them at once. Each names the file.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;

use crate::lock::DirectoryLock;
use crate::manifest::{self, Chain, read_chain};
use crate::objects::Objects;
use crate::superblock::{SUPERBLOCK, Superblock};
use crate::{SegmentFile, StoreError, loss, parts, read, recover, s3, side, state};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong, in words.
    pub what: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Harmless: it is put right at the next start.
    Note,
    /// Redundancy is lost, data is not.
    Warning,
    /// Data is lost, or cannot be read.
    Error,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}: {}", self.path.display(), self.what)
    }
}

/// What a shard has committed last: to be compared with the journal that it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The shard.
    pub shard: u32,
    /// The newest manifest.
    pub manifest: PathBuf,
    /// The first offset of the journal that is not part of the commit.
    pub next_offset: u64,
    /// The file of the shard's state.
    pub state_path: PathBuf,
    /// The state, for the owner to look into; `None` when it cannot be read, which is among the findings.
    pub state: Option<Bytes>,
}

/// What a check has found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// The last commit of every shard that has one and whose manifests can be read.
    pub committed: Vec<Committed>,
}

/// Checks the store in `dir`. No findings: all of it can be read and says what was written. Takes the directory's lock
/// while it runs, so a directory in use is a finding. Blocks on the disk and reads every segment.
pub fn check(dir: &Path) -> Checked {
    let mut checked = Checked::default();
    if let Err(error) = run(dir, &mut checked) {
        checked.findings.push(finding(dir, error));
    }
    checked
}

/// The same for a store in a bucket, which has no lock: call it while nobody writes there, or files that come and go meanwhile are
/// among the findings. The error says why the server cannot be asked.
pub fn check_bucket(url: &str) -> Result<Checked, StoreError> {
    let objects = Objects::remote(s3::connect(url)?, url)?;
    let superblock = objects.get(SUPERBLOCK)?;
    let mut checked = Checked::default();
    let path = objects.file(SUPERBLOCK);
    let is_there = match superblock {
        Some(bytes) => match check_superblock(path.clone(), &bytes, &mut checked.findings) {
            Err(StoreError::Damaged { reason, .. }) => {
                checked.findings.push(made_again(path, &reason));
                Ok(())
            }
            checked => checked,
        },
        None if objects.folders(manifest::FOLDER)?.is_empty() => {
            Err(StoreError::damaged(path, "there is no store at this place"))
        }
        None => {
            checked.findings.push(made_again(path, "it is missing"));
            Ok(())
        }
    };
    let outcome = is_there.and_then(|()| check_shards(&objects, &mut checked));
    match outcome {
        Ok(()) => {}
        // A server that went away has not said what is damaged.
        Err(error @ StoreError::Io { .. }) => return Err(error),
        Err(error) => checked.findings.push(finding(Path::new(url), error)),
    }
    Ok(checked)
}

fn run(dir: &Path, checked: &mut Checked) -> Result<(), StoreError> {
    let _lock = DirectoryLock::take_to_check(dir)?;
    let path = dir.join(SUPERBLOCK);
    match fs::read(&path) {
        Ok(bytes) => match check_superblock(path.clone(), &bytes, &mut checked.findings) {
            Err(StoreError::Damaged { reason, .. }) => checked.findings.push(made_again(path, &reason)),
            checked => checked?,
        },
        Err(error) if error.kind() == ErrorKind::NotFound && dir.join("manifest").exists() => {
            checked.findings.push(made_again(path, "it is missing"));
        }
        Err(error) => return Err(StoreError::io("cannot read", &path, error, 0)),
    }
    let local = LocalFileSystem::new_with_prefix(dir)
        .map_err(|error| StoreError::io("cannot open", dir, std::io::Error::other(error), 0))?;
    check_shards(&Objects::new(Arc::new(local), dir), checked)
}

/// Every file says its version itself: what the superblock of a directory said is known.
fn made_again(path: PathBuf, reason: &str) -> Finding {
    let what = format!("{reason}; the next start makes it again, with another id");
    Finding { severity: Severity::Warning, path, what }
}

fn check_superblock(path: PathBuf, bytes: &[u8], findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let Some(superblock) = Superblock::decode(bytes) else {
        return Err(StoreError::damaged(path, "neither of its two copies has the right checksum"));
    };
    superblock.check_readable(&path)?;
    if Superblock::whole_copies(bytes) < 2 {
        let what = "one of its two copies is damaged".to_owned();
        findings.push(Finding { severity: Severity::Warning, path, what });
    }
    Ok(())
}

fn check_shards(objects: &Objects, checked: &mut Checked) -> Result<(), StoreError> {
    let Checked { findings, committed } = checked;
    for shard in shards(objects, findings)? {
        match read_chain(objects, shard) {
            Ok(Some(chain)) => committed.push(check_shard(objects, shard, &chain, findings)?),
            Ok(None) => {
                if recover::later_commit(&recover::written_files(objects, shard)?).is_some() {
                    findings.push(no_manifest(
                        objects,
                        shard,
                        objects.file(&manifest::folder(shard)),
                        recover::NO_MANIFEST,
                    ));
                }
            }
            Err(error @ StoreError::Io { .. }) => return Err(error),
            Err(StoreError::Damaged { path, reason }) => findings.push(no_manifest(objects, shard, path, &reason)),
            Err(error) => findings.push(finding(&objects.file("manifest"), error)),
        }
    }
    Ok(())
}

/// A shard of which no manifest can be read, and what to do.
fn no_manifest(objects: &Objects, shard: u32, path: PathBuf, reason: &str) -> Finding {
    let advice = match objects.is_remote() {
        true => recover::what_to_do(shard),
        false => "the next start begins the shard anew with what the journal holds and keeps its files as they are; restore the \
                  manifests from a backup before, if you have one"
            .to_owned(),
    };
    Finding { severity: Severity::Error, path, what: format!("{reason}; {advice}") }
}

/// The shards that have manifests or states.
fn shards(objects: &Objects, findings: &mut Vec<Finding>) -> Result<BTreeSet<u32>, StoreError> {
    let mut shards = BTreeSet::new();
    for listed in objects.list("state")? {
        shards.extend(listed.path.split('/').nth(1).and_then(|shard| shard.parse::<u32>().ok()));
    }
    for listed in objects.list("manifest")? {
        let folder = listed.path.split('/').nth(1).unwrap_or_default();
        match folder.parse() {
            Ok(shard) => {
                shards.insert(shard);
            }
            Err(_) => findings.push(Finding {
                severity: Severity::Note,
                path: objects.file(&listed.path),
                what: "it belongs to no shard".to_owned(),
            }),
        }
    }
    Ok(shards)
}

fn check_shard(
    objects: &Objects,
    shard: u32,
    chain: &Chain,
    findings: &mut Vec<Finding>,
) -> Result<Committed, StoreError> {
    for problem in &chain.problems {
        let severity = if problem.costs { Severity::Error } else { Severity::Warning };
        findings.push(Finding { severity, path: objects.file(&problem.path), what: problem.what.clone() });
    }
    let mut states = HashSet::new();
    for kept in &chain.manifests {
        match manifest::decode(&objects.get(&kept.path)?.unwrap_or_default()) {
            Ok(manifest) => {
                states.insert(manifest.state.path);
            }
            Err(_) if chain.problems.iter().any(|problem| problem.path == kept.path) => {}
            // This one is older than the base of the chain.
            Err(what) => {
                findings.push(Finding { severity: Severity::Warning, path: objects.file(&kept.path), what });
            }
        }
    }
    let state_path = objects.file(&chain.last.state.path);
    let state = match state::read(objects, &chain.last.state) {
        Ok(state) => Some(state),
        Err(error) => {
            findings.push(finding(&state_path, error));
            None
        }
    };
    for file in chain.files.iter() {
        if let Err(what) = check_segment(objects, file)? {
            findings.push(Finding { severity: Severity::Error, path: objects.file(&file.path), what });
        }
        for (path, what) in side::check(objects, file) {
            let what = format!("{what}; searches do without it, and it is made again while Shipwake runs");
            findings.push(Finding { severity: Severity::Warning, path: objects.file(&path), what });
        }
    }
    for lost in chain.in_doubt.iter().chain(&chain.last.lost).filter(|lost| lost.for_good) {
        let what = format!("{} rows of {} are left out for good: {}", lost.rows, lost.table, lost.reason);
        findings.push(Finding { severity: Severity::Error, path: objects.file(&lost.path), what });
    }
    let written = recover::written_files(objects, shard)?;
    let orphans: Vec<&str> = recover::orphans(chain, &written).filter(|path| !states.contains(*path)).collect();
    if let Some(first) = orphans.first() {
        // Replaced a moment before the end, or of a commit that did not come to be: some are there after most ends.
        let what = format!(
            "the first of {} files that no manifest names any more; the next start removes them",
            orphans.len()
        );
        findings.push(Finding { severity: Severity::Note, path: objects.file(first), what });
    }
    let manifest = objects.file(&manifest::path(shard, chain.last.seq));
    Ok(Committed { shard, manifest, next_offset: chain.last.next_offset, state_path, state })
}

/// Reads all of a segment: size, checksum, every page, number of rows. What is wrong says where, and what it costs.
fn check_segment(objects: &Objects, file: &SegmentFile) -> Result<Result<(), String>, StoreError> {
    let Some(bytes) = objects.get(&file.path)? else {
        let what = format!("it is missing, and a manifest lists it; {}", loss::words(file, None));
        return Ok(Err(what));
    };
    let found = crc32c::crc32c(&bytes);
    if bytes.len() as u64 != file.bytes {
        let what = format!("offset {}: it ends here and not after {} bytes", bytes.len(), file.bytes);
        return Ok(Err(format!("{what}; {}", loss::words(file, Some(&bytes)))));
    }
    if found != file.crc32c {
        let place = match first_damage(file, &bytes) {
            Some(offset) => format!("offset {offset} or soon behind it"),
            None => format!("offset 0 to {}", file.bytes),
        };
        let what = format!("{place}: the checksum is {found:08x} and not {:08x}", file.crc32c);
        return Ok(Err(format!("{what}; {}", loss::words(file, Some(&bytes)))));
    }
    let columns: Vec<usize> = (0..file.table.schema().fields().len()).collect();
    let batches = match read::read(file.table, bytes, &columns, i64::MIN..i64::MAX) {
        Ok(batches) => batches,
        Err(reason) => return Ok(Err(format!("{reason}; {}", loss::words(file, None)))),
    };
    let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    if rows != file.rows {
        return Ok(Err(format!("{rows} rows instead of {}", file.rows)));
    }
    Ok(Ok(()))
}

/// Where the first part begins that is not as it was written, in a segment whose parts have checksums.
fn first_damage(file: &SegmentFile, bytes: &[u8]) -> Option<u64> {
    let parts = file.parts.filter(|_| bytes.len() as u64 == file.bytes)?;
    let behind = parts.check_behind(&bytes[parts.data as usize..], file.bytes).err();
    if behind == Some(parts.data) {
        return behind;
    }
    let sums = parts::read_sums(&bytes[parts.sums().start as usize..parts.sums().end as usize]);
    parts.check(0, &bytes[..parts.data as usize], &sums, file.bytes).err().or(behind)
}

fn finding(path: &Path, error: StoreError) -> Finding {
    let (path, what) = match error {
        StoreError::Damaged { path, reason } => (path, reason),
        error => (path.to_owned(), error.to_string()),
    };
    Finding { severity: Severity::Error, path, what }
}
