//! What the victim does, shared by the victim and the test.

use std::fmt;

/// A small generator of numbers that look random; the same seed gives the same numbers.
pub(crate) struct Plan(u64);

impl Plan {
    pub(crate) fn new(seed: u64) -> Plan {
        Plan(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }

    /// How many writes may be unanswered.
    pub(crate) fn pipeline(&mut self) -> u64 {
        [1, 8, 64][self.below(3) as usize]
    }

    pub(crate) fn log_op(&mut self, first: u64, next: u64) -> LogOp {
        let tag = self.below(1 << 40);
        match self.below(100) {
            0..=9 => LogOp::Vote { tag },
            10..=14 if next > first => LogOp::Truncate {
                from: next - 1 - self.below((next - first).min(6)),
            },
            15..=18 if next > first + 50 => LogOp::Purge {
                upto: next - 10 - self.below(30),
            },
            _ => LogOp::Append {
                from: next,
                to: next + 1 + self.below(8),
                tag,
            },
        }
    }

    pub(crate) fn state_op(&mut self, version: u64) -> StateOp {
        match self.below(100) {
            0..=9 => StateOp::Sync,
            10..=12 => StateOp::Snapshot,
            13..=14 => StateOp::Install,
            _ => StateOp::Apply { to: version + 1 },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogOp {
    Append { from: u64, to: u64, tag: u64 },
    Vote { tag: u64 },
    Truncate { from: u64 },
    Purge { upto: u64 },
}

impl fmt::Display for LogOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogOp::Append { from, to, tag } => write!(f, "append {from} {to} {tag}"),
            LogOp::Vote { tag } => write!(f, "vote {tag}"),
            LogOp::Truncate { from } => write!(f, "truncate {from}"),
            LogOp::Purge { upto } => write!(f, "purge {upto}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateOp {
    Apply { to: u64 },
    Sync,
    Snapshot,
    Install,
}

impl fmt::Display for StateOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateOp::Apply { to } => write!(f, "apply {to}"),
            StateOp::Sync => f.write_str("sync"),
            StateOp::Snapshot => f.write_str("snapshot"),
            StateOp::Install => f.write_str("install"),
        }
    }
}

/// An entry's content: mostly a few hundred bytes, some of several chunks.
pub(crate) fn payload(index: u64, tag: u64) -> Vec<u8> {
    let mut r = Plan::new(index ^ tag);
    let len = if r.below(40) == 0 {
        3000 + r.below(30_000)
    } else {
        16 + r.below(700)
    };
    let mut out = Vec::with_capacity(len as usize);
    out.extend_from_slice(&index.to_be_bytes());
    out.extend_from_slice(&tag.to_be_bytes());
    while (out.len() as u64) < len {
        out.push(r.below(256) as u8);
    }
    out
}

pub(crate) fn vote(tag: u64) -> Vec<u8> {
    [b"vote ", &tag.to_be_bytes()[..]].concat()
}

pub(crate) fn marker(upto: u64) -> Vec<u8> {
    [b"purged ", &upto.to_be_bytes()[..]].concat()
}

pub(crate) fn applied(version: u64) -> Vec<u8> {
    version.to_be_bytes().to_vec()
}

pub(crate) fn version(applied: &[u8]) -> u64 {
    applied.try_into().map(u64::from_be_bytes).unwrap_or(0)
}

/// The changes that lead to this version of the state, out of the one before.
pub(crate) fn changes(version: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut r = Plan::new(version);
    (0..1 + r.below(12))
        .map(|_| {
            let key = format!("key/{:04}", r.below(600)).into_bytes();
            let value = match r.below(20) {
                0..=2 => None,
                3 => Some(payload(version, 77).into_iter().cycle().take(5000).collect()),
                _ => Some(payload(version, 5)),
            };
            (key, value)
        })
        .collect()
}
