//! Every acknowledged change and every certificate has its one event on every node, and all nodes tell one story.

use super::{Said, unless};
use crate::real::history::{Answer, Ask, Issued, Op};
use serde_json::Value;
use std::collections::BTreeMap;

/// The log as a node tells it, oldest first.
pub type Log = Vec<Value>;

/// What the log must contain.
#[derive(Debug, Default)]
pub struct Promised {
    /// Changes that were acknowledged: the record, and the revision that the answer told.
    pub changes: Vec<(String, u64)>,
    /// Removals: the record, how many were acknowledged, and how many more there may be.
    pub removals: BTreeMap<String, (usize, usize)>,
    /// Agents that joined, by the id that the answer told.
    pub agents: Vec<u64>,
    /// Certificates that people hold.
    pub certificates: Vec<Issued>,
}

impl Promised {
    /// Adds what these operations were promised.
    pub fn add(&mut self, ops: &[Op]) {
        for op in ops {
            match (&op.ask, &op.answer) {
                (Ask::Create(_) | Ask::Put(_) | Ask::Swap { .. }, Answer::Done(at)) => {
                    self.changes.push((op.key.clone(), *at));
                }
                (Ask::Delete { .. }, Answer::Done(_)) => {
                    self.removals.entry(op.key.clone()).or_default().0 += 1;
                }
                (Ask::Delete { .. }, Answer::Unknown) => {
                    self.removals.entry(op.key.clone()).or_default().1 += 1;
                }
                (Ask::Use, Answer::Done(agent)) => self.agents.push(*agent),
                _ => {}
            }
        }
    }
}

fn word<'a>(item: &'a Value, field: &str) -> &'a str {
    item["event"][field].as_str().unwrap_or_default()
}

/// A fact of an event, whatever its type.
fn fact(item: &Value, name: &str) -> String {
    match &item["event"]["data"][name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Checks the logs of all nodes.
pub fn check(promised: &Promised, logs: &[(String, Log)]) -> Said {
    let mut wrong = Vec::new();
    for (name, log) in logs {
        one(name, log, promised, &mut wrong);
    }
    if let Some(((first, told), others)) = logs.split_first() {
        for (other, log) in others {
            if let Some(at) = (0..told.len().max(log.len())).find(|at| told.get(*at) != log.get(*at)) {
                wrong.push(format!(
                    "{first} and {other} tell different stories from event {at} on: {:?} and {:?}",
                    told.get(at),
                    log.get(at)
                ));
            }
        }
    }
    let events = logs.first().map_or(0, |(_, log)| log.len());
    let good = format!(
        "{} changes, {} joins and {} certificates have their one event among {events} on each of {} nodes",
        promised.changes.len(),
        promised.agents.len(),
        promised.certificates.len(),
        logs.len()
    );
    unless(wrong, good)
}

fn one(name: &str, log: &Log, promised: &Promised, wrong: &mut Vec<String>) {
    for (at, item) in log.iter().enumerate() {
        if item["seq"].as_u64() != Some(at as u64) {
            wrong.push(format!(
                "{name}: event {at} is missing or comes twice: {}",
                item["seq"]
            ));
            break;
        }
    }
    let mut changes: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let mut revisions: BTreeMap<String, usize> = BTreeMap::new();
    let mut removals: BTreeMap<&str, usize> = BTreeMap::new();
    let mut agents: BTreeMap<String, usize> = BTreeMap::new();
    let mut serials: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for item in log {
        let target = word(item, "target");
        match word(item, "event") {
            "record.create" | "record.update" => {
                let at = fact(item, "revision");
                *revisions.entry(at.clone()).or_default() += 1;
                *changes.entry((target, at)).or_default() += 1;
            }
            "record.delete" => *removals.entry(target).or_default() += 1,
            "host.join" => *agents.entry(fact(item, "agent")).or_default() += 1,
            "cert.issue" => {
                *serials
                    .entry((word(item, "user"), fact(item, "serial")))
                    .or_default() += 1;
            }
            _ => {}
        }
    }
    let mut say = |what: String, count: usize| {
        if count != 1 {
            wrong.push(format!("{name}: {what} has {count} events"));
        }
    };
    for (revision, count) in revisions.iter().filter(|(_, count)| **count > 1) {
        say(format!("revision {revision}"), *count);
    }
    for (key, at) in &promised.changes {
        let count = changes.get(&(key.as_str(), at.to_string()));
        say(
            format!("{key} at revision {at}, which was acknowledged,"),
            count.copied().unwrap_or(0),
        );
    }
    for agent in &promised.agents {
        say(
            format!("agent {agent}, which was told it had joined,"),
            agents.get(&agent.to_string()).copied().unwrap_or(0),
        );
    }
    for (user, serial) in &promised.certificates {
        let count = serials.get(&(user.as_str(), serial.clone()));
        say(
            format!("certificate {serial} of {user}"),
            count.copied().unwrap_or(0),
        );
    }
    for (key, (least, more)) in &promised.removals {
        let count = removals.get(key.as_str()).copied().unwrap_or(0);
        if !(*least..=least + more).contains(&count) {
            wrong.push(format!(
                "{name}: {key} was removed {least} times, perhaps {more} more, and has {count} events"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn log() -> Log {
        vec![
            json!({"seq": 0, "event": {"event": "record.create", "target": "host/a", "data": {"revision": "7"}}}),
            json!({"seq": 1, "event": {"event": "cert.issue", "user": "alice", "data": {"serial": "8"}}}),
            json!({"seq": 2, "event": {"event": "host.join", "data": {"agent": "9"}}}),
            json!({"seq": 3, "event": {"event": "record.delete", "target": "lock/l"}}),
        ]
    }

    fn promised() -> Promised {
        Promised {
            changes: vec![("host/a".into(), 7)],
            removals: [("lock/l".into(), (1, 1))].into(),
            agents: vec![9],
            certificates: vec![("alice".into(), "8".into())],
        }
    }

    fn nodes(log: &Log) -> Vec<(String, Log)> {
        ["n1", "n2"].map(|name| (name.to_owned(), log.clone())).to_vec()
    }

    #[test]
    fn a_log_with_everything_once_is_good() {
        check(&promised(), &nodes(&log())).expect("it is good");
    }

    #[test]
    fn what_is_missing_or_double_is_found_wherever_it_is() {
        for i in 0..4 {
            let mut short = log();
            short.remove(i);
            for (at, item) in short.iter_mut().enumerate() {
                item["seq"] = at.into();
            }
            check(&promised(), &nodes(&short)).expect_err("one is missing");
        }
        for i in 0..3 {
            let mut long = log();
            let mut again = long[i].clone();
            again["seq"] = 4.into();
            long.push(again);
            check(&promised(), &nodes(&long)).expect_err("one comes twice");
        }
        let mut twice = log();
        twice.push(twice[3].clone());
        twice.push(twice[3].clone());
        twice[4]["seq"] = 4.into();
        twice[5]["seq"] = 5.into();
        check(&promised(), &nodes(&twice)).expect_err("two removals may be, three not");
    }

    #[test]
    fn nodes_tell_one_story() {
        let mut all = nodes(&log());
        all[1].1[3]["event"]["time"] = "another".into();
        check(&promised(), &all).expect_err("they differ");
        let mut short = nodes(&log());
        short[1].1.pop();
        check(&Promised::default(), &short).expect_err("one has less");
    }

    #[test]
    fn a_gap_in_the_numbers_is_found() {
        let mut gap = log();
        gap[2]["seq"] = 5.into();
        check(&promised(), &nodes(&gap)).expect_err("number 2 is missing");
    }

    #[test]
    fn promises_are_taken_from_operations() {
        let op = |ask, answer| Op {
            key: "host/a".into(),
            ask,
            answer,
            began: 0,
            ended: 1,
            node: 0,
        };
        let mut promised = Promised::default();
        promised.add(&[
            op(Ask::Put(1), Answer::Done(7)),
            op(Ask::Put(2), Answer::Unknown),
            op(Ask::Delete { at: 7 }, Answer::Unknown),
            op(Ask::Use, Answer::Done(3)),
        ]);
        assert_eq!(promised.changes, [("host/a".to_owned(), 7)]);
        assert_eq!(promised.removals["host/a"], (0, 1));
        assert_eq!(promised.agents, [3]);
    }
}
