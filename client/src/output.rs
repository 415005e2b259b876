//! Lists and records as text, JSON or YAML. Whatever a hostile name holds, a terminal shows it and does not obey it.

use crate::errors::{Failure, print};
use palisade_core::shown::{Shown, is_hidden};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// How a list is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Text,
    /// JSON for programs.
    Json,
    /// YAML for files.
    Yaml,
}

/// A table for people.
#[derive(Debug)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(head: &[&'static str]) -> Self {
        Table {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells are neutralised here.
    pub fn row<S: AsRef<str>>(&mut self, cells: &[S]) {
        self.rows.push(
            cells
                .iter()
                .map(|cell| Shown(cell.as_ref()).to_string())
                .collect(),
        );
    }

    /// The text, with a line break at the end.
    pub fn render(&self) -> String {
        let width = |i: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(i));
            cells
                .map(|cell| cell.chars().count())
                .chain([self.head[i].len()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let mut out = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(out, "{cell:<width$}  ");
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
            out
        };
        let mut out = line(self.head.clone());
        out += &line(widths.iter().map(|w| &DASHES[..(*w).min(DASHES.len())]).collect());
        for row in &self.rows {
            out += &line(row.iter().map(String::as_str).collect());
        }
        out
    }
}

const DASHES: &str = "--------------------------------------------------------------------------------";

/// Prints a list: the table, or the data itself.
pub fn list<T: Serialize>(format: Format, data: &T, table: impl FnOnce() -> Table) -> Result<(), Failure> {
    match format {
        Format::Text => print(&table().render()),
        Format::Json | Format::Yaml => print(&data_text(format, &to_value(data)?)),
    }
}

/// A value as JSON or YAML (text is YAML, for what has no table).
pub fn data_text(format: Format, value: &Value) -> String {
    match format {
        Format::Json => json(value),
        Format::Text | Format::Yaml => yaml(value),
    }
}

/// A serialisable value as data.
pub fn to_value<T: Serialize>(data: &T) -> Result<Value, Failure> {
    serde_json::to_value(data)
        .map_err(|e| Failure::new(format!("cannot show the answer: {e}"), "report this as a fault"))
}

/// Indented JSON with a line break at the end. Invisible characters are written as `\u` escapes.
pub fn json(value: &Value) -> String {
    let mut out = String::new();
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    for c in text.chars() {
        if c != '\n' && is_hidden(c) {
            // Only inside strings: JSON itself is ASCII.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

/// Block-style YAML with a line break at the end.
pub fn yaml(value: &Value) -> String {
    palisade_core::text::to_yaml(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hostile_cells_are_shown_not_obeyed() {
        let mut table = Table::new(&["Name", "Addr"]);
        table.row(&["web\x1b[2J\u{202e}", "a\nb"]);
        let text = table.render();
        assert!(!text.chars().any(|c| c != '\n' && is_hidden(c)), "{text:?}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn hostile_values_are_escaped_in_data_and_keep_their_value() {
        let value = json!({"n": "a\u{9b}2J\u{202e}\u{e0041}\u{7f}\x1b"});
        for text in [json(&value), yaml(&value)] {
            assert!(!text.chars().any(|c| c != '\n' && is_hidden(c)), "{text:?}");
        }
        assert_eq!(serde_json::from_str::<Value>(&json(&value)).ok(), Some(value));
    }
}
