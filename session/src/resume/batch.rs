//! Frames on their way to a link: large payloads from where they lie, everything else gathered between them.

use super::frame::{self, Frame};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Pieces to be written in order. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pieces: VecDeque<Bytes>,
    small: BytesMut,
    len: usize,
}

impl Batch {
    /// Bytes not yet written.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn frame(&mut self, frame: &Frame) {
        let before = self.small.len();
        frame::encode(&mut self.small, frame);
        self.len += self.small.len() - before;
    }

    pub(crate) fn small_data(&mut self, offset: u64, bytes: &[u8]) {
        let before = self.small.len();
        frame::data_head(&mut self.small, offset, bytes.len());
        self.small.extend_from_slice(bytes);
        self.len += self.small.len() - before;
    }

    pub(crate) fn shared_data(&mut self, offset: u64, bytes: Bytes) {
        let before = self.small.len();
        frame::data_head(&mut self.small, offset, bytes.len());
        self.len += self.small.len() - before + bytes.len();
        self.seal();
        self.pieces.push_back(bytes);
    }

    fn seal(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }

    /// Fills in what a vectored write takes; returns how many slices are set.
    pub(crate) fn slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        self.seal();
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(&self.pieces) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// Forgets what was written.
    pub(crate) fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while count > 0 {
            let Some(first) = self.pieces.front_mut() else {
                break;
            };
            if first.len() > count {
                first.advance(count);
                break;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
        if self.len == 0 {
            *self = Batch::default();
        }
    }

    #[cfg(test)]
    pub(crate) fn gather(&mut self) -> Vec<u8> {
        self.seal();
        self.pieces.iter().flatten().copied().collect()
    }
}
