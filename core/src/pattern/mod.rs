//! Matchers of label values, templates of logins, and masks of what leaves the cluster.
//!
//! A [`Pattern`] is a text, a glob or a regular expression that an operator wrote; a [`Template`] makes texts out
//! of a user's traits. The two never meet: what comes out of a template is a literal, whatever it looks like.

mod mask;
mod regexp;
mod template;

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::predicate::SyntaxError;
use crate::record::Labels;

pub use mask::{Finder, Mask};
pub use template::Template;

/// The longest pattern or template, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// Why a pattern or template is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is too long.
    #[error("it is {0} bytes long, at most {MAX_PATTERN_BYTES} are read")]
    TooLong(usize),
    /// `^` without `$`.
    #[error("a regular expression that begins with ^ must end with $")]
    HalfAnchored,
    /// `^a|b$`, which people read as `^(a|b)$` and engines as `(^a)|(b$)`.
    #[error("| reaches over ^ and $: write ^(a|b)$")]
    Alternation,
    /// The regular expression does not compile.
    #[error("bad regular expression: {0}")]
    Regex(String),
    /// An expression without anything in it.
    #[error("an empty expression matches nothing that could be masked")]
    Nothing,
    /// A template where it would be taken literally.
    #[error("a template is not accepted here")]
    TemplateHere,
    /// A pattern where only names and templates are accepted.
    #[error(
        "patterns are not accepted here: name each login, or use a template such as {{{{internal.logins}}}}"
    )]
    PatternHere,
    /// A literal login that no host could have.
    #[error("{0}")]
    Login(String),
    /// The expression of a template is wrong.
    #[error("{0}")]
    Template(SyntaxError),
}

/// How a value is matched: exactly, by `*` for any characters, or by `^a regular expression$`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    source: String,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    /// Between the parts, any characters. One part: exactly that.
    Parts(Vec<String>),
    Regex(Regex),
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        if source.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong(source.len()));
        }
        if source.contains("{{") {
            return Err(PatternError::TemplateHere);
        }
        let matcher = match (source.starts_with('^'), source.ends_with('$')) {
            (true, true) => Matcher::Regex(regexp::whole(source)?),
            (true, false) => return Err(PatternError::HalfAnchored),
            (false, _) => Matcher::Parts(source.split('*').map(str::to_owned).collect()),
        };
        Ok(Self {
            source: source.to_owned(),
            matcher,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the whole value matches.
    pub fn matches(&self, value: &str) -> bool {
        match &self.matcher {
            Matcher::Parts(parts) => parts_match(parts, value),
            Matcher::Regex(regex) => regex.is_match(value),
        }
    }

    /// Whether it is `*`.
    pub fn is_any(&self) -> bool {
        self.source == "*"
    }
}

fn parts_match(parts: &[String], value: &str) -> bool {
    let (first, rest) = match parts {
        [] => return value.is_empty(),
        [only] => return only == value,
        [first, rest @ ..] => (first, rest),
    };
    let Some((last, between)) = rest.split_last() else {
        return false;
    };
    let Some(mut left) = value.strip_prefix(first.as_str()) else {
        return false;
    };
    // The leftmost place of each part in turn is as good as any other.
    for part in between {
        match left.find(part.as_str()) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last.as_str())
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl std::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(source: &str) -> Result<Self, PatternError> {
        Self::parse(source)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(source: String) -> Result<Self, PatternError> {
        Self::parse(&source)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.source
    }
}

/// Which hosts, by their labels: every key must be a label of the host and one of its patterns match the value.
///
/// `'*': '*'` matches every host, an empty selector none. Written as one pattern or a list of them for each key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LabelSelector(BTreeMap<String, Vec<Pattern>>);

impl LabelSelector {
    /// The selector that matches every host.
    pub fn any() -> Self {
        let all = Pattern {
            source: "*".to_owned(),
            matcher: Matcher::Parts(vec![String::new(); 2]),
        };
        Self(BTreeMap::from([("*".to_owned(), vec![all])]))
    }

    /// Whether it has no keys, and so matches nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a host with these labels is meant.
    pub fn matches(&self, labels: &Labels) -> bool {
        if self.0.contains_key("*") {
            return true;
        }
        !self.0.is_empty()
            && self.0.iter().all(|(key, patterns)| {
                labels
                    .get(key)
                    .is_some_and(|value| patterns.iter().any(|pattern| pattern.matches(value)))
            })
    }

    /// Its keys and their patterns.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Pattern])> {
        self.0
            .iter()
            .map(|(key, patterns)| (key.as_str(), patterns.as_slice()))
    }
}

impl<'de> Deserialize<'de> for LabelSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SelectorVisitor)
    }
}

struct SelectorVisitor;

impl<'de> Visitor<'de> for SelectorVisitor {
    type Value = LabelSelector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LabelSelector, A::Error> {
        let mut selector = BTreeMap::new();
        while let Some(key) = map.next_key::<LabelKey>()? {
            let patterns = map.next_value_seed(OneOrMany {
                any_key: key.0 == "*",
            })?;
            if selector.insert(key.0, patterns).is_some() {
                return Err(serde::de::Error::custom("a label is there twice"));
            }
        }
        Ok(LabelSelector(selector))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct LabelKey(String);

impl TryFrom<String> for LabelKey {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        match key.as_str() {
            "" => Err("a label's name is empty".to_owned()),
            k if k != "*" && k.contains('*') => {
                Err("a label's name is no pattern: only '*' by itself stands for every label".to_owned())
            }
            k if k.contains("{{") => Err(PatternError::TemplateHere.to_string()),
            _ => Ok(Self(key)),
        }
    }
}

/// The patterns of one key: a text or a list of texts.
struct OneOrMany {
    any_key: bool,
}

impl OneOrMany {
    fn check<E: serde::de::Error>(&self, pattern: Pattern) -> Result<Pattern, E> {
        if self.any_key && !pattern.is_any() {
            return Err(E::custom(
                "the label '*' takes only the pattern '*', together they match every host",
            ));
        }
        Ok(pattern)
    }
}

impl<'de> DeserializeSeed<'de> for OneOrMany {
    type Value = Vec<Pattern>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Pattern>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Vec<Pattern>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: serde::de::Error>(self, source: &str) -> Result<Vec<Pattern>, E> {
        let pattern = Pattern::parse(source).map_err(E::custom)?;
        Ok(vec![self.check(pattern)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Pattern>, A::Error> {
        let mut patterns = Vec::new();
        while let Some(pattern) = list.next_element::<Pattern>()? {
            patterns.push(self.check(pattern)?);
        }
        if patterns.is_empty() {
            return Err(serde::de::Error::custom("a label needs at least one pattern"));
        }
        Ok(patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, value: &str) -> bool {
        Pattern::parse(pattern).expect(pattern).matches(value)
    }

    #[test]
    fn patterns_match_whole_values() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("prod", &["prod"], &["", "Prod", "prods", "aprod"]),
            ("", &[""], &["a"]),
            ("*", &["", "a", "名\n"], &[]),
            ("a*", &["a", "ab"], &["", "ba"]),
            ("*a", &["a", "ba"], &["ab"]),
            ("a*b*c", &["abc", "axbybc"], &["ab", "acb", "abcx"]),
            ("ab*ba", &["abba", "abxba"], &["aba"]),
            ("a**b", &["ab", "axb"], &["a"]),
            ("a?b.c", &["a?b.c"], &["axb.c", "a?bxc"]),
            ("[a]*", &["[a]b"], &["a"]),
            ("HOST$", &["HOST$"], &["HOST"]),
            (
                "^db-[0-9]+$",
                &["db-1", "db-42"],
                &["db-", "xdb-1", "db-1x", "db-1\n"],
            ),
            ("^(a|b)$", &["a", "b"], &["ab", "ax", "xb"]),
            ("^(?i)prod$", &["PROD"], &["prods"]),
            ("^(?m)a$", &["a"], &["a\nb", "b\na"]),
            ("^[|]$", &["|"], &["a"]),
            ("^a\\|b$", &["a|b"], &["a", "b"]),
            ("^.*$", &["", "x"], &["a\nb"]),
            ("^$", &[""], &["a"]),
        ];
        for (pattern, yes, no) in table {
            for value in *yes {
                assert!(matches(pattern, value), "{pattern} should match {value:?}");
            }
            for value in *no {
                assert!(!matches(pattern, value), "{pattern} should not match {value:?}");
            }
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        let long = "x".repeat(1025);
        let table = [
            ("^a", "a regular expression that begins with ^ must end with $"),
            ("^a|b$", "| reaches over ^ and $: write ^(a|b)$"),
            ("^(a|b)|c$", "| reaches over ^ and $: write ^(a|b)$"),
            ("^a)|(b$", "bad regular expression: unopened group"),
            ("^(a$", "bad regular expression: unclosed group"),
            ("^[a$", "bad regular expression: unclosed character class"),
            (
                "^(*)$",
                "bad regular expression: repetition operator missing expression",
            ),
            ("^\\q$", "bad regular expression: unrecognized escape sequence"),
            (
                "^(\\w{500}){500}$",
                "bad regular expression: it is too large when compiled",
            ),
            ("a{{internal.logins}}", "a template is not accepted here"),
            (long.as_str(), "it is 1025 bytes long, at most 1024 are read"),
        ];
        for (pattern, wanted) in table {
            let error = Pattern::parse(pattern).expect_err(pattern);
            assert_eq!(error.to_string(), wanted, "{pattern}");
        }
    }

    fn selector(yaml: &str) -> LabelSelector {
        crate::text::from_yaml(yaml).expect(yaml)
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn selectors_need_every_key() {
        let prod_web = labels(&[("env", "prod"), ("tier", "web"), ("x", "")]);
        let table = [
            ("{}", false),
            ("env: prod", true),
            ("env: [test, prod]", true),
            ("env: test", false),
            ("env: '*'", true),
            ("{env: prod, tier: web}", true),
            ("{env: prod, tier: db}", false),
            ("{env: prod, missing: '*'}", false),
            ("env: '^p.*$'", true),
            ("x: ''", true),
            ("'*': '*'", true),
            ("'*': ['*']", true),
        ];
        for (yaml, wanted) in table {
            assert_eq!(selector(yaml).matches(&prod_web), wanted, "{yaml}");
        }
        assert!(LabelSelector::any().matches(&Labels::new()));
        assert_eq!(selector("'*': '*'"), LabelSelector::any());
        assert!(!selector("{}").matches(&Labels::new()));
        assert!(!LabelSelector::default().matches(&Labels::new()));
    }

    #[test]
    fn bad_selectors_are_refused_with_their_place() {
        let table = [
            (
                "env: ['^(a$', b]",
                "line 1, column 7: env[0]: bad regular expression: unclosed group",
            ),
            (
                "env: ^a",
                "line 1, column 6: env: a regular expression that begins with ^ must end with $",
            ),
            (
                "env: 7",
                "line 1, column 6: env: expected a text or a list of texts, found a number",
            ),
            (
                "env: []",
                "line 1, column 6: env: a label needs at least one pattern",
            ),
            (
                "env:",
                "line 1, column 1: env: expected a text or a list of texts, found nothing",
            ),
            (
                "'*': prod",
                "line 1, column 6: [\"*\"]: the label '*' takes only the pattern '*', together they match every host",
            ),
            (
                "'e*': x",
                "line 1, column 1: a label's name is no pattern: only '*' by itself stands for every label",
            ),
            (
                "[a]",
                "line 1, column 1: expected a mapping of labels, found a list",
            ),
            (
                "env: '{{external.env}}'",
                "line 1, column 6: env: a template is not accepted here",
            ),
        ];
        for (yaml, wanted) in table {
            let error = crate::text::from_yaml::<LabelSelector>(yaml).expect_err(yaml);
            assert_eq!(error.to_string(), wanted);
        }
    }

    #[test]
    fn selectors_survive_every_format() {
        let one = selector("{env: [prod, '^t.*$'], tier: web}");
        let yaml = crate::text::to_yaml(&one).expect("writes");
        assert_eq!(crate::text::from_yaml::<LabelSelector>(&yaml), Ok(one.clone()));
        let json = serde_json::to_string(&one).expect("writes");
        assert_eq!(json, r#"{"env":["prod","^t.*$"],"tier":["web"]}"#);
        assert_eq!(serde_json::from_str::<LabelSelector>(&json).expect("reads"), one);
        let bytes = rmp_serde::to_vec_named(&one).expect("writes");
        assert_eq!(
            rmp_serde::from_slice::<LabelSelector>(&bytes).expect("reads"),
            one
        );
    }

    proptest! {
        #[test]
        fn parsing_and_matching_never_panic(p in any::<String>(), q in r"\^[a-c|()\[\]\\.*+?{}0-9]{0,20}\$", v in any::<String>()) {
            for pattern in [p, q] {
                if let Ok(pattern) = Pattern::parse(&pattern) {
                    let _ = pattern.matches(&v);
                }
            }
        }

        #[test]
        fn globs_match_as_their_definition_says(p in "[ab*]{0,8}", v in "[ab]{0,10}") {
            fn slow(p: &[u8], v: &[u8]) -> bool {
                match p.split_first() {
                    None => v.is_empty(),
                    Some((b'*', rest)) => (0..=v.len()).any(|i| slow(rest, &v[i..])),
                    Some((c, rest)) => v.split_first().is_some_and(|(d, v)| c == d && slow(rest, v)),
                }
            }
            prop_assert_eq!(matches(&p, &v), slow(p.as_bytes(), v.as_bytes()));
        }
    }
}
