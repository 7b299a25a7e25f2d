//! What the judge keeps between starts, as bytes. `alerts/FORMAT.md` describes them; change both together.
//!
//! Windows are not kept but in comparisons: what is stored of them is read again after a start, and a comparison takes what it does not
//! know yet. So a judge that was killed goes on as if it had only looked away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use shipwake_model::Source;
use shipwake_rollout::Place;
use shipwake_verdict::latency::Thresholds;
use shipwake_verdict::{Comparison, Word};

use super::audit_bytes;
use super::case::{Case, Moment, PastWindow, Trial};
use super::engine::{Engine, JudgeConfig};
use super::learn::Again;
use super::questions::place_of;
use super::words::Told;
use crate::board::{Past, TrailPoint};
use crate::state_bytes::{Reader, put_bytes, put_f64, put_i64, put_optional, put_release, put_text, put_u64};

const MAGIC: &[u8; 4] = b"SWJD";
const VERSION: u8 = 2;
/// The oldest version that is read.
const OLDEST: u8 = 1;
const WORDS: [Word; 4] = [Word::Go, Word::NoGo, Word::Watch, Word::Wait];

/// The bytes of what is known.
pub(crate) fn encode(engine: &Engine) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    put_u64(&mut out, engine.revision);
    put_u64(&mut out, engine.places.len() as u64);
    for ((namespace, service, environment), place) in &engine.places {
        [namespace, service, environment].into_iter().for_each(|name| put_text(&mut out, name));
        put_bytes(&mut out, &place.encode());
    }
    put_u64(&mut out, engine.cases.len() as u64);
    engine.cases.iter().for_each(|case| put_case(&mut out, case));
    put_u64(&mut out, engine.numbers.len() as u64);
    for (release, number) in &engine.numbers {
        put_release(&mut out, release);
        put_u64(&mut out, *number);
    }
    audit_bytes::put(&mut out, &engine.audits);
    out
}

/// An engine that goes on from these bytes; from none it begins.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn decode(bytes: &[u8], config: JudgeConfig) -> Result<Engine, String> {
    let mut engine = Engine::new(config);
    if bytes.is_empty() {
        return Ok(engine);
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Err("it is no state of the judge".to_owned()) };
    let mut reader = Reader::new(rest);
    let version = reader.u8()?;
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(format!("the judge's state has version {version}, this one reads {OLDEST} to {VERSION}"));
    }
    engine.revision = reader.u64()?;
    let places = reader.list(|reader| {
        let id = (reader.name()?, reader.name()?, reader.name()?);
        Ok((id, Place::decode(reader.bytes()?).map_err(|error| error.to_string())?))
    })?;
    engine.places = places.into_iter().collect();
    let places = &engine.places;
    let cases = reader.list(|reader| read_case(reader, places))?;
    engine.cases = cases.into_iter().flatten().collect();
    let numbers = reader.list(|reader| Ok((Arc::new(reader.release()?), reader.u64()?)))?;
    engine.numbers = VecDeque::from(numbers);
    if version > 1 {
        engine.audits = audit_bytes::read(&mut reader)?;
    }
    if !reader.is_at_end() {
        return Err("there are bytes behind the judge's state".to_owned());
    }
    Ok(engine)
}

fn put_case(out: &mut Vec<u8>, case: &Case) {
    put_release(out, &case.id);
    put_i64(out, case.release.opened_s);
    out.push(case.source as u8);
    put_text(out, &case.policy);
    put_trial(out, &case.main);
    put_optional(out, case.after.as_ref(), put_trial);
    out.push(place_in_words(case.told.word));
    put_text(out, &case.told.summary);
    put_optional(out, case.told.next, |out, (word, since_s)| {
        out.push(place_in_words(word));
        put_i64(out, since_s);
    });
    put_i64(out, case.since_ms);
    put_u64(out, case.sequence);
    put_u64(out, case.past.len() as u64);
    for past in &case.past {
        out.push(place_in_words(past.word));
        put_i64(out, past.at_ms);
        put_text(out, &past.summary);
    }
    put_u64(out, case.trails.len() as u64);
    for (id, trail) in &case.trails {
        put_text(out, id);
        put_u64(out, trail.len() as u64);
        for point in trail {
            put_i64(out, point.t_ms);
            put_f64(out, point.value);
            put_optional(out, point.low, put_f64);
            put_optional(out, point.high, put_f64);
            put_f64(out, point.ln_worse);
        }
    }
    put_i64(out, case.newest_s);
    put_f64(out, case.usual_rate);
    put_i64(out, case.minutes_s);
    put_i64(out, case.split_s);
    case.silent.iter().for_each(|silent| put_u64(out, u64::from(*silent)));
    put_optional(out, case.moment, |out, moment| {
        put_i64(out, moment.now_ms);
        put_i64(out, moment.complete_ms);
        put_optional(out, moment.candidate, |out, count| put_u64(out, u64::from(count)));
        put_optional(out, moment.baseline, |out, count| put_u64(out, u64::from(count)));
    });
}

/// A case; `None` when its place does not know of its release any more.
fn read_case(reader: &mut Reader<'_>, places: &BTreeMap<crate::board::PlaceId, Place>) -> Result<Option<Case>, String> {
    let id = Arc::new(reader.release()?);
    let opened_s = reader.i64()?;
    let number = reader.u8()?;
    let source = Source::ALL.into_iter().find(|source| *source as u8 == number);
    let source = source.ok_or_else(|| format!("there is no source {number}"))?;
    let policy = reader.name()?;
    let main = read_trial(reader)?;
    let after = reader.optional(read_trial)?;
    let told = Told {
        word: read_word(reader)?,
        summary: reader.text()?,
        next: reader.optional(|reader| Ok((read_word(reader)?, reader.i64()?)))?,
    };
    let (since_ms, sequence) = (reader.i64()?, reader.u64()?);
    let past =
        reader.list(|reader| Ok(Past { word: read_word(reader)?, at_ms: reader.i64()?, summary: reader.name()? }))?;
    let trails = reader.list(|reader| Ok((reader.text()?, reader.list(read_point)?)))?;
    let (newest_s, usual_rate, minutes_s) = (reader.i64()?, reader.f64()?, reader.i64()?);
    let split_s = reader.i64()?;
    let silent = [reader.small()?, reader.small()?];
    let moment = reader.optional(|reader| {
        Ok(Moment {
            now_ms: reader.i64()?,
            complete_ms: reader.i64()?,
            candidate: reader.optional(Reader::small)?,
            baseline: reader.optional(Reader::small)?,
        })
    })?;
    let releases = places.get(&place_of(&id)).map(Place::releases).unwrap_or_default();
    let release = releases.iter().find(|release| release.version == id.version && release.opened_s == opened_s);
    let Some(release) = release.cloned() else { return Ok(None) };
    let mut case = Case {
        id,
        release,
        source,
        policy,
        main,
        after,
        told,
        since_ms,
        sequence,
        past,
        trails: trails.into_iter().collect(),
        newest_s,
        usual_rate,
        minutes_s,
        split_s,
        silent,
        slice_s: i64::MIN,
        levels: BTreeMap::new(),
        hashes: Default::default(),
        reread: true,
        refill: true,
        again: Again::default(),
        verdict: None,
        moment,
    };
    case.recall();
    Ok(Some(case))
}

fn put_trial(out: &mut Vec<u8>, trial: &Trial) {
    put_bytes(out, &trial.comparison.encode());
    put_optional(out, trial.thresholds, |out, thresholds| {
        put_f64(out, thresholds.unit_s);
        let Thresholds { at, beyond, limit, .. } = thresholds;
        [at, beyond, limit].iter().flatten().for_each(|value| put_f64(out, *value));
    });
    put_i64(out, trial.latency_from_s);
    put_i64(out, trial.past_from_s);
    put_u64(out, trial.past.len() as u64);
    for PastWindow { requests, errors, timed, beyond } in &trial.past {
        [*requests, *errors, *timed].iter().chain(beyond).for_each(|count| put_u64(out, *count));
    }
}

fn read_trial(reader: &mut Reader<'_>) -> Result<Trial, String> {
    let comparison = Comparison::decode(reader.bytes()?).map_err(|error| error.to_string())?;
    let three = |reader: &mut Reader<'_>| Ok::<_, String>([reader.f64()?, reader.f64()?, reader.f64()?]);
    let thresholds = reader.optional(|reader| {
        let unit_s = reader.f64()?;
        Ok(Thresholds { unit_s, at: three(reader)?, beyond: three(reader)?, limit: three(reader)? })
    })?;
    let (latency_from_s, past_from_s) = (reader.i64()?, reader.i64()?);
    let past = reader.list(|reader| {
        Ok(PastWindow {
            requests: reader.u64()?,
            errors: reader.u64()?,
            timed: reader.u64()?,
            beyond: [reader.u64()?, reader.u64()?, reader.u64()?],
        })
    })?;
    Ok(Trial { comparison, thresholds, latency_from_s, past, past_from_s })
}

fn read_point(reader: &mut Reader<'_>) -> Result<TrailPoint, String> {
    Ok(TrailPoint {
        t_ms: reader.i64()?,
        value: reader.f64()?,
        low: reader.optional(Reader::f64)?,
        high: reader.optional(Reader::f64)?,
        ln_worse: reader.f64()?,
    })
}

fn place_in_words(word: Word) -> u8 {
    WORDS.iter().position(|known| *known == word).expect("all four words") as u8
}

fn read_word(reader: &mut Reader<'_>) -> Result<Word, String> {
    let place = reader.u8()?;
    WORDS.get(usize::from(place)).copied().ok_or_else(|| format!("there is no word {place}"))
}
