//! A replay from a running Shipwake: what was stored is asked for over SQL, in slices, as the clock goes on; nothing is changed there.

use std::sync::Arc;

use shipwake_model::Kpi;

use super::ask::{Asker, Filter};
use super::past::TooMuch;
use super::report::{Report, Then};
use super::stored::{Stored, StoredWindow};
use super::{HISTORY_S, LEAD_S, Replay, rows};
use crate::judge::JudgeConfig;
use crate::policies::Policies;
use crate::time;

/// Windows are asked for in slices of so many seconds.
const SLICE_S: i64 = 600;
/// Cells of windows in memory at a time: some hundred bytes each.
const CELLS_MAX: usize = 2_000_000;
/// Markers of so long before are told: what was said of releases that were still open.
const MARKERS_S: i64 = 86_400;

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Base URL of the pages, without a slash at the end.
    pub base: String,
    /// Releases whose first request came from here on, in seconds since the epoch.
    pub from_s: i64,
    /// Up to when they are followed.
    pub to_s: i64,
    /// Only this service.
    pub service: Option<String>,
    /// Only this environment.
    pub env: Option<String>,
    /// By what they are judged.
    pub policies: Policies,
    /// What the policies are called in the report; `None` are the defaults.
    pub policies_name: Option<String>,
    /// The declared KPIs.
    pub kpis: Arc<[Kpi]>,
}

/// Why there is no replay.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// Nobody answers.
    #[error("no Shipwake answers at {base} (start it with `shipwake serve`, or say --url): {cause}")]
    Away {
        /// Where.
        base: String,
        /// What happened.
        cause: String,
    },
    /// The question was refused, or the answer is of no use.
    #[error("{0}")]
    Refused(String),
    /// A question was refused, with what was asked for.
    #[error("asking for {what} failed: {why}")]
    Of {
        /// What was asked for.
        what: &'static str,
        /// Why.
        why: Box<ReplayError>,
    },
    /// Something that was stored cannot be read.
    #[error("{what} cannot be read: {reason}")]
    Unreadable {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// More than may be kept.
    #[error("{0}: name a --service")]
    TooMuch(#[from] TooMuch),
}

/// The same with what was asked for.
pub(super) fn of<T>(what: &'static str, result: Result<T, ReplayError>) -> Result<T, ReplayError> {
    result.map_err(|why| ReplayError::Of { what, why: Box::new(why) })
}

/// Judges the releases of a time again, and puts what was called then beside it.
///
/// # Errors
/// When nobody answers, or there is more than fits.
pub async fn run(request: Request) -> Result<Report, ReplayError> {
    let Request { base, from_s, to_s, service, env, policies, policies_name, kpis } = request;
    let asker = Asker::new(&base, Filter { service, env })?;
    let begin_s = from_s.div_euclid(10) * 10 - LEAD_S;
    let mut notes = Vec::new();
    let mut replay = Replay::new(JudgeConfig { policies, kpis, ..JudgeConfig::default() }, begin_s, CELLS_MAX);
    let releases = rows::releases(&asker).await?;
    for known in &releases {
        replay.know_release(known.release.clone(), known.first_seen_ms * 1_000_000, known.guessed);
    }
    match rows::instances(&asker, begin_s, to_s).await {
        Ok(found) => found.iter().for_each(|(release, at_s, many)| replay.know_instances(release, *at_s, *many)),
        Err(reason) => notes.push(format!("instances are told by their slots, of which there are eight: {reason}")),
    }
    replay.know_markers(rows::markers(&asker, begin_s - MARKERS_S, to_s).await?);
    replay.take(rows::known_patterns(&asker, to_s).await?)?;
    let mut seen = Seen::default();
    let mut at_s = begin_s - HISTORY_S.div_euclid(10) * 10;
    while at_s < to_s {
        let until_s = (at_s + SLICE_S).min(to_s);
        let windows = rows::windows(&asker, at_s, until_s).await?;
        seen.look(&windows);
        replay.take(windows)?;
        replay.run_until(until_s);
        at_s = until_s;
    }
    let then = Then { calls: rows::calls(&asker, from_s, to_s).await?, releases };
    notes.extend(seen.notes(from_s));
    if replay.untold() > 0 {
        notes.push(format!("{} calls are of releases beyond the bound: name a --service", replay.untold()));
    }
    Ok(Report::of([from_s, to_s], policies_name, replay, then, notes))
}

/// What there was of windows.
#[derive(Debug, Default)]
struct Seen {
    first_s: Option<i64>,
    fine_s: Option<i64>,
}

impl Seen {
    fn look(&mut self, windows: &[StoredWindow]) {
        for window in windows.iter().filter(|window| matches!(window.what, Stored::Health { .. })) {
            let first = |known: Option<i64>| Some(known.map_or(window.start_s, |known| known.min(window.start_s)));
            self.first_s = first(self.first_s);
            if window.length_s == 1 {
                self.fine_s = first(self.fine_s);
            }
        }
    }

    fn notes(&self, from_s: i64) -> Vec<String> {
        let at = |at_s: i64| time::rfc3339(at_s * 1_000);
        let mut notes = Vec::new();
        match self.first_s {
            None => notes.push("there are no windows of ten seconds of that time: it is before the data, or they have outlived their time (retention.windows_10s_days)".to_owned()),
            Some(first_s) if first_s > from_s => {
                notes.push(format!("windows of ten seconds begin at {}: what was before cannot be judged again", at(first_s)));
            }
            Some(_) => {}
        }
        match self.fine_s {
            _ if self.first_s.is_none() => {}
            None => notes.push("windows of a second are gone (they are kept for fifteen minutes): times of calls are to ten seconds, at a window's end".to_owned()),
            Some(fine_s) if fine_s > from_s => {
                notes.push(format!("windows of a second are there from {} on: before that, times of calls are to ten seconds, at a window's end", at(fine_s)));
            }
            Some(_) => {}
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_lack_is_said() {
        let seen = Seen { first_s: Some(50), fine_s: None };
        assert!(seen.notes(60)[0].contains("fifteen minutes"));
        assert_eq!(Seen { first_s: Some(50), fine_s: Some(55) }.notes(60), Vec::<String>::new());
        assert!(Seen { first_s: Some(70), fine_s: Some(70) }.notes(60)[0].contains("cannot be judged again"));
        assert!(Seen::default().notes(60)[0].contains("retention"));
    }
}
