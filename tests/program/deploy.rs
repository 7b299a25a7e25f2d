//! What stands in `deploy/`: every option in it exists, and every configuration in it is one that Shipwake starts with.
//! Nothing of it is started here; `deploy/demo-kafka` is what does that, and `tests/kafka` what is judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr::{LoadableYamlNode, Yaml};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(path: &str) -> String {
    let path = deploy().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Environment of a process.
type Environment = BTreeMap<String, String>;

/// Runs `shipwake config check` as this process would be configured.
fn check(who: &str, options: &[String], environment: &Environment) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipwake"));
    command.args(["config", "check"]).args(options).env_clear();
    // As the image says it.
    command.env("SHIPWAKE_BEHIND_PROXY", "true").env("SHIPWAKE_UI_ADDR", "0.0.0.0:4400");
    let output = command.envs(environment).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{who} {options:?} {environment:?}: {said}");
}

/// A variable that Shipwake does not read is a typing error; it would be silently without effect.
fn known_variables() -> String {
    let help =
        Command::new(env!("CARGO_BIN_EXE_shipwake")).args(["serve", "--help"]).output().expect("the program runs");
    String::from_utf8(help.stdout).expect("text")
}

fn assert_known(who: &str, environment: &Environment, known: &str) {
    for name in environment.keys().filter(|name| name.starts_with("SHIPWAKE_")) {
        assert!(known.contains(&format!("{name}=")), "{who}: there is no {name}");
    }
}

fn scalar(node: &Yaml<'_>) -> String {
    match node {
        Yaml::Value(saphyr::Scalar::String(text)) => text.to_string(),
        Yaml::Value(saphyr::Scalar::Integer(number)) => number.to_string(),
        Yaml::Value(saphyr::Scalar::Boolean(is)) => is.to_string(),
        other => panic!("neither text nor number: {other:?}"),
    }
}

/// The value of a key, also when it comes in by `<<`.
fn get<'a, 'text>(node: &'a Yaml<'text>, key: &str) -> Option<&'a Yaml<'text>> {
    let mapping = node.as_mapping()?;
    let of = |name: &str| mapping.iter().find(|(found, _)| found.as_str() == Some(name)).map(|(_, value)| value);
    of(key).or_else(|| of("<<").and_then(|merged| get(merged, key)))
}

fn pairs(node: &Yaml<'_>, into: &mut Environment) {
    for (key, value) in node.as_mapping().expect("a mapping") {
        match key.as_str().expect("a name") {
            "<<" => pairs(value, into),
            name => drop(into.insert(name.to_owned(), scalar(value))),
        }
    }
}

fn list(node: &Yaml<'_>) -> Vec<String> {
    node.as_sequence().expect("a list").iter().map(scalar).collect()
}

#[test]
fn every_process_of_compose_starts_with_its_configuration() {
    let text = read("compose/compose.yaml");
    let documents = Yaml::load_from_str(&text).expect("YAML");
    let services = get(&documents[0], "services").and_then(Yaml::as_mapping).expect("services");
    let known = known_variables();
    let mut roles = Vec::new();
    for (name, service) in services {
        let name = name.as_str().expect("a name");
        if get(service, "image").map(scalar).as_deref() != Some("shipwake") {
            continue;
        }
        let mut environment = Environment::new();
        pairs(get(service, "environment").expect("an environment"), &mut environment);
        assert_known(name, &environment, &known);
        check(name, &[], &environment);
        roles.push(environment["SHIPWAKE_ROLES"].clone());
        assert_eq!(get(service, "user").map(scalar).as_deref(), Some("10001:10001"), "{name} is root");
        assert_eq!(get(service, "read_only").map(scalar).as_deref(), Some("true"), "{name} may write to its image");
        let ports = get(service, "ports").map(list).unwrap_or_default();
        assert!(ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{name} listens beyond loopback: {ports:?}");
    }
    assert_eq!(roles, ["ingest", "ingest", "aggregate", "aggregate", "query,alerts"]);
}

#[test]
fn every_process_in_kubernetes_starts_with_its_configuration() {
    let known = known_variables();
    let shared: Environment = read("kubernetes/config.env")
        .lines()
        .map(|line| line.split_once('=').expect("NAME=value"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_known("config.env", &shared, &known);
    for file in ["ingest.yaml", "aggregate.yaml", "query.yaml", "alerts.yaml"] {
        let text = read(&format!("kubernetes/{file}"));
        let documents = Yaml::load_from_str(&text).expect("YAML");
        let pod = get(get(&documents[0], "spec").expect("spec"), "template").expect("template");
        let pod = get(pod, "spec").expect("spec");
        let container = &get(pod, "containers").and_then(Yaml::as_sequence).expect("containers")[0];
        let mut environment = shared.clone();
        for variable in get(container, "env").and_then(Yaml::as_sequence).expect("env") {
            let value = get(variable, "value").map_or_else(|| "192.0.2.7".to_owned(), scalar);
            let value = value.replace("$(POD_IP)", "192.0.2.7");
            environment.insert(scalar(get(variable, "name").expect("a name")), value);
        }
        assert_known(file, &environment, &known);
        let arguments = list(get(container, "args").expect("args"));
        assert_eq!(arguments[0], "serve");
        check(file, &arguments[1..], &environment);
        let security = get(pod, "securityContext").expect("a context");
        assert_eq!(get(security, "runAsNonRoot").map(scalar).as_deref(), Some("true"), "{file}");
        let security = get(container, "securityContext").expect("a context");
        assert_eq!(get(security, "readOnlyRootFilesystem").map(scalar).as_deref(), Some("true"), "{file}");
    }
}

/// Every manifest is listed, and what a manifest names by its name is there.
#[test]
fn the_manifests_name_each_other() {
    let kustomization = read("kubernetes/kustomization.yaml");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(deploy().join("kubernetes")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name == "kustomization.yaml" {
            continue;
        }
        assert!(kustomization.contains(&name), "{name} is not in kustomization.yaml");
        let text = std::fs::read_to_string(&path).expect("text");
        if name.ends_with(".yaml") {
            let documents = Yaml::load_from_str(&text).expect("YAML");
            names.extend(
                documents.iter().map(|of| scalar(get(get(of, "metadata").expect("metadata"), "name").expect("a name"))),
            );
        }
    }
    for peer in read("kubernetes/config.env")
        .split(['/', ':', ','])
        .filter(|word| word.starts_with("shipwake-") && word.ends_with("-peers"))
    {
        assert!(names.iter().any(|name| name == peer), "{peer} is no service");
    }
}

#[test]
fn the_options_in_the_script_of_the_demo_exist() {
    let script = read("demo-kafka/run.sh");
    let help = ["serve", "demo"].map(|command| {
        let help =
            Command::new(env!("CARGO_BIN_EXE_shipwake")).args([command, "--help"]).output().expect("the program runs");
        String::from_utf8(help.stdout).expect("text")
    });
    let begin = script.find("command_of()").expect("the function");
    let end = begin + script[begin..].find("\n}\n").expect("its end");
    let ours = script[begin..end].lines().filter(|line| !line.contains("gateway") && !line.contains("kafka.Kafka"));
    let options: Vec<&str> =
        ours.flat_map(|line| line.split_whitespace()).filter_map(|word| word.strip_prefix("--")).collect();
    assert!(options.contains(&"roles") && options.contains(&"send-to"), "{options:?}");
    for option in options {
        assert!(help.iter().any(|help| help.contains(&format!("--{option} "))), "there is no --{option}");
    }
}
