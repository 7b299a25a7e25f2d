//! Arbitrary requests as senders encode them, wild ones, and damaged ones. Everything here is deterministic or, with
//! proptest, prints what failed.

use proptest::prelude::*;
use prost::Message;

use crate::agree::{check_all, check_logs, check_metrics, check_spans};
use crate::generate;
use crate::schema::{LOGS_REQUEST, METRICS_REQUEST, SPANS_REQUEST, Schema};
use crate::wild::{self, Random};

/// Cases per property: the three together stay under a few seconds.
const CASES: u32 = 200;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_that_prost_encoded_are_read_as_prost_reads_them(request in generate::logs()) {
        prop_assert!(check_logs(&request.encode_to_vec()));
    }

    #[test]
    fn spans_that_prost_encoded_are_read_as_prost_reads_them(request in generate::spans()) {
        prop_assert!(check_spans(&request.encode_to_vec()));
    }

    #[test]
    fn metrics_that_prost_encoded_are_read_as_prost_reads_them(request in generate::metrics()) {
        prop_assert!(check_metrics(&request.encode_to_vec()));
    }

    #[test]
    fn wild_requests_are_read_as_prost_reads_them(seed: u64) {
        prop_assert!(check_logs(&wild::request(&LOGS_REQUEST, seed, 0)));
        prop_assert!(check_spans(&wild::request(&SPANS_REQUEST, seed, 0)));
        prop_assert!(check_metrics(&wild::request(&METRICS_REQUEST, seed, 0)));
    }

    #[test]
    fn arbitrary_bytes_are_taken_or_refused_as_prost_does(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check_all(&bytes);
    }
}

const SCHEMAS: [&Schema; 3] = [&LOGS_REQUEST, &SPANS_REQUEST, &METRICS_REQUEST];

#[test]
fn wild_requests_with_faults_are_taken_or_refused_as_prost_does() {
    let mut taken = 0;
    for seed in 0..3_000 {
        let schema = SCHEMAS[(seed % 3) as usize];
        taken += check_all(&wild::request(schema, seed, 200));
    }
    assert!((500..8_000).contains(&taken), "of 9000 readings {taken} succeeded: the faults are too rare or too many");
}

#[test]
fn every_truncation_of_a_request_is_taken_or_refused_as_prost_does() {
    for seed in 0..30 {
        let request = wild::request(SCHEMAS[(seed % 3) as usize], seed, 0);
        for end in 0..request.len().min(1_500) {
            check_all(&request[..end]);
        }
    }
}

#[test]
fn every_mutation_of_a_corpus_is_taken_or_refused_as_prost_does() {
    let mut random = Random::new(1);
    let mut taken = 0;
    for seed in 0..200 {
        let request = wild::request(SCHEMAS[(seed % 3) as usize], seed, 0);
        for _ in 0..40 {
            taken += check_all(&mutate(&request, &mut random));
        }
    }
    assert!(taken > 1_000, "only {taken} of 24000 readings succeeded: mutations hit nothing but lengths");
}

/// One to four small damages: a flipped bit, a changed byte, a removed, repeated or inserted piece.
fn mutate(request: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = request.to_vec();
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let len = random.below(bytes.len() - at).min(12);
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => drop(bytes.drain(at..at + len)),
            3 => {
                let piece = bytes[at..at + len].to_vec();
                let target = random.below(bytes.len());
                bytes.splice(target..target, piece);
            }
            _ => bytes.insert(at, random.next() as u8),
        }
    }
    bytes
}
