//! Linearizability of every record and token: each operation took effect at one moment between its request and its
//! answer. The search is the one of Wing and Gong with Lowe's memory, by the library `todc-utils`; the specifications
//! are here.
//!
//! An operation of unknown outcome is given an answer behind everything else: it may then have taken effect at any
//! moment after its request, or so late that nobody saw it.

use super::{Said, unless};
use crate::real::history::{Answer, Ask, Op};
use std::collections::BTreeMap;
use todc_utils::Specification;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};

/// More on one key takes too long: the time grows with the square.
pub const MOST: usize = 2000;

/// A record: a register that can be compared and set, and with it a lock.
struct Record;

/// What a record is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Slot {
    Absent,
    Held {
        /// Not known after a write whose answer was lost, until somebody reads it. Nobody can have expected it then.
        at: Option<u64>,
        value: u64,
    },
}

impl Specification for Record {
    type State = Slot;
    type Operation = (Ask, Answer);

    fn init() -> Slot {
        Slot::Absent
    }

    fn apply((ask, answer): &Self::Operation, slot: &Slot) -> (bool, Slot) {
        let (held, known) = match slot {
            Slot::Absent => (false, None),
            Slot::Held { at, .. } => (true, *at),
        };
        let later = |at: u64| known.is_none_or(|known| at > known);
        let set = |at: Option<u64>, value: u64| Slot::Held { at, value };
        let (valid, next) = match (ask, answer) {
            (Ask::Create(value), Answer::Done(at)) => (!held, set(Some(*at), *value)),
            (Ask::Create(_), Answer::Conflict) => (held, slot.clone()),
            (Ask::Create(value), Answer::Unknown) => match held {
                true => (true, slot.clone()),
                false => (true, set(None, *value)),
            },
            (Ask::Put(value), Answer::Done(at)) => (later(*at), set(Some(*at), *value)),
            (Ask::Put(value), Answer::Unknown) => (true, set(None, *value)),
            (Ask::Swap { at, to }, Answer::Done(new)) => {
                (known == Some(*at) && new > at, set(Some(*new), *to))
            }
            (Ask::Swap { at, .. } | Ask::Delete { at }, Answer::Conflict) => {
                (known != Some(*at), slot.clone())
            }
            (Ask::Swap { at, to }, Answer::Unknown) => match known == Some(*at) {
                true => (true, set(None, *to)),
                false => (true, slot.clone()),
            },
            (Ask::Delete { at }, Answer::Done(_)) => (known == Some(*at), Slot::Absent),
            (Ask::Delete { at }, Answer::Unknown) => match known == Some(*at) {
                true => (true, Slot::Absent),
                false => (true, slot.clone()),
            },
            (Ask::Swap { .. } | Ask::Delete { .. } | Ask::Read, Answer::Absent) => (!held, slot.clone()),
            (Ask::Read, Answer::Is { at, value }) => match slot {
                Slot::Held { at: was, value: is } => (
                    value == is && was.is_none_or(|was| was == *at),
                    set(Some(*at), *value),
                ),
                Slot::Absent => (false, slot.clone()),
            },
            (Ask::Read, Answer::Unknown) => (true, slot.clone()),
            _ => (false, slot.clone()),
        };
        // What is refused changes nothing: the library's rule.
        if valid {
            (true, next)
        } else {
            (false, slot.clone())
        }
    }
}

/// A token that works once; `Conflict` is its refusal.
struct Token;

impl Specification for Token {
    type State = bool;
    type Operation = (Ask, Answer);

    fn init() -> bool {
        false
    }

    fn apply((_, answer): &Self::Operation, used: &bool) -> (bool, bool) {
        match answer {
            Answer::Done(_) => (!used, true),
            Answer::Conflict => (*used, *used),
            Answer::Unknown => (true, true),
            _ => (false, *used),
        }
    }
}

/// Whether the operations on one key can have happened one after the other.
fn fits<S: Specification<Operation = (Ask, Answer)>>(ops: &[&Op]) -> bool {
    let mut moments = Vec::new();
    for (id, op) in ops.iter().enumerate() {
        let said = (op.ask.clone(), op.answer.clone());
        moments.push((op.began, 0, id, Action::Call(said.clone())));
        let ended = match op.answer {
            Answer::Unknown => u64::MAX,
            _ => op.ended,
        };
        // Of two moments that look the same the request is the earlier one: that forbids least.
        moments.push((ended, 1, id, Action::Response(said)));
    }
    if moments.is_empty() {
        return true;
    }
    moments.sort_by_key(|(at, order, id, _)| (*at, *order, *id));
    let actions = moments
        .into_iter()
        .map(|(_, _, id, action)| (id, action))
        .collect();
    WGLChecker::<S>::is_linearizable(History::from_actions(actions))
}

/// Checks all of these, key by key.
pub fn check(ops: &[Op]) -> Said {
    let mut keys: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.answer != Answer::Nothing) {
        // A read that was lost says nothing.
        if !(op.ask == Ask::Read && op.answer == Answer::Unknown) {
            keys.entry(&op.key).or_default().push(op);
        }
    }
    let mut wrong = Vec::new();
    for (key, ops) in &keys {
        let tokens = ops.iter().any(|op| op.ask == Ask::Use);
        if ops.len() > MOST {
            wrong.push(format!("{key}: {} operations are too many to check", ops.len()));
        } else if !(if tokens {
            fits::<Token>(ops)
        } else {
            fits::<Record>(ops)
        }) {
            wrong.push(format!("{key} is not linearizable:\n{}", shown(ops)));
        }
    }
    let good = format!("{} operations on {} keys are linearizable", ops.len(), keys.len());
    unless(wrong, good)
}

fn shown(ops: &[&Op]) -> String {
    let mut ops: Vec<_> = ops.to_vec();
    ops.sort_by_key(|op| op.began);
    let line = |op: &&Op| {
        let Op {
            ask,
            answer,
            began,
            ended,
            node,
            ..
        } = op;
        format!(
            "  {began:>10} .. {ended:>10} us by n{}: {ask:?} -> {answer:?}",
            node + 1
        )
    };
    ops.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(began: u64, ended: u64, ask: Ask, answer: Answer) -> Op {
        Op {
            key: "k".into(),
            ask,
            answer,
            began,
            ended,
            node: 0,
        }
    }

    fn good(ops: &[Op]) {
        check(ops).expect("it is linearizable");
    }

    fn bad(ops: &[Op]) {
        check(ops).expect_err("it is not linearizable");
    }

    fn is(at: u64, value: u64) -> Answer {
        Answer::Is { at, value }
    }

    #[test]
    fn a_stale_read_is_refused_and_a_concurrent_one_is_not() {
        let write = [
            op(0, 1, Ask::Put(1), Answer::Done(10)),
            op(2, 9, Ask::Put(2), Answer::Done(11)),
        ];
        let with = |more: Op| [write.to_vec(), vec![more]].concat();
        good(&with(op(3, 4, Ask::Read, is(10, 1))));
        good(&with(op(3, 4, Ask::Read, is(11, 2))));
        bad(&with(op(10, 11, Ask::Read, is(10, 1))));
        bad(&with(op(10, 11, Ask::Read, Answer::Absent)));
        bad(&with(op(10, 11, Ask::Read, is(12, 2))));
    }

    #[test]
    fn reads_do_not_go_back() {
        let base = [
            op(0, 1, Ask::Put(1), Answer::Done(10)),
            op(2, 20, Ask::Put(2), Answer::Done(11)),
            op(3, 4, Ask::Read, is(11, 2)),
        ];
        good(&base);
        bad(&[base.to_vec(), vec![op(5, 6, Ask::Read, is(10, 1))]].concat());
    }

    #[test]
    fn an_unknown_write_may_show_late_or_never_but_not_before_it_was_asked() {
        let lost = op(2, 3, Ask::Put(2), Answer::Unknown);
        let first = op(0, 1, Ask::Put(1), Answer::Done(10));
        good(&[first.clone(), lost.clone(), op(4, 5, Ask::Read, is(10, 1))]);
        good(&[
            first.clone(),
            lost.clone(),
            op(4, 5, Ask::Read, is(10, 1)),
            op(6, 7, Ask::Read, is(12, 2)),
        ]);
        // Once seen it stays.
        bad(&[
            first.clone(),
            lost.clone(),
            op(4, 5, Ask::Read, is(12, 2)),
            op(6, 7, Ask::Read, is(10, 1)),
        ]);
        bad(&[
            first,
            op(1, 1, Ask::Read, is(12, 2)),
            op(2, 3, Ask::Put(2), Answer::Unknown),
        ]);
    }

    #[test]
    fn of_two_that_compare_and_set_one_wins() {
        let first = op(0, 1, Ask::Put(1), Answer::Done(10));
        let swap = |answer| op(2, 5, Ask::Swap { at: 10, to: 7 }, answer);
        good(&[first.clone(), swap(Answer::Done(11)), swap(Answer::Conflict)]);
        good(&[first.clone(), swap(Answer::Unknown), swap(Answer::Conflict)]);
        bad(&[first.clone(), swap(Answer::Done(11)), swap(Answer::Done(12))]);
        bad(&[first, swap(Answer::Conflict)]);
        good(&[swap(Answer::Conflict)]);
    }

    #[test]
    fn a_lock_has_one_holder() {
        let take = |began, ended, answer| op(began, ended, Ask::Create(1), answer);
        let free = |began, ended, at| op(began, ended, Ask::Delete { at }, Answer::Done(0));
        good(&[
            take(0, 5, Answer::Done(10)),
            take(1, 4, Answer::Conflict),
            free(6, 7, 10),
            take(8, 9, Answer::Done(12)),
        ]);
        bad(&[take(0, 5, Answer::Done(10)), take(1, 4, Answer::Done(11))]);
        bad(&[
            take(0, 1, Answer::Done(10)),
            free(2, 3, 10),
            take(4, 5, Answer::Conflict),
        ]);
        bad(&[take(0, 1, Answer::Conflict)]);
    }

    #[test]
    fn a_token_works_once() {
        let using = |answer| op(0, 5, Ask::Use, answer);
        good(&[using(Answer::Done(1)), using(Answer::Conflict)]);
        good(&[using(Answer::Unknown), using(Answer::Conflict)]);
        good(&[using(Answer::Unknown), using(Answer::Done(1))]);
        bad(&[using(Answer::Done(1)), using(Answer::Done(2))]);
        bad(&[using(Answer::Conflict)]);
    }

    #[test]
    fn what_never_happened_is_no_part_of_the_history() {
        good(&[
            op(0, 1, Ask::Put(1), Answer::Nothing),
            op(2, 3, Ask::Read, Answer::Absent),
        ]);
    }

    #[test]
    fn keys_do_not_disturb_each_other() {
        let mut other = op(2, 3, Ask::Read, Answer::Absent);
        other.key = "other".into();
        good(&[op(0, 1, Ask::Put(1), Answer::Done(10)), other]);
    }
}
