//! Markers and changes of verdicts in the committed state: the sections 5 and 6 of `aggregate/FORMAT.md`; change both together.

use std::sync::Arc;

use shipwake_model::{Marker, ReleaseId, VerdictChange};
use shipwake_store::{MarkerRow, VerdictRow};

use super::Markers;
use super::kept::{Entry, Kept};
use crate::state_bytes::{Reader, put_i64, put_text, put_u64};

impl Markers {
    pub(crate) fn encode_markers(&self) -> Vec<u8> {
        encode(&self.markers, |row| row.marker.attributes())
    }

    pub(crate) fn encode_verdicts(&self) -> Vec<u8> {
        encode(&self.verdicts, |row| row.change.attributes())
    }

    pub(crate) fn decode_markers(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        decode(reader, |release, at_ns, received_ns, get| {
            let marker = Arc::new(Marker::read(release, at_ns, get)?);
            self.markers.keep(MarkerRow { marker, received_ns });
            Ok(())
        })
    }

    pub(crate) fn decode_verdicts(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        decode(reader, |release, at_ns, received_ns, get| {
            let change = Arc::new(VerdictChange::read(release, at_ns, get)?);
            self.verdicts.keep(VerdictRow { change, received_ns });
            Ok(())
        })
    }
}

fn encode<E: Entry>(kept: &Kept<E>, attributes: impl Fn(&E) -> Vec<(&'static str, String)>) -> Vec<u8> {
    let mut out = Vec::new();
    put_u64(&mut out, kept.iter().count() as u64);
    for entry in kept.iter() {
        let ReleaseId { service, namespace, environment, version } = entry.release();
        for text in [service, namespace, environment, version] {
            put_text(&mut out, text);
        }
        put_i64(&mut out, entry.at_ns());
        put_i64(&mut out, entry.received_ns());
        let attributes = attributes(entry);
        put_u64(&mut out, attributes.len() as u64);
        for (name, text) in &attributes {
            put_text(&mut out, name);
            put_text(&mut out, text);
        }
    }
    out
}

/// Looks an attribute up by its name.
type Get<'a> = &'a dyn Fn(&str) -> Option<String>;

fn decode(
    reader: &mut Reader<'_>,
    mut found: impl FnMut(&ReleaseId, i64, i64, Get<'_>) -> Result<(), String>,
) -> Result<(), String> {
    for _ in 0..reader.u64()? {
        let mut text = || reader.text().map(Into::into);
        let release = ReleaseId { service: text()?, namespace: text()?, environment: text()?, version: text()? };
        let (at_ns, received_ns) = (reader.i64()?, reader.i64()?);
        let mut attributes: Vec<(String, String)> = Vec::new();
        for _ in 0..reader.u64()? {
            attributes.push((reader.text()?.to_owned(), reader.text()?.to_owned()));
        }
        let get = |name: &str| attributes.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone());
        found(&release, at_ns, received_ns, &get)?;
    }
    Ok(())
}
