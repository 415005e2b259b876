//! Takes the output of a terminal apart: characters, controls and escape sequences. No screen is kept.

use super::utf8::Utf8Stream;

/// Longest control sequence that is kept; real ones are far shorter.
const SEQUENCE_MAX: usize = 256;

/// A piece of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A character to be shown.
    Char(char),
    /// A control character, DEL included.
    Control(char),
    /// `ESC [ parameters final`: cursor, colour, erase, modes, queries. `body` is all between `[` and the final.
    Csi { body: &'a str, last: char },
    /// `ESC body final`: character sets, save and restore, keypad.
    Escape { body: &'a str, last: char },
    /// A string for the terminal itself (title, clipboard, link, query), or a sequence that was cut or overlong.
    Hidden,
}

/// Where the parser is, as far as strings for the terminal go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// After an ESC: a string may begin.
    Escape,
    /// In a string.
    Text,
    /// In a string, after an ESC: it may end, or be cut short.
    TextEscape,
    /// In none.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    Csi,
    /// A CSI that is too long or malformed, until its end.
    CsiIgnored,
    /// OSC, DCS, SOS, PM or APC.
    Text,
    /// In one of those, after an ESC.
    TextEscape,
}

/// The parser: feed it bytes, in any portions.
#[derive(Debug)]
pub(super) struct Vt {
    utf8: Utf8Stream,
    state: State,
    sequence: String,
}

impl Default for Vt {
    fn default() -> Self {
        Self {
            utf8: Utf8Stream::default(),
            state: State::Ground,
            sequence: String::new(),
        }
    }
}

impl Vt {
    /// Takes `bytes` apart and hands the pieces to `sink`.
    pub(super) fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Piece<'_>)) {
        for c in self.utf8.push(bytes).chars() {
            self.step(c, &mut sink);
        }
    }

    /// Where it is.
    pub(super) fn inside(&self) -> Inside {
        match self.state {
            State::Escape => Inside::Escape,
            State::Text => Inside::Text,
            State::TextEscape => Inside::TextEscape,
            State::Ground | State::Csi | State::CsiIgnored => Inside::Other,
        }
    }

    /// Takes one character, for whoever decodes them.
    pub(super) fn step(&mut self, c: char, sink: &mut impl FnMut(Piece<'_>)) {
        // These end whatever was under way.
        match c {
            '\x18' | '\x1a' => {
                self.begin(State::Ground);
                return sink(Piece::Hidden);
            }
            '\x1b' if self.state == State::Text => return self.state = State::TextEscape,
            '\x1b' => return self.begin(State::Escape),
            _ => {}
        }
        match self.state {
            State::Ground => self.ground(c, sink),
            State::Escape => match c {
                '[' => self.begin(State::Csi),
                ']' | 'P' | 'X' | '^' | '_' => self.begin(State::Text),
                '\0'..='\x1f' => sink(Piece::Control(c)),
                ' '..='/' => self.keep(c, State::CsiIgnored),
                '0'..='~' => {
                    sink(Piece::Escape {
                        body: &self.sequence,
                        last: c,
                    });
                    self.begin(State::Ground);
                }
                _ => self.give_up(sink),
            },
            State::Csi => match c {
                // Terminals obey controls inside a sequence, so they may not be hidden in one.
                '\0'..='\x1f' => sink(Piece::Control(c)),
                ' '..='?' => self.keep(c, State::CsiIgnored),
                '@'..='~' => {
                    sink(Piece::Csi {
                        body: &self.sequence,
                        last: c,
                    });
                    self.begin(State::Ground);
                }
                _ => self.give_up(sink),
            },
            State::CsiIgnored => match c {
                '\0'..='\x1f' => sink(Piece::Control(c)),
                ' '..='?' => {}
                _ => self.give_up(sink),
            },
            State::Text => {
                // BEL, or the C1 form of the terminator.
                if c == '\x07' || c == '\u{9c}' {
                    self.give_up(sink);
                }
            }
            State::TextEscape => {
                if c == '\\' {
                    self.give_up(sink);
                } else {
                    // The string was cut short by another sequence.
                    sink(Piece::Hidden);
                    self.begin(State::Escape);
                    self.step(c, sink);
                }
            }
        }
    }

    fn ground(&mut self, c: char, sink: &mut impl FnMut(Piece<'_>)) {
        match c {
            // The C1 forms, which some terminals obey in UTF-8 as well.
            '\u{9b}' => self.begin(State::Csi),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => self.begin(State::Text),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => sink(Piece::Control(c)),
            _ => sink(Piece::Char(c)),
        }
    }

    fn begin(&mut self, state: State) {
        self.sequence.clear();
        self.state = state;
    }

    fn keep(&mut self, c: char, full: State) {
        if self.sequence.len() < SEQUENCE_MAX {
            self.sequence.push(c);
        } else {
            self.begin(full);
        }
    }

    fn give_up(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        self.begin(State::Ground);
        sink(Piece::Hidden);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        Vt::default().feed(bytes, |piece| out.push(format!("{piece:?}")));
        out
    }

    #[test]
    fn sequences_are_told_from_text() {
        assert_eq!(
            pieces(b"a\x1b[1;31mb\x1b]0;title\x07c\x1b(B\n\x1bP+q\x1b\\"),
            [
                "Char('a')",
                "Csi { body: \"1;31\", last: 'm' }",
                "Char('b')",
                "Hidden",
                "Char('c')",
                "Escape { body: \"(\", last: 'B' }",
                "Control('\\n')",
                "Hidden",
            ]
        );
    }

    #[test]
    fn the_c1_forms_are_sequences_too() {
        assert_eq!(
            pieces("\u{9b}6n".as_bytes()),
            ["Csi { body: \"\", last: 'n' }".replace("\"\"", "\"6\"")]
        );
        assert_eq!(pieces("\u{9d}52;c;x\u{9c}y".as_bytes()), ["Hidden", "Char('y')"]);
    }

    #[test]
    fn cut_and_overlong_sequences_end() {
        assert_eq!(
            pieces(b"\x1b]0;x\x1b[mz"),
            ["Hidden", "Csi { body: \"\", last: 'm' }", "Char('z')"]
        );
        assert_eq!(pieces(b"\x1b[12\x18z"), ["Hidden", "Char('z')"]);
        let long = [b"\x1b[", &[b'1'; 10_000][..], b"mz"].concat();
        assert_eq!(pieces(&long), ["Hidden", "Char('z')"]);
    }

    #[test]
    fn a_split_at_any_byte_changes_nothing() {
        let bytes = "ä\x1b[38;5;1mö\x1b]8;;http://x\x1b\\€\x1b[?25l".as_bytes();
        let whole = pieces(bytes);
        for at in 0..bytes.len() {
            let (mut vt, mut out) = (Vt::default(), Vec::new());
            vt.feed(&bytes[..at], |piece| out.push(format!("{piece:?}")));
            vt.feed(&bytes[at..], |piece| out.push(format!("{piece:?}")));
            assert_eq!(out, whole, "{at}");
        }
    }
}
