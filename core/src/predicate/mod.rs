//! `where` clauses: a condition on the user and the resource, beside a rule's kinds and verbs.
//!
//! ```text
//! contains(user.roles, "lead") && !equals(resource.labels["env"], "prod")
//! ```
//!
//! | written | is |
//! | --- | --- |
//! | `equals(a, b)` | both texts are there and the same |
//! | `has_prefix(a, b)` | both are there and `a` begins with `b` |
//! | `contains(list, a)` | `a` is there and in the list |
//! | `&&`, `\|\|`, `!`, `( )` | as usual; `!` binds tightest, then `&&` |
//! | `user.name`, `resource.name`, `resource.kind`, `resource.labels["x"]` | a text |
//! | `user.roles`, `user.traits["x"]`, `["a", "b"]` | a list of texts |
//!
//! A label that the resource does not have equals nothing, not even another missing one. The language has no
//! loops, no patterns and no arithmetic: what a clause costs is bounded by its length.

mod lexer;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use lexer::{Token, Words};

pub use lexer::SyntaxError;

use crate::name::Name;
use crate::record::Labels;

/// The longest clause, in bytes.
pub const MAX_PREDICATE_BYTES: usize = 4096;

/// How deep parentheses and negations may nest.
const MAX_DEPTH: usize = 32;

/// A parsed `where` clause.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Predicate {
    source: String,
    expression: Expression,
}

/// What a clause is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Who asks.
    pub user_name: &'a str,
    /// The roles they hold.
    pub user_roles: &'a [Name],
    /// Their traits.
    pub user_traits: &'a BTreeMap<String, Vec<String>>,
    /// The kind of the resource.
    pub resource_kind: &'a str,
    /// Its name.
    pub resource_name: &'a str,
    /// Its labels.
    pub resource_labels: &'a Labels,
}

#[derive(Clone, Debug)]
enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Equals(Text, Text),
    HasPrefix(Text, Text),
    Contains(List, Text),
}

#[derive(Clone, Debug)]
enum Text {
    Literal(String),
    UserName,
    ResourceKind,
    ResourceName,
    ResourceLabel(String),
}

#[derive(Clone, Debug)]
enum List {
    Literal(Vec<String>),
    UserRoles,
    UserTrait(String),
}

/// Either, before the function that takes it says which it wants.
enum Operand {
    Text(Text),
    List(List),
}

impl Predicate {
    /// Reads a clause.
    pub fn parse(source: &str) -> Result<Self, SyntaxError> {
        if source.len() > MAX_PREDICATE_BYTES {
            return Err(SyntaxError::new(
                1,
                format!(
                    "the clause is {} bytes long, at most {MAX_PREDICATE_BYTES} are read",
                    source.len()
                ),
            ));
        }
        let mut words = Words::of(source, 1)?;
        let expression = disjunction(&mut words, 0)?;
        words.expect_end()?;
        Ok(Self {
            source: source.to_owned(),
            expression,
        })
    }

    /// The clause as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the condition holds.
    pub fn evaluate(&self, context: &Context<'_>) -> bool {
        self.expression.holds(context)
    }
}

impl Expression {
    fn holds(&self, context: &Context<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(context)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(context)),
            Self::Not(part) => !part.holds(context),
            Self::Equals(a, b) => match (a.value(context), b.value(context)) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
            Self::HasPrefix(a, b) => match (a.value(context), b.value(context)) {
                (Some(a), Some(b)) => a.starts_with(b),
                _ => false,
            },
            Self::Contains(list, a) => a.value(context).is_some_and(|a| list.has(a, context)),
        }
    }
}

impl Text {
    fn value<'a>(&'a self, context: &Context<'a>) -> Option<&'a str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::UserName => Some(context.user_name),
            Self::ResourceKind => Some(context.resource_kind),
            Self::ResourceName => Some(context.resource_name),
            Self::ResourceLabel(key) => context.resource_labels.get(key).map(String::as_str),
        }
    }
}

impl List {
    fn has(&self, text: &str, context: &Context<'_>) -> bool {
        match self {
            Self::Literal(list) => list.iter().any(|item| item == text),
            Self::UserRoles => context.user_roles.iter().any(|role| role.as_str() == text),
            Self::UserTrait(key) => context
                .user_traits
                .get(key)
                .is_some_and(|values| values.iter().any(|value| value == text)),
        }
    }
}

const FUNCTIONS: [&str; 3] = ["equals", "contains", "has_prefix"];

const NAMES: [&str; 6] = [
    "user.name",
    "user.roles",
    "user.traits",
    "resource.kind",
    "resource.name",
    "resource.labels",
];

fn disjunction(words: &mut Words, depth: usize) -> Result<Expression, SyntaxError> {
    let mut parts = vec![conjunction(words, depth)?];
    while words.take_if("||") {
        parts.push(conjunction(words, depth)?);
    }
    Ok(if parts.len() == 1 {
        parts.remove(0)
    } else {
        Expression::Any(parts)
    })
}

fn conjunction(words: &mut Words, depth: usize) -> Result<Expression, SyntaxError> {
    let mut parts = vec![condition(words, depth)?];
    while words.take_if("&&") {
        parts.push(condition(words, depth)?);
    }
    Ok(if parts.len() == 1 {
        parts.remove(0)
    } else {
        Expression::All(parts)
    })
}

fn condition(words: &mut Words, depth: usize) -> Result<Expression, SyntaxError> {
    let column = words.column();
    if depth >= MAX_DEPTH {
        return Err(SyntaxError::new(
            column,
            format!("the clause nests deeper than {MAX_DEPTH}"),
        ));
    }
    if words.take_if("!") {
        return Ok(Expression::Not(Box::new(condition(words, depth + 1)?)));
    }
    if words.take_if("(") {
        let inner = disjunction(words, depth + 1)?;
        words.expect(")")?;
        return Ok(inner);
    }
    let name = words.dotted("a condition such as equals(a, b)")?;
    if !words.take_if("(") {
        if NAMES.contains(&name.as_str()) {
            return Err(SyntaxError::new(
                column,
                format!("{name} is no condition by itself: use equals({name}, \"...\")"),
            ));
        }
        return Err(SyntaxError::unknown(column, "condition", &name, &FUNCTIONS));
    }
    let found = match name.as_str() {
        "equals" => {
            let (a, b) = (text(words)?, second_text(words)?);
            Expression::Equals(a, b)
        }
        "has_prefix" => {
            let (a, b) = (text(words)?, second_text(words)?);
            Expression::HasPrefix(a, b)
        }
        "contains" => {
            let (list, a) = (list(words)?, second_text(words)?);
            Expression::Contains(list, a)
        }
        _ => return Err(SyntaxError::unknown(column, "function", &name, &FUNCTIONS)),
    };
    words.expect(")")?;
    Ok(found)
}

fn second_text(words: &mut Words) -> Result<Text, SyntaxError> {
    words.expect(",")?;
    text(words)
}

fn text(words: &mut Words) -> Result<Text, SyntaxError> {
    let column = words.column();
    match operand(words)? {
        Operand::Text(text) => Ok(text),
        Operand::List(_) => Err(SyntaxError::new(
            column,
            "expected a text, found a list: use contains(list, text)",
        )),
    }
}

fn list(words: &mut Words) -> Result<List, SyntaxError> {
    let column = words.column();
    match operand(words)? {
        Operand::List(list) => Ok(list),
        Operand::Text(_) => Err(SyntaxError::new(
            column,
            "expected a list, found a text: contains(list, text)",
        )),
    }
}

fn operand(words: &mut Words) -> Result<Operand, SyntaxError> {
    let column = words.column();
    if matches!(words.peek(), Token::Text(_)) {
        return Ok(Operand::Text(Text::Literal(words.expect_text()?)));
    }
    if words.take_if("[") {
        let mut items = vec![words.expect_text()?];
        while words.take_if(",") {
            items.push(words.expect_text()?);
        }
        words.expect("]")?;
        return Ok(Operand::List(List::Literal(items)));
    }
    let name = words.dotted("a text in double quotes or a name such as user.name")?;
    let keyed = |words: &mut Words| -> Result<String, SyntaxError> {
        if !words.take_if("[") {
            return Err(SyntaxError::new(
                column,
                format!("{name} needs a key: {name}[\"...\"]"),
            ));
        }
        let key = words.expect_text()?;
        words.expect("]")?;
        Ok(key)
    };
    Ok(match name.as_str() {
        "user.name" => Operand::Text(Text::UserName),
        "user.roles" => Operand::List(List::UserRoles),
        "user.traits" => Operand::List(List::UserTrait(keyed(words)?)),
        "resource.kind" => Operand::Text(Text::ResourceKind),
        "resource.name" => Operand::Text(Text::ResourceName),
        "resource.labels" => Operand::Text(Text::ResourceLabel(keyed(words)?)),
        other => {
            for keyed in ["user.traits", "resource.labels"] {
                if let Some(key) = other.strip_prefix(keyed).and_then(|rest| rest.strip_prefix('.')) {
                    return Err(SyntaxError::new(column, format!("write {keyed}[\"{key:.64}\"]")));
                }
            }
            // Teleport's longer spelling of the same things.
            let short = other.replace(".spec.", ".").replace(".metadata.", ".");
            let mut error = SyntaxError::unknown(column, "name", other, &NAMES);
            if let Some(name) = NAMES.iter().find(|name| **name == short) {
                error = SyntaxError::new(column, format!("write {name}"));
            }
            return Err(error);
        }
    })
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Predicate {}

impl std::str::FromStr for Predicate {
    type Err = SyntaxError;

    fn from_str(source: &str) -> Result<Self, SyntaxError> {
        Self::parse(source)
    }
}

impl TryFrom<String> for Predicate {
    type Error = SyntaxError;

    fn try_from(source: String) -> Result<Self, SyntaxError> {
        Self::parse(&source)
    }
}

impl From<Predicate> for String {
    fn from(predicate: Predicate) -> Self {
        predicate.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(source: &str) -> bool {
        let roles = [
            Name::parse("dev").expect("name"),
            Name::parse("lead").expect("name"),
        ];
        let traits = BTreeMap::from([("team".to_owned(), vec!["red".to_owned(), "blue".to_owned()])]);
        let labels = Labels::from([
            ("env".to_owned(), "prod".to_owned()),
            ("a b".to_owned(), "x\"y".to_owned()),
        ]);
        let context = Context {
            user_name: "alice",
            user_roles: &roles,
            user_traits: &traits,
            resource_kind: "recording",
            resource_name: "alice-1",
            resource_labels: &labels,
        };
        Predicate::parse(source).expect(source).evaluate(&context)
    }

    #[test]
    fn clauses_mean_what_they_say() {
        let table = [
            (r#"equals(user.name, "alice")"#, true),
            (r#"equals("alice", user.name)"#, true),
            (r#"equals(user.name, "Alice")"#, false),
            (r#"equals(user.name, resource.name)"#, false),
            (r#"has_prefix(resource.name, user.name)"#, true),
            (r#"has_prefix(user.name, resource.name)"#, false),
            (r#"equals(resource.kind, "recording")"#, true),
            (r#"contains(user.roles, "lead")"#, true),
            (r#"contains(user.roles, "lea")"#, false),
            (r#"contains(user.traits["team"], "blue")"#, true),
            (r#"contains(user.traits["none"], "blue")"#, false),
            (r#"contains(["x", "alice"], user.name)"#, true),
            (r#"equals(resource.labels["env"], "prod")"#, true),
            (r#"equals(resource.labels["a b"], "x\"y")"#, true),
            (r#"equals(resource.labels["a b"], `x"y`)"#, true),
            // A missing label equals nothing.
            (r#"equals(resource.labels["no"], "")"#, false),
            (r#"equals(resource.labels["no"], resource.labels["no"])"#, false),
            (r#"has_prefix(resource.labels["no"], "")"#, false),
            (r#"!equals(resource.labels["no"], "prod")"#, true),
            (r#"contains(user.roles, resource.labels["no"])"#, false),
            // Precedence.
            (r#"equals("a","b") && equals("a","b") || equals("a","a")"#, true),
            (
                r#"equals("a","b") && (equals("a","b") || equals("a","a"))"#,
                false,
            ),
            (r#"equals("a","a") || equals("a","a") && equals("a","b")"#, true),
            (r#"!equals("a","b") && equals("a","a")"#, true),
            (r#"!(equals("a","a") && equals("a","b"))"#, true),
            (r#"!!equals("a","a")"#, true),
            (" \n\tequals ( \"a\" , \"a\" ) ", true),
        ];
        for (source, wanted) in table {
            assert_eq!(holds(source), wanted, "{source}");
        }
    }

    #[test]
    fn faults_are_named_with_their_place() {
        let deep = "(".repeat(40);
        let table = [
            (
                "",
                "at character 1: expected a condition such as equals(a, b), found the end",
            ),
            (
                "equal(user.name, \"a\")",
                "at character 1: unknown function \"equal\": did you mean \"equals\"?",
            ),
            (
                "frob(user.name)",
                "at character 1: unknown function \"frob\", there are equals, contains, has_prefix",
            ),
            (
                "equals(user.nam, \"a\")",
                "at character 8: unknown name \"user.nam\": did you mean \"user.name\"?",
            ),
            (
                "equals(\"é\", resource.lables[\"x\"])",
                "at character 13: unknown name \"resource.lables\": did you mean \"resource.labels\"?",
            ),
            (
                "contains(user.spec.traits[\"x\"], \"a\")",
                "at character 10: write user.traits",
            ),
            (
                "equals(user.roles, \"a\")",
                "at character 8: expected a text, found a list: use contains(list, text)",
            ),
            (
                "contains(user.name, \"a\")",
                "at character 10: expected a list, found a text: contains(list, text)",
            ),
            (
                "contains(user.traits, \"a\")",
                "at character 10: user.traits needs a key: user.traits[\"...\"]",
            ),
            (
                "equals(resource.labels.env, \"a\")",
                "at character 8: write resource.labels[\"env\"]",
            ),
            (
                "user.name",
                "at character 1: user.name is no condition by itself: use equals(user.name, \"...\")",
            ),
            (
                "user.name = \"a\"",
                "at character 11: there is no \"=\": use equals(a, b)",
            ),
            (
                "user.name != \"a\"",
                "at character 11: there is no \"!=\": use !equals(a, b)",
            ),
            (
                "equals(\"a\", 'a')",
                "at character 13: texts stand in double quotes",
            ),
            ("equals(\"a\", \"a)", "at character 13: a text is not closed"),
            (
                "equals(\"a\" \"a\")",
                "at character 12: expected \",\", found a text in quotes",
            ),
            (
                "equals(\"a\", \"a\"",
                "at character 16: expected \")\", found the end",
            ),
            (
                "equals(\"a\", \"a\") equals",
                "at character 18: expected the end, found \"equals\"",
            ),
            (
                "equals(\"a\", \"a\") & equals",
                "at character 18: \"and\" is written &&",
            ),
            (
                "equals(\"\\d\", \"a\")",
                "at character 9: only \\\" and \\\\ are escapes; between backticks (`) a text needs none",
            ),
            (
                "equals(user., \"a\")",
                "at character 13: expected a name, found \",\"",
            ),
            ("equals(\u{7}", "at character 8: unexpected \"\\u{7}\""),
            (deep.as_str(), "at character 33: the clause nests deeper than 32"),
        ];
        let mut wrong = String::new();
        for (source, wanted) in table {
            let got = Predicate::parse(source).map_or_else(|e| e.to_string(), |_| "accepted".to_owned());
            if got != wanted {
                wrong.push_str(&format!("{source}\n    got {got}\n wanted {wanted}\n"));
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
        let long = format!("equals(\"{}\", \"\")", "x".repeat(5000));
        assert!(Predicate::parse(&long).is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(s in any::<String>(), t in r#"(equals|contains|!|\(|\)|user\.name|user\.traits|\["|"\]|,|"a"|&&|\|\|| ){0,30}"#) {
            for source in [s, t] {
                if let Ok(predicate) = Predicate::parse(&source) {
                    prop_assert_eq!(Predicate::parse(predicate.as_str()), Ok(predicate));
                }
            }
        }
    }
}
