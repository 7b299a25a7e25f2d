//! The committed state of a shard as bytes: what a restart needs besides the segments. Described in `aggregate/FORMAT.md`;
//! change both together.
//!
//! Not in it: rows and windows (they are in the segments of the same commit), and caches that fill by themselves.

use shipwake_model::{ReleaseId, Signal, Sketch};
use shipwake_store::Rejected;

use crate::config::AggregateConfig;
use crate::cumulative::{Run, Stream, Total, Totals};
use crate::patterns;
use crate::releases::{Release, Releases};
use crate::state::{Counters, State};

/// First byte of the state. Version 1 ended after the running totals; from version 2 on numbered sections follow.
const VERSION: u8 = 2;
const VERSION_WITHOUT_SECTIONS: u8 = 1;
/// zstd level: the state is written at every commit.
const ZSTD_LEVEL: i32 = 1;
/// A state is a few MB; a length beyond this is damage.
const STATE_BYTES_MAX: u64 = 1 << 30;
const RELEASE_UNKNOWN: u32 = u32::MAX;
/// Numbers of sections.
const PATTERNS: u64 = 1;
const USAGE: u64 = 2;
const TOGGLES: u64 = 3;
const LEFT_OUT: u64 = 4;
const MARKERS: u64 = 5;
const VERDICTS: u64 = 6;

/// The state, not compressed yet: cheap enough to be made under the shard's lock.
pub fn encode(state: &State) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    put_u64(&mut out, state.next_offset);
    for time_ns in [
        state.received_ns,
        state.swept_ns,
        state.watermark.newest_ns(),
        state.watermark.watermark_ns(),
        state.watermark.skew_ns(),
    ] {
        put_i64(&mut out, time_ns);
    }
    encode_counters(&state.counters, &mut out);
    let hashes = state.dedup.entries();
    put_u64(&mut out, hashes.len() as u64);
    let mut last_ns = 0;
    for (received_ns, hash) in hashes {
        put_i64(&mut out, received_ns.wrapping_sub(last_ns));
        out.extend_from_slice(&hash.to_le_bytes());
        last_ns = received_ns;
    }
    put_u64(&mut out, state.releases.iter().count() as u64);
    for release in state.releases.iter() {
        encode_release(release, &mut out);
    }
    put_u64(&mut out, state.streams.totals().count() as u64);
    for (key, received_ns, totals) in state.streams.totals() {
        out.extend_from_slice(&key.to_le_bytes());
        put_i64(&mut out, received_ns);
        encode_totals(totals, &mut out);
    }
    encode_sections(state, &mut out);
    out
}

/// What parts of the state write for themselves, each under a number of its own (`FORMAT.md` has the list).
fn encode_sections(state: &State, out: &mut Vec<u8>) {
    let sections = [
        (PATTERNS, patterns::encode(&state.patterns)),
        (USAGE, state.product.encode_usage()),
        (TOGGLES, state.product.encode_toggles()),
        (LEFT_OUT, encode_left_out(&state.counters.left_out)),
        (MARKERS, state.markers.encode_markers()),
        (VERDICTS, state.markers.encode_verdicts()),
    ];
    put_u64(out, sections.len() as u64);
    for (number, bytes) in sections {
        put_u64(out, number);
        put_bytes(out, &bytes);
    }
}

fn decode_sections(reader: &mut Reader<'_>, state: &mut State) -> Result<(), String> {
    for _ in 0..reader.u64()? {
        let number = reader.u64()?;
        let mut section = Reader { bytes: reader.bytes()? };
        match number {
            PATTERNS => patterns::decode(&mut section, &mut state.patterns)?,
            USAGE => state.product.decode_usage(&mut section)?,
            TOGGLES => state.product.decode_toggles(&mut section)?,
            MARKERS => state.markers.decode_markers(&mut section)?,
            VERDICTS => state.markers.decode_verdicts(&mut section)?,
            LEFT_OUT => state.counters.left_out = decode_rejected(&mut section)?,
            _ => return Err(format!("section {number} is not known to this version")),
        }
        if !section.bytes.is_empty() {
            return Err(format!("bytes follow the content of section {number}"));
        }
    }
    Ok(())
}

/// The bytes to commit.
pub fn compress(content: &[u8]) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_u64(&mut out, content.len() as u64);
    let body = zstd::bulk::compress(content, ZSTD_LEVEL).expect("compressing into memory cannot fail");
    out.extend_from_slice(&body);
    out
}

/// Takes back what was committed. The error says what is wrong with the bytes.
pub fn decode(bytes: &[u8], config: &AggregateConfig) -> Result<State, String> {
    let mut head = Reader { bytes };
    let version = head.u8()?;
    if !(VERSION_WITHOUT_SECTIONS..=VERSION).contains(&version) {
        return Err(format!("version {version} is newer than {VERSION}"));
    }
    let length = head.u64()?;
    if length > STATE_BYTES_MAX {
        return Err(format!("length {length} is not plausible"));
    }
    let content = zstd::bulk::decompress(head.bytes, length as usize).map_err(|error| error.to_string())?;
    let mut reader = Reader { bytes: &content };
    let mut state = decode_content(&mut reader, config)?;
    if version > VERSION_WITHOUT_SECTIONS {
        decode_sections(&mut reader, &mut state)?;
    }
    if reader.bytes.is_empty() { Ok(state) } else { Err("bytes follow the state".to_owned()) }
}

fn decode_content(reader: &mut Reader<'_>, config: &AggregateConfig) -> Result<State, String> {
    let mut state = State::new(config);
    state.next_offset = reader.u64()?;
    state.received_ns = reader.i64()?;
    state.swept_ns = reader.i64()?;
    let (newest_ns, watermark_ns, skew_ns) = (reader.i64()?, reader.i64()?, reader.i64()?);
    state.watermark.restore(newest_ns, watermark_ns, skew_ns);
    state.counters = decode_counters(reader)?;
    let mut hashes = Vec::new();
    let mut last_ns = 0i64;
    for _ in 0..reader.u64()? {
        last_ns = last_ns.wrapping_add(reader.i64()?);
        hashes.push((last_ns, u64::from_le_bytes(reader.array()?)));
    }
    state.dedup.restore(hashes);
    for _ in 0..reader.u64()? {
        state.releases.restore(decode_release(reader)?);
    }
    // No number of a series has been given yet in this generation, so none of the restored streams has one.
    let generation = state.series.generation().wrapping_sub(1);
    for _ in 0..reader.u64()? {
        let key = u128::from_le_bytes(reader.array()?);
        let received_ns = reader.i64()?;
        let totals = Some(Box::new(decode_totals(reader)?));
        state.streams.insert(
            key,
            Stream { series: 0, generation, release: RELEASE_UNKNOWN, received_ns, totals, last_delta: None },
        );
    }
    Ok(state)
}

fn encode_counters(counters: &Counters, out: &mut Vec<u8>) {
    for count in counters.stored {
        put_u64(out, count);
    }
    for count in [counters.deduplicated, counters.late, counters.future, counters.overflow] {
        put_u64(out, count);
    }
    encode_rejected(&counters.rejected, out);
}

fn encode_left_out(left_out: &[Rejected]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_rejected(left_out, &mut out);
    out
}

fn encode_rejected(all: &[Rejected], out: &mut Vec<u8>) {
    put_u64(out, all.len() as u64);
    for rejected in all {
        put_text(out, &rejected.reason);
        out.push(rejected.signal as u8);
        put_u64(out, rejected.count);
        put_i64(out, rejected.last_ns);
        put_text(out, &rejected.detail);
    }
}

fn decode_counters(reader: &mut Reader<'_>) -> Result<Counters, String> {
    let stored = [reader.u64()?, reader.u64()?, reader.u64()?];
    let (deduplicated, late, future, overflow) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
    let rejected = decode_rejected(reader)?;
    Ok(Counters { stored, deduplicated, late, future, overflow, rejected, left_out: Vec::new() })
}

fn decode_rejected(reader: &mut Reader<'_>) -> Result<Vec<Rejected>, String> {
    let mut rejected = Vec::new();
    for _ in 0..reader.u64()? {
        rejected.push(Rejected {
            reason: reader.text()?.into(),
            signal: Signal::from_number(reader.u8()?).ok_or("unknown signal")?,
            count: reader.u64()?,
            last_ns: reader.i64()?,
            detail: reader.text()?.into(),
        });
    }
    Ok(rejected)
}

fn encode_release(release: &Release, out: &mut Vec<u8>) {
    let id = &release.id;
    for text in [&id.service, &id.namespace, &id.environment, &id.version] {
        put_text(out, text);
    }
    for time_ns in [release.first_seen_ns, release.last_seen_ns, release.received_ns] {
        put_i64(out, time_ns);
    }
    put_u64(out, release.records);
    for count in release.requests {
        put_u64(out, count);
    }
    let flags = [release.instance_guessed, release.http_new, release.rpc_new];
    out.push(flags.into_iter().enumerate().map(|(bit, flag)| u8::from(flag) << bit).sum());
}

fn decode_release(reader: &mut Reader<'_>) -> Result<Release, String> {
    let mut text = || reader.text().map(Into::into);
    let id = ReleaseId { service: text()?, namespace: text()?, environment: text()?, version: text()? };
    let mut release = Releases::blank(id);
    release.first_seen_ns = reader.i64()?;
    release.last_seen_ns = reader.i64()?;
    release.received_ns = reader.i64()?;
    release.records = reader.u64()?;
    for count in &mut release.requests {
        *count = reader.u64()?;
    }
    let flags = reader.u8()?;
    release.instance_guessed = flags & 1 != 0;
    release.http_new = flags & 2 != 0;
    release.rpc_new = flags & 4 != 0;
    Ok(release)
}

fn encode_totals(totals: &Totals, out: &mut Vec<u8>) {
    put_i64(out, totals.first_seen_ns);
    put_i64(out, totals.floor_ns);
    put_u64(out, totals.runs.len() as u64);
    for run in &totals.runs {
        put_i64(out, run.start_ns);
        put_i64(out, run.time_ns);
        match &run.total {
            Total::Number(value) => {
                out.push(0);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Total::Sketch(sketch) => {
                out.push(1);
                put_bytes(out, &sketch.encode());
            }
        }
    }
}

fn decode_totals(reader: &mut Reader<'_>) -> Result<Totals, String> {
    let (first_seen_ns, floor_ns) = (reader.i64()?, reader.i64()?);
    let mut runs = Vec::new();
    for _ in 0..reader.u64()? {
        let (start_ns, time_ns) = (reader.i64()?, reader.i64()?);
        let total = match reader.u8()? {
            0 => Total::Number(f64::from_le_bytes(reader.array()?)),
            1 => Total::Sketch(Sketch::decode(reader.bytes()?).map_err(|error| error.to_string())?),
            kind => return Err(format!("unknown kind of total {kind}")),
        };
        runs.push(Run { start_ns, time_ns, total });
    }
    Ok(Totals { first_seen_ns, floor_ns, runs })
}

pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Bytes that are read from the front.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    #[cfg(test)]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or("the state ends too early")?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many bytes were taken"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u64(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is longer than ten bytes".to_owned())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, String> {
        let raw = self.u64()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = usize::try_from(self.u64()?).map_err(|error| error.to_string())?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipwake_model::sketch::Explicit;

    fn filled() -> State {
        let mut state = State::new(&AggregateConfig::default());
        state.next_offset = 77;
        state.received_ns = 1_800_000_000_000_000_000;
        state.watermark.restore(5, 3, 4_000_000_000);
        state.counters = Counters { stored: [1, 2, 3], late: 9, ..Counters::default() };
        state.reject(Signal::Metrics, "not_a_number", 4, "value is NaN".to_owned());
        assert!(state.dedup.is_new(5, 10) && state.dedup.is_new(6, 20));
        let id = ReleaseId {
            service: "shop".into(),
            namespace: "".into(),
            environment: "prod".into(),
            version: "1.0".into(),
        };
        let number = state.releases.number(&id, 0);
        state.releases.get_mut(number).saw(12);
        state.releases.get_mut(number).http_new = true;
        let mut totals = Totals::default();
        totals.advance(1, 2, Total::Number(4.5));
        totals.advance(3, 4, Total::Sketch(Sketch::Explicit(Explicit::new([1.0, 2.0].into()))));
        let stream = Stream {
            series: 0,
            generation: 0,
            release: 0,
            received_ns: 8,
            totals: Some(Box::new(totals)),
            last_delta: None,
        };
        state.streams.insert(99, stream);
        state
    }

    #[test]
    fn what_is_committed_comes_back() {
        let before = filled();
        let bytes = compress(&encode(&before));
        let mut after = decode(&bytes, &AggregateConfig::default()).unwrap();
        assert_eq!(encode(&after), encode(&before));
        assert_eq!(after.counters, before.counters);
        assert!(!after.dedup.is_new(5, 30));
        assert_eq!(after.streams.totals().next(), before.streams.totals().next());
        assert!(after.releases.iter().next().unwrap().http_new);
    }

    /// The file was made from `FORMAT.md` by hand, not by `encode`.
    #[test]
    fn a_state_of_version_1_opens() {
        let state = decode(include_bytes!("testdata/state-v1.bin"), &AggregateConfig::default()).unwrap();
        assert_eq!(encode(&state), encode(&filled()));
    }

    #[test]
    fn damage_is_an_error_and_not_another_state() {
        let bytes = compress(&encode(&filled()));
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end], &AggregateConfig::default()).is_err(), "cut at {end}");
        }
        let mut newer = bytes;
        newer[0] = VERSION + 1;
        assert!(decode(&newer, &AggregateConfig::default()).unwrap_err().contains("newer"));
    }
}
