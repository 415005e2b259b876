//! The marked tree that both parsers build.

use super::MAX_DEPTH;
use super::fault::Fault;

/// A place in the text: line and column, in characters, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pos {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Pos,
    pub(super) kind: Kind,
    /// Its fault is known: readers pass over it, so that what else is wrong is found as well. The root never is.
    pub(super) left_out: bool,
}

/// A step down the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A key of a mapping and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) at: Pos,
    pub(super) text: String,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    /// Kept as written: which number it is depends on the type that asks.
    Number(String),
    Str {
        text: String,
        /// Written without quotes, so it may have been meant as something else.
        plain: bool,
    },
    Seq(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Node {
    pub(super) fn new(at: Pos, kind: Kind) -> Self {
        Node {
            at,
            kind,
            left_out: false,
        }
    }

    /// How many values it is, itself among them.
    pub(super) fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Seq(items) => items.iter().map(Node::count).sum::<usize>(),
            Kind::Map(entries) => entries.iter().map(|(_, value)| value.count()).sum(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Str { .. } => 0,
        }
    }

    /// Leaves out what a path leads to, or, where that is not there any more, the nearest thing above it that is. False
    /// if nothing but the root remains.
    pub(super) fn leave_out(&mut self, path: &[Step]) -> bool {
        (1..=path.len()).rev().any(|depth| {
            let found = path[..depth].iter().try_fold(&mut *self, Node::step);
            found.is_some_and(|node| !std::mem::replace(&mut node.left_out, true))
        })
    }

    fn step<'a>(&'a mut self, step: &Step) -> Option<&'a mut Node> {
        match (&mut self.kind, step) {
            (Kind::Map(entries), Step::Key(name)) => {
                let found = entries.iter_mut().find(|(key, _)| key.text == *name);
                found.map(|(_, value)| value)
            }
            (Kind::Seq(items), Step::Index(n)) => items.get_mut(*n),
            _ => None,
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries
                .iter()
                .find(|(key, _)| key.text == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

/// The entries of a mapping while it is being read; refuses a key that is already there.
#[derive(Default)]
pub(super) struct Entries {
    list: Vec<(Key, Node)>,
    seen: std::collections::HashMap<String, usize>,
}

impl Entries {
    /// Notes a key before its value is read, so that the earliest fault of the text is the one reported.
    pub(super) fn claim(&mut self, key: &Key) -> Result<(), Fault> {
        match self.seen.insert(key.text.clone(), key.at.line) {
            None => Ok(()),
            Some(first) => Err(Fault::name("repeated field", &key.text)
                .because(format!("it already stands on line {first}"))
                .at(key.at)),
        }
    }

    pub(super) fn push(&mut self, key: Key, value: Node) {
        self.list.push((key, value));
    }

    pub(super) fn done(self) -> Kind {
        Kind::Map(self.list)
    }
}

/// The depth of a collection that starts here, or why it is too deep.
pub(super) fn deeper(depth: usize, at: Pos) -> Result<usize, Fault> {
    if depth >= MAX_DEPTH {
        return Err(Fault::new(format!("lists and mappings nest deeper than {MAX_DEPTH}")).at(at));
    }
    Ok(depth + 1)
}

/// What an unquoted YAML scalar means. JSON's numbers are the same ones.
pub(super) fn resolve_plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" => Kind::Bool(true),
        "false" => Kind::Bool(false),
        _ if is_number(text) => Kind::Number(text.to_owned()),
        _ => Kind::Str {
            text: text.to_owned(),
            plain: true,
        },
    }
}

/// Whether an unquoted text is a number: decimal, hexadecimal, octal or floating. A decimal with a leading
/// zero is a text, because readers disagree on its value.
pub(super) fn is_number(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole_fits = digits(whole) && (whole.len() <= 1 || !whole.starts_with('0'));
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    whole_fits && digits(fraction) && exponent_fits && !(whole.is_empty() && fraction.is_empty())
}
