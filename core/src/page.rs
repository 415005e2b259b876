//! Sealed audit pages: a run of events that has left the replicated state for an encrypted file on a majority of
//! nodes, and the small manifest that stays behind in its place.
//!
//! A page is a complete subtree of the audit tree: its length is a power of two and its first sequence number is a
//! multiple of it. So its root is one hash of the tree, and the pages need no index but their order.

use crate::command::Sealed;
use crate::event::{Event, EventKind};
use crate::merkle::{self, Hash};
use crate::time::Timestamp;
use crate::wire::WireError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The most events on a page. Applying a seal reads and deletes as many keys in one entry.
pub const PAGE_EVENTS_MAX: u64 = 1024;
/// The most bytes of events on a page; a page ends earlier where events are large.
pub const PAGE_BYTES_MAX: usize = 2 << 20;

/// Bits of a filter for each value that it holds: one in some 1,700 other values seems to be there too.
const FILTER_BITS_EACH: usize = 16;
const FILTER_PROBES: u64 = 8;

/// Which values a page may hold: a Bloom filter. It never leaves one out that is there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PageFilter(Vec<u8>);

impl PageFilter {
    fn of(values: &BTreeSet<(u8, &str)>) -> Self {
        let size = (values.len() * FILTER_BITS_EACH).div_ceil(8).next_power_of_two();
        let mut bits = vec![0; if values.is_empty() { 0 } else { size }];
        for (field, value) in values {
            for bit in probes(*field, value, bits.len()) {
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        PageFilter(bits)
    }

    fn may_hold(&self, field: u8, value: &str) -> bool {
        !self.0.is_empty()
            && probes(field, value, self.0.len()).all(|bit| self.0[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

/// The bits of a value in a filter of so many bytes, at least one.
fn probes(field: u8, value: &str, bytes: usize) -> impl Iterator<Item = usize> {
    let hash = Sha256::new().chain_update([field]).chain_update(value).finalize();
    let number = |at: usize| {
        hash[at..at + 8]
            .iter()
            .fold(0u64, |n, byte| n << 8 | u64::from(*byte))
    };
    let (start, step, bits) = (number(0), number(8) | 1, bytes as u64 * 8);
    // Below the number of bits, which is a size in memory.
    (0..FILTER_PROBES).map(move |n| (start.wrapping_add(n.wrapping_mul(step)) % bits) as usize)
}

impl std::fmt::Debug for PageFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PageFilter({} bytes)", self.0.len())
    }
}

impl Serialize for PageFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for PageFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = PageFilter;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<PageFilter, E> {
                Ok(PageFilter(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

const USER: u8 = b'u';
const HOST: u8 = b'h';

/// What a search needs to know to pass a page over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageSummary {
    /// The time of the earliest event.
    pub earliest: Timestamp,
    /// The time of the latest event.
    pub latest: Timestamp,
    /// The kinds of events.
    pub kinds: BTreeSet<EventKind>,
    /// Users and hosts.
    pub names: PageFilter,
}

impl PageSummary {
    /// Whether an event of this user (any, if empty) may be on the page.
    pub fn may_hold_user(&self, user: &str) -> bool {
        user.is_empty() || self.names.may_hold(USER, user)
    }

    /// Whether an event about this host (any, if empty) may be on the page.
    pub fn may_hold_host(&self, host: &str) -> bool {
        host.is_empty() || self.names.may_hold(HOST, host)
    }
}

/// A run of consecutive events, as they are stored and hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEvents {
    /// The sequence number of the first.
    pub first: u64,
    /// Their stored bytes.
    pub events: Vec<Vec<u8>>,
}

impl PageEvents {
    /// Their bytes together.
    pub fn bytes(&self) -> usize {
        self.events.iter().map(Vec::len).sum()
    }

    /// The root of the subtree over them.
    pub fn root(&self) -> Hash {
        merkle::root_of(self.events.iter().map(|bytes| merkle::leaf_hash(bytes)))
    }

    /// What a search needs to know of them.
    pub fn summary(&self) -> Result<PageSummary, WireError> {
        let events: Result<Vec<Event>, _> = self.events.iter().map(|b| Event::from_bytes(b)).collect();
        let events = events?;
        let mut names: BTreeSet<(u8, &str)> = BTreeSet::new();
        for event in &events {
            names.insert((USER, &event.user));
            names.insert((HOST, &event.host));
        }
        names.retain(|(_, name)| !name.is_empty());
        let times = || events.iter().map(|event| event.time);
        Ok(PageSummary {
            earliest: times().min().unwrap_or_default(),
            latest: times().max().unwrap_or_default(),
            kinds: events.iter().map(|event| event.event).collect(),
            names: PageFilter::of(&names),
        })
    }
}

/// What stays in the replicated state of the events on a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageManifest {
    /// The page's place among all pages, from 0.
    pub number: u32,
    /// The sequence number of its first event.
    pub first: u64,
    /// How many events it holds.
    pub count: u32,
    /// Hex root of the subtree over them.
    pub root: String,
    /// Hex SHA-256 of the encrypted file.
    pub file_sha256: String,
    /// The key of the file, sealed under the cluster key.
    pub sealed_key: Sealed,
    /// What a search needs.
    pub summary: PageSummary,
}

impl PageManifest {
    /// The sequence number after its last event.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

impl std::fmt::Display for PageManifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "page {} (entries {} to {}, file sha256:{})",
            self.number,
            self.first,
            self.end() - 1,
            self.file_sha256
        )
    }
}

/// Whether `count` events from `first` on can be one page.
pub fn is_page(first: u64, count: u64) -> bool {
    count.is_power_of_two() && count <= PAGE_EVENTS_MAX && first.is_multiple_of(count)
}

/// How many of the events from `first` on, whose sizes these are, go on the next page: the longest run that can be one.
/// Events are limited to less than a page, so that it is at least one if there is an event.
pub fn next_count(first: u64, sizes: &[usize], most: u64) -> u64 {
    let mut count = PAGE_EVENTS_MAX;
    let fits = |count: u64| {
        let run = usize::try_from(count).ok().and_then(|count| sizes.get(..count));
        count <= most
            && is_page(first, count)
            && run.is_some_and(|run| run.iter().sum::<usize>() <= PAGE_BYTES_MAX)
    };
    while count > 0 && !fits(count) {
        count /= 2;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(first: u64, events: Vec<Event>) -> PageEvents {
        let events = events.iter().map(Event::to_bytes).collect();
        PageEvents { first, events }
    }

    #[test]
    fn a_summary_holds_every_name_and_few_others() {
        let named = |n: u64| {
            Event::new(EventKind::SessionStart)
                .user(format!("user{n}"))
                .host(format!("host{n}"))
        };
        let page = events(0, (0..1024).map(named).collect());
        let summary = page.summary().expect("events");
        let (mut false_users, mut false_hosts) = (0, 0);
        for n in 0..1024 {
            assert!(summary.may_hold_user(&format!("user{n}")) && summary.may_hold_host(&format!("host{n}")));
            false_users += usize::from(summary.may_hold_user(&format!("host{n}")));
            false_hosts += usize::from(summary.may_hold_host(&format!("other{n}")));
        }
        assert!(false_users + false_hosts < 12, "{false_users} and {false_hosts}");
        assert!(summary.may_hold_user("") && summary.may_hold_host(""));
        assert!(summary.names.0.len() <= 4096, "{:?}", summary.names);
        let nobody = events(0, vec![Event::new(EventKind::AuditHead)])
            .summary()
            .expect("events");
        assert!(!nobody.may_hold_user("alice") && nobody.names.0.is_empty());
    }

    proptest! {
        /// Whatever the sizes are, pages follow each other without a gap and each can be sealed.
        #[test]
        fn pages_cover_every_event(sizes in prop::collection::vec(1..48 * 1024usize, 1..3000), most in 1..2000u64) {
            let mut first = 0u64;
            while (first as usize) < sizes.len() {
                let rest = &sizes[first as usize..];
                let count = next_count(first, rest, most);
                prop_assert!(is_page(first, count));
                prop_assert!(rest[..count as usize].iter().sum::<usize>() <= PAGE_BYTES_MAX);
                first += count;
            }
            prop_assert_eq!(first as usize, sizes.len());
        }
    }
}
