//! Random numbers that follow from a seed.

use std::time::Duration;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream of a seed and a purpose, so that one more draw for one purpose does not change all the others.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let mut rng = Rng(seed ^ 0x5061_6c69_7361_6465);
        for byte in purpose.bytes() {
            rng.0 ^= u64::from(byte);
            rng.next();
        }
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        crate::split_mix(&mut self.0)
    }

    /// One of `0..below`; 0 if there is none.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.next().checked_rem(below).unwrap_or(0)
    }

    /// One of `from..=to`.
    pub(crate) fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from) + 1)
    }

    /// Whether something happens that happens `permille` times in a thousand.
    pub(crate) fn permille(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.range(from, to))
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(from.len() as u64);
        from.get(usize::try_from(at).unwrap_or(0))
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).unwrap_or(0);
            items.swap(at, other);
        }
    }
}
