//! Releases and sketches in an answer: a release is named once and then by its number, a sketch lies in the body and the head has
//! its length.

use std::collections::HashMap;
use std::sync::Arc;

use shipwake_model::ReleaseId;
use shipwake_model::sketch::{Distinct, Exponential, HdrCells, Sketch};

use super::parts::Pieces;

/// Service, namespace, environment, version.
pub(super) type ReleaseForm = (String, String, String, String);

/// The releases that an answer speaks of, while it is written.
#[derive(Default)]
pub(super) struct Releases {
    numbers: HashMap<Arc<ReleaseId>, usize>,
    pub forms: Vec<ReleaseForm>,
}

impl Releases {
    pub fn number(&mut self, release: &Arc<ReleaseId>) -> usize {
        if let Some(number) = self.numbers.get(release) {
            return *number;
        }
        let ReleaseId { service, namespace, environment, version } = &**release;
        self.forms.push((service.to_string(), namespace.to_string(), environment.to_string(), version.to_string()));
        self.numbers.insert(release.clone(), self.forms.len() - 1);
        self.forms.len() - 1
    }
}

/// The same while it is read.
pub(super) struct KnownReleases(Vec<Arc<ReleaseId>>);

impl KnownReleases {
    pub fn new(forms: Vec<ReleaseForm>) -> Self {
        let release = |(service, namespace, environment, version): ReleaseForm| ReleaseId {
            service: service.into(),
            namespace: namespace.into(),
            environment: environment.into(),
            version: version.into(),
        };
        Self(forms.into_iter().map(|form| Arc::new(release(form))).collect())
    }

    pub fn get(&self, number: usize) -> Result<Arc<ReleaseId>, String> {
        self.0.get(number).cloned().ok_or_else(|| format!("it names release {number} of {}", self.0.len()))
    }
}

/// Puts a sketch into the body and gives its length; an empty histogram has none.
pub(super) fn put_hdr(body: &mut Vec<u8>, cells: &HdrCells) -> u64 {
    if cells.is_empty() { 0 } else { put(body, &Sketch::Hdr(cells.clone())) }
}

/// The histogram that [`put_hdr`] wrote, with what its own bytes do not say.
pub(super) fn take_hdr(pieces: &mut Pieces, length: u64, (sum, min, max): (u64, u64, u64)) -> Result<HdrCells, String> {
    if length == 0 {
        return Ok(HdrCells::new());
    }
    match take(pieces, length)? {
        Sketch::Hdr(cells) => Ok(cells.with_summary(sum, min, max)),
        other => Err(format!("it has a {} sketch in the place of a histogram", other.form())),
    }
}

/// Puts a distinct count into the body, if there is one.
pub(super) fn put_distinct(body: &mut Vec<u8>, distinct: Option<&Distinct>) -> Option<u64> {
    distinct.map(|distinct| put(body, &Sketch::Distinct(distinct.clone())))
}

/// What [`put_distinct`] wrote.
pub(super) fn take_distinct(pieces: &mut Pieces, length: Option<u64>) -> Result<Option<Distinct>, String> {
    let Some(length) = length else { return Ok(None) };
    match take(pieces, length)? {
        Sketch::Distinct(distinct) => Ok(Some(distinct)),
        other => Err(format!("it has a {} sketch in the place of a distinct count", other.form())),
    }
}

/// Puts a distribution of values into the body, if there is one.
pub(super) fn put_values(body: &mut Vec<u8>, values: Option<&Exponential>) -> Option<u64> {
    values.map(|values| put(body, &Sketch::Exponential(values.clone())))
}

/// What [`put_values`] wrote.
pub(super) fn take_values(pieces: &mut Pieces, length: Option<u64>) -> Result<Option<Exponential>, String> {
    let Some(length) = length else { return Ok(None) };
    match take(pieces, length)? {
        Sketch::Exponential(values) => Ok(Some(values)),
        other => Err(format!("it has a {} sketch in the place of a distribution", other.form())),
    }
}

fn put(body: &mut Vec<u8>, sketch: &Sketch) -> u64 {
    let bytes = sketch.encode();
    body.extend_from_slice(&bytes);
    bytes.len() as u64
}

fn take(pieces: &mut Pieces, length: u64) -> Result<Sketch, String> {
    Sketch::decode(&pieces.next(length)?).map_err(|error| format!("a sketch: {error}"))
}
