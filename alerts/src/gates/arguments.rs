//! Arguments of an address or of a form: names and values, checked against the names that are known. An argument without a value
//! counts as not given, so that a template may leave one empty.

use std::collections::BTreeMap;
use std::time::Duration;

use url::form_urlencoded;

use super::problem::Problem;
use crate::time::parse_span;

/// Arguments of one request.
const ARGUMENTS_MAX: usize = 64;
/// Bytes of one value that identifies something.
const VALUE_BYTES_MAX: usize = 1_024;
/// The longest wait for a change; longer ones are cut, so that proxies in between do not end them.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

/// Names and values that somebody gave.
pub(crate) type Arguments = BTreeMap<String, String>;

/// Reads the arguments of an address; a name that is not `known` is an error, as it would change nothing and be thought to, and so is one
/// that is given twice: an answer about one of two would be taken for the other's.
pub(crate) fn read(query: Option<&str>, known: &[&str]) -> Result<Arguments, Problem> {
    let mut found = Arguments::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()).take(ARGUMENTS_MAX) {
        if !known.contains(&&*name) {
            let name: String = name.chars().take(40).collect();
            return Err(Problem::argument(&name, format!("unknown argument `{name}`; {}", instead(&name, known))));
        }
        checked(&name, &value)?;
        if !value.is_empty()
            && let Some(other) = found.insert(name.to_string(), value.to_string())
            && other != value
        {
            return Err(Problem::argument(&name, format!("`{name}` is there twice, first with `{other}`: which one?")));
        }
    }
    Ok(found)
}

/// Checks a value that names something.
pub(crate) fn checked(name: &str, value: &str) -> Result<(), Problem> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Problem::argument(name, format!("`{name}` has more than {VALUE_BYTES_MAX} bytes")));
    }
    if value.contains(char::is_control) {
        return Err(Problem::argument(name, format!("`{name}` has a control character in it")));
    }
    Ok(())
}

/// How long to wait for a change: `30s`, or a number of seconds; at most [`WAIT_MAX`].
pub(crate) fn wait(arguments: &Arguments) -> Result<Duration, Problem> {
    let Some(text) = arguments.get("wait") else { return Ok(Duration::ZERO) };
    let wrong = || Problem::argument("wait", format!("wait={text}: a span like 9s, or a number of seconds"));
    let ms = match text.parse::<u32>() {
        Ok(seconds) => u64::from(seconds) * 1_000,
        Err(_) => parse_span(text).and_then(|ms| u64::try_from(ms).ok()).ok_or_else(wrong)?,
    };
    Ok(Duration::from_millis(ms).min(WAIT_MAX))
}

/// The number that a caller has seen already.
pub(crate) fn after(arguments: &Arguments) -> Result<Option<u64>, Problem> {
    let Some(text) = arguments.get("after") else { return Ok(None) };
    let wrong = |_| Problem::argument("after", format!("after={text}: a number that an earlier answer had"));
    text.parse().map(Some).map_err(wrong)
}

/// What might have been meant.
pub(crate) fn instead(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => {
            let more = known.len().saturating_sub(KNOWN_MAX);
            let known = known.iter().take(KNOWN_MAX).map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
            if more > 0 { format!("known: {known} and {more} more") } else { format!("known: {known}") }
        }
    }
}

/// Names that a message lists.
const KNOWN_MAX: usize = 8;

/// The known name that a mistyped one is near to.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let distance = |known: &&&str| strsim::levenshtein(&lower, &known.to_lowercase());
    let near = known.iter().min_by_key(distance)?;
    (distance(&near) <= near.chars().count().max(3) / 3).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_said_and_an_empty_value_is_none() {
        let known = ["service", "env", "candidate"];
        let read = |query| read(Some(query), &known);
        let found = read("service=a%20b&env=&candidate=1.4%2B2").expect("known");
        assert_eq!(found.get("service").map(String::as_str), Some("a b"));
        assert_eq!((found.get("env"), found.get("candidate").map(String::as_str)), (None, Some("1.4+2")));
        let twice = read("service=a&env=&env=b&service=c").expect_err("which one?");
        assert!(format!("{twice:?}").contains("`service` is there twice, first with `a`"), "{twice:?}");
        let wrong = read("canditate=1").expect_err("unknown");
        assert!(wrong.to_string().contains("did you mean `candidate`?"), "{wrong}");
        assert!(read("x=1").expect_err("unknown").to_string().contains("`service`, `env`, `candidate`"));
        assert!(read("service=a%00b").is_err() && read(&format!("service={}", "x".repeat(2_000))).is_err());
    }

    #[test]
    fn waits_are_spans_or_seconds_and_bounded() {
        let of = |text: &str| wait(&Arguments::from([("wait".to_owned(), text.to_owned())]));
        assert_eq!(of("9s"), Ok(Duration::from_secs(9)));
        assert_eq!(of("25"), Ok(Duration::from_secs(25)));
        assert_eq!(of("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(of("1h"), Ok(WAIT_MAX));
        assert!(of("soon").is_err() && of("-1s").is_err() && of("1e3").is_err());
        assert_eq!(wait(&Arguments::new()), Ok(Duration::ZERO));
    }
}
