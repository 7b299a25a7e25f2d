//! Checks and what they have taken in, as bytes.

use super::bytes::{Reader, Writer};
use super::{RecordError, counts, of_margins, put_counts};
use crate::bets::Bets;
use crate::check::{Check, Group, Kind, Part};
use crate::comparison::{Body, clamped};
use crate::fixed::Sum;
use crate::grid::Likelihood;
use crate::marks::Mark;
use crate::noise::Noise;
use crate::patterns::Pattern;
use crate::policy::Margins;
use crate::track::{Sealed, Stratum, Track, Window};

pub(super) fn put_check(out: &mut Writer, check: &Check) {
    out.text(&check.id);
    out.text(&check.title);
    out.u8(check.group as u8);
    out.bool(check.required);
    out.bool(check.critical);
    match &check.kind {
        Kind::Counts(parts) => {
            out.u8(0);
            out.list(parts, put_part);
        }
        Kind::Values { block_s, limit } => {
            out.u8(1);
            out.u64(u64::from(*block_s));
            out.f64(*limit);
        }
        Kind::Patterns => out.u8(2),
    }
}

pub(super) fn check(reader: &mut Reader<'_>) -> Result<Check, RecordError> {
    let (id, title) = (reader.text()?, reader.text()?);
    let group = reader.u8()?;
    let group = Group::ALL.into_iter().find(|known| *known as u8 == group).ok_or(reader.invalid("group"))?;
    let (required, critical) = (reader.bool()?, reader.bool()?);
    let kind = match reader.u8()? {
        0 => Kind::Counts(reader.list(part)?),
        1 => Kind::Values { block_s: reader.u32()?, limit: reader.f64()? },
        2 => Kind::Patterns,
        _ => return Err(reader.invalid("kind of check")),
    };
    Ok(Check { id, title, group, required, critical, kind })
}

fn put_part(out: &mut Writer, part: &Part) {
    out.text(&part.name);
    let mut margins = part.margins;
    for value in of_margins(&mut margins) {
        out.f64(*value);
    }
    out.bool(part.fewer_is_worse);
    let noise = &part.noise;
    for value in [noise.dispersion_fast, noise.dispersion, noise.spread] {
        out.f64(value);
    }
    out.u64(u64::from(noise.block_s));
    out.option(noise.rate, Writer::f64);
    out.u64(noise.learnt_s);
}

fn part(reader: &mut Reader<'_>) -> Result<Part, RecordError> {
    let name = reader.text()?;
    let mut margins = Margins { worse: 0.0, catastrophe: 0.0, fine: 0.0, floor: 0.0 };
    for value in of_margins(&mut margins) {
        *value = reader.f64()?;
    }
    let fewer_is_worse = reader.bool()?;
    let noise = Noise {
        dispersion_fast: reader.f64()?,
        dispersion: reader.f64()?,
        spread: reader.f64()?,
        block_s: reader.u32()?,
        rate: reader.option(Reader::f64)?,
        learnt_s: reader.u64()?,
    };
    Ok(Part { name, margins, fewer_is_worse, noise })
}

pub(super) fn put_body(out: &mut Writer, body: &Body) {
    match body {
        Body::Counts(tracks) => out.list(tracks, put_track),
        Body::Values(values) => {
            let blocks: Vec<_> = values.parts().collect();
            out.list(&blocks, |out, (block, sides)| {
                out.i64(*block);
                for (bits, exposure) in sides {
                    out.i128(*bits);
                    out.u64(*exposure);
                }
            });
        }
        Body::Patterns(patterns) => {
            out.u64(patterns.untracked);
            let all: Vec<_> = patterns.parts().collect();
            out.list(&all, |out, (id, pattern)| put_pattern(out, **id, pattern));
        }
    }
}

/// Fills the body of a check that was just opened.
pub(super) fn fill_body(reader: &mut Reader<'_>, body: &mut Body) -> Result<(), RecordError> {
    match body {
        Body::Counts(tracks) => {
            let stored = reader.list(track)?;
            if stored.len() != tracks.len() {
                return Err(reader.invalid("number of parts"));
            }
            for (track, stored) in tracks.iter_mut().zip(stored) {
                let start_s = |number: &i64| number.checked_mul(track.block_s);
                if stored.blocks.keys().any(|number| start_s(number).is_none_or(|start_s| start_s != clamped(start_s)))
                {
                    return Err(reader.invalid("number of a block"));
                }
                *track = Track { block_s: track.block_s, origin_s: track.origin_s, ..stored };
            }
        }
        Body::Values(values) => {
            let side = |reader: &mut Reader<'_>| Ok((reader.i128()?, reader.u64()?));
            for (block, sides) in reader.list(|reader| Ok((reader.time()?, [side(reader)?, side(reader)?])))? {
                values.set_part(block, sides);
            }
        }
        Body::Patterns(patterns) => {
            patterns.untracked = reader.u64()?;
            for (id, pattern) in reader.list(pattern)? {
                patterns.set_part(id, pattern);
            }
        }
    }
    Ok(())
}

fn put_track(out: &mut Writer, track: &Track) {
    let strata: Vec<_> = track.strata.iter().collect();
    out.list(&strata, |out, (name, stratum)| {
        out.u64(u64::from(**name));
        put_likelihood(out, &stratum.likelihood);
        put_counts(out, stratum.counts);
    });
    put_likelihood(out, &track.warm);
    put_counts(out, track.warm_counts);
    let blocks: Vec<_> = track.blocks.iter().collect();
    out.list(&blocks, |out, (block, windows)| {
        out.i64(**block);
        let windows: Vec<_> = windows.windows.iter().collect();
        out.list(&windows, |out, ((start_s, stratum), window)| {
            out.i64(*start_s);
            out.u64(u64::from(*stratum));
            out.bool(window.is_warm);
            put_counts(out, window.counts);
        });
    });
    let sealed = &track.sealed;
    out.u64(u64::from(sealed.blocks));
    put_bets(out, &sealed.worse);
    put_bets(out, &sealed.fine);
    put_counts(out, sealed.sized);
    out.u64(u64::from(sealed.sized_blocks));
    out.i64(sealed.before_s);
    out.u64(track.late);
    out.list(&track.marks, |out, mark| {
        out.i64(mark.at_s);
        out.i64(mark.number);
        put_likelihood(out, &mark.before);
        put_counts(out, mark.counts);
        out.option(mark.worse.as_ref(), put_bets);
    });
}

fn mark(reader: &mut Reader<'_>) -> Result<Mark, RecordError> {
    let (at_s, number) = (reader.time()?, reader.time()?);
    let mut mark = Mark::new(at_s, number, likelihood(reader)?, counts(reader)?);
    mark.worse = reader.option(|reader| bets(reader, 1.0, 0))?;
    Ok(mark)
}

fn put_bets(out: &mut Writer, bets: &Bets) {
    out.u64(u64::from(bets.blocks));
    bets.won.iter().for_each(|sum| out.i64(*sum));
}

/// Of version 1, what is surely won by its sums of deviations; `side` is 1 for bets on "up", -1 on "down". Of how many `blocks` they are
/// was not written with a later start; with none before it, most is taken off after it.
fn bets(reader: &mut Reader<'_>, side: f64, blocks: u32) -> Result<Bets, RecordError> {
    if reader.version == 1 {
        let (sum, squares) = (Sum::from_bits(reader.i128()?), Sum::from_bits(reader.i128()?));
        return Ok(Bets::at_least(side * sum.value(), squares.value(), blocks));
    }
    let mut bets = Bets { blocks: reader.u32()?, ..Bets::default() };
    for sum in &mut bets.won {
        *sum = reader.i64()?;
    }
    Ok(bets)
}

fn track(reader: &mut Reader<'_>) -> Result<Track, RecordError> {
    let mut track = Track::new(1, 0);
    let strata = reader.list(|reader| Ok((stratum(reader)?, likelihood(reader)?, counts(reader)?)))?;
    for (name, likelihood, counts) in strata {
        track.total.merge(&likelihood);
        track.counts += counts;
        track.strata.insert(name, Stratum { likelihood, counts });
    }
    track.warm = likelihood(reader)?;
    track.warm_counts = counts(reader)?;
    let window = |reader: &mut Reader<'_>| {
        let at = (reader.time()?, stratum(reader)?);
        let is_warm = reader.bool()?;
        Ok((at, Window { counts: counts(reader)?, is_warm }))
    };
    for (block, windows) in reader.list(|reader| Ok((reader.time()?, reader.list(window)?)))? {
        track.blocks.entry(block).or_default().windows.extend(windows);
    }
    let blocks = reader.u32()?;
    track.sealed = Sealed {
        blocks,
        worse: bets(reader, 1.0, blocks)?,
        fine: bets(reader, -1.0, blocks)?,
        sized: counts(reader)?,
        sized_blocks: reader.u32()?,
        before_s: reader.time()?,
    };
    track.late = reader.u64()?;
    track.marks = reader.list(mark)?;
    Ok(track)
}

fn stratum(reader: &mut Reader<'_>) -> Result<u16, RecordError> {
    u16::try_from(reader.u64()?).map_err(|_| reader.invalid("stratum"))
}

fn put_likelihood(out: &mut Writer, likelihood: &Likelihood) {
    for sum in likelihood.events.iter().chain(&likelihood.floor) {
        out.i128(sum.to_bits());
    }
}

fn likelihood(reader: &mut Reader<'_>) -> Result<Likelihood, RecordError> {
    let mut likelihood = Likelihood::default();
    for sum in likelihood.events.iter_mut().chain(&mut likelihood.floor) {
        *sum = Sum::from_bits(reader.i128()?);
    }
    Ok(likelihood)
}

fn put_pattern(out: &mut Writer, id: u64, pattern: &Pattern) {
    out.u64(id);
    out.text(&pattern.template);
    out.bool(pattern.known);
    put_likelihood(out, &pattern.likelihood);
    put_counts(out, pattern.counts);
    out.u64(pattern.squares);
    out.u8(pattern.slots);
}

fn pattern(reader: &mut Reader<'_>) -> Result<(u64, Pattern), RecordError> {
    let id = reader.u64()?;
    let (template, known) = (reader.text()?, reader.bool()?);
    let mut pattern = Pattern::new(&template, known);
    pattern.likelihood = likelihood(reader)?;
    pattern.counts = counts(reader)?;
    pattern.squares = reader.u64()?;
    pattern.slots = reader.u8()?;
    Ok((id, pattern))
}
