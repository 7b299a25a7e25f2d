//! Asking the blooms and the index of a segment. Whatever is wrong with them is not an error of the question: the answer is then
//! that nothing can be ruled out, the damage is said once, and the segment is put on the list of those whose files are made again. So is
//! one whose files an older version has made by other rules of what a word is; that is no damage.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::bloom::{self, Group, attribute_key, trace_key, word_key};
use crate::index::{self, Bundle, Found};
use crate::objects::Objects;
use crate::shared::Shared;
use crate::{Candidates, SegmentFile, SegmentId, SideFile, Wanted};

/// Chunks of 64 KiB of an index that are asked of a server at a time.
const CHUNKS_OF_A_REQUEST: u64 = 4;
/// What tells the version of a file of blooms or of an index.
const HEAD_BYTES: u64 = 8;

/// Segments whose blooms or index cannot be used, as long as this process knows of them.
#[derive(Debug, Default)]
pub(crate) struct Damaged {
    segments: Mutex<HashSet<SegmentId>>,
}

impl Damaged {
    pub(crate) fn contains(&self, id: SegmentId) -> bool {
        self.lock().contains(&id)
    }

    pub(crate) fn all(&self) -> HashSet<SegmentId> {
        self.lock().clone()
    }

    pub(crate) fn forget(&self, id: SegmentId) {
        self.lock().remove(&id);
    }

    /// Notes a segment; whether it is news.
    pub(crate) fn add(&self, id: SegmentId) -> bool {
        self.lock().insert(id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<SegmentId>> {
        self.segments.lock().expect("no holder of this lock can panic")
    }
}

/// See [`crate::Store::candidates`].
pub(crate) fn candidates(shared: &Shared, file: &SegmentFile, wanted: &Wanted) -> Candidates {
    if wanted.is_empty() || shared.damaged.contains(file.id) {
        return Candidates::All;
    }
    let asked = ask(&shared.objects, file, wanted);
    asked.unwrap_or_else(|what| {
        if !shared.damaged.add(file.id) {
            return Candidates::All;
        }
        if are_older(&shared.objects, file) {
            tracing::info!(segment = %file.id, "blooms and index are of an older version of shipwake; searches read the segment until they are made again");
        } else {
            shared.metrics.side_file_damaged();
            tracing::warn!(segment = %file.id, path = %shared.objects.file(&file.path).display(), %what, "blooms or index cannot be used; searches read the segment until they are made again");
        }
        Candidates::All
    })
}

/// Whether what lies beside the segment was made by an older version.
fn are_older(objects: &Objects, file: &SegmentFile) -> bool {
    let is = |side: &Option<SideFile>, is_older: fn(&[u8]) -> bool| {
        side.as_ref().is_some_and(|side| read(objects, side, 0..HEAD_BYTES).is_ok_and(|head| is_older(&head)))
    };
    is(&file.blooms, bloom::is_older) || is(&file.index, index::is_older)
}

/// The error says which file cannot be used and why.
fn ask(objects: &Objects, file: &SegmentFile, wanted: &Wanted) -> Result<Candidates, String> {
    let mut candidates = Candidates::All;
    if let Some(side) = &file.blooms {
        candidates = Candidates::Ranges(ask_blooms(objects, side, file, wanted)?);
    }
    if let Some(side) = file.index.as_ref().filter(|_| !candidates.is_none() && !wanted.words.is_empty()) {
        let bundle = open_index(objects, side, file)?;
        let found = index::search(&bundle, &wanted.words, &candidates)
            .map_err(|error| named(objects, side, &error.to_string()))?;
        if let Found::Rows(rows) = found {
            candidates = candidates.and(Candidates::Rows(rows));
        }
    }
    Ok(candidates)
}

fn ask_blooms(
    objects: &Objects,
    side: &SideFile,
    file: &SegmentFile,
    wanted: &Wanted,
) -> Result<Vec<Range<u32>>, String> {
    let groups = read_groups(objects, side, file.rows)?;
    let keys = keys(wanted);
    let (mut found, mut next_row) = (Vec::<Range<u32>>::new(), 0_u32);
    let ahead = if objects.is_remote() { pages_ahead(objects, side, &groups, &keys)? } else { HashMap::new() };
    for group in &groups {
        let rows = next_row..next_row.saturating_add(group.rows);
        next_row = rows.end;
        let mut may_have = true;
        for key in &keys {
            let at = group.page_of(*key);
            let page =
                ahead.get(&at.start).map_or_else(|| read(objects, side, at.clone()), |page| Ok(page.to_vec()))?;
            may_have = group
                .may_have(*key, &page)
                .ok_or_else(|| named(objects, side, &format!("offset {}: the checksum is wrong", at.start)))?;
            if !may_have {
                break;
            }
        }
        match found.last_mut() {
            _ if !may_have => {}
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => found.push(rows),
        }
    }
    Ok(found)
}

/// All pages that may be asked for, in one go: of a server each would take its time.
fn pages_ahead(
    objects: &Objects,
    side: &SideFile,
    groups: &[Group],
    keys: &[u64],
) -> Result<HashMap<u64, Bytes>, String> {
    let pages: BTreeMap<u64, u64> = groups
        .iter()
        .flat_map(|group| keys.iter().map(|key| group.page_of(*key)))
        .map(|at| (at.start, at.end))
        .collect();
    let ranges: Vec<Range<u64>> = pages.iter().map(|(start, end)| *start..*end).collect();
    match objects.get_ranges(&side.path, &ranges) {
        Ok(Some(read)) => Ok(pages.into_keys().zip(read).collect()),
        Ok(None) => Err(named(objects, side, "it is missing or shorter than it was")),
        Err(error) => Err(error.to_string()),
    }
}

fn keys(wanted: &Wanted) -> Vec<u64> {
    let words = wanted.words.iter().map(word_key);
    let trace = wanted.trace_id.iter().map(|id| trace_key(id));
    let attributes = wanted.attributes.iter().map(|(name, value)| attribute_key(name, value));
    // Attributes and ids are rarer than words: the first no ends the question.
    attributes.chain(trace).chain(words).collect()
}

/// The filters of a file of blooms, each of a row group.
fn read_groups(objects: &Objects, side: &SideFile, rows: u64) -> Result<Vec<Group>, String> {
    let is_wrong = |(at, what): (u64, String)| named(objects, side, &format!("offset {at}: {what}"));
    let mut header = read(objects, side, 0..bloom::AHEAD_BYTES.min(side.bytes))?;
    let bytes = bloom::header_bytes(&header).map_err(is_wrong)?.min(side.bytes);
    if bytes > header.len() as u64 {
        header = read(objects, side, 0..bytes)?;
    }
    bloom::read_header(&header[..bytes as usize], side.bytes, rows).map_err(is_wrong)
}

fn open_index(objects: &Objects, side: &SideFile, file: &SegmentFile) -> Result<Arc<Bundle>, String> {
    let (owned, of) = (objects.clone(), side.clone());
    let read = move |range| read(&owned, &of, range).map_err(io::Error::other);
    let ahead = if objects.is_remote() { CHUNKS_OF_A_REQUEST } else { 1 };
    let bundle = Bundle::open(side.bytes, file.rows, ahead, Box::new(read));
    bundle.map(Arc::new).map_err(|what| named(objects, side, &what))
}

fn read(objects: &Objects, side: &SideFile, range: Range<u64>) -> Result<Vec<u8>, String> {
    match objects.get_range(&side.path, range.clone()) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(named(objects, side, &format!("missing, or shorter than {} bytes", range.end))),
        Err(error) => Err(error.to_string()),
    }
}

/// What is wrong, behind the name of the file; what comes from deeper down has it already.
fn named(objects: &Objects, side: &SideFile, what: &str) -> String {
    let path = objects.file(&side.path).display().to_string();
    if what.contains(&path) { what.to_owned() } else { format!("{path}: {what}") }
}

/// Reads and checks all of the files beside a segment. Each error names the file and, where there is one, the offset. Files of an older
/// version are as they should be.
pub(crate) fn check(objects: &Objects, file: &SegmentFile) -> Vec<(Arc<str>, String)> {
    let mut found = Vec::new();
    if are_older(objects, file) {
        return found;
    }
    for (side, checked) in [
        (&file.blooms, file.blooms.as_ref().map(|side| check_blooms(objects, side, file))),
        (&file.index, file.index.as_ref().map(|side| check_index(objects, side, file))),
    ] {
        if let (Some(side), Some(Err(what))) = (side, checked) {
            let prefix = format!("{}: ", objects.file(&side.path).display());
            found.push((side.path.clone(), what.strip_prefix(&prefix).unwrap_or(&what).to_owned()));
        }
    }
    found
}

fn check_blooms(objects: &Objects, side: &SideFile, file: &SegmentFile) -> Result<(), String> {
    for group in read_groups(objects, side, file.rows)? {
        for page in group.pages() {
            if bloom::checked(&read(objects, side, page.clone())?).is_none() {
                return Err(format!("offset {}: the checksum is wrong", page.start));
            }
        }
    }
    Ok(())
}

fn check_index(objects: &Objects, side: &SideFile, file: &SegmentFile) -> Result<(), String> {
    open_index(objects, side, file)?.check().map_err(|error| error.to_string())
}
