//! The part of PromQL that is understood: `vector(1)`, and a selector with its matchers. Pure; whatever comes in, it ends.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

/// Bytes of a query.
const QUERY_BYTES_MAX: usize = 8 << 10;
/// What a compiled expression may take.
const REGEX_BYTES_MAX: usize = 256 << 10;
/// Conditions of one selector.
const MATCHERS_MAX: usize = 32;

/// What can be asked.
#[derive(Debug)]
pub(super) enum Expression {
    /// `vector(1)`: what Flagger asks to see whether anybody is there.
    Vector(f64),
    /// Values of metrics.
    Select(Selector),
}

/// A selector: every matcher has to fit. A label that is not there counts as empty.
#[derive(Debug)]
pub(super) struct Selector(Vec<Matcher>);

#[derive(Debug)]
struct Matcher {
    label: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Is(String),
    IsNot(String),
    Fits(Regex),
    FitsNot(Regex),
}

impl Selector {
    pub fn selects(&self, labels: &BTreeMap<&'static str, String>) -> bool {
        self.0.iter().all(|matcher| {
            let value = labels.get(matcher.label.as_str()).map_or("", String::as_str);
            match &matcher.test {
                Test::Is(text) => value == text,
                Test::IsNot(text) => value != text,
                Test::Fits(regex) => regex.is_match(value),
                Test::FitsNot(regex) => !regex.is_match(value),
            }
        })
    }
}

/// Reads a query.
///
/// # Errors
/// What is not understood, and what would be.
pub(super) fn parse(text: &str) -> Result<Expression, String> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(format!("longer than {QUERY_BYTES_MAX} bytes"));
    }
    let mut text = text.trim();
    // Templates put an expression in brackets before they compare it.
    while let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        text = inner.trim();
    }
    let mut scanner = Scanner { rest: text };
    let name = scanner.word();
    scanner.space();
    if name == "vector" && scanner.take('(') {
        scanner.space();
        let number = scanner.rest.split(')').next().unwrap_or_default();
        scanner.rest = &scanner.rest[number.len()..];
        let value: f64 = number.trim().parse().map_err(|_| format!("vector({number}): a number is expected"))?;
        return if scanner.take(')') && scanner.is_at_end() { Ok(Expression::Vector(value)) } else { Err(unknown()) };
    }
    let mut matchers = Vec::new();
    if !name.is_empty() {
        matchers.push(Matcher { label: "__name__".to_owned(), test: Test::Is(name.to_owned()) });
    }
    if scanner.take('{') {
        scanner.matchers(&mut matchers)?;
    }
    if matchers.is_empty() || !scanner.is_at_end() {
        return Err(unknown());
    }
    Ok(Expression::Select(Selector(matchers)))
}

fn unknown() -> String {
    "only vector(1) and selectors like shipwake_verdict{service=\"checkout\",env=\"production\"} are answered here"
        .to_owned()
}

/// What is left of a query.
struct Scanner<'t> {
    rest: &'t str,
}

impl<'t> Scanner<'t> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn is_at_end(&mut self) -> bool {
        self.space();
        self.rest.is_empty()
    }

    fn take(&mut self, expected: char) -> bool {
        self.space();
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A name of a metric or label; empty when there is none.
    fn word(&mut self) -> &'t str {
        self.space();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Matchers up to the closing bracket; a comma behind the last one is usual.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), String> {
        loop {
            if self.take('}') {
                return Ok(());
            }
            if matchers.len() >= MATCHERS_MAX {
                return Err(format!("more than {MATCHERS_MAX} matchers"));
            }
            let label = self.word().to_owned();
            if label.is_empty() {
                return Err("a label's name is expected between `{` and `}`".to_owned());
            }
            let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| {
                self.space();
                self.rest.starts_with(operator)
            });
            let operator = operator.ok_or_else(|| format!("one of = != =~ !~ is expected behind `{label}`"))?;
            self.rest = &self.rest[operator.len()..];
            let value = self.quoted(&label)?;
            let test = match operator {
                "=" => Test::Is(value),
                "!=" => Test::IsNot(value),
                "=~" => Test::Fits(anchored(&value)?),
                _ => Test::FitsNot(anchored(&value)?),
            };
            matchers.push(Matcher { label, test });
            if !self.take(',') && !self.rest.starts_with('}') {
                return Err("a comma or `}` is expected behind a matcher".to_owned());
            }
        }
    }

    fn quoted(&mut self, label: &str) -> Result<String, String> {
        self.space();
        let wrong = || format!("a text in quotes is expected for `{label}`");
        let quote = self.rest.chars().next().filter(|c| "\"'`".contains(*c)).ok_or_else(wrong)?;
        let mut value = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.rest = &self.rest[1 + at + c.len_utf8()..];
                    return Ok(value);
                }
                '\\' if quote != '`' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, escaped @ ('\\' | '"' | '\''))) => value.push(escaped),
                    _ => return Err(format!("the value of `{label}` has a backslash with nothing known behind it")),
                },
                _ => value.push(c),
            }
        }
        Err(format!("the value of `{label}` does not end"))
    }
}

/// An expression that has to fit the whole value.
fn anchored(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(&format!("^(?s:{text})$")).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels() -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("__name__", "shipwake_verdict".to_owned()),
            ("service", "checkout".to_owned()),
            ("env", "production".to_owned()),
            ("candidate", "2.14.0".to_owned()),
        ])
    }

    #[test]
    fn selectors_select_as_prometheus_does() {
        let check = |text: &str, expected: bool| match parse(text) {
            Ok(Expression::Select(selector)) => assert_eq!(selector.selects(&labels()), expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        };
        check("shipwake_verdict", true);
        check("shipwake_score", false);
        check(r#"shipwake_verdict{service="checkout",env="production"}"#, true);
        check(r#" ( shipwake_verdict { service = "checkout" , } ) "#, true);
        check(r#"shipwake_verdict{service!="checkout"}"#, false);
        check(r#"shipwake_verdict{env=~"prod.*|staging"}"#, true);
        check(r#"shipwake_verdict{env=~"prod"}"#, false);
        check(r#"shipwake_verdict{env!~"prod.*"}"#, false);
        check(r#"{__name__="shipwake_verdict",candidate='2.14.0'}"#, true);
        check(r#"shipwake_verdict{candidate=~"2\\.14\\..*"}"#, true);
        check(r#"shipwake_verdict{candidate=~`2\.14\..*`}"#, true);
        check(r#"shipwake_verdict{baseline=""}"#, true);
        check(r#"shipwake_verdict{env=~"x|"}"#, false);
        check("shipwake_verdict{}", true);
    }

    #[test]
    fn what_flagger_asks_first_is_a_number() {
        assert!(matches!(parse("vector(1)"), Ok(Expression::Vector(1.0))));
        assert!(matches!(parse(" vector( 2.5 ) "), Ok(Expression::Vector(2.5))));
        assert!(parse("vector(x)").is_err() && parse("vector(1").is_err() && parse("vector(1)+1").is_err());
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let check = |text: &str, expected: &str| {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains(expected), "{text}: {problem}");
        };
        check("", "only vector(1) and selectors");
        check("rate(shipwake_verdict[5m])", "only vector(1)");
        check("shipwake_verdict == 1", "only vector(1)");
        check("shipwake_verdict{service}", "one of = != =~ !~");
        check("shipwake_verdict{service=checkout}", "in quotes");
        check(r#"shipwake_verdict{service="a" env="b"}"#, "a comma");
        check(r#"shipwake_verdict{service="a"#, "does not end");
        check(r#"shipwake_verdict{service=~"("}"#, "unclosed group");
        check(r#"shipwake_verdict{service=~"(a{1000}){1000}"}"#, "size limit");
        check(&"x".repeat(10_000), "longer than");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z_{}=~!\"'`(),\\\\ 1.é]{0,60}") {
            let _ = parse(&text);
        }
    }
}
