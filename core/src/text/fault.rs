//! Faults: what a reader raises, and the error that people see.

use std::fmt::{self, Display, Formatter, Write};

use serde::de::{Expected, Unexpected};

use super::nearest;
use super::tree::{Pos, Step};
use crate::shown::Shown;

/// Why a text was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextError {
    /// Line of the key or value at fault, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Where in the value, such as `spec.allow.logins[1]`; empty at the outermost level. For a fault of a
    /// name (unknown, missing, repeated) the mapping that holds it.
    pub path: String,
    /// What is wrong, path included.
    pub message: String,
    /// The valid name that was probably meant.
    pub nearest: Option<String>,
}

impl TextError {
    pub(super) fn at_start(message: &str) -> Self {
        Fault::new(message).at(Pos { line: 1, column: 1 }).into()
    }
}

impl Display for TextError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        if let Some(name) = &self.nearest {
            write!(f, ": did you mean \"{name}\"?")?;
        }
        Ok(())
    }
}

impl std::error::Error for TextError {}

/// Everything that is wrong with a text, in its order; at least one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextErrors(Vec<TextError>);

impl TextErrors {
    /// In the order of the text; none where there is no fault.
    pub(crate) fn new(mut faults: Vec<TextError>) -> Option<Self> {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, TextError> {
        self.0.iter()
    }
}

impl From<TextError> for TextErrors {
    fn from(fault: TextError) -> Self {
        Self(vec![fault])
    }
}

impl IntoIterator for TextErrors {
    type Item = TextError;
    type IntoIter = std::vec::IntoIter<TextError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Display for TextErrors {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let [one] = self.0.as_slice() {
            return one.fmt(f);
        }
        write!(f, "{} faults", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for TextErrors {}

/// A fault on its way up: it collects its position and path from the readers it passes through, and becomes a
/// [`TextError`] at the top.
#[derive(Debug)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    at: Option<Pos>,
    /// Innermost first.
    path: Vec<Step>,
    message: String,
    /// Why, after the path, for faults of a name.
    reason: Option<String>,
    about_name: bool,
    /// The field that is at fault, or that is missing, in the mapping that the path leads to.
    field: Option<String>,
    missing: bool,
    nearest: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            at: None,
            path: Vec::new(),
            message: message.into(),
            reason: None,
            about_name: false,
            field: None,
            missing: false,
            nearest: None,
        }))
    }

    /// A fault of a name: `what "name" in path`.
    pub(super) fn name(what: &str, name: &str) -> Self {
        let mut fault = Self::new(format!("{what} \"{:.64}\"", Shown(name)));
        fault.0.about_name = true;
        fault.0.field = Some(name.to_owned());
        fault
    }

    /// It is about a key of the mapping that is being read.
    pub(super) fn about_key(mut self, key: &str) -> Self {
        if self.0.path.is_empty() {
            self.0.field.get_or_insert_with(|| key.to_owned());
        }
        self
    }

    /// What it is about, outermost step first; and whether that is not there.
    pub(super) fn place(&self) -> (Vec<Step>, bool) {
        let mut place: Vec<Step> = self.0.path.iter().rev().cloned().collect();
        place.extend(self.0.field.clone().map(Step::Key));
        (place, self.0.missing)
    }

    pub(super) fn because(mut self, reason: String) -> Self {
        self.0.reason = Some(reason);
        self
    }

    pub(super) fn with_nearest(mut self, name: Option<&str>) -> Self {
        self.0.nearest = name.map(str::to_owned);
        self
    }

    /// Sets the position, unless a reader further in knew it better.
    pub(super) fn at(mut self, at: Pos) -> Self {
        self.0.at.get_or_insert(at);
        self
    }

    pub(super) fn under_key(mut self, key: &str) -> Self {
        self.0.path.push(Step::Key(key.to_owned()));
        self
    }

    pub(super) fn under_index(mut self, index: usize) -> Self {
        self.0.path.push(Step::Index(index));
        self
    }

    /// Where the field would be that a wrong name was probably meant for.
    pub(super) fn meant(&self) -> Option<Vec<Step>> {
        let (mut place, missing) = self.place();
        let name = self.0.nearest.clone().filter(|_| self.0.about_name && !missing)?;
        place.pop();
        place.push(Step::Key(name));
        Some(place)
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.path.iter().rev() {
            // Writing into a String cannot fail.
            let _ = match step {
                Step::Index(i) => write!(path, "[{i}]"),
                Step::Key(key) if is_bare(key) && path.is_empty() => write!(path, "{key}"),
                Step::Key(key) if is_bare(key) => write!(path, ".{key}"),
                Step::Key(key) => write!(path, "[\"{:.64}\"]", Shown(key)),
            };
        }
        path
    }
}

fn is_bare(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 64
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl From<Fault> for TextError {
    fn from(fault: Fault) -> Self {
        let path = fault.path();
        let at = fault.0.at.unwrap_or(Pos { line: 1, column: 1 });
        let mut message = match (path.is_empty(), fault.0.about_name) {
            (true, _) => fault.0.message,
            (false, true) => format!("{} in {path}", fault.0.message),
            (false, false) => format!("{path}: {}", fault.0.message),
        };
        if let (Some(reason), None) = (fault.0.reason, &fault.0.nearest) {
            message.push_str(": ");
            message.push_str(&reason);
        }
        Self {
            line: at.line,
            column: at.column,
            path,
            message,
            nearest: fault.0.nearest,
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // The value itself stays out of the message: it may be a password under the wrong name.
        Self::new(format!(
            "expected {}, found {}",
            plain_words(expected),
            kind_of(&found)
        ))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => Self::new(format!(
                "{} is out of range, expected {}",
                number(&found),
                range(expected)
            )),
            _ => Self::new(format!(
                "expected {}, found {}",
                plain_words(expected),
                kind_of(&found)
            )),
        }
    }

    fn invalid_length(len: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {len} of them", plain_words(expected)))
    }

    fn unknown_variant(given: &str, expected: &'static [&'static str]) -> Self {
        let mut fault = Self::new(format!("unknown value \"{:.64}\"", Shown(given)))
            .with_nearest(nearest(given, expected.iter().copied()));
        fault.0.reason = Some(listed(expected));
        fault
    }

    fn unknown_field(given: &str, expected: &'static [&'static str]) -> Self {
        Self::name("unknown field", given)
            .with_nearest(nearest(given, expected.iter().copied()))
            .because(listed(expected))
    }

    fn missing_field(field: &'static str) -> Self {
        let mut fault = Self::name("missing field", field);
        fault.0.missing = true;
        fault
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::name("repeated field", field)
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing may stand here".to_owned(),
        _ => format!("expected one of {}", names.join(", ")),
    }
}

fn number(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Unsigned(n) => n.to_string(),
        Unexpected::Signed(n) => n.to_string(),
        Unexpected::Float(n) => n.to_string(),
        _ => String::new(),
    }
}

fn kind_of(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(true) => "true",
        Unexpected::Bool(false) => "false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) => "a text",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a mapping",
        _ => "something else",
    }
}

/// serde's words for what a type expects, in the words of a person who writes YAML.
fn plain_words(expected: &dyn Expected) -> String {
    let words = expected.to_string();
    match words.as_str() {
        "a boolean" => "true or false".to_owned(),
        "a string" | "a borrowed string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "unit" => "nothing".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        w if is_integer_type(w) => "a whole number".to_owned(),
        w if w.starts_with("struct ") => "a mapping".to_owned(),
        w if w.starts_with("tuple struct ") || w.starts_with("tuple ") => "a list".to_owned(),
        w if w.starts_with("enum ") || w == "variant identifier" => "one of a set of names".to_owned(),
        _ => words,
    }
}

fn is_integer_type(word: &str) -> bool {
    matches!(
        word,
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize"
    ) || word == "a nonzero u8"
        || word.starts_with("a nonzero ")
}

fn range(expected: &dyn Expected) -> String {
    let word = expected.to_string();
    let (low, high) = match word.as_str() {
        "u8" => ("0", "255"),
        "u16" => ("0", "65535"),
        "u32" => ("0", "4294967295"),
        "u64" | "usize" => ("0", "18446744073709551615"),
        "i8" => ("-128", "127"),
        "i16" => ("-32768", "32767"),
        "i32" => ("-2147483648", "2147483647"),
        "i64" | "isize" => ("-9223372036854775808", "9223372036854775807"),
        _ => return plain_words(expected),
    };
    format!("{low} to {high}")
}
