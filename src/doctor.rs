//! `shipwake doctor`: reads a whole data folder while no Shipwake runs on it, and names every damaged file and offset.
//! Changes nothing. What `serve` has to go on without is damage here: besides the files themselves, the journal and the store
//! have to fit together.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use shipwake_journal::embedded::{self, Extent};
use shipwake_journal::kafka;
use shipwake_store::{Committed, Severity};

use crate::app::store_dir;
use crate::cli::DoctorArgs;
use crate::config::{EMBEDDED, Secret, kafka_password};
use crate::journal::journal_dir;

/// Exit code when the check could not be made: nothing is known about the data.
const NOT_CHECKED: u8 = 3;

/// Runs the check. Exit code 0 when nothing is damaged, 1 with a line for each finding when something is, 3 with the reason on
/// standard error when the check cannot be made: no such folder, in use, no answer from brokers or bucket.
pub fn run(args: &DoctorArgs) -> ExitCode {
    match check(args) {
        Ok(0) => {
            println!("{}: nothing is damaged", args.data.display());
            ExitCode::SUCCESS
        }
        Ok(damage) => {
            println!("{}: {damage} of the findings are damage", args.data.display());
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("shipwake: {error:#}");
            ExitCode::from(NOT_CHECKED)
        }
    }
}

/// Prints the findings; how many of them are damage.
fn check(args: &DoctorArgs) -> anyhow::Result<usize> {
    look_into(args)?;
    let is_embedded = args.journal == EMBEDDED;
    let mut journal = if is_embedded {
        embedded::check(&journal_dir(&args.data)).context("failed to read the journal")?
    } else {
        check_kafka(&args.journal)?
    };
    let store = match &args.store {
        Some(url) if shipwake_store::s3::is_url(url) => {
            shipwake_store::check_bucket(url).with_context(|| format!("failed to read the store in {url}"))?
        }
        Some(dir) => shipwake_store::check(Path::new(dir)),
        None => shipwake_store::check(&store_dir(&args.data)),
    };
    if !is_embedded {
        // Nothing keeps others from writing meanwhile: the beginnings from before the store was read, the ends from after it.
        take_ends(&mut journal.extents, &check_kafka(&args.journal)?.extents);
    }
    let misfits = misfits(&journal, &store);
    for finding in &journal.findings {
        let severity = if finding.harmless { "note" } else { "error" };
        println!("{severity}: {}: offset {}: {}", finding.path.display(), finding.offset, finding.reason);
    }
    for finding in &store.findings {
        println!("{finding}");
    }
    for misfit in &misfits {
        println!("error: {misfit}");
    }
    Ok(journal.findings.iter().filter(|finding| !finding.harmless).count()
        + store.findings.iter().filter(|finding| finding.severity > Severity::Note).count()
        + misfits.len())
}

/// Fails where nothing can be said about the data: no folder, none of Shipwake's, or no right to read it.
fn look_into(args: &DoctorArgs) -> anyhow::Result<()> {
    let data = &args.data;
    if !data.is_dir() {
        bail!("{} is not a folder", data.display());
    }
    let mut is_any = false;
    for place in [data.clone(), journal_dir(data), store_dir(data)] {
        match std::fs::read_dir(&place) {
            Ok(_) => is_any |= place != *data,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let who = "run this as the user that Shipwake runs as";
                return Err(error).with_context(|| format!("{} cannot be read ({who})", place.display()));
            }
        }
    }
    if !is_any && args.journal == EMBEDDED && args.store.is_none() {
        bail!("{} holds neither a journal nor a store: is it what `serve --data` was given?", data.display());
    }
    Ok(())
}

/// What the brokers hold. They check the records themselves; what is asked here is whether the store's positions are there.
fn check_kafka(address: &str) -> anyhow::Result<embedded::Checked> {
    let password = kafka_password().map(|Secret(password)| password);
    let config =
        kafka::Config::parse(address, password.as_deref(), 1).map_err(|problem| anyhow!("journal: {problem}"))?;
    // A check makes nothing.
    let config = kafka::Config { create: None, ..config };
    let topic = config.topic.clone();
    let found = kafka::Opening::find(config).context("failed to ask the brokers for the journal")?;
    let extent = |(partition, (first_offset, next_offset)): (u32, (u64, u64))| Extent {
        partition,
        path: format!("kafka topic {topic}, partition {partition}").into(),
        first_offset,
        next_offset,
    };
    let extents: Vec<Extent> = (0..).zip(found.reach().iter().copied()).map(extent).collect();
    Ok(embedded::Checked { findings: Vec::new(), partitions: Some(extents.len() as u32), extents })
}

fn take_ends(extents: &mut [Extent], later: &[Extent]) {
    for extent in extents {
        if let Some(later) = later.iter().find(|later| later.partition == extent.partition) {
            extent.next_offset = later.next_offset;
        }
    }
}

/// A file that is whole and does not fit the others.
#[derive(Debug, PartialEq, Eq)]
struct Misfit {
    path: PathBuf,
    what: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// Where the journal and the store do not fit together: a shard goes on reading where its last commit ended, and that
/// record, or the place for it, has to be there.
fn misfits(journal: &embedded::Checked, store: &shipwake_store::Checked) -> Vec<Misfit> {
    let mut found = Vec::new();
    for committed in &store.committed {
        let state = committed.state.as_deref();
        if let Some(Err(what)) = state.map(|state| shipwake_aggregate::check_state(state, committed.next_offset)) {
            found.push(Misfit { path: committed.state_path.clone(), what });
        }
        let extent = journal.extents.iter().find(|extent| extent.partition == committed.shard);
        match (extent, journal.partitions) {
            (Some(extent), _) => found.extend(position_misfit(extent, committed)),
            // A partition that is there and has no extent is damaged, and that has been said.
            (None, Some(partitions)) if committed.shard >= partitions && committed.next_offset > 0 => {
                let what = format!(
                    "records up to offset {} of partition {} were committed, and the journal has no such partition",
                    committed.next_offset, committed.shard
                );
                found.push(Misfit { path: committed.manifest.clone(), what });
            }
            (None, _) => {}
        }
    }
    // A topic forgets what nobody has asked for; files of ours are removed only below a commit.
    let is_ours = |extent: &Extent| extent.path.extension().is_some_and(|ending| ending == "log");
    let store_is_whole = store.findings.iter().all(|finding| finding.severity < Severity::Error);
    for extent in journal.extents.iter().filter(|extent| store_is_whole && extent.first_offset > 0 && is_ours(extent)) {
        if store.committed.iter().all(|committed| committed.shard != extent.partition) {
            let what = format!(
                "the oldest record of partition {} has offset {}, and the store has no commit of those before it",
                extent.partition, extent.first_offset
            );
            found.push(Misfit { path: extent.path.clone(), what });
        }
    }
    found
}

fn position_misfit(extent: &Extent, committed: &Committed) -> Option<Misfit> {
    let (position, manifest) = (committed.next_offset, committed.manifest.display());
    let what = if position > extent.next_offset {
        format!(
            "the journal ends at offset {}, and {manifest} was committed at offset {position}: the journal has been \
             shortened, or is not the one that the store was made from",
            extent.next_offset
        )
    } else if position < extent.first_offset {
        format!(
            "the journal begins at offset {}, and {manifest} was committed at offset {position}: records in between are \
             gone that were never folded",
            extent.first_offset
        )
    } else {
        return None;
    };
    Some(Misfit { path: extent.path.clone(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(first_offset: u64, next_offset: u64) -> embedded::Checked {
        let extent = Extent { partition: 0, path: "p0/1.log".into(), first_offset, next_offset };
        embedded::Checked { findings: Vec::new(), extents: vec![extent], partitions: Some(1) }
    }

    fn store(shard: u32, next_offset: u64) -> shipwake_store::Checked {
        let committed = Committed {
            shard,
            manifest: "manifest/0/7.json".into(),
            next_offset,
            state_path: "state/0/7.bin".into(),
            state: None,
        };
        shipwake_store::Checked { findings: Vec::new(), committed: vec![committed] }
    }

    #[test]
    fn a_commit_has_to_lie_between_the_ends_of_the_journal() {
        for (first, end, committed, fits) in
            [(0, 10, 0, true), (0, 10, 10, true), (5, 10, 5, true), (0, 10, 11, false), (5, 10, 4, false)]
        {
            let found = misfits(&journal(first, end), &store(0, committed));
            assert_eq!(found.is_empty(), fits, "{first}..{end}, committed at {committed}: {found:?}");
            let named = |misfit: &Misfit| misfit.to_string().contains("manifest/0/7.json");
            assert!(found.iter().all(named), "{found:?}");
        }
    }

    #[test]
    fn a_store_without_its_journal_and_a_journal_without_its_store_are_damage() {
        let gone = embedded::Checked { partitions: Some(0), ..embedded::Checked::default() };
        assert_eq!(misfits(&gone, &store(0, 5)).len(), 1);
        assert_eq!(misfits(&gone, &store(0, 0)), []);
        assert_eq!(misfits(&journal(0, 5), &shipwake_store::Checked::default()), []);
        assert_eq!(misfits(&journal(3, 5), &shipwake_store::Checked::default()).len(), 1);
        let unknown = embedded::Checked::default();
        assert_eq!(misfits(&unknown, &store(0, 5)), [], "what is damaged has been said already");
    }

    #[test]
    fn a_state_that_a_shard_would_not_take_up_is_damage() {
        let mut store = store(0, 5);
        store.committed[0].state = Some(bytes::Bytes::from_static(b"nonsense"));
        assert!(misfits(&journal(0, 5), &store)[0].to_string().starts_with("state/0/7.bin"));
    }
}
