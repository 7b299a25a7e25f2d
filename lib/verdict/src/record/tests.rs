//! Stored comparisons judge on to the bit, and broken bytes are refused.

use proptest::prelude::*;

use super::*;
use crate::check::Check;
use crate::comparison::{Facts, Instances};
use crate::noise::Noise;
use crate::patterns::PatternLines;
use crate::values::Side;

fn noise() -> Noise {
    Noise { dispersion_fast: 1.2, dispersion: 1.7, spread: 0.1, block_s: 60, rate: Some(0.004), learnt_s: 3_600 }
}

fn opened() -> Comparison {
    let policy = Policy::default();
    let checks = vec![
        Check::errors(&policy, noise(), 1e5),
        Check::kpi_events(&policy, "orders", "orders per session", noise()),
        Check::kpi_values(&policy, "revenue", "revenue per session", 60),
        Check::patterns(),
    ];
    Comparison::open(policy, checks, vec!["POST /pay".to_owned(), "GET /cart".to_owned()], 1_000)
}

/// Two hours of windows from the `k`-th on: a candidate that fails three times as often from the second hour on.
fn feed(comparison: &mut Comparison, windows: std::ops::Range<u64>) {
    for k in windows {
        let start_s = 1_000 + k as i64 * 10;
        let failed = if k < 360 { 1 + k % 2 } else { 4 + k % 5 };
        let counts = Counts::new(Tally::new(failed, 300 + k % 40), Tally::new(9 + k % 7, 2_700));
        comparison.add(0, 0, (k % 3) as u16, start_s, counts);
        comparison.add(1, 0, 0, start_s, Counts::new(Tally::new(20 + k % 3, 90), Tally::new(180, 810)));
        comparison.add_values(2, start_s, Side::Candidate, 900.0 + (k % 11) as f64, 90);
        comparison.add_values(2, start_s, Side::Baseline, 8_100.0 + (k % 13) as f64, 810);
        let lines = PatternLines {
            id: k % 5,
            template: "pool exhausted",
            known: k.is_multiple_of(2),
            slot: (k % 8) as u8,
            counts: Counts::new(Tally::new(k % 2, 300), Tally::new(1, 2_700)),
        };
        comparison.add_pattern(3, lines);
        comparison.add_split([300, 2_700], [0.1, 0.9]);
    }
}

fn facts(k: u64) -> Facts {
    let now_s = 1_000 + k as i64 * 10 + 15;
    Facts {
        now_s,
        complete_until_s: now_s - 5,
        candidate: Instances { count: Some(4), silent: 0 },
        baseline: Instances { count: Some(18), silent: 0 },
        concurrent: true,
    }
}

#[test]
fn a_stored_comparison_goes_on_to_the_bit() {
    let mut whole = opened();
    let mut stored = opened();
    for k in (0..720).step_by(30) {
        feed(&mut whole, k..k + 30);
        feed(&mut stored, k..k + 30);
        let bytes = stored.encode();
        stored = Comparison::decode(&bytes).expect("what was just written");
        assert_eq!(stored.encode(), bytes);
        assert_eq!(whole.judge(&facts(k + 30)), stored.judge(&facts(k + 30)), "after {k}");
    }
    assert!(whole.latched.is_some());
}

const VERSION_ONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/record/v1.bin");

/// Bytes of version 1, kept when it was written: they must open, and judge as they did.
#[test]
fn version_one_opens() {
    let bytes = std::fs::read(VERSION_ONE).expect("the kept file");
    let mut comparison = Comparison::decode(&bytes).expect("version 1");
    let verdict = comparison.judge(&facts(600));
    assert_eq!(verdict.word.as_str(), "no_go");
    assert!(verdict.summary.starts_with("Roll back: errors"), "{}", verdict.summary);
}

const VERSION_TWO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/record/v2.bin");

#[test]
fn version_two_opens() {
    let bytes = std::fs::read(VERSION_TWO).expect("the kept file");
    let mut comparison = Comparison::decode(&bytes).expect("version 2");
    assert_eq!(comparison.encode(), bytes);
    let verdict = comparison.judge(&facts(600));
    assert_eq!(verdict.word.as_str(), "no_go");
    assert!(verdict.summary.starts_with("Roll back: errors"), "{}", verdict.summary);
}

/// Of version 1 the evidence of closed blocks is read as what is surely there: it never becomes more, and what comes after counts in full.
#[test]
fn version_one_claims_no_more_than_it_knows() {
    let open = |path: &str| Comparison::decode(&std::fs::read(path).expect("the kept file")).expect("a version");
    let (mut one, mut two) = (open(VERSION_ONE), open(VERSION_TWO));
    for k in (600..720).step_by(30) {
        feed(&mut one, k..k + 30);
        feed(&mut two, k..k + 30);
        let (one, two) = (one.judge(&facts(k + 30)), two.judge(&facts(k + 30)));
        for (one, two) in one.checks.iter().zip(&two.checks) {
            assert!(one.ln_worse <= two.ln_worse && one.ln_fine <= two.ln_fine, "{one:?} {two:?}");
        }
    }
}

/// Writes the file of the tests above: `SHIPWAKE_WRITE_RECORD=1 cargo test --release -p shipwake-verdict record`.
#[test]
fn version_two_is_written_on_demand() {
    let mut comparison = opened();
    for k in (0..600).step_by(60) {
        feed(&mut comparison, k..k + 60);
        if k < 360 {
            comparison.judge(&facts(k + 60));
        }
    }
    let bytes = comparison.encode();
    assert_eq!(bytes[..5], *b"SWVC\x02");
    if std::env::var_os("SHIPWAKE_WRITE_RECORD").is_some() {
        std::fs::write(VERSION_TWO, bytes).expect("a folder to write to");
    }
}

#[test]
fn other_bytes_are_refused() {
    let bytes = opened().encode();
    assert_eq!(Comparison::decode(b"PAR1 and more").err(), Some(RecordError::Magic));
    let mut newer = bytes.clone();
    newer[4] = 9;
    assert_eq!(Comparison::decode(&newer).err(), Some(RecordError::Version { version: 9 }));
    for length in (0..bytes.len()).step_by(7) {
        assert!(Comparison::decode(&bytes[..length]).is_err(), "{length}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(Comparison::decode(&longer), Err(RecordError::Invalid { what: "end", .. })));
}

proptest! {
    #[test]
    fn broken_bytes_never_panic(place in 0usize..4_000, value in 0u8..=255) {
        let mut comparison = opened();
        feed(&mut comparison, 0..3);
        let mut bytes = comparison.encode();
        let place = place % bytes.len();
        bytes[place] = value;
        if let Ok(mut comparison) = Comparison::decode(&bytes) {
            comparison.judge(&facts(3));
        }
    }
}
