//! Forwarded connections by stock ssh.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_core::event::EventKind;
use palisade_testkit::free_port;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;
use support::{EVERYTHING, User, WITHIN, World, ended, open_up, said, until};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::process::Child;

/// Answers every connection with what it was sent.
fn echo_tcp(listener: TcpListener) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
}

fn echo_unix(listener: UnixListener) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
}

async fn echoes(stream: impl AsyncRead + AsyncWrite + Unpin) -> bool {
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 3) as u8).collect();
    let (mut read, mut write) = tokio::io::split(stream);
    let mut got = Vec::new();
    let both = async {
        let write = async {
            let _ = write.write_all(&data).await;
            let _ = write.shutdown().await;
        };
        let (_, _) = tokio::join!(write, read.read_to_end(&mut got));
    };
    tokio::time::timeout(WITHIN, both).await.expect("the echo ends");
    got == data
}

fn forwarding(world: &World, args: &[&str]) -> Child {
    let all: Vec<&str> = ["-N", "-o", "ExitOnForwardFailure=yes"]
        .iter()
        .chain(args)
        .copied()
        .chain(["web1"])
        .collect();
    world.ssh(&all).stderr(Stdio::piped()).spawn().unwrap()
}

async fn reach(port: u16) -> TcpStream {
    let deadline = tokio::time::Instant::now() + WITHIN;
    loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => return stream,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_forwarded_in_every_direction() {
    let world = World::new().await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = target.local_addr().unwrap();
    echo_tcp(target);
    let (local, remote, socks) = (free_port(), free_port(), free_port());
    let _ssh = forwarding(
        &world,
        &[
            "-L",
            &format!("{local}:{to}"),
            "-R",
            &format!("{remote}:{to}"),
            "-D",
            &socks.to_string(),
        ],
    );
    assert!(echoes(reach(local).await).await, "-L");
    assert!(echoes(reach(remote).await).await, "-R");
    let mut through = reach(socks).await;
    // SOCKS5 without a password, to an address and a port.
    through.write_all(&[5, 1, 0]).await.unwrap();
    let mut answer = [0; 2];
    through.read_exact(&mut answer).await.unwrap();
    let mut ask = vec![5, 1, 0, 1, 127, 0, 0, 1];
    ask.extend(to.port().to_be_bytes());
    through.write_all(&ask).await.unwrap();
    let mut answer = [0; 10];
    through.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[1], 0);
    assert!(echoes(through).await, "-D");
    let kinds: Vec<_> = world
        .uplink
        .of(EventKind::Forward)
        .iter()
        .map(|e| e.data["kind"].clone())
        .collect();
    assert_eq!(
        kinds.iter().filter(|k| *k == "local port forwarding").count(),
        2,
        "{kinds:?}"
    );
    assert_eq!(
        kinds.iter().filter(|k| *k == "remote port forwarding").count(),
        1,
        "{kinds:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_given_back_when_its_connection_ends() {
    let world = World::new().await;
    let port = free_port();
    let mut ssh = forwarding(&world, &["-R", &format!("{port}:127.0.0.1:1")]);
    drop(reach(port).await);
    ssh.kill().await.unwrap();
    until("the port is free", || {
        std::net::TcpListener::bind(("127.0.0.1", port)).ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_forwarded_both_ways_as_the_user() {
    let user = User::make("sockets_are_forwarded_as_the_user", &[]);
    let login = user.as_ref().map_or_else(support::me, |user| user.name.clone());
    let world = World::with(EVERYTHING, &login, |_| {}).await;
    let mine = world.path("mine");
    std::fs::create_dir(&mine).unwrap();
    open_up(&mine);
    if let Some(user) = &user {
        std::os::unix::fs::chown(&mine, Some(user.uid()), None).unwrap();
    }
    let host = world.path("host.sock");
    echo_unix(UnixListener::bind(&host).unwrap());
    let open = |path: &std::path::Path, mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&host, 0o666);
    let (local, made) = (world.path("local.sock"), mine.join("made.sock"));
    let mut ssh = forwarding(
        &world,
        &[
            "-L",
            &format!("{}:{}", local.display(), host.display()),
            "-R",
            &format!("{}:{}", made.display(), host.display()),
        ],
    );
    until("both are there", || {
        (local.exists() && made.exists()).then_some(())
    })
    .await;
    assert!(echoes(UnixStream::connect(&local).await.unwrap()).await, "-L");
    assert!(echoes(UnixStream::connect(&made).await.unwrap()).await, "-R");
    let metadata = std::fs::metadata(&made).unwrap();
    assert_eq!(metadata.mode() & 0o077, 0, "for its owner only");
    if let Some(user) = &user {
        assert_eq!(metadata.uid(), user.uid());
        // What the user may not open stays shut, whoever the agent is.
        open(&host, 0o600);
        assert!(!echoes(UnixStream::connect(&local).await.unwrap()).await);
    }
    ssh.kill().await.unwrap();
    until("the socket is removed", || (!made.exists()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_below_1024_are_roots() {
    let Some(user) = User::make("ports_below_1024", &[]) else {
        return;
    };
    let world = World::with(EVERYTHING, &user.name, |_| {}).await;
    let out = ended(world.ssh(&[
        "-o",
        "ExitOnForwardFailure=yes",
        "-N",
        "-R",
        "1023:127.0.0.1:1",
        "web1",
    ]))
    .await;
    assert!(
        said(&out.stderr).contains("forwarding failed"),
        "{}",
        said(&out.stderr)
    );
    assert!(
        world.uplink.of(EventKind::ChannelRefused)[0]
            .message
            .contains("below 1024")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_are_refused_where_the_role_says_so() {
    let role = "
    options: {port_forwarding: false}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    let out = ended(world.ssh(&["-W", "127.0.0.1:1", "web1"])).await;
    assert!(
        said(&out.stderr).contains("local port forwarding is not allowed by your roles"),
        "{}",
        said(&out.stderr)
    );
    let out = ended(world.ssh(&[
        "-o",
        "ExitOnForwardFailure=yes",
        "-N",
        "-R",
        "0:127.0.0.1:1",
        "web1",
    ]))
    .await;
    assert!(!out.status.success());
    assert_eq!(world.uplink.of(EventKind::ChannelRefused).len(), 2);
    assert!(world.uplink.of(EventKind::Forward).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_agent_is_reached_from_the_host_and_only_by_them() {
    let user = User::make("the_users_agent", &[]);
    let login = user.as_ref().map_or_else(support::me, |user| user.name.clone());
    let world = World::with(EVERYTHING, &login, |_| {}).await;
    let socket = world.path("agent.sock");
    let mut agent = tokio::process::Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the agent runs", || socket.exists().then_some(())).await;
    let key = world.path("extra");
    let keygen = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "carried-key", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(keygen.success());
    let add = std::process::Command::new("ssh-add")
        .arg("-q")
        .arg(&key)
        .env("SSH_AUTH_SOCK", &socket)
        .status()
        .unwrap();
    assert!(add.success());
    let script = "ssh-add -l; stat -c '%U %a' $(dirname $SSH_AUTH_SOCK); echo $SSH_AUTH_SOCK";
    let agent_at = format!("IdentityAgent={}", socket.display());
    let out = ended(world.ssh(&["-A", "-o", &agent_at, "web1", script])).await;
    let text = said(&out.stdout);
    assert!(text.contains("carried-key"), "{text} {}", said(&out.stderr));
    assert!(text.contains(&format!("{login} 700")), "{text}");
    let path = text.lines().last().unwrap().to_owned();
    let gone = std::path::Path::new(&path).parent().unwrap().to_owned();
    until("the directory is removed", || (!gone.exists()).then_some(())).await;
    assert!(
        world
            .uplink
            .of(EventKind::Forward)
            .iter()
            .any(|e| e.data["kind"] == "agent forwarding")
    );
    agent.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_display_is_carried_with_a_made_up_cookie() {
    let user = User::make("a_display_is_carried", &[]);
    let Some(user) = user else { return };
    let world = World::with(EVERYTHING, &user.name, |_| {}).await;
    // A display that answers everything with the same four bytes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = listener.local_addr().unwrap().port() - 6000;
    let (told, mut hears) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = vec![0; 12 + 20 + 16];
            if stream.read_exact(&mut hello).await.is_ok() {
                let _ = told.send(hello).await;
                let _ = stream.write_all(b"SEEN").await;
            }
        }
    });
    // What a client of X says first: its byte order, the version, the kind of its cookie, the cookie.
    let script = "c=$(xauth list $DISPLAY | awk '{print $3}'); p=$((6000 + $(echo $DISPLAY | sed 's/.*:\\([0-9]*\\).*/\\1/'))); \
        perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => \"127.0.0.1\", PeerPort => $ARGV[1]) or die; \
        print $s \"l\\0\" . pack(\"v5\", 11, 0, 18, 16, 0) . \"MIT-MAGIC-COOKIE-1\\0\\0\" . pack(\"H*\", $ARGV[0]); \
        $s->flush; read($s, $b, 4); print $b' $c $p";
    let auth = world.path("xauthority");
    let cookie = "00112233445566778899aabbccddeeff";
    let added = std::process::Command::new("xauth")
        .arg("-f")
        .arg(&auth)
        .args([
            "add",
            &format!("127.0.0.1:{number}"),
            "MIT-MAGIC-COOKIE-1",
            cookie,
        ])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(added.success());
    let mut ssh = world.ssh(&["-Y", "web1", script]);
    ssh.env("DISPLAY", format!("127.0.0.1:{number}"))
        .env("XAUTHORITY", &auth);
    let out = ended(ssh).await;
    assert_eq!(said(&out.stdout).trim(), "SEEN", "{}", said(&out.stderr));
    let hello = hears.recv().await.unwrap();
    let real: Vec<u8> = (0..16)
        .map(|n| u8::from_str_radix(&cookie[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    assert_eq!(
        &hello[32..],
        &real[..],
        "the user's client put the real cookie in"
    );
}
