//! A file against the table of keys: what stands where, and everything that is wrong with it.

use super::keys::{self, Form, KEYS, Key};
use super::{Effective, Source};
use palisade_core::text::{Document, Entry, TextError, nearest};
use std::collections::BTreeMap;
use std::fmt;

/// Something that is wrong, and where it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Line and column, from 1, if it stands anywhere.
    place: Option<(usize, usize)>,
    what: String,
}

impl Fault {
    /// A fault of no place in particular.
    pub(super) fn nowhere(what: String) -> Self {
        Fault { place: None, what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.what)
    }
}

struct Written {
    text: String,
    place: (usize, usize),
}

/// What a file says, key by key.
#[derive(Default)]
pub(super) struct Values {
    written: BTreeMap<&'static str, Written>,
    /// Values that were found out instead.
    found: BTreeMap<&'static str, String>,
    faults: Vec<Fault>,
}

impl Values {
    /// Reads a text; what cannot be read is a fault, and counts as not written.
    pub(super) fn read(text: &str) -> Self {
        let mut values = Values::default();
        let empty = text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if empty {
            return values;
        }
        match Document::from_yaml(text) {
            Ok(document) => values.mapping("", &document),
            Err(error) => values.refuse("", &error),
        }
        values
    }

    fn mapping(&mut self, above: &str, document: &Document) {
        match document.entries() {
            Ok(entries) => {
                for entry in &entries {
                    self.entry(above, entry);
                }
            }
            Err(error) => self.refuse(above, &error),
        }
    }

    fn entry(&mut self, above: &str, entry: &Entry) {
        let name = if above.is_empty() {
            entry.name.clone()
        } else {
            format!("{above}.{}", entry.name)
        };
        let value = &entry.value;
        if let Some(key) = keys::find(&name) {
            if !value.is_null() {
                self.value(key, value);
            }
        } else if KEYS.iter().any(|key| key.name.starts_with(&format!("{name}."))) {
            if !value.is_null() {
                self.mapping(&name, value);
            }
        } else {
            let near = nearest(&name, KEYS.iter().map(|key| key.name));
            let hint = match near {
                Some(near) => format!(": did you mean \"{near}\"?"),
                None => ": `palisade config show` lists all keys".into(),
            };
            self.faults.push(Fault {
                place: Some((entry.line, entry.column)),
                what: format!("unknown key \"{}\"{hint}", palisade_core::shown::Shown(&name)),
            });
        }
    }

    fn value(&mut self, key: &'static Key, value: &Document) {
        let text = match key.form {
            Form::Text | Form::Word(_) => value.decode::<String>(),
            Form::Number(..) => value.decode::<u64>().map(|n| n.to_string()),
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => return self.refuse(key.name, &error),
        };
        let place = value.place();
        let wrong = match key.form {
            Form::Word(words) if !words.contains(&text.as_str()) => {
                Some(format!("{}: {text:?} is none of {}", key.name, words.join(", ")))
            }
            Form::Number(least, most) => {
                let fits = text.parse().is_ok_and(|n: u64| (least..=most).contains(&n));
                (!fits).then(|| format!("{}: {text} is not between {least} and {most}", key.name))
            }
            Form::Text | Form::Word(_) => None,
        };
        match wrong {
            Some(what) => self.faults.push(Fault {
                place: Some(place),
                what,
            }),
            None => {
                self.written.insert(key.name, Written { text, place });
            }
        }
    }

    fn refuse(&mut self, name: &str, error: &TextError) {
        let mut what = error.message.clone();
        if !name.is_empty() {
            what = format!("{name}: {what}");
        }
        self.faults.push(Fault {
            place: Some((error.line, error.column)),
            what,
        });
    }

    /// Notes what is wrong, at the first of these keys that was written.
    pub(super) fn fault(&mut self, keys: &[&str], what: String) {
        let place = keys.iter().find_map(|key| self.written.get(key)).map(|w| w.place);
        self.faults.push(Fault { place, what });
    }

    /// A key's value: as written, or its default.
    pub(super) fn text(&self, key: &str) -> String {
        match self.written.get(key) {
            Some(written) => written.text.clone(),
            None => keys::default(key).to_owned(),
        }
    }

    /// A key's value: as written, or what was found out.
    pub(super) fn text_or(&mut self, key: &'static str, found: String) -> String {
        match self.written.get(key) {
            Some(written) => written.text.clone(),
            None => {
                self.found.insert(key, found.clone());
                found
            }
        }
    }

    /// The same for a number.
    pub(super) fn number(&self, key: &str) -> u64 {
        // Its form was checked when it was read; those of the table are, by a test.
        self.text(key).parse().unwrap_or_default()
    }

    pub(super) fn effective(&self) -> Vec<Effective> {
        let effective = |key: &'static Key| {
            let (value, source) = match (self.written.get(key.name), self.found.get(key.name)) {
                (Some(written), _) => (written.text.clone(), Source::Line(written.place.0)),
                (None, Some(found)) => (found.clone(), Source::Found),
                (None, None) => (keys::default(key.name).to_owned(), Source::Default),
            };
            Effective {
                key: key.name,
                value,
                source,
            }
        };
        KEYS.iter().map(effective).collect()
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }
}
