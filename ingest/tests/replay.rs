//! Inputs that once caused trouble, or could: every file of the corpus goes through every reader of foreign bytes, as the
//! fuzz targets do it, and so does each of its prefixes. No panic, and memory in proportion to the input, counted by the
//! allocator.
//!
//! The only `unsafe` is the allocator, which passes every call on unchanged and only counts.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use shipwake_ingest::probe;

struct Counting;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn note(change: i64) {
    let live = LIVE.with(|live| {
        live.set(live.get() + change);
        live.get()
    });
    PEAK.with(|peak| peak.set(peak.get().max(live)));
}

// SAFETY: see the header.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as i64));
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `run` holds at once.
fn peak(run: impl FnOnce()) -> i64 {
    let before = LIVE.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    run();
    PEAK.with(Cell::get) - before
}

type Reader = (&'static str, fn(&[u8]), i64);

/// The readers, with how many bytes each may hold for a byte of input. OTLP counts by resource, and an empty one has two
/// bytes. Remote-write may hold most: a label of two bytes is two slices, and what it makes was measured before.
const READERS: [Reader; 5] = [
    ("otlp_protobuf", probe::otlp_protobuf, 128),
    ("otlp_json", probe::otlp_json, 12),
    ("lines", probe::lines, 64),
    ("remote_write", probe::remote_write, 4096),
    // A message of one byte is a record with the names of its sender and the default service.
    ("syslog", probe::syslog, 1024),
];
/// Besides, whatever the input: tables and messages of errors.
const CONSTANT_BYTES: i64 = 64 << 10;

fn check(name: &str, input: &[u8]) {
    for (reader, read, factor) in READERS {
        let held = peak(|| read(input));
        assert!(
            held <= input.len() as i64 * factor + CONSTANT_BYTES,
            "{reader} held {held} bytes for {name} of {}",
            input.len()
        );
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the corpus is in the repository") {
        let path = entry.expect("readable").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn the_corpus_is_read_without_a_panic_and_in_bounded_memory() {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"), &mut paths);
    paths.sort();
    assert!(paths.len() >= 60, "{} files", paths.len());
    for path in &paths {
        let input = fs::read(path).expect("readable");
        let name = path.display().to_string();
        check(&name, &input);
        for end in (0..input.len()).step_by(input.len() / 64 + 1) {
            check(&name, &input[..end]);
        }
    }
}

#[test]
fn nesting_and_repetition_cost_no_more_than_their_bytes() {
    for (name, unit) in [
        ("lists", "["),
        ("objects", "{\"a\":"),
        ("known lists", "{\"resourceLogs\":["),
        ("empty objects", "{},"),
        ("escapes", "\"\\u0041"),
        ("quotes", "\""),
        ("pairs", "a=b "),
        ("lines", "x\n"),
        ("series of 1.0", "\n\0"),
        ("series of 2.0", "*\0"),
        ("symbols", "\"\0"),
        ("labels", "\n\u{2}\n\0"),
    ] {
        check(name, unit.repeat(50_000).as_bytes());
    }
}
