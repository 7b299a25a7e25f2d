//! From evidence to a word.
//!
//! "No go" when the weighted mean of the checks' evidence passes one over its chance of error: the mean of e-values is an e-value
//! whatever they have to do with each other, so a good release is called bad with a chance of at most one per cent, over
//! all checks and looks. "Go" when every required check is proven fine: each may be tested at its full level, because all must
//! pass. Nothing here looks at data: it weighs what tracks, values and patterns say.

use libm::log;

use crate::check::{Check, Group, Kind};
use crate::comparison::{Body, Comparison, Facts};
use crate::counts::{Counts, Tally};
use crate::evidence::{Evidence, Scale, ln_mean};
use crate::guard::Guard;
use crate::missing;
use crate::patterns::FoundPattern;
use crate::sentence;
use crate::track::Track;
use crate::verdict::{CheckResult, Dominant, Effect, EffectKind, Latched, State, Verdict, Word};

/// From this evidence on something looks worse.
const SUSPICIOUS: f64 = 10.0;
/// Share of false discoveries among the checks that are called worse.
const FALSE_DISCOVERIES: f64 = 0.05;
/// How far back the baseline's health is looked at, in seconds.
const HEALTH_S: i64 = 300;

/// The verdict of a comparison at a look.
pub(crate) fn judge(comparison: &mut Comparison, facts: &Facts) -> Verdict {
    let mut checks = look(comparison, facts);
    let (ln_fast, ln_slow) = merged(comparison, facts, &checks);
    let mut guards = guards(comparison, facts, &checks);
    let no_go = (ln_fast >= 0.0 || ln_slow >= 0.0) && !guards.iter().any(Guard::blocks_no_go);
    let latched_now = no_go && comparison.latched.is_none();
    note_suspicion(comparison, facts, &mut checks, latched_now);
    let is_no_go = no_go || comparison.latched.is_some();
    set_states(comparison, facts, &mut checks, is_no_go);
    let word = word(is_no_go, &checks, &guards);
    if is_no_go {
        // Time opens nothing any more.
        guards.retain(|guard| !guard.is_of_time());
    }
    let missing = if is_no_go { None } else { missing::of_all(comparison, facts, &checks, &guards) };
    let mut verdict = Verdict {
        word,
        summary: String::new(),
        missing,
        checks,
        guards,
        latched: comparison.latched.clone(),
        ln_fast,
        ln_slow,
        complete_until_s: facts.complete_until_s,
        policy_says: comparison.policy.differences(),
    };
    verdict.summary = sentence::summary(&verdict, &comparison.policy, comparison.opened_s);
    if latched_now {
        let worse = verdict.checks.iter().filter(|check| check.state == State::Worse);
        comparison.latched = Some(Latched {
            at_s: facts.complete_until_s,
            fast: ln_fast >= 0.0,
            checks: worse.map(|check| check.id.clone()).collect(),
            summary: verdict.summary.clone(),
        });
        verdict.latched = comparison.latched.clone();
    }
    verdict
}

/// Every check on its own.
fn look(comparison: &mut Comparison, facts: &Facts) -> Vec<CheckResult> {
    let scale = comparison.scale(facts);
    let mut bodies = std::mem::take(&mut comparison.bodies);
    let results = bodies
        .iter_mut()
        .enumerate()
        .map(|(at, body)| {
            let check = &comparison.checks[at];
            let mut result = match (body, &check.kind) {
                (Body::Counts(tracks), Kind::Counts(_)) => counted(comparison, check, tracks, &scale, facts),
                (Body::Values(values), Kind::Values { limit, .. }) => {
                    let seen = values.look(facts.complete_until_s, *limit, scale.alpha_interval);
                    seen.map_or_else(|| empty(check), |seen| valued(check, *limit, &seen))
                }
                (Body::Patterns(patterns), _) => {
                    patterned(check, patterns.look(&comparison.policy.patterns, comparison.seen))
                }
                _ => empty(check),
            };
            result.weight = comparison.weights[at];
            result.quantiles = comparison.quantiles[at].clone();
            result
        })
        .collect();
    comparison.bodies = bodies;
    results
}

fn counted(comparison: &Comparison, check: &Check, tracks: &mut [Track], scale: &Scale, facts: &Facts) -> CheckResult {
    let Kind::Counts(parts) = &check.kind else { return empty(check) };
    let seen: Vec<Evidence> =
        tracks.iter_mut().zip(parts).map(|(track, part)| track.look(part, scale, facts.complete_until_s)).collect();
    let late = tracks.iter().fold(0, |sum, track| u64::saturating_add(sum, track.late));
    // What is shown is the part that speaks loudest: for "worse" if anything does, else the one that is furthest from "fine".
    let worst = |key: fn(&Evidence) -> f64| (0..seen.len()).max_by(|a, b| key(&seen[*a]).total_cmp(&key(&seen[*b])));
    let suspicious = |evidence: &Evidence| evidence.ln_slow.max(evidence.ln_fast);
    let loudest = worst(|evidence| evidence.ln_slow.max(evidence.ln_fast)).unwrap_or(0);
    let shown = if seen.get(loudest).is_some_and(|evidence| suspicious(evidence) > 0.0) {
        loudest
    } else {
        worst(|evidence| -evidence.ln_fine).unwrap_or(0)
    };
    let Some(evidence) = seen.get(shown) else { return empty(check) };
    let part = &parts[shown];
    let logs = |key: fn(&Evidence) -> f64| seen.iter().map(key).collect::<Vec<f64>>();
    let has_data = evidence.counts.is_paired();
    CheckResult {
        state: if has_data { State::Undecided } else { State::NoData },
        effect: has_data.then(|| effect(evidence, part.fewer_is_worse)),
        part: part.name.clone(),
        counts: if part.fewer_is_worse { evidence.counts.swapped() } else { evidence.counts },
        ln_fast: ln_mean(&logs(|evidence| evidence.ln_fast)),
        ln_worse: ln_mean(&logs(|evidence| evidence.ln_slow)),
        ln_fine: seen.iter().map(|evidence| evidence.ln_fine).fold(f64::INFINITY, f64::min),
        noise: Some(part.noise),
        blocks: seen.iter().map(|evidence| evidence.blocks).min().unwrap_or(0),
        late,
        since_s: evidence.since_s,
        dominant: evidence
            .dominant
            .map(|(stratum, share)| Dominant { stratum: crate::text::name(comparison.stratum_name(stratum)), share }),
        ..empty(check)
    }
}

/// The effect as people read it: of events of which fewer are worse, the ratio is turned.
fn effect(evidence: &Evidence, turned: bool) -> Effect {
    let (low, high) = evidence.interval;
    let plain = Effect {
        kind: EffectKind::Ratio,
        value: evidence.estimate,
        low,
        high,
        limit_worse: evidence.margin_worse,
        limit_fine: evidence.margin_fine,
    };
    if !turned {
        return plain;
    }
    Effect {
        value: 1.0 / plain.value,
        low: plain.high.map(|high| 1.0 / high),
        high: plain.low.map(|low| 1.0 / low),
        limit_worse: 1.0 / plain.limit_worse,
        limit_fine: 1.0 / plain.limit_fine,
        ..plain
    }
}

fn valued(check: &Check, limit: f64, seen: &crate::values::ValuesEvidence) -> CheckResult {
    CheckResult {
        state: State::Undecided,
        effect: Some(Effect {
            kind: EffectKind::Change,
            value: seen.relative,
            low: seen.interval.map(|(low, _)| low),
            high: seen.interval.map(|(_, high)| high),
            limit_worse: -limit,
            limit_fine: -limit,
        }),
        ln_worse: seen.ln_worse,
        ln_fine: seen.ln_fine,
        blocks: seen.blocks,
        ..empty(check)
    }
}

fn patterned(check: &Check, seen: crate::patterns::PatternsEvidence) -> CheckResult {
    let lines = |side: fn(&FoundPattern) -> u64| seen.found.iter().map(side).sum();
    CheckResult {
        state: State::Undecided,
        ln_fast: seen.ln_worse,
        ln_worse: seen.ln_worse,
        counts: Counts::new(
            Tally::new(lines(|pattern| pattern.candidate), 0),
            Tally::new(lines(|pattern| pattern.baseline), 0),
        ),
        patterns: seen.found,
        ..empty(check)
    }
}

fn empty(check: &Check) -> CheckResult {
    CheckResult {
        id: check.id.clone(),
        title: check.title.clone(),
        group: check.group,
        weight: 0.0,
        required: check.required,
        critical: check.critical,
        state: State::NoData,
        effect: None,
        part: String::new(),
        counts: Counts::default(),
        ln_fast: 0.0,
        ln_worse: 0.0,
        ln_fine: f64::NEG_INFINITY,
        noise: None,
        blocks: 0,
        late: 0,
        since_s: None,
        dominant: None,
        suspicious_since_s: None,
        quantiles: Vec::new(),
        patterns: Vec::new(),
        missing: None,
        why: String::new(),
    }
}

/// The evidence of all checks together, as logarithms over what is needed.
fn merged(comparison: &Comparison, facts: &Facts, checks: &[CheckResult]) -> (f64, f64) {
    let factor = if facts.concurrent { 1.0 } else { comparison.policy.not_concurrent_factor };
    let needed = [comparison.policy.alpha_fast, comparison.policy.alpha_slow].map(|alpha| log(factor / alpha));
    let together = |key: fn(&CheckResult) -> f64, needed: f64| {
        let terms: Vec<f64> = checks.iter().map(|check| log(check.weight) + key(check)).collect();
        let mean = ln_mean(&terms) + log(terms.len().max(1) as f64);
        // A critical check may decide alone.
        let alone = comparison.checks.iter().zip(checks).filter(|(check, _)| check.critical);
        alone.map(|(_, result)| key(result)).fold(mean, f64::max) - needed
    };
    (together(|check| check.ln_fast, needed[0]), together(|check| check.ln_worse, needed[1]))
}

/// Remembers since when a check looks worse: the window with which what is seen began, not the look at which it was enough. It is told
/// anew when it decides, and forgotten when it was chance.
fn note_suspicion(comparison: &mut Comparison, facts: &Facts, checks: &mut [CheckResult], latched_now: bool) {
    let scale = comparison.scale(facts);
    let is_latched = comparison.latched.is_some();
    let Comparison { bodies, suspicious_since_s, checks: described, opened_s, .. } = comparison;
    for (at, check) in checks.iter_mut().enumerate() {
        let is_loud = check.ln_fast.max(check.ln_worse) >= log(SUSPICIOUS);
        let since_s = &mut suspicious_since_s[at];
        if is_loud && (since_s.is_none() || latched_now) {
            let began_s = match (&bodies[at], &described[at].kind) {
                (Body::Counts(tracks), Kind::Counts(parts)) => {
                    let part = parts.iter().position(|part| part.name == check.part).unwrap_or(0);
                    let track = tracks.get(part).zip(parts.get(part));
                    track.and_then(|(track, part)| {
                        track.began(scale.margins(part, track.counts.baseline), facts.complete_until_s)
                    })
                }
                _ => None,
            };
            // A window may have begun before its first request.
            let began_s = began_s.or(check.since_s).map(|began_s| began_s.max(*opened_s));
            *since_s = began_s.or(*since_s).or(Some(facts.complete_until_s));
        } else if !is_loud && !is_latched {
            *since_s = None;
        }
        check.suspicious_since_s = *since_s;
    }
}

/// Which checks are worse is decided by e-BH once the release is; before that, they only look so.
fn set_states(comparison: &Comparison, facts: &Facts, checks: &mut [CheckResult], is_no_go: bool) {
    let factor = if facts.concurrent { 1.0 } else { comparison.policy.not_concurrent_factor };
    let fine = log(factor / comparison.policy.alpha_fine);
    let mut ranked: Vec<usize> = (0..checks.len()).collect();
    let loud = |check: &CheckResult| check.ln_fast.max(check.ln_worse);
    ranked.sort_by(|a, b| loud(&checks[*b]).total_cmp(&loud(&checks[*a])).then(a.cmp(b)));
    let passes = |k: usize| loud(&checks[ranked[k - 1]]) >= log(checks.len() as f64 / (k as f64 * FALSE_DISCOVERIES));
    // Something made it "no go": at least the loudest.
    let worse = if is_no_go { (1..=checks.len()).rev().find(|k| passes(*k)).unwrap_or(1) } else { 0 };
    let worse: Vec<usize> = ranked.into_iter().take(worse).collect();
    let latched = comparison.latched.as_ref();
    for (at, check) in checks.iter_mut().enumerate() {
        let was_worse = latched.is_some_and(|latched| latched.checks.contains(&check.id));
        check.state = match check.state {
            State::NoData if !was_worse => State::NoData,
            _ if was_worse || worse.contains(&at) => State::Worse,
            _ if loud(check) >= log(SUSPICIOUS) => State::Suspicious,
            _ if check.ln_fine >= fine => State::Fine,
            _ => State::Undecided,
        };
        check.missing = missing::of_check(comparison, facts, check, fine);
        check.why = sentence::why(check, &comparison.policy);
    }
}

fn word(is_no_go: bool, checks: &[CheckResult], guards: &[Guard]) -> Word {
    let required = || checks.iter().filter(|check| check.required);
    let is_fine = required().next().is_some() && required().all(|check| check.state == State::Fine);
    let is_suspicious = checks.iter().any(|check| check.state == State::Suspicious);
    if is_no_go {
        Word::NoGo
    } else if is_fine && !guards.iter().any(Guard::blocks_go) {
        // What is not required never keeps a release from going; the sentence tells of it.
        Word::Go
    } else if is_suspicious || guards.iter().any(Guard::is_suspicious) {
        Word::Watch
    } else {
        Word::Wait
    }
}

fn guards(comparison: &Comparison, facts: &Facts, checks: &[CheckResult]) -> Vec<Guard> {
    let policy = &comparison.policy;
    let mut guards = Vec::new();
    if comparison.seen.baseline.exposure == 0 {
        guards.push(Guard::NoBaseline);
    } else if !checks.iter().any(|check| check.state != State::NoData && check.group != Group::Patterns) {
        guards.push(Guard::NoTraffic);
    }
    let lag_s = facts.now_s.saturating_sub(facts.complete_until_s);
    if lag_s > i64::from(policy.lag_max_s) {
        guards.push(Guard::Lag { seconds: lag_s });
    }
    if let Some((declared, observed)) = comparison.split.mismatch(log(policy.split_evidence_max)) {
        guards.push(Guard::SplitMismatch { declared, observed });
    }
    guards.extend(sick_baseline(comparison, facts));
    let gone_s = gone_silent(comparison, facts);
    guards.extend(gone_s.map(|seconds| Guard::GoneSilent { seconds }));
    // Who sends nothing at all is told of once.
    let silent = [if gone_s.is_some() { 0 } else { facts.candidate.silent }, facts.baseline.silent];
    if silent != [0, 0] {
        guards.push(Guard::Silent { candidate: silent[0], baseline: silent[1] });
    }
    if facts.candidate.count.is_none_or(|count| count < policy.instances_min) {
        guards.push(Guard::FewInstances { instances: facts.candidate.count, needed: policy.instances_min });
    }
    guards.extend(too_short(comparison, facts, checks));
    if !facts.concurrent {
        guards.push(Guard::NotConcurrent);
    }
    guards
}

/// Seconds since the candidate's last window with a request, where the baseline has gone on and chance does not leave out so many.
fn gone_silent(comparison: &Comparison, facts: &Facts) -> Option<i64> {
    /// Who took its traffic back would have shown by then.
    const SILENT_MIN_S: i64 = 90;
    /// Requests that were to be expected: chance leaves all of them out once in twenty thousand times.
    const EXPECTED_MIN: f64 = 10.0;
    let Some(Body::Counts(tracks)) = comparison.bodies.first().filter(|_| facts.concurrent) else { return None };
    let (last_s, had) = tracks.first()?.last_of_candidate(facts.complete_until_s)?;
    let silent_s = facts.complete_until_s - last_s;
    let goes_on = tracks.first()?.recent_baseline(facts.complete_until_s - SILENT_MIN_S, facts.complete_until_s);
    let is_silent = silent_s >= SILENT_MIN_S && had * silent_s as f64 >= EXPECTED_MIN && goes_on.exposure > 0;
    is_silent.then_some(silent_s)
}

fn too_short(comparison: &Comparison, facts: &Facts, checks: &[CheckResult]) -> Option<Guard> {
    let policy = &comparison.policy;
    let steady_s = facts.complete_until_s - comparison.opened_s - i64::from(policy.warm_up_s);
    if steady_s < 0 {
        return Some(Guard::WarmUp { seconds: -steady_s });
    }
    let required = checks.iter().filter(|check| check.required && check.state != State::NoData);
    let blocks = required.map(|check| check.blocks).min().unwrap_or(0);
    let (seconds, blocks) =
        ((i64::from(policy.steady_min_s) - steady_s).max(0), policy.blocks_min.saturating_sub(blocks));
    (seconds > 0 || blocks > 0).then_some(Guard::TooShort { seconds, blocks })
}

/// Whether the baseline fails far more often than it used to (twice and a percentage point, beyond chance), or so often that nobody wants a
/// release that is as good.
fn sick_baseline(comparison: &Comparison, facts: &Facts) -> Option<Guard> {
    const TIMES: f64 = 2.0;
    const POINTS: f64 = 0.01;
    const DEVIATIONS: f64 = 4.0;
    /// One in ten: no service level that anybody promises.
    const FAILING: f64 = 0.1;
    const FAILED_MIN: u64 = 10;
    let mut failing = None;
    for (check, body) in comparison.checks.iter().zip(&comparison.bodies) {
        let (Body::Counts(tracks), Kind::Counts(parts), Group::Errors) = (body, &check.kind, check.group) else {
            continue;
        };
        for (track, part) in tracks.iter().zip(parts) {
            let recent = track.recent_baseline(facts.complete_until_s - HEALTH_S, facts.complete_until_s);
            let Some(now) = recent.rate() else { continue };
            if now >= FAILING && recent.events >= FAILED_MIN {
                failing.get_or_insert_with(|| Guard::BaselineFailing { check: check.title.clone(), now });
            }
            let Some(usual) = part.noise.rate else { continue };
            let expected = usual * recent.exposure as f64;
            let deviations = (recent.events as f64 - expected) / libm::sqrt(part.noise.dispersion * expected.max(1.0));
            if now >= TIMES * usual && now >= usual + POINTS && deviations >= DEVIATIONS {
                return Some(Guard::BaselineUnhealthy { check: check.title.clone(), now, usual });
            }
        }
    }
    failing
}
