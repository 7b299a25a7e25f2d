//! A comparison in words: what changed, and what makes the comparison weaker than it looks. Pure.

use super::answer::Facts;
use super::measures::{Form, Row};
use super::numbers::{Errors, Quantile};
use super::request::Window;
use super::sides::Side;
use crate::release::differences::{number_text, percent_text, rate_text, seconds_text};

/// Quantiles by how much they say about a release.
const BY_WEIGHT: [f64; 6] = [0.99, 0.95, 0.9, 0.5, 0.75, 0.999];
/// Loads that differ by more than this are told.
const LOAD_FACTOR: f64 = 2.0;
/// Shares of routes that have moved by more than this are told.
const MIX_MOVED: f64 = 0.1;

/// The first sentence, of durations.
pub(crate) fn sentence(table: &[Quantile], errors: Option<&Errors>, a: &str, b: &str) -> String {
    let mut said = match loudest(table) {
        Some(found) if found.differs() => {
            let word = if found.diff.unwrap_or(0.0) > 0.0 { "slower" } else { "faster" };
            format!("{b} is {word} than {a}: {}", quantile_text(found, seconds_text))
        }
        Some(found) => {
            format!("{b} is not shown to be slower or faster than {a}: {}", quantile_text(found, seconds_text))
        }
        None => format!("too few requests to compare the durations of {a} and {b}"),
    };
    if let Some(errors) = errors.filter(|errors| errors.differs()) {
        said.push_str(&format!(
            "; errors {} → {} (95 %: {} … {} points)",
            percent_text(errors.a),
            percent_text(errors.b),
            signed(errors.low * 100.0),
            signed(errors.high * 100.0)
        ));
    }
    said
}

/// The same of values: of a KPI, or of a metric of the app.
pub(crate) fn of_values(table: &[Quantile], (title, form, unit): (&str, Form, &str), a: &str, b: &str) -> String {
    let text = |value: f64| value_text(form, unit, value);
    match loudest(table) {
        Some(found) if found.differs() => {
            let word = if found.diff.unwrap_or(0.0) > 0.0 { "larger" } else { "smaller" };
            format!("values of {title} are {word} in {b} than in {a}: {}", quantile_text(found, text))
        }
        Some(found) => {
            format!("values of {title} are not shown to differ between {a} and {b}: {}", quantile_text(found, text))
        }
        None => format!("too few values of {title} to compare {a} and {b}"),
    }
}

/// The same of one number.
pub(crate) fn of_row(row: &Row, a: &str, b: &str) -> String {
    let text = |value: f64| value_text(row.form, &row.unit, value);
    let (value_a, value_b) = match (row.a, row.b) {
        (Some(value_a), Some(value_b)) => (value_a, value_b),
        (None, None) => return format!("{}: neither {a} nor {b} has any", row.title),
        (None, Some(value)) => return format!("{}: {b} has {}, {a} has none", row.title, text(value)),
        (Some(value), None) => return format!("{}: {a} has {}, {b} has none", row.title, text(value)),
    };
    let numbers = format!("{} → {}{}", text(value_a), text(value_b), difference_text(row));
    match (row.low.is_some() || row.high.is_some(), row.enough, row.differs()) {
        (false, ..) => format!("{} of {a} and {b}: {numbers}", row.title),
        (_, false, _) => format!("{}: too few to compare {a} and {b}: {numbers}", row.title),
        (_, _, false) => format!("{}: not shown to differ between {a} and {b}: {numbers}", row.title),
        _ => {
            let word = if value_b > value_a { "higher" } else { "lower" };
            format!("{}: {word} in {b} than in {a}: {numbers}", row.title)
        }
    }
}

fn difference_text(row: &Row) -> String {
    let Some(diff) = row.diff() else { return String::new() };
    if row.form == Form::Ratio {
        let points = |value: Option<f64>| value.map_or_else(|| "no bound".to_owned(), |value| signed(value * 100.0));
        let interval = match (row.low, row.high) {
            (None, None) => String::new(),
            (low, high) => format!(" (95 %: {} … {})", points(low), points(high)),
        };
        return format!(", {} points{interval}", signed(diff * 100.0));
    }
    let Some(relative) = row.relative() else { return String::new() };
    let base = row.a.unwrap_or(1.0).abs();
    let part = |value: Option<f64>| value.map_or_else(|| "no bound".to_owned(), |value| signed(value / base * 100.0));
    let interval = match (row.low, row.high) {
        (None, None) => String::new(),
        (low, high) => format!(" (95 %: {} … {} %)", part(low), part(high)),
    };
    format!(", {} %{interval}", signed(relative * 100.0))
}

/// A number with its unit.
fn value_text(form: Form, unit: &str, value: f64) -> String {
    match form {
        Form::Seconds => seconds_text(value),
        Form::Ratio => percent_text(value),
        Form::Rate => rate_text(value),
        Form::Number => {
            let sign = if value < 0.0 { "−" } else { "" };
            let unit = unit.trim_matches(['{', '}']);
            let unit = if unit == "1" { "" } else { unit };
            format!("{sign}{} {unit}", number_text(value.abs())).trim_end().to_owned()
        }
    }
}

/// The quantile that says most: of those that are known, the first that differs, else the first.
fn loudest(table: &[Quantile]) -> Option<&Quantile> {
    let of = |q: &f64| table.iter().find(|one| one.q == *q && one.enough);
    let known: Vec<&Quantile> = BY_WEIGHT.iter().filter_map(of).collect();
    known.iter().find(|one| one.differs()).or(known.first()).copied()
}

/// `p99 412 ms → 569 ms, +38 % (95 %: +29 … +47 %)`.
fn quantile_text(of: &Quantile, value: impl Fn(f64) -> String) -> String {
    let (Some(a), Some(b)) = (of.a, of.b) else { return name(of.q) };
    let of_relative = (of.relative_low, of.relative_high);
    let mut text = format!("{} {} → {}", name(of.q), value(a), value(b));
    if let Some(relative) = of.relative {
        text.push_str(&format!(", {} %", signed(relative * 100.0)));
    }
    let of = |part: f64| signed(part * 100.0);
    match (of_relative.0.map(of), of_relative.1.map(of)) {
        (Some(low), Some(high)) => text.push_str(&format!(" (95 %: {low} … {high} %)")),
        (Some(low), None) => text.push_str(&format!(" (95 %: {low} % or more)")),
        (None, Some(high)) => text.push_str(&format!(" (95 %: {high} % or less)")),
        (None, None) => {}
    }
    text
}

/// `p50`, `p99.9`.
pub(crate) fn name(q: f64) -> String {
    format!("p{}", (q * 1e4).round() / 100.0)
}

/// With a true minus sign; without the sign of nothing.
fn signed(value: f64) -> String {
    let places = if value.abs() < 9.95 { 1 } else { 0 };
    let text = format!("{:.places$}", value.abs());
    let is_nothing = text.bytes().all(|byte| byte == b'0' || byte == b'.');
    match (is_nothing, value < 0.0) {
        (true, _) => "0".to_owned(),
        (_, true) => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// What weakens the comparison.
pub(crate) fn warnings(facts: &Facts<'_>, sides: Option<(&Side, &Side)>) -> Vec<String> {
    let asked = facts.asked;
    let (window_a, window_b) = (&asked.window_a, &asked.window_b);
    let mut said = Vec::new();
    if asked.a == asked.b && window_a == window_b {
        said.push(format!(
            "A and B are the same requests ({}): choose another version or another window",
            asked.a.label()
        ));
    }
    if !window_a.overlaps(window_b) {
        said.push("A and B are of different times: whatever else changed in between is compared too".to_owned());
    } else if window_a != window_b {
        said.push("the windows of A and B are not the same: the load of different times is compared".to_owned());
    }
    let Some((a, b)) = sides else { return said };
    said.extend(apart(a, b, window_a, window_b));
    if window_a != window_b {
        said.extend(load(a, b, window_a, window_b, facts.watermark_ms));
    }
    said.extend(mix(a, b));
    said
}

/// Two cohorts of one window that were not there together.
fn apart(a: &Side, b: &Side, window_a: &Window, window_b: &Window) -> Option<String> {
    let (seen_a, seen_b) = (a.total.seen_ms?, b.total.seen_ms?);
    let apart = window_a.overlaps(window_b) && (seen_a.1 < seen_b.0 || seen_b.1 < seen_a.0);
    apart.then(|| "A and B had no traffic at the same time: before/after is weaker than side by side".to_owned())
}

fn load(a: &Side, b: &Side, window_a: &Window, window_b: &Window, watermark_ms: i64) -> Option<String> {
    let (rate_a, rate_b) = (rate(a, window_a, watermark_ms)?, rate(b, window_b, watermark_ms)?);
    let factor = rate_a.max(rate_b) / rate_a.min(rate_b);
    (factor > LOAD_FACTOR)
        .then(|| format!("the load differs: {} requests a second in A, {} in B", load_text(rate_a), load_text(rate_b)))
}

/// Requests a second of the part of a window that has passed.
pub(crate) fn rate(side: &Side, window: &Window, watermark_ms: i64) -> Option<f64> {
    let passed_ms = watermark_ms.min(window.to_ms) - window.from_ms;
    (passed_ms > 0 && side.total.requests > 0).then(|| side.total.requests as f64 * 1_000.0 / passed_ms as f64)
}

fn load_text(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// How far the shares of routes have moved.
fn mix(a: &Side, b: &Side) -> Option<String> {
    let mut shares = std::collections::BTreeMap::<&str, [f64; 2]>::new();
    for (at, side) in [a, b].into_iter().enumerate() {
        for part in &side.parts {
            let share = part.requests as f64 / side.total.requests.max(1) as f64;
            shares.entry(&part.route).or_default()[at] += share;
        }
    }
    let moved: f64 = shares.values().map(|[a, b]| (a - b).abs()).sum::<f64>() / 2.0;
    (moved > MIX_MOVED).then(|| {
        format!(
            "the mix of routes differs ({} of the requests): compare one route to take that out",
            percent_text(moved)
        )
    })
}

/// How the intervals are made, for people.
pub(crate) const METHOD: &str = "Intervals of 95 % that hold at every look and at all quantiles at once (Howard and Ramdas), \
drawn to the edges of the buckets; shares (errors, sessions, KPIs per request) by a beta-binomial mixture. Requests count as independent: bursts and few instances make \
them look better known than they are.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_sign_and_no_more_digits_than_they_are_worth() {
        let cases = [(38.2, "+38"), (-4.04, "−4.0"), (0.04, "0"), (-0.01, "0"), (9.96, "+10"), (0.7, "+0.7")];
        for (value, expected) in cases {
            assert_eq!(signed(value), expected, "{value}");
        }
        assert_eq!([0.5, 0.999, 0.975].map(name), ["p50", "p99.9", "p97.5"]);
    }

    #[test]
    fn the_sentence_names_the_quantile_that_matters_and_says_when_none_differs() {
        let quantile = |q: f64, low: f64, high: f64| Quantile {
            q,
            a: Some(0.412),
            b: Some(0.569),
            diff: Some(0.157),
            low: Some(low * 0.412),
            high: Some(high * 0.412),
            relative: Some(0.38),
            relative_low: Some(low),
            relative_high: Some(high),
            enough: true,
        };
        let table = [quantile(0.5, -0.1, 0.1), quantile(0.99, 0.29, 0.47)];
        let errors = Errors { a: 0.009, b: 0.021, low: 0.004, high: 0.02 };
        assert_eq!(
            sentence(&table, Some(&errors), "1", "2"),
            "2 is slower than 1: p99 412 ms → 569 ms, +38 % (95 %: +29 … +47 %); errors 0.9 % → 2.1 % (95 %: +0.4 … +2.0 points)"
        );
        let same = Errors { low: -0.004, ..errors };
        assert_eq!(
            sentence(&[quantile(0.95, -0.1, 0.1)], Some(&same), "1", "2"),
            "2 is not shown to be slower or faster than 1: p95 412 ms → 569 ms, +38 % (95 %: −10 … +10 %)"
        );
        let open = Quantile { relative_high: None, high: None, ..quantile(0.99, 0.05, 0.0) };
        assert_eq!(
            sentence(&[open], None, "1", "2"),
            "2 is slower than 1: p99 412 ms → 569 ms, +38 % (95 %: +5.0 % or more)"
        );
        let few = Quantile { enough: false, ..quantile(0.5, 0.1, 0.2) };
        assert_eq!(sentence(&[few], None, "1", "2"), "too few requests to compare the durations of 1 and 2");
    }
}
