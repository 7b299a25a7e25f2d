//! What the judge asks windows for, and what it finds of a release among their answers.

use shipwake_model::ReleaseId;
use shipwake_store::{HealthQuery, MeasureQuery, ReleaseRow};

use crate::board::PlaceId;

/// How long shards keep windows of ten seconds.
pub(crate) const REACH_S: i64 = 3_540;

pub(crate) fn place_of(release: &ReleaseId) -> PlaceId {
    (release.namespace.clone(), release.service.clone(), release.environment.clone())
}

/// The windows of ten seconds of a place, without routes.
pub(crate) fn query_of_place((_, service, environment): &PlaceId, from_s: i64, to_s: i64) -> HealthQuery {
    HealthQuery {
        service: Some(service.to_string()),
        environment: Some(environment.to_string()),
        ..query(None, from_s, to_s, false)
    }
}

pub(super) fn query(of: Option<&ReleaseId>, from_s: i64, to_s: i64, by_route: bool) -> HealthQuery {
    HealthQuery {
        service: of.map(|id| id.service.to_string()),
        environment: of.map(|id| id.environment.to_string()),
        from_ms: from_s * 1_000,
        to_ms: to_s * 1_000,
        step_s: 10,
        by_route,
    }
}

pub(super) fn measures(id: &ReleaseId, signals: &'static [&'static str], from_s: i64, to_s: i64) -> MeasureQuery {
    MeasureQuery {
        service: Some(id.service.to_string()),
        environment: Some(id.environment.to_string()),
        signals,
        values: &[],
        from_ms: from_s * 1_000,
        to_ms: to_s * 1_000,
        step_s: 10,
    }
}

/// What is known of a version of a release's service. The version is asked first: it tells nearly all rows apart, and looks are many.
pub(super) fn row_of<'a>(rows: &'a [ReleaseRow], id: &ReleaseId, version: Option<&str>) -> Option<&'a ReleaseRow> {
    let version = version?;
    rows.iter().find(|row| &*row.release.version == version && place_of(&row.release) == place_of(id))
}

/// How many instances of a version run; `None` where its records name none.
pub(super) fn instances_of(rows: &[ReleaseRow], id: &ReleaseId, version: Option<&str>) -> Option<u32> {
    let row = row_of(rows, id, version)?;
    // One that was guessed may be many behind one address.
    (row.instances > 1 || (row.instances == 1 && !row.instance_guessed)).then_some(row.instances)
}
