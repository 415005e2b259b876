//! Sessions of stock OpenSSH through a node to a stock sshd.

mod support;

use palisade_core::event::EventKind;
use support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_through_proxyjump_brings_output_and_status() {
    let world = World::new().await;
    let out = world.ssh(&["web1", "echo hello; echo oops >&2; exit 7"]).output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!((stdout.as_ref(), stderr.as_ref(), out.status.code()), ("hello\n", "oops\n", Some(7)));
    let start = world.consensus.events_of(EventKind::SessionStart).remove(0);
    assert_eq!((start.user.as_str(), start.host.as_str()), ("alice", "web1"));
    world.stop().await;
}
