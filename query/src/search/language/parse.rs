//! Reads a search. Recursive descent; whatever it cannot read is an error with its place and a hint.
//!
//! ```text
//! any     = all { "OR" all }
//! all     = one { [ "AND" ] one }
//! one     = ( "NOT" | "-" | "!" ) one | "(" any ")" | "*" | field | text
//! text    = quoted | bare [ "*" ]
//! field   = name ":" test            name begins with a letter, `_` or `@`, or is quoted
//! test    = "(" tests ")" | "*" | ( ">" | ">=" | "<" | "<=" | "=" ) value | ( "[" | "{" ) value "TO" value ( "]" | "}" ) | value [ "*" ]
//! ```

use super::{
    BYTES_MAX, Bound, Bounds, DEPTH_MAX, Field, Search, SearchError, TERMS_MAX, Test, Text, is_body, level_of,
};

/// Words that mean something between terms.
pub(super) const OPERATORS: [&str; 4] = ["AND", "OR", "NOT", "TO"];

/// Reads a search; nothing at all finds every line.
pub(crate) fn parse(text: &str) -> Result<Search, SearchError> {
    if text.len() > BYTES_MAX {
        let message = format!("a search has at most {BYTES_MAX} bytes, this one {}", text.len());
        return Err(SearchError { message, at: 0 });
    }
    let mut parser = Parser { text: text.chars().collect(), at: 0, depth: 0, terms: 0 };
    parser.skip_space();
    if parser.is_at_end() {
        return Ok(Search::All);
    }
    let search = parser.any(None)?;
    match parser.peek() {
        None => Ok(search),
        Some(')') => {
            Err(parser.error("this `)` closes nothing; put it between quotes if it is part of what you look for"))
        }
        Some(_) => Err(parser.error("this is not understood here")),
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
    terms: usize,
}

/// Whether a name is one that Shipwake gives, or is made as attributes are named.
fn looks_like_field(name: &str) -> bool {
    !matches!(Field::named(name), Field::Attribute(_)) || is_body(name) || name.contains(['.', '_'])
}

/// A value as it was written.
struct Value {
    text: String,
    /// A star came behind it.
    is_prefix: bool,
    at: usize,
}

impl Parser {
    /// Parts with OR between them; inside `field:( … )` they are values of the field.
    fn any(&mut self, field: Option<&Field>) -> Result<Search, SearchError> {
        self.deeper()?;
        let mut parts = vec![self.all(field)?];
        while self.operator("OR") {
            parts.push(self.all(field)?);
        }
        self.depth -= 1;
        Ok(one_or(parts, Search::Or))
    }

    fn all(&mut self, field: Option<&Field>) -> Result<Search, SearchError> {
        let mut parts = vec![self.one(field)?];
        loop {
            self.skip_space();
            let has_and = self.operator("AND");
            let ends = self.is_at_end() || self.peek() == Some(')') || self.is_operator("OR");
            if ends && !has_and {
                return Ok(one_or(parts, Search::And));
            }
            parts.push(self.one(field)?);
        }
    }

    fn one(&mut self, field: Option<&Field>) -> Result<Search, SearchError> {
        self.skip_space();
        for word in ["AND", "OR"] {
            if self.is_operator(word) {
                return Err(self.error(&format!(
                    "{word} stands between two terms; put it between quotes if you look for the word"
                )));
            }
        }
        if self.operator("NOT") || self.takes_sign() {
            self.deeper()?;
            let part = self.one(field)?;
            self.depth -= 1;
            return Ok(Search::Not(Box::new(part)));
        }
        match self.peek() {
            None => Err(self.error("something to look for is missing here")),
            Some('(') => self.parentheses(field),
            Some(')') => Err(self.error("something to look for is missing before this `)`")),
            Some('*') if self.ends_at(self.at + 1) && field.is_none() => {
                self.at += 1;
                Ok(Search::All)
            }
            Some(_) => match field {
                Some(field) => Ok(Search::Field(field.clone(), self.test(field)?)),
                None => self.term(),
            },
        }
    }

    fn parentheses(&mut self, field: Option<&Field>) -> Result<Search, SearchError> {
        let opened = self.at;
        self.at += 1;
        let inside = self.any(field)?;
        self.skip_space();
        if self.peek() != Some(')') {
            return Err(SearchError { message: "this `(` is not closed: a `)` is missing".to_owned(), at: opened });
        }
        self.at += 1;
        Ok(inside)
    }

    /// A field with its test, or text.
    fn term(&mut self) -> Result<Search, SearchError> {
        let start = self.at;
        if let Some(name) = self.field_name()? {
            let field = Field::named(&name);
            if is_body(&name) {
                return self.body();
            }
            self.skip_space();
            if self.peek() == Some('(') {
                return self.parentheses(Some(&field));
            }
            return Ok(Search::Field(field.clone(), self.test(&field)?));
        }
        self.at = start;
        self.text()
    }

    /// `body:` in front of text is the text alone.
    fn body(&mut self) -> Result<Search, SearchError> {
        self.skip_space();
        match self.peek() {
            Some('(') => self.parentheses(None),
            None | Some(')') => Err(self.error("text is missing after `body:`")),
            Some(_) => self.text(),
        }
    }

    fn text(&mut self) -> Result<Search, SearchError> {
        self.counted()?;
        let value = self.value(false)?;
        let none = if value.is_prefix {
            format!("`{}*` has no letters or digits to begin with; a `*` only stands at the end of a word", value.text)
        } else {
            format!("`{}` has no letters or digits to look for, or more than 64 words", value.text)
        };
        let text = Text::new(value.text, value.is_prefix);
        text.map(Search::Text).ok_or(SearchError { message: none, at: value.at })
    }

    /// `name:`, when that is what comes next.
    fn field_name(&mut self) -> Result<Option<String>, SearchError> {
        let start = self.at;
        let name = match self.peek() {
            Some('"') => self.quoted()?,
            Some(first) if first.is_alphabetic() || matches!(first, '_' | '@') => {
                let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '@' | '.' | '-' | '/');
                let end = (self.at..self.text.len()).find(|at| !is_name(self.text[*at])).unwrap_or(self.text.len());
                let name = self.text[self.at..end].iter().collect();
                self.at = end;
                name
            }
            _ => return Ok(None),
        };
        if self.peek() != Some(':') || name.is_empty() {
            return Ok(None);
        }
        self.at += 1;
        // `ERROR: connection refused`, as a log line has it, is text; `service: checkout` is meant as a field.
        let is_spaced = self.peek().is_some_and(char::is_whitespace);
        // So are `https://shop/pay` and `C:\temp`.
        let next = (self.peek(), self.text.get(self.at + 1).copied());
        let is_address = next == (Some('/'), Some('/')) || name.len() == 1 && next.0 == Some('\\');
        let is_prose = self.text[start] != '"' && (is_address || is_spaced && !looks_like_field(&name));
        Ok(Some(name).filter(|_| !is_prose))
    }

    fn test(&mut self, field: &Field) -> Result<Test, SearchError> {
        self.counted()?;
        self.skip_space();
        let at = self.at;
        let bounds = match self.peek() {
            Some('*') if self.ends_at(self.at + 1) => {
                self.at += 1;
                return Ok(Test::Exists);
            }
            Some('[' | '{') => Some(self.range()?),
            Some('<' | '>') => Some(self.comparison()?),
            _ => None,
        };
        if let Some(bounds) = bounds {
            for bound in [&bounds.low, &bounds.high].into_iter().flatten() {
                check_value(field, &bound.value, at)?;
            }
            return Ok(Test::Within(bounds));
        }
        if self.peek() == Some('=') {
            self.at += 1;
        }
        if self.ends_at(self.at) {
            return Err(self.error(&format!(
                "a value is missing after `{}:`; `{0}:*` finds every line that has it",
                field.name()
            )));
        }
        let value = self.value(false)?;
        if value.is_prefix {
            if matches!(field, Field::Level | Field::SeverityNumber) {
                return Err(SearchError { message: format!("{} has no beginnings: write it out", field.name()), at });
            }
            return Ok(Test::Begins(value.text));
        }
        check_value(field, &value.text, at)?;
        Ok(Test::Is(value.text))
    }

    fn comparison(&mut self) -> Result<Bounds, SearchError> {
        let sign = self.text[self.at];
        self.at += 1;
        let included = self.peek() == Some('=');
        self.at += usize::from(included);
        self.skip_space();
        let missing = format!("a number or a text is missing after `{sign}`");
        let value = self.bound_value(&missing)?.ok_or_else(|| self.error(&missing))?;
        let bound = Some(Bound { value, included });
        Ok(if sign == '>' { Bounds { low: bound, high: None } } else { Bounds { low: None, high: bound } })
    }

    /// `[a TO b]`, with curly brackets where a bound is left out of it.
    fn range(&mut self) -> Result<Bounds, SearchError> {
        let opened = self.at;
        let unfinished = || SearchError { message: "a range is written [500 TO 599]".to_owned(), at: opened };
        let low_included = self.text[self.at] == '[';
        self.at += 1;
        self.skip_space();
        let low = self.bound_value("the lower bound is missing: a range is written [500 TO 599]")?;
        self.skip_space();
        if !self.operator("TO") {
            return Err(unfinished());
        }
        self.skip_space();
        let high = self.bound_value("the upper bound is missing: a range is written [500 TO 599]")?;
        self.skip_space();
        let high_included = match self.peek() {
            Some(']') => true,
            Some('}') => false,
            _ => return Err(unfinished()),
        };
        self.at += 1;
        let bound = |value: Option<String>, included: bool| value.map(|value| Bound { value, included });
        let bounds = Bounds { low: bound(low, low_included), high: bound(high, high_included) };
        if bounds.low.is_none() && bounds.high.is_none() {
            return Err(SearchError { message: "a range has at least one bound".to_owned(), at: opened });
        }
        Ok(bounds)
    }

    /// `None` for a star: no bound.
    fn bound_value(&mut self, missing: &str) -> Result<Option<String>, SearchError> {
        if self.ends_at(self.at) || matches!(self.peek(), Some(']' | '}')) {
            return Err(self.error(missing));
        }
        if self.peek() == Some('*') {
            self.at += 1;
            return Ok(None);
        }
        Ok(Some(self.value(true)?.text))
    }

    /// A value: quoted, or up to what ends a word. Inside a range also a bracket ends it, and a star means nothing.
    fn value(&mut self, in_range: bool) -> Result<Value, SearchError> {
        let at = self.at;
        if self.peek() == Some('"') {
            return Ok(Value { text: self.quoted()?, is_prefix: false, at });
        }
        let mut value = Value { text: String::new(), is_prefix: false, at };
        // Parentheses of the word itself: `main(args)` is one word.
        let mut open = 0;
        while let Some(character) = self.peek() {
            match character {
                '\\' => value.text.push(self.escaped()?),
                '(' => {
                    open += 1;
                    value.text.push(self.take());
                }
                ')' if open > 0 => {
                    open -= 1;
                    value.text.push(self.take());
                }
                ']' | '}' if in_range => break,
                '*' if !in_range && self.ends_at(self.at + 1) && !value.text.is_empty() => {
                    self.at += 1;
                    value.is_prefix = true;
                    break;
                }
                '*' if !in_range => {
                    return Err(
                        self.error("a `*` only stands at the end of a word; write \\* for the character itself")
                    );
                }
                _ if self.ends_at(self.at) => break,
                _ => value.text.push(self.take()),
            }
        }
        Ok(value)
    }

    fn quoted(&mut self) -> Result<String, SearchError> {
        let opened = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(SearchError { message: "this quote is not closed".to_owned(), at: opened }),
                Some('"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => text.push(self.escaped()?),
                Some(_) => text.push(self.take()),
            }
        }
    }

    /// What a backslash stands for: the sign behind it; or before a letter or digit, which need none, itself, unless they are a word
    /// that would be an operator.
    fn escaped(&mut self) -> Result<char, SearchError> {
        self.at += 1;
        let behind = &self.text[self.at..];
        let word = &behind[..behind.iter().take_while(|sign| sign.is_alphanumeric()).count()];
        let is_operator = OPERATORS.iter().any(|operator| operator.chars().eq(word.iter().copied()));
        if !word.is_empty() && !is_operator {
            return Ok('\\');
        }
        if self.is_at_end() {
            return Err(SearchError {
                message: "a `\\` makes the next character mean itself; write \\\\ for one".to_owned(),
                at: self.at - 1,
            });
        }
        Ok(self.take())
    }

    /// A `-` or `!` directly in front of a term.
    fn takes_sign(&mut self) -> bool {
        let is_sign = matches!(self.peek(), Some('-' | '!'))
            && self.text.get(self.at + 1).is_some_and(|c| !c.is_whitespace() && *c != ')');
        self.at += usize::from(is_sign);
        is_sign
    }

    fn operator(&mut self, word: &str) -> bool {
        self.skip_space();
        let is_it = self.is_operator(word);
        if is_it {
            self.at += word.len();
            self.skip_space();
        }
        is_it
    }

    /// Whether the word is here, in capitals and whole.
    fn is_operator(&self, word: &str) -> bool {
        let end = self.at + word.len();
        let here = self.text.get(self.at..end).is_some_and(|here| here.iter().copied().eq(word.chars()));
        here && (self.ends_at(end) || self.text[end] == '(')
    }

    /// Whether a word ends before this place.
    fn ends_at(&self, at: usize) -> bool {
        self.text.get(at).is_none_or(|c| c.is_whitespace() || *c == ')')
    }

    fn counted(&mut self) -> Result<(), SearchError> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            Err(self.error(&format!("a search has at most {TERMS_MAX} terms")))
        } else {
            Ok(())
        }
    }

    fn deeper(&mut self) -> Result<(), SearchError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(&format!("parentheses and negations are at most {DEPTH_MAX} deep")));
        }
        Ok(())
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self) -> char {
        self.at += 1;
        self.text[self.at - 1]
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    fn error(&self, message: &str) -> SearchError {
        SearchError { message: message.to_owned(), at: self.at }
    }
}

fn one_or(mut parts: Vec<Search>, several: impl FnOnce(Vec<Search>) -> Search) -> Search {
    if parts.len() == 1 { parts.remove(0) } else { several(parts) }
}

/// Values that the field can never have are a mistake, not a search without results.
fn check_value(field: &Field, value: &str, at: usize) -> Result<(), SearchError> {
    let problem = match field {
        Field::Level if level_of(value).is_none() => {
            format!("{value:?} is no level; there are trace, debug, info, warn, error, fatal and unknown")
        }
        Field::SeverityNumber if value.parse::<i64>().is_err() => {
            format!("{value:?} is no number; severities are 0 to 24")
        }
        _ => return Ok(()),
    };
    Err(SearchError { message: problem, at })
}
