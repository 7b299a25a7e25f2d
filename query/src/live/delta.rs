//! What changed between two answers of one topic. Pure.
//!
//! A delta of `service.release` has the columns from the first window that changed on; a client replaces by time and drops
//! what lies before `meta.from`. A delta of `overview` has the services that changed and the events that are new. Where a
//! delta could not say what changed (something is gone) or would be hardly smaller, there is none: the full answer is sent.

use crate::live::topic::Answer;
use crate::pages::wire::{Event, Lane, Overview, ServiceRelease};

/// A delta larger than this part of the full answer is not worth the client's work.
const WORTH: f64 = 0.7;

/// The delta as JSON, or `None` when the full answer has to be sent. `full_bytes` is the size of the full answer.
pub(crate) fn between(old: &Answer, new: &Answer, full_bytes: usize) -> Option<String> {
    let text = match (old, new) {
        (Answer::Overview(old), Answer::Overview(new)) => Answer::Overview(overview(old, new)?).text(),
        (Answer::ServiceRelease(old), Answer::ServiceRelease(new)) => Answer::ServiceRelease(service(old, new)?).text(),
        // What is new is all that an answer has.
        (Answer::LogsTail(_), Answer::LogsTail(_)) => return Some(new.text()),
        _ => return None,
    };
    ((text.len() as f64) < WORTH * full_bytes as f64).then_some(text)
}

fn overview(old: &Overview, new: &Overview) -> Option<Overview> {
    let same = |a: &&crate::pages::wire::OverviewService, b: &crate::pages::wire::OverviewService| {
        a.service == b.service && a.env == b.env && a.namespace == b.namespace
    };
    let gone = old.services.iter().any(|before| !new.services.iter().any(|now| same(&before, now)));
    if gone || gone_events(&old.events, &new.events) {
        return None;
    }
    let changed =
        new.services.iter().filter(|now| old.services.iter().find(|before| same(now, before)) != Some(*now)).cloned();
    Some(Overview {
        meta: new.meta.clone(),
        summary: new.summary.clone(),
        services: changed.collect(),
        events: new_events(&old.events, &new.events),
    })
}

fn service(old: &ServiceRelease, new: &ServiceRelease) -> Option<ServiceRelease> {
    if old.meta.step_s != new.meta.step_s || old.service != new.service || old.env != new.env {
        return None;
    }
    let versions =
        |answer: &ServiceRelease| -> Vec<String> { answer.lanes.iter().map(|lane| lane.version.clone()).collect() };
    if versions(old) != versions(new) || gone_events(&old.events, &new.events) {
        return None;
    }
    let first = first_changed_window(old, new)?;
    let lanes = new.lanes.iter().map(|lane| Lane { columns: lane.columns.tail(first), ..lane.clone() });
    Some(ServiceRelease {
        t: new.t[first..].to_vec(),
        lanes: lanes.collect(),
        events: new_events(&old.events, &new.events),
        ..new.clone()
    })
}

/// The first window of the new answer that the old one does not have or has with other numbers. `None` when the two do not
/// lie over each other.
fn first_changed_window(old: &ServiceRelease, new: &ServiceRelease) -> Option<usize> {
    let Some(first_new) = new.t.first() else { return Some(0) };
    let offset = old.t.iter().position(|t| t == first_new)?;
    let unchanged = |window: usize| {
        old.t.get(window + offset) == new.t.get(window)
            && old.lanes.iter().zip(&new.lanes).all(|(o, n)| n.columns.same_at(window, &o.columns, window + offset))
    };
    Some((0..new.t.len()).find(|window| !unchanged(*window)).unwrap_or(new.t.len()))
}

fn new_events(old: &[Event], new: &[Event]) -> Vec<Event> {
    new.iter().filter(|event| !old.contains(event)).cloned().collect()
}

/// Events leave a list at its old end. One that left from the middle was taken back, which a delta cannot say.
fn gone_events(old: &[Event], new: &[Event]) -> bool {
    let oldest = new.iter().map(|event| event.t).min();
    old.iter().any(|event| oldest.is_none_or(|oldest| event.t >= oldest) && !new.contains(event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::wire::{Columns, Meta, Pair};

    fn columns(values: &[u64]) -> Columns {
        let numbers: Vec<Option<f64>> = values.iter().map(|n| Some(*n as f64)).collect();
        Columns {
            share: numbers.clone(),
            rps: numbers.clone(),
            err: numbers.clone(),
            p50: numbers.clone(),
            p95: numbers.clone(),
            p99: numbers,
            n: values.iter().map(|n| Some(*n)).collect(),
            kpi: [("orders".to_owned(), values.iter().map(|n| Some(*n as f64)).collect())].into(),
        }
    }

    fn release(t: &[i64], lanes: &[(&str, &[u64])]) -> ServiceRelease {
        let lane = |(version, values): &(&str, &[u64])| Lane {
            version: (*version).to_owned(),
            role: "other",
            columns: columns(values),
            ..Lane::default()
        };
        ServiceRelease {
            meta: Meta { from: t.first().copied(), step_s: Some(10), ..Meta::default() },
            service: "s".into(),
            env: "prod".into(),
            namespaces: vec![],
            pair: Pair::default(),
            headline: String::new(),
            differences: vec![],
            source: None,
            approximate: false,
            unversioned: false,
            t: t.to_vec(),
            lanes: lanes.iter().map(lane).collect(),
            routes: vec![],
            patterns: vec![],
            patterns_since: None,
            kpis: vec![],
            usage: vec![],
            toggles: vec![],
            events: vec![],
        }
    }

    #[test]
    fn the_last_windows_are_appended_and_replaced() {
        let old = release(&[0, 10, 20], &[("1", &[5, 5, 3])]);
        let new = release(&[10, 20, 30], &[("1", &[5, 4, 1])]);
        let delta = service(&old, &new).expect("a delta");
        assert_eq!(delta.t, [20, 30]);
        assert_eq!(delta.lanes[0].columns.n, [Some(4), Some(1)]);
        assert_eq!(delta.lanes[0].columns.kpi["orders"], [Some(4.0), Some(1.0)]);
        assert_eq!(delta.meta.from, Some(10), "what lies before is dropped by the client");
    }

    #[test]
    fn nothing_new_has_no_windows() {
        let old = release(&[0, 10], &[("1", &[5, 5])]);
        assert_eq!(service(&old, &old).expect("a delta").t, Vec::<i64>::new());
    }

    #[test]
    fn other_versions_or_another_grid_need_the_full_answer() {
        let old = release(&[0, 10], &[("1", &[5, 5])]);
        assert!(service(&old, &release(&[0, 10], &[("1", &[5, 5]), ("2", &[0, 1])])).is_none());
        assert!(service(&old, &release(&[5, 15], &[("1", &[5, 5])])).is_none());
        let mut coarser = old.clone();
        coarser.meta.step_s = Some(60);
        assert!(service(&old, &coarser).is_none());
    }

    #[test]
    fn an_event_that_was_taken_back_needs_the_full_answer() {
        let event = |t: i64| Event {
            t,
            kind: "release",
            service: "s".into(),
            env: "prod".into(),
            version: "1".into(),
            share: None,
            title: String::new(),
        };
        assert!(!gone_events(&[event(3), event(1)], &[event(4), event(3)]), "an old one left");
        assert!(gone_events(&[event(3), event(2)], &[event(3), event(1)]));
        assert_eq!(new_events(&[event(3)], &[event(4), event(3)]), [event(4)]);
    }
}
