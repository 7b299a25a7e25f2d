//! Drain: which shapes are one pattern with a word as its parameter (He, Zhu, Zheng, Lyu: Drain, an online log parsing
//! approach with fixed depth tree, ICWS 2017).
//!
//! A tree of fixed depth: number of tokens, then the first token that is no parameter, then the clusters to compare with.
//! A shape joins the cluster with the most equal tokens if they are enough; what differs becomes `<*>`. Numbers, ids and
//! paths were masked before, so what still differs are words, which mean something more often than not: short shapes
//! need more equal tokens than long ones.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::PARAMETER;

/// The first token that is no parameter is looked for this far.
const KEY_TOKENS: usize = 6;
/// Keys for one number of tokens; further ones share one.
const CHILDREN_MAX: usize = 100;
/// The key of those.
const SHARED: u64 = 0;

/// Where a shape went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of its cluster.
    pub cluster: usize,
    /// Whether the shape made the cluster.
    pub is_new: bool,
}

/// Clusters of shapes.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    leaves: HashMap<(usize, u64), Vec<usize>>,
    children: HashMap<usize, usize>,
    clusters: Vec<Vec<Box<[u8]>>>,
}

impl Drain {
    /// Puts a shape into the cluster it belongs to, or makes one.
    pub fn add(&mut self, shape: &[u8]) -> Place {
        if let Some(cluster) = self.find(shape) {
            for (known, token) in self.clusters[cluster].iter_mut().zip(tokens(shape)) {
                if **known != *token {
                    *known = parameter_for(known, token);
                }
            }
            return Place { cluster, is_new: false };
        }
        let cluster = self.clusters.len();
        self.clusters.push(tokens(shape).map(Into::into).collect());
        let leaf = self.leaf_for(shape);
        self.leaves.entry(leaf).or_default().push(cluster);
        Place { cluster, is_new: true }
    }

    /// The cluster that a shape belongs to.
    pub fn find(&self, shape: &[u8]) -> Option<usize> {
        let tokens: Vec<&[u8]> = tokens(shape).collect();
        let key = key(&tokens);
        let leaf = self.leaves.get(&key).or_else(|| self.leaves.get(&(key.0, SHARED)))?;
        let needed = equal_needed(key.0);
        let mut best = None;
        for cluster in leaf {
            let Some(score) = similarity(&self.clusters[*cluster], &tokens, needed) else { continue };
            if best.is_none_or(|(known, _)| score > known) {
                best = Some((score, *cluster));
            }
        }
        best.map(|(_, cluster)| cluster)
    }

    /// The template of a cluster: its tokens, with `<*>` where its shapes differ.
    pub fn template(&self, cluster: usize) -> Vec<u8> {
        self.clusters[cluster].join(&b' ')
    }

    /// How many clusters there are.
    pub fn len(&self) -> usize {
        self.clusters.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    fn leaf_for(&mut self, shape: &[u8]) -> (usize, u64) {
        let key = key(&tokens(shape).collect::<Vec<_>>());
        if self.leaves.contains_key(&key) {
            return key;
        }
        let children = self.children.entry(key.0).or_insert(0);
        if *children >= CHILDREN_MAX {
            return (key.0, SHARED);
        }
        *children += 1;
        key
    }
}

/// Shapes in groups that are one pattern each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouped {
    /// For each shape the number of its group.
    pub groups: Vec<usize>,
    /// The template of each group.
    pub templates: Vec<String>,
}

/// Groups shapes. The same set of shapes gives the same groups in whatever order it comes.
pub fn group(shapes: &[&str]) -> Grouped {
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    order.sort_by_key(|at| shapes[*at]);
    let (mut drain, mut groups) = (Drain::default(), vec![0; shapes.len()]);
    for at in order {
        groups[at] = drain.add(shapes[at].as_bytes()).cluster;
    }
    let text = |cluster| String::from_utf8_lossy(&drain.template(cluster)).into_owned();
    let templates = (0..drain.len()).map(text).collect();
    Grouped { groups, templates }
}

fn tokens(shape: &[u8]) -> impl Iterator<Item = &[u8]> {
    shape.split(|byte| *byte == b' ')
}

/// What stands for two tokens that differ; the punctuation behind them stays.
fn parameter_for(known: &[u8], token: &[u8]) -> Box<[u8]> {
    let last = known.last().filter(|last| token.last() == Some(last) && b":,;.)]".contains(last));
    PARAMETER.bytes().chain(last.copied()).collect()
}

fn is_parameter(token: &[u8]) -> bool {
    token.windows(PARAMETER.len()).any(|part| part == PARAMETER.as_bytes())
}

/// Number of tokens, and the hash of the first one that is no parameter, with its place.
fn key(tokens: &[&[u8]]) -> (usize, u64) {
    let first = tokens.iter().take(KEY_TOKENS).enumerate().find(|(_, token)| !is_parameter(token));
    let hash = first.map_or(1, |(place, token)| (xxh3_64(token) ^ place as u64).max(2));
    (tokens.len(), hash)
}

/// How many tokens of `count` must be equal: all of two, three of four, then ever fewer down to six of ten.
fn equal_needed(count: usize) -> usize {
    match count {
        0..=2 => count,
        3 => 2,
        _ => (count * 3).div_ceil(5),
    }
}

/// Tokens that are equal, and places where the cluster has a parameter; `None` when fewer than `needed` are equal.
fn similarity(cluster: &[Box<[u8]>], tokens: &[&[u8]], needed: usize) -> Option<(usize, usize)> {
    let (mut equal, mut parameters) = (0, 0);
    for (at, (known, token)) in cluster.iter().zip(tokens).enumerate() {
        if **known == **token {
            equal += 1;
        } else if equal + tokens.len() - at <= needed {
            return None;
        }
        parameters += usize::from(is_parameter(known));
    }
    Some((equal, parameters))
}
