//! Sessions of stock OpenSSH through a node to a stock sshd.

#![allow(
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that cannot go on should stop"
)]

mod support;

use palisade_core::event::EventKind;
use support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_through_proxyjump_brings_output_and_status() {
    let world = World::new().await;
    let out = world
        .ssh(&["web1", "echo hello; echo oops >&2; exit 7"])
        .output()
        .await
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert_eq!(
        (stdout.as_ref(), stderr.as_ref(), out.status.code()),
        ("hello\n", "oops\n", Some(7))
    );
    let start = world.consensus.events_of(EventKind::SessionStart).remove(0);
    assert_eq!((start.user.as_str(), start.host.as_str()), ("alice", "web1"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_with_a_terminal_is_recorded_whole() {
    use tokio::io::AsyncWriteExt;
    let world = World::new().await;
    let mut ssh = world.ssh(&["-tt", "web1"]);
    let mut ssh = ssh
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ssh.stdin.take().unwrap();
    stdin
        .write_all(b"PS1='$ '; tty; echo terminal-$((20+3)); exit 5\n")
        .await
        .unwrap();
    let out = tokio::time::timeout(std::time::Duration::from_secs(20), ssh.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        shown.contains("terminal-23") && shown.contains("/dev/pts/"),
        "{shown}"
    );
    assert_eq!(out.status.code(), Some(5));
    support::until("the end is written", || {
        (!world.consensus.events_of(EventKind::SessionEnd).is_empty()).then_some(())
    })
    .await;
    let tape = world.recordings.all().remove(0);
    assert_eq!(
        String::from_utf8_lossy(&tape.output),
        shown,
        "what was shown is what was recorded"
    );
    assert!(tape.finished && tape.input_bytes > 0 && !tape.sizes.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_stream_through_the_client_library_serves_stock_ssh() {
    use palisade_session::ssh::client::{Identity, NodeCheck, dial_through};
    use std::sync::Arc;
    let world = World::new().await;
    let authority =
        palisade_ca::ssh_key::PublicKey::from_openssh(&support::Cas::line(&world.cas.host)).unwrap();
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    let identity = Identity {
        key: Arc::new(palisade_ca::ssh_key::PrivateKey::from_openssh(read("id_alice")).unwrap()),
        certificate: palisade_ca::ssh_key::Certificate::from_openssh(read("id_alice-cert.pub").trim())
            .unwrap(),
    };
    let within = std::time::Duration::from_millis(250);
    let check = Arc::new(NodeCheck::new(vec![authority.clone()], vec!["node1".into()]));
    let bridge = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = bridge.local_addr().unwrap().port().to_string();
    let copy = async {
        let (mut near, _) = bridge.accept().await.unwrap();
        let mut far = dial_through(world.addr, check.clone(), &identity, "web1", 22, within)
            .await
            .unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    };
    let args = [
        "-o",
        "ProxyJump=none",
        "-o",
        "HostName=127.0.0.1",
        "-o",
        "HostKeyAlias=web1",
        "-p",
        &port,
        "web1",
    ];
    let mut ssh = world.ssh(&args);
    ssh.arg("head -c 20000000 /dev/zero | md5sum");
    let ((), out) = tokio::join!(copy, ssh.output());
    let out = out.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));

    // Refusals are readable, and another cluster's node is not talked to.
    let refused = dial_through(world.addr, check, &identity, "nowhere", 22, within)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("no access to a host nowhere:22"),
        "{refused}"
    );
    let other = Arc::new(NodeCheck::new(vec![authority], vec!["node9".into()]));
    let refused = dial_through(world.addr, other, &identity, "web1", 22, within)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("another name"), "{refused}");
    world.stop().await;
}

/// As `pal proxy ssh` goes: the connection to the node is itself the way to the host, and no second SSH layer is on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_becomes_the_way_to_the_host() {
    use palisade_session::ssh::client::{ConnectError, Identity, NodeCheck, Nothing, dial, handshake_on};
    use palisade_session::ssh::stream::Transport;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new().await;
    let authority =
        palisade_ca::ssh_key::PublicKey::from_openssh(&support::Cas::line(&world.cas.host)).unwrap();
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    let identity = Identity {
        key: Arc::new(palisade_ca::ssh_key::PrivateKey::from_openssh(read("id_alice")).unwrap()),
        certificate: palisade_ca::ssh_key::Certificate::from_openssh(read("id_alice-cert.pub").trim())
            .unwrap(),
    };
    let way = async |host: &str| -> Result<tokio::net::TcpStream, ConnectError> {
        let check = Arc::new(NodeCheck::new(vec![authority.clone()], vec!["node1".into()]));
        let stream = dial(world.addr, std::time::Duration::from_secs(5)).await?;
        let (transport, back) = Transport::lending(stream);
        let mut connection = handshake_on(transport, "node1", check, Nothing).await?;
        connection.login(identity.certificate.key_id(), &identity).await?;
        connection.way(back, host, 22).await
    };

    // What follows on the stream is the host's SSH, from its first byte on, in clear.
    let mut stream = way("web1").await.unwrap();
    let mut hello = [0; 16];
    stream.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"SSH-2.0-Palisade");
    drop(stream);

    let bridge = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = bridge.local_addr().unwrap().port().to_string();
    let copy = async {
        let (mut near, _) = bridge.accept().await.unwrap();
        let mut far = way("web1").await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    };
    let to = [
        "-o",
        "ProxyJump=none",
        "-o",
        "HostName=127.0.0.1",
        "-o",
        "HostKeyAlias=web1",
        "-p",
        &port,
    ];
    let mut ssh = world.ssh(&to);
    ssh.args(["web1", "head -c 20000000 /dev/zero | md5sum"]);
    let ((), out) = tokio::join!(copy, ssh.output());
    let out = out.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(world.recordings.all().len(), 1, "it is recorded as any other");

    let refused = way("nowhere").await.unwrap_err();
    assert!(
        refused.to_string().contains("no access to a host nowhere:22"),
        "{refused}"
    );

    // The stream is no more than a stream: what is not SSH ends it.
    let mut stream = way("web1").await.unwrap();
    stream.write_all(b"not SSH at all\r\n").await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.ok();
    assert!(all.starts_with(b"SSH-2.0-Palisade"), "{all:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environment_that_sshd_accepts_arrives() {
    let world = World::new().await;
    let out = world
        .ssh(&["-o", "SetEnv=PAL_COLOUR=blue", "web1", "echo $PAL_COLOUR"])
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "blue\n");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_killed_by_a_signal_is_reported_as_such() {
    let world = World::new().await;
    let out = world.ssh(&["web1", "kill -TERM $$"]).output().await.unwrap();
    // OpenSSH's client reports exit-signal as 255.
    assert_eq!(
        out.status.code(),
        Some(255),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let end = support::until("the end", || {
        world.consensus.events_of(EventKind::SessionEnd).pop()
    })
    .await;
    assert_eq!(end.data.get("exit_signal").map(String::as_str), Some("TERM"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scp_and_sftp_carry_files_both_ways() {
    let world = World::new().await;
    let data: Vec<u8> = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(world.path("here"), &data).unwrap();
    let path = |name: &str| world.path(name).display().to_string();
    let there = format!("web1:{}", path("there"));
    let out = world
        .client("scp", &["-q", &path("here"), &there])
        .output()
        .await
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let out = world
        .client("scp", &["-q", &there, &path("back")])
        .output()
        .await
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(std::fs::read(world.path("back")).unwrap() == data);
    std::fs::write(
        world.path("batch"),
        format!("put {} {}\nls -l {}\n", path("here"), path("put"), path("put")),
    )
    .unwrap();
    let out = world
        .client("sftp", &["-q", "-b", &path("batch"), "web1"])
        .output()
        .await
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(std::fs::read(world.path("put")).unwrap() == data);
    let transfers = support::until("three transfers", || {
        let transfers = world.consensus.events_of(EventKind::FileTransfer);
        (transfers.len() >= 3).then_some(transfers)
    })
    .await;
    let of = |name: &str, key: &str| {
        let found = transfers
            .iter()
            .find(|e| e.target.ends_with(name) && e.data.contains_key(key));
        found.and_then(|e| e.data.get(key).cloned())
    };
    assert_eq!(
        of("there", "bytes_written").as_deref(),
        Some("3000000"),
        "{transfers:?}"
    );
    assert_eq!(
        of("there", "bytes_read").as_deref(),
        Some("3000000"),
        "{transfers:?}"
    );
    assert_eq!(
        of("put", "bytes_written").as_deref(),
        Some("3000000"),
        "{transfers:?}"
    );
    // The protocol before SFTP, which passes as a command, leaves the same trace.
    let out = world
        .client(
            "scp",
            &["-q", "-O", &path("here"), &format!("web1:{}", path("old"))],
        )
        .output()
        .await
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let old = support::until("the transfer of the old protocol", || {
        let transfers = world.consensus.events_of(EventKind::FileTransfer);
        transfers.into_iter().find(|e| e.target.ends_with("old"))
    })
    .await;
    let hash = tokio::process::Command::new("sha256sum")
        .arg(path("here"))
        .output()
        .await
        .unwrap();
    let hash = String::from_utf8_lossy(&hash.stdout[..64]).into_owned();
    assert_eq!(old.data.get("sha256"), Some(&hash), "{old:?}");
    assert_eq!(of("there", "sha256"), Some(hash), "{transfers:?}");
    let summary = support::until("one summary for each session", || {
        let all = world.consensus.events_of(EventKind::FileSummary);
        (all.len() == 4).then_some(all)
    })
    .await;
    let written = |e: &palisade_core::event::Event| e.data["files_written"] == "1";
    assert_eq!(summary.iter().filter(|e| written(e)).count(), 3, "{summary:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_file_copy_is_refused_in_every_protocol() {
    let role =
        "{options: {file_copy: false}, allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}}";
    let world = World::with_role(role).await;
    let path = |name: &str| world.path(name).display().to_string();
    std::fs::write(world.path("here"), "content").unwrap();
    let to = format!("web1:{}", path("there"));
    let tries = [
        world.client("sftp", &["-b", "/dev/null", "web1"]),
        world.client("scp", &["-q", &path("here"), &to]),
        world.client("scp", &["-q", "-O", &path("here"), &to]),
        world.ssh(&["web1", &format!("cat > {}", path("there"))]),
        world.ssh(&["web1", "cat /etc/hostname"]),
    ];
    for (n, mut command) in tries.into_iter().enumerate() {
        let out = command.output().await.unwrap();
        assert!(!out.status.success(), "{command:?}");
        let why = String::from_utf8_lossy(&out.stderr);
        assert!(
            why.contains("sftp is not allowed by your roles"),
            "{command:?}: {why}"
        );
        let refused = world.consensus.events_of(EventKind::ChannelRefused).len();
        assert_eq!(refused, n + 1, "{command:?}");
    }
    assert!(!world.path("there").exists());
    assert!(world.consensus.events_of(EventKind::SessionStart).is_empty());
    let out = world.ssh(&["web1", "true"]).output().await.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_without_a_terminal_is_recorded_up_to_the_cap() {
    let world = World::new().await;
    world.put("kind: session_recording_config\nversion: v1\nmetadata: {name: session-recording-config}\nspec: {exec_capture_bytes: 1000}");
    let out = world
        .ssh(&["web1", "head -c 5000 /dev/zero | tr '\\0' x; echo err >&2"])
        .output()
        .await
        .unwrap();
    assert_eq!(out.stdout.len(), 5000);
    support::until("the end", || {
        world.consensus.events_of(EventKind::SessionEnd).pop()
    })
    .await;
    let tape = world.recordings.all().remove(0);
    assert_eq!(
        (tape.output.len(), tape.error_output.as_slice()),
        (1000, &b"err\n"[..])
    );
    assert!(tape.captured.contains(&(5000, 1000)) && tape.finished, "{tape:?}");
    assert!(tape.command.starts_with("head -c 5000"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_window_size_reaches_the_program_and_the_recording() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new().await;
    // `script` gives ssh a terminal of its own, whose size we change.
    let config = world.path("config").display().to_string();
    let inner =
        format!("stty rows 30 cols 100; ssh -F {config} -tt web1 'stty size; read x; stty size; exit'");
    let mut script = tokio::process::Command::new("script");
    script.args([
        "-qec",
        &format!("bash -c '{}'", inner.replace('\'', "'\\''")),
        "/dev/null",
    ]);
    script
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true);
    let mut script = script.spawn().unwrap();
    let (mut stdin, mut stdout) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let mut shown = String::new();
    let mut buf = [0; 1024];
    let mut typed = false;
    let read = async {
        loop {
            let n = stdout.read(&mut buf).await.unwrap_or(0);
            if n == 0 {
                return shown;
            }
            shown.push_str(&String::from_utf8_lossy(&buf[..n]));
            if shown.contains("30 100") && !typed {
                typed = true;
                // The session's terminal is the one that ssh runs in.
                let resize = "for p in /proc/[0-9]*; do if grep -qs -- \"$0\" $p/cmdline && [ \"$(readlink $p/exe)\" = /usr/bin/ssh ]; \
                              then t=$(readlink $p/fd/0); case $t in /dev/pts/*) stty -F $t rows 44 cols 132;; esac; fi; done";
                let out = tokio::process::Command::new("bash")
                    .args(["-c", resize, &config])
                    .output()
                    .await
                    .unwrap();
                assert!(out.status.success(), "{out:?}");
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                stdin.write_all(b"\n").await.unwrap();
            }
        }
    };
    let shown = tokio::time::timeout(std::time::Duration::from_secs(20), read)
        .await
        .expect("the session ends");
    assert!(shown.contains("44 132"), "{shown}");
    support::until("the end", || {
        world.consensus.events_of(EventKind::SessionEnd).pop()
    })
    .await;
    let sizes = world.recordings.all().remove(0).sizes;
    assert_eq!(
        (sizes.first(), sizes.last()),
        (Some(&(100, 30)), Some(&(132, 44)))
    );
    world.stop().await;
}

/// A sequence number that is not reset with the keys under strict key exchange ends in a bad MAC at stock ssh.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cipher_survives_many_changes_of_keys() {
    let world = World::new().await;
    for cipher in [
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
        "aes256-ctr",
        "aes128-ctr",
    ] {
        let ciphers = format!("Ciphers={cipher}");
        let out = world
            .ssh(&[
                "-o",
                &ciphers,
                "-o",
                "RekeyLimit=256K",
                "web1",
                "head -c 4194304 /dev/zero",
            ])
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{cipher}: {said}");
        assert_eq!(out.stdout.len(), 4_194_304, "{cipher}: {said}");
    }
    world.stop().await;
}
