//! A verdict in words: one sentence that a person can act on, and a clause for each check.

use crate::check::Group;
use crate::guard::Guard;
use crate::noise::Noise;
use crate::policy::Policy;
use crate::quantile::QuantileDifference;
use crate::text::{about, grouped, passed, percent, signed, signed_percent, span, times};
use crate::verdict::{CheckResult, EffectKind, Latched, Missing, State, Verdict, Word};

/// How much of the evidence a stratum must have for "mostly".
const MOSTLY: f64 = 0.5;

/// What every clause about log patterns has, and no other.
const LOG_PATTERN: &str = " log pattern";

/// The sentence of a verdict.
pub(crate) fn summary(verdict: &Verdict, policy: &Policy, opened_s: i64) -> String {
    match verdict.word {
        Word::NoGo => no_go(verdict, policy, opened_s),
        Word::Go => go(verdict, policy),
        Word::Watch => watch(verdict, policy),
        Word::Wait => format!("Wait: {}.", waiting(verdict)),
    }
}

/// One clause about a check.
pub(crate) fn why(check: &CheckResult, policy: &Policy) -> String {
    match check.state {
        State::NoData => format!("{}: nothing to compare yet", check.title),
        State::Fine => fine(check, policy),
        _ if check.group == Group::Patterns && check.patterns.is_empty() => "no new log pattern".to_owned(),
        _ => clause(check, policy),
    }
}

fn no_go(verdict: &Verdict, policy: &Policy, opened_s: i64) -> String {
    if let Some(latched) = &verdict.latched {
        return since_then(verdict, latched, policy);
    }
    let worse: Vec<&CheckResult> = verdict.checks.iter().filter(|check| check.state == State::Worse).collect();
    let mut clauses: Vec<String> = worse.iter().map(|check| clause(check, policy)).collect();
    // Patterns explain, also where others decide.
    let patterns = verdict.checks.iter().filter(|check| check.state != State::Worse && !check.patterns.is_empty());
    clauses.extend(patterns.map(|check| clause(check, policy)));
    let first_s = worse.iter().filter_map(|check| check.suspicious_since_s).min();
    let since = first_s.map(|first_s| match first_s - opened_s {
        ..=0 => " Seen from its first request on.".to_owned(),
        after_s => format!(" First seen {} after its first request.", passed(after_s as f64)),
    });
    let note = if verdict.guards.contains(&Guard::NotConcurrent) { " No concurrent control." } else { "" };
    format!("Roll back: {}.{}{note}", clauses.join("; "), since.unwrap_or_default())
}

/// The sentence of the decision, and what was found afterwards. What was said stays, also when figures go on.
fn since_then(verdict: &Verdict, latched: &Latched, policy: &Policy) -> String {
    let is_later = |check: &&CheckResult| {
        if check.group == Group::Patterns {
            return !check.patterns.is_empty() && !latched.summary.contains(LOG_PATTERN);
        }
        check.state == State::Worse && !latched.checks.contains(&check.id)
    };
    let later: Vec<String> = verdict.checks.iter().filter(is_later).map(|check| clause(check, policy)).collect();
    if later.is_empty() {
        return latched.summary.clone();
    }
    format!("{} Since then: {}.", latched.summary, later.join("; "))
}

fn go(verdict: &Verdict, policy: &Policy) -> String {
    let required = verdict.checks.iter().filter(|check| check.required);
    let clauses: Vec<String> = required.map(|check| fine(check, policy)).collect();
    let suspicious = verdict.checks.iter().filter(|check| check.state == State::Suspicious);
    let but: String = suspicious.map(|check| format!(" Watch {}, not proven.", clause(check, policy))).collect();
    let requests = verdict.checks.iter().map(|check| check.counts.candidate.exposure).max().unwrap_or(0);
    let note = if verdict.guards.contains(&Guard::NotConcurrent) { "; no concurrent control" } else { "" };
    format!("Go on: {}, over {} of the candidate's requests{note}.{but}", clauses.join("; "), grouped(requests))
}

fn watch(verdict: &Verdict, policy: &Policy) -> String {
    let mut clauses: Vec<String> =
        verdict.guards.iter().filter(|guard| guard.is_suspicious()).map(Guard::text).collect();
    let suspicious = verdict.checks.iter().filter(|check| check.state == State::Suspicious);
    clauses.extend(suspicious.map(|check| format!("{}, not proven", clause(check, policy))));
    format!("Watch: {}.", clauses.join("; "))
}

fn waiting(verdict: &Verdict) -> String {
    let mut clauses: Vec<String> = verdict.guards.iter().filter(|guard| guard.blocks_go()).map(Guard::text).collect();
    let open: Vec<&str> = verdict
        .checks
        .iter()
        .filter(|check| check.required && check.state != State::Fine)
        .map(|check| check.title.as_str())
        .collect();
    match verdict.missing {
        Some(missing) if !open.is_empty() => {
            let noise = verdict.noise_note().map(|note| format!(" ({note})")).unwrap_or_default();
            clauses.push(format!("{} to judge {}{noise}", missing.text(), joined(&open)));
        }
        Some(missing) if clauses.is_empty() => clauses.push(missing.text()),
        None if clauses.is_empty() => {
            clauses.push(format!("{} cannot be told from the limit at this rate of traffic", joined(&open)));
        }
        _ => {}
    }
    clauses.join("; ")
}

impl Verdict {
    /// Why it takes so long, where that is because noise had to be assumed: "noise of 4.0 times chance is assumed: …".
    pub fn noise_note(&self) -> Option<String> {
        let open = |check: &&CheckResult| check.required && check.state != State::Fine && check.missing.is_some();
        let assumed = self.checks.iter().filter(open).filter_map(|check| check.noise).filter(Noise::is_assumed);
        let most = assumed.map(|noise| noise.dispersion).max_by(f64::total_cmp)?;
        Some(format!("noise of {most:.1} times chance is assumed: the baseline's past tells too little of it"))
    }
}

impl Missing {
    /// "about 340 more requests, 4 min".
    pub fn text(&self) -> String {
        let faster = self.faster_at_share.map(|share| format!(", half of that at {} of the traffic", percent(share)));
        let requests =
            if self.exposure >= 1.0 { format!("{} more requests, ", about(self.exposure)) } else { String::new() };
        format!("about {requests}{}{}", span(self.seconds), faster.unwrap_or_default())
    }
}

/// What a check shows: effect, interval, limit, and where it comes from.
fn clause(check: &CheckResult, policy: &Policy) -> String {
    let mostly = check.dominant.as_ref().filter(|dominant| dominant.share >= MOSTLY);
    let mostly = mostly.map(|dominant| format!(", mostly {}", dominant.stratum)).unwrap_or_default();
    if !check.patterns.is_empty() {
        return patterns(check);
    }
    if let Some(quantile) = loudest_quantile(check) {
        return format!("{}{mostly}", quantile_clause(check, quantile, policy));
    }
    let Some(effect) = check.effect else { return format!("{} are missing", check.title) };
    let change = effect.kind == EffectKind::Change;
    if change || effect.limit_worse < 1.0 {
        let part = |value: f64| if change { value } else { value - 1.0 };
        let range = range(effect.low.map(|low| 100.0 * part(low)), effect.high.map(|high| 100.0 * part(high)), signed);
        let (value, limit) = (signed_percent(part(effect.value)), signed_percent(part(effect.limit_worse)));
        return format!("{} {value} ({}: {range}), limit {limit}{mostly}", check.title, confidence(policy));
    }
    let what = if check.group == Group::Latency { format!("requests {}", check.part) } else { check.title.clone() };
    let rates = check.counts.baseline.rate().zip(check.counts.candidate.rate());
    let rates = rates.filter(|(b, c)| *b <= 1.0 && *c <= 1.0);
    let rates = rates.map(|(b, c)| format!("{} → {}, ", percent(b), percent(c))).unwrap_or_default();
    let range = match (effect.low, effect.high) {
        // What it is at least is all that is known, and said already.
        (Some(_), None) if check.counts.baseline.events == 0 => String::new(),
        (low, high) => format!(": {}", range(low, high, |value| times(value).trim_end_matches('x').to_owned())),
    };
    let (value, limit) = (times(effect.value), times(effect.limit_worse));
    // No ratio is known of a baseline without events.
    let value = if check.counts.baseline.events == 0 {
        format!("at least {}", times(effect.low.unwrap_or(1.0)))
    } else {
        value
    };
    format!("{what} {rates}{value} the baseline ({}{range}), limit {limit}{mostly}", confidence(policy))
}

/// Up to what a check is known not to be worse.
fn fine(check: &CheckResult, policy: &Policy) -> String {
    if let Some(quantile) = check.quantiles.last()
        && let Some(high) = quantile.relative_high
    {
        return format!("p{:.0} latency at most {}", quantile.q * 100.0, signed_percent(high));
    }
    let Some(effect) = check.effect else { return format!("{} fine", check.title) };
    if effect.kind == EffectKind::Change || effect.limit_fine < 1.0 {
        let part = if effect.kind == EffectKind::Change { effect.limit_fine } else { effect.limit_fine - 1.0 };
        return format!("{} not below {}", check.title, signed_percent(part));
    }
    let extra = policy.errors.floor > 0.0 && check.group == Group::Errors && check.counts.baseline.events == 0;
    let floor = if extra { format!(" or {}", percent(policy.errors.floor)) } else { String::new() };
    let what = if check.group == Group::Latency { format!("requests {}", check.part) } else { check.title.clone() };
    format!("{what} less than {} the baseline{floor}", times(effect.limit_fine))
}

/// The quantile of the part that speaks loudest: parts and quantiles are both in rising order.
fn loudest_quantile(check: &CheckResult) -> Option<&QuantileDifference> {
    let worst = |a: &&QuantileDifference, b: &&QuantileDifference| {
        a.relative_low.unwrap_or(-1.0).total_cmp(&b.relative_low.unwrap_or(-1.0))
    };
    check.quantiles.iter().max_by(worst)
}

/// "p99 latency +38 % (95 %: +29 … +47), limit +10 %".
fn quantile_clause(check: &CheckResult, quantile: &QuantileDifference, policy: &Policy) -> String {
    let limits = &policy.latency;
    let limit = limits.relative.max(limits.absolute_s / quantile.baseline_s.max(f64::MIN_POSITIVE));
    let percent_of = |part: Option<f64>| part.map(|part| 100.0 * part);
    let range = range(percent_of(quantile.relative_low), percent_of(quantile.relative_high), signed);
    format!(
        "p{:.0} {} {} ({}: {range}), limit {}",
        quantile.q * 100.0,
        check.title,
        signed_percent(quantile.relative),
        confidence(policy),
        signed_percent(limit)
    )
}

/// "4 new error patterns", or the one there is.
fn patterns(check: &CheckResult) -> String {
    let new = check.patterns.iter().filter(|pattern| pattern.is_new).count();
    let word = |count: usize| if count == 1 { "pattern" } else { "patterns" };
    match check.patterns.as_slice() {
        [one] => {
            let kind = if one.is_new { "new" } else { "escalated" };
            format!("{kind} log pattern \"{}\" ({} lines, baseline {})", one.template, one.candidate, one.baseline)
        }
        all if new == all.len() => format!("{new} new log {}", word(new)),
        all if new == 0 => format!("{} escalated log {}", all.len(), word(all.len())),
        all => format!("{new} new and {} escalated log {}", all.len() - new, word(all.len())),
    }
}

fn range(low: Option<f64>, high: Option<f64>, write: impl Fn(f64) -> String) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{} … {}", write(low), write(high)),
        (Some(low), None) => format!("{} or more", write(low)),
        (None, Some(high)) => format!("{} or less", write(high)),
        (None, None) => "not known yet".to_owned(),
    }
}

fn confidence(policy: &Policy) -> String {
    format!("{:.0} %", 100.0 * (1.0 - policy.alpha_interval))
}

fn joined(words: &[&str]) -> String {
    match words {
        [] => "what is required".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
