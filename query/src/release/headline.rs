//! The first sentence of a page: which version, what differs from the version beside it, since when. Says "differs" and
//! never "go" or "no go".

use shipwake_model::UNVERSIONED;

use crate::release::differences::{Difference, REQUESTS_MIN};
use crate::release::pair::{Pair, has_left, left_at, silent_since};
use crate::release::timeline::{Grid, VersionLine};
use crate::time::clock_text;

/// What the sentence is made of.
pub(crate) struct Facts<'a> {
    pub lines: &'a [VersionLine],
    pub pair: &'a Pair,
    pub differences: &'a [Difference],
    pub grid: &'a Grid,
}

/// The sentence. Always says something: an empty page must say why it is empty.
pub(crate) fn headline(facts: &Facts<'_>) -> String {
    let line_of = |version: Option<&str>| facts.lines.iter().find(|line| Some(&*line.version) == version);
    let candidate = line_of(facts.pair.candidate.as_deref());
    let baseline = line_of(facts.pair.baseline.as_deref());
    let sentence = match (candidate, baseline) {
        (None, None) => "no request in this range".to_owned(),
        (None, Some(only)) | (Some(only), None) => alone(facts, only),
        (Some(candidate), Some(baseline)) => compared(facts, candidate, baseline),
    };
    let sentence = match silent_since(facts.lines, facts.grid) {
        Some(since_ms) => format!("no traffic since {}; before that, {sentence}", clock_text(since_ms)),
        None => sentence,
    };
    match waiting_release(facts) {
        Some(waiting) => format!("{sentence}; {waiting}"),
        None => sentence,
    }
}

fn alone(facts: &Facts<'_>, only: &VersionLine) -> String {
    if &*only.version == UNVERSIONED {
        "all records come without a version; set service.version to compare releases".to_owned()
    } else if only.requests() == 0 {
        format!("{} has taken no request in this range", only.version)
    } else {
        let takes = if has_left(only, facts.grid) { "took" } else { "takes" };
        format!("{} {takes} all traffic", only.version)
    }
}

fn compared(facts: &Facts<'_>, candidate: &VersionLine, baseline: &VersionLine) -> String {
    let (new, old) = (&candidate.version, &baseline.version);
    let mut sentence = if !facts.differences.is_empty() {
        let texts: Vec<&str> = facts.differences.iter().map(|difference| difference.text.as_str()).collect();
        let beside = if facts.pair.before_after { format!("{old} before it") } else { old.to_string() };
        format!("{new} differs from {beside}: {}", texts.join("; "))
    } else if candidate.requests() == 0 {
        format!("{new} has taken no request in this range")
    } else if candidate.requests() < REQUESTS_MIN {
        format!("{new} has taken {} requests: too few to compare with {old}", candidate.requests())
    } else if baseline.requests() < REQUESTS_MIN {
        format!("{old} has taken {} requests: too few to compare {new} with", baseline.requests())
    } else {
        let kind = if facts.pair.before_after { "before" } else { "beside" };
        format!("no notable difference between {new} and {old} {kind} it")
    };
    if let Some(left_ms) = left_at(candidate, facts.grid).filter(|_| !has_left(baseline, facts.grid)) {
        sentence.push_str(&format!("; {new} was withdrawn: no traffic since {}, {old} is back", clock_text(left_ms)));
    }
    sentence
}

/// The newest release, if it was first seen in the range, is not compared, and nobody has sent it a request.
fn waiting_release(facts: &Facts<'_>) -> Option<String> {
    let newest = facts.lines.iter().max_by_key(|line| line.first_seen_ms)?;
    let seen_ms = newest.first_seen_ms.filter(|seen_ms| *seen_ms >= facts.grid.from_ms)?;
    let idle = newest.requests() == 0
        && facts.pair.candidate.as_ref() != Some(&newest.version)
        && &*newest.version != UNVERSIONED;
    idle.then(|| format!("{} was first seen at {} and has taken no request yet", newest.version, clock_text(seen_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::testing::{cell, grid, line, traffic};
    use crate::release::{differences, pair};

    fn say(lines: &[VersionLine]) -> String {
        let grid = grid(lines.iter().map(|line| line.cells.len()).max().unwrap_or(0));
        let pair = pair::choose(lines, &grid, None, None);
        let of =
            |version: &Option<std::sync::Arc<str>>| lines.iter().find(|line| Some(&line.version) == version.as_ref());
        let differences = match (of(&pair.baseline), of(&pair.candidate)) {
            (Some(baseline), Some(candidate)) => {
                differences::find(baseline, candidate, lines, &grid, pair.before_after)
            }
            _ => Vec::new(),
        };
        headline(&Facts { lines, pair: &pair, differences: &differences, grid: &grid })
    }

    #[test]
    fn every_situation_has_its_sentence() {
        assert_eq!(say(&[]), "no request in this range");
        assert_eq!(say(&[traffic("1", -9, &[50, 50])]), "1 takes all traffic");
        assert_eq!(
            say(&[traffic(UNVERSIONED, -9, &[50, 50])]),
            "all records come without a version; set service.version to compare releases"
        );
        assert_eq!(
            say(&[traffic("1", -9, &[500, 500]), traffic("2", 0, &[10, 10])]),
            "2 has taken 20 requests: too few to compare with 1"
        );
        assert_eq!(
            say(&[traffic("1", -9, &[500, 500]), traffic("2", 0, &[60, 60])]),
            "no notable difference between 2 and 1 beside it"
        );
        assert_eq!(
            say(&[traffic("1", -9, &[50, 50]), traffic("2", 1, &[0, 0])]),
            "1 takes all traffic; 2 was first seen at 14:00:10 UTC and has taken no request yet"
        );
    }

    #[test]
    fn a_difference_names_both_versions_and_the_start() {
        let baseline = line("1", -9, vec![cell(900, 4, 100_000); 6]);
        let mut cells = vec![cell(100, 0, 100_000); 3];
        cells.extend(vec![cell(100, 40, 100_000); 3]);
        assert_eq!(
            say(&[baseline, line("2", 0, cells)]),
            "2 differs from 1: error ratio 0.4 % → 40.0 % since 14:00:30 UTC"
        );
    }

    #[test]
    fn silence_is_said_with_its_beginning() {
        let quiet = [&[50; 3][..], &[0; 12]].concat();
        assert_eq!(say(&[traffic("1", -9, &quiet)]), "no traffic since 14:00:30 UTC; before that, 1 took all traffic");
        let said = say(&[traffic("1", -9, &quiet), traffic("2", -5, &quiet)]);
        assert_eq!(said, "no traffic since 14:00:30 UTC; before that, no notable difference between 2 and 1 beside it");
    }

    #[test]
    fn a_rollback_is_said() {
        let mut cells = vec![cell(100, 40, 100_000); 3];
        cells.extend(vec![Default::default(); 12]);
        let said = say(&[line("1", -9, vec![cell(900, 4, 100_000); 15]), line("2", 0, cells)]);
        assert!(said.ends_with("; 2 was withdrawn: no traffic since 14:00:30 UTC, 1 is back"), "{said}");
    }
}
