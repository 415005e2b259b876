//! The faults: one row each, with how it is made and what ends it beyond what ends every fault (`World::heal`).

mod disk;
mod members;
mod network;
mod process;

use super::rng::Rng;
use super::world::World;
use std::time::Duration;

/// One kind of fault.
pub struct Fault {
    /// Its name, as in the table at the end of a run.
    pub name: &'static str,
    /// Whether it may come together with another.
    pub pairs: bool,
    /// Makes it.
    pub inject: fn(&mut World, &mut Step),
    /// Ends what [`World::heal`] does not.
    pub heal: fn(&mut World, &mut Step),
}

/// One fault that is made now.
#[derive(Debug)]
pub struct Step {
    /// Its own choices.
    pub rng: Rng,
    /// Who leads at its beginning.
    pub leader: usize,
    /// Whom another fault has already.
    pub taken: Vec<usize>,
    /// Whether no other fault comes with it.
    pub alone: bool,
    /// How long it lasts.
    pub hold: Duration,
    /// Whether there is time for the long forms.
    pub long: bool,
    /// Whom it hit, and how, for the log.
    pub note: String,
    /// Promises that it saw broken.
    pub broken: Vec<String>,
}

impl Step {
    /// A member that does not lead and that no other fault has.
    fn follower(&mut self, world: &World) -> usize {
        let mut not = self.taken.clone();
        not.push(self.leader);
        self.take(world, &not)
    }

    /// Any member that no other fault has.
    fn any(&mut self, world: &World) -> usize {
        let not = self.taken.clone();
        self.take(world, &not)
    }

    /// The leader, or another member if it is taken.
    fn leads(&mut self, world: &World) -> usize {
        match self.taken.contains(&self.leader) {
            true => self.any(world),
            false => {
                self.taken.push(self.leader);
                self.leader
            }
        }
    }

    fn take(&mut self, world: &World, not: &[usize]) -> usize {
        let chosen = world.member(&mut self.rng, not);
        self.taken.push(chosen);
        chosen
    }
}

fn nothing(_: &mut World, _: &mut Step) {}

/// All kinds.
pub const ALL: &[Fault] = &[
    Fault {
        name: "kill one",
        pairs: true,
        inject: process::kill_one,
        heal: nothing,
    },
    Fault {
        name: "kill the leader",
        pairs: true,
        inject: process::kill_leader,
        heal: nothing,
    },
    Fault {
        name: "kill a majority",
        pairs: false,
        inject: process::kill_majority,
        heal: nothing,
    },
    Fault {
        name: "kill all",
        pairs: false,
        inject: process::kill_all,
        heal: nothing,
    },
    Fault {
        name: "power cut of one",
        pairs: true,
        inject: process::power_of_one,
        heal: nothing,
    },
    Fault {
        name: "power cut of all",
        pairs: false,
        inject: process::power_of_all,
        heal: nothing,
    },
    Fault {
        name: "pause one",
        pairs: true,
        inject: process::pause_one,
        heal: nothing,
    },
    Fault {
        name: "pause the leader",
        pairs: true,
        inject: process::pause_leader,
        heal: nothing,
    },
    Fault {
        name: "restart storm",
        pairs: false,
        inject: process::storm,
        heal: nothing,
    },
    Fault {
        name: "rolling restart",
        pairs: false,
        inject: process::rolling,
        heal: nothing,
    },
    Fault {
        name: "upgrade under fault",
        pairs: false,
        inject: process::upgrade,
        heal: nothing,
    },
    Fault {
        name: "one-way cut",
        pairs: true,
        inject: network::one_way,
        heal: nothing,
    },
    Fault {
        name: "partition of the leader",
        pairs: false,
        inject: network::part_leader,
        heal: nothing,
    },
    Fault {
        name: "partition of a follower",
        pairs: true,
        inject: network::part_follower,
        heal: nothing,
    },
    Fault {
        name: "partition of all",
        pairs: false,
        inject: network::part_all,
        heal: nothing,
    },
    Fault {
        name: "non-transitive cut",
        pairs: true,
        inject: network::bridge,
        heal: nothing,
    },
    Fault {
        name: "loss",
        pairs: true,
        inject: network::loss,
        heal: nothing,
    },
    Fault {
        name: "delay",
        pairs: true,
        inject: network::delay,
        heal: nothing,
    },
    Fault {
        name: "rate limit",
        pairs: true,
        inject: network::rate,
        heal: nothing,
    },
    Fault {
        name: "clock forwards",
        pairs: true,
        inject: disk::clock_forwards,
        heal: nothing,
    },
    Fault {
        name: "clock back",
        pairs: true,
        inject: disk::clock_back,
        heal: nothing,
    },
    Fault {
        name: "full disk",
        pairs: true,
        inject: disk::full,
        heal: disk::empty,
    },
    Fault {
        name: "slow disk",
        pairs: true,
        inject: disk::slow,
        heal: nothing,
    },
    Fault {
        name: "failing write",
        pairs: true,
        inject: disk::failing_write,
        heal: nothing,
    },
    Fault {
        name: "failing sync",
        pairs: true,
        inject: disk::failing_sync,
        heal: disk::synced_no_more,
    },
    Fault {
        name: "bit flips",
        pairs: false,
        inject: disk::flip,
        heal: disk::repair,
    },
    Fault {
        name: "join and leave",
        pairs: false,
        inject: members::join,
        heal: members::leave,
    },
    Fault {
        name: "replace",
        pairs: false,
        inject: members::replace,
        heal: nothing,
    },
    Fault {
        name: "snapshot under fault",
        pairs: false,
        inject: members::snapshot,
        heal: nothing,
    },
];

/// The place of the kind with this name.
pub fn named(name: &str) -> Option<usize> {
    ALL.iter().position(|fault| fault.name == name)
}

/// The faults of a run, in their order: one kind or two for each step. The same seed gives the same.
///
/// Kinds come as cards of a deck that is shuffled whenever it is empty, so that each kind comes before any comes twice.
pub fn plan(rng: &mut Rng, steps: usize, only: &[usize], pairs_of_8: usize) -> Vec<Vec<usize>> {
    let kinds: Vec<usize> = match only {
        [] => (0..ALL.len()).collect(),
        some => some.to_vec(),
    };
    let partners: Vec<usize> = kinds.iter().copied().filter(|kind| ALL[*kind].pairs).collect();
    let mut deck = Vec::new();
    let mut steps_left = steps;
    let mut plan = Vec::new();
    while steps_left > 0 {
        if deck.is_empty() {
            deck.clone_from(&kinds);
            rng.shuffle(&mut deck);
        }
        let mut step: Vec<usize> = deck.pop().into_iter().collect();
        if step.iter().all(|kind| ALL[*kind].pairs) && !partners.is_empty() && rng.below(8) < pairs_of_8 {
            let other = *rng.pick(&partners);
            if !step.contains(&other) {
                step.push(other);
            }
        }
        // A pair is two faults in a row, at the same time.
        steps_left = steps_left.saturating_sub(step.len());
        plan.push(step);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_replays_the_sequence_and_every_kind_comes() {
        let of = |seed| plan(&mut Rng::new(seed), 60, &[], 3);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let kinds: BTreeSet<usize> = of(7).into_iter().flatten().collect();
        assert_eq!(kinds.len(), ALL.len());
        assert!(of(7).iter().any(|step| step.len() == 2), "none in pairs");
        let faults: usize = of(7).iter().map(Vec::len).sum();
        assert!((60..=61).contains(&faults), "{faults}");
        assert!(
            of(7)
                .iter()
                .filter(|s| s.len() == 2)
                .flatten()
                .all(|kind| ALL[*kind].pairs)
        );
    }

    #[test]
    fn names_are_found_and_differ() {
        let names: BTreeSet<&str> = ALL.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(
            ALL.iter()
                .enumerate()
                .all(|(at, fault)| named(fault.name) == Some(at))
        );
    }
}
