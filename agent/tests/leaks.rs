//! What sessions leave behind in the agent's process. A file of its own, as the process is what is looked at.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use support::{World, ended, said, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_hundred_sessions() {
    let world = World::new().await;
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(ended(world.ssh(&["web1", "true"])).await.status.success());
    until("it is over", || world.server.live().is_empty().then_some(())).await;
    let before = descriptors();
    let control = world.path("control");
    let control = control.to_str().unwrap();
    let master = world.ssh(&["-M", "-S", control, "-N", "web1"]).spawn().unwrap();
    until("the master is up", || {
        std::fs::exists(control).unwrap().then_some(())
    })
    .await;
    for n in 0..100 {
        let args: &[&str] = if n % 10 == 0 {
            &["-tt", "-S", control, "web1", "true"]
        } else {
            &["-S", control, "web1", "true"]
        };
        let out = ended(world.ssh(args)).await;
        assert!(out.status.success(), "{n}: {}", said(&out.stderr));
    }
    drop(master);
    until("all is over", || world.server.live().is_empty().then_some(())).await;
    until("descriptors are given back", || {
        (descriptors() <= before + 2).then_some(())
    })
    .await;
    until("everything is waited for", || zombies().is_empty().then_some(())).await;
}

/// Helpers of ours that have ended and were not waited for.
fn zombies() -> Vec<String> {
    let us = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((name, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Clients of the test are waited for by the test.
        if fields[0] == "Z" && fields[1] == us && !name.ends_with("(ssh") {
            found.push(stat);
        }
    }
    found
}
