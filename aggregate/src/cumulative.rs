//! From running totals to increases: what a cumulative sum or histogram grew by since its last point.
//!
//! Pure. A total is followed per stream (resource, scope, metric, attributes) and, inside a stream, per start time: two
//! instances that call themselves the same, or a process and its successor, never look like one total that jumps. Equal
//! points, older points and repeated deliveries add nothing. Where a total contradicts itself and both readings are possible,
//! the one that cannot count twice is taken: less is better than more.

use std::num::NonZeroU64;

use hashbrown::HashMap;
use shipwake_model::Sketch;
use shipwake_model::window::NS_PER_S;

/// A total whose start is this recent when we first see it is counted whole: it belongs to a process that has just begun, such
/// as a canary. One that began before says how much came before we looked, which must not show as a jump.
const FRESH_NS: i64 = 300 * NS_PER_S;
/// Start times followed at once per stream: the instances that share one identity.
const RUNS_MAX: usize = 16;
/// Streams that have been quiet for so long are forgotten.
const QUIET_NS: i64 = 3600 * NS_PER_S;

/// A running total.
#[derive(Clone, Debug, PartialEq)]
pub enum Total {
    /// Of a monotonic sum.
    Number(f64),
    /// Of a histogram.
    Sketch(Sketch),
}

/// What a point says about the one before it.
enum Change {
    /// It grew by so much.
    Grew(Total),
    /// It went down: it began anew, and all of it is new.
    BeganAnew,
    /// It has other buckets than before, and cannot be compared: what is new in it nobody can say.
    Unclear,
}

impl Total {
    fn since(&self, earlier: &Total) -> Change {
        let grew = match (self, earlier) {
            (Total::Number(now), Total::Number(before)) => {
                (now >= before).then(|| Total::Number((now - before).min(f64::MAX)))
            }
            (Total::Sketch(Sketch::Explicit(now)), Total::Sketch(Sketch::Explicit(before))) => {
                let more = now.since(before);
                if more.is_none() && now.count >= before.count && now.bounds != before.bounds {
                    return Change::Unclear;
                }
                more.map(|more| Total::Sketch(Sketch::Explicit(more)))
            }
            (Total::Sketch(Sketch::Exponential(now)), Total::Sketch(Sketch::Exponential(before))) => {
                now.since(before).map(|more| Total::Sketch(Sketch::Exponential(more)))
            }
            _ => return Change::Unclear,
        };
        grew.map_or(Change::BeganAnew, Change::Grew)
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Total::Number(_) | Total::Sketch(Sketch::Hdr(_)) => 0,
            Total::Sketch(Sketch::Explicit(explicit)) => explicit.counts.len() * 8,
            Total::Sketch(Sketch::Exponential(buckets)) => {
                (buckets.positive.counts.len() + buckets.negative.counts.len()) * 8
            }
        }
    }
}

/// One start time of a stream and its newest point.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Start time, ns; 0 when the sender gives none.
    pub start_ns: i64,
    /// Time of the newest point, ns.
    pub time_ns: i64,
    /// Its total.
    pub total: Total,
}

/// The running totals of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Time of the first point seen, ns.
    pub first_seen_ns: i64,
    /// Totals that began at or before this were dropped for want of room: unknown ones are not counted whole.
    pub floor_ns: i64,
    /// By start time, in the order they were first seen.
    pub runs: Vec<Run>,
}

impl Totals {
    /// Takes a point and gives what it adds, if anything.
    pub fn advance(&mut self, start_ns: i64, time_ns: i64, total: Total) -> Option<Total> {
        if self.runs.is_empty() && self.floor_ns == 0 {
            self.first_seen_ns = time_ns;
        }
        if let Some(run) = self.runs.iter_mut().find(|run| run.start_ns == start_ns) {
            if time_ns <= run.time_ns {
                return None;
            }
            let increase = match total.since(&run.total) {
                Change::Grew(more) => Some(more),
                Change::BeganAnew => Some(total.clone()),
                Change::Unclear => None,
            };
            (run.time_ns, run.total) = (time_ns, total);
            return increase;
        }
        // A start after the point's own time is a wrong clock, and says nothing about when the total began.
        let is_known = start_ns != 0 && start_ns <= time_ns;
        let fresh = is_known && time_ns.saturating_sub(start_ns) <= FRESH_NS;
        let began_under_our_eyes = is_known && start_ns >= self.first_seen_ns;
        let whole = (fresh || began_under_our_eyes) && start_ns > self.floor_ns;
        let increase = whole.then(|| total.clone());
        self.runs.push(Run { start_ns, time_ns, total });
        if self.runs.len() > RUNS_MAX {
            self.drop_oldest();
        }
        increase
    }

    fn drop_oldest(&mut self) {
        let oldest = (0..self.runs.len()).min_by_key(|at| self.runs[*at].time_ns);
        if let Some(at) = oldest {
            let run = self.runs.remove(at);
            self.floor_ns = self.floor_ns.max(run.start_ns).max(1);
        }
    }

    fn heap_bytes(&self) -> usize {
        let totals: usize = self.runs.iter().map(|run| run.total.heap_bytes()).sum();
        size_of::<Totals>() + self.runs.capacity() * size_of::<Run>() + totals
    }
}

/// One stream of points.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Number of its series, valid in `generation`.
    pub series: u32,
    /// Generation of `series`.
    pub generation: u32,
    /// Number of its release; `u32::MAX` after a restart, until its next point.
    pub release: u32,
    /// Receive time of its newest point, ns.
    pub received_ns: i64,
    /// Present for cumulative streams.
    pub totals: Option<Box<Totals>>,
    /// Mark of the newest point of a stream of deltas: an equal one is the same point again, as it comes when somebody on the
    /// way cuts a retried request anew. Not remembered over a restart.
    pub last_delta: Option<NonZeroU64>,
}

/// The streams of a shard by the hash of their identity.
#[derive(Debug, Default)]
pub struct Streams {
    streams: HashMap<u128, Stream, ahash::RandomState>,
}

impl Streams {
    /// A known stream.
    #[inline]
    pub fn get_mut(&mut self, key: u128) -> Option<&mut Stream> {
        self.streams.get_mut(&key)
    }

    /// Adds a stream.
    pub fn insert(&mut self, key: u128, stream: Stream) {
        self.streams.insert(key, stream);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.streams.len()
    }

    /// The streams with running totals, for the committed state.
    pub fn totals(&self) -> impl Iterator<Item = (u128, i64, &Totals)> {
        self.streams.iter().filter_map(|(key, stream)| Some((*key, stream.received_ns, stream.totals.as_deref()?)))
    }

    /// Forgets quiet streams and those whose release is gone. `releases` gives the new number for each old one, where
    /// numbers changed. Calls `kept` with the release of each stream that stays.
    pub fn sweep(&mut self, now_ns: i64, releases: Option<&[Option<u32>]>, mut kept: impl FnMut(u32)) {
        self.streams.retain(|_, stream| {
            if let (Some(releases), true) = (releases, stream.release != u32::MAX) {
                match releases.get(stream.release as usize).copied().flatten() {
                    Some(release) => stream.release = release,
                    None => return false,
                }
            }
            let stays = now_ns.saturating_sub(stream.received_ns) < QUIET_NS;
            if stays && stream.release != u32::MAX {
                kept(stream.release);
            }
            stays
        });
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let totals: usize =
            self.streams.values().filter_map(|stream| stream.totals.as_ref()).map(|t| t.heap_bytes()).sum();
        self.streams.capacity() * (size_of::<(u128, Stream)>() + 1) + totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shipwake_model::sketch::Explicit;

    const S: i64 = NS_PER_S;
    const BEGIN: i64 = 1_000_000 * S;

    fn add(totals: &mut Totals, start: i64, time: i64, value: f64) -> Option<f64> {
        totals.advance(start, time, Total::Number(value)).map(|increase| match increase {
            Total::Number(value) => value,
            Total::Sketch(_) => unreachable!("numbers went in"),
        })
    }

    #[test]
    fn a_fresh_total_counts_whole_and_an_old_one_is_a_baseline() {
        let mut fresh = Totals::default();
        assert_eq!(add(&mut fresh, BEGIN, BEGIN + 60 * S, 100.0), Some(100.0));
        assert_eq!(add(&mut fresh, BEGIN, BEGIN + 120 * S, 130.0), Some(30.0));
        let mut old = Totals::default();
        assert_eq!(add(&mut old, BEGIN, BEGIN + 86_400 * S, 1e9), None);
        assert_eq!(add(&mut old, BEGIN, BEGIN + 86_410 * S, 1e9 + 5.0), Some(5.0));
    }

    #[test]
    fn equal_and_older_points_add_nothing() {
        let mut totals = Totals::default();
        add(&mut totals, BEGIN, BEGIN + 10 * S, 5.0);
        assert_eq!(add(&mut totals, BEGIN, BEGIN + 10 * S, 5.0), None);
        assert_eq!(add(&mut totals, BEGIN, BEGIN + 5 * S, 2.0), None);
        assert_eq!(add(&mut totals, BEGIN, BEGIN + 11 * S, 5.0), Some(0.0));
    }

    #[test]
    fn a_start_in_the_future_says_nothing_about_when_the_total_began() {
        let mut totals = Totals::default();
        let start = BEGIN + 3_600 * S;
        assert_eq!(add(&mut totals, start, BEGIN, 1e9), None);
        assert_eq!(add(&mut totals, start, BEGIN + 10 * S, 1e9 + 2.0), Some(2.0));
        // The clock has been put right; the total is still the same.
        assert_eq!(add(&mut totals, start, start + 10 * S, 1e9 + 5.0), Some(3.0));
    }

    #[test]
    fn huge_totals_stay_finite() {
        let mut totals = Totals::default();
        add(&mut totals, BEGIN, BEGIN + S, f64::MIN);
        assert_eq!(add(&mut totals, BEGIN, BEGIN + 2 * S, f64::MAX), Some(f64::MAX));
    }

    /// Counts of a running histogram in order, each point with its own bounds, and how many observations each adds.
    fn check_histograms(points: &[(&[f64], &[u64], Option<u64>)]) {
        let mut totals = Totals::default();
        for (n, (bounds, counts, expected)) in points.iter().enumerate() {
            let (bounds, counts, count) = ((*bounds).into(), counts.to_vec(), counts.iter().sum());
            let sketch = Sketch::Explicit(Explicit { bounds, counts, count, sum: None, min: None, max: None });
            let added =
                totals.advance(BEGIN, BEGIN + (n as i64 + 1) * S, Total::Sketch(sketch)).map(|added| match added {
                    Total::Sketch(sketch) => sketch.count(),
                    Total::Number(_) => unreachable!("histograms went in"),
                });
            assert_eq!(added, *expected, "point {n} of {points:?}");
        }
    }

    #[test]
    fn a_histogram_that_changes_its_bounds_is_not_counted_twice() {
        check_histograms(&[
            (&[1.0, 2.0], &[1, 1, 1], Some(3)),
            (&[1.0, 5.0], &[2, 1, 1], Some(1)),
            (&[1.0, 5.0], &[2, 2, 1], Some(1)),
        ]);
        // Nothing in common but the number.
        check_histograms(&[(&[1.0], &[3, 3], Some(6)), (&[7.0], &[8, 0], Some(2))]);
        // The shared bucket went down although the number grew: another total, or the same with a fault.
        check_histograms(&[
            (&[1.0, 2.0], &[5, 0, 0], Some(5)),
            (&[1.0, 3.0], &[1, 9, 0], None),
            (&[1.0, 3.0], &[1, 9, 1], Some(1)),
        ]);
        // A new process that gives no new start time.
        check_histograms(&[(&[1.0, 2.0], &[5, 5, 5], Some(15)), (&[1.0, 3.0], &[1, 1, 0], Some(2))]);
        check_histograms(&[(&[1.0, 2.0], &[5, 5, 5], Some(15)), (&[1.0, 2.0], &[9, 9, 1], Some(19))]);
    }

    #[test]
    fn resets_are_seen_by_start_time_or_by_a_lower_value() {
        let mut totals = Totals::default();
        add(&mut totals, BEGIN, BEGIN + 10 * S, 500.0);
        assert_eq!(add(&mut totals, BEGIN, BEGIN + 20 * S, 7.0), Some(7.0));
        // A successor that began long after we first saw the stream counts whole, even after a gap of an hour.
        assert_eq!(add(&mut totals, BEGIN + 30 * S, BEGIN + 4_000 * S, 40.0), Some(40.0));
    }

    #[test]
    fn two_instances_with_one_identity_do_not_look_like_resets() {
        let mut totals = Totals::default();
        let mut sum = 0.0;
        for round in 1..=20 {
            let time = BEGIN + round * 10 * S;
            sum += add(&mut totals, BEGIN, time, round as f64 * 100.0).unwrap_or(0.0);
            sum += add(&mut totals, BEGIN + 1, time + 1, round as f64 * 3.0).unwrap_or(0.0);
        }
        assert_eq!(sum, 2_060.0);
    }

    #[test]
    fn more_instances_than_there_is_room_for_never_count_twice() {
        let mut totals = Totals::default();
        let mut sum = 0.0;
        for round in 1..=10 {
            for instance in 0..40 {
                let (start, time) = (BEGIN + instance, BEGIN + round * 10 * S + instance);
                sum += add(&mut totals, start, time, round as f64).unwrap_or(0.0);
            }
        }
        assert!(sum <= 400.0, "{sum}");
    }

    proptest! {
        /// Points of one total, repeated and out of order, with resets that the start time announces: the increases add up to
        /// what was really counted up to the newest point of each run.
        #[test]
        fn increases_add_up_to_the_total(
            runs in prop::collection::vec(prop::collection::vec(0u32..50, 1..20), 1..5),
            picks in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3), 0..60),
        ) {
            let (mut totals, mut sum, mut now) = (Totals::default(), 0.0, BEGIN);
            let mut expected = 0.0;
            for run in &runs {
                let (start, mut value, mut points) = (now, 0.0, Vec::new());
                for step in run {
                    now += 10 * S;
                    value += f64::from(*step);
                    points.push((now, value));
                }
                let mut newest = 0;
                for (pick, _) in &picks {
                    let at = pick.index(points.len());
                    newest = newest.max(at);
                    sum += add(&mut totals, start, points[at].0, points[at].1).unwrap_or(0.0);
                }
                if !picks.is_empty() {
                    expected += points[newest].1;
                }
            }
            prop_assert_eq!(sum, expected);
        }
    }
}
