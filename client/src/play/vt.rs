//! A filter for recorded terminal output: what draws passes, what acts on the viewer's machine does not.

/// Where in a control sequence the stream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `ESC (` and the like: one more byte.
    Charset,
    Csi,
    /// OSC, DCS, APC, PM, SOS: until BEL or ST.
    Text,
    TextEscape,
}

/// Passes what a screen shows. Left out are texts for the terminal itself (clipboard, title, links, device control) and
/// questions that the viewer's terminal would answer as if the viewer had typed.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    held: Vec<u8>,
}

/// No honest sequence is longer.
const HELD_MAX: usize = 256;

impl Filter {
    /// What to write for these bytes, which may be cut anywhere.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &b in bytes {
            self.step(b, &mut out);
        }
        out
    }

    fn step(&mut self, b: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Ground => match b {
                0x1b => self.begin(),
                // Enquiry: some terminals answer it.
                0x05 => {}
                _ => out.push(b),
            },
            State::Escape => match b {
                b'[' => self.go(State::Csi, b),
                b']' | b'P' | b'_' | b'^' | b'X' => self.drop_to(State::Text),
                b'(' | b')' | b'*' | b'+' | b'#' | b'%' | b' ' => self.go(State::Charset, b),
                0x1b => self.begin(),
                // DECID asks who the terminal is.
                b'Z' => self.drop_to(State::Ground),
                _ => self.end(b, out),
            },
            State::Charset => self.end(b, out),
            State::Csi => match b {
                0x40..=0x7e => {
                    if asks(&self.held, b) {
                        self.drop_to(State::Ground);
                    } else {
                        self.end(b, out);
                    }
                }
                0x20..=0x3f if self.held.len() < HELD_MAX => self.held.push(b),
                0x1b => self.begin(),
                // A control character inside a sequence works at once on real terminals.
                0x08..=0x0d => out.push(b),
                _ => self.drop_to(State::Ground),
            },
            State::Text => match b {
                0x07 | 0x18 | 0x1a => self.state = State::Ground,
                0x1b => self.state = State::TextEscape,
                _ => {}
            },
            State::TextEscape => match b {
                b'\\' => self.state = State::Ground,
                0x1b => {}
                _ => self.state = State::Text,
            },
        }
    }

    fn begin(&mut self) {
        self.held.clear();
        self.held.push(0x1b);
        self.state = State::Escape;
    }

    fn go(&mut self, state: State, b: u8) {
        self.held.push(b);
        self.state = state;
    }

    fn drop_to(&mut self, state: State) {
        self.held.clear();
        self.state = state;
    }

    fn end(&mut self, b: u8, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        out.push(b);
        self.state = State::Ground;
    }
}

/// Whether a control sequence makes the terminal answer, or turns on reports of the viewer's mouse and keys.
fn asks(held: &[u8], last: u8) -> bool {
    let params = held.get(2..).unwrap_or_default();
    match last {
        // Device attributes and status, window reports, keyboard protocol, checksums, mode and state requests.
        b'c' | b'n' | b't' | b'u' | b'x' => !(last == b'u' && params.is_empty()),
        b'p' | b'y' => params.contains(&b'$') || params.contains(&b'*'),
        b'w' => params.contains(&b'$'),
        // Version.
        b'q' => params.starts_with(b">"),
        // Mouse, focus and paste reports.
        b'h' | b'l' => params.strip_prefix(b"?").is_some_and(|modes| {
            modes
                .split(|b| *b == b';')
                .any(|mode| matches!(mode, b"9" | b"1004" | b"2004") || mode.starts_with(b"100"))
        }),
        _ => false,
    }
}

/// The plain text of terminal output: printed characters and line breaks.
#[derive(Debug, Default)]
pub struct Plain {
    state: State,
}

impl Plain {
    /// Calls `shown` with each printed byte, and `\n` for a line break.
    pub fn feed(&mut self, bytes: &[u8], mut shown: impl FnMut(u8)) {
        for &b in bytes {
            self.state = match (self.state, b) {
                (State::Ground, 0x1b) => State::Escape,
                (State::Ground, b'\n' | b'\r') => {
                    shown(b'\n');
                    State::Ground
                }
                (State::Ground, b'\t') => {
                    shown(b' ');
                    State::Ground
                }
                (State::Ground, 0x00..=0x1f | 0x7f) => State::Ground,
                (State::Ground, _) => {
                    shown(b);
                    State::Ground
                }
                (State::Escape, b'[') => State::Csi,
                (State::Escape, b']' | b'P' | b'_' | b'^' | b'X') => State::Text,
                (State::Escape, b'(' | b')' | b'*' | b'+' | b'#' | b'%' | b' ') => State::Charset,
                (State::Escape, 0x1b) => State::Escape,
                (State::Escape | State::Charset, _) => State::Ground,
                (State::Csi, 0x20..=0x3f) => State::Csi,
                (State::Csi, 0x1b) => State::Escape,
                (State::Csi, last) => {
                    // Another place on the screen is another line.
                    if matches!(last, b'H' | b'f' | b'A' | b'B' | b'J' | b'E' | b'F' | b'd') {
                        shown(b'\n');
                    }
                    State::Ground
                }
                (State::Text, 0x07 | 0x18 | 0x1a) => State::Ground,
                (State::Text, 0x1b) => State::TextEscape,
                (State::Text, _) => State::Text,
                (State::TextEscape, b'\\') => State::Ground,
                (State::TextEscape, 0x1b) => State::TextEscape,
                (State::TextEscape, _) => State::Text,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passed(text: &str) -> String {
        String::from_utf8_lossy(&Filter::default().pass(text.as_bytes())).into_owned()
    }

    #[test]
    fn drawing_passes() {
        for text in [
            "a\r\n\tb",
            "\x1b[31mred\x1b[0m",
            "\x1b[2J\x1b[1;1H",
            "\x1b(Bx",
            "\x1b7\x1b8",
            "\x1b[?1049h",
            "é名",
            "\x1b[?25l",
            "\x1b[u",
        ] {
            assert_eq!(passed(text), text);
        }
    }

    #[test]
    fn what_acts_on_the_viewer_does_not_pass() {
        for text in [
            "\x1b]52;c;ZXZpbA==\x07",
            "\x1b]0;title\x1b\\",
            "\x1bP$qm\x1b\\",
            "\x1b_apc\x1b\\",
            "\x1b[6n",
            "\x1b[c",
            "\x1b[>c",
            "\x1b[21t",
            "\x1bZ",
            "\x05",
            "\x1b[?1000h",
            "\x1b[?1006;1003h",
            "\x1b[?2004h",
            "\x1b[?2004l",
            "\x1b[>q",
            "\x1b[?u",
        ] {
            assert_eq!(passed(&format!("<{text}>")), "<>", "{text:?}");
        }
    }

    #[test]
    fn plain_text_is_what_was_printed() {
        let mut plain = Vec::new();
        let text = "\x1b]0;t\x07\x1b[1mls\x1b[0m -la\r\nfile\x1b[5;1Hother";
        Plain::default().feed(text.as_bytes(), |b| plain.push(b));
        assert_eq!(String::from_utf8_lossy(&plain), "ls -la\n\nfile\nother");
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(bytes in proptest::collection::vec(prop_oneof![Just(0x1bu8), Just(b'['), Just(b']'), any::<u8>()], 0..200), cut in 0usize..200) {
            let cut = cut.min(bytes.len());
            let whole = Filter::default().pass(&bytes);
            let mut filter = Filter::default();
            let mut parts = filter.pass(&bytes[..cut]);
            parts.extend(filter.pass(&bytes[cut..]));
            prop_assert_eq!(whole, parts);
        }
    }
}
