//! Any sequence of log operations leaves the log as a plain map would be, before and after reopening.

use std::{collections::BTreeMap, path::Path, sync::mpsc, time::Duration};

use palisade_storage::{LogOptions, LogRecord, LogStore};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Append {
        count: u64,
        size: usize,
    },
    Vote(u8),
    Committed(u8),
    /// Counted back from the end.
    Truncate(u64),
    /// Counted from the first entry, possibly beyond the end.
    Purge(u64),
    Wait,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..6u64, prop_oneof![4 => 0..300usize, 1 => 3000..12_000usize]).prop_map(|(count, size)| Op::Append { count, size }),
        2 => any::<u8>().prop_map(Op::Vote),
        2 => any::<u8>().prop_map(Op::Committed),
        2 => (1..8u64).prop_map(Op::Truncate),
        1 => (0..12u64).prop_map(Op::Purge),
        2 => Just(Op::Wait),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, Vec<u8>>,
    next: u64,
    first: u64,
    vote: Option<Vec<u8>>,
    committed: Option<Vec<u8>>,
    purged: Option<(u64, Vec<u8>)>,
}

fn open(dir: &Path) -> LogStore {
    LogStore::open(
        dir,
        LogOptions {
            cache: 1 << 20,
            ..LogOptions::default()
        },
    )
    .expect("open")
}

fn compare(log: &LogStore, m: &Model) {
    let found: BTreeMap<u64, Vec<u8>> = log
        .read(0, u64::MAX, usize::MAX)
        .expect("read")
        .into_iter()
        .map(|r| (r.index, r.payload))
        .collect();
    assert!(
        found == m.entries,
        "{:?} instead of {:?}",
        found.keys(),
        m.entries.keys()
    );
    assert_eq!(
        log.last().expect("last").map(|r| r.index),
        m.entries.keys().next_back().copied()
    );
    assert_eq!(log.vote().expect("vote"), m.vote);
    assert_eq!(log.committed().expect("committed"), m.committed);
    assert_eq!(log.purged(), m.purged);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_log_behaves_as_a_map(ops in prop::collection::vec(op(), 1..60)) {
        let d = tempfile::tempdir().expect("tempdir");
        let mut log = open(d.path());
        let mut m = Model::default();
        let (tx, rx) = mpsc::channel();
        let (mut sent, mut heard) = (0u64, 0u64);
        for (step, op) in ops.into_iter().enumerate() {
            let done: palisade_storage::Done = {
                let (tx, number) = (tx.clone(), sent);
                Box::new(move |r| tx.send((number, r)).expect("the test waits"))
            };
            match op {
                Op::Append { count, size } => {
                    let records: Vec<LogRecord> = (m.next..m.next + count)
                        .map(|index| LogRecord { index, payload: vec![step as u8; size] })
                        .collect();
                    m.entries.extend(records.iter().map(|r| (r.index, r.payload.clone())));
                    m.next += count;
                    log.append(records, done);
                    sent += 1;
                }
                Op::Vote(v) => {
                    m.vote = Some(vec![v; 10]);
                    log.save_vote(vec![v; 10], done);
                    sent += 1;
                }
                Op::Committed(c) => {
                    m.committed = Some(vec![c; 10]);
                    log.save_committed(vec![c; 10]);
                }
                Op::Truncate(back) => {
                    let from = m.next.saturating_sub(back).max(m.first);
                    drop(m.entries.split_off(&from));
                    m.next = from;
                    log.truncate_from(from, done);
                    sent += 1;
                }
                Op::Purge(ahead) => {
                    let upto = m.first + ahead;
                    m.entries = m.entries.split_off(&(upto + 1));
                    m.first = upto + 1;
                    m.next = m.next.max(m.first);
                    m.purged = Some((upto, vec![ahead as u8; 5]));
                    log.purge_upto(upto, vec![ahead as u8; 5], done);
                    sent += 1;
                }
                Op::Wait => {
                    while heard < sent {
                        let (number, r) = rx.recv_timeout(Duration::from_secs(30)).expect("answered");
                        prop_assert_eq!(number, heard, "answers come in order");
                        r.expect("durable");
                        heard += 1;
                    }
                }
                Op::Reopen => {
                    drop(log);
                    log = open(d.path());
                }
            }
            compare(&log, &m);
        }
        drop(log);
        compare(&open(d.path()), &m);
    }
}
