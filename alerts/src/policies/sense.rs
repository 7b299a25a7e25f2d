//! What is well written and makes no sense: policies that never apply, checks that are off and asked for, limits between which nothing is
//! ever decided. Pure.

use shipwake_verdict::policy::Margins;

use super::Rule;

/// What stands for the rest of a name, at its end.
const REST: char = '*';

/// Whether a name of a file is for a name of telemetry: the same, or the same up to a star at the end.
pub(super) fn is_for(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix(REST).map_or(pattern == name, |start| name.starts_with(start))
}

/// What is wrong with a name of `services` or `environments`.
pub(super) fn pattern_problem(pattern: &str) -> Option<String> {
    let (at, _) = pattern.char_indices().find(|(_, letter)| *letter == REST)?;
    let is_last = at + REST.len_utf8() == pattern.len();
    (!is_last).then(|| format!("`{pattern}`: a star stands at the end, for the rest of a name, and nowhere else"))
}

/// The first of the policies before it that is for everybody a policy is for.
pub(super) fn hidden_by<'a>(before: &'a [Rule], rule: &Rule) -> Option<&'a Rule> {
    before
        .iter()
        .find(|earlier| covers(&earlier.services, &rule.services) && covers(&earlier.environments, &rule.environments))
}

/// Whether some names are for all that others are for. No names are for all.
fn covers(names: &[String], others: &[String]) -> bool {
    let is_covered = |other: &str| {
        // What begins with all of `pay*` begins with all of `p*`.
        let start = other.strip_suffix(REST);
        names.iter().any(|name| name == other || name.ends_with(REST) && is_for(name, start.unwrap_or(other)))
    };
    if others.is_empty() {
        return names.is_empty() || is_covered("*");
    }
    names.is_empty() || others.iter().all(|other| is_covered(other))
}

/// Checks that are asked for and off, each with what turns it off.
pub(super) fn asked_and_off<'a>(asked: &'a [String], off: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let turns_off = |off: &str, check: &str| off == check || (off == "kpi" && check.starts_with("kpi."));
    let found = asked.iter().filter_map(|check| Some((check, off.iter().find(|off| turns_off(off, check))?)));
    found.map(|(check, off)| (check.as_str(), off.as_str())).collect()
}

/// Why some releases would never be decided.
pub(super) fn undecidable(name: &str, margins: &Margins) -> Option<String> {
    let Margins { worse, fine, .. } = *margins;
    if fine <= 1.0 {
        return Some(format!("{name}.fine is 1: a release that is as good as its baseline would never be `go`"));
    }
    let rounded = |factor: f64| (factor * 1e3).round() / 1e3;
    // 1.0526… of the default is 1.053 to whoever writes it.
    (rounded(fine) < rounded(worse)).then(|| {
        let (worse, fine) = (rounded(worse), rounded(fine));
        format!(
            "{name}.fine ({fine}) is below {name}.worse ({worse}): what lies between would be neither `go` nor `no_go`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_is_for_the_rest_of_a_name() {
        let cases = [
            ("pay", "pay", true),
            ("pay", "payment", false),
            ("pay*", "pay", true),
            ("pay*", "payment", true),
            ("pay*", "repay", false),
            ("*", "anything", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(is_for(pattern, name), expected, "{pattern} {name}");
        }
        for wrong in ["*pay", "p*y", "pay**", "*-*"] {
            assert!(pattern_problem(wrong).is_some_and(|problem| problem.contains("at the end")), "{wrong}");
        }
        assert_eq!([pattern_problem("pay*"), pattern_problem("*"), pattern_problem("pay")], [None, None, None]);
    }

    #[test]
    fn names_cover_names() {
        let cases: [(&[&str], &[&str], bool); 9] = [
            (&[], &["a"], true),
            (&[], &[], true),
            (&["a"], &[], false),
            (&["*"], &[], true),
            (&["a", "b*"], &["b", "bc", "a"], true),
            (&["a", "b*"], &["ab"], false),
            (&["b*"], &["bc*"], true),
            (&["bc*"], &["b*"], false),
            (&["b"], &["b*"], false),
        ];
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (names, others, expected) in cases {
            assert_eq!(covers(&texts(names), &texts(others)), expected, "{names:?} {others:?}");
        }
    }
}
