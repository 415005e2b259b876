//! Output made safe for the terminal of whoever plays it.
//!
//! The host decided what was sent, and whoever plays a recording is often more powerful than whoever was recorded.
//! So only what draws is let through: nothing that makes a terminal answer, that writes to the clipboard, sets
//! titles, opens links, moves the window, or leaves the terminal in another mode for good.

use super::vt::{Piece, Vt};

/// Filters output. Keeps state from one call to the next, so sequences may be split anywhere.
#[derive(Debug, Default)]
pub struct SafeOutput {
    vt: Vt,
}

impl SafeOutput {
    /// What of `bytes` may be shown.
    pub fn filter(&mut self, bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len());
        self.vt.feed(bytes, |piece| match piece {
            Piece::Char(c) => {
                // Reordering characters make a line read as what it is not.
                if !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                    out.push(c);
                }
            }
            Piece::Control('\n' | '\r' | '\t' | '\x08') => {
                if let Piece::Control(c) = piece {
                    out.push(c);
                }
            }
            Piece::Csi { body, last } if draws(body, last) => {
                out.push_str("\x1b[");
                out.push_str(body);
                out.push(last);
            }
            // Character sets (line drawing), save and restore the cursor, index, next line, reverse index.
            Piece::Escape { body, last }
                if matches!(
                    (body, last),
                    ("(" | ")", '0' | 'A' | 'B') | ("", '7' | '8' | 'D' | 'E' | 'M')
                ) =>
            {
                out.push('\x1b');
                out.push_str(body);
                out.push(last);
            }
            Piece::Control(_) | Piece::Csi { .. } | Piece::Escape { .. } | Piece::Hidden => {}
        });
        out
    }

    /// What brings a terminal back to normal after a recording, however that ended.
    pub fn reset() -> &'static str {
        "\x1b[0m\x1b[?25h\x1b[?7h\x1b[?1049l\x1b[r\x1b(B"
    }
}

fn draws(body: &str, last: char) -> bool {
    let plain = body.bytes().all(|b| b.is_ascii_digit() || b == b';' || b == b':');
    match last {
        // Colour; cursor movement; erase, insert, delete, scroll; scroll region; repeat; tabs.
        'm'
        | 'A'..='H'
        | 'I'
        | 'Z'
        | 'J'
        | 'K'
        | 'L'
        | 'M'
        | 'P'
        | 'S'
        | 'X'
        | '@'
        | '`'
        | 'a'
        | 'd'
        | 'e'
        | 'f'
        | 'r'
        | 'g' => plain,
        // With more than one number this one draws nothing: it begins mouse tracking.
        'T' => plain && !body.contains(';'),
        // Save and restore the cursor; with parameters `s` sets margins.
        's' | 'u' => body.is_empty(),
        // Insert mode.
        'h' | 'l' if body == "4" => true,
        // Wrapping, origin, cursor blinking and visibility, the other screen.
        'h' | 'l' => body.strip_prefix('?').is_some_and(|modes| {
            modes
                .split(';')
                .all(|mode| matches!(mode, "6" | "7" | "12" | "25" | "47" | "1047" | "1048" | "1049"))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        SafeOutput::default().filter(bytes)
    }

    #[test]
    fn what_draws_is_kept() {
        for good in [
            "plain ä€\r\n\t\x08",
            "\x1b[1;38:5:1mred\x1b[0m",
            "\x1b[2J\x1b[H\x1b[10;20f",
            "\x1b[?1049h\x1b[?25l",
            "\x1b(0lqk\x1b(B",
            "\x1b7\x1b8\x1bM",
            "\x1b[5;20r\x1b[2S\x1b[2T",
            "\x1b[4h\x1b[4l\x1b[s\x1b[u",
        ] {
            assert_eq!(shown(good.as_bytes()), good, "{good:?}");
        }
    }

    /// reliability N149: clipboard, titles, queries and links, in both forms of their introducers.
    #[test]
    fn what_reaches_beyond_the_screen_is_dropped() {
        for bad in [
            "\x1b]52;c;ZXZpbA==\x07",
            "\x1b]52;c;?\x1b\\",
            "\x1b]0;title\x07",
            "\x1b]8;;javascript:alert(1)\x1b\\",
            "\x1b[21t",
            "\x1b[8;5;5t",
            "\x1b[6n",
            "\x1b[?6n",
            "\x1b[5n",
            "\x1b[c",
            "\x1b[>c",
            "\x1b[=c",
            "\x1bZ",
            "\x1b[x",
            "\x1b[?25$p",
            "\x1bP+q544e\x1b\\",
            "\x1bP$qm\x1b\\",
            "\x1b_evil\x1b\\",
            "\x1b^evil\x1b\\",
            "\x1bXevil\x1b\\",
            "\x05",
            "\x07",
            "\x0e",
            "\0",
            "\u{9b}6n",
            "\u{9d}52;c;x\u{9c}",
            "\u{90}$qm\u{9c}",
            "\x1b[?1000h",
            "\x1b[?2004h",
            "\x1b[20h",
            "\x1b[>4;2m",
            "\x1b[1;2;3;4;5T",
            "\x1bc",
            "\x1b#8",
            "\x1b%G",
            "\x1b[!p",
            "\x1b[>q",
            "\x1b[?u",
            "\x1b[i",
            "\x1b[5i",
            "\x1b[1;5s",
            "\u{202e}",
            "\u{2066}",
            "\u{85}",
        ] {
            assert_eq!(shown(bad.as_bytes()), "", "{bad:?}");
        }
        assert_eq!(shown(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn controls_hidden_in_sequences_are_dropped_too() {
        assert_eq!(shown(b"\x1b[1\x05;31mx"), "\x1b[1;31mx");
        assert_eq!(shown(b"\x1b[1\x1b[6nx"), "x");
    }

    #[test]
    fn a_split_at_any_byte_lets_nothing_through() {
        let bytes = b"a\x1b]52;c;ZXZpbA==\x07b\x1b[6nc";
        for at in 0..bytes.len() {
            let mut safe = SafeOutput::default();
            assert_eq!(
                safe.filter(&bytes[..at]) + &safe.filter(&bytes[at..]),
                "abc",
                "{at}"
            );
        }
    }
}
