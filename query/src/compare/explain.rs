//! Which part of the traffic the difference lies in: routes, versions, instances, variants of toggles. Pure.
//!
//! The mean of B less the mean of A is the sum of what each value of a dimension adds to it: by how much slower its requests
//! are, weighted with its share, and by how much its share has moved times how slow it is against all others (Kitagawa 1955).
//! The parts add up to the difference, and swapping the sides turns their signs. With a selection of durations the same is done
//! with the share of requests within it. Instances of two versions are not the same machines, so each replicate slot of B stands
//! against all of A.

use std::collections::BTreeMap;

use shipwake_model::sketch::Sketch;

use super::cells::{Part, add};
use super::numbers::{mean_s, sum_s};
use super::request::Selection;

/// Values of a dimension that are told.
const VALUES_MAX: usize = 12;
/// Dimensions that are told.
const DIMENSIONS_MAX: usize = 12;
/// A smaller difference, as a part of the larger side, has no parts worth telling.
const DIFFERENCE_MIN: f64 = 0.01;

/// What is explained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Of {
    /// The difference of the means, in seconds.
    Mean,
    /// The difference of the shares of requests within a selection.
    Share(Selection),
    /// The difference of the error ratios.
    Errors,
}

/// One side of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Half {
    pub n: u64,
    /// Of the side's requests.
    pub share: f64,
    pub errors: Option<f64>,
    pub mean_s: Option<f64>,
    pub p99_s: Option<f64>,
}

/// One value of a dimension.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub dimension: String,
    pub value: String,
    /// `None` for instances of B, which A does not have.
    pub a: Option<Half>,
    pub b: Half,
    /// What it adds to the difference.
    pub adds: f64,
    /// Of that, what comes from its share alone.
    pub adds_by_share: f64,
    /// As a part of the whole difference; `None` when there is hardly one.
    pub part: Option<f64>,
    /// Its size among all of its dimension, 0 to 1.
    pub score: f64,
}

/// Requests of one value on one side.
#[derive(Clone, Debug, Default)]
struct Group {
    requests: u64,
    errors: u64,
    durations: Option<Sketch>,
}

impl Group {
    /// What shares are shares of.
    fn n(&self, of: Of) -> u64 {
        if of == Of::Errors { self.requests } else { self.durations.as_ref().map_or(0, Sketch::count) }
    }

    /// The sum of what is explained.
    fn sum(&self, of: Of, unit_s: f64) -> f64 {
        match (&self.durations, of) {
            (_, Of::Errors) => self.errors as f64,
            (None, _) => 0.0,
            (Some(sketch), Of::Mean) => sum_s(sketch, unit_s).unwrap_or(0.0),
            (Some(sketch), Of::Share(select)) => {
                let us = |seconds: f64| (seconds * 1e6).round().clamp(0.0, 1e15) as u64;
                let high = us(select.to).saturating_sub(1).max(us(select.from));
                sketch.to_hdr(unit_s * 1e6).0.count_between(us(select.from), high) as f64
            }
        }
    }

    fn half(&self, total: u64, of: Of, unit_s: f64) -> Half {
        let sketch = self.durations.as_ref();
        Half {
            n: self.n(of),
            share: if total == 0 { 0.0 } else { self.n(of) as f64 / total as f64 },
            errors: (self.requests > 0).then(|| self.errors as f64 / self.requests as f64),
            mean_s: sketch.and_then(|sketch| mean_s(sketch, unit_s)),
            p99_s: sketch.and_then(|sketch| sketch.quantile(0.99)).map(|(value, _)| value * unit_s),
        }
    }
}

type Groups<'a> = BTreeMap<&'a str, [Group; 2]>;

/// Parts by key and value: of toggles by variant, or of a metric by attribute.
#[derive(Clone, Copy)]
pub(crate) struct Keyed<'a> {
    /// In front of the key, as the dimension is called.
    pub prefix: &'static str,
    pub sides: [&'a [Part]; 2],
    pub unit_s: f64,
}

/// The rows of all dimensions that have more than one value, the dimension that explains most first.
pub(crate) fn rows(a: &[Part], b: &[Part], keyed: Keyed<'_>, of: Of, unit_s: f64) -> Vec<Row> {
    let mut dimensions = vec![compared("route", &grouped([a, b], of, |part| &part.route), of, unit_s)];
    // Versions explain something where a side has several: else they are what is compared.
    if has_several(a) || has_several(b) {
        dimensions.push(compared("version", &grouped([a, b], of, |part| &part.version), of, unit_s));
    }
    dimensions.push(instances(a, b, of, unit_s));
    let mut keys: Vec<&str> = keyed.sides.iter().flat_map(|side| side.iter()).filter_map(key_of).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let of_key =
            keyed.sides.map(|side| side.iter().filter(|part| key_of(part) == Some(key)).cloned().collect::<Vec<_>>());
        let groups = grouped([&of_key[0], &of_key[1]], of, variant_of);
        dimensions.push(compared(&format!("{}{key}", keyed.prefix), &groups, of, keyed.unit_s));
    }
    dimensions.retain(|rows| rows.len() > 1);
    let strongest = |rows: &[Row]| rows.iter().map(|row| row.adds.abs()).fold(0.0, f64::max);
    dimensions.sort_by(|x, y| strongest(y).total_cmp(&strongest(x)));
    dimensions.truncate(DIMENSIONS_MAX);
    dimensions.into_iter().flatten().collect()
}

fn has_several(side: &[Part]) -> bool {
    side.iter().any(|part| part.version != side[0].version)
}

fn key_of(part: &Part) -> Option<&str> {
    part.flag.as_ref().map(|(key, _)| &**key)
}

fn variant_of(part: &Part) -> &str {
    part.flag.as_ref().map_or("", |(_, variant)| &**variant)
}

fn grouped<'a>(sides: [&'a [Part]; 2], of: Of, value: impl Fn(&'a Part) -> &'a str) -> Groups<'a> {
    let mut groups = Groups::new();
    for (side, parts) in sides.into_iter().enumerate() {
        for part in parts {
            let group = &mut groups.entry(value(part)).or_default()[side];
            group.requests += part.requests;
            group.errors += part.errors;
            if let Some(durations) = &part.durations {
                add(&mut group.durations, durations);
            }
        }
    }
    groups.retain(|_, [a, b]| a.n(of) + b.n(of) > 0);
    groups
}

/// Values that both sides may have.
fn compared(dimension: &str, groups: &Groups<'_>, of: Of, unit_s: f64) -> Vec<Row> {
    let total = |side: usize| groups.values().map(|group| group[side].n(of)).sum::<u64>();
    let n = [total(0), total(1)];
    if n.contains(&0) {
        return Vec::new();
    }
    let sum = |side: usize| groups.values().map(|group| group[side].sum(of, unit_s)).sum::<f64>();
    let whole = [sum(0) / n[0] as f64, sum(1) / n[1] as f64];
    let middle = (whole[0] + whole[1]) / 2.0;
    let rows = groups.iter().map(|(value, sides)| {
        let share = [0, 1].map(|side| sides[side].n(of) as f64 / n[side] as f64);
        let own = [0, 1].map(|side| {
            let group = &sides[side];
            (group.n(of) > 0).then(|| group.sum(of, unit_s) / group.n(of) as f64)
        });
        // A value that a side does not have differs by its share alone.
        let own = [own[0].or(own[1]).unwrap_or(0.0), own[1].or(own[0]).unwrap_or(0.0)];
        let slower = (share[0] + share[1]) / 2.0 * (own[1] - own[0]);
        let by_share = (share[1] - share[0]) * ((own[0] + own[1]) / 2.0 - middle);
        Row {
            dimension: dimension.to_owned(),
            value: (*value).to_owned(),
            a: Some(sides[0].half(n[0], of, unit_s)),
            b: sides[1].half(n[1], of, unit_s),
            adds: slower + by_share,
            adds_by_share: by_share,
            part: None,
            score: 0.0,
        }
    });
    told(rows.collect(), whole)
}

/// Replicate slots of B against all of A.
fn instances(a: &[Part], b: &[Part], of: Of, unit_s: f64) -> Vec<Row> {
    const NAMES: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let whole_a = grouped([a, &[]], of, |_| "");
    let groups = grouped([&[], b], of, |part| NAMES[usize::from(part.slot & 7)]);
    let n = groups.values().map(|group| group[1].n(of)).sum::<u64>();
    let Some(all_a) = whole_a.get("").map(|group| &group[0]).filter(|_| n > 0) else { return Vec::new() };
    let mean_a = all_a.sum(of, unit_s) / all_a.n(of) as f64;
    let mean_b = groups.values().map(|group| group[1].sum(of, unit_s)).sum::<f64>() / n as f64;
    let rows = groups.iter().map(|(value, [_, group])| Row {
        dimension: "instance slot of B".to_owned(),
        value: (*value).to_owned(),
        a: None,
        b: group.half(n, of, unit_s),
        adds: (group.sum(of, unit_s) - mean_a * group.n(of) as f64) / n as f64,
        adds_by_share: 0.0,
        part: None,
        score: 0.0,
    });
    told(rows.collect(), [mean_a, mean_b])
}

/// What each route and version adds to the difference of the rates: requests of a value a second of each side, over the seconds
/// that have passed. Instances are left out: how many there are is the rollout's doing.
pub(crate) fn of_rate(a: &[Part], b: &[Part], seconds: [f64; 2]) -> Vec<Row> {
    let of_value = |dimension: &str, groups: &Groups<'_>| {
        let all = [0, 1].map(|side| groups.values().map(|group| group[side].requests).sum::<u64>());
        let rate = |side: usize, n: u64| if seconds[side] > 0.0 { n as f64 / seconds[side] } else { 0.0 };
        let rows = groups.iter().map(|(value, sides)| Row {
            dimension: dimension.to_owned(),
            value: (*value).to_owned(),
            a: Some(sides[0].half(all[0], Of::Errors, 1.0)),
            b: sides[1].half(all[1], Of::Errors, 1.0),
            adds: rate(1, sides[1].requests) - rate(0, sides[0].requests),
            adds_by_share: 0.0,
            part: None,
            score: 0.0,
        });
        told(rows.collect(), [rate(0, all[0]), rate(1, all[1])])
    };
    let mut dimensions = vec![of_value("route", &grouped([a, b], Of::Errors, |part| &part.route))];
    if has_several(a) || has_several(b) {
        dimensions.push(of_value("version", &grouped([a, b], Of::Errors, |part| &part.version)));
    }
    dimensions.retain(|rows| rows.len() > 1);
    dimensions.into_iter().flatten().collect()
}

/// The largest rows, with their parts of the difference.
fn told(mut rows: Vec<Row>, whole: [f64; 2]) -> Vec<Row> {
    let difference = whole[1] - whole[0];
    let is_notable = difference.abs() >= DIFFERENCE_MIN * whole[0].abs().max(whole[1].abs()) && difference != 0.0;
    let sizes: f64 = rows.iter().map(|row| row.adds.abs()).sum();
    for row in &mut rows {
        row.part = is_notable.then(|| row.adds / difference);
        row.score = if sizes > 0.0 { row.adds.abs() / sizes } else { 0.0 };
    }
    let requests = |row: &Row| row.a.as_ref().map_or(0, |a| a.n) + row.b.n;
    rows.sort_by(|x, y| {
        y.adds.abs().total_cmp(&x.adds.abs()).then(requests(y).cmp(&requests(x))).then(x.value.cmp(&y.value))
    });
    // Whether there is one value or many is known before the rest is left out.
    rows.truncate(VALUES_MAX);
    rows
}
