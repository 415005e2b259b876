//! `ssh-audit` finds nothing to fail at the node's SSH port. Runs where the tool is: in PATH, or where
//! `PALISADE_SSH_AUDIT` says.

mod support;

use support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_audit_finds_nothing_to_fail() {
    let tool = std::env::var("PALISADE_SSH_AUDIT").unwrap_or_else(|_| "ssh-audit".into());
    let world = World::new().await;
    let port = world.addr.port().to_string();
    let audit = tokio::process::Command::new(&tool).args(["--skip-rate-test", "-n", "-p", &port, "127.0.0.1"]).output().await;
    match audit {
        Err(error) => eprintln!("SKIPPED: {tool}: {error} (pip install ssh-audit==3.9.0)"),
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stdout);
            println!("{said}");
            assert!(said.contains("(kex)"), "no audit: {said} {}", String::from_utf8_lossy(&out.stderr));
            assert!(!said.contains("[fail]"), "{said}");
        }
    }
    world.stop().await;
}
