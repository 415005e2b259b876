//! Networks that lose, delay and starve, between nodes.

use super::{Step, World};

pub(super) fn one_way(world: &mut World, step: &mut Step) {
    let (leader, one) = (step.leader, step.follower(world));
    let way = match step.rng.below(2) {
        0 => (leader, one),
        _ => (one, leader),
    };
    step.note = format!("{} to {}", world.name(way.0), world.name(way.1));
    world.net.cut(way);
}

pub(super) fn part_leader(world: &mut World, step: &mut Step) {
    let one = step.leads(world);
    step.note = world.name(one).to_owned();
    world.net.part(one, &world.members);
}

pub(super) fn part_follower(world: &mut World, step: &mut Step) {
    let one = step.follower(world);
    step.note = world.name(one).to_owned();
    world.net.part(one, &world.members);
}

/// Nobody has a majority.
pub(super) fn part_all(world: &mut World, _: &mut Step) {
    for i in world.members.clone() {
        world.net.part(i, &world.members);
    }
}

/// Two do not hear each other, and a third hears both.
pub(super) fn bridge(world: &mut World, step: &mut Step) {
    let one = step.follower(world);
    let other = world.member(&mut step.rng, &[one]);
    step.note = format!("{} and {}", world.name(one), world.name(other));
    world.net.part(one, &[other]);
}

pub(super) fn loss(world: &mut World, step: &mut Step) {
    let of_256 = *step.rng.pick(&[8_u8, 26, 77]);
    step.note = format!("{} %", u32::from(of_256) * 100 / 256);
    world.net.lose(of_256);
}

pub(super) fn delay(world: &mut World, step: &mut Step) {
    let one = step.any(world);
    let (millis, jitter) = *step.rng.pick(&[(5, 5), (20, 20), (60, 30)]);
    step.note = format!(
        "{}: {millis} ms each way, and up to {jitter} more",
        world.name(one)
    );
    world.net.delay(one, millis, jitter);
}

pub(super) fn rate(world: &mut World, step: &mut Step) {
    let one = step.any(world);
    let rate = *step.rng.pick(&["1mbit", "4mbit", "16mbit"]);
    step.note = format!("{}: {rate}", world.name(one));
    world.net.limit(one, rate);
}
