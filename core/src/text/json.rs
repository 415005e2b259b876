//! JSON (RFC 8259) into a marked tree. No extensions: no comments, no trailing commas, no repeated names.

use super::fault::{Fault, TextError};
use super::tree::{Entries, Key, Kind, Node, Pos, deeper};

pub(super) fn parse(text: &str) -> Result<Node, TextError> {
    let text = super::refuse_raw(text)?;
    let mut reader = Reader {
        rest: text,
        at: Pos { line: 1, column: 1 },
    };
    reader.skip_space();
    if reader.rest.is_empty() {
        return Err(TextError::at_start("the text is empty"));
    }
    let root = reader.value(0)?;
    reader.skip_space();
    if !reader.rest.is_empty() {
        return Err(reader
            .fault("one value is expected, and more follows here")
            .into());
    }
    Ok(root)
}

struct Reader<'t> {
    rest: &'t str,
    at: Pos,
}

impl<'t> Reader<'t> {
    fn fault(&self, message: &str) -> Fault {
        Fault::new(format!("not valid JSON: {message}")).at(self.at)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        if c == '\n' {
            self.at = Pos {
                line: self.at.line + 1,
                column: 1,
            };
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.bump();
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), Fault> {
        if self.peek() != Some(wanted) {
            return Err(self.fault(&format!("expected '{wanted}'")));
        }
        self.bump();
        Ok(())
    }

    /// Bounded recursion: `deeper` refuses more than a few levels.
    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        let at = self.at;
        let kind = match self.peek() {
            Some('{') => self.object(deeper(depth, at)?)?,
            Some('[') => self.array(deeper(depth, at)?)?,
            Some('"') => Kind::Str {
                text: self.string()?,
                plain: false,
            },
            Some('-' | '0'..='9') => self.number()?,
            Some('a'..='z') => self.word()?,
            Some(_) => return Err(self.fault("expected a value")),
            None => return Err(self.fault("the text ends where a value is expected")),
        };
        Ok(Node::new(at, kind))
    }

    fn object(&mut self, depth: usize) -> Result<Kind, Fault> {
        self.expect('{')?;
        let mut entries = Entries::default();
        self.skip_space();
        if self.peek() == Some('}') {
            self.bump();
            return Ok(entries.done());
        }
        loop {
            self.skip_space();
            let at = self.at;
            if self.peek() != Some('"') {
                return Err(self.fault("expected a field name in double quotes"));
            }
            let key = Key {
                at,
                text: self.string()?,
            };
            entries.claim(&key)?;
            self.skip_space();
            self.expect(':')?;
            self.skip_space();
            let value = self.value(depth).map_err(|fault| fault.under_key(&key.text))?;
            entries.push(key, value);
            self.skip_space();
            match self.peek() {
                Some(',') => self.bump(),
                Some('}') => {
                    self.bump();
                    return Ok(entries.done());
                }
                _ => return Err(self.fault("expected ',' or '}'")),
            };
        }
    }

    fn array(&mut self, depth: usize) -> Result<Kind, Fault> {
        self.expect('[')?;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(']') {
            self.bump();
            return Ok(Kind::Seq(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth)?);
            self.skip_space();
            match self.peek() {
                Some(',') => self.bump(),
                Some(']') => {
                    self.bump();
                    return Ok(Kind::Seq(items));
                }
                _ => return Err(self.fault("expected ',' or ']'")),
            };
        }
    }

    fn word(&mut self) -> Result<Kind, Fault> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let kind = match &self.rest[..end] {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "null" => Kind::Null,
            _ => return Err(self.fault("expected a value")),
        };
        self.advance_ascii(end);
        Ok(kind)
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        if !is_json_number(text) {
            return Err(self.fault("this is no number"));
        }
        let kind = Kind::Number(text.to_owned());
        self.advance_ascii(end);
        Ok(kind)
    }

    /// Steps over `bytes` characters known to be ASCII without a line break.
    fn advance_ascii(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
        self.at.column += bytes;
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.expect('"')?;
        let mut out = String::new();
        loop {
            let at = self.at;
            match self.bump() {
                None => return Err(self.fault("a text is not closed")),
                Some('"') => return Ok(out),
                Some('\\') => out.push(self.escape(at)?),
                Some(c) if c.is_control() => {
                    return Err(Fault::new("not valid JSON: line breaks and tabs must be escaped").at(at));
                }
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self, at: Pos) -> Result<char, Fault> {
        let bad = || Fault::new("not valid JSON: unknown escape").at(at);
        Ok(match self.bump().ok_or_else(bad)? {
            '"' => '"',
            '\\' => '\\',
            '/' => '/',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.hex4().ok_or_else(bad)?;
                let code = if (0xd800..0xdc00).contains(&high) {
                    if self.bump() != Some('\\') || self.bump() != Some('u') {
                        return Err(bad());
                    }
                    let low = self.hex4().ok_or_else(bad)?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(bad());
                    }
                    0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    high
                };
                char::from_u32(code).ok_or_else(bad)?
            }
            _ => return Err(bad()),
        })
    }

    fn hex4(&mut self) -> Option<u32> {
        let mut code = 0;
        for _ in 0..4 {
            code = code * 16 + self.bump()?.to_digit(16)?;
        }
        Some(code)
    }
}

fn is_json_number(text: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}
