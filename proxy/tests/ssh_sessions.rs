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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_with_a_terminal_is_recorded_whole() {
    use tokio::io::AsyncWriteExt;
    let world = World::new().await;
    let mut ssh = world.ssh(&["-tt", "web1"]);
    let mut ssh = ssh.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = ssh.stdin.take().unwrap();
    stdin.write_all(b"PS1='$ '; tty; echo terminal-$((20+3)); exit 5\n").await.unwrap();
    let out = tokio::time::timeout(std::time::Duration::from_secs(20), ssh.wait_with_output()).await.unwrap().unwrap();
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(shown.contains("terminal-23") && shown.contains("/dev/pts/"), "{shown}");
    assert_eq!(out.status.code(), Some(5));
    support::until("the end is written", || {
        (!world.consensus.events_of(EventKind::SessionEnd).is_empty()).then_some(())
    })
    .await;
    let tape = world.recorders.all().remove(0);
    assert_eq!(String::from_utf8_lossy(&tape.output), shown, "what was shown is what was recorded");
    assert!(tape.finished && tape.input_bytes > 0 && !tape.sizes.is_empty());
    world.stop().await;
}
