//! Processes that end, stand still, or begin again.

use super::{Step, World};
use palisade_testkit::Loss;
use std::time::Duration;

pub(super) fn kill_one(world: &mut World, step: &mut Step) {
    let one = step.follower(world);
    step.note = world.name(one).to_owned();
    world.kill(one);
}

pub(super) fn kill_leader(world: &mut World, step: &mut Step) {
    let one = step.leads(world);
    step.note = world.name(one).to_owned();
    world.kill(one);
}

pub(super) fn kill_majority(world: &mut World, step: &mut Step) {
    let two = [step.leads(world), step.follower(world)];
    step.note = two.map(|i| world.name(i)).join(", ");
    two.iter().for_each(|i| world.kill(*i));
}

pub(super) fn kill_all(world: &mut World, step: &mut Step) {
    step.hold = Duration::from_millis(500);
    for i in world.members.clone() {
        world.kill(i);
    }
}

fn loss(step: &mut Step) -> Loss {
    match step.rng.below(2) {
        0 => Loss::All,
        _ => Loss::Prefix,
    }
}

/// A machine without power: what was never synced is gone, all of it or from a torn write on.
pub(super) fn power_of_one(world: &mut World, step: &mut Step) {
    let one = step.any(world);
    let lost = loss(step);
    let undone = world.power_cut(one, lost, &mut step.rng);
    step.note = format!("{}: {undone} writes are gone ({lost:?})", world.name(one));
}

pub(super) fn power_of_all(world: &mut World, step: &mut Step) {
    step.hold = Duration::from_millis(500);
    for i in world.members.clone() {
        world.kill(i);
    }
    for i in world.members.clone() {
        let lost = loss(step);
        let undone = world.power_cut(i, lost, &mut step.rng);
        step.note += &format!(" {}: {undone} writes are gone ({lost:?})", world.name(i));
    }
}

/// From a hiccup to what everybody takes for death.
fn standstill(step: &mut Step) -> Duration {
    let choices: &[u64] = match step.long {
        true => &[100, 300, 1000, 1000, 3000, 3000, 10_000, 30_000],
        false => &[100, 1000, 3000],
    };
    Duration::from_millis(*step.rng.pick(choices))
}

pub(super) fn pause_one(world: &mut World, step: &mut Step) {
    let one = step.follower(world);
    step.hold = standstill(step);
    step.note = world.name(one).to_owned();
    world.cluster.pause(one);
}

pub(super) fn pause_leader(world: &mut World, step: &mut Step) {
    let one = step.leads(world);
    step.hold = standstill(step);
    step.note = world.name(one).to_owned();
    world.cluster.pause(one);
}

/// Kills and starts in a row, without waiting for anybody to be well.
pub(super) fn storm(world: &mut World, step: &mut Step) {
    step.hold = Duration::ZERO;
    for _ in 0..5 {
        let one = world.member(&mut step.rng, &[]);
        step.note += &format!(" {}", world.name(one));
        world.kill(one);
        world.start(one);
    }
}

pub(super) fn rolling(world: &mut World, step: &mut Step) {
    step.hold = Duration::ZERO;
    for i in world.members.clone() {
        world.cluster.stop(i);
        world.start(i);
        world.cluster.wait_voters(world.members.len());
    }
}

/// Every node gets another program, one after the other; meanwhile another one stands still or dies. There is one version
/// so far: the other program is the same one under another path.
pub(super) fn upgrade(world: &mut World, step: &mut Step) {
    step.hold = Duration::ZERO;
    let members = world.members.clone();
    for i in members {
        world.cluster.stop(i);
        let other = world.member(&mut step.rng, &[i]);
        let dies = step.rng.below(2) == 0;
        match dies {
            true => world.kill(other),
            false => world.cluster.pause(other),
        }
        world.change_program(i);
        world.start(i);
        match dies {
            true => world.start(other),
            false => world.cluster.resume(other),
        }
        step.note += &format!(
            " {} while {} {}",
            world.name(i),
            world.name(other),
            if dies { "died" } else { "stood still" }
        );
        world.cluster.wait_voters(world.members.len());
    }
}
