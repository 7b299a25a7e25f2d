//! The `github` key of `alerts.yaml`: which deployments wait for a verdict, and what opens GitHub's API.

use saphyr::YamlData;

use super::reader::{Node, Reader};
use crate::address;
use crate::gates::github::{Access, Deployment, GithubConfig};

/// GitHub's own API; a GitHub Enterprise Server has another.
const API: &str = "https://api.github.com";
/// After how long a deployment without a decision is rejected.
const GIVE_UP_MS: i64 = 6 * 3_600_000;
const GIVE_UP_RANGE_MS: std::ops::RangeInclusive<i64> = 60_000..=29 * 24 * 3_600_000;
/// Keys while they are changed.
const SECRETS_MAX: usize = 3;
const DEPLOYMENTS_MAX: usize = 200;

/// Reads it; `None` with what is wrong said.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<GithubConfig> {
    let names = ["secrets", "token", "app", "api", "give_up", "deployments"];
    let [secrets, token, app, api, give_up, deployments] = reader.fields(node, names)?;
    let before = reader.problems();
    let mut config = GithubConfig {
        secrets: Vec::new(),
        access: access(reader, node, token, app)?,
        api: API.to_owned(),
        give_up_ms: GIVE_UP_MS,
        deployments: Vec::new(),
    };
    for item in list(reader, node, "secrets", secrets, SECRETS_MAX)? {
        config.secrets.extend(reader.secret(item, "a secret"));
    }
    if let Some(api) = api {
        let text = reader.text(api, "api")?;
        if reader.check(api, address::check_url(&text)) {
            config.api = text.trim_end_matches('/').to_owned();
        }
    }
    if let Some(give_up) = give_up {
        config.give_up_ms = reader.span(give_up, "give_up", GIVE_UP_RANGE_MS)?;
    }
    for item in list(reader, node, "deployments", deployments, DEPLOYMENTS_MAX)? {
        config.deployments.extend(deployment(reader, item));
    }
    (reader.problems() == before).then_some(config)
}

fn access(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    token: Option<&Node<'_>>,
    app: Option<&Node<'_>>,
) -> Option<Access> {
    match (token, app) {
        (Some(token), None) => reader.source(token, "token").map(|(source, _)| Access::Token(source)),
        (None, Some(app)) => {
            let [id, key] = reader.fields(app, ["id", "key"])?;
            let id = reader.required(app, "id", id).and_then(|id| reader.text(id, "id"));
            let key = reader.required(app, "key", key).and_then(|key| reader.source(key, "key"));
            Some(Access::App { id: id?, key: key?.0 })
        }
        _ => {
            reader.say(node, "what opens GitHub's API is one of `app` and `token`");
            None
        }
    }
}

fn list<'n>(
    reader: &mut Reader<'_>,
    at: &Node<'_>,
    name: &str,
    node: Option<&'n Node<'n>>,
    items_max: usize,
) -> Option<&'n [Node<'n>]> {
    let node = reader.required(at, name, node)?;
    match &node.data {
        YamlData::Sequence(items) if !items.is_empty() && items.len() <= items_max => Some(items),
        _ => {
            reader.say(node, format!("{name} is a list of 1 to {items_max}"));
            None
        }
    }
}

fn deployment(reader: &mut Reader<'_>, item: &Node<'_>) -> Option<Deployment> {
    let names = ["repository", "environment", "service", "namespace", "env"];
    let [repository, environment, service, namespace, env] = reader.fields(item, names)?;
    let repository_node = reader.required(item, "repository", repository)?;
    let repository = reader.text(repository_node, "repository")?;
    if repository.split('/').filter(|part| !part.is_empty()).count() != 2 {
        reader.say(repository_node, format!("repository `{repository}` is not owner/name, or owner/*"));
    }
    let mut text = |node: Option<&Node<'_>>, name: &str| node.and_then(|node| reader.text(node, name));
    Some(Deployment {
        repository,
        environment: text(environment, "environment"),
        service: text(service, "service"),
        namespace: text(namespace, "namespace"),
        env: text(env, "env"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn env(name: &str) -> Option<String> {
        (name == "SECRET").then(|| "canary-secret".to_owned())
    }

    #[test]
    fn deployments_are_read_and_what_is_wrong_has_its_line() {
        let yaml = "github:\n  secrets: [{ env: SECRET }]\n  token: { env: SECRET }\n  give_up: 1h\n  deployments:\n    - { repository: acme/checkout, environment: production, env: canary }\n    - repository: acme/*\n";
        let github = parse(yaml, &env).expect("valid").github.expect("there");
        assert_eq!((github.api.as_str(), github.give_up_ms), ("https://api.github.com", 3_600_000));
        assert_eq!(github.deployments.len(), 2);
        assert_eq!(github.deployments[0].env.as_deref(), Some("canary"));
        let check = |yaml: &str, expected: &str| {
            let problems = parse(yaml, &env).expect_err("not valid").join("; ");
            assert!(problems.contains(expected) && !problems.contains("canary-secret"), "{problems}");
        };
        check(
            "github:\n  secrets: [{ env: SECRET }]\n  deployments: [{ repository: a/b }]\n",
            "one of `app` and `token`",
        );
        check("github:\n  token: canary-secret\n", "line 2: token is a secret");
        check(
            "github:\n  token: { env: SECRET }\n  secrets: [{ env: SECRET }]\n  deployments:\n    - repository: checkout\n",
            "line 5: repository `checkout` is not owner/name",
        );
        check("github:\n  token: { env: SECRET }\n  secrets: [{ env: SECRET }]\n", "`deployments` is missing");
        check("github:\n  app: { id: 7 }\n", "`key` is missing");
        check(
            "github:\n  token: { env: SECRET }\n  secrets: []\n  deployments: [{ repository: a/b }]\n",
            "secrets is a list of 1 to 3",
        );
    }

    #[test]
    fn the_example_is_valid() {
        let root = env!("CARGO_MANIFEST_DIR");
        let example =
            std::fs::read_to_string(format!("{root}/../deploy/hooks/github/alerts.yaml")).expect("the example");
        let key = format!("{root}/tests/gates/app.pem");
        let example = example.replace("/etc/shipwake/github-app.pem", &key);
        let env = |name: &str| (name == "GITHUB_WEBHOOK_SECRET").then(|| "a secret".to_owned());
        let github = parse(&example, &env).expect("valid").github.expect("there");
        assert_eq!((github.give_up_ms, github.deployments.len()), (6 * 3_600_000, 2));
    }
}
