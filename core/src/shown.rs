//! Text of unknown origin, made safe to print.
//!
//! Names, labels, addresses and error texts may come from a hostile client. Printed as they are they could
//! move the cursor, forge a log line, or make a name read backwards. [`Shown`] prints them so that what is
//! seen is what is there. It does not judge whether a text is allowed: the parsers do.

use std::fmt::{self, Display, Formatter, Write};

/// Prints a text with every control, escape, direction and invisible character written out as an escape.
///
/// The precision of the format cuts the text (`{:.40}`, the cut is marked with `…`), the width pads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'a>(pub &'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut out = String::with_capacity(self.0.len().min(256));
        let limit = f.precision().unwrap_or(usize::MAX);
        let mut used = 0usize;
        let mut rest = self.0.chars();
        while let Some(c) = rest.next() {
            // Stops at the limit: nobody pays for the tail of a megabyte.
            let mark = out.len();
            push_shown(&mut out, c);
            used += out[mark..].chars().count();
            if used > limit || (used == limit && !rest.as_str().is_empty()) {
                cut(&mut out, limit);
                break;
            }
        }
        f.pad(&out)
    }
}

/// Shortens `out` to `limit` characters, the last of them an ellipsis.
fn cut(out: &mut String, limit: usize) {
    if limit == 0 {
        out.clear();
        return;
    }
    if let Some((at, _)) = out.char_indices().nth(limit - 1) {
        out.truncate(at);
    }
    out.push('…');
}

fn push_shown(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_hidden(c) => {
            // Writing into a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// Whether a character has no visible shape of its own, or changes how its neighbours are shown.
///
/// Control characters (C0, DEL, C1), line and paragraph separators, and the format characters of Unicode
/// (bidirectional marks, embeddings, overrides and isolates, zero-width and tag characters, fillers).
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{00ad}'
                | '\u{034f}'
                | '\u{0600}'..='\u{0605}'
                | '\u{061c}'
                | '\u{06dd}'
                | '\u{070f}'
                | '\u{08e2}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_texts_are_written_out() {
        let corpus = [
            ("plain", "plain"),
            ("naïve 名前 ok", "naïve 名前 ok"),
            ("back\\slash stays", "back\\slash stays"),
            ("red \x1b[31malert\x1b[0m", "red \\u{1b}[31malert\\u{1b}[0m"),
            ("title \x1b]0;owned\x07", "title \\u{1b}]0;owned\\u{7}"),
            ("c1 csi \u{9b}2J", "c1 csi \\u{9b}2J"),
            ("forged\nJul 1 sshd: accepted", "forged\\nJul 1 sshd: accepted"),
            ("overwrite\rroot", "overwrite\\rroot"),
            ("windows\r\n", "windows\\r\\n"),
            ("tab\there", "tab\\there"),
            ("nul\0byte", "nul\\u{0}byte"),
            ("erase\x08\x7f", "erase\\u{8}\\u{7f}"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("\u{2066}iso\u{2069}", "\\u{2066}iso\\u{2069}"),
            (
                "\u{202a}\u{202b}\u{202c}\u{202d}",
                "\\u{202a}\\u{202b}\\u{202c}\\u{202d}",
            ),
            ("ro\u{200b}ot", "ro\\u{200b}ot"),
            ("\u{feff}bom", "\\u{feff}bom"),
            ("line\u{2028}sep\u{2029}", "line\\u{2028}sep\\u{2029}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("nel\u{85}", "nel\\u{85}"),
        ];
        for (given, wanted) in corpus {
            assert_eq!(Shown(given).to_string(), wanted);
        }
    }

    #[test]
    fn precision_cuts_and_width_pads() {
        assert_eq!(format!("{:.5}", Shown("abcdefgh")), "abcd…");
        assert_eq!(format!("{:.5}", Shown("abcde")), "abcde");
        assert_eq!(format!("{:.0}", Shown("abcde")), "");
        assert_eq!(format!("{:<6}|", Shown("abc")), "abc   |");
        assert_eq!(format!("{:>6.4}|", Shown("abcdefgh")), "  abc…|");
        assert_eq!(format!("{:.3}", Shown("\x1b\x1b")), "\\u…");
    }

    proptest! {
        #[test]
        fn nothing_hidden_comes_out(s in any::<String>(), n in 0usize..20) {
            prop_assert!(!Shown(&s).to_string().chars().any(is_hidden));
            let short = format!("{:.*}", n, Shown(&s));
            prop_assert!(short.chars().count() <= n);
            prop_assert!(!short.chars().any(is_hidden));
        }
    }
}
