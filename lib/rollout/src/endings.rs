//! How releases go on and end, from the traffic of complete windows alone.

use std::sync::Arc;

use crate::place::{Limits, Place};
use crate::release::{Ending, Release, Strategy};
use crate::version::WINDOW_S;

/// A share this many times smaller than the largest it had is what is left of a release that was taken back.
const REMAINS: f64 = 20.0;
/// What had all the traffic has it no more when others have so many times what lingers.
const LOST_AGAIN: f64 = 5.0;
/// A rolling update has a fifth of the traffic before it is told from a canary.
const ROLLING_SHARE_MIN: f64 = 0.2;

/// Others have taken over what a release lost once they got this part of it: half way between all and nothing.
const TAKEN_OVER: f64 = 0.5;
/// What it had is its busiest minute of the last so many seconds: traffic is also taken back step by step. After a start no more need be
/// known.
const HAD_S: i64 = 240;
/// A version that sent anything so lately runs, in seconds.
const RUNS_S: i64 = 30;

/// Requests of the last minute.
struct Minute {
    own: u64,
    others: u64,
}

/// Follows every open release of a place.
pub(crate) fn follow(place: &mut Place, limits: &Limits) {
    for at in 0..place.releases.len() {
        if !place.releases[at].is_open() {
            continue;
        }
        let mut release = place.releases[at].clone();
        count(&mut release, place, limits);
        let minute = minute_of(place, &release, limits);
        take_share(&mut release, &minute);
        tell_full(&mut release, place, &minute, limits);
        tell_strategy(&mut release, place, limits);
        release.ending = ending(&release, place, &minute, limits);
        if let Some((ending, _)) = release.ending {
            settle(place, &release, ending);
        }
        place.releases[at] = release;
    }
}

/// Counts windows once that have become complete: time side by side, and requests that leaked.
fn count(release: &mut Release, place: &Place, limits: &Limits) {
    let from_s = release.counted_s;
    if place.until_s <= from_s {
        return;
    }
    let Some(own) = place.versions.get(&release.version) else { return };
    let of_baseline = release.baseline.as_ref().and_then(|name| place.versions.get(name));
    for (start_s, requests) in own.windows.range(from_s..place.until_s) {
        let beside = of_baseline.map_or(0, |of| of.requests(*start_s, start_s + WINDOW_S));
        let both = beside as f64 >= limits.leak_share * (*requests as f64) && beside > 0;
        release.beside_s += if both { WINDOW_S } else { 0 };
    }
    if let Some(full_s) = release.full_since_s {
        let leaks_s = from_s.max(full_s + limits.gone_s);
        let others = place.versions.iter().filter(|(name, _)| **name != release.version);
        release.leaked =
            others.fold(release.leaked, |sum, (_, of)| sum.saturating_add(of.requests(leaks_s, place.until_s)));
    }
    release.counted_s = place.until_s;
}

fn minute_of(place: &Place, release: &Release, limits: &Limits) -> Minute {
    let from_s = place.until_s - limits.gone_s.max(WINDOW_S);
    let requests = |name: &Arc<str>| place.versions.get(name).map_or(0, |of| of.requests(from_s, place.until_s));
    let all = place.versions.keys().fold(0u64, |sum, name| sum.saturating_add(requests(name)));
    let own = requests(&release.version);
    Minute { own, others: all - own }
}

fn take_share(release: &mut Release, minute: &Minute) {
    let all = minute.own.saturating_add(minute.others);
    release.share = (all > 0).then(|| minute.own as f64 / all as f64);
    release.share_max = release.share_max.max(release.share.unwrap_or(0.0));
}

/// Whether nobody else has traffic to speak of.
fn tell_full(release: &mut Release, place: &Place, minute: &Minute, limits: &Limits) {
    let all = minute.own.saturating_add(minute.others) as f64;
    let others = minute.others as f64;
    if release.baseline.is_some()
        && minute.own > 0
        && others <= limits.leak_share * all
        && place.until_s >= release.opened_s + limits.gone_s
    {
        release.full_since_s = release.full_since_s.or(Some(place.until_s));
    } else if others > LOST_AGAIN * limits.leak_share * all {
        release.full_since_s = None;
    }
}

fn tell_strategy(release: &mut Release, place: &Place, limits: &Limits) {
    if matches!(release.strategy, Strategy::Dark | Strategy::BeforeAfter) {
        return;
    }
    let instances = release.baseline.as_ref().and_then(|name| place.versions.get(name)).map_or(0, |of| of.instances);
    let is_full = release.full_since_s.is_some();
    if is_full && release.beside_s < limits.beside_min_s {
        release.strategy = Strategy::BlueGreen;
    } else if !is_full
        && release.weight.is_none()
        && release.share.is_some_and(|share| share >= ROLLING_SHARE_MIN)
        && instances < release.baseline_instances
    {
        release.strategy = Strategy::Rolling;
    }
}

/// Whether the release has all the traffic now, has lost it, or goes on.
fn ending(release: &Release, place: &Place, minute: &Minute, limits: &Limits) -> Option<(Ending, i64)> {
    let until_s = place.until_s;
    let own = &place.versions.get(&release.version)?;
    // It has had the time to take traffic in complete windows.
    if until_s < release.opened_s + limits.gone_s {
        return None;
    }
    let remains = release.share.unwrap_or(0.0);
    let is_gone = minute.own == 0 && !own.has_traffic_since(until_s - limits.gone_s);
    // Who has just come back has no complete window yet.
    let lingers = minute.own > 0 && remains * REMAINS < release.share_max;
    let is_taken_back = release.share_max > limits.leak_share && lingers;
    if minute.others > 0 && (is_gone || is_taken_back) {
        let from_s = until_s - limits.gone_s;
        let is_later = |name: &Arc<str>| {
            let opened = |of: &&Release| of.version == *name && of.opened_s > release.opened_s;
            place
                .releases
                .iter()
                .any(|of| opened(&of) && of.ending.is_none_or(|(ending, _)| ending == Ending::Promoted))
        };
        let of_later = |(name, of): (&Arc<str>, &crate::version::Version)| {
            if is_later(name) { of.requests(from_s, until_s) } else { 0 }
        };
        // Whoever has most of what it had.
        let later: u64 = place.versions.iter().map(of_later).sum();
        let before = release.baseline.as_ref().and_then(|name| place.versions.get(name));
        let back = before.map_or(0, |of| of.requests(from_s, until_s));
        if later > back && release.called_back_s.is_none() {
            return Some((Ending::Replaced, until_s));
        }
        let was_taken = release.called_back_s.is_some()
            || own.runs_since(until_s - RUNS_S)
            || others_took_over(&release.version, place, limits);
        if was_taken {
            return Some((Ending::RolledBack, until_s));
        }
        // A version that dies looks like this, too.
        let is_silent = is_gone && !own.has_traffic_since(until_s - limits.silent_s);
        return is_silent.then_some((Ending::GoneSilent, until_s));
    }
    let full_s = release.full_since_s?;
    (until_s >= full_s + limits.watch_s).then_some((Ending::Promoted, until_s))
}

/// Whether other versions got about what a version had, in the minute after it stopped. Of traffic that is not remembered any more
/// nothing is said.
fn others_took_over(version: &Arc<str>, place: &Place, limits: &Limits) -> bool {
    let (Some(own), until_s) = (place.versions.get(version), place.until_s) else { return false };
    let Some((_, last_s)) = own.traffic_s else { return false };
    let minute_s = limits.gone_s.max(WINDOW_S);
    let after_s = last_s + WINDOW_S;
    if after_s + minute_s > until_s {
        return false;
    }
    let others = |from_s: i64| {
        let of_others = place.versions.iter().filter(|(name, _)| *name != version);
        of_others.fold(0u64, |sum, (_, of)| sum.saturating_add(of.requests(from_s, from_s + minute_s))) as f64
    };
    let starts = (0..).map(|back| last_s - minute_s - back * WINDOW_S);
    let starts = starts.take_while(|from_s| *from_s >= until_s - HAD_S);
    let minutes = starts.map(|from_s| (own.requests(from_s, from_s + minute_s), from_s));
    let Some((lost, from_s)) = minutes.max().filter(|(lost, _)| *lost > 0) else { return false };
    others(after_s) - others(from_s) >= TAKEN_OVER * lost as f64
}

/// What an ending means for the place.
fn settle(place: &mut Place, release: &Release, ending: Ending) {
    let version = &release.version;
    match ending {
        Ending::Promoted => place.stable = Some(version.clone()),
        Ending::RolledBack | Ending::GoneSilent if place.stable.as_ref() == Some(version) => {
            place.stable = place.busiest(|name, _| name != version);
        }
        Ending::RolledBack | Ending::GoneSilent | Ending::Replaced => {}
    }
    let until_s = place.until_s;
    if let Some(of) = place.versions.get_mut(version) {
        of.was_stable |= ending == Ending::Promoted;
        // Twice what was left of it is more than connections that linger.
        let may_come_again = matches!(ending, Ending::RolledBack | Ending::GoneSilent);
        of.rolled_back = may_come_again.then_some((until_s, 2.0 * release.share_max / REMAINS));
    }
}
