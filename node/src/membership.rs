//! Who may be taken out of the cluster, and when: plain rules over what the leader sees, and the steps that follow them.

use crate::operations::{NodeOperations, failed};
use palisade_core::api::{NodeStatus, Replacement};
use palisade_core::command::{Actor, Command};
use palisade_core::name::{Name, NodeId};
use palisade_core::ports::{Consensus as _, OperationFailed};
use std::time::{Duration, Instant};

/// How long a replacement may take to catch up and vote.
const CATCH_UP: Duration = Duration::from_secs(60);
/// How long the group may take to follow the records.
const SETTLE: Duration = Duration::from_secs(15);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(100);

/// A member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) name: Name,
    pub(crate) voter: bool,
    /// It was heard from within the last seconds.
    pub(crate) answers: bool,
    /// For how long the leader has not heard from it.
    pub(crate) silent_ms: Option<u64>,
}

/// How many voters may still be lost without losing the quorum; below zero there is none. Of each member: whether it
/// votes, and whether it answers.
pub(crate) fn tolerance(members: impl IntoIterator<Item = (bool, bool)>) -> i64 {
    let (mut voters, mut answering) = (0_i64, 0_i64);
    for (_, answers) in members.into_iter().filter(|(votes, _)| *votes) {
        voters += 1;
        answering += i64::from(answers);
    }
    answering - (voters / 2 + 1)
}

fn tolerance_of<'a>(members: impl IntoIterator<Item = &'a Member>) -> i64 {
    tolerance(members.into_iter().map(|m| (m.voter, m.answers)))
}

fn find<'a>(members: &'a [Member], name: &Name) -> Result<&'a Member, String> {
    members
        .iter()
        .find(|m| m.name == *name)
        .ok_or_else(|| format!("there is no node {name}: `palctl cluster status` lists them"))
}

/// Names of voters that do not answer.
fn silent<'a>(members: &'a [Member], but: &'a Name) -> Vec<&'a str> {
    let silent = members.iter().filter(|m| m.voter && !m.answers && m.name != *but);
    silent.map(|m| m.name.as_str()).collect()
}

/// Whether a node may be taken out.
pub(crate) fn may_remove(members: &[Member], node: &Name) -> Result<NodeId, String> {
    let leaving = find(members, node)?;
    if members.len() == 1 {
        return Err("this is the only node: a cluster is not left by its last node".into());
    }
    let after = tolerance_of(members.iter().filter(|m| m.id != leaving.id));
    if leaving.voter && after < 0 {
        let silent = silent(members, node);
        return Err(if silent.is_empty() {
            format!("without {node} no node would vote")
        } else {
            format!(
                "without {node} the cluster would have no quorum, because {} does not answer: start that first, or \
                 take that one out",
                silent.join(", ")
            )
        });
    }
    Ok(leaving.id)
}

/// Whether a node may take another's place: who goes, and who comes. `healthy`: also one that answers while another
/// does not, which is rarely what somebody means.
pub(crate) fn may_replace(
    members: &[Member],
    old: &Name,
    with: &Name,
    healthy: bool,
) -> Result<(NodeId, NodeId), String> {
    let (leaving, coming) = (find(members, old)?, find(members, with)?);
    if leaving.id == coming.id {
        return Err(format!("{old} cannot take its own place"));
    }
    if !coming.answers {
        return Err(format!("{with} does not answer: start it first"));
    }
    let silent = silent(members, old);
    if leaving.answers && !silent.is_empty() && !healthy {
        return Err(format!(
            "{old} answers and {0} does not: did you mean {0}? With --healthy {old} goes all the same",
            silent.join(", ")
        ));
    }
    let votes = |m: &Member| Member {
        voter: m.voter || m.id == coming.id,
        ..m.clone()
    };
    let both: Vec<Member> = members.iter().map(votes).collect();
    let after: Vec<Member> = both.iter().filter(|m| m.id != leaving.id).cloned().collect();
    if tolerance_of(&both) < 0 || tolerance_of(&after) < 0 {
        return Err(format!(
            "with {with} in place of {old} the cluster would have no quorum, because {} does not answer: start that first",
            silent.join(", ")
        ));
    }
    Ok((leaving.id, coming.id))
}

/// Clean-up leaves so many voters at least: fewer survive nothing.
const VOTERS_KEPT: usize = 3;

/// Whether clean-up may take a member out: three voters stay, and none fewer may be lost than before.
fn may_clean(members: &[Member], gone: &Member) -> bool {
    let stay = || members.iter().filter(|m| m.id != gone.id);
    !gone.answers
        && stay().filter(|m| m.voter).count() >= VOTERS_KEPT
        && tolerance_of(stay()) >= tolerance_of(members).max(0)
}

/// The member that clean-up takes out now, and for how many milliseconds it was silent.
pub(crate) fn dead(members: &[Member], after_ms: u64) -> Option<(&Member, u64)> {
    let silent = |m: &&Member| m.silent_ms.is_some_and(|ms| ms >= after_ms);
    let gone = members.iter().filter(silent).find(|m| may_clean(members, m))?;
    Some((gone, gone.silent_ms.unwrap_or(0)))
}

/// Writes down in how many seconds clean-up takes which member out.
pub(crate) fn count_down(nodes: &mut [NodeStatus], after_ms: u64) {
    let members: Vec<Member> = nodes.iter().filter_map(Member::of).collect();
    for node in nodes {
        let member = members.iter().find(|m| m.id == node.id);
        let leaves = member
            .filter(|m| may_clean(&members, m))
            .and_then(|m| m.silent_ms);
        node.removed_in_secs = leaves.map(|silent| after_ms.saturating_sub(silent) / 1000);
    }
}

impl Member {
    fn of(node: &NodeStatus) -> Option<Member> {
        Some(Member {
            id: node.id,
            name: Name::parse(&node.name).ok()?,
            voter: node.voter,
            answers: node.reachable,
            silent_ms: node.silent_ms,
        })
    }
}

impl NodeOperations {
    /// The members as the leader sees them now.
    pub(crate) async fn members(&self) -> Vec<Member> {
        self.cluster_status()
            .await
            .nodes
            .iter()
            .filter_map(Member::of)
            .collect()
    }

    pub(crate) async fn remove(&self, actor: Actor, node: &Name) -> Result<(), OperationFailed> {
        self.consensus.barrier().await.map_err(failed)?;
        let id = may_remove(&self.members().await, node).map_err(OperationFailed)?;
        self.take_out(actor, id).await
    }

    pub(crate) async fn replace(&self, actor: Actor, request: &Replacement) -> Result<(), OperationFailed> {
        let Replacement { old, with, healthy } = request;
        self.consensus.barrier().await.map_err(failed)?;
        let until = Instant::now() + CATCH_UP;
        let leaving = loop {
            // Looked at again each time: the world may have changed while the newcomer caught up.
            let members = self.members().await;
            let (leaving, coming) = may_replace(&members, old, with, *healthy).map_err(OperationFailed)?;
            if members.iter().any(|m| m.id == coming && m.voter) {
                break leaving;
            }
            if Instant::now() >= until {
                return Err(OperationFailed(format!(
                    "{with} has not caught up within a minute and does not vote yet: {old} stays; \
                     `palctl cluster status` shows how far it is"
                )));
            }
            tokio::time::sleep(LOOK).await;
        };
        self.take_out(actor, leaving).await
    }

    /// Removes the record of a node, and waits until the group has followed.
    async fn take_out(&self, actor: Actor, id: NodeId) -> Result<(), OperationFailed> {
        let raft = self.consensus.raft();
        if raft.status().leader == Some(id) {
            let until = Instant::now() + Duration::from_secs(5);
            raft.transfer_leader(None, until).await.map_err(failed)?;
        }
        // The leader takes it out of the membership when it sees that its record is gone.
        let command = Command::RemoveNode { id };
        let reply = self
            .consensus
            .propose(actor, self.consensus.new_id(), command)
            .await;
        reply.map_err(failed)?.done().map_err(failed)?;
        if raft.status().id == id {
            return Ok(());
        }
        let until = Instant::now() + SETTLE;
        while raft.status().nodes.contains_key(&id) {
            if Instant::now() >= until {
                return Err(OperationFailed(
                    "the node's record is gone and the leader takes it out of the group as soon as it can: \
                     `palctl cluster status` shows when it has"
                        .into(),
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n1` is a voter, `n1-` one that does not answer, `l4` a learner.
    fn members(words: &str) -> Vec<Member> {
        let member = |(i, word): (usize, &str)| Member {
            id: i as u64 + 1,
            name: Name::parse(word.trim_end_matches('-')).expect("a name"),
            voter: word.starts_with('n'),
            answers: !word.ends_with('-'),
            silent_ms: Some(if word.ends_with('-') { 60_000 } else { 20 }),
        };
        words.split(' ').enumerate().map(member).collect()
    }

    fn name(word: &str) -> Name {
        Name::parse(word).expect("a name")
    }

    #[test]
    fn tolerance_counts_voters_that_answer() {
        for (words, expected) in [
            ("n1", 0),
            ("n1 n2", 0),
            ("n1 n2 n3", 1),
            ("n1 n2 n3 l4", 1),
            ("n1 n2 n3-", 0),
            ("n1 n2- n3-", -1),
            ("n1 n2 n3 n4", 1),
            ("n1 n2 n3 n4 n5", 2),
            ("n1 n2 n3 n4- n5-", 0),
        ] {
            assert_eq!(tolerance_of(&members(words)), expected, "{words}");
        }
    }

    #[test]
    fn a_node_leaves_only_where_a_quorum_stays() {
        for (words, leaves, refused) in [
            ("n1 n2 n3", "n2", None),
            ("n1 n2 n3-", "n3", None),
            ("n1 n2", "n2", None),
            ("n1 n2 n3 l4-", "l4", None),
            ("n1 n2 n3-", "n2", Some("because n3 does not answer")),
            ("n1 n2 n3- n4-", "n1", Some("n3, n4")),
            ("n1", "n1", Some("only node")),
            ("n1 l2", "n1", Some("no node would vote")),
            ("n1 n2 n3", "n9", Some("no node n9")),
        ] {
            let said = may_remove(&members(words), &name(leaves));
            match refused {
                None => assert!(said.is_ok(), "{words}: {said:?}"),
                Some(why) => assert!(said.as_ref().is_err_and(|e| e.contains(why)), "{words}: {said:?}"),
            }
        }
    }

    #[test]
    fn clean_up_takes_out_only_what_nobody_misses() {
        for (words, gone) in [
            ("n1 n2 n3", None),
            ("n1 n2 n3-", None),
            ("n1 n2 n3- n4", Some("n3")),
            ("n1 n2 n3 n4 n5-", Some("n5")),
            ("n1 n2 n3 n4- n5-", Some("n4")),
            ("n1 n2 n3 l4-", Some("l4")),
            ("n1 n2 n3- n4- n5-", None),
        ] {
            let members = members(words);
            let found = dead(&members, 60_000).map(|(m, _)| m.name.as_str());
            assert_eq!(found, gone, "{words}");
            assert_eq!(dead(&members, 60_001), None, "{words}: too early");
        }
    }

    #[test]
    fn a_node_is_replaced_only_where_a_quorum_stays_throughout() {
        for (words, old, with, healthy, refused) in [
            ("n1 n2 n3- l4", "n3", "l4", false, None),
            ("n1 n2 n3- n4", "n3", "n4", false, None),
            ("n1 n2 n3 l4", "n3", "l4", false, None),
            ("n1 n2 n3- l4", "n2", "l4", false, Some("did you mean n3")),
            ("n1 n2 n3- l4", "n2", "l4", true, None),
            ("n1 n2 n3- l4-", "n3", "l4", false, Some("l4 does not answer")),
            ("n1 n2 n3", "n3", "n3", false, Some("its own place")),
            ("n1 n2 n3", "n3", "n7", false, Some("no node n7")),
            ("n1 n2 n3", "n7", "n3", false, Some("no node n7")),
            ("n1 n2- n3- n4- n5 l6", "n4", "l6", false, Some("no quorum")),
        ] {
            let said = may_replace(&members(words), &name(old), &name(with), healthy);
            match refused {
                None => assert!(said.is_ok(), "{words}: {said:?}"),
                Some(why) => assert!(said.as_ref().is_err_and(|e| e.contains(why)), "{words}: {said:?}"),
            }
        }
    }
}
