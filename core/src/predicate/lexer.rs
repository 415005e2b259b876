//! The words of the small languages inside texts: `where` clauses and login templates.

use std::fmt::{self, Display, Formatter};

use crate::shown::Shown;

/// Why an expression was refused, and at which character.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyntaxError {
    /// The character at fault, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The valid name that was probably meant.
    pub nearest: Option<String>,
}

impl SyntaxError {
    pub(crate) fn new(column: usize, message: impl Into<String>) -> Self {
        Self {
            column,
            message: message.into(),
            nearest: None,
        }
    }

    /// A name that is not one of the valid ones.
    pub(crate) fn unknown(column: usize, what: &str, given: &str, valid: &[&str]) -> Self {
        let nearest = crate::text::nearest(given, valid.iter().copied()).map(str::to_owned);
        let mut message = format!("unknown {what} \"{:.64}\"", Shown(given));
        if nearest.is_none() {
            message.push_str(&format!(", there are {}", valid.join(", ")));
        }
        Self {
            column,
            message,
            nearest,
        }
    }
}

impl Display for SyntaxError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.column, self.message)?;
        match &self.nearest {
            Some(name) => write!(f, ": did you mean \"{name}\"?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SyntaxError {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Name(String),
    Text(String),
    /// One of `( ) [ ] . , && || !`
    Sign(&'static str),
    End,
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Name(name) => format!("\"{:.64}\"", Shown(name)),
            Self::Text(_) => "a text in quotes".to_owned(),
            Self::Sign(sign) => format!("\"{sign}\""),
            Self::End => "the end".to_owned(),
        }
    }
}

/// The words of one expression, taken from the front. Always ends in [`Token::End`].
#[derive(Debug)]
pub(crate) struct Words {
    list: Vec<(Token, usize)>,
    next: usize,
    end: usize,
}

impl Words {
    /// Cuts an expression into words. `first_column` is where it starts in the text that people see.
    pub(crate) fn of(expression: &str, first_column: usize) -> Result<Self, SyntaxError> {
        let mut list = Vec::new();
        let mut chars = expression.chars().zip(first_column..).peekable();
        while let Some((c, at)) = chars.next() {
            let token = match c {
                ' ' | '\t' | '\n' => continue,
                '(' => Token::Sign("("),
                ')' => Token::Sign(")"),
                '[' => Token::Sign("["),
                ']' => Token::Sign("]"),
                '.' => Token::Sign("."),
                ',' => Token::Sign(","),
                '!' if chars.next_if(|(c, _)| *c == '=').is_some() => {
                    return Err(SyntaxError::new(at, "there is no \"!=\": use !equals(a, b)"));
                }
                '!' => Token::Sign("!"),
                '&' if chars.next_if(|(c, _)| *c == '&').is_some() => Token::Sign("&&"),
                '|' if chars.next_if(|(c, _)| *c == '|').is_some() => Token::Sign("||"),
                '&' => return Err(SyntaxError::new(at, "\"and\" is written &&")),
                '|' => return Err(SyntaxError::new(at, "\"or\" is written ||")),
                '=' => return Err(SyntaxError::new(at, "there is no \"=\": use equals(a, b)")),
                '\'' => return Err(SyntaxError::new(at, "texts stand in double quotes")),
                '"' => {
                    let mut text = String::new();
                    loop {
                        match chars.next() {
                            Some(('"', _)) => break Token::Text(text),
                            Some(('\\', back)) => match chars.next() {
                                Some((c @ ('"' | '\\'), _)) => text.push(c),
                                _ => {
                                    let message = "only \\\" and \\\\ are escapes; between backticks (`) a text needs none";
                                    return Err(SyntaxError::new(back, message));
                                }
                            },
                            Some((c, _)) => text.push(c),
                            None => return Err(SyntaxError::new(at, "a text is not closed")),
                        }
                    }
                }
                '`' => {
                    let mut text = String::new();
                    loop {
                        match chars.next() {
                            Some(('`', _)) => break Token::Text(text),
                            Some((c, _)) => text.push(c),
                            None => return Err(SyntaxError::new(at, "a text is not closed")),
                        }
                    }
                }
                c if c.is_ascii_alphabetic() || c == '_' => {
                    let mut name = String::from(c);
                    while let Some((c, _)) = chars.next_if(|(c, _)| c.is_ascii_alphanumeric() || *c == '_') {
                        name.push(c);
                    }
                    Token::Name(name)
                }
                c => {
                    let message = format!("unexpected \"{}\"", Shown(c.encode_utf8(&mut [0; 4])));
                    return Err(SyntaxError::new(at, message));
                }
            };
            list.push((token, at));
        }
        let end = first_column + expression.chars().count();
        Ok(Self { list, next: 0, end })
    }

    pub(crate) fn peek(&self) -> &Token {
        self.list.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    /// Where the next word stands.
    pub(crate) fn column(&self) -> usize {
        self.list.get(self.next).map_or(self.end, |(_, at)| *at)
    }

    /// Takes the sign if it is next.
    pub(crate) fn take_if(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(next) if *next == sign);
        if found {
            self.next += 1;
        }
        found
    }

    pub(crate) fn expect(&mut self, sign: &str) -> Result<(), SyntaxError> {
        if self.take_if(sign) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("\"{sign}\"")))
        }
    }

    pub(crate) fn expect_text(&mut self) -> Result<String, SyntaxError> {
        let Token::Text(text) = self.peek() else {
            return Err(self.unexpected("a text in double quotes"));
        };
        let text = text.clone();
        self.next += 1;
        Ok(text)
    }

    pub(crate) fn expect_end(&self) -> Result<(), SyntaxError> {
        match self.peek() {
            Token::End => Ok(()),
            _ => Err(self.unexpected("the end")),
        }
    }

    pub(crate) fn unexpected(&self, wanted: &str) -> SyntaxError {
        SyntaxError::new(
            self.column(),
            format!("expected {wanted}, found {}", self.peek().shown()),
        )
    }

    /// A dotted name: `user.traits`. The first part must be next.
    pub(crate) fn dotted(&mut self, wanted: &str) -> Result<String, SyntaxError> {
        let mut path = String::new();
        loop {
            match self.peek() {
                Token::Name(name) => path.push_str(name),
                _ => return Err(self.unexpected(if path.is_empty() { wanted } else { "a name" })),
            }
            self.next += 1;
            if !self.take_if(".") {
                return Ok(path);
            }
            path.push('.');
        }
    }
}
