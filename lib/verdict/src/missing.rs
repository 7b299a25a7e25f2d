//! What it takes until "go" can be said, in requests and minutes.

use crate::check::Kind;
use crate::comparison::{Comparison, Facts};
use crate::evidence::exposure_by_floor;
use crate::guard::Guard;
use crate::plan;
use crate::verdict::{CheckResult, EffectKind, Missing, State};

/// Beyond this nobody waits: more is said as "not at this rate".
const SECONDS_MAX: f64 = 30.0 * 86_400.0;

/// What one check still needs to be shown to be fine. `None` when it is, or when it looks too bad for that.
pub(crate) fn of_check(comparison: &Comparison, facts: &Facts, check: &CheckResult, fine: f64) -> Option<Missing> {
    let effect = check.effect.filter(|effect| effect.kind == EffectKind::Ratio)?;
    if matches!(check.state, State::Fine | State::NoData | State::Worse) || check.ln_fine >= fine {
        return None;
    }
    let described = comparison.checks.iter().find(|described| described.id == check.id)?;
    let Kind::Counts(parts) = &described.kind else { return None };
    let part = parts.iter().find(|part| part.name == check.part)?;
    // Of events of which fewer are worse the question is turned, and so are the sides.
    let turn = |ratio: f64| if part.fewer_is_worse { 1.0 / ratio } else { ratio };
    let counts = if part.fewer_is_worse { check.counts.swapped() } else { check.counts };
    let (margin, estimate) = (turn(effect.limit_fine), turn(effect.value));
    let holds_one = effect.low.is_none_or(|low| low <= 1.0) && effect.high.is_none_or(|high| high >= 1.0);
    let ratio = if holds_one { 1.0 } else { estimate };
    if ratio >= 0.98 * margin {
        return None;
    }
    let share = counts.share(1.0);
    let usual = part.noise.rate.or(counts.baseline.rate());
    let extra = part.margins.extra_at(margin, usual) * counts.baseline.exposure as f64;
    let events = counts.events() as f64 + extra;
    // The counts are of this time.
    let steady_s = comparison.opened_s + i64::from(comparison.policy.warm_up_s);
    let counted_s = facts.complete_until_s - check.since_s.unwrap_or(steady_s);
    // Nothing is known of the rate while it warms up.
    if events <= 0.0 || counted_s <= 0 {
        return None;
    }
    let alpha = libm::exp(-fine);
    let needed = plan::events_missing(alpha, check.ln_fine, share, ratio, margin, part.noise.dispersion);
    let compared_s = needed / (events / counted_s as f64);
    let floor = part.floor_rate(margin, part.margins.extra_at(margin, usual));
    let by_floor = floor.and_then(|floor| {
        let exposure = exposure_by_floor(fine, floor, check.counts.candidate, part.noise.dispersion)?;
        Some(exposure * counted_s as f64 / check.counts.candidate.exposure as f64)
    });
    let seconds = by_floor.map_or(compared_s, |by_floor| by_floor.min(compared_s));
    let exposure = seconds * check.counts.candidate.exposure as f64 / counted_s as f64;
    let faster_at_share = plan::share_that_halves(share, ratio, margin).filter(|_| seconds > 600.0);
    (seconds <= SECONDS_MAX).then_some(Missing { exposure, seconds, faster_at_share })
}

/// The same of the whole: the longest of the required checks, and of the guards that time opens.
pub(crate) fn of_all(
    comparison: &Comparison,
    facts: &Facts,
    checks: &[CheckResult],
    guards: &[Guard],
) -> Option<Missing> {
    let required = || checks.iter().filter(|check| check.required);
    let hopeless = required().any(|check| check.state != State::Fine && check.missing.is_none());
    if hopeless || required().next().is_none() {
        return None;
    }
    let longest = required().filter_map(|check| check.missing).max_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let waiting_s = guards.iter().map(|guard| match guard {
        Guard::WarmUp { seconds } => (*seconds + i64::from(comparison.policy.steady_min_s)) as f64,
        Guard::TooShort { seconds, blocks } => {
            let block_s = required().filter_map(|check| check.noise).map(|noise| noise.block_s).max().unwrap_or(60);
            f64::max(*seconds as f64, f64::from(*blocks) * f64::from(block_s))
        }
        _ => 0.0,
    });
    let waiting_s = waiting_s.fold(0.0, f64::max);
    let longest = longest.unwrap_or(Missing { exposure: 0.0, seconds: 0.0, faster_at_share: None });
    if longest.seconds.max(waiting_s) <= 0.0 {
        return None;
    }
    if longest.seconds >= waiting_s {
        return Some(longest);
    }
    let steady_s = (facts.complete_until_s - comparison.opened_s).max(1) as f64;
    let rate = comparison.seen.candidate.exposure as f64 / steady_s;
    Some(Missing { exposure: waiting_s * rate, seconds: waiting_s, faster_at_share: None })
}
