//! Disks that are full, slow or sick, clocks that step, and bits that flip in a stopped node's files.

use super::{Step, World};
use crate::real::shim::{EIO, Knob};
use crate::real::world::walk;
use std::fs;
use std::time::{Duration, Instant};

const HOUR_NS: i64 = 3600 * 1_000_000_000;

fn set(world: &World, step: &mut Step, knobs: &[(Knob, i64)]) {
    let one = step.any(world);
    let name = world.name(one);
    step.note = match one == step.leader {
        true => format!("{name}, which leads"),
        false => name.to_owned(),
    };
    for (knob, value) in knobs {
        world.shims[one].set(*knob, *value);
    }
}

pub(super) fn clock_forwards(world: &mut World, step: &mut Step) {
    set(world, step, &[(Knob::Clock, HOUR_NS)]);
}

pub(super) fn clock_back(world: &mut World, step: &mut Step) {
    set(world, step, &[(Knob::Clock, -HOUR_NS)]);
}

pub(super) fn slow(world: &mut World, step: &mut Step) {
    let sync = *step.rng.pick(&[20_000, 100_000, 400_000]);
    set(
        world,
        step,
        &[(Knob::SyncDelay, sync), (Knob::WriteDelay, sync / 50)],
    );
}

pub(super) fn failing_write(world: &mut World, step: &mut Step) {
    set(world, step, &[(Knob::WriteError, EIO)]);
}

pub(super) fn failing_sync(world: &mut World, step: &mut Step) {
    set(world, step, &[(Knob::SyncError, EIO)]);
}

/// A node whose disk does not sync stops: nothing may be acknowledged that is not there.
pub(super) fn synced_no_more(world: &mut World, step: &mut Step) {
    // With another fault beside it there may be nothing to write.
    let Some(sick) = step.taken.last().copied().filter(|_| step.alone) else {
        return;
    };
    let until = Instant::now() + Duration::from_secs(30);
    while world.cluster.nodes[sick].is_running() {
        if Instant::now() > until {
            step.broken.push(format!(
                "{} goes on for half a minute while every sync fails",
                world.name(sick)
            ));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if !world.cluster.nodes[sick]
        .log()
        .contains("this node stops at once")
    {
        step.broken
            .push(format!("{} does not say why it stopped", world.name(sick)));
    }
}

pub(super) fn full(world: &mut World, step: &mut Step) {
    let one = step.any(world);
    let left = *step.rng.pick(&[0, 1 << 20, 24 << 20]);
    step.note = format!("{}: {} KiB left", world.name(one), left >> 10);
    world.disks[one].fill(left);
}

pub(super) fn empty(world: &mut World, step: &mut Step) {
    for one in &step.taken {
        if world.disks[*one].is_filled() {
            world.disks[*one].empty();
        }
    }
}

/// Flips one bit in every hundred bytes or so of what a stopped node has written.
pub(super) fn flip(world: &mut World, step: &mut Step) {
    let one = step.any(world);
    step.note = world.name(one).to_owned();
    step.hold = Duration::ZERO;
    world.kill(one);
    let mut files = Vec::new();
    walk(&world.cluster.nodes[one].data, &mut files);
    for file in files
        .iter()
        .filter(|file| file.file_name().is_some_and(|name| name == "db"))
    {
        let mut bytes = fs::read(file).expect("it is there");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let from = step.rng.below(97);
        for at in (from..used).step_by(97) {
            bytes[at] ^= 1 << step.rng.below(8);
        }
        fs::write(file, bytes).expect("it is ours");
    }
}

/// The node must refuse to start and say what repairs it; then it is repaired.
pub(super) fn repair(world: &mut World, step: &mut Step) {
    let one = step.taken[0];
    let said = world.cluster.spawn_refused(one);
    if !said.contains("palisade repair") {
        step.broken.push(format!(
            "{} does not say what repairs it: {said}",
            world.name(one)
        ));
    }
    let report = world.repair(one, &[]);
    if report.succeeded() || !report.text().contains("cluster leave") {
        step.broken
            .push(format!("repair does not see the damage: {report}"));
    }
    world.leave(one);
    world.rejoin(one);
}
