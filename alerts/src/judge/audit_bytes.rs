//! What came of fake releases, as bytes of the judge's state. `alerts/FORMAT.md` describes them; change both together.
//!
//! They are small, because there may be a day of rounds of some hundred services and all of it is written with every commit.

use shipwake_verdict::audit::Audit;

use super::audit::{Audits, PLACES_MAX, ROUNDS, Round, Sum};
use crate::state_bytes::{Reader, put_bytes, put_f64, put_i64, put_optional, put_text, put_u64};

/// The bytes of all services.
pub(super) fn put(out: &mut Vec<u8>, audits: &Audits) {
    put_u64(out, audits.sums.len() as u64);
    for ((namespace, service, environment), sum) in &audits.sums {
        [namespace, service, environment].into_iter().for_each(|name| put_text(out, name));
        put_audit(out, &sum.audit);
        put_i64(out, sum.until_s);
        put_u64(out, sum.rounds.len() as u64);
        for round in &sum.rounds {
            put_audit(out, &round.quiet);
            put_audit(out, &round.doubled);
            put_optional(out, round.floor, put_f64);
        }
    }
}

/// Reads them.
///
/// # Errors
/// What is wrong with them.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Audits, String> {
    let sums = reader.list(|reader| {
        let id = (reader.name()?, reader.name()?, reader.name()?);
        let (audit, until_s) = (read_audit(reader)?, reader.i64()?);
        let rounds = reader.list(|reader| {
            let (quiet, doubled) = (read_audit(reader)?, read_audit(reader)?);
            Ok(Round { quiet, doubled, floor: reader.optional(Reader::f64)? })
        })?;
        if rounds.len() > ROUNDS {
            return Err(format!("{} rounds of an audit, where {ROUNDS} are kept", rounds.len()));
        }
        Ok((id, Sum { audit, rounds: rounds.into(), until_s }))
    })?;
    if sums.len() > PLACES_MAX {
        return Err(format!("audits of {} services, where {PLACES_MAX} are kept", sums.len()));
    }
    Ok(Audits { sums: sums.into_iter().collect() })
}

fn put_audit(out: &mut Vec<u8>, audit: &Audit) {
    for count in [audit.releases, audit.no_go, audit.go] {
        out.extend_from_slice(&count.to_le_bytes());
    }
    // A fake release has twenty minutes.
    let seconds = audit.no_go_after_s.iter().map(|after_s| u16::try_from(*after_s).unwrap_or(u16::MAX));
    put_bytes(out, &seconds.flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
}

fn read_audit(reader: &mut Reader<'_>) -> Result<Audit, String> {
    let (releases, no_go, go) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let seconds = reader.bytes()?;
    if !seconds.len().is_multiple_of(2) || seconds.len() / 2 > no_go as usize {
        return Err(format!("{} bytes of the times of {no_go} fake releases", seconds.len()));
    }
    let no_go_after_s = seconds.chunks_exact(2).map(|two| i64::from(u16::from_le_bytes([two[0], two[1]]))).collect();
    Ok(Audit { releases, no_go, go, no_go_after_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(releases: u32, no_go_after_s: &[i64]) -> Audit {
        Audit { releases, no_go: no_go_after_s.len() as u32, go: 7, no_go_after_s: no_go_after_s.to_vec() }
    }

    #[test]
    fn a_day_of_audits_comes_back_as_it_was_and_is_small() {
        let times: Vec<i64> = (1..=16).map(|k| k * 70).collect();
        let round = |k: usize| Round {
            quiet: audit(16, &times[..k % 2]),
            doubled: audit(16, &times),
            floor: (k == 3).then_some(2.5),
        };
        let sum = Sum {
            audit: Audit { releases: 4_000, no_go: 3, go: 3_900, ..Audit::default() },
            rounds: (0..ROUNDS).map(round).collect(),
            until_s: 1_800_000_000,
        };
        let id = ("shop".into(), "checkout".into(), "production".into());
        let audits = Audits { sums: [(id, sum)].into() };
        let mut bytes = Vec::new();
        put(&mut bytes, &audits);
        assert!(bytes.len() < 2_500, "{} bytes", bytes.len());
        let again = read(&mut Reader::new(&bytes)).expect("ours");
        assert_eq!(again.sums, audits.sums);
        for end in 0..bytes.len() {
            assert!(read(&mut Reader::new(&bytes[..end])).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn more_than_is_kept_is_refused() {
        let mut sum = Sum::default();
        sum.rounds.extend(vec![Round::default(); ROUNDS + 1]);
        let mut bytes = Vec::new();
        put(&mut bytes, &Audits { sums: [(("".into(), "a".into(), "p".into()), sum)].into() });
        assert!(read(&mut Reader::new(&bytes)).is_err());
        let mut bytes = Vec::new();
        let id = |k: usize| ("".into(), format!("service-{k}").into(), "p".into());
        put(&mut bytes, &Audits { sums: (0..=PLACES_MAX).map(|k| (id(k), Sum::default())).collect() });
        assert!(read(&mut Reader::new(&bytes)).is_err());
    }
}
