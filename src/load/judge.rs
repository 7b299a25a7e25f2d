//! Decides whether what Shipwake answered agrees with the oracle. Pure: answers in, findings out.
//!
//! The records of one resource in a request (a group) are in one journal record, so they stand or fall together: a part of
//! a group is a finding even when the oracle does not know the fate of its request.

use std::collections::BTreeMap;
use std::fmt;

use shipwake_model::Signal;

use super::oracle::Fate;

/// What Shipwake has of the ids of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Rows.
    pub rows: i64,
    /// Different ids.
    pub ids: i64,
    /// The sum of the positions of the ids in their group.
    pub position_sum: i64,
}

/// A disagreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Records of an acknowledged request are not there.
    Missing { signal: Signal, first: u64, count: u32, found: i64 },
    /// Records are there more than once.
    Repeated { signal: Signal, first: u64, count: u32, rows: i64, ids: i64 },
    /// A part of a group whose fate is unknown is there.
    Torn { signal: Signal, first: u64, count: u32, found: i64 },
    /// Records of a request that was declined are there.
    Refused { signal: Signal, first: u64, found: i64 },
    /// There are rows that were never sent.
    NeverSent { signal: Signal, rows: i64 },
    /// A record does not say what was sent.
    Payload { signal: Signal, id: u64, expected: String, found: String },
    /// A number over windows differs from the same number over rows.
    Windows { what: String, key: String, windows: i64, rows: i64 },
    /// A search finds not as many lines as there are.
    Search { search: String, found: i64, rows: i64 },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Missing { signal, first, count, found } => {
                write!(
                    f,
                    "{}: acknowledged ids {first}..{}: {found} of {count} found",
                    signal.as_str(),
                    first + u64::from(*count)
                )
            }
            Finding::Repeated { signal, first, count, rows, ids } => {
                write!(f, "{}: ids {first}..{}: {rows} rows for {ids} ids", signal.as_str(), first + u64::from(*count))
            }
            Finding::Torn { signal, first, count, found } => {
                let end = first + u64::from(*count);
                write!(f, "{}: ids {first}..{end} without an answer: {found} of {count} found", signal.as_str())
            }
            Finding::Refused { signal, first, found } => {
                write!(
                    f,
                    "{}: the request from id {first} was declined, yet {found} of its records are there",
                    signal.as_str()
                )
            }
            Finding::NeverSent { signal, rows } => write!(f, "{}: {rows} rows that were never sent", signal.as_str()),
            Finding::Payload { signal, id, expected, found } => {
                write!(f, "{}: id {id} should be `{expected}` but is `{found}`", signal.as_str())
            }
            Finding::Windows { what, key, windows, rows } => {
                write!(f, "{what} of {key}: windows say {windows}, rows say {rows}")
            }
            Finding::Search { search, found, rows } => {
                write!(f, "the search `{search}` finds {found} lines and not {rows}")
            }
        }
    }
}

/// Judges the group of `count` ids from `first` on by the fate of its request and what was found.
pub fn group(signal: Signal, first: u64, count: u32, fate: Fate, found: Found) -> Option<Finding> {
    let n = i64::from(count);
    if found.rows != found.ids {
        return Some(Finding::Repeated { signal, first, count, rows: found.rows, ids: found.ids });
    }
    let whole = found.ids == n && found.position_sum == n * (n - 1) / 2;
    match fate {
        _ if whole && fate != Fate::Refused => None,
        Fate::Acknowledged => Some(Finding::Missing { signal, first, count, found: found.ids }),
        Fate::Unknown if found.ids == 0 => None,
        Fate::Unknown => Some(Finding::Torn { signal, first, count, found: found.ids }),
        Fate::Refused if found.rows == 0 => None,
        Fate::Refused => Some(Finding::Refused { signal, first, found: found.rows }),
    }
}

/// Judges the same number taken over windows and over rows, by key. Keys that are missing count as zero.
pub fn same_numbers(what: &str, windows: &BTreeMap<String, i64>, rows: &BTreeMap<String, i64>) -> Vec<Finding> {
    let keys: std::collections::BTreeSet<&String> = windows.keys().chain(rows.keys()).collect();
    let of = |side: &BTreeMap<String, i64>, key: &String| side.get(key).copied().unwrap_or(0);
    keys.into_iter()
        .filter(|key| of(windows, key) != of(rows, key))
        .map(|key| Finding::Windows {
            what: what.to_owned(),
            key: key.clone(),
            windows: of(windows, key),
            rows: of(rows, key),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fate: Fate, rows: i64, ids: i64, position_sum: i64) -> Option<Finding> {
        group(Signal::Logs, 50, 10, fate, Found { rows, ids, position_sum })
    }

    #[test]
    fn acknowledged_means_each_once() {
        assert_eq!(check(Fate::Acknowledged, 10, 10, 45), None);
        assert!(matches!(check(Fate::Acknowledged, 9, 9, 45), Some(Finding::Missing { found: 9, .. })));
        assert!(matches!(check(Fate::Acknowledged, 0, 0, 0), Some(Finding::Missing { .. })));
        assert!(matches!(check(Fate::Acknowledged, 20, 10, 90), Some(Finding::Repeated { .. })));
        assert!(matches!(check(Fate::Acknowledged, 10, 10, 46), Some(Finding::Missing { .. })));
    }

    #[test]
    fn unknown_means_all_or_nothing_at_most_once() {
        assert_eq!(check(Fate::Unknown, 0, 0, 0), None);
        assert_eq!(check(Fate::Unknown, 10, 10, 45), None);
        assert!(matches!(check(Fate::Unknown, 4, 4, 6), Some(Finding::Torn { found: 4, .. })));
        assert!(matches!(check(Fate::Unknown, 20, 10, 90), Some(Finding::Repeated { .. })));
    }

    #[test]
    fn refused_means_none() {
        assert_eq!(check(Fate::Refused, 0, 0, 0), None);
        assert!(matches!(check(Fate::Refused, 10, 10, 45), Some(Finding::Refused { .. })));
    }

    #[test]
    fn windows_and_rows_must_agree_for_every_key_of_either() {
        let side = |pairs: &[(&str, i64)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        assert!(same_numbers("requests", &side(&[("a", 1)]), &side(&[("a", 1)])).is_empty());
        let findings = same_numbers("requests", &side(&[("a", 2), ("b", 1)]), &side(&[("a", 1), ("c", 3)]));
        assert_eq!(findings.len(), 3);
        assert_eq!(findings[0].to_string(), "requests of a: windows say 2, rows say 1");
    }
}
