//! `policies.yaml`: read and checked as a whole. Every problem names its line; an unknown key names the nearest known one. The
//! form is described in `docs/verdicts.md`.

use std::path::Path;

use saphyr::{LoadableYamlNode, MarkedYaml, YamlData};
use shipwake_verdict::Policy;
use shipwake_verdict::policy::Margins;

use super::{NamedPolicy, Policies, Rule, sense};
use crate::config_file::reader::{Node, Reader, instead};

const FILE_BYTES_MAX: u64 = 1 << 20;
const RULES_MAX: usize = 200;
const NOTHING: &str = "nothing is in it: it has `default`, `policies`, or both";
/// Keys of a policy.
const KEYS: [&str; 17] = [
    "errors",
    "latency",
    "kpi",
    "traffic",
    "patterns",
    "warm_up",
    "weights",
    "alpha",
    "go_after",
    "blocks_min",
    "block",
    "instances_min",
    "lag_max",
    "machines",
    "off",
    "critical",
    "required",
];
/// Groups of checks, by which they are turned off or made critical all at once.
const GROUPS: [&str; 5] = ["errors", "latency", "kpi", "patterns", "traffic"];

/// Reads a file.
///
/// # Errors
/// Every problem found, with the file in front.
pub fn load(path: &Path) -> Result<Policies, Vec<String>> {
    let named = |problem: String| format!("{}: {problem}", path.display());
    let size = std::fs::metadata(path).map_err(|error| vec![named(error.to_string())])?.len();
    if size > FILE_BYTES_MAX {
        return Err(vec![named(format!("larger than {FILE_BYTES_MAX} bytes"))]);
    }
    let text = std::fs::read_to_string(path).map_err(|error| vec![named(error.to_string())])?;
    parse(&text).map_err(|problems| problems.into_iter().map(named).collect())
}

/// Reads the text of a file.
///
/// # Errors
/// Every problem found, with its line.
pub fn parse(text: &str) -> Result<Policies, Vec<String>> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| vec![format!("not valid YAML: {error}")])?;
    let mut reader = Reader::new(&|_| None);
    let policies = match &documents[..] {
        // A file that was emptied by mistake would judge by other limits, without a word.
        [] => return Err(vec![NOTHING.to_owned()]),
        [document] => read(&mut reader, document),
        [_, second, ..] => {
            reader.say(second, "a second document: there is one per file");
            Policies::default()
        }
    };
    reader.finish(policies)
}

fn read(reader: &mut Reader<'_>, document: &Node<'_>) -> Policies {
    let mut policies = Policies::default();
    let Some([default, rules]) = reader.fields(document, ["default", "policies"]) else { return policies };
    if default.is_none() && rules.is_none() && reader.problems() == 0 {
        reader.say(document, NOTHING);
    }
    if let Some(node) = default
        && let Some(found) = reader.fields(node, KEYS)
    {
        read_policy(reader, node, found, &mut policies.default);
    }
    let Some(list) = rules else { return policies };
    let YamlData::Sequence(items) = &list.data else {
        reader.say(list, "policies is not a list");
        return policies;
    };
    if items.len() > RULES_MAX {
        reader.say(list, format!("more than {RULES_MAX} policies"));
    }
    for item in items.iter().take(RULES_MAX) {
        let Some(rule) = read_rule(reader, item, &policies.default) else { continue };
        // Whose name is missing is said already.
        if rule.policy.name.is_empty() {
            continue;
        }
        if policies.rules.iter().any(|known| known.policy.name == rule.policy.name) || &*rule.policy.name == "default" {
            reader.say(item, format!("a second policy `{}`", rule.policy.name));
        } else if let Some(before) = sense::hidden_by(&policies.rules, &rule) {
            let (own, before) = (&rule.policy.name, &before.policy.name);
            reader
                .say(item, format!("`{own}` never applies: `{before}` stands before it and is for all that it is for"));
        }
        policies.rules.push(rule);
    }
    policies
}

/// A rule; what it does not say is as in the default. Without a name when that is wrong: the rest is looked at all the same.
fn read_rule(reader: &mut Reader<'_>, item: &Node<'_>, default: &NamedPolicy) -> Option<Rule> {
    const ALL: [&str; 20] = {
        let mut all = ["name"; 20];
        (all[1], all[2]) = ("services", "environments");
        let mut at = 0;
        while at < KEYS.len() {
            all[at + 3] = KEYS[at];
            at += 1;
        }
        all
    };
    let [name, services, environments, rest @ ..] = reader.fields(item, ALL)?;
    let name = reader.required(item, "name", name).and_then(|node| reader.word_text(node, "name"));
    let services = services.map_or_else(Vec::new, |node| read_names(reader, node, "services"));
    let environments = environments.map_or_else(Vec::new, |node| read_names(reader, node, "environments"));
    let mut policy = NamedPolicy { name: name.unwrap_or_default().into(), ..default.clone() };
    read_policy(reader, item, rest, &mut policy);
    Some(Rule { services, environments, policy })
}

fn read_names(reader: &mut Reader<'_>, node: &Node<'_>, of: &str) -> Vec<String> {
    // What cannot be read is for nobody: no names would be for all, and hide what follows.
    let names = reader.texts(node, of).unwrap_or_else(|| vec![String::new()]);
    for problem in names.iter().filter_map(|name| sense::pattern_problem(name)) {
        reader.say(node, format!("{of} {problem}"));
    }
    names
}

fn read_policy(reader: &mut Reader<'_>, at: &Node<'_>, found: [Option<&Node<'_>>; 17], named: &mut NamedPolicy) {
    let [errors, latency, kpi, traffic, patterns, warm_up, weights, alpha, rest @ ..] = found;
    let policy = &mut named.policy;
    for (node, name, margins) in [
        (errors, "errors", &mut policy.errors),
        (kpi, "kpi", &mut policy.kpi),
        (traffic, "traffic", &mut policy.traffic),
    ] {
        if let Some(node) = node {
            read_margins(reader, node, name, margins);
            if let Some(problem) = sense::undecidable(name, margins) {
                reader.say(node, problem);
            }
        }
    }
    if let Some(node) = latency {
        read_latency(reader, node, policy);
    }
    if let Some(node) = patterns {
        let limits = &mut policy.patterns;
        if let Some([margin, floor, lines_min]) = reader.fields(node, ["margin", "floor", "lines_min"]) {
            number(reader, margin, "patterns.margin", 1.0..=100.0, &mut limits.margin);
            number(reader, floor, "patterns.floor", 0.0..=1.0, &mut limits.floor);
            let mut lines = limits.lines_min as f64;
            number(reader, lines_min, "patterns.lines_min", 1.0..=1e6, &mut lines);
            limits.lines_min = lines as u64;
        }
    }
    if let Some(node) = warm_up
        && let Some([span, worse, floor]) = reader.fields(node, ["for", "worse", "floor"])
    {
        seconds(reader, span, "warm_up.for", 0, 3_600, &mut policy.warm_up_s);
        number(reader, worse, "warm_up.worse", 1.0..=100.0, &mut policy.warm_up.worse);
        number(reader, floor, "warm_up.floor", 0.0..=1.0, &mut policy.warm_up.floor);
        policy.warm_up.catastrophe = policy.warm_up.worse;
    }
    if let Some(node) = weights
        && let Some(found) = reader.fields(node, GROUPS)
    {
        let all = &mut policy.weights;
        let places = [&mut all.errors, &mut all.latency, &mut all.kpi, &mut all.patterns, &mut all.traffic];
        for ((node, name), place) in found.into_iter().zip(GROUPS).zip(places) {
            number(reader, node, &format!("weights.{name}"), 0.001..=1_000.0, place);
        }
    }
    if let Some(node) = alpha
        && let Some([no_go, go]) = reader.fields(node, ["no_go", "go"])
    {
        // A tenth of the budget is for catastrophes, whatever it is.
        let mut whole = policy.alpha_fast + policy.alpha_slow;
        number(reader, no_go, "alpha.no_go", 1e-6..=0.2, &mut whole);
        (policy.alpha_fast, policy.alpha_slow) = (whole * 0.1, whole * 0.9);
        number(reader, go, "alpha.go", 1e-6..=0.5, &mut policy.alpha_fine);
    }
    read_rest(reader, rest, named);
    for problem in named.policy.problems() {
        reader.say(at, problem);
    }
}

fn read_rest(reader: &mut Reader<'_>, rest: [Option<&Node<'_>>; 9], named: &mut NamedPolicy) {
    let [go_after, blocks_min, block, instances_min, lag_max, machines, off, critical, required] = rest;
    let policy = &mut named.policy;
    seconds(reader, go_after, "go_after", 10, 86_400, &mut policy.steady_min_s);
    whole(reader, blocks_min, "blocks_min", 1, 1_000, &mut policy.blocks_min);
    if block.is_some() {
        let mut block_s = 60;
        seconds(reader, block, "block", 10, 600, &mut block_s);
        policy.block_s = Some(block_s);
    }
    whole(reader, instances_min, "instances_min", 1, 1_000, &mut policy.instances_min);
    seconds(reader, lag_max, "lag_max", 5, 600, &mut policy.lag_max_s);
    if let Some(node) = machines
        && let Some([no_go, go]) = reader.fields(node, ["no_go", "go"])
    {
        number(reader, no_go, "machines.no_go", 0.0..=10.0, &mut policy.allowance_worse);
        number(reader, go, "machines.go", 0.0..=10.0, &mut policy.allowance_fine);
    }
    for (node, name, list) in [
        (off, "off", &mut named.off),
        (critical, "critical", &mut named.critical),
        (required, "required", &mut named.required),
    ] {
        let Some(node) = node else { continue };
        let Some(names) = reader.texts(node, name) else { continue };
        for found in names.iter().filter(|found| !is_check(found)) {
            let known = [&GROUPS[..], &["crashes", "kpi.KEY"]].concat();
            reader.say(node, format!("{name} `{found}` is no check; {}", instead(found, &known)));
        }
        *list = names;
    }
    for (node, name, list) in [(critical, "critical", &named.critical), (required, "required", &named.required)] {
        let Some(node) = node.or(off) else { continue };
        for (check, off) in sense::asked_and_off(list, &named.off) {
            reader.say(node, format!("{name} `{check}` is turned off, by `off: [{off}]`"));
        }
    }
    if let Some(node) = off.filter(|_| named.off.iter().any(|name| name == "errors")) {
        reader.say(node, "errors cannot be turned off: without requests and errors nothing can be judged");
    }
}

fn is_check(name: &str) -> bool {
    GROUPS.contains(&name) || name == "crashes" || name.strip_prefix("kpi.").is_some_and(|key| !key.is_empty())
}

fn read_margins(reader: &mut Reader<'_>, node: &Node<'_>, name: &str, margins: &mut Margins) {
    let Some([worse, catastrophe, fine, floor]) = reader.fields(node, ["worse", "catastrophe", "fine", "floor"]) else {
        return;
    };
    number(reader, worse, &format!("{name}.worse"), 1.0..=100.0, &mut margins.worse);
    number(reader, catastrophe, &format!("{name}.catastrophe"), 1.0..=100.0, &mut margins.catastrophe);
    number(reader, fine, &format!("{name}.fine"), 1.0..=100.0, &mut margins.fine);
    number(reader, floor, &format!("{name}.floor"), 0.0..=0.999, &mut margins.floor);
}

fn read_latency(reader: &mut Reader<'_>, node: &Node<'_>, policy: &mut Policy) {
    let limits = &mut policy.latency;
    let names = ["slower_by", "slower_by_ms", "worse", "catastrophe"];
    let Some([relative, absolute, worse, catastrophe]) = reader.fields(node, names) else { return };
    number(reader, relative, "latency.slower_by", 0.0..=10.0, &mut limits.relative);
    let mut ms = limits.absolute_s * 1e3;
    number(reader, absolute, "latency.slower_by_ms", 0.0..=60_000.0, &mut ms);
    limits.absolute_s = ms / 1e3;
    number(reader, worse, "latency.worse", 1.0..=100.0, &mut limits.worse);
    number(reader, catastrophe, "latency.catastrophe", 1.0..=100.0, &mut limits.catastrophe);
}

fn number(
    reader: &mut Reader<'_>,
    node: Option<&Node<'_>>,
    name: &str,
    range: std::ops::RangeInclusive<f64>,
    place: &mut f64,
) {
    let Some(node) = node else { return };
    let found = reader.text(node, name).and_then(|text| text.parse::<f64>().ok()).filter(|value| range.contains(value));
    match found {
        Some(value) => *place = value,
        None => reader.say(node, format!("{name}: a number from {} to {}", range.start(), range.end())),
    }
}

fn whole(reader: &mut Reader<'_>, node: Option<&Node<'_>>, name: &str, low: u32, high: u32, place: &mut u32) {
    let mut value = f64::from(*place);
    number(reader, node, name, f64::from(low)..=f64::from(high), &mut value);
    if value.fract() == 0.0 {
        *place = value as u32;
    } else if let Some(node) = node {
        reader.say(node, format!("{name}: a whole number"));
    }
}

fn seconds(reader: &mut Reader<'_>, node: Option<&Node<'_>>, name: &str, low: u32, high: u32, place: &mut u32) {
    let Some(node) = node else { return };
    let range = i64::from(low) * 1_000..=i64::from(high) * 1_000;
    if let Some(ms) = reader.span(node, name, range) {
        *place = u32::try_from(ms / 1_000).unwrap_or(*place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_changed_and_the_rest_is_as_in_the_default() {
        let policies = parse(
            "default:\n  instances_min: 1\n  latency: { slower_by: 0.2, slower_by_ms: 20 }\npolicies:\n\
             - name: pay\n  services: [checkout, payment]\n  environments: [production]\n  errors: { worse: 1.05, fine: 1.2 }\n  \
             critical: [errors]\n  go_after: 15m\n  alpha: { no_go: 0.05 }\n- name: staging\n  environments: [staging]\n  off: [kpi, patterns]\n",
        )
        .expect("valid");
        let pay = policies.of("checkout", "production");
        assert_eq!((&*pay.name, pay.policy.errors.worse, pay.policy.steady_min_s), ("pay", 1.05, 900));
        assert_eq!((pay.policy.instances_min, pay.policy.latency.absolute_s), (1, 0.02));
        assert!((pay.policy.alpha_slow - 0.045).abs() < 1e-12 && pay.critical == ["errors"]);
        assert_eq!(&*policies.of("checkout", "staging").name, "staging");
        assert_eq!(&*policies.of("search", "production").name, "default");
    }

    #[test]
    fn a_name_may_end_in_a_star() {
        let policies = parse(
            "policies:\n- name: pay\n  services: [pay*]\n  environments: [prod*, eu]\n- name: all\n  services: ['*']\n",
        )
        .expect("valid");
        let name = |service: &str, environment: &str| policies.of(service, environment).name.to_string();
        assert_eq!([name("payment", "production"), name("pay", "eu")], ["pay", "pay"]);
        assert_eq!([name("payment", "eu-west"), name("repay", "production")], ["all", "all"]);
    }

    #[test]
    fn what_can_do_nothing_is_a_problem() {
        for nothing in ["", "# later\n", "{}\n"] {
            let problems = parse(nothing).expect_err("says nothing");
            assert!(problems.len() == 1 && problems[0].ends_with(NOTHING), "{problems:?}");
        }
        let problems = parse(
            "default:\n  off: [kpi]\npolicies:\n- name: all\n- name: pay\n  services: [pay]\n  off: [latency]\n  required: [latency]\n  \
             critical: [latency, errors]\n- name: odd\n  services: ['*y', a]\n  errors: { worse: 1.05, fine: 1.01 }\n  kpi: { fine: 1 }\n  \
             required: [kpi.orders]\n",
        )
        .expect_err("little makes sense");
        let expected = [
            "line 9: critical `latency` is turned off, by `off: [latency]`",
            "line 8: required `latency` is turned off, by `off: [latency]`",
            "line 5: `pay` never applies: `all` stands before it and is for all that it is for",
            "line 11: services `*y`: a star stands at the end, for the rest of a name, and nowhere else",
            "line 12: errors.fine (1.01) is below errors.worse (1.05): what lies between would be neither `go` nor `no_go`",
            "line 13: kpi.fine is 1: a release that is as good as its baseline would never be `go`",
            "line 14: required `kpi.orders` is turned off, by `off: [kpi]`",
            "line 10: `odd` never applies: `all` stands before it and is for all that it is for",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn one_mistake_hides_no_other() {
        let problems = parse(
            "policies:\n- name: pay\n  services: [pay]\n- name: pay\n  services: []\n  off: [errors]\n  critical: [latncy]\n  \
             weights: { errors: -1 }\n  alpha: { no_go: 1 }\n- name: two words\n  services: [[1], [2]]\n  off: [errors]\n",
        )
        .expect_err("much is wrong");
        let lines: Vec<&str> = problems.iter().map(|problem| problem.split_at(7).0).collect();
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        let expected = [
            "line 10", "line 11", "line 11", "line 12", "line 4:", "line 5:", "line 6:", "line 7:", "line 8:",
            "line 9:",
        ];
        assert_eq!(sorted, expected, "{problems:#?}");
    }

    #[test]
    fn every_problem_is_named_with_its_line() {
        let problems = parse(
            "defualt: {}\npolicies:\n- name: a\n  erors: {}\n- services: [x]\n- name: b\n  go_after: soon\n  off: [latncy]\n  \
             errors: { worse: 0.5 }\n- name: a\n",
        )
        .expect_err("much is wrong");
        let expected = [
            "line 1: unknown key `defualt`; did you mean `default`?",
            "line 4: unknown key `erors`; did you mean `errors`?",
            "line 5: `name` is missing",
            "line 9: errors.worse: a number from 1 to 100",
            "line 7: go_after `soon`: a span like 30s, 5m, 1h or 2d, from 10 s to 24 h",
            "line 8: off `latncy` is no check; did you mean `latency`?",
            "line 6: `b` never applies: `a` stands before it and is for all that it is for",
            "line 10: a second policy `a`",
        ];
        assert_eq!(problems, expected);
    }
}
