//! The stored form of a comparison: with it and the facts of a look, a verdict is replayed to the bit. `FORMAT.md` describes it.
//!
//! Evidence is in fixed point and therefore whole numbers; everything else is written as it is. What can be derived (weights,
//! the sum over strata) is not written.

mod bytes;
mod parts;
#[cfg(test)]
mod tests;

use bytes::{Reader, Writer};

use crate::check::weights;
use crate::comparison::Comparison;
use crate::counts::{Counts, Tally};
use crate::policy::{Margins, Policy};
use crate::quantile::QuantileDifference;
use crate::verdict::Latched;

/// The first bytes.
const MAGIC: &[u8; 4] = b"SWVC";
/// The version that is written. The first one knows of its sealed blocks the sums of deviations and of their squares only.
const VERSION: u8 = 2;

/// Why bytes are no comparison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not of this form at all.
    #[error("not a stored comparison")]
    Magic,
    /// Of a version that this program does not know.
    #[error("stored comparison of version {version}, which this program does not read")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The bytes end too early.
    #[error("stored comparison ends at {offset}")]
    Truncated {
        /// Where.
        offset: usize,
    },
    /// A value that cannot be.
    #[error("stored comparison has no valid {what} at {offset}")]
    Invalid {
        /// What was expected.
        what: &'static str,
        /// Where.
        offset: usize,
    },
}

impl Comparison {
    /// The bytes of the comparison as it is.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.raw(MAGIC);
        out.u8(VERSION);
        put_policy(&mut out, &self.policy);
        out.list(&self.checks, parts::put_check);
        out.list(&self.strata, |out, name| out.text(name));
        out.i64(self.opened_s);
        out.i64(self.newest_s);
        put_counts(&mut out, self.seen);
        let stages: Vec<_> = self.split.parts().collect();
        out.list(&stages, |out, (expected, observed)| {
            out.list(expected, |out, share| out.f64(*share));
            out.list(observed, |out, count| out.u64(*count));
        });
        out.list(&self.quantiles, |out, quantiles| out.list(quantiles, put_quantile));
        out.list(&self.suspicious_since_s, |out, since_s| out.option(*since_s, |out, since_s| out.i64(since_s)));
        out.option(self.latched.as_ref(), put_latched);
        for body in &self.bodies {
            parts::put_body(&mut out, body);
        }
        out.finish()
    }

    /// The comparison of stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Comparison, RecordError> {
        let mut reader = Reader::new(bytes);
        if reader.raw(MAGIC.len())? != MAGIC {
            return Err(RecordError::Magic);
        }
        reader.version = reader.u8()?;
        if !(1..=VERSION).contains(&reader.version) {
            return Err(RecordError::Version { version: reader.version });
        }
        let policy = policy(&mut reader)?;
        let checks = reader.list(parts::check)?;
        let strata = reader.list(Reader::text)?;
        let opened_s = reader.time()?;
        let mut comparison = Comparison::open(policy, checks, strata, opened_s);
        comparison.newest_s = reader.time()?;
        comparison.seen = counts(&mut reader)?;
        for (expected, observed) in reader.list(|reader| Ok((reader.list(Reader::f64)?, reader.list(Reader::u64)?)))? {
            if expected.len() != observed.len() || expected.is_empty() {
                return Err(reader.invalid("split of traffic"));
            }
            comparison.split.add_stage(expected, observed);
        }
        comparison.quantiles = reader.list(|reader| reader.list(quantile))?;
        comparison.suspicious_since_s = reader.list(|reader| reader.option(Reader::time))?;
        comparison.latched = reader.option(latched)?;
        let many = comparison.checks.len();
        if comparison.quantiles.len() != many || comparison.suspicious_since_s.len() != many {
            return Err(reader.invalid("number of checks"));
        }
        for body in &mut comparison.bodies {
            parts::fill_body(&mut reader, body)?;
        }
        reader.end()?;
        comparison.weights = weights(&comparison.checks, &comparison.policy.weights);
        Ok(comparison)
    }
}

/// All fractions of a policy, in the order in which they are stored. New ones go to the end, with a new version.
fn fractions(policy: &mut Policy) -> Vec<&mut f64> {
    let Policy { latency, weights, patterns, .. } = policy;
    let mut all = vec![
        &mut policy.alpha_fast,
        &mut policy.alpha_slow,
        &mut policy.alpha_fine,
        &mut policy.alpha_interval,
        &mut policy.split_evidence_max,
        &mut policy.allowance_worse,
        &mut policy.allowance_fine,
        &mut policy.not_concurrent_factor,
        &mut policy.errors_fine_busy,
        &mut policy.busy_per_hour,
        &mut weights.errors,
        &mut weights.latency,
        &mut weights.kpi,
        &mut weights.patterns,
        &mut weights.traffic,
        &mut latency.relative,
        &mut latency.absolute_s,
        &mut latency.worse,
        &mut latency.catastrophe,
        &mut patterns.margin,
        &mut patterns.floor,
        &mut patterns.false_discoveries,
        &mut patterns.weight_known,
    ];
    all.extend(&mut latency.fine);
    for margins in [&mut policy.warm_up, &mut policy.errors, &mut policy.kpi, &mut policy.traffic] {
        all.extend(of_margins(margins));
    }
    all
}

fn of_margins(margins: &mut Margins) -> [&mut f64; 4] {
    [&mut margins.worse, &mut margins.catastrophe, &mut margins.fine, &mut margins.floor]
}

/// All whole numbers of a policy, likewise.
fn whole_numbers(policy: &mut Policy) -> [&mut u32; 6] {
    [
        &mut policy.steady_min_s,
        &mut policy.blocks_min,
        &mut policy.warm_up_s,
        &mut policy.instances_min,
        &mut policy.lag_max_s,
        &mut policy.late_max_s,
    ]
}

fn put_policy(out: &mut Writer, policy: &Policy) {
    let mut policy = policy.clone();
    for fraction in fractions(&mut policy) {
        out.f64(*fraction);
    }
    for number in whole_numbers(&mut policy) {
        out.u64(u64::from(*number));
    }
    out.option(policy.block_s, |out, block_s| out.u64(u64::from(block_s)));
    out.u64(policy.patterns.lines_min);
    out.u64(policy.patterns.lines_min_alone);
}

fn policy(reader: &mut Reader<'_>) -> Result<Policy, RecordError> {
    let mut policy = Policy::default();
    for fraction in fractions(&mut policy) {
        *fraction = reader.f64()?;
    }
    for number in whole_numbers(&mut policy) {
        *number = reader.u32()?;
    }
    policy.block_s = reader.option(Reader::u32)?;
    policy.patterns.lines_min = reader.u64()?;
    policy.patterns.lines_min_alone = reader.u64()?;
    Ok(policy)
}

fn put_counts(out: &mut Writer, counts: Counts) {
    for tally in [counts.candidate, counts.baseline] {
        out.u64(tally.events);
        out.u64(tally.exposure);
    }
}

fn counts(reader: &mut Reader<'_>) -> Result<Counts, RecordError> {
    let candidate = Tally::new(reader.u64()?, reader.u64()?);
    Ok(Counts::new(candidate, Tally::new(reader.u64()?, reader.u64()?)))
}

fn put_quantile(out: &mut Writer, quantile: &QuantileDifference) {
    for value in [quantile.q, quantile.candidate_s, quantile.baseline_s, quantile.relative, quantile.p_value] {
        out.f64(value);
    }
    for end in [quantile.relative_low, quantile.relative_high, quantile.low_s, quantile.high_s] {
        out.option(end, Writer::f64);
    }
}

fn quantile(reader: &mut Reader<'_>) -> Result<QuantileDifference, RecordError> {
    let (q, candidate_s, baseline_s) = (reader.f64()?, reader.f64()?, reader.f64()?);
    let (relative, p_value) = (reader.f64()?, reader.f64()?);
    let (relative_low, relative_high) = (reader.option(Reader::f64)?, reader.option(Reader::f64)?);
    let (low_s, high_s) = (reader.option(Reader::f64)?, reader.option(Reader::f64)?);
    let difference = QuantileDifference {
        q,
        candidate_s,
        baseline_s,
        relative,
        relative_low,
        relative_high,
        low_s,
        high_s,
        p_value,
    };
    Ok(difference)
}

fn put_latched(out: &mut Writer, latched: &Latched) {
    out.i64(latched.at_s);
    out.bool(latched.fast);
    out.list(&latched.checks, |out, check| out.text(check));
    out.text(&latched.summary);
}

fn latched(reader: &mut Reader<'_>) -> Result<Latched, RecordError> {
    Ok(Latched {
        at_s: reader.time()?,
        fast: reader.bool()?,
        checks: reader.list(Reader::text)?,
        summary: reader.text()?,
    })
}
