//! YAML events into marked trees, refusing what the dialect leaves out.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::fault::{Fault, TextError};
use super::tree::{Entries, Key, Kind, Node, Pos, deeper, resolve_plain};

/// Every document of the text that is not empty.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, TextError> {
    let text = super::refuse_raw(text)?;
    Ok(documents(text)?)
}

fn documents(text: &str) -> Result<Vec<Node>, Fault> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
    };
    let mut found = Vec::new();
    loop {
        let (event, _) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(found),
            Event::DocumentStart(_) => {
                let (event, span) = reader.next()?;
                let node = reader.node(event, span, 0)?;
                if !matches!(node.kind, Kind::Null) {
                    found.push(node);
                }
            }
            _ => {}
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(scan_fault(&error)),
            None => Err(Fault::new("the text ends too early")),
        }
    }

    /// Builds the node that `event` starts. Bounded recursion: `deeper` refuses more than a few levels.
    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Fault> {
        let at = pos(span);
        let kind = match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_extras(anchor, tag.is_some(), at)?;
                match style {
                    ScalarStyle::Plain => resolve_plain(&text),
                    _ => Kind::Str {
                        text: text.into_owned(),
                        plain: false,
                    },
                }
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_extras(anchor, tag.is_some(), at)?;
                let depth = deeper(depth, at)?;
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break Kind::Seq(items);
                    }
                    items.push(self.node(event, span, depth)?);
                }
            }
            Event::MappingStart(anchor, tag) => {
                refuse_extras(anchor, tag.is_some(), at)?;
                let depth = deeper(depth, at)?;
                self.mapping(depth)?
            }
            Event::Alias(_) => return Err(alias_fault(at)),
            _ => return Err(Fault::new("a value is expected here").at(at)),
        };
        Ok(Node::new(at, kind))
    }

    fn mapping(&mut self, depth: usize) -> Result<Kind, Fault> {
        let mut entries = Entries::default();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries.done());
            }
            let key = key(event, span)?;
            entries.claim(&key)?;
            let (event, span) = self.next()?;
            let absent = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty());
            let mut value = self
                .node(event, span, depth)
                .map_err(|fault| fault.under_key(&key.text))?;
            if absent {
                // The parser places a value that is not there wherever it noticed; the key is where to look.
                value.at = key.at;
            }
            entries.push(key, value);
        }
    }
}

fn key(event: Event<'_>, span: Span) -> Result<Key, Fault> {
    let at = pos(span);
    match event {
        Event::Scalar(text, style, anchor, tag) => {
            refuse_extras(anchor, tag.is_some(), at)?;
            if style == ScalarStyle::Plain && text.is_empty() {
                return Err(Fault::new("a key is missing before the colon").at(at));
            }
            if style == ScalarStyle::Plain && text == "<<" {
                return Err(Fault::new("merge keys (<<) are not accepted: write the fields out").at(at));
            }
            Ok(Key {
                at,
                text: text.into_owned(),
            })
        }
        Event::MappingStart(..) => Err(Fault::new(
            "a mapping cannot be a key: a template must be quoted, like '{{internal.logins}}'",
        )
        .at(at)),
        Event::SequenceStart(..) => Err(Fault::new("a list cannot be a key").at(at)),
        Event::Alias(_) => Err(alias_fault(at)),
        _ => Err(Fault::new("a key is expected here").at(at)),
    }
}

fn refuse_extras(anchor: usize, tagged: bool, at: Pos) -> Result<(), Fault> {
    if tagged {
        return Err(Fault::new("tags (!name) are not accepted: quote a text that starts with '!'").at(at));
    }
    if anchor != 0 {
        return Err(Fault::new("anchors (&name) are not accepted: quote a text that starts with '&'").at(at));
    }
    Ok(())
}

fn alias_fault(at: Pos) -> Fault {
    Fault::new("aliases (*name) are not accepted: quote a text that starts with '*', like '*'").at(at)
}

fn pos(span: Span) -> Pos {
    Pos {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
    }
}

/// The parser's own complaint; its commonest ones said so that a person knows what to do.
fn scan_fault(error: &ScanError) -> Fault {
    let at = Pos {
        line: error.marker().line().max(1),
        column: error.marker().col() + 1,
    };
    let info = error.info();
    if info.contains("unknown anchor") || info.contains("alphabetic or numeric character") {
        return alias_fault(at);
    }
    if info.contains("recursion") {
        return Fault::new(format!(
            "lists and mappings nest deeper than {}",
            super::MAX_DEPTH
        ))
        .at(at);
    }
    Fault::new(format!("not valid YAML: {info}")).at(at)
}
