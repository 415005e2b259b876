//! Nodes that come and go while clients work.

use super::{Step, World};
use crate::real::world::SPARE;
use std::time::Duration;

fn enter(world: &mut World) {
    world.wipe(SPARE);
    world.start(SPARE);
    world.join(SPARE);
}

/// A fourth joins while another stands still for a moment.
pub(super) fn join(world: &mut World, step: &mut Step) {
    let one = step.follower(world);
    world.cluster.pause(one);
    step.note = format!(
        "{} joins while {} stands still",
        world.name(SPARE),
        world.name(one)
    );
    std::thread::scope(|scope| {
        let pid = world.cluster.nodes[one].pid();
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(700));
            if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
                // It is resumed once more when the fault is healed: this is only the earlier of both.
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGCONT);
            }
        });
        enter(world);
    });
    step.hold = Duration::from_secs(1);
}

/// And goes again.
pub(super) fn leave(world: &mut World, _: &mut Step) {
    // Who voted with four must vote with three: a quorum of both is there once everybody is.
    world.heal();
    world.cluster.wait_voters(world.members.len());
    world.leave(SPARE);
    world.wipe(SPARE);
}

/// A dead node is replaced by the spare, is emptied, and replaces the spare in turn.
pub(super) fn replace(world: &mut World, step: &mut Step) {
    let one = step.follower(world);
    step.note = format!("{} by {} and back", world.name(one), world.name(SPARE));
    step.hold = Duration::ZERO;
    world.kill(one);
    enter(world);
    take_place(world, one, SPARE);
    world.wipe(one);
    world.start(one);
    world.join(one);
    world.kill(SPARE);
    take_place(world, SPARE, one);
    world.wipe(SPARE);
}

fn take_place(world: &mut World, old: usize, with: usize) {
    let (gone, stays) = (world.name(old).to_owned(), world.name(with).to_owned());
    world.order(old, &["cluster", "replace", &gone, "--with", &stays, "--yes"]);
    world.members.retain(|m| *m != old);
    world.cluster.wait_voters(world.members.len());
}

/// A node that lost everything joins anew, by a snapshot where the log is not all there any more, and the leader dies
/// meanwhile.
pub(super) fn snapshot(world: &mut World, step: &mut Step) {
    let (one, leader) = (step.follower(world), step.leader);
    step.note = format!("{} joins anew while {} dies", world.name(one), world.name(leader));
    step.hold = Duration::ZERO;
    world.kill(one);
    world.leave(one);
    world.wipe(one);
    world.start(one);
    world.join(one);
    world.kill(leader);
    world.start(leader);
}
