//! What a piece of output does to the line that is being written: the one meaning of "a line as it was seen", for whoever
//! looks for text in it and for whoever masks text in it.

use super::vt::Piece;

/// Programs that draw skip spaces instead of writing them; more than this is no gap between words.
const GAP_MAX: usize = 256;

/// A step in the making of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineStep {
    /// This character is put at its end.
    Add(char),
    /// So many spaces are put at its end, for which no bytes stand.
    Gap(usize),
    /// Its last character is taken back.
    Back,
    /// It is over: what follows does not continue it.
    End,
    /// Nothing.
    Nothing,
}

/// The step that a piece of output takes.
pub(super) fn line_step(piece: Piece<'_>) -> LineStep {
    match piece {
        Piece::Char(c) => LineStep::Add(c),
        Piece::Control('\t') => LineStep::Add(' '),
        Piece::Control('\x08') => LineStep::Back,
        Piece::Control('\n' | '\r' | '\x0b' | '\x0c') => LineStep::End,
        Piece::Csi { body, last: 'C' } => LineStep::Gap(body.parse::<usize>().unwrap_or(1).min(GAP_MAX)),
        // The cursor is elsewhere now.
        Piece::Csi {
            last: 'A' | 'B' | 'D'..='H' | 'J' | 'd' | 'f' | 'r' | 'u' | '`',
            ..
        }
        | Piece::Escape {
            last: '8' | 'D' | 'E' | 'M' | 'c',
            ..
        } => LineStep::End,
        Piece::Control(_) | Piece::Csi { .. } | Piece::Escape { .. } | Piece::Hidden => LineStep::Nothing,
    }
}
