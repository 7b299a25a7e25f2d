//! The first sentence of a page: which version, what differs from the version beside it, since when. Says "differs" and
//! never "go" or "no go".

use shipwake_model::{Source, UNVERSIONED};

use crate::release::differences::{Difference, REQUESTS_MIN};
use crate::release::events::Event;
use crate::release::pair::{Pair, has_left, left_at, silent_since};
use crate::release::timeline::{Grid, VersionLine};
use crate::time::clock_text;

/// What the sentence is made of.
pub(crate) struct Facts<'a> {
    pub lines: &'a [VersionLine],
    pub pair: &'a Pair,
    pub differences: &'a [Difference],
    /// What happened in the range, oldest first.
    pub events: &'a [Event],
    pub grid: &'a Grid,
    /// What requests were counted from.
    pub source: Option<Source>,
}

impl Facts<'_> {
    /// `taken 1 request`, `written 20 records` where log records stand in.
    fn taken(&self, count: u64) -> String {
        let (verb, unit) = if self.source == Some(Source::Logs) { ("written", "record") } else { ("taken", "request") };
        format!("{verb} {count} {unit}{}", if count == 1 { "" } else { "s" })
    }
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
    let switched_ms = switched_at(facts, baseline);
    let mut sentence = if !facts.differences.is_empty() {
        let texts: Vec<&str> = facts.differences.iter().map(|difference| difference.text.as_str()).collect();
        let beside = if facts.pair.before_after { format!("{old} before it") } else { old.to_string() };
        format!("{new} differs from {beside}: {}", texts.join("; "))
    } else if candidate.requests() == 0 {
        format!("{new} has taken no request in this range")
    } else if candidate.requests() < REQUESTS_MIN {
        format!("{new} has {}: too few to compare with {old}", facts.taken(candidate.requests()))
    } else if baseline.requests() < REQUESTS_MIN {
        format!("{old} has {}: too few to compare {new} with", facts.taken(baseline.requests()))
    } else {
        let kind = if facts.pair.before_after || switched_ms.is_some() { "before" } else { "beside" };
        format!("no notable difference between {new} and {old} {kind} it")
    };
    if let Some(switched_ms) = switched_ms {
        sentence.push_str(&format!("; {new} takes over: {old} has had no traffic since {}", clock_text(switched_ms)));
    }
    if let Some(left_ms) = left_at(candidate, facts.grid).filter(|_| !has_left(baseline, facts.grid)) {
        sentence.push_str(&format!("; {new} was withdrawn: no traffic since {}, {old} is back", clock_text(left_ms)));
    }
    sentence
}

/// When the baseline's traffic ended, if that was a moment ago and the two are still compared side by side.
fn switched_at(facts: &Facts<'_>, baseline: &VersionLine) -> Option<i64> {
    if facts.pair.before_after {
        return None;
    }
    let about = |event: &&Event| event.version == baseline.version && event.share.is_some();
    let last = facts.events.iter().rfind(about)?;
    (last.share == Some(0.0)).then_some(last.t_ms)
}

/// The newest release, if it was first seen in the range, is not compared, and nobody has sent it a request.
pub(crate) fn waiting_release(facts: &Facts<'_>) -> Option<String> {
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
        say_from(lines, Source::Spans)
    }

    fn say_from(lines: &[VersionLine], source: Source) -> String {
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
        let events = crate::release::events::find(lines, &grid);
        headline(&Facts {
            lines,
            pair: &pair,
            differences: &differences,
            events: &events,
            grid: &grid,
            source: Some(source),
        })
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
    fn what_is_counted_has_its_name() {
        let lines = [traffic("1", -9, &[500, 500]), traffic("2", 0, &[0, 1])];
        assert_eq!(say_from(&lines, Source::Logs), "2 has written 1 record: too few to compare with 1");
        assert_eq!(say(&lines), "2 has taken 1 request: too few to compare with 1");
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
    fn right_after_a_switch_the_old_version_is_not_beside_the_new_one() {
        let blue = [&[500; 10][..], &[0; 3]].concat();
        let green = [&[5; 10][..], &[500; 3]].concat();
        assert_eq!(
            say(&[traffic("blue", -9, &blue), traffic("green", 0, &green)]),
            "no notable difference between green and blue before it; green takes over: blue has had no traffic since \
             14:01:40 UTC"
        );
        let steady = say(&[traffic("blue", -9, &[500; 13]), traffic("green", 0, &[5; 13])]);
        assert_eq!(steady, "no notable difference between green and blue beside it");
    }

    #[test]
    fn a_rollback_is_said() {
        let mut cells = vec![cell(100, 40, 100_000); 3];
        cells.extend(vec![Default::default(); 12]);
        let said = say(&[line("1", -9, vec![cell(900, 4, 100_000); 15]), line("2", 0, cells)]);
        assert!(said.ends_with("; 2 was withdrawn: no traffic since 14:00:30 UTC, 1 is back"), "{said}");
    }
}
