//! What was said about releases, over the wire: markers and changes of verdicts in the form that they have as log records, so that
//! there is one list of their fields.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shipwake_model::{Marker, VerdictChange};
use shipwake_store::{MarkerRow, VerdictRow};

use super::places::{KnownReleases, Releases};

/// A marker, or a change of a verdict.
#[derive(Serialize, Deserialize)]
pub(super) struct SaidForm {
    release: usize,
    at_ns: i64,
    received_ns: i64,
    attributes: Vec<(String, String)>,
}

impl SaidForm {
    pub fn of_marker(row: &MarkerRow, releases: &mut Releases) -> Self {
        let marker = &row.marker;
        let release = releases.number(&Arc::new(marker.release.clone()));
        Self { release, at_ns: marker.at_ns, received_ns: row.received_ns, attributes: owned(marker.attributes()) }
    }

    pub fn of_verdict(row: &VerdictRow, releases: &mut Releases) -> Self {
        let change = &row.change;
        let release = releases.number(&Arc::new(change.release.clone()));
        Self { release, at_ns: change.at_ns, received_ns: row.received_ns, attributes: owned(change.attributes()) }
    }

    pub fn read_marker(self, releases: &KnownReleases) -> Result<MarkerRow, String> {
        let release = releases.get(self.release)?;
        let marker = Marker::read(&release, self.at_ns, |name| self.get(name))?;
        Ok(MarkerRow { marker: Arc::new(marker), received_ns: self.received_ns })
    }

    pub fn read_verdict(self, releases: &KnownReleases) -> Result<VerdictRow, String> {
        let release = releases.get(self.release)?;
        let change = VerdictChange::read(&release, self.at_ns, |name| self.get(name))?;
        Ok(VerdictRow { change: Arc::new(change), received_ns: self.received_ns })
    }

    fn get(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone())
    }
}

fn owned(attributes: Vec<(&'static str, String)>) -> Vec<(String, String)> {
    attributes.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}
