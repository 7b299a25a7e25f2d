//! A short run of fuzzing that every `cargo test` makes, with the stable compiler and no coverage: files of the corpus are
//! changed at random, and go through every reader of foreign bytes. The seed is printed, and what fails is shown whole.
//!
//! `SHIPWAKE_FUZZ_SEED` repeats a run or makes another; `SHIPWAKE_FUZZ_INPUTS` makes it longer. The targets in `fuzz/` look
//! further, guided by coverage; `tests/replay.rs` reads the corpus as it is.

use std::fs;
use std::path::{Path, PathBuf};

use shipwake_ingest::probe;

/// What each reader reads if nothing else is said: a few seconds for all of them.
const INPUTS: u64 = 20_000;
const SEED: u64 = 2026;
/// Longest input. Troubles of length have their own tests.
const BYTES_MAX: usize = 4096;

type Reader = (&'static str, fn(&[u8]));

const READERS: [Reader; 5] = [
    ("otlp_protobuf", probe::otlp_protobuf),
    ("otlp_json", probe::otlp_json),
    ("lines", probe::lines),
    ("remote_write", probe::remote_write),
    ("syslog", probe::syslog),
];

/// What readers look for: with these, chance gets beyond the first byte.
const TOKENS: [&[u8]; 40] = [
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\"",
    b"\\\"",
    b"\\x22",
    b"\\u00e9",
    b"\\ud800",
    b"{",
    b"}",
    b"{\"",
    b"\":",
    b"[",
    b"]",
    b",",
    b":",
    b"=",
    b"-",
    b"- - [23/Nov/2026:10:00:00 +0000] ",
    b"\"GET / HTTP/1.1\" 200 5",
    b"0/0/1/2/3",
    b"blue/s1",
    b"10.0.0.1:80",
    b"unix:/",
    b"http://",
    b"<13>",
    b"<13>1 - h a - - - ",
    b"12 ",
    b"9999999999",
    b"1e400",
    b"-1",
    b"0.5",
    b"null",
    b"true",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\x00",
    b"\x80\x80\x80\x80\x01",
    b"\x0a\x02",
];

/// splitmix64: a number from the one before.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A part of a text.
    fn part<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let (one, other) = (self.below(text.len() + 1), self.below(text.len() + 1));
        &text[one.min(other)..one.max(other)]
    }
}

/// A file of the corpus with some changes.
fn mutated(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = corpus[chance.below(corpus.len())].clone();
    for _ in 0..1 + chance.below(8) {
        let at = chance.below(input.len() + 1);
        match chance.below(7) {
            0 => {
                let other = &corpus[chance.below(corpus.len())];
                let part = chance.part(other).to_vec();
                input.splice(at..at, part);
            }
            1 => drop(input.splice(at..at, TOKENS[chance.below(TOKENS.len())].iter().copied())),
            2 => {
                let end = at + chance.below(input.len() - at + 1);
                input.drain(at..end.min(at + 64));
            }
            3 => {
                let part = chance.part(&input).to_vec();
                input.splice(at..at, part);
            }
            4 => input.truncate(at.max(1)),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = if chance.below(2) == 0 { *byte ^ 1 << chance.below(8) } else { chance.next() as u8 };
                }
            }
        }
        input.truncate(BYTES_MAX);
    }
    input
}

/// Shows an input when its reader panics.
struct Shown<'a> {
    reader: &'a str,
    number: u64,
    input: &'a [u8],
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Shown { reader, number, input } = self;
            eprintln!("{reader} failed at input {number}: b\"{}\"", input.escape_ascii());
        }
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the corpus is in the repository") {
        let path = entry.expect("readable").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn given(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a whole number"))
}

#[test]
fn changed_files_of_the_corpus_are_read_without_a_panic() {
    let (seed, inputs) = (given("SHIPWAKE_FUZZ_SEED", SEED), given("SHIPWAKE_FUZZ_INPUTS", INPUTS));
    println!("SHIPWAKE_FUZZ_SEED={seed} SHIPWAKE_FUZZ_INPUTS={inputs}");
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"), &mut paths);
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("readable")).collect();
    assert!(corpus.len() >= 60, "{} files", corpus.len());
    for (reader, read) in READERS {
        // The same inputs whatever the other readers do.
        let mut chance = Chance(seed);
        for number in 0..inputs {
            let input = mutated(&corpus, &mut chance);
            let shown = Shown { reader, number, input: &input };
            read(&input);
            drop(shown);
        }
    }
}
