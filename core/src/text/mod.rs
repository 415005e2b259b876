//! Strict YAML and JSON, read into any serde type, with the place of every fault.
//!
//! What a person writes is refused with line, column, path and, where a name is wrong, the nearest valid
//! name. The text is first parsed into a tree that knows where each key and value stood ([`Document`]); the
//! tree is then a serde `Deserializer`, so that a fault raised by a derived or handwritten `Deserialize` gets
//! the place of the value (or, for an unknown or repeated name, of the key) that caused it.
//!
//! The dialect is small on purpose: no anchors, aliases, tags or merge keys, keys are texts, booleans are
//! `true` and `false` alone, a number is never taken for a text nor a text for a number.
//!
//! What keeps positions: structs, maps, lists, options, newtypes (`try_from = "String"` too), externally
//! tagged enums, handwritten visitors. What loses them, because serde buffers the value first: `flatten`,
//! `untagged` and internally tagged enums. Use [`Document::field_str`] and decode the right type instead.

mod de;
mod fault;
mod json;
mod tree;
mod write;
mod yaml;

use serde::de::DeserializeOwned;

use de::Reader;
use fault::Fault;
use tree::{Kind, Node, Step};

pub use fault::{TextError, TextErrors};
pub use write::to_yaml;

/// The longest text that is read, in bytes.
pub const MAX_TEXT_BYTES: usize = 256 * 1024;

/// So many times a document is read again to find what else is wrong with it; a large one fewer times, so that a text made
/// for it costs little.
const READ_AGAIN: std::ops::RangeInclusive<usize> = 8..=100;

/// Values read in all, where a document is read again.
const READ_VALUES: usize = 20_000;

/// How deep lists and mappings may nest.
pub const MAX_DEPTH: usize = 32;

/// Reads one YAML document.
pub fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, TextError> {
    Document::from_yaml(text)?.decode()
}

/// Reads every document of a YAML text, `---` between them. Empty documents are skipped.
pub fn from_yaml_documents<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, TextError> {
    Document::all_from_yaml(text)?
        .iter()
        .map(Document::decode)
        .collect()
}

/// Parses a text that a person hands over: one JSON object, or any number of YAML documents.
pub fn documents(text: &str) -> Result<Vec<Document>, TextError> {
    // An object in braces may be either; most JSON is YAML as well, but not all of it.
    if text.trim_start().starts_with('{') {
        match Document::from_json(text) {
            Ok(document) => return Ok(vec![document]),
            Err(error) if text.trim_start()[1..].trim_start().starts_with(['"', '}']) => {
                return Document::all_from_yaml(text).map_err(|_| error);
            }
            Err(_) => {}
        }
    }
    Document::all_from_yaml(text)
}

/// Reads one JSON value, as strictly and with the same positions as YAML.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, TextError> {
    Document::from_json(text)?.decode()
}

/// A parsed text that remembers where everything stood, not yet read into a type.
///
/// For whoever must look at a field (`kind`, `version`) before it is known which type to read.
#[derive(Clone, Debug)]
pub struct Document {
    root: Node,
}

impl Document {
    /// Parses a text that holds exactly one YAML document.
    pub fn from_yaml(text: &str) -> Result<Self, TextError> {
        let mut all = yaml::parse(text)?.into_iter();
        match (all.next(), all.next()) {
            (Some(root), None) => Ok(Self { root }),
            (None, _) => Err(TextError::at_start("the text is empty")),
            (Some(_), Some(second)) => Err(Fault::new(
                "one document is expected, and a second one starts here",
            )
            .at(second.at)
            .into()),
        }
    }

    /// Parses a text of any number of YAML documents.
    pub fn all_from_yaml(text: &str) -> Result<Vec<Self>, TextError> {
        Ok(yaml::parse(text)?.into_iter().map(|root| Self { root }).collect())
    }

    /// Parses a JSON text.
    pub fn from_json(text: &str) -> Result<Self, TextError> {
        Ok(Self {
            root: json::parse(text)?,
        })
    }

    /// Reads the whole document into a type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, TextError> {
        T::deserialize(Reader(&self.root)).map_err(|fault| fault.at(self.root.at).into())
    }

    /// Reads the whole document into a type, or names everything that is wrong with it.
    ///
    /// The type's own reader stops at the first fault. So what is at fault is left out and the rest is read again, until
    /// nothing new is found: a field that is missing, or a list that is empty, only because something was left out is
    /// no fault.
    pub fn decode_all<T: DeserializeOwned>(&self) -> Result<T, TextErrors> {
        // What is right is read once and copied nowhere.
        T::deserialize(Reader(&self.root)).map_err(|first| self.faults::<T>(first))
    }

    /// Everything that is wrong, the first of which was found.
    fn faults<T: DeserializeOwned>(&self, first: Fault) -> TextErrors {
        let (mut tree, mut fault) = (self.root.clone(), first);
        let (mut faults, mut left_out) = (Vec::new(), Vec::<Vec<Step>>::new());
        let again = (READ_VALUES / tree.count()).clamp(*READ_AGAIN.start(), *READ_AGAIN.end());
        loop {
            let (place, missing) = fault.place();
            let follows = left_out.iter().any(|one| one.starts_with(&place));
            // What is missing cannot be left out: what lacks it can.
            let lacking = place.len() - usize::from(missing);
            let meant = fault.meant();
            if !follows {
                faults.push(fault.at(self.root.at).into());
            }
            if left_out.len() == again || !tree.leave_out(&place[..lacking]) {
                break;
            }
            // What was meant by a wrong name is missing under the right one.
            left_out.extend(meant);
            left_out.push(place);
            match T::deserialize(Reader(&tree)) {
                Ok(_) => break,
                Err(next) => fault = next,
            }
        }
        TextErrors::new(faults).expect("the first fault follows from none")
    }

    /// The text at a field of the outermost mapping, if there is one and it is a text.
    pub fn field_str(&self, name: &str) -> Option<&str> {
        match &self.root.field(name)?.kind {
            Kind::Str { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The entries of the outermost mapping, for whoever reads each on its own so that all faults are found at once.
    pub fn entries(&self) -> Result<Vec<Entry>, TextError> {
        let Kind::Map(entries) = &self.root.kind else {
            return Err(Fault::new("a mapping of names to values is expected")
                .at(self.root.at)
                .into());
        };
        let entry = |(key, value): &(tree::Key, Node)| Entry {
            name: key.text.clone(),
            line: key.at.line,
            column: key.at.column,
            value: Document { root: value.clone() },
        };
        Ok(entries.iter().map(entry).collect())
    }

    /// Whether nothing was written where a value could be.
    pub fn is_null(&self) -> bool {
        matches!(self.root.kind, Kind::Null)
    }

    /// Line and column where it starts, from 1.
    pub fn place(&self) -> (usize, usize) {
        (self.root.at.line, self.root.at.column)
    }

    /// An error about the value at a path of field names, for checks that serde knows nothing of.
    ///
    /// Of a list, a name is the number of an item, from 0. Where the path leads nowhere, the deepest value that exists gives
    /// the position. `valid` are the names that would have been right; the nearest of them to the value found is offered.
    pub fn error_at(&self, path: &[&str], message: &str, valid: &[&str]) -> TextError {
        let (mut node, mut steps) = (&self.root, Vec::new());
        let mut leads = true;
        for name in path {
            let number = match &node.kind {
                Kind::Seq(_) if leads => name.parse().ok(),
                _ => None,
            };
            let next = match (&node.kind, number) {
                (Kind::Seq(items), Some(n)) => items.get::<usize>(n),
                _ if leads => node.field(name),
                _ => None,
            };
            steps.push(number.map_or_else(|| Step::Key((*name).to_owned()), Step::Index));
            leads = next.is_some();
            node = next.unwrap_or(node);
        }
        let near = match &node.kind {
            Kind::Str { text, .. } => nearest(text, valid.iter().copied()),
            _ => None,
        };
        let fault = Fault::new(message).at(node.at).with_nearest(near);
        let under = |fault: Fault, step| match step {
            Step::Key(name) => fault.under_key(&name),
            Step::Index(n) => fault.under_index(n),
        };
        steps.into_iter().rev().fold(fault, under).into()
    }
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The name's line, from 1.
    pub line: usize,
    /// The name's column in characters, from 1.
    pub column: usize,
    /// Its value.
    pub value: Document,
}

/// The valid name that was most likely meant, if one is near enough.
pub fn nearest<'a>(given: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name this long is no slip of the finger, and the distance costs the product of the lengths.
    if given.is_empty() || given.len() > 64 {
        return None;
    }
    let plain = |s: &str| s.to_lowercase().replace('-', "_");
    let given = plain(given);
    let allowed = (given.chars().count() / 3).clamp(1, 4);
    valid
        .into_iter()
        .map(|name| {
            let name_plain = plain(name);
            let mut distance = strsim::damerau_levenshtein(&given, &name_plain);
            // "max_ttl" for "max_session_ttl", "login" for "logins_allowed".
            if distance > allowed && given.len() >= 4 && name_plain.starts_with(&given) {
                distance = allowed;
            }
            (distance, name)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Refuses what no parser should see: oversized texts and raw control or direction characters.
///
/// Such a character inside a value can still be written as an escape; raw, it makes the text read differently
/// from what it says.
fn refuse_raw(text: &str) -> Result<&str, TextError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(TextError::at_start(&format!(
            "the text is {} bytes long, at most {MAX_TEXT_BYTES} are read",
            text.len()
        )));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut at = tree::Pos { line: 1, column: 1 };
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let refused = match c {
            '\n' | '\t' => false,
            '\r' => chars.peek() != Some(&'\n'),
            '\u{feff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
            c => c.is_control(),
        };
        if refused {
            let message = format!(
                "the character U+{:04X} must not stand in a text as it is",
                u32::from(c)
            );
            return Err(Fault::new(message).at(at).into());
        }
        if c == '\n' {
            at = tree::Pos {
                line: at.line + 1,
                column: 1,
            };
        } else {
            at.column += 1;
        }
    }
    Ok(text)
}
