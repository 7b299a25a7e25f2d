//! Histograms against the crate hdrhistogram and against simple models.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use proptest::prelude::*;

use super::*;

fn reference(values: &[(u64, u64)]) -> Histogram<u64> {
    let mut dense = Histogram::new_with_bounds(1, HDR_TICKS_MAX, 2).unwrap();
    for (value, n) in values {
        dense.saturating_record_n(*value, *n);
    }
    dense
}

fn cells(values: &[(u64, u64)]) -> HdrCells {
    let mut out = HdrCells::new();
    for (value, n) in values {
        out.record_n(*value, *n);
    }
    out
}

fn values() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let value = prop_oneof![0u64..300, 0u64..2_000_000, 0u64..=HDR_TICKS_MAX, Just(HDR_TICKS_MAX * 3)];
    let n = prop_oneof![Just(1u64), 1u64..200, Just(u64::from(u32::MAX) * 16)];
    prop::collection::vec((value, n), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn cells_serialize_as_hdrhistogram_does(values in values()) {
        let (sparse, dense) = (cells(&values), reference(&values));
        let mut expected = Vec::new();
        V2Serializer::new().serialize(&dense, &mut expected).unwrap();
        let bytes = Sketch::Hdr(sparse.clone()).encode();
        prop_assert_eq!(&bytes, &expected);
        let back: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        prop_assert_eq!(&back, &dense);
        let decoded = HdrCells::decode_v2(&bytes).unwrap();
        prop_assert_eq!(decoded.iter().collect::<Vec<_>>(), sparse.iter().collect::<Vec<_>>());
        let exact = decoded.with_summary(sparse.sum(), sparse.min().unwrap_or(0), sparse.max().unwrap_or(0));
        prop_assert_eq!(exact, sparse);
    }

    #[test]
    fn quantiles_and_ranges_are_those_of_hdrhistogram(values in values(), q in 0.0..=1.0f64, low in 0..HDR_TICKS_MAX) {
        let (sparse, dense) = (cells(&values), reference(&values));
        prop_assert_eq!(sparse.count(), dense.len());
        for q in [0.0, q, 0.5, 0.99, 1.0] {
            prop_assert_eq!(sparse.quantile(q).unwrap_or(0), dense.value_at_quantile(q));
        }
        prop_assert_eq!(sparse.count_between(low, low * 2), dense.count_between(low, (low * 2).min(HDR_TICKS_MAX)));
        prop_assert_eq!(sparse.to_histogram(), dense);
    }

    #[test]
    fn merging_parts_gives_the_whole_in_any_order(left in values(), right in values()) {
        let whole = cells(&[left.clone(), right.clone()].concat());
        let (mut one, mut two) = (cells(&left), cells(&right));
        one.merge(&cells(&right));
        two.merge(&cells(&left));
        prop_assert_eq!(&one, &whole);
        prop_assert_eq!(&two, &whole);
    }

    #[test]
    fn explicit_merges_are_exact_and_associative(
        parts in prop::collection::vec((prop::collection::btree_set(0u8..12, 0..8), prop::collection::vec(0u8..16, 0..30)), 3)
    ) {
        let part = |(bounds, values): &(std::collections::BTreeSet<u8>, Vec<u8>)| {
            let bounds: Vec<f64> = bounds.iter().map(|bound| f64::from(*bound)).collect();
            explicit(&bounds, &values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>())
        };
        let [a, b, c] = [part(&parts[0]), part(&parts[1]), part(&parts[2])];
        let (mut left, mut bc, mut right) = (a.clone(), b.clone(), a);
        left.merge(&b);
        left.merge(&c);
        bc.merge(&c);
        right.merge(&bc);
        prop_assert_eq!(&left, &right);
        let all: Vec<f64> = parts.iter().flat_map(|(_, values)| values).map(|value| f64::from(*value)).collect();
        prop_assert_eq!(&left.counts, &explicit(&left.bounds, &all).counts);
        prop_assert_eq!(Sketch::decode(&Sketch::Explicit(left.clone()).encode()).unwrap(), Sketch::Explicit(left));
    }

    #[test]
    fn exponential_merges_are_exact_and_associative(
        parts in prop::collection::vec((-2i32..8, prop::collection::vec(-1e6..1e6f64, 0..40)), 3)
    ) {
        let [a, b, c] = [0, 1, 2].map(|at| exponential(parts[at].0, &parts[at].1));
        let (mut left, mut bc, mut right) = (a.clone(), b.clone(), a);
        left.merge(&b);
        left.merge(&c);
        bc.merge(&c);
        right.merge(&bc);
        let all: Vec<f64> = parts.iter().flat_map(|(_, values)| values.clone()).collect();
        let whole = exponential(left.scale, &all);
        for merged in [&left, &right] {
            prop_assert_eq!(&merged.positive, &whole.positive);
            prop_assert_eq!(&merged.negative, &whole.negative);
            prop_assert_eq!((merged.count, merged.zero_count), (whole.count, whole.zero_count));
        }
        prop_assert_eq!(Sketch::decode(&Sketch::Exponential(left.clone()).encode()).unwrap(), Sketch::Exponential(left));
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), tag in 0usize..4) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = [0x1c, 0xe1, 0xe2, *first][tag];
        }
        if let Some(version) = bytes.get_mut(1) {
            *version = 1;
        }
        if let Ok(sketch) = Sketch::decode(&bytes) {
            let mut twice = sketch.clone();
            twice.merge(&sketch).unwrap();
            sketch.to_hdr(1.0);
        }
    }
}

fn explicit(bounds: &[f64], values: &[f64]) -> Explicit {
    let mut out = Explicit::new(bounds.into());
    for value in values {
        out.counts[bounds.partition_point(|bound| bound < value)] += 1;
    }
    out.count = values.len() as u64;
    out.sum = Some(values.iter().sum());
    out.min = values.iter().copied().reduce(f64::min);
    out.max = values.iter().copied().reduce(f64::max);
    out
}

/// Buckets computed value by value, at the resolution that fits the bound.
fn exponential(scale: i32, values: &[f64]) -> Exponential {
    let mut out =
        Exponential { scale, count: values.len() as u64, sum: Some(values.iter().sum()), ..Default::default() };
    out.min = values.iter().copied().reduce(f64::min);
    out.max = values.iter().copied().reduce(f64::max);
    for (buckets, sign) in [(&mut out.positive, 1.0), (&mut out.negative, -1.0)] {
        let index = |value: f64| ((value * sign).log2() * f64::from(scale).exp2()).ceil() as i32 - 1;
        let of_sign = || values.iter().filter(|value| **value * sign > 0.0).map(|value| index(*value));
        let Some(first) = of_sign().min() else { continue };
        buckets.offset = first;
        for at in of_sign() {
            let place = (at - first) as usize;
            buckets.counts.resize(buckets.counts.len().max(place + 1), 0);
            buckets.counts[place] += 1;
        }
    }
    out.zero_count = values.iter().filter(|value| **value == 0.0).count() as u64;
    out.normalized()
}

#[test]
fn conversions_keep_the_count_and_come_near_the_quantiles() {
    let seconds: Vec<f64> = (1..=1000).map(|n| f64::from(n) / 1000.0).collect();
    let bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    let check = |sketch: Sketch, tolerance: f64| {
        let (cells, approximate) = sketch.to_hdr(1e6);
        assert!(approximate);
        assert_eq!(cells.count(), 1000);
        assert_eq!(cells.sum(), 500_500_000);
        assert_eq!((cells.min(), cells.max()), (Some(1000), Some(1_000_000)));
        for q in [0.5, 0.9, 0.99] {
            let exact = q * 1e6;
            let from_cells = cells.quantile(q).unwrap() as f64;
            assert!((from_cells / exact - 1.0).abs() < tolerance, "{q}: {from_cells}");
            let (direct, approximate) = sketch.quantile(q).unwrap();
            assert!(approximate && (direct * 1e6 / exact - 1.0).abs() < tolerance, "{q}: {direct}");
        }
    };
    check(Sketch::Explicit(explicit(&bounds, &seconds)), 0.08);
    check(Sketch::Exponential(exponential(5, &seconds)), 0.03);
}

#[test]
fn a_running_total_minus_its_earlier_state_is_what_came_between() {
    let (early, late) = ([0.0, 0.5, 3.0], [0.7, 3.0, 900.0, -2.0]);
    let both = [&early[..], &late[..]].concat();
    let bounds = [0.6, 1.0, 10.0];
    let between = explicit(&bounds, &both).since(&explicit(&bounds, &early)).unwrap();
    assert_eq!(between.counts, explicit(&bounds, &late).counts);
    assert_eq!(explicit(&bounds, &early).since(&explicit(&bounds, &both)), None);

    let between = exponential(3, &both).since(&exponential(5, &early)).unwrap();
    let expected = exponential(3, &late);
    assert_eq!((&between.positive, &between.negative), (&expected.positive, &expected.negative));
    assert_eq!((between.count, between.zero_count), (4, 0));
    assert_eq!(exponential(3, &early).since(&exponential(3, &both)), None);
}

#[test]
fn a_histogram_without_buckets_says_what_it_knows() {
    let mut nothing = Explicit::new([].into());
    assert_eq!(nothing.quantile(0.5), None);
    (nothing.count, nothing.counts[0], nothing.sum) = (10, 10, Some(50.0));
    assert_eq!(nothing.quantile(0.5), None);
    (nothing.min, nothing.max) = (Some(5.0), Some(5.0));
    assert_eq!(nothing.quantile(0.5), Some(5.0));
}

#[test]
fn forms_do_not_mix_silently() {
    let mut cells = Sketch::Hdr(HdrCells::new());
    assert!(matches!(
        cells.merge(&Sketch::Explicit(Explicit::new([1.0].into()))),
        Err(SketchError::FormsDiffer { .. })
    ));
}

#[test]
fn a_wider_zero_threshold_swallows_the_buckets_below_it() {
    let mut left = exponential(0, &[0.5, 3.0, 100.0]);
    let right = Exponential { zero_threshold: 3.5, zero_count: 1, count: 1, sum: Some(0.0), ..Default::default() };
    left.merge(&right);
    assert_eq!((left.zero_count, left.count), (3, 4));
    assert_eq!(left.zero_threshold, 4.0);
    assert_eq!(left.positive.counts.iter().sum::<u64>(), 1);
}

#[test]
fn indexes_beyond_a_double_are_refused_before_arithmetic() {
    let hostile = Exponential {
        scale: 20,
        positive: Buckets { offset: i32::MAX - 1, counts: vec![1, 1, 1] },
        count: 3,
        ..Default::default()
    };
    assert!(!hostile.is_representable());
    assert!(Sketch::decode(&Sketch::Exponential(hostile).encode()).is_err());
}

#[test]
fn a_total_whose_bounds_change_is_compared_over_what_both_have() {
    let total = |bounds: &[f64], counts: &[u64], sum: f64| Explicit {
        bounds: bounds.into(),
        counts: counts.to_vec(),
        count: counts.iter().sum(),
        sum: Some(sum),
        min: None,
        max: None,
    };
    let early = total(&[1.0, 2.0, 5.0], &[1, 2, 3, 4], 30.0);
    let more = total(&[0.5, 2.0, 9.0], &[2, 3, 9, 1], 40.0).since(&early).unwrap();
    assert_eq!((&*more.bounds, more.counts, more.count, more.sum), (&[2.0][..], vec![2, 3], 5, Some(10.0)));
    let nothing_shared = total(&[3.0], &[4, 7], 31.0).since(&early).unwrap();
    assert_eq!((&*nothing_shared.bounds, nothing_shared.counts, nothing_shared.count), (&[][..], vec![1], 1));
    assert_eq!(total(&[2.0], &[2, 20], 99.0).since(&early), None, "one side of the shared bound went down");
}

#[test]
fn sums_stay_finite() {
    let part = |sum: f64| Explicit { count: 1, counts: vec![1], sum: Some(sum), ..Explicit::new([].into()) };
    let mut all = part(f64::MAX);
    all.merge(&part(f64::MAX));
    assert_eq!(all.sum, Some(f64::MAX));
    all.merge(&part(f64::MIN));
    assert_eq!(all.sum, Some(0.0));
    assert_eq!(
        part(f64::MAX).since(&Explicit { count: 0, counts: vec![0], ..part(f64::MIN) }).unwrap().sum,
        Some(f64::MAX)
    );
}

proptest! {
    /// Whatever the buckets, the value that really stands at the quantile lies within the bounds, and so does the estimate.
    #[test]
    fn bounds_of_a_quantile_hold_the_true_value(
        values in prop::collection::vec(prop_oneof![-50.0..50.0f64, Just(0.0), 0.001..0.002f64], 1..60),
        q in prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0f64],
        with_extremes in any::<bool>(),
    ) {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
        let truth = sorted[rank - 1];
        let mut forms = (explicit(&[-10.0, 0.0, 0.0015, 1.0, 20.0], &values), exponential(2, &values));
        if !with_extremes {
            (forms.0.min, forms.0.max, forms.1.min, forms.1.max) = (None, None, None, None);
        }
        for sketch in [Sketch::Explicit(forms.0), Sketch::Exponential(forms.1)] {
            let found = sketch.quantile_bounds(q).expect("there are values");
            let (low, high) = (found.low.unwrap_or(f64::NEG_INFINITY), found.high.unwrap_or(f64::INFINITY));
            // Bounds of exponential buckets are powers, which doubles only come near to.
            let slack = truth.abs() * 1e-9;
            prop_assert!(low - slack <= truth && truth <= high + slack, "{} not within {low} to {high}", truth);
            prop_assert!(low <= found.value && found.value <= high, "{found:?}");
            prop_assert_eq!(Some(found.value), sketch.quantile(q).map(|(value, _)| value));
        }
    }
}

#[test]
fn bounds_say_what_is_not_known_and_what_is_exact() {
    let check = |sketch: Sketch, q: f64, low: Option<f64>, high: Option<f64>, approximate: bool| {
        let found = sketch.quantile_bounds(q).expect("a value");
        assert_eq!((found.low, found.high, found.approximate), (low, high, approximate), "{sketch:?} at {q}");
    };
    let buckets = |counts: [u64; 3], min, max| {
        let count = counts.iter().sum();
        Sketch::Explicit(Explicit { bounds: [1.0, 2.0].into(), counts: counts.to_vec(), count, sum: None, min, max })
    };
    check(buckets([1, 1, 1], None, None), 0.5, Some(1.0), Some(2.0), true);
    check(buckets([1, 1, 1], None, None), 0.0, None, Some(1.0), true);
    check(buckets([1, 1, 1], None, None), 1.0, Some(2.0), None, true);
    check(buckets([1, 1, 1], Some(0.5), Some(9.0)), 1.0, Some(2.0), Some(9.0), true);
    check(buckets([0, 3, 0], Some(1.5), Some(1.5)), 0.5, Some(1.5), Some(1.5), false);
    let zeros = Exponential { zero_count: 3, zero_threshold: 0.1, count: 3, ..Exponential::default() };
    check(Sketch::Exponential(zeros.clone()), 0.5, Some(-0.1), Some(0.1), true);
    check(Sketch::Exponential(Exponential { zero_threshold: 0.0, ..zeros }), 0.5, Some(0.0), Some(0.0), false);
    check(Sketch::Hdr(cells(&[(1000, 5)])), 0.5, Some(1000.0), Some(1003.0), false);
    assert_eq!(Sketch::Hdr(HdrCells::new()).quantile_bounds(0.5), None);
    assert_eq!(Sketch::Explicit(Explicit::new([1.0].into())).quantile_bounds(0.5), None);
}
