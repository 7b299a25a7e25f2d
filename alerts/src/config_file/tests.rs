//! The configuration as people write it, right and wrong.

use super::*;

const GOOD: &str = include_str!("../../../deploy/alerts/alerts.yaml");

fn env(name: &str) -> Option<String> {
    let value = match name {
        "SLACK_URL" => "https://hooks.slack.com/services/T0/B0/canary",
        "PAGERDUTY_KEY" => "R0123456789012345678901234567890",
        "WEBHOOK_SECRET" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "WEBHOOK_SECRET_OLD" => "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "BAD_SECRET" => "canary-secret",
        "BAD_URL" => "canary://secret",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn the_example_is_read_with_its_defaults() {
    let config = parse(GOOD, &env).expect("valid");
    assert_eq!(config.url.as_deref(), Some("https://shipwake.example.com"));
    let names: Vec<&str> = config.receivers.iter().map(|receiver| &*receiver.name).collect();
    assert_eq!(names, ["rollout", "chat", "pager", "incidents"]);
    let [rollout, chat, pager, changes] = &config.receivers[..] else { panic!("four receivers") };
    assert!(matches!(&rollout.target, Target::Webhook { keys, .. } if keys.len() == 2));
    assert_eq!(rollout.wants.environments, ["production"]);
    assert_eq!((chat.max_age_ms, chat.fallback_after_ms), (24 * 3_600_000, FALLBACK_AFTER_MS));
    assert_eq!(chat.wants.verdicts, [Word::NoGo, Word::Go, Word::Watch]);
    assert_eq!((pager.max_age_ms, pager.fallback.as_deref()), (3_600_000, Some("chat")));
    assert!(pager.wants.trouble_only && !pager.policy().merges);
    assert_eq!(changes.target.url().expose(), CHANGES_URL);
    assert!(parse("", &env).expect("an empty file tells nobody").receivers.is_empty());
    assert!(warnings(&config).is_empty(), "{:?}", warnings(&config));
}

#[test]
fn every_problem_is_said_with_its_line_and_without_secrets() {
    let check = |text: &str, words: &[&str]| {
        let problems = parse(text, &env).expect_err(text);
        assert_eq!(problems.len(), words.len(), "{text}: {problems:?}");
        for (problem, word) in problems.iter().zip(words) {
            assert!(problem.contains(word), "{problem} lacks {word}");
            assert!(!problem.contains("canary"), "{problem}");
        }
    };
    let receiver = |rest: &str| format!("receivers:\n  - name: a\n{rest}");
    check("reciever: []", &["line 1: unknown key `reciever`; did you mean `receivers`?"]);
    check("receivers: 7", &["not a list"]);
    check("url: nowhere", &["line 1: "]);
    check("receivers:\n  - slack: { url: { env: SLACK_URL } }", &["line 2: `name` is missing"]);
    check(
        &receiver("    name2: b"),
        &["line 3: unknown key `name2`; did you mean `name`?", "a receiver has one of `webhook`"],
    );
    check(&receiver("    slack: { url: https://hooks.slack.com/canary }"), &["line 3: this url is a secret"]);
    check(&receiver("    slack: { url: { env: NOT_THERE } }"), &["line 3: url: the environment has no NOT_THERE"]);
    check(&receiver("    slack: { url: { file: /no/such/file } }"), &["line 3: url: /no/such/file"]);
    check(&receiver("    slack: { url: { env: BAD_URL } }"), &["line 3: "]);
    check(&receiver("    pagerduty: { routing_key: canary }"), &["line 3: routing_key is a secret"]);
    check(
        &receiver("    webhook: { url: 'https://a', secrets: [ { env: BAD_SECRET } ] }"),
        &["a signing secret begins with `whsec_`"],
    );
    check(&receiver("    webhook: { url: 'https://a' }"), &["line 3: `secrets` is missing"]);
    check(&receiver("    webhook: { url: 'http://169.254.169.254/latest', secrets: [] }"), &["169.254"]);
    check(
        &receiver("    webhook: { url: 'https://a', secrets: [] }\n    verdicts: [nogo]"),
        &["one of go, no_go, watch, wait"],
    );
    check(
        &receiver("    webhook: { url: 'https://a', secrets: [] }\n    max_age: 5 weeks"),
        &["line 4: max_age `5 weeks`"],
    );
    check(&receiver("    webhook: { url: 'https://a', secrets: [] }\n    max_age: 1s"), &["from 60 s to 7 days"]);
    check(
        &receiver("    webhook: { url: 'https://a', secrets: [] }\n    fallback: b"),
        &["line 2: fallback `b` is no receiver"],
    );
    check(
        &receiver("    webhook: { url: 'https://a', secrets: [] }\n    fallback: a"),
        &["cannot stand in for itself"],
    );
    check(&receiver("    webhook: { url: 'https://a', secrets: [] }\n    fallback_after: 1m"), &["without `fallback`"]);
    check(
        &receiver("    pagerduty: { routing_key: { env: PAGERDUTY_KEY } }\n    verdicts: [go]"),
        &["line 4: a pager opens an incident at no_go"],
    );
    check("receivers:\n  - { name: a b, slack: { url: { env: SLACK_URL } } }", &["letters, digits"]);
    let twice = "  - { name: a, slack: { url: { env: SLACK_URL } } }\n";
    check(&format!("receivers:\n{twice}{twice}"), &["line 3: a second receiver `a`"]);
    check("a: 1\n---\nb: 2", &["second document"]);
    check("receivers: [", &["not valid YAML"]);
}

#[test]
fn what_is_valid_and_unwise_is_said() {
    let text = "receivers:\n  - { name: a, webhook: { url: 'http://chat.internal/x', secrets: [] } }\n  \
                - { name: b, pagerduty: { routing_key: { env: PAGERDUTY_KEY } } }";
    let said = warnings(&parse(text, &env).expect("valid"));
    let words = ["`url`", "http://", "not signed", "fallback"];
    assert_eq!(said.len(), words.len(), "{said:?}");
    assert!(said.iter().zip(words).all(|(said, word)| said.contains(word)), "{said:?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let problems = load(Path::new("no/such/alerts.yaml")).expect_err("not there");
    assert!(problems[0].contains("no/such/alerts.yaml"), "{problems:?}");
}
