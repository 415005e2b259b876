//! Values as YAML that reads back the same, in this reader and in others.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::tree::{Kind, resolve_plain};
use crate::shown::is_hidden;

/// Writes a value as one YAML document: block style, two spaces, fields in the order of the type.
///
/// Every text reads back as the same text; whatever another reader could take for something else is quoted.
/// Fails only where the type itself does not serialise (a mapping whose keys are not texts or numbers).
pub fn to_yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let value = serde_json::to_value(value)?;
    let mut out = String::new();
    match &value {
        Value::Object(fields) if !fields.is_empty() => write_fields(&mut out, fields, 0),
        Value::Array(items) if !items.is_empty() => write_items(&mut out, items, 0),
        other => {
            write_scalar(&mut out, other, 0);
            out.push('\n');
        }
    }
    Ok(out)
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn write_fields(out: &mut String, fields: &serde_json::Map<String, Value>, depth: usize) {
    for (i, (key, value)) in fields.iter().enumerate() {
        // The first field of a mapping in a list stands right after its dash.
        if i > 0 || !out.ends_with("- ") {
            indent(out, depth);
        }
        write_key(out, key, depth);
        write_after_key(out, value, depth);
    }
}

/// A key must fit on a line of 1024 characters unless it is announced by a question mark.
fn write_key(out: &mut String, key: &str, depth: usize) {
    let mut text = String::new();
    if is_plain(key) {
        text.push_str(key);
    } else {
        write_quoted(&mut text, key);
    }
    if text.len() > 512 {
        out.push_str("? ");
        out.push_str(&text);
        out.push('\n');
        indent(out, depth);
        out.push(':');
    } else {
        out.push_str(&text);
        out.push(':');
    }
}

fn write_after_key(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            write_fields(out, fields, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            write_items(out, items, depth + 1);
        }
        other => {
            out.push(' ');
            write_scalar(out, other, depth + 1);
            out.push('\n');
        }
    }
}

fn write_items(out: &mut String, items: &[Value], depth: usize) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 || !out.ends_with("- ") {
            indent(out, depth);
        }
        out.push_str("- ");
        match item {
            Value::Object(fields) if !fields.is_empty() => write_fields(out, fields, depth + 1),
            Value::Array(items) if !items.is_empty() => write_items(out, items, depth + 1),
            other => {
                write_scalar(out, other, depth + 1);
                out.push('\n');
            }
        }
    }
}

/// Writes a value that fits on the line, or a block text whose lines stand at `depth`; no line end after it.
fn write_scalar(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(s) if is_plain(s) => out.push_str(s),
        Value::String(s) if depth > 0 && is_block(s) => write_block(out, s, depth),
        Value::String(s) => write_quoted(out, s),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// Whether a text needs no quotes: words of the commonest characters that no reader, of YAML 1.1 either,
/// takes for anything but a text.
fn is_plain(s: &str) -> bool {
    let first_fits = s.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/'));
    if !first_fits || s.len() > 256 || s.ends_with([' ', ':']) || s.contains(": ") || s.contains("  ") {
        return false;
    }
    if !s
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || " _./@+-:=".contains(c))
    {
        return false;
    }
    if s.starts_with(|c: char| c.is_ascii_digit()) {
        // Numbers, dates and times of day in some reader or other; lengths of time (8h0m) in none.
        let unit = s.ends_with(['s', 'm', 'h', 'd']);
        return unit && s.bytes().all(|b| b.is_ascii_digit() || b"smhd".contains(&b)) && !s.starts_with("0");
    }
    let lower = s.to_ascii_lowercase();
    let word = matches!(
        lower.as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    !word && matches!(resolve_plain(s), Kind::Str { .. })
}

/// Whether a text of several lines can stand as a literal block.
fn is_block(s: &str) -> bool {
    let lines_fit = s
        .split('\n')
        .all(|line| !line.ends_with([' ', '\t']) && !line.starts_with("..."));
    s.contains('\n')
        && !s.starts_with([' ', '\t', '\n'])
        && !s.ends_with("\n\n")
        && lines_fit
        && s.chars().all(|c| c == '\n' || is_printed(c))
}

fn write_block(out: &mut String, s: &str, depth: usize) {
    let (body, chomp) = match s.strip_suffix('\n') {
        Some(body) => (body, "|"),
        None => (s, "|-"),
    };
    out.push_str(chomp);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
    }
}

fn write_quoted(out: &mut String, s: &str) {
    if !s.is_empty() && s.chars().all(is_printed) {
        out.push('\'');
        out.push_str(&s.replace('\'', "''"));
        out.push('\'');
        return;
    }
    out.push('"');
    for c in s.chars() {
        // Writing into a String cannot fail.
        let _ = match c {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\t' => out.write_str("\\t"),
            '\r' => out.write_str("\\r"),
            c if is_printed(c) => out.write_char(c),
            c if u32::from(c) <= 0xff => write!(out, "\\x{:02x}", u32::from(c)),
            c if u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    out.push('"');
}

/// Whether a character can stand as itself: not hidden, and inside YAML's own set.
fn is_printed(c: char) -> bool {
    !is_hidden(c) && u32::from(c) & 0xfffe != 0xfffe
}
