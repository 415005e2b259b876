//! Templates of logins: `{{internal.logins}}`, `{{email.local(external.email)}}`.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{MAX_PATTERN_BYTES, PatternError, regexp};
use crate::name::Login;
use crate::predicate::{SyntaxError, Words};

/// How deep functions may nest.
const MAX_DEPTH: usize = 8;

/// The longest value that comes out, in bytes. Longer ones are dropped: no login is that long.
const MAX_VALUE_BYTES: usize = 1024;

/// The traits that `internal.` can name: those that have a meaning here.
const INTERNAL: [&str; 3] = ["logins", "kubernetes_groups", "kubernetes_users"];

const FUNCTIONS: [&str; 2] = ["email.local", "regexp.replace"];

/// A login, or an expression that makes logins out of a user's traits, with text around it.
///
/// | written | is |
/// | --- | --- |
/// | `root` | that login |
/// | `{{internal.logins}}` | each value of the user's trait `logins` |
/// | `{{external.team}}`, `{{external["my team"]}}` | each value of a trait that the identity provider gave |
/// | `{{email.local(external.email)}}` | what stands before the `@` |
/// | `{{regexp.replace(external.x, "^ad-(.*)$", "$1")}}` | the replaced value, where the expression matches |
/// | `svc-{{external.team}}` | the same with text around |
///
/// What comes out is literal: a trait whose value is `*` or holds `{{` is a text of these characters and nothing
/// more. A trait that is missing, and a value that a function cannot read, yield nothing.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    source: String,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Literal,
    Expanded {
        prefix: String,
        expression: Expression,
        suffix: String,
    },
}

#[derive(Clone)]
enum Expression {
    Trait(String),
    EmailLocal(Box<Expression>),
    Replace {
        inner: Box<Expression>,
        regex: Regex,
        by: String,
    },
}

impl Template {
    /// Reads a template. A login without an expression must be a valid one, so that a `deny` can never name
    /// what no host has.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        if source.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong(source.len()));
        }
        let Some((prefix, rest)) = source.split_once("{{") else {
            if source.contains("}}") {
                return Err(syntax(1, "\"}}\" without \"{{\""));
            }
            around(source)?;
            Login::parse(source).map_err(|bad| PatternError::Login(bad.to_string()))?;
            return Ok(Self {
                source: source.to_owned(),
                form: Form::Literal,
            });
        };
        let start = prefix.chars().count() + 3;
        let end = close(rest).ok_or_else(|| syntax(start - 2, "\"{{\" is not closed by \"}}\""))?;
        let (inside, suffix) = (&rest[..end], &rest[end + 2..]);
        if suffix.contains("{{") || suffix.contains("}}") {
            let column = start + inside.chars().count() + 2;
            return Err(syntax(column, "a template holds one expression only"));
        }
        around(prefix)?;
        around(suffix)?;
        // The text around must be able to be part of a login.
        Login::parse(&format!("{prefix}a{suffix}")).map_err(|bad| PatternError::Login(bad.to_string()))?;
        let mut words = Words::of(inside, start).map_err(PatternError::Template)?;
        let expression = expression(&mut words, 0)?;
        words.expect_end().map_err(PatternError::Template)?;
        Ok(Self {
            source: source.to_owned(),
            form: Form::Expanded {
                prefix: prefix.to_owned(),
                expression,
                suffix: suffix.to_owned(),
            },
        })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// What it yields for a user with these traits, each value once, in the traits' order.
    ///
    /// Values may hold any characters: use [`Template::logins`] where logins are wanted.
    pub fn expand(&self, traits: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        let Form::Expanded {
            prefix,
            expression,
            suffix,
        } = &self.form
        else {
            return vec![self.source.clone()];
        };
        let mut values = Vec::new();
        for value in expression.values(traits) {
            let value = format!("{prefix}{value}{suffix}");
            if value.len() <= MAX_VALUE_BYTES && !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// What it yields, without what could not be a login.
    pub fn logins(&self, traits: &BTreeMap<String, Vec<String>>) -> Vec<Login> {
        self.expand(traits)
            .iter()
            .filter_map(|value| Login::parse(value).ok())
            .collect()
    }
}

fn syntax(column: usize, message: &str) -> PatternError {
    PatternError::Template(SyntaxError::new(column, message))
}

/// Refuses what looks like a pattern: taken literally it would match nothing, and a `deny` would deny nothing.
fn around(text: &str) -> Result<(), PatternError> {
    if text.contains('*') || text.starts_with('^') || text.contains('$') {
        return Err(PatternError::PatternHere);
    }
    Ok(())
}

/// Where `}}` closes the expression, quotes passed over.
fn close(rest: &str) -> Option<usize> {
    let mut quote = None;
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, '"' | '`') => quote = Some(c),
            (Some('"'), '\\') => {
                chars.next();
            }
            (Some(q), c) if q == c => quote = None,
            (None, '}') if rest[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

fn expression(words: &mut Words, depth: usize) -> Result<Expression, PatternError> {
    let column = words.column();
    if depth >= MAX_DEPTH {
        return Err(syntax(column, "functions nest too deep"));
    }
    let name = words
        .dotted("internal.NAME, external.NAME or a function")
        .map_err(PatternError::Template)?;
    if words.take_if("(") {
        let found = call(words, &name, column, depth)?;
        words.expect(")").map_err(PatternError::Template)?;
        return Ok(found);
    }
    let (space, key) = match name.split_once('.') {
        Some((space, key)) => (space, Some(key)),
        None => (name.as_str(), None),
    };
    if space != "internal" && space != "external" {
        return Err(PatternError::Template(SyntaxError::unknown(
            column,
            "namespace",
            space,
            &["internal", "external"],
        )));
    }
    let key = match key {
        Some(key) if key.contains('.') => {
            return Err(syntax(column, &format!("write {space}[\"{key}\"]")));
        }
        Some(key) => key.to_owned(),
        None => {
            words
                .expect("[")
                .map_err(|_| syntax(column, &format!("{space} needs a trait: {space}.NAME")))?;
            let key = words.expect_text().map_err(PatternError::Template)?;
            words.expect("]").map_err(PatternError::Template)?;
            key
        }
    };
    if space == "internal" && !INTERNAL.contains(&key.as_str()) {
        return Err(PatternError::Template(SyntaxError::unknown(
            column,
            "internal trait",
            &key,
            &INTERNAL,
        )));
    }
    Ok(Expression::Trait(key))
}

fn call(words: &mut Words, name: &str, column: usize, depth: usize) -> Result<Expression, PatternError> {
    let text = |words: &mut Words| {
        words
            .expect(",")
            .and_then(|()| words.expect_text())
            .map_err(PatternError::Template)
    };
    match name {
        "email.local" => Ok(Expression::EmailLocal(Box::new(expression(words, depth + 1)?))),
        "regexp.replace" => {
            let inner = Box::new(expression(words, depth + 1)?);
            let source = text(words)?;
            let regex = regexp::compile(&source)?;
            let by = text(words)?;
            Ok(Expression::Replace { inner, regex, by })
        }
        _ => Err(PatternError::Template(SyntaxError::unknown(
            column, "function", name, &FUNCTIONS,
        ))),
    }
}

impl Expression {
    fn values(&self, traits: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        let mut values = match self {
            Self::Trait(name) => traits.get(name).cloned().unwrap_or_default(),
            Self::EmailLocal(inner) => inner
                .values(traits)
                .iter()
                .filter_map(|address| email_local(address))
                .map(str::to_owned)
                .collect(),
            Self::Replace { inner, regex, by } => inner
                .values(traits)
                .iter()
                .filter(|value| regex.is_match(value))
                .map(|value| regex.replace_all(value, by.as_str()).into_owned())
                .collect(),
        };
        // Also between functions: a replacement may repeat what it found many times over.
        values.retain(|value| !value.is_empty() && value.len() <= MAX_VALUE_BYTES);
        values
    }
}

/// The local part of `a@b` or `Name <a@b>`. Quoted local parts are not understood, on purpose: they may hold
/// anything.
fn email_local(address: &str) -> Option<&str> {
    let address = address.trim();
    let address = match address.strip_suffix('>') {
        Some(named) => named.rsplit_once('<')?.1,
        None => address,
    };
    let (local, domain) = address.split_once('@')?;
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_alphanumeric() || "!#%&'+-/=?_{|}~.".contains(c))
    };
    (plain(local) && plain(domain)).then_some(local)
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Template {}

impl std::str::FromStr for Template {
    type Err = PatternError;

    fn from_str(source: &str) -> Result<Self, PatternError> {
        Self::parse(source)
    }
}

impl TryFrom<String> for Template {
    type Error = PatternError;

    fn try_from(source: String) -> Result<Self, PatternError> {
        Self::parse(&source)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn traits() -> BTreeMap<String, Vec<String>> {
        let list = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
        BTreeMap::from([
            (
                "logins".to_owned(),
                list(&[
                    "root",
                    "ubuntu",
                    "root",
                    "",
                    "*",
                    "^.*$",
                    "a b",
                    "-oX",
                    "{{internal.logins}}",
                ]),
            ),
            (
                "email".to_owned(),
                list(&[
                    "alice@example.com",
                    "Bob B <bob.b@example.com>",
                    "no-at",
                    "@x",
                    "a@b@c",
                    "\"x y\"@z",
                ]),
            ),
            ("a b".to_owned(), list(&["one"])),
            ("x".to_owned(), list(&["ad-one", "ad-two", "other"])),
        ])
    }

    fn expand(source: &str) -> Vec<String> {
        Template::parse(source).expect(source).expand(&traits())
    }

    #[test]
    fn templates_yield_literals() {
        let table: &[(&str, &[&str])] = &[
            ("root", &["root"]),
            (
                "{{internal.logins}}",
                &["root", "ubuntu", "*", "^.*$", "a b", "-oX", "{{internal.logins}}"],
            ),
            (
                "{{ external.email }}",
                &[
                    "alice@example.com",
                    "Bob B <bob.b@example.com>",
                    "no-at",
                    "@x",
                    "a@b@c",
                    "\"x y\"@z",
                ],
            ),
            ("{{external[\"a b\"]}}", &["one"]),
            ("{{external[`a b`]}}", &["one"]),
            ("{{email.local(external.email)}}", &["alice", "bob.b"]),
            (
                "{{regexp.replace(external.x,\"^ad-(.*)$\",\"$1\")}}",
                &["one", "two"],
            ),
            (
                "{{regexp.replace(external.x, `^ad-(?<n>.*)$`, \"${n}}}\")}}",
                &["one}}", "two}}"],
            ),
            (
                "{{email.local(regexp.replace(external.email, \"alice\", \"eve\"))}}",
                &["eve"],
            ),
            ("svc-{{external[\"a b\"]}}.x", &["svc-one.x"]),
            ("{{external[\"a b\"]}}-x", &["one-x"]),
            ("{{external.missing}}", &[]),
            ("svc-{{external.missing}}", &[]),
            ("{{internal.kubernetes_groups}}", &[]),
        ];
        for (source, wanted) in table {
            assert_eq!(expand(source), *wanted, "{source}");
        }
    }

    #[test]
    fn what_could_not_be_a_login_is_dropped() {
        let logins = Template::parse("{{internal.logins}}")
            .expect("good")
            .logins(&traits());
        assert_eq!(
            logins.iter().map(Login::as_str).collect::<Vec<_>>(),
            ["root", "ubuntu"]
        );
    }

    #[test]
    fn a_replacement_cannot_grow_without_bound() {
        let mut source = "external.x".to_owned();
        for _ in 0..7 {
            source = format!("regexp.replace({source}, \".\", \"$0$0$0$0$0$0$0$0$0$0\")");
        }
        assert!(expand(&format!("{{{{{source}}}}}")).is_empty());
    }

    #[test]
    fn bad_templates_are_refused() {
        let deep = format!("{{{{{}external.x{}}}}}", "email.local(".repeat(9), ")".repeat(9));
        let table = [
            (
                "{{internal.login}}",
                "at character 3: unknown internal trait \"login\": did you mean \"logins\"?",
            ),
            (
                "{{interal.logins}}",
                "at character 3: unknown namespace \"interal\": did you mean \"internal\"?",
            ),
            (
                "{{foo.bar}}",
                "at character 3: unknown namespace \"foo\", there are internal, external",
            ),
            (
                "x-{{email.locl(external.a)}}",
                "at character 5: unknown function \"email.locl\": did you mean \"email.local\"?",
            ),
            (
                "{{regex.replace(external.a, \"\", \"\")}}",
                "at character 3: unknown function \"regex.replace\": did you mean \"regexp.replace\"?",
            ),
            (
                "{{regexp.replace(external.a, \"(\", \"\")}}",
                "bad regular expression: unclosed group",
            ),
            (
                "{{regexp.replace(external.a, \"a\")}}",
                "at character 33: expected \",\", found \")\"",
            ),
            (
                "{{external}}",
                "at character 3: external needs a trait: external.NAME",
            ),
            ("{{external.a.b}}", "at character 3: write external[\"a.b\"]"),
            (
                "{{}}",
                "at character 3: expected internal.NAME, external.NAME or a function, found the end",
            ),
            (
                "{{internal.logins",
                "at character 1: \"{{\" is not closed by \"}}\"",
            ),
            ("internal.logins}}", "at character 1: \"}}\" without \"{{\""),
            (
                "{{internal.logins}}{{external.a}}",
                "at character 20: a template holds one expression only",
            ),
            (
                "{{internal.logins}} x",
                "\"a x\" is not a valid login: only ASCII letters, digits and . _ @ - are allowed",
            ),
            (
                "a b{{internal.logins}}",
                "\"a ba\" is not a valid login: only ASCII letters, digits and . _ @ - are allowed",
            ),
            (
                "*",
                "patterns are not accepted here: name each login, or use a template such as {{internal.logins}}",
            ),
            (
                "^adm.*$",
                "patterns are not accepted here: name each login, or use a template such as {{internal.logins}}",
            ),
            (
                "ro ot",
                "\"ro ot\" is not a valid login: only ASCII letters, digits and . _ @ - are allowed",
            ),
            ("", "\"\" is not a valid login: it is empty"),
            (deep.as_str(), "at character 99: functions nest too deep"),
        ];
        let mut wrong = String::new();
        for (source, wanted) in table {
            let got = Template::parse(source).map_or_else(|e| e.to_string(), |_| "accepted".to_owned());
            if got != wanted {
                wrong.push_str(&format!("{source}\n    got {got}\n wanted {wanted}\n"));
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    }

    proptest! {
        #[test]
        fn parsing_and_expanding_never_panic(
            s in any::<String>(), t in r#"[a-]{0,2}\{\{(internal|external|email\.local|regexp\.replace|\.|\[|\]|"x"|,|\(|\)| |logins|x){0,12}\}\}[a-]{0,2}"#,
            v in any::<String>(),
        ) {
            let traits = BTreeMap::from([("x".to_owned(), vec![v.clone()]), ("logins".to_owned(), vec![v])]);
            for source in [s, t] {
                if let Ok(template) = Template::parse(&source) {
                    template.expand(&traits);
                    template.logins(&traits);
                }
            }
        }
    }
}
