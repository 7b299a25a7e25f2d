//! The stored form of a place. `FORMAT.md` describes it; change both together. Requests by window are not stored: the first look after
//! a start tells them again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::notice::Role;
use crate::place::Place;
use crate::release::{Ending, Release, Strategy};
use crate::version::Version;

/// The version that is written.
const FORM: u8 = 1;
const ROLES: [Role; 4] = [Role::Stable, Role::Candidate, Role::Dark, Role::Shadow];
const STRATEGIES: [Strategy; 5] =
    [Strategy::Canary, Strategy::BlueGreen, Strategy::Rolling, Strategy::Dark, Strategy::BeforeAfter];
const ENDINGS: [Ending; 4] = [Ending::RolledBack, Ending::Replaced, Ending::Promoted, Ending::GoneSilent];

/// Why bytes are no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored place has no valid {what} at {offset}")]
pub struct RecordError {
    /// What was expected.
    pub what: &'static str,
    /// Where.
    pub offset: usize,
}

impl Place {
    /// The bytes of the place as it is.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![FORM]);
        out.optional(self.began_s, Writer::i64);
        out.optional(self.stable.as_ref(), |out, name| out.text(name));
        out.i64(self.until_s);
        out.list(self.versions.iter(), |out, (name, version)| {
            out.text(name);
            put_version(out, version);
        });
        out.list(self.releases.iter(), put_release);
        out.0
    }

    /// The place of stored bytes.
    ///
    /// # Errors
    /// When they are none, with where.
    pub fn decode(bytes: &[u8]) -> Result<Place, RecordError> {
        let mut reader = Reader { bytes, offset: 0 };
        if reader.u8()? != FORM {
            return Err(RecordError { what: "version", offset: 0 });
        }
        let began_s = reader.optional(Reader::i64)?;
        let stable = reader.optional(Reader::text)?;
        let until_s = reader.i64()?;
        let versions = reader.list(|reader| Ok((reader.text()?, version(reader)?)))?;
        let releases = reader.list(release)?;
        if reader.offset != bytes.len() {
            return Err(reader.invalid("end"));
        }
        Ok(Place { began_s, stable, until_s, versions: versions.into_iter().collect(), releases })
    }
}

fn put_version(out: &mut Writer, version: &Version) {
    out.i64(version.first_seen_s);
    out.optional(version.traffic_s, |out, (first_s, last_s)| {
        out.i64(first_s);
        out.i64(last_s);
    });
    out.bool(version.is_settled);
    out.bool(version.was_stable);
    out.optional(version.rolled_back, put_timed);
    out.u64(u64::from(version.instances));
    out.optional(version.role, |out, role| out.u8(place_of(&ROLES, role)));
    out.optional(version.weight, |out, (weight, at_s)| put_timed(out, (at_s, weight)));
    out.optional(version.previous.as_ref(), |out, name| out.text(name));
    out.bool(version.is_internal);
    out.optional(version.announced_s, Writer::i64);
}

fn version(reader: &mut Reader<'_>) -> Result<Version, RecordError> {
    Ok(Version {
        first_seen_s: reader.i64()?,
        traffic_s: reader.optional(|reader| Ok((reader.i64()?, reader.i64()?)))?,
        is_settled: reader.bool()?,
        was_stable: reader.bool()?,
        rolled_back: reader.optional(timed)?,
        instances: reader.u32()?,
        role: reader.optional(|reader| reader.word(&ROLES, "role"))?,
        weight: reader.optional(|reader| timed(reader).map(|(at_s, weight)| (weight, at_s)))?,
        previous: reader.optional(Reader::text)?,
        is_internal: reader.bool()?,
        announced_s: reader.optional(Reader::i64)?,
        seen_s: i64::MIN,
        windows: BTreeMap::new(),
    })
}

fn put_release(out: &mut Writer, release: &Release) {
    out.text(&release.version);
    out.optional(release.baseline.as_ref(), |out, name| out.text(name));
    out.i64(release.opened_s);
    out.u8(place_of(&STRATEGIES, release.strategy));
    out.optional(release.share, Writer::f64);
    out.f64(release.share_max);
    out.optional(release.weight, |out, (weight, at_s)| put_timed(out, (at_s, weight)));
    out.bool(release.is_internal);
    out.optional(release.full_since_s, Writer::i64);
    out.i64(release.beside_s);
    out.u64(release.leaked);
    out.u64(u64::from(release.baseline_instances));
    out.optional(release.called_back_s, Writer::i64);
    out.optional(release.ending, |out, (ending, at_s)| {
        out.u8(place_of(&ENDINGS, ending));
        out.i64(at_s);
    });
    out.i64(release.counted_s);
}

fn release(reader: &mut Reader<'_>) -> Result<Release, RecordError> {
    Ok(Release {
        version: reader.text()?,
        baseline: reader.optional(Reader::text)?,
        opened_s: reader.i64()?,
        strategy: reader.word(&STRATEGIES, "strategy")?,
        share: reader.optional(Reader::f64)?,
        share_max: reader.f64()?,
        weight: reader.optional(|reader| timed(reader).map(|(at_s, weight)| (weight, at_s)))?,
        is_internal: reader.bool()?,
        full_since_s: reader.optional(Reader::i64)?,
        beside_s: reader.i64()?,
        leaked: reader.u64()?,
        baseline_instances: reader.u32()?,
        called_back_s: reader.optional(Reader::i64)?,
        ending: reader.optional(|reader| Ok((reader.word(&ENDINGS, "ending")?, reader.i64()?)))?,
        counted_s: reader.i64()?,
    })
}

fn put_timed(out: &mut Writer, (at_s, value): (i64, f64)) {
    out.i64(at_s);
    out.f64(value);
}

fn timed(reader: &mut Reader<'_>) -> Result<(i64, f64), RecordError> {
    Ok((reader.i64()?, reader.f64()?))
}

fn place_of<T: Copy + PartialEq>(words: &[T], word: T) -> u8 {
    words.iter().position(|known| *known == word).expect("every word stands in its list") as u8
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    fn text(&mut self, text: &str) {
        self.u64(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut put: impl FnMut(&mut Self, T)) {
        self.u64(items.len() as u64);
        items.for_each(|item| put(self, item));
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl Reader<'_> {
    fn invalid(&self, what: &'static str) -> RecordError {
        RecordError { what, offset: self.offset }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let end = self.offset.saturating_add(N);
        let bytes = self.bytes.get(self.offset..end).ok_or(self.invalid("length"))?;
        self.offset = end;
        Ok(bytes.try_into().expect("as many as were asked for"))
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn bool(&mut self) -> Result<bool, RecordError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid("yes or no")),
        }
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.take().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        let value = self.u64()?;
        u32::try_from(value).map_err(|_| self.invalid("number"))
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.take().map(i64::from_le_bytes)
    }

    fn f64(&mut self) -> Result<f64, RecordError> {
        let value = f64::from_bits(self.u64()?);
        if value.is_finite() { Ok(value) } else { Err(self.invalid("fraction")) }
    }

    fn text(&mut self) -> Result<Arc<str>, RecordError> {
        let length = usize::try_from(self.u64()?).map_err(|_| self.invalid("length"))?;
        let end = self.offset.checked_add(length).ok_or(self.invalid("length"))?;
        let bytes = self.bytes.get(self.offset..end).ok_or(self.invalid("length"))?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.invalid("text"))?.into();
        self.offset = end;
        Ok(text)
    }

    fn word<T: Copy>(&mut self, words: &[T], what: &'static str) -> Result<T, RecordError> {
        let place = usize::from(self.u8()?);
        words.get(place).copied().ok_or(self.invalid(what))
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Option<T>, RecordError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, RecordError>) -> Result<Vec<T>, RecordError> {
        let length = self.u64()?;
        // Each item has a byte at least: a wild length ends here and takes no memory.
        if length > (self.bytes.len() - self.offset) as u64 {
            return Err(self.invalid("length"));
        }
        (0..length).map(|_| read(self)).collect()
    }
}
