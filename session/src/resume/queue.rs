//! Bytes in order, held in pieces that are neither many nor larger than what they hold.

use super::frame::MAX_DATA;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// Pieces smaller than this are gathered: a million single bytes must not cost a million pieces.
const GATHER: usize = 4 << 10;

/// A queue of bytes. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    sealed: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// Large enough to be sent from where it lies.
    Shared(Bytes),
    /// Small: cheaper to copy than to share.
    Small(&'a [u8]),
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends a copy.
    pub(crate) fn extend(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            let room = self.tail.capacity() - self.tail.len();
            if room == 0 {
                self.seal();
                self.tail = BytesMut::with_capacity(bytes.len().clamp(GATHER, MAX_DATA));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.tail.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Appends, without a copy unless the piece is small.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.len() < GATHER {
            self.extend(&bytes);
        } else {
            self.seal();
            self.len += bytes.len();
            self.sealed.push_back(bytes);
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.sealed.push_back(self.tail.split().freeze());
        }
    }

    /// What lies at the front.
    pub(crate) fn front(&self) -> &[u8] {
        self.sealed.front().map_or(&self.tail[..], |first| &first[..])
    }

    /// Forgets the first bytes.
    pub(crate) fn advance(&mut self, mut count: usize) {
        debug_assert!(count <= self.len);
        self.len -= count;
        while count > 0 {
            let Some(first) = self.sealed.front_mut() else {
                self.tail.advance(count);
                break;
            };
            if first.len() > count {
                first.advance(count);
                break;
            }
            count -= first.len();
            self.sealed.pop_front();
        }
        if self.len == 0 {
            *self = Queue::default();
        }
    }

    /// Up to `most` bytes that begin at `at`.
    pub(crate) fn piece(&mut self, mut at: usize, most: usize) -> Piece<'_> {
        let mut found = None;
        for (index, piece) in self.sealed.iter().enumerate() {
            if at < piece.len() {
                found = Some(index);
                break;
            }
            at -= piece.len();
        }
        if found.is_none() && (self.tail.len() - at).min(most) >= GATHER {
            found = Some(self.sealed.len());
            self.seal();
        }
        match found {
            Some(index) => {
                let piece = &self.sealed[index];
                let end = piece.len().min(at + most);
                if end - at < GATHER {
                    Piece::Small(&self.sealed[index][at..end])
                } else {
                    Piece::Shared(piece.slice(at..end))
                }
            }
            None => {
                let end = self.tail.len().min(at + most);
                Piece::Small(&self.tail[at..end])
            }
        }
    }

    /// Memory owned by this queue itself, in bytes, more or less.
    #[cfg(test)]
    pub(crate) fn footprint(&self) -> usize {
        self.sealed.iter().map(Bytes::len).sum::<usize>()
            + self.sealed.capacity() * size_of::<Bytes>()
            + self.tail.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Extend(Vec<u8>),
        Push(Vec<u8>),
        Advance(usize),
        Piece(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            proptest::collection::vec(any::<u8>(), 3000..9000),
        ];
        prop_oneof![
            bytes.clone().prop_map(Step::Extend),
            bytes.prop_map(Step::Push),
            (0usize..20_000).prop_map(Step::Advance),
            (any::<usize>(), 1usize..70_000).prop_map(|(at, most)| Step::Piece(at, most)),
        ]
    }

    proptest! {
        #[test]
        fn a_queue_holds_what_was_put_in(steps in proptest::collection::vec(step(), 0..60)) {
            let mut queue = Queue::default();
            let mut model: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Extend(bytes) => {
                        queue.extend(&bytes);
                        model.extend_from_slice(&bytes);
                    }
                    Step::Push(bytes) => {
                        model.extend_from_slice(&bytes);
                        queue.push(bytes.into());
                    }
                    Step::Advance(count) => {
                        let count = count.min(model.len());
                        queue.advance(count);
                        model.drain(..count);
                    }
                    Step::Piece(at, most) if !model.is_empty() => {
                        let at = at % model.len();
                        let got = match queue.piece(at, most) {
                            Piece::Shared(bytes) => bytes.to_vec(),
                            Piece::Small(bytes) => bytes.to_vec(),
                        };
                        prop_assert!(!got.is_empty() && got.len() <= most);
                        prop_assert_eq!(&got[..], &model[at..at + got.len()]);
                    }
                    Step::Piece(..) => {}
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert!(model.starts_with(queue.front()));
            }
        }
    }

    #[test]
    fn a_million_single_bytes_cost_little_more_than_a_million_bytes() {
        let mut queue = Queue::default();
        for n in 0..1_000_000usize {
            if n % 2 == 0 {
                queue.push(Bytes::from_static(b"x"));
            } else {
                queue.extend(b"x");
            }
            queue.piece(queue.len() - 1, 1);
        }
        assert!(queue.footprint() < 1_100_000, "{}", queue.footprint());
        queue.advance(1_000_000);
        assert_eq!(queue.footprint(), 0);
    }
}
