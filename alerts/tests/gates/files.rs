//! The files of `deploy/hooks`, read as values.

use std::path::PathBuf;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/hooks").join(name)
}

/// The text of a file.
pub fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file of JSON.
pub fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a file of YAML.
pub fn yaml(name: &str) -> Vec<Value> {
    let text = text(name);
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    documents.iter().map(value).collect()
}

/// The document with this name.
pub fn document(file: &str, kind: &str, name: &str) -> Value {
    let all = yaml(file);
    let found = all.into_iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("{file} has no {kind} {name}"))
}

fn value(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::Boolean(is)) => Value::from(*is),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(number.into_inner()),
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(map) => {
            let field =
                |(key, of): (&Yaml<'_>, &Yaml<'_>)| (key.as_str().expect("a text as key").to_owned(), value(of));
            Value::Object(map.iter().map(field).collect::<Map<_, _>>())
        }
        _ => Value::Null,
    }
}
