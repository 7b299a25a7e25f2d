//! Which node reads which segment, and whether it pays to ask other nodes at all. Pure.
//!
//! A segment goes to the same node every time, as long as the nodes are the same: that node has its footer in memory and
//! has checked its bytes. Only a node that would read much more than the others gives segments away.

use std::cmp::Reverse;

use xxhash_rust::xxh3::xxh3_64;

/// A node may read this much more than its fair share before a segment goes to the next one, in percent.
const OVER_FAIR_PERCENT: u64 = 20;

/// Whether `bytes` of segments in `pieces` are worth the way to other nodes.
pub(super) fn pays(bytes: u64, pieces: usize, bytes_min: u64) -> bool {
    pieces > 1 && bytes >= bytes_min
}

/// The node for each piece, by its index in `nodes`; there must be one. A piece is a path and its bytes.
pub(super) fn assign(pieces: &[(&str, u64)], nodes: &[String]) -> Vec<usize> {
    assert!(!nodes.is_empty(), "somebody has to read");
    let total: u64 = pieces.iter().map(|(_, bytes)| bytes).sum();
    let most = total.div_ceil(nodes.len() as u64).saturating_mul(100 + OVER_FAIR_PERCENT) / 100;
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    // The largest first, so that what is left over is small; by path, so that every coordinator comes to the same.
    order.sort_by_key(|piece| (Reverse(pieces[*piece].1), pieces[*piece].0));
    let mut load = vec![0_u64; nodes.len()];
    let mut node_of = vec![0; pieces.len()];
    for piece in order {
        let (path, bytes) = pieces[piece];
        let mut wish: Vec<usize> = (0..nodes.len()).collect();
        wish.sort_by_key(|node| Reverse(weight(&nodes[*node], path)));
        let fitting = wish.iter().find(|node| load[**node] + bytes <= most);
        let least = wish.iter().min_by_key(|node| load[**node]);
        let node = *fitting.or(least).expect("there is a node");
        load[node] += bytes;
        node_of[piece] = node;
    }
    node_of
}

/// How much a node wants a path: whatever other nodes there are (rendezvous hashing).
fn weight(node: &str, path: &str) -> u64 {
    xxh3_64(format!("{node}\n{path}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("node-{number}")).collect()
    }

    #[test]
    fn a_small_statement_and_one_of_a_single_segment_stay_where_they_are() {
        for (bytes, pieces, expected) in [(99, 5, false), (100, 5, true), (100, 1, false), (0, 0, false)] {
            assert_eq!(pays(bytes, pieces, 100), expected, "{bytes} bytes in {pieces}");
        }
    }

    #[test]
    fn a_node_that_goes_away_moves_little_more_than_its_own_segments() {
        let paths: Vec<String> = (0..200).map(|number| format!("data/logs/0-{number}.parquet")).collect();
        let pieces: Vec<(&str, u64)> = paths.iter().map(|path| (path.as_str(), 100)).collect();
        let (three, two) = (assign(&pieces, &names(3)), assign(&pieces, &names(2)));
        let moved = three.iter().zip(&two).filter(|(before, after)| **before != 2 && before != after).count();
        assert!(moved < 30, "{moved} of 200 moved between nodes that stayed");
    }

    proptest! {
        #[test]
        fn no_node_reads_much_more_than_its_share(sizes in prop::collection::vec(1_u64..1_000, 1..60), count in 1_usize..6) {
            let paths: Vec<String> = (0..sizes.len()).map(|number| format!("s{number}")).collect();
            let pieces: Vec<(&str, u64)> = paths.iter().map(String::as_str).zip(sizes.iter().copied()).collect();
            let node_of = assign(&pieces, &names(count));
            prop_assert_eq!(node_of.len(), pieces.len());
            let total: u64 = sizes.iter().sum();
            let largest = sizes.iter().copied().max().unwrap_or(0);
            for node in 0..count {
                let load: u64 = node_of.iter().zip(&sizes).filter(|(of, _)| **of == node).map(|(_, size)| size).sum();
                prop_assert!(load <= total.div_ceil(count as u64) * 120 / 100 + largest, "{} of {}", load, total);
            }
        }
    }
}
