//! What is committed, as bytes: the caller's own state and the outbox. Described in `alerts/FORMAT.md`; change both together.
//!
//! Changes that several rows tell of are written once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use shipwake_model::ReleaseId;

use crate::change::{Change, Check, CheckState, Counts, Effect, Ending, Link, Word};
use crate::outbox::Outbox;
use crate::outbox::attempts::{Attempt, Attempts, Result as AttemptResult};
use crate::outbox::health::Health;
use crate::outbox::row::{Body, Changes, Lost, Row, RowId};

const MAGIC: &[u8; 4] = b"SWAL";
const VERSION: u32 = 2;
/// The oldest version that is read.
const OLDEST: u32 = 1;
/// Magic, version, length of the rest, checksum of the rest.
const HEADER_BYTES: usize = 20;

/// All that is committed in one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// What the caller keeps with it. Opaque.
    pub caller: Arc<[u8]>,
    /// The outbox.
    pub outbox: Outbox,
}

/// The bytes of a state.
pub fn encode(state: &State) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    put_bytes(&mut out, &state.caller);
    let outbox = &state.outbox;
    let changes = distinct_changes(outbox);
    put_u64(&mut out, changes.len() as u64);
    let mut numbers = HashMap::new();
    for change in &changes {
        numbers.insert(Arc::as_ptr(change), numbers.len() as u64);
        put_change(&mut out, change);
    }
    put_u64(&mut out, outbox.next);
    put_u64(&mut out, outbox.rows.len() as u64);
    for (order, row) in &outbox.rows {
        put_u64(&mut out, *order);
        put_row(&mut out, row, &numbers);
    }
    put_u64(&mut out, outbox.health.len() as u64);
    for (name, health) in &outbox.health {
        put_text(&mut out, name);
        put_health(&mut out, health);
    }
    put_u64(&mut out, outbox.attempts.total);
    put_u64(&mut out, outbox.attempts.recorded);
    put_u64(&mut out, outbox.attempts.newest.len() as u64);
    for attempt in &outbox.attempts.newest {
        put_attempt(&mut out, attempt);
    }
    let (length, checksum) = ((out.len() - HEADER_BYTES) as u64, crc32c::crc32c(&out[HEADER_BYTES..]));
    out[..4].copy_from_slice(MAGIC);
    out[4..8].copy_from_slice(&VERSION.to_le_bytes());
    out[8..16].copy_from_slice(&length.to_le_bytes());
    out[16..20].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// Reads a state.
///
/// # Errors
/// What is wrong with it. Nothing of a damaged state is used.
pub fn decode(bytes: &[u8]) -> Result<State, String> {
    if bytes.len() < HEADER_BYTES || &bytes[..4] != MAGIC {
        return Err("it does not begin like a state of alerts".to_owned());
    }
    let version = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes are four bytes"));
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(format!("it has version {version}, this version of shipwake reads versions {OLDEST} to {VERSION}"));
    }
    let length = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes are eight bytes"));
    let checksum = u32::from_le_bytes(bytes[16..20].try_into().expect("four bytes are four bytes"));
    let rest = &bytes[HEADER_BYTES..];
    if rest.len() as u64 != length {
        return Err(format!("it holds {} bytes instead of {length}", rest.len()));
    }
    if crc32c::crc32c(rest) != checksum {
        return Err("its checksum is wrong".to_owned());
    }
    let mut reader = Reader { bytes: rest, at: 0 };
    let state = read_state(&mut reader, version)?;
    if reader.at != rest.len() {
        return Err(format!("{} bytes behind its end", rest.len() - reader.at));
    }
    Ok(state)
}

fn read_state(reader: &mut Reader<'_>, version: u32) -> Result<State, String> {
    let caller = reader.bytes()?.into();
    let changes = reader.list(|reader| reader.change().map(Arc::new))?;
    let next = reader.u64()?;
    let rows =
        reader.list(|reader| Ok((reader.u64()?, reader.row(&changes)?)))?.into_iter().collect::<BTreeMap<_, _>>();
    if rows.keys().next_back().is_some_and(|order| *order >= next) {
        return Err("a row has a number that is not given yet".to_owned());
    }
    let health = reader.list(|reader| Ok((reader.name()?, reader.health()?)))?.into_iter().collect();
    let attempts = read_attempts(reader, version)?;
    Ok(State { caller, outbox: Outbox { rows, next, health, attempts, ..Outbox::default() } })
}

fn read_attempts(reader: &mut Reader<'_>, version: u32) -> Result<Attempts, String> {
    let numbers = if version == 1 { None } else { Some((reader.u64()?, reader.u64()?)) };
    let newest: VecDeque<_> = reader.list(|reader| reader.attempt(version).map(Arc::new))?.into();
    // Version 1 neither counted attempts nor knew what they told of: they stay a log of this process.
    let (total, recorded) = numbers.unwrap_or((newest.len() as u64, newest.len() as u64));
    if total < newest.len() as u64 || recorded > total {
        return Err(format!("{recorded} of {total} attempts are recorded, and {} are kept", newest.len()));
    }
    Ok(Attempts { newest, total, recorded })
}

/// Each change that rows tell of, once, in the order of the rows.
fn distinct_changes(outbox: &Outbox) -> Vec<Arc<Change>> {
    let mut seen = HashMap::new();
    let mut changes = Vec::new();
    for row in outbox.rows.values() {
        let Body::Changes(of_row) = &row.body else { continue };
        for change in &of_row.told {
            if seen.insert(Arc::as_ptr(change), ()).is_none() {
                changes.push(change.clone());
            }
        }
    }
    changes
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_f64(out: &mut Vec<u8>, value: f64) {
    put_u64(out, value.to_bits());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(crate) fn put_optional<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_change(out: &mut Vec<u8>, change: &Change) {
    put_release(out, &change.release);
    put_optional(out, change.baseline.as_deref(), put_text);
    put_optional(out, change.share, put_f64);
    out.push(change.from as u8);
    out.push(change.to as u8);
    put_optional(out, change.ending, |out, ending| out.push(ending as u8));
    put_text(out, &change.summary);
    put_u64(out, change.checks.len() as u64);
    for check in &change.checks {
        put_check(out, check);
    }
    put_u64(out, change.links.len() as u64);
    for link in &change.links {
        put_text(out, &link.text);
        put_text(out, &link.url);
    }
    put_i64(out, change.at_ms);
    put_u64(out, change.sequence);
}

pub(crate) fn put_release(out: &mut Vec<u8>, release: &ReleaseId) {
    for text in [&release.service, &release.namespace, &release.environment, &release.version] {
        put_text(out, text);
    }
}

fn put_check(out: &mut Vec<u8>, check: &Check) {
    put_text(out, &check.id);
    put_text(out, &check.title);
    out.push(check.state as u8);
    put_optional(out, check.effect.as_ref(), |out, effect| {
        put_text(out, &effect.kind);
        put_f64(out, effect.value);
        put_optional(out, effect.low, put_f64);
        put_optional(out, effect.high, put_f64);
        put_f64(out, effect.margin);
    });
    put_optional(out, check.e_worse, put_f64);
    for counts in [check.candidate, check.baseline] {
        put_optional(out, counts, |out, counts| {
            put_u64(out, counts.bad);
            put_u64(out, counts.all);
        });
    }
    put_text(out, &check.why);
}

fn put_row(out: &mut Vec<u8>, row: &Row, numbers: &HashMap<*const Change, u64>) {
    out.extend_from_slice(&row.id.0);
    put_text(out, &row.receiver);
    match &row.body {
        Body::Changes(changes) => {
            out.push(0);
            put_u64(out, changes.left_out);
            put_u64(out, changes.told.len() as u64);
            for change in &changes.told {
                put_u64(out, numbers[&Arc::as_ptr(change)]);
            }
        }
        Body::Lost(lost) => {
            out.push(1);
            for count in [lost.expired, lost.dropped, lost.rejected] {
                put_u64(out, count);
            }
            put_i64(out, lost.first_ms);
            put_i64(out, lost.last_ms);
            put_u64(out, lost.titles.len() as u64);
            lost.titles.iter().for_each(|title| put_text(out, title));
        }
        Body::Test => out.push(2),
    }
    put_i64(out, row.created_ms);
    put_u64(out, row.attempts.into());
    put_optional(out, row.attempted_ms, put_i64);
    put_i64(out, row.next_ms);
    put_optional(out, row.failing_since_ms, put_i64);
    put_optional(out, row.stands_in_for.as_deref(), put_text);
    put_u64(out, row.handed_on);
}

fn put_health(out: &mut Vec<u8>, health: &Health) {
    put_u64(out, health.failures.into());
    put_optional(out, health.failing_since_ms, put_i64);
    put_i64(out, health.held_ms);
    put_i64(out, health.hold_until_ms);
    put_optional(out, health.gone, put_u64);
    put_optional(out, health.delivered_ms, put_i64);
}

fn put_attempt(out: &mut Vec<u8>, attempt: &Attempt) {
    put_i64(out, attempt.at_ms);
    put_text(out, &attempt.receiver);
    out.extend_from_slice(&attempt.id.0);
    put_text(out, &attempt.about);
    put_u64(out, attempt.number.into());
    out.push(attempt.result as u8);
    put_optional(out, attempt.status, |out, status| put_u64(out, status.into()));
    put_text(out, &attempt.answer);
    put_u64(out, attempt.took_ms.into());
    put_optional(out, attempt.told.as_ref(), |out, (release, sequence)| {
        put_release(out, release);
        put_u64(out, *sequence);
    });
}

/// Reads what the functions above wrote. Bytes that pass the checksum are ours; nothing is trusted all the same.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Of bytes that somebody else has checked.
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("it ends within a value at byte {}", HEADER_BYTES + self.at))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes are four bytes")))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes are eight bytes")))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, String> {
        self.u64().map(|value| value as i64)
    }

    pub(crate) fn f64(&mut self) -> Result<f64, String> {
        self.u64().map(f64::from_bits)
    }

    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, String> {
        let at = HEADER_BYTES + self.at;
        T::try_from(self.u64()?).map_err(|_| format!("a number at byte {at} is too large"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&[u8], String> {
        let length = self.small()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, String> {
        let at = HEADER_BYTES + self.at;
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| format!("a text at byte {at} is not UTF-8"))
    }

    pub(crate) fn name(&mut self) -> Result<Arc<str>, String> {
        self.text().map(Into::into)
    }

    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            other => Err(format!("{other} at byte {} says neither that a value is there nor that it is not", self.at)),
        }
    }

    pub(crate) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let length: usize = self.small()?;
        // Not the length that is written: a wrong one must not take memory.
        let mut list = Vec::with_capacity(length.min(1_024));
        for _ in 0..length {
            list.push(read(self)?);
        }
        Ok(list)
    }

    /// A word by its place in a list.
    pub(crate) fn word<T: Copy>(&mut self, words: &[(&str, T)]) -> Result<T, String> {
        let place = self.u8()?;
        let word = words.get(usize::from(place)).map(|(_, word)| *word);
        word.ok_or_else(|| format!("no word has the number {place} at byte {}", HEADER_BYTES + self.at - 1))
    }

    fn id(&mut self) -> Result<RowId, String> {
        Ok(RowId(self.take(16)?.try_into().expect("sixteen bytes are sixteen bytes")))
    }

    pub(crate) fn release(&mut self) -> Result<ReleaseId, String> {
        let (service, namespace) = (self.name()?, self.name()?);
        Ok(ReleaseId { service, namespace, environment: self.name()?, version: self.name()? })
    }

    fn change(&mut self) -> Result<Change, String> {
        Ok(Change {
            release: self.release()?,
            baseline: self.optional(Self::name)?,
            share: self.optional(Self::f64)?,
            from: self.word(&Word::WORDS)?,
            to: self.word(&Word::WORDS)?,
            ending: self.optional(|reader| reader.word(&Ending::WORDS))?,
            summary: self.text()?,
            checks: self.list(Self::check)?,
            links: self.list(|reader| Ok(Link { text: reader.text()?, url: reader.text()? }))?,
            at_ms: self.i64()?,
            sequence: self.u64()?,
        })
    }

    fn check(&mut self) -> Result<Check, String> {
        Ok(Check {
            id: self.text()?,
            title: self.text()?,
            state: self.word(&CheckState::WORDS)?,
            effect: self.optional(|reader| {
                let kind = reader.text()?;
                let (value, low) = (reader.f64()?, reader.optional(Reader::f64)?);
                Ok(Effect { kind, value, low, high: reader.optional(Reader::f64)?, margin: reader.f64()? })
            })?,
            e_worse: self.optional(Self::f64)?,
            candidate: self.optional(Self::counts)?,
            baseline: self.optional(Self::counts)?,
            why: self.text()?,
        })
    }

    fn counts(&mut self) -> Result<Counts, String> {
        Ok(Counts { bad: self.u64()?, all: self.u64()? })
    }

    fn row(&mut self, changes: &[Arc<Change>]) -> Result<Row, String> {
        let (id, receiver, body) = (self.id()?, self.name()?, self.body(changes)?);
        let created_ms = self.i64()?;
        let mut row = Row::new(receiver, body, None, created_ms);
        row.id = id;
        row.attempts = self.small()?;
        row.attempted_ms = self.optional(Self::i64)?;
        row.next_ms = self.i64()?;
        row.failing_since_ms = self.optional(Self::i64)?;
        row.stands_in_for = self.optional(Self::name)?;
        row.handed_on = self.u64()?;
        Ok(row)
    }

    fn body(&mut self, changes: &[Arc<Change>]) -> Result<Body, String> {
        match self.u8()? {
            0 => {
                let left_out = self.u64()?;
                let told = self.list(|reader| {
                    let number: usize = reader.small()?;
                    changes.get(number).cloned().ok_or_else(|| format!("there is no change with the number {number}"))
                })?;
                if told.is_empty() {
                    return Err("a row tells of no change".to_owned());
                }
                Ok(Body::Changes(Changes { told, left_out }))
            }
            1 => Ok(Body::Lost(Lost {
                expired: self.u64()?,
                dropped: self.u64()?,
                rejected: self.u64()?,
                first_ms: self.i64()?,
                last_ms: self.i64()?,
                titles: self.list(Self::text)?,
            })),
            2 => Ok(Body::Test),
            other => Err(format!("no row has the kind {other}")),
        }
    }

    fn health(&mut self) -> Result<Health, String> {
        Ok(Health {
            failures: self.small()?,
            failing_since_ms: self.optional(Self::i64)?,
            held_ms: self.i64()?,
            hold_until_ms: self.i64()?,
            gone: self.optional(Self::u64)?,
            delivered_ms: self.optional(Self::i64)?,
        })
    }

    fn attempt(&mut self, version: u32) -> Result<Attempt, String> {
        let mut attempt = Attempt {
            at_ms: self.i64()?,
            receiver: self.name()?,
            id: self.id()?,
            about: self.text()?,
            number: self.small()?,
            result: self.word(&AttemptResult::WORDS)?,
            status: self.optional(Self::small)?,
            answer: self.text()?,
            took_ms: self.small()?,
            told: None,
        };
        if version > 1 {
            attempt.told = self.optional(|reader| Ok((reader.release()?, reader.u64()?)))?;
        }
        Ok(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::tests::change;
    use crate::outbox::attempts::{Answer, Outcome};
    use crate::outbox::policy::{Policy, Rate, Retry, Wants};
    use crate::outbox::row::Loss;

    const GOLDEN: &[u8] = include_bytes!("../tests/golden/v2.bin");
    const GOLDEN_1: &[u8] = include_bytes!("../tests/golden/v1.bin");

    /// A state with one of everything.
    fn everything() -> State {
        let policy = |name: &str, fallback: Option<&str>| Policy {
            name: name.into(),
            wants: Wants::default(),
            merges: true,
            rate: Rate { interval_ms: 0, burst: 1 },
            retry: Retry { first_ms: 1_000, max_ms: 60_000 },
            max_age_ms: 3_600_000,
            fallback: fallback.map(Into::into),
            fallback_after_ms: 300_000,
            address: 7,
        };
        let policies = [policy("chat", None), policy("hook", Some("chat"))];
        let mut outbox = Outbox::default();
        let idle = HashMap::new();
        let mut ended = change("2.14.0", 3, Word::NoGo, Word::NoGo);
        ended.ending = Some(Ending::RolledBack);
        outbox.accept(change("2.14.0", 1, Word::Wait, Word::NoGo), 1_000, &policies, &idle);
        let failed = |outcome, status, text: &str| Answer { outcome, status, text: text.to_owned(), took_ms: 12 };
        outbox.settle(1, failed(Outcome::Failed(Some(30_000)), Some(503), "try later"), 1_020, &policies);
        outbox.accept(ended, 2_000, &policies, &idle);
        outbox.settle(0, failed(Outcome::Delivered, Some(200), "ok"), 2_010, &policies);
        outbox.accept_test(&"hook".into(), 3_000);
        let row = outbox.rows[&1].clone();
        outbox.lose(Loss::Expired, &row, 4_000, &idle);
        outbox.settle(1, failed(Outcome::Gone, None, "connection refused"), 5_000, &policies);
        outbox.tidy(6_000, &policies, &idle);
        outbox.take_events();
        outbox.attempts.recorded = 1;
        outbox.changed = false;
        State { caller: b"the engine's own".as_slice().into(), outbox }
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        for state in [State::default(), everything()] {
            assert_eq!(decode(&encode(&state)).expect("decodes"), state);
        }
    }

    /// After a change of the format: keep the old file, read it, and write a new one beside it.
    #[test]
    fn all_versions_open() {
        if std::env::var_os("SHIPWAKE_WRITE_GOLDEN").is_some() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
            std::fs::create_dir_all(folder).expect("a folder");
            std::fs::write(format!("{folder}/v2.bin"), encode(&everything())).expect("written");
        }
        assert_eq!(decode(GOLDEN).expect("decodes"), everything());
        assert_eq!(encode(&everything()), GOLDEN);
        let mut first = everything();
        first.outbox.attempts.recorded = first.outbox.attempts.total;
        first.outbox.attempts.newest.iter_mut().for_each(|attempt| Arc::make_mut(attempt).told = None);
        assert_eq!(decode(GOLDEN_1).expect("decodes"), first);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = encode(&everything());
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&broken).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    proptest::proptest! {
        /// Bytes with a right checksum that nobody wrote: an error, never a panic and never memory without end.
        #[test]
        fn wild_bytes_are_refused(rest in proptest::collection::vec(proptest::num::u8::ANY, 0..300), at in 0usize..600, byte: u8) {
            let seal = |rest: &[u8]| {
                let mut bytes = Vec::from(MAGIC);
                bytes.extend_from_slice(&VERSION.to_le_bytes());
                bytes.extend_from_slice(&(rest.len() as u64).to_le_bytes());
                bytes.extend_from_slice(&crc32c::crc32c(rest).to_le_bytes());
                bytes.extend_from_slice(rest);
                bytes
            };
            let _ = decode(&seal(&rest));
            let mut nearly = encode(&everything())[HEADER_BYTES..].to_vec();
            let at = at % nearly.len();
            nearly[at] = byte;
            let _ = decode(&seal(&nearly));
        }
    }
}
