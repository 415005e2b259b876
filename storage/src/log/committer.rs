//! The one thread that writes the log: take what is queued, write it as one group, sync once, answer in order.

use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use palisade_core::mutant::{self, Mutant};

use super::{
    Done, OnFull, Shared, SyncStats,
    load::{KEY_BASE, KEY_COMMITTED, KEY_PURGED, KEY_SEQ, KEY_VOTE, Markers},
    record::{self, Chunk, META_FROM, Marker, RIDER_MAX},
    view::{Front, Op},
};
use crate::{
    engine::{Batch, Engine},
    error::{ReadError, WriteError},
};

/// A group is closed at this many entries or bytes: larger ones gain nothing and cost latency.
const GROUP_ENTRIES: usize = 128;
const GROUP_BYTES: usize = 1 << 20;
/// How long a committed marker may wait for a write to ride along with.
const IDLE: Duration = Duration::from_millis(500);
/// Keys of purged entries removed in one go when there is nothing else to do, and at least between two groups.
const SWEEP_IDLE: usize = 512;
const SWEEP_BUSY: usize = 64;
/// Below this much of the disk not even votes are written: sled does not survive running out of space.
const FLOOR: u64 = 4 << 20;
const LATENCIES: usize = 1024;

#[derive(Default)]
pub(crate) struct Stats {
    count: u64,
    recent: VecDeque<Duration>,
    last_error: Option<String>,
    last_completed: Option<Instant>,
    started: Option<Instant>,
    no_space: bool,
}

impl Stats {
    pub(crate) fn snapshot(&self, queue: usize) -> SyncStats {
        let mut sorted: Vec<_> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            sorted
                .get(sorted.len() * percent / 100)
                .copied()
                .unwrap_or_default()
        };
        SyncStats {
            count: self.count,
            p50: at(50),
            p99: at(99),
            last_error: self.last_error.clone(),
            last_completed: self.last_completed,
            in_progress: self.started.map(|s| s.elapsed()),
            queue,
            no_space: self.no_space,
        }
    }

    fn completed(&mut self, took: Duration) {
        self.count += 1;
        if self.recent.len() == LATENCIES {
            self.recent.pop_front();
        }
        self.recent.push_back(took);
        self.last_completed = Some(Instant::now());
    }
}

/// What is on the disk, as the committer knows it.
pub(crate) struct State {
    seq: u64,
    generation: u64,
    vote_number: u64,
    vote: Option<Vec<u8>>,
    purged: Option<(u64, Vec<u8>)>,
    base: Option<u64>,
    first: u64,
    last: Option<u64>,
    sweep: bool,
}

impl State {
    pub(crate) fn new(seq: u64, generation: u64, shared: &Shared) -> State {
        let front = shared.front.lock();
        State {
            seq,
            generation,
            vote_number: 0,
            vote: front.vote.clone(),
            purged: front.purged.clone(),
            base: front.base,
            first: front.first(),
            last: front.last,
            sweep: true,
        }
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }
}

/// The committer's life.
pub(crate) fn run(shared: &Shared, mut state: State) {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        if let Err(e) = prepare(shared, &mut state) {
            return fail(shared, Vec::new(), &e.to_string());
        }
        while step(shared, &mut state) {}
    }));
    if let Err(p) = ended {
        fail(
            shared,
            Vec::new(),
            &format!("the log committer panicked: {}", crate::panic_text(p.as_ref())),
        );
    }
}

/// Before the first round: which of the two places of the vote is to be written next.
pub(crate) fn prepare(shared: &Shared, state: &mut State) -> Result<(), ReadError> {
    let engine = shared.engine.read().clone();
    let vote = Markers::read(&engine)?.newest_vote(&engine).ok().flatten();
    state.vote_number = vote.map_or(0, |v| v.number);
    Ok(())
}

/// One round that waits for nothing; tells whether there is more to do.
pub(crate) fn turn(shared: &Shared, state: &mut State) -> bool {
    let group = {
        let mut front = shared.front.lock();
        if front.failed.is_some() {
            return false;
        }
        take_group(&mut front)
    };
    // To a log that is known to be full nobody appends: it has to look by itself, as in `step`.
    let full = shared.stats.lock().no_space;
    if group.is_empty() && !state.sweep && !full && !shared.front.lock().committed_dirty {
        return false;
    }
    round(shared, state, group) && (state.sweep || !shared.front.lock().queue.is_empty())
}

/// One round; false when closed or failed.
fn step(shared: &Shared, state: &mut State) -> bool {
    let group = {
        let mut front = shared.front.lock();
        loop {
            if front.failed.is_some() {
                return false;
            }
            if !front.queue.is_empty() {
                break take_group(&mut front);
            }
            if front.closing || state.sweep {
                break Vec::new();
            }
            // Nobody appends to a log that is known to be full, so it has to look by itself.
            if front.committed_dirty || shared.stats.lock().no_space {
                if shared.wake.wait_for(&mut front, IDLE).timed_out() && front.queue.is_empty() {
                    break Vec::new();
                }
            } else {
                shared.wake.wait(&mut front);
            }
        }
    };
    round(shared, state, group)
}

fn round(shared: &Shared, state: &mut State, group: Vec<Op>) -> bool {
    let outcome = if group.is_empty() {
        idle(shared, state)
    } else {
        handle(shared, state, group)
    };
    match outcome {
        Ok(more) => more,
        Err((ops, e)) => {
            fail(shared, ops, &e.to_string());
            false
        }
    }
}

type Outcome = Result<bool, (Vec<Op>, WriteError)>;

fn take_group(front: &mut Front) -> Vec<Op> {
    let mut group = Vec::new();
    let (mut entries, mut bytes) = (0, 0);
    while let Some(op) = front.queue.front() {
        let alone = matches!(op, Op::Compact(_));
        entries += op.entries();
        bytes += op.bytes();
        if !group.is_empty() && (alone || entries > GROUP_ENTRIES || bytes > GROUP_BYTES) {
            break;
        }
        group.extend(front.queue.pop_front());
        if alone {
            break;
        }
    }
    group
}

/// Nothing is queued: remove purged entries, write a committed marker that found no company, or end.
fn idle(shared: &Shared, state: &mut State) -> Outcome {
    let engine = shared.engine.read().clone();
    let fatal = |e| (Vec::new(), e);
    if state.sweep {
        sweep(&engine, state, SWEEP_IDLE).map_err(fatal)?;
        if !state.sweep {
            sync(shared, &engine, state).map_err(fatal)?;
        }
    }
    let free = shared.opts.free_space.at(engine.dir());
    if free >= shared.opts.reserve {
        note_space(shared, free, false);
    }
    let (committed, closing) = {
        let mut front = shared.front.lock();
        let dirty = std::mem::take(&mut front.committed_dirty);
        (
            front.committed.clone().filter(|_| dirty),
            front.closing && front.queue.is_empty(),
        )
    };
    if let Some(committed) = committed
        && free >= floor(shared)
    {
        let m = Marker {
            seq: state.next_seq(),
            number: 0,
            payload: committed,
        };
        engine
            .insert(KEY_COMMITTED, record::encode_marker(KEY_COMMITTED, &m))
            .map_err(fatal)?;
        sync(shared, &engine, state).map_err(fatal)?;
    }
    Ok(!closing)
}

fn floor(shared: &Shared) -> u64 {
    FLOOR.min(shared.opts.reserve / 8)
}

/// Below so much no append is written. Where one that is not must wait, those that are queued when the disk is found
/// full may still use half of the reserve: a vote that comes after them, with which a leader lets another lead, does
/// not wait with them, and it may not overtake them.
fn held_below(shared: &Shared) -> u64 {
    match shared.opts.on_full {
        OnFull::Refuse => shared.opts.reserve,
        OnFull::Wait => shared.opts.reserve / 2,
    }
}

/// Notes whether the disk is full; said once each time.
fn note_space(shared: &Shared, free: u64, full: bool) {
    let before = std::mem::replace(&mut shared.stats.lock().no_space, full);
    match (before, full) {
        (false, true) => tracing::warn!(
            free,
            reserve = shared.opts.reserve,
            "the disk is nearly full: the log takes no more appends"
        ),
        (true, false) => tracing::info!(free, "there is space again: log appends go on"),
        _ => {}
    }
}

fn handle(shared: &Shared, state: &mut State, mut group: Vec<Op>) -> Outcome {
    if let [Op::Compact(_)] = group.as_slice() {
        for op in group {
            if let Op::Compact(answer) = op {
                let result = super::compact::compact(shared, state.seq, &mut state.generation);
                let fatal = matches!(result, Err(WriteError::Failed(_))).then(|| result.clone());
                let _ = answer.send(result);
                if let Some(Err(e)) = fatal {
                    return Err((Vec::new(), e));
                }
            }
        }
        return Ok(true);
    }
    let engine = shared.engine.read().clone();
    let bytes: u64 = group.iter().map(|op| op.bytes() as u64).sum();
    // Twice, because the engine writes more than it is given.
    let low = |free: u64, reserve: u64| free < reserve.saturating_add(2 * bytes);
    let mut free = shared.opts.free_space.at(engine.dir());
    let appends = group.iter().any(|op| matches!(op, Op::Append(..)));
    if appends && low(free, shared.opts.reserve) {
        note_space(shared, free, true);
    }
    if appends && low(free, held_below(shared)) {
        if shared.opts.on_full == OnFull::Refuse {
            return refuse(shared, state, &engine, group, free);
        }
        // What came before the first append is not held back with it.
        let appends = group
            .iter()
            .position(|op| matches!(op, Op::Append(..)))
            .unwrap_or(0);
        if appends > 0 && free >= floor(shared) {
            let rest = group.split_off(appends);
            match write_group(shared, state, &engine, group) {
                Ok(answers) => tell(answers),
                Err((mut failed, e)) => {
                    failed.extend(rest);
                    return Err((failed, e));
                }
            }
            group = rest;
        }
        while low(free, held_below(shared)) {
            let mut front = shared.front.lock();
            if shared.opts.machine.is_some() && !front.closing {
                // Its turn comes again.
                group.extend(front.queue.drain(..));
                front.queue = group.into();
                return Ok(false);
            }
            if front.closing {
                drop(front);
                return refuse(shared, state, &engine, group, free);
            }
            shared.wake.wait_for(&mut front, Duration::from_millis(100));
            drop(front);
            free = shared.opts.free_space.at(engine.dir());
        }
    } else if free < floor(shared) {
        note_space(shared, free, true);
        return refuse(shared, state, &engine, group, free);
    }
    if !low(free, shared.opts.reserve) {
        note_space(shared, free, false);
    }
    let entries: usize = group.iter().map(Op::entries).sum();
    tell(write_group(shared, state, &engine, group)?);
    if state.sweep {
        sweep(&engine, state, SWEEP_BUSY.max(2 * entries)).map_err(|e| (Vec::new(), e))?;
    }
    Ok(true)
}

/// The disk is nearly full: appends are refused until the queue is empty, everything else is still done if it may
/// use the reserve; then the readers' view falls back to what is on the disk. Only then the answers go out.
fn refuse(shared: &Shared, state: &mut State, engine: &Engine, group: Vec<Op>, free: u64) -> Outcome {
    let e = WriteError::NoSpace {
        free,
        reserve: shared.opts.reserve,
    };
    let mut ops = VecDeque::from(group);
    let mut answers = Vec::new();
    loop {
        while let Some(op) = ops.pop_front() {
            let writable = shared.opts.free_space.at(engine.dir()) >= floor(shared);
            match op {
                Op::Append(_, done) => answers.push((done, Err(e.clone()))),
                Op::Refused(why, done) => answers.push((done, Err(why))),
                Op::Compact(answer) => drop(answer.send(Err(e.clone()))),
                Op::Vote(_, done) | Op::Truncate(_, done) | Op::Purge(_, _, done) if !writable => {
                    answers.push((done, Err(e.clone())));
                }
                op => match write_group(shared, state, engine, vec![op]) {
                    Ok(more) => answers.extend(more),
                    Err((mut failed, e)) => {
                        tell(answers);
                        failed.extend(ops);
                        return Err((failed, e));
                    }
                },
            }
        }
        let mut front = shared.front.lock();
        ops = std::mem::take(&mut front.queue);
        if ops.is_empty() {
            front.fall_back(state.last, state.base);
            front.vote = state.vote.clone();
            front.purged = state.purged.clone();
            break;
        }
    }
    tell(answers);
    Ok(true)
}

/// What is to be answered to whom, in order.
type Answers = Vec<(Done, Result<(), WriteError>)>;

fn tell(answers: Answers) {
    for (done, result) in answers {
        done(result);
    }
}

/// Changes of one group: later ones replace earlier ones of the same key.
#[derive(Default)]
struct Changes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Changes {
    fn marker(&mut self, key: &[u8], m: &Marker) {
        self.0.insert(key.to_vec(), Some(record::encode_marker(key, m)));
    }
}

/// Writes a group and syncs, and gives the answers. On an error gives back the group, unanswered.
fn write_group(
    shared: &Shared,
    state: &mut State,
    engine: &Engine,
    group: Vec<Op>,
) -> Result<Answers, (Vec<Op>, WriteError)> {
    shared.stats.lock().started = Some(Instant::now());
    let appends = group.iter().any(|op| matches!(op, Op::Append(..)));
    let result = write_ops(shared, state, engine, &group).and_then(|()| {
        if appends && mutant::active(Mutant::ReplyBeforeSync) {
            return Ok(());
        }
        sync(shared, engine, state)
    });
    shared.stats.lock().started = None;
    if let Err(e) = result {
        return Err((group, e));
    }
    {
        let mut front = shared.front.lock();
        for op in &group {
            if let Op::Append(records, _) = op {
                front.durable(records);
            }
        }
    }
    let mut answers = Vec::with_capacity(group.len());
    for op in group {
        match op {
            Op::Append(_, done) | Op::Vote(_, done) | Op::Truncate(_, done) | Op::Purge(_, _, done) => {
                answers.push((done, Ok(())));
            }
            Op::Refused(why, done) => answers.push((done, Err(why))),
            Op::Compact(answer) => drop(answer.send(Ok(false))),
        }
    }
    Ok(answers)
}

fn write_ops(shared: &Shared, state: &mut State, engine: &Engine, group: &[Op]) -> Result<(), WriteError> {
    let (committed, dirty) = {
        let mut front = shared.front.lock();
        let dirty = std::mem::take(&mut front.committed_dirty);
        (front.committed.clone(), dirty)
    };
    // Each entry of one chunk, and each vote, is one atomic insert, and sled recovers a prefix of its inserts: so
    // the usual group needs no batch, which would cost a second write to the device.
    let begins = group.iter().find_map(|op| match op {
        Op::Append(records, _) => records.first().map(|(index, _)| *index),
        _ => None,
    });
    let plain = (state.last.is_some() || begins.is_none() || begins == state.base)
        && group.iter().all(|op| match op {
            Op::Append(records, _) => records.iter().all(|(_, p)| record::chunks(p.len()) == 1),
            Op::Vote(..) | Op::Refused(..) => true,
            Op::Truncate(..) | Op::Purge(..) | Op::Compact(_) => false,
        })
        && committed.as_ref().is_none_or(|c| c.len() <= RIDER_MAX);
    let last_append = group
        .iter()
        .rposition(|op| matches!(op, Op::Append(r, _) if !r.is_empty()));
    let rider = committed
        .as_deref()
        .filter(|_| dirty && plain)
        .unwrap_or_default();
    if dirty && plain && last_append.is_none() {
        shared.front.lock().committed_dirty = true;
    }
    let mut changes = Changes::default();
    for (at, op) in group.iter().enumerate() {
        match op {
            Op::Append(records, _) => {
                if let Some((first, _)) = records.first()
                    && state.last.is_none()
                    && state.base != Some(*first)
                {
                    state.base = Some(*first);
                    state.first = *first;
                    let m = Marker {
                        seq: state.next_seq(),
                        number: *first,
                        payload: Vec::new(),
                    };
                    changes.marker(KEY_BASE, &m);
                }
                for (i, (index, payload)) in records.iter().enumerate() {
                    let is_last = Some(at) == last_append && i + 1 == records.len();
                    let rider = if is_last { rider } else { &[] };
                    add_entry(&mut changes, state, *index, payload, rider);
                    state.last = Some(*index);
                }
            }
            Op::Vote(vote, _) => {
                state.vote_number += 1;
                let slot = KEY_VOTE[usize::from(state.vote_number % 2 == 1)];
                let m = Marker {
                    seq: state.next_seq(),
                    number: state.vote_number,
                    payload: vote.clone(),
                };
                changes.marker(slot, &m);
                if plain {
                    // In its place among the entries: an entry must never be durable before the vote of its term.
                    flush_plain(engine, &mut changes)?;
                }
                state.vote = Some(vote.clone());
            }
            Op::Truncate(from, _) => {
                truncate(engine, &mut changes, *from)?;
                state.last = match state.last {
                    Some(last) if last >= *from => from.checked_sub(1).filter(|l| *l >= state.first),
                    last => last,
                };
            }
            Op::Purge(upto, marker, _) => {
                let m = Marker {
                    seq: state.next_seq(),
                    number: *upto,
                    payload: marker.clone(),
                };
                changes.marker(KEY_PURGED, &m);
                state.purged = Some((*upto, marker.clone()));
                state.first = state.first.max(upto.saturating_add(1));
                state.base = Some(state.first);
                state.last = state.last.filter(|l| l > upto);
                state.sweep = true;
            }
            Op::Refused(..) | Op::Compact(_) => {}
        }
        if plain {
            flush_plain(engine, &mut changes)?;
        }
    }
    if plain {
        return Ok(());
    }
    if let Some(committed) = committed {
        let m = Marker {
            seq: state.next_seq(),
            number: 0,
            payload: committed,
        };
        changes.marker(KEY_COMMITTED, &m);
    }
    let m = Marker {
        seq: state.next_seq(),
        number: 0,
        payload: Vec::new(),
    };
    changes.marker(KEY_SEQ, &m);
    let mut batch = Batch::default();
    for (key, value) in changes.0 {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    engine.apply(batch)
}

/// Inserts one by one, in key order, which for entries is log order.
fn flush_plain(engine: &Engine, changes: &mut Changes) -> Result<(), WriteError> {
    for (key, value) in std::mem::take(&mut changes.0) {
        match value {
            Some(value) => engine.insert(&key, value)?,
            None => engine.remove(&key)?,
        }
    }
    Ok(())
}

fn add_entry(changes: &mut Changes, state: &mut State, index: u64, payload: &[u8], rider: &[u8]) {
    let count = record::chunks(payload.len());
    let mut rest = payload;
    for chunk in 0..count {
        let (part, after) = rest.split_at(rest.len().min(record::CHUNK));
        rest = after;
        let chunk = u16::try_from(chunk).unwrap_or(u16::MAX);
        let rider = if usize::from(chunk) + 1 == count {
            rider
        } else {
            &[]
        };
        let c = Chunk {
            seq: state.next_seq(),
            count: u16::try_from(count).unwrap_or(u16::MAX),
            rider,
            payload: part,
        };
        let value = record::encode_chunk(index, chunk, &c);
        changes
            .0
            .insert(record::entry_key(index, chunk).to_vec(), Some(value));
    }
}

fn truncate(engine: &Engine, changes: &mut Changes, from: u64) -> Result<(), WriteError> {
    let start = record::entry_key(from, 0);
    let mut keys: Vec<Vec<u8>> = changes
        .0
        .range(start.to_vec()..META_FROM.to_vec())
        .map(|(key, _)| key.clone())
        .collect();
    engine
        .scan(&start, Some(META_FROM), false, |key, _| {
            keys.push(key.to_vec());
            Ok(true)
        })
        .map_err(read_failed)?;
    changes.0.extend(keys.into_iter().map(|key| (key, None)));
    Ok(())
}

/// Removes up to `limit` keys of purged entries. Not synced by itself: the purge marker hides them already.
fn sweep(engine: &Engine, state: &mut State, limit: usize) -> Result<(), WriteError> {
    let mut keys = Vec::new();
    engine
        .scan(
            &record::entry_key(0, 0),
            Some(&record::entry_key(state.first, 0)),
            false,
            |key, _| {
                keys.push(key.to_vec());
                Ok(keys.len() < limit)
            },
        )
        .map_err(read_failed)?;
    for key in &keys {
        engine.remove(key)?;
    }
    state.sweep = keys.len() == limit;
    Ok(())
}

fn read_failed(e: ReadError) -> WriteError {
    WriteError::Failed(e.to_string())
}

fn sync(shared: &Shared, engine: &Engine, state: &State) -> Result<(), WriteError> {
    let took = engine.sync(state.seq)?;
    shared.stats.lock().completed(took);
    if let Some(on_sync) = &shared.opts.on_sync {
        on_sync(took);
    }
    Ok(())
}

/// The end: nothing more is written, everybody who waits is told, and the process is told to stop.
fn fail(shared: &Shared, ops: Vec<Op>, why: &str) {
    tracing::error!(why, "the log cannot be written; this node must stop");
    shared.stats.lock().last_error = Some(why.to_owned());
    let queue = {
        let mut front = shared.front.lock();
        front.failed = Some(why.to_owned());
        std::mem::take(&mut front.queue)
    };
    if let Some(on_fatal) = &shared.opts.on_fatal {
        on_fatal(why);
    }
    for op in ops.into_iter().chain(queue) {
        answer(op, WriteError::Failed(why.to_owned()));
    }
}

fn answer(op: Op, e: WriteError) {
    let done: Done = match op {
        Op::Append(_, done) | Op::Vote(_, done) | Op::Truncate(_, done) | Op::Purge(_, _, done) => done,
        Op::Refused(why, done) => return done(Err(why)),
        Op::Compact(answer) => return drop(answer.send(Err(e))),
    };
    done(Err(e));
}
