//! The hosts that are kept in memory for searches, as new as the state: what was applied says which rows to read again.

use palisade_core::hosts::Hosts;
use palisade_core::kv::{Change, Kv, KvFault};
use palisade_core::record::Kind;
use palisade_core::state::record_key;
use palisade_raft::AppliedAt;
use parking_lot::Mutex;
use std::sync::Arc;

/// Names of changed hosts that are remembered until somebody searches; with more, all are read again.
const NAMES_MAX: usize = 10_000;

/// Nothing is kept before the first search.
#[derive(Debug, Default)]
pub(crate) struct HostTable {
    changed: Mutex<Changed>,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug, Default)]
struct Changed {
    /// Log index and name. Applied, but before the index is published maybe not stored yet.
    names: Vec<(u64, String)>,
    /// The last index of those that were forgotten; 0 if none were.
    forgotten: u64,
}

#[derive(Debug)]
struct Kept {
    hosts: Arc<Hosts>,
    replaced: u64,
}

impl HostTable {
    /// Notes what an entry changes. It is called before the changes are stored.
    pub(crate) fn note(&self, index: u64, changes: &[Change]) {
        let prefix = record_key(Kind::Host, "");
        let names = changes.iter().filter_map(|change| {
            let (Change::Put { key, .. } | Change::Delete { key }) = change;
            String::from_utf8(key.strip_prefix(&prefix[..])?.to_vec()).ok()
        });
        let mut changed = self.changed.lock();
        for name in names {
            if changed.names.len() >= NAMES_MAX {
                changed.names.clear();
                changed.forgotten = index;
            } else if changed.forgotten > 0 {
                changed.forgotten = index;
            }
            changed.names.push((index, name));
        }
    }

    /// The hosts, at least as new as `at`, up to which `kv` holds everything.
    pub(crate) fn get(&self, kv: &dyn Kv, at: AppliedAt) -> Result<Arc<Hosts>, KvFault> {
        let mut kept = self.kept.lock();
        let (names, forgotten) = {
            let mut changed = self.changed.lock();
            let (stored, later) = std::mem::take(&mut changed.names)
                .into_iter()
                .partition(|(index, _)| *index <= at.index);
            changed.names = later;
            let forgotten = changed.forgotten;
            if forgotten <= at.index {
                changed.forgotten = 0;
            }
            let names: Vec<(u64, String)> = stored;
            (names, forgotten > 0)
        };
        let result = match kept.as_mut() {
            Some(kept) if kept.replaced == at.replaced && !forgotten => {
                let names = names.iter().map(|(_, name)| name.as_str());
                Arc::make_mut(&mut kept.hosts)
                    .refresh(kv, names)
                    .map(|()| Arc::clone(&kept.hosts))
            }
            _ => Hosts::load(kv).map(|hosts| {
                let hosts = Arc::new(hosts);
                *kept = Some(Kept {
                    hosts: Arc::clone(&hosts),
                    replaced: at.replaced,
                });
                hosts
            }),
        };
        if result.is_err() {
            // What was to be read again is not known any more.
            *kept = None;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::name::Name;
    use palisade_core::record::{AnyRecord, HostAddr, HostSpec, Record};
    use palisade_core::state::STATE_VERSION;
    use palisade_core::wire;
    use std::collections::BTreeMap;

    /// A state that counts how often it is scanned.
    #[derive(Default)]
    struct Memory {
        pairs: BTreeMap<Vec<u8>, Vec<u8>>,
        scans: Mutex<usize>,
    }

    impl Kv for Memory {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvFault> {
            Ok(self.pairs.get(key).cloned())
        }

        fn scan(
            &self,
            from: &[u8],
            to: Option<&[u8]>,
            limit: usize,
            _: bool,
        ) -> Result<Vec<palisade_core::kv::Pair>, KvFault> {
            *self.scans.lock() += 1;
            let within = |key: &Vec<u8>| to.is_none_or(|to| key.as_slice() < to);
            let found = self
                .pairs
                .range(from.to_vec()..)
                .take_while(|(key, _)| within(key));
            Ok(found.take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
        }
    }

    fn put(name: &str, port: u16) -> Change {
        let addr = HostAddr::parse(&format!("10.0.0.1:{port}")).expect("an address");
        let record = Record::new(Name::parse(name).expect("a name"), HostSpec::at(addr));
        Change::Put {
            key: record_key(Kind::Host, name),
            value: wire::encode(STATE_VERSION, &AnyRecord::Host(record)),
        }
    }

    fn store(memory: &mut Memory, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, value } => memory.pairs.insert(key, value),
                Change::Delete { key } => memory.pairs.remove(&key),
            };
        }
    }

    fn shown(hosts: &Hosts) -> Vec<String> {
        let row = |row: &Arc<palisade_core::hosts::HostRow>| {
            format!("{} {}", row.record.metadata.name, row.record.spec.shown_addr())
        };
        hosts.after("").iter().map(row).collect()
    }

    fn at(index: u64, replaced: u64) -> AppliedAt {
        AppliedAt {
            index,
            replaced,
            ..AppliedAt::default()
        }
    }

    #[test]
    fn a_change_is_seen_once_it_is_applied_without_reading_all_again() {
        let (table, mut memory) = (HostTable::default(), Memory::default());
        let step = |memory: &mut Memory, index, changes: Vec<Change>| {
            table.note(index, &changes);
            store(memory, changes);
        };
        step(&mut memory, 1, vec![put("b", 1), put("d", 1)]);
        let first = table.get(&memory, at(1, 0)).expect("read");
        assert_eq!(shown(&first), ["b 10.0.0.1:1", "d 10.0.0.1:1"]);
        let scans = *memory.scans.lock();
        let gone = Change::Delete {
            key: record_key(Kind::Host, "d"),
        };
        step(&mut memory, 2, vec![put("c", 2), put("a", 2)]);
        step(&mut memory, 3, vec![put("b", 3), gone]);
        let now = table.get(&memory, at(3, 0)).expect("read");
        assert_eq!(shown(&now), ["a 10.0.0.1:2", "b 10.0.0.1:3", "c 10.0.0.1:2"]);
        assert_eq!(shown(&first).len(), 2, "what was given out stays as it was");
        assert_eq!(shown(&now)[1..].len(), now.after("a").len());
        assert_eq!(*memory.scans.lock(), scans);
        // Another state altogether.
        store(&mut memory, vec![put("z", 9)]);
        assert_eq!(table.get(&memory, at(9, 1)).expect("read").len(), 4);
    }

    #[test]
    fn what_is_applied_and_not_stored_yet_is_read_later() {
        let (table, mut memory) = (HostTable::default(), Memory::default());
        assert!(table.get(&memory, at(1, 0)).expect("read").is_empty());
        let changes = vec![put("a", 1)];
        table.note(2, &changes);
        assert!(table.get(&memory, at(1, 0)).expect("read").is_empty());
        store(&mut memory, changes);
        assert_eq!(table.get(&memory, at(2, 0)).expect("read").len(), 1);
    }

    #[test]
    fn more_changes_than_are_remembered_lose_nothing() {
        let (table, mut memory) = (HostTable::default(), Memory::default());
        assert!(table.get(&memory, at(1, 0)).expect("read").is_empty());
        let all: Vec<Change> = (0..=NAMES_MAX).map(|n| put(&format!("h{n}"), 1)).collect();
        let last = vec![put("last", 1)];
        table.note(2, &all);
        table.note(3, &last);
        store(&mut memory, all);
        assert_eq!(table.get(&memory, at(2, 0)).expect("read").len(), NAMES_MAX + 1);
        store(&mut memory, last);
        assert_eq!(table.get(&memory, at(3, 0)).expect("read").len(), NAMES_MAX + 2);
    }
}
