//! The bytes of a manifest: one JSON object with a version, a checksum and the body it covers.
//!
//! The checksum covers the body's bytes as written, so the envelope has one exact form and is not parsed as JSON.
//! Members of the body that a reader does not know are ignored; what it must know raises the version. See `FORMAT.md`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Delta, Manifest, StateFile};
use crate::parts::Parts;
use crate::segment::{SideFile, Window};
use crate::{LostSegment, SegmentFile, SegmentId, Table};

/// The version of the envelope and the body. Version 1 had at most one segment per table and commit.
const VERSION: u32 = 2;
const BEFORE_VERSION: &str = "{\"shipwake_manifest\":";
const BEFORE_CHECKSUM: &str = ",\"crc32c\":\"";
const BEFORE_BODY: &str = "\",\"body\":";
const AFTER_BODY: &str = "}\n";

#[derive(Serialize, Deserialize)]
struct Body {
    /// The same as in the envelope, under the checksum: a flipped bit is not a newer version. Manifests of older versions lack it.
    #[serde(default, skip_serializing_if = "is_zero")]
    version: u32,
    shard: u32,
    seq: u64,
    writer: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<String>,
    next_offset: u64,
    watermark_ns: i64,
    committed_ns: i64,
    state: State,
    added: Vec<Segment>,
    dropped: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Before>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lost: Vec<Lost>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<Vec<Segment>>,
}

#[derive(Serialize, Deserialize)]
struct Before {
    added: Vec<Segment>,
    dropped: Vec<Name>,
}

#[derive(Serialize, Deserialize)]
struct Lost {
    table: String,
    seq: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    part: u32,
    path: String,
    rows: u64,
    time_min_ns: i64,
    time_max_ns: i64,
    reason: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    for_good: bool,
}

#[derive(Serialize, Deserialize)]
struct State {
    path: String,
    bytes: u64,
    crc32c: u32,
}

#[derive(Serialize, Deserialize)]
struct Name {
    table: String,
    seq: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    part: u32,
}

#[derive(Serialize, Deserialize)]
struct Segment {
    table: String,
    seq: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    part: u32,
    path: String,
    rows: u64,
    bytes: u64,
    crc32c: u32,
    time_min_ns: i64,
    time_max_ns: i64,
    first_offset: u64,
    next_offset: u64,
    committed_ns: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    level: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window_ns: Option<(i64, i64)>,
    #[serde(default, skip_serializing_if = "is_zero")]
    thinned_ns: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blooms: Option<Side>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<Side>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<PartsOfFile>,
}

#[derive(Serialize, Deserialize)]
struct PartsOfFile {
    data: u64,
    sums_crc32c: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    counts: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    counts_crc32c: u32,
    end_crc32c: u32,
}

#[derive(Serialize, Deserialize)]
struct Side {
    path: String,
    bytes: u64,
    crc32c: u32,
}

fn is_zero<T: PartialEq + Default>(number: &T) -> bool {
    *number == T::default()
}

/// The file of a manifest.
pub(crate) fn encode(manifest: &Manifest) -> Vec<u8> {
    let body = serde_json::to_vec(&Body::of(manifest)).expect("numbers and texts are always valid JSON");
    let checksum = crc32c::crc32c(&body);
    let mut file = format!("{BEFORE_VERSION}{VERSION}{BEFORE_CHECKSUM}{checksum:08x}{BEFORE_BODY}").into_bytes();
    file.extend_from_slice(&body);
    file.extend_from_slice(AFTER_BODY.as_bytes());
    file
}

/// The manifest in a file, or what is wrong with the file.
pub(crate) fn decode(file: &[u8]) -> Result<Manifest, String> {
    let (version, rest) = number_after(file, BEFORE_VERSION, 10).ok_or("it does not begin like a manifest")?;
    if !(1..=VERSION).contains(&version) {
        return Err(format!("it has version {version}, this version of shipwake reads up to {VERSION}"));
    }
    let (checksum, rest) = number_after(rest, BEFORE_CHECKSUM, 16).ok_or("it has no checksum")?;
    let body = rest.strip_prefix(BEFORE_BODY.as_bytes()).ok_or("it has no body")?;
    let body = body.strip_suffix(AFTER_BODY.as_bytes()).ok_or("its end is missing")?;
    let found = crc32c::crc32c(body);
    if found != checksum {
        return Err(format!("its checksum is {found:08x} instead of {checksum:08x}"));
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| format!("its body cannot be read: {error}"))?;
    body.into_manifest()
}

/// The version of a manifest that a newer Shipwake has written: not damage, and not to be touched.
pub(crate) fn newer_version(file: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let (_, rest) = number_after(file, BEFORE_VERSION, 10)?;
    let (checksum, rest) = number_after(rest, BEFORE_CHECKSUM, 16)?;
    let body = rest.strip_prefix(BEFORE_BODY.as_bytes())?.strip_suffix(AFTER_BODY.as_bytes())?;
    let version = serde_json::from_slice::<Versioned>(body).ok()?.version;
    (crc32c::crc32c(body) == checksum && version > VERSION).then_some(version)
}

/// The newest version that is known.
pub(crate) fn version_known() -> u32 {
    VERSION
}

/// A segment by itself, for another process.
pub(crate) fn segment_text(file: &SegmentFile) -> String {
    serde_json::to_string(&(file.shard, Segment::of(file))).expect("numbers and texts are always valid JSON")
}

/// The segment of such a text, or what is wrong with it.
pub(crate) fn segment_of(text: &str) -> Result<SegmentFile, String> {
    let (shard, segment): (u32, Segment) =
        serde_json::from_str(text).map_err(|error| format!("a segment cannot be read: {error}"))?;
    segment.into_segment(shard)
}

/// The number after `prefix`, and what comes after its digits.
fn number_after<'a>(bytes: &'a [u8], prefix: &str, radix: u32) -> Option<(u32, &'a [u8])> {
    let rest = bytes.strip_prefix(prefix.as_bytes())?;
    let digits = rest.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let text = std::str::from_utf8(&rest[..digits]).ok()?;
    Some((u32::from_str_radix(text, radix).ok()?, &rest[digits..]))
}

impl Body {
    fn of(manifest: &Manifest) -> Self {
        let segments = |files: &[SegmentFile]| files.iter().map(Segment::of).collect();
        let names = |dropped: &[SegmentId]| dropped.iter().map(Name::of).collect();
        Self {
            version: VERSION,
            shard: manifest.shard,
            seq: manifest.seq,
            writer: manifest.writer,
            owner: manifest.owner.as_deref().map(str::to_owned),
            journal: manifest.journal.map(|id| format!("{id:032x}")),
            next_offset: manifest.next_offset,
            watermark_ns: manifest.watermark_ns,
            committed_ns: manifest.committed_ns,
            state: State {
                path: manifest.state.path.clone(),
                bytes: manifest.state.bytes,
                crc32c: manifest.state.crc32c,
            },
            added: segments(&manifest.added),
            dropped: names(&manifest.dropped),
            before: manifest
                .before
                .as_ref()
                .map(|before| Before { added: segments(&before.added), dropped: names(&before.dropped) }),
            lost: manifest.lost.iter().map(Lost::of).collect(),
            snapshot: manifest.snapshot.as_deref().map(segments),
        }
    }

    fn into_manifest(self) -> Result<Manifest, String> {
        let shard = self.shard;
        let segments = |files: Vec<Segment>| -> Result<Vec<SegmentFile>, String> {
            files.into_iter().map(|file| file.into_segment(shard)).collect()
        };
        let ids = |names: Vec<Name>| -> Result<Vec<SegmentId>, String> {
            names.into_iter().map(|name| name.into_id(shard)).collect()
        };
        let before = self.before.map(|before| -> Result<Delta, String> {
            Ok(Delta { added: segments(before.added)?, dropped: ids(before.dropped)? })
        });
        Ok(Manifest {
            shard,
            seq: self.seq,
            writer: self.writer,
            owner: self.owner.map(Arc::from),
            journal: self.journal.as_deref().map(journal_id).transpose()?,
            next_offset: self.next_offset,
            watermark_ns: self.watermark_ns,
            committed_ns: self.committed_ns,
            state: StateFile { path: self.state.path, bytes: self.state.bytes, crc32c: self.state.crc32c },
            added: segments(self.added)?,
            dropped: ids(self.dropped)?,
            before: before.transpose()?,
            lost: self.lost.into_iter().map(|lost| lost.into_lost(shard)).collect::<Result<_, _>>()?,
            snapshot: self.snapshot.map(segments).transpose()?.map(Arc::from),
        })
    }
}

impl Name {
    fn of(id: &SegmentId) -> Self {
        Self { table: id.table.name().to_owned(), seq: id.seq, part: id.part }
    }

    fn into_id(self, shard: u32) -> Result<SegmentId, String> {
        Ok(SegmentId { shard, seq: self.seq, table: table(&self.table)?, part: self.part })
    }
}

impl Lost {
    fn of(lost: &LostSegment) -> Self {
        let LostSegment { id, table, path, rows, time_min_ns, time_max_ns, reason, for_good } = lost.clone();
        Self {
            table: table.name().to_owned(),
            seq: id.seq,
            part: id.part,
            path: path.to_string(),
            rows,
            time_min_ns,
            time_max_ns,
            reason: reason.to_string(),
            for_good,
        }
    }

    fn into_lost(self, shard: u32) -> Result<LostSegment, String> {
        let table = table(&self.table)?;
        Ok(LostSegment {
            id: SegmentId { shard, seq: self.seq, table, part: self.part },
            table,
            path: self.path.into(),
            rows: self.rows,
            time_min_ns: self.time_min_ns,
            time_max_ns: self.time_max_ns,
            reason: self.reason.into(),
            for_good: self.for_good,
        })
    }
}

impl Segment {
    fn of(file: &SegmentFile) -> Self {
        Self {
            table: file.table.name().to_owned(),
            seq: file.id.seq,
            path: file.path.to_string(),
            rows: file.rows,
            bytes: file.bytes,
            crc32c: file.crc32c,
            time_min_ns: file.time_min_ns,
            time_max_ns: file.time_max_ns,
            first_offset: file.first_offset,
            next_offset: file.next_offset,
            committed_ns: file.committed_ns,
            part: file.id.part,
            level: file.level,
            window_ns: file.window.map(|window| (window.start_ns, window.length_ns)),
            thinned_ns: file.thinned_ns,
            blooms: file.blooms.as_ref().map(Side::of),
            index: file.index.as_ref().map(Side::of),
            parts: file.parts.as_ref().map(PartsOfFile::of),
        }
    }

    fn into_segment(self, shard: u32) -> Result<SegmentFile, String> {
        let table = table(&self.table)?;
        let parts = self.parts.map(PartsOfFile::into_parts);
        if parts.is_some_and(|parts| !parts.fit(self.bytes)) {
            return Err(format!("the parts of {} do not fit into its {} bytes", self.path, self.bytes));
        }
        Ok(SegmentFile {
            id: SegmentId { shard, seq: self.seq, table, part: self.part },
            table,
            path: self.path.into(),
            rows: self.rows,
            bytes: self.bytes,
            time_min_ns: self.time_min_ns,
            time_max_ns: self.time_max_ns,
            shard,
            first_offset: self.first_offset,
            next_offset: self.next_offset,
            committed_ns: self.committed_ns,
            crc32c: self.crc32c,
            window: self.window_ns.map(|(start_ns, length_ns)| Window { start_ns, length_ns }),
            level: self.level,
            thinned_ns: self.thinned_ns,
            blooms: self.blooms.map(Side::into_side),
            index: self.index.map(Side::into_side),
            parts,
            pin: Arc::default(),
        })
    }
}

impl PartsOfFile {
    fn of(parts: &Parts) -> Self {
        let Parts { data, sums_crc32c, counts, counts_crc32c, end_crc32c } = *parts;
        Self { data, sums_crc32c, counts, counts_crc32c, end_crc32c }
    }

    fn into_parts(self) -> Parts {
        let Self { data, sums_crc32c, counts, counts_crc32c, end_crc32c } = self;
        Parts { data, sums_crc32c, counts, counts_crc32c, end_crc32c }
    }
}

impl Side {
    fn of(file: &SideFile) -> Self {
        Self { path: file.path.to_string(), bytes: file.bytes, crc32c: file.crc32c }
    }

    fn into_side(self) -> SideFile {
        SideFile { path: self.path.into(), bytes: self.bytes, crc32c: self.crc32c }
    }
}

fn journal_id(digits: &str) -> Result<u128, String> {
    u128::from_str_radix(digits, 16).map_err(|_| format!("it names the journal {digits:?}, which is no number"))
}

fn table(name: &str) -> Result<Table, String> {
    Table::from_name(name).ok_or_else(|| format!("it names the table {name:?}, which this version does not know"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let id = SegmentId { shard: 1, seq: 3, table: Table::Logs, part: 2 };
        let side = |path: &str| Some(SideFile { path: path.into(), bytes: 7, crc32c: 8 });
        let file = SegmentFile {
            id,
            table: Table::Logs,
            path: "data/logs/1-3-10-20.parquet".into(),
            rows: 5,
            bytes: 900,
            time_min_ns: -1,
            time_max_ns: i64::MAX,
            shard: 1,
            first_offset: 10,
            next_offset: 20,
            committed_ns: 77,
            crc32c: 1,
            window: Some(Window { start_ns: -900, length_ns: 900 }),
            level: 1,
            thinned_ns: 5,
            blooms: side("data/logs/1-3-10-20.blooms"),
            index: side("data/logs/1-3-10-20.index"),
            parts: Some(Parts { data: 800, sums_crc32c: 9, counts: 10, counts_crc32c: 11, end_crc32c: 12 }),
            pin: Arc::default(),
        };
        let plain = SegmentFile {
            id: SegmentId { part: 0, ..id },
            window: None,
            level: 0,
            thinned_ns: 0,
            blooms: None,
            index: None,
            parts: None,
            ..file.clone()
        };
        Manifest {
            shard: 1,
            seq: 3,
            writer: u64::MAX,
            owner: Some("http://node-1:4400".into()),
            next_offset: 20,
            watermark_ns: i64::MIN,
            committed_ns: 77,
            state: StateFile { path: "state/1/3.bin".into(), bytes: 4, crc32c: 5 },
            added: vec![file.clone()],
            dropped: vec![SegmentId { seq: 1, ..id }],
            journal: Some(u128::MAX - 5),
            before: Some(Delta { added: vec![plain.clone()], dropped: vec![SegmentId { part: 0, ..id }] }),
            lost: vec![LostSegment { for_good: true, ..LostSegment::of(&file, "it is missing") }],
            snapshot: Some(Arc::from(vec![file, plain])),
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_and_is_valid_json() {
        let file = encode(&manifest());
        let back = decode(&file).expect("decodes");
        assert_eq!(format!("{back:?}"), format!("{:?}", manifest()));
        let json: serde_json::Value = serde_json::from_slice(&file).expect("is JSON");
        assert_eq!(json["body"]["added"][0]["path"], "data/logs/1-3-10-20.parquet");
    }

    #[test]
    fn a_segment_goes_to_another_process_as_it_is() {
        for file in manifest().snapshot.expect("listed").iter() {
            let back = segment_of(&segment_text(file)).expect("reads");
            assert_eq!(format!("{back:?}"), format!("{file:?}"));
        }
        assert!(segment_of("[1,{}]").is_err_and(|reason| reason.contains("a segment cannot be read")));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let file = encode(&manifest());
        for bit in 0..file.len() * 8 {
            let mut broken = file.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            // A hexadecimal digit of the checksum may change case and still say the same number.
            let same = broken.eq_ignore_ascii_case(&file) && decode(&broken).is_ok();
            assert!(same || decode(&broken).is_err(), "bit {bit}");
        }
        for end in 0..file.len() {
            assert!(decode(&file[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn members_from_the_future_are_ignored_and_versions_from_the_future_are_named() {
        let body = String::from_utf8(encode(&manifest())).expect("is text");
        let body = body.split_once("\"body\":").expect("has a body").1.trim_end().strip_suffix('}').expect("ends");
        let body = body.replacen("\"shard\":1", "\"shard\":1,\"colour\":[\"red\"]", 1);
        let file = |version: u32| {
            format!(
                "{BEFORE_VERSION}{version}{BEFORE_CHECKSUM}{:08x}{BEFORE_BODY}{body}{AFTER_BODY}",
                crc32c::crc32c(body.as_bytes())
            )
        };
        assert_eq!(decode(file(1).as_bytes()).expect("reads").seq, 3);
        assert_eq!(decode(file(2).as_bytes()).expect("reads").added[0].id.part, 2);
        assert!(decode(file(3).as_bytes()).expect_err("refuses").contains("version 3"));
        assert_eq!(
            newer_version(file(3).as_bytes()),
            None,
            "a flipped bit: what is under the checksum says another version"
        );
        let newer = file(2).replacen("\"version\":2", "\"version\":3", 1);
        assert_eq!(newer_version(newer.as_bytes()), None, "the checksum is wrong");
        let body = body.replacen("\"version\":2", "\"version\":3", 1);
        let sum = crc32c::crc32c(body.as_bytes());
        let newer = format!("{BEFORE_VERSION}3{BEFORE_CHECKSUM}{sum:08x}{BEFORE_BODY}{body}{AFTER_BODY}");
        assert_eq!(newer_version(newer.as_bytes()), Some(3));
    }
}
