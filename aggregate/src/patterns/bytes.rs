//! The section of the committed state that holds the patterns; described in `aggregate/FORMAT.md`.

use shipwake_model::ReleaseId;
use shipwake_model::pattern::Level;

use super::Patterns;
use super::book::{Entry, Seen};
use crate::state_bytes::{Reader, put_i64, put_text, put_u64};

/// All patterns, by service, in the order in which they were learnt.
pub(crate) fn encode(patterns: &Patterns) -> Vec<u8> {
    let mut out = Vec::new();
    put_u64(&mut out, patterns.services().count() as u64);
    for (key, entries) in patterns.services() {
        for text in key {
            put_text(&mut out, text);
        }
        let entries: Vec<&Entry> = entries.collect();
        put_u64(&mut out, entries.len() as u64);
        for entry in entries {
            encode_entry(entry, &mut out);
        }
    }
    out
}

/// Takes the patterns back.
pub(crate) fn decode(reader: &mut Reader<'_>, patterns: &mut Patterns) -> Result<(), String> {
    for _ in 0..reader.u64()? {
        let mut text = || reader.text().map(Into::into);
        let (service, namespace, environment) = (text()?, text()?, text()?);
        let release = ReleaseId { service, namespace, environment, version: "".into() };
        patterns.book(&release);
        for _ in 0..reader.u64()? {
            let entry = decode_entry(reader)?;
            patterns.restore(&release, entry);
        }
    }
    Ok(())
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(&entry.id.to_le_bytes());
    put_text(out, &entry.shape);
    put_text(out, &entry.example);
    out.push(entry.wide.into());
    put_i64(out, entry.received_ns);
    put_u64(out, entry.seen.len() as u64);
    for seen in &entry.seen {
        put_text(out, &seen.version);
        out.push(seen.level as u8);
        put_i64(out, seen.first_ns);
        put_i64(out, seen.last_ns);
        put_u64(out, seen.count);
    }
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<Entry, String> {
    let mut entry = Entry {
        id: u64::from_le_bytes(reader.array()?),
        shape: reader.text()?.into(),
        example: reader.text()?.into(),
        wide: reader.u8()? != 0,
        received_ns: reader.i64()?,
        seen: Vec::new(),
    };
    for _ in 0..reader.u64()? {
        entry.seen.push(Seen {
            version: reader.text()?.into(),
            level: Level::from_number(reader.u8()?).ok_or("unknown level")?,
            first_ns: reader.i64()?,
            last_ns: reader.i64()?,
            count: reader.u64()?,
        });
    }
    Ok(entry)
}
