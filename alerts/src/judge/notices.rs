//! Markers, as rollouts take them: what somebody announced refines what traffic tells.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use shipwake_model::marker::{DeployStatus, Exposure, Marker, MarkerKind, Role as Said};
use shipwake_rollout::{Notice, NoticeKind, Place, Role};
use shipwake_store::MarkerQuery;

use super::questions::place_of;
use super::windows::Windows;
use crate::board::PlaceId;

/// Markers of so long ago are read at the first look: what was said of releases that may still be open.
const FIRST_MS: i64 = 86_400_000;
/// The same at every later look: a marker may be told late.
const LATE_MS: i64 = 3_600_000;
/// Markers that are read at a time.
const MARKERS_MAX: usize = 2_000;

/// Which markers were taken, by id, with when they were said.
#[derive(Debug, Default)]
pub(crate) struct Taken(HashMap<String, Option<i64>>);

impl Taken {
    /// Takes markers that are new, or were corrected, in the order of their times.
    pub fn take(&mut self, windows: &dyn Windows, places: &mut BTreeMap<PlaceId, Place>, now_ms: i64) {
        let reach_ms = if self.0.is_empty() { FIRST_MS } else { LATE_MS };
        let mut rows = windows.markers(&MarkerQuery {
            from_ms: now_ms - reach_ms,
            to_ms: now_ms + LATE_MS,
            limit: MARKERS_MAX,
            ..MarkerQuery::all()
        });
        rows.retain(|row| self.0.get(&row.marker.id) != Some(&row.marker.said_ns));
        rows.sort_by_key(|row| (row.marker.at_ns, row.marker.said_ns));
        if self.0.len() > 4 * MARKERS_MAX {
            self.0.clear();
        }
        for row in rows {
            self.0.insert(row.marker.id.clone(), row.marker.said_ns);
            if let Some(notice) = notice(&row.marker) {
                places.entry(place_of(&row.marker.release)).or_default().announce(&notice);
            }
        }
    }
}

/// What a marker announces, if it is about the traffic of a version.
fn notice(marker: &Marker) -> Option<Notice> {
    let kind = match marker.kind {
        MarkerKind::Deploy | MarkerKind::Weight => NoticeKind::Deploy,
        MarkerKind::Promote => NoticeKind::Promote,
        MarkerKind::Rollback => NoticeKind::Rollback,
        MarkerKind::Toggle | MarkerKind::Freeze | MarkerKind::Note => return None,
    };
    if !marker.is_versioned() || marker.status == Some(DeployStatus::Failed) {
        return None;
    }
    let role = match marker.role {
        Some(Said::Stable) => Some(Role::Stable),
        Some(Said::Candidate) => Some(Role::Candidate),
        Some(Said::Dark) => Some(Role::Dark),
        Some(Said::Shadow) => Some(Role::Shadow),
        Some(Said::Retired) | None => None,
    };
    Some(Notice {
        kind,
        version: marker.release.version.clone(),
        at_s: marker.at_ns.div_euclid(1_000_000_000),
        previous: (!marker.previous.is_empty()).then(|| Arc::from(marker.previous.as_str())),
        role,
        weight: marker.weight,
        is_internal: marker.exposure == Some(Exposure::Internal),
    })
}
