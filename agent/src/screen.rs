//! The last of a session's output, for whoever comes in later.

use bytes::Bytes;
use std::collections::VecDeque;

/// Output that is kept.
const SCREEN: usize = 64 << 10;

/// The last of the output.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    kept: VecDeque<u8>,
}

impl Screen {
    pub(crate) fn push(&mut self, data: &[u8]) {
        let data = &data[data.len().saturating_sub(SCREEN)..];
        let over = (self.kept.len() + data.len()).saturating_sub(SCREEN);
        self.kept.drain(..over);
        self.kept.extend(data);
    }

    /// What is kept, from the beginning of a line: half an escape sequence would be shown as text.
    pub(crate) fn bytes(&self) -> Bytes {
        let from = if self.kept.len() < SCREEN {
            0
        } else {
            self.kept.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1)
        };
        self.kept.iter().skip(from).copied().collect::<Vec<u8>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_is_bounded_and_begins_with_a_line() {
        let mut screen = Screen::default();
        screen.push(b"first\n");
        assert_eq!(&screen.bytes()[..], b"first\n");
        for n in 0..20_000 {
            screen.push(format!("line {n}\n").as_bytes());
        }
        assert_eq!(screen.kept.len(), SCREEN);
        let kept = screen.bytes();
        assert!(kept.starts_with(b"line ") && kept.ends_with(b"line 19999\n"));
        screen.push(&vec![b'x'; 3 * SCREEN]);
        assert_eq!(screen.kept.len(), SCREEN);
    }
}
