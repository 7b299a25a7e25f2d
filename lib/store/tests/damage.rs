//! Random damage to random files of a store: found, named, and never answered from. The seed is printed; `SHIPWAKE_TORTURE_SEED`
//! repeats it, and `SHIPWAKE_TORTURE=long` makes a thousand rounds of two hundred.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use common::{Lent, SECOND, START, log_commit, rows, scratch, try_open};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use shipwake_store::{HotRows, SegmentFile, Severity, StoreError, Table, Wanted};

#[test]
fn random_damage_is_named_and_never_answered_from() {
    let seed =
        std::env::var("SHIPWAKE_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("store damage: SHIPWAKE_TORTURE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let is_long = std::env::var("SHIPWAKE_TORTURE").is_ok_and(|value| value == "long");
    let original = scratch();
    write(original.path());
    let whole = Contents::of(original.path()).expect("nothing is damaged");
    assert!(whole.rows.len() > 5 && whole.has_index);
    let mut harmless = 0;
    let rounds = if is_long { 1_000 } else { 200 };
    for round in 0..rounds {
        let dir = scratch();
        copy(original.path(), dir.path());
        let all = files(dir.path());
        let victim = all.choose(&mut random).expect("there are files").clone();
        let how = damage(&victim, &mut random);
        let context = format!("seed {seed}, round {round}: {} {how}", victim.display());

        let findings = shipwake_store::check(dir.path()).findings;
        let named = findings.iter().find(|finding| finding.path == victim).map(|finding| finding.severity);
        match Contents::of(dir.path()) {
            // Blooms, an index, one of two copies of the superblock, or what nothing live needs.
            Ok(contents) if contents.is_all_of(&whole) => {
                assert!(findings.iter().all(|finding| finding.severity < Severity::Error), "{context}: {findings:?}");
                harmless += 1;
            }
            // Not everything is there: nothing else is, and the damage is known.
            Ok(contents) => {
                assert!(contents.is_part_of(&whole), "{context}");
                assert_eq!(named, Some(Severity::Error), "{context}: {findings:?}");
            }
            Err(StoreError::Damaged { path, .. }) => {
                assert_eq!(path, victim, "{context}");
                assert_eq!(named, Some(Severity::Error), "{context}: {findings:?}");
            }
            Err(error) => panic!("{context}: {error}"),
        }
        let is_read = whole.paths.iter().any(|path| dir.path().join(path) == victim);
        assert!(named.is_some() || !is_read, "{context}: {findings:?}");
    }
    println!("{rounds} rounds, {harmless} of them without loss");
    assert!(harmless < rounds, "no damage was found at all");
}

/// Everything that a store shows.
struct Contents {
    next_offset: u64,
    state: Vec<u8>,
    /// The rows of each segment as text.
    rows: BTreeMap<String, Vec<String>>,
    has_index: bool,
    /// Every file that is read for it.
    paths: Vec<PathBuf>,
}

impl Contents {
    fn of(dir: &Path) -> Result<Self, StoreError> {
        let store = try_open(dir)?;
        let (_committer, recovered) = store.open_shard(0)?;
        let recovered = recovered.expect("has commits");
        let mut contents = Contents {
            next_offset: recovered.next_offset,
            state: recovered.state.to_vec(),
            rows: BTreeMap::new(),
            has_index: false,
            paths: Vec::new(),
        };
        for file in recovered.files.iter() {
            let batches = store.read_segment(file, None, i64::MIN..i64::MAX)?;
            let text = arrow::util::pretty::pretty_format_batches(&batches).expect("formats").to_string();
            contents.rows.insert(file.path.to_string(), text.lines().map(str::to_owned).collect());
            contents.has_index |= file.index.is_some();
            if file.table == Table::Logs {
                let bodies = batches[0].column_by_name("body").expect("logs have bodies").as_string::<i32>();
                let found = store.candidates(file, &Wanted::text(bodies.value(0)));
                assert!(!found.is_none(), "blooms or index hide a line of {}", file.path);
            }
            contents.paths.extend(paths(file));
        }
        Ok(contents)
    }

    /// Whether nothing is missing; what only rules rows out may be.
    fn is_all_of(&self, whole: &Self) -> bool {
        (self.next_offset, &self.state, &self.rows) == (whole.next_offset, &whole.state, &whole.rows)
    }

    /// Whether it is an older state, or has only some of the segments; each row of them is right.
    fn is_part_of(&self, whole: &Self) -> bool {
        let is_right = |(path, rows): (&String, &Vec<String>)| whole.rows.get(path).is_none_or(|right| right == rows);
        self.next_offset <= whole.next_offset && self.rows.iter().all(is_right)
    }
}

fn paths(file: &SegmentFile) -> Vec<PathBuf> {
    let sides = [&file.blooms, &file.index].into_iter().flatten().map(|side| side.path.to_string());
    std::iter::once(file.path.to_string()).chain(sides).map(PathBuf::from).collect()
}

fn write(dir: &Path) {
    let store = common::open(dir);
    let (mut committer, _) = store.open_shard(0).expect("opens");
    for offset in 1..=4 {
        let mut wide = log_commit(offset, 20);
        let time_ns = START + 600 * SECOND;
        wide.rows.extend([
            (Table::Spans, vec![HotRows::Chunk(Arc::new(rows::spans(time_ns, 10)))]),
            (Table::Points, vec![HotRows::Chunk(Arc::new(rows::points(time_ns, 5)))]),
            (Table::Windows, vec![HotRows::Batch(rows::windows(time_ns, 10, 6))]),
        ]);
        committer.commit(wide).expect("commits");
    }
    let lent = Lent::register(&store, committer.files());
    store.compact_now(START + 1300 * SECOND).expect("compacts");
    lent.publish(committer.commit(log_commit(12, 30)).expect("commits"));
    lent.publish(committer.commit(log_commit(13, 30)).expect("commits"));
}

/// Does one of the things that disks do; gives its description.
fn damage(path: &Path, random: &mut StdRng) -> String {
    let mut bytes = fs::read(path).expect("reads");
    let at = random.random_range(0..bytes.len());
    let how = match random.random_range(0..5) {
        0..=2 => {
            bytes[at] ^= 1 << random.random_range(0..8);
            format!("a bit of byte {at} flipped")
        }
        3 => {
            bytes.truncate(at);
            format!("cut off at byte {at}")
        }
        _ => {
            let end = (at + random.random_range(1..2_000)).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = if *byte == 0 { 0xff } else { 0 });
            format!("bytes {at} to {end} are others")
        }
    };
    fs::write(path, bytes).expect("writes");
    how
}

/// Every file with something in it, but for the lock.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("lists") {
        let path = entry.expect("lists").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("LOCK") && fs::metadata(&path).expect("is there").len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}
