//! Shells and commands, by stock ssh.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_core::event::EventKind;
use palisade_core::record::{Completeness, SessionKind};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::{Cas, EVERYTHING, User, WITHIN, World, decide, now_secs, said, until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// A second until it is noticed, a second of patience with the program, and a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// A terminal by `ssh -tt`: what is typed and what is shown.
struct Tty {
    child: Child,
    keys: ChildStdin,
    screen: BufReader<ChildStdout>,
}

impl Tty {
    fn open(world: &World, args: &[&str]) -> Tty {
        let all: Vec<&str> = ["-tt"].iter().chain(args).copied().collect();
        let mut child = world
            .ssh(&all)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Tty {
            keys: child.stdin.take().unwrap(),
            screen: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    async fn keys(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until a line has this in it.
    async fn shows(&mut self, what: &str) -> String {
        let mut line = Vec::new();
        let mut seen = String::new();
        let read = async {
            loop {
                line.clear();
                let n = self.screen.read_until(b'\n', &mut line).await.unwrap();
                seen.push_str(&said(&line));
                if said(&line).contains(what) || n == 0 {
                    return n > 0;
                }
            }
        };
        let found = tokio::time::timeout(WITHIN, read).await;
        assert_eq!(found, Ok(true), "{what:?} was not shown; {seen}");
        said(&line)
    }

    /// What is said on standard error, and the status.
    async fn over(mut self) -> (String, Option<i32>) {
        drop(self.keys);
        let mut err = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        let read = async {
            let mut rest = Vec::new();
            let (_, _) = tokio::join!(
                stderr.read_to_string(&mut err),
                self.screen.read_to_end(&mut rest)
            );
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(WITHIN, read).await.expect("ssh ends");
        (err, status.code())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_has_its_streams_and_its_status_and_is_recorded() {
    let world = World::new().await;
    let out = world
        .run("ssh", &["web1", "echo out; echo err >&2; exit 7"])
        .await;
    assert_eq!(
        (said(&out.stdout), out.status.code()),
        ("out\n".into(), Some(7)),
        "{}",
        said(&out.stderr)
    );
    assert_eq!(said(&out.stderr), "err\n");
    let session = until("the end is written", || world.uplink.ended()).await;
    assert_eq!(session.completeness(), Completeness::Complete);
    assert_eq!(session.row.session_kind, SessionKind::Exec);
    assert_eq!(session.row.command, "echo out; echo err >&2; exit 7");
    let tape = session.tape();
    assert_eq!(
        (said(&tape.output), said(&tape.error_output)),
        ("out\n".into(), "err\n".into())
    );
    assert!(tape.finished);
    let end = world.uplink.of(EventKind::SessionEnd).remove(0);
    assert_eq!(end.data["exit_status"], "7");
    assert_eq!(
        (end.user.as_str(), end.login.as_str(), end.host.as_str()),
        ("alice", &*world.login, "web1")
    );
    assert_eq!(world.uplink.of(EventKind::SessionStart).len(), 1);
    assert_eq!(
        world.uplink.of(EventKind::Exec)[0].target,
        "echo out; echo err >&2; exit 7"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_passes_both_ways_unchanged() {
    let world = World::new().await;
    let data: Vec<u8> = (0..20_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut child = world
        .ssh(&["web1", "tee /dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut got = Vec::new();
    let pass = async {
        let write = async {
            to.write_all(&data).await.unwrap();
            drop(to);
        };
        let (_, read) = tokio::join!(write, from.read_to_end(&mut got));
        read.unwrap();
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(WITHIN, pass).await.expect("it ends");
    assert!(status.success());
    assert!(got == data, "{} bytes of {}", got.len(), data.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_read_stalls_nobody_and_ends_with_its_client() {
    let world = World::new().await;
    let mut child = world
        .ssh(&["web1", "echo here; exec sleep 1000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let mut line = [0; 5];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut line)
        .await
        .unwrap();
    tokio::spawn(async move { to.write_all(&vec![0; 30_000_000]).await });
    let row = until("it is listed", || world.server.live().pop()).await;
    assert_eq!(row.session.kind, "exec");
    child.kill().await.unwrap();
    until("its end is written", || world.uplink.ended()).await;
    assert!(world.server.live().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_has_a_terminal_of_its_own() {
    let world = World::new().await;
    let mut tty = Tty::open(&world, &["web1"]);
    tty.keys("stty -echo; PS1=; tty; test -t 0 && test -t 1 && echo is''-a-tty; echo $TERM-$PALISADE_USER\n")
        .await;
    let path = tty.shows("/dev/pts/").await;
    assert!(path.contains("/dev/pts/"), "{path}");
    tty.shows("is-a-tty").await;
    tty.shows("-alice").await;
    let row = world.server.live().remove(0);
    assert_eq!(
        (row.session.kind.as_str(), row.participants.len()),
        ("interactive", 1)
    );
    // The controlling terminal: a key interrupts what is in front.
    // An interactive shell gives each job a group of its own: the trap is in the job.
    // A signal that comes between two commands is looked at after the next one: that one is short.
    tty.keys("sh -c 'trap \"echo caught; exit\" INT; echo re\"\"ady; while :; do sleep 0.1; done'\n")
        .await;
    tty.shows("ready").await;
    tty.keys("\x03").await;
    tty.shows("caught").await;
    tty.keys("exit 3\n").await;
    let (_, status) = tty.over().await;
    assert_eq!(status, Some(3));
    let session = until("the end is written", || world.uplink.ended()).await;
    assert_eq!(session.row.session_kind, SessionKind::Interactive);
    assert!(said(&session.tape().output).contains("is-a-tty"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_in_a_terminal_does_not_keep_it_open() {
    let world = World::new().await;
    let out = world
        .run("ssh", &["-tt", "web1", "sleep 1000 & echo started; exit 0"])
        .await;
    assert_eq!(out.status.code(), Some(0));
    assert!(said(&out.stdout).contains("started"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_kills_a_program_is_told() {
    let world = World::new().await;
    let out = world.run("ssh", &["web1", "kill -9 $$"]).await;
    assert_ne!(out.status.code(), Some(0));
    until("the end is written", || world.uplink.ended()).await;
    let end = world.uplink.of(EventKind::SessionEnd).remove(0);
    assert_eq!(end.data["exit_signal"], "KILL");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_variables_are_set() {
    let world = World::new().await;
    let set =
        "SetEnv=LANG=C.UTF-8 LC_TIME=C LD_PRELOAD=/tmp/x.so BASH_ENV=/tmp/x FOO=bar COLORTERM=truecolor";
    let out = world.run("ssh", &["-o", set, "web1", "env"]).await;
    let env = said(&out.stdout);
    for has in [
        "LANG=C.UTF-8",
        "LC_TIME=C",
        "COLORTERM=truecolor",
        "PALISADE_SESSION=",
        "SSH_CONNECTION=127.0.0.1 ",
    ] {
        assert!(env.contains(has), "{has} is not in {env}");
    }
    for not in ["LD_PRELOAD", "BASH_ENV", "FOO", "CARGO"] {
        assert!(!env.contains(not), "{not} is in {env}");
    }
}

/// Where the host's operator let everything through, what would make the session run something else still is not set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_list_lets_a_variable_in_that_loads_programs() {
    let world = World::with(EVERYTHING, &support::me(), |config| {
        config.env = palisade_agent::AllowedEnv::new(["*"]);
    })
    .await;
    let made = world.path("loaded");
    let script = world.path("evil");
    std::fs::write(&script, format!("touch {}\n", made.display())).unwrap();
    let evil = script.display();
    let names = [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "BASH_ENV",
        "BASH_FUNC_id%%",
        "ENV",
        "IFS",
        "PATH",
        "SHELLOPTS",
        "PS4",
        "PROMPT_COMMAND",
        "PYTHONSTARTUP",
        "PERL5OPT",
        "GCONV_PATH",
        "GLIBC_TUNABLES",
        "GIT_SSH_COMMAND",
        "HOME",
        "SHELL",
        "USER",
    ];
    let mut set = "SetEnv=HARMLESS=1 \"TWO_WORDS=a b\"".to_owned();
    for name in names {
        set.push_str(&format!(" {name}={evil}"));
    }
    // Each shell reads its own start-up variable: none may find it.
    let script = "env; bash -c true; sh -c true; sh -ic true 2>/dev/null; id >/dev/null";
    let out = world.run("ssh", &["-o", &set, "web1", script]).await;
    let env = said(&out.stdout);
    assert!(out.status.success(), "{env}{}", said(&out.stderr));
    assert!(
        env.contains("HARMLESS=1\n") && env.contains("TWO_WORDS=a b\n"),
        "{env}"
    );
    assert!(!env.contains(&evil.to_string()), "{env}");
    assert!(!made.exists(), "something of the client's was run");
    for name in ["PATH=", "HOME=", "SHELL=", "USER="] {
        assert!(
            env.lines().any(|line| line.starts_with(name)),
            "{name} is the host's own: {env}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_its_user_and_nothing_of_the_agent() {
    let Some(user) = User::make("a_session_is_its_user", &["-G", "games"]) else {
        return;
    };
    let world = World::with(EVERYTHING, &user.name, |_| {}).await;
    let script = "id -un; id -Gn; pwd; umask; ls /proc/self/fd | wc -l; ulimit -n; grep -E '^(SigIgn|SigBlk|CapEff)' /proc/self/status; ps -o sid= -p $$; echo $$";
    let out = world.run("ssh", &["web1", script]).await;
    let text = said(&out.stdout);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines[0], user.name, "{text} {}", said(&out.stderr));
    assert_eq!(lines[1], format!("{} games", user.name));
    assert_eq!(lines[2], user.home().to_str().unwrap());
    assert_eq!(lines[3], "0022");
    assert_eq!(lines[4], "4", "standard streams and that of ls itself");
    assert!(lines[5].parse::<u64>().unwrap() <= 1024, "{text}");
    let of = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // 32 and 33 are the C library's own.
    assert_eq!(
        (of("SigIgn:") & 0x7fff_ffff, of("SigBlk:"), of("CapEff:")),
        (0, 0, 0),
        "{text}"
    );
    assert_eq!(
        lines[lines.len() - 2],
        lines[lines.len() - 1],
        "a session of its own"
    );
    let mut tty = Tty::open(&world, &["web1"]);
    tty.keys("stty -echo; PS1=; stat -c '%U %G %a' $(tty); echo $0; who am i | cut -d' ' -f1; exit\n")
        .await;
    tty.shows(&format!("{} tty 620", user.name)).await;
    tty.shows("-sh").await;
    tty.over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_may_not_be_used_is_refused_with_the_reason() {
    let world = World::with(EVERYTHING, "nobody-is-called-so", |_| {}).await;
    let out = world.run("ssh", &["web1", "true"]).await;
    assert_eq!(out.status.code(), Some(255));
    assert!(
        said(&out.stderr).contains("does not exist"),
        "{}",
        said(&out.stderr)
    );
    assert!(
        world.uplink.of(EventKind::SessionRefused)[0]
            .message
            .contains("does not exist")
    );
    for (change, word) in [
        (&["usermod", "-L"][..], "is locked"),
        (&["usermod", "-s", "/usr/sbin/nologin"][..], "no login shell"),
        (&["usermod", "-e", "2020-01-01"][..], "has expired"),
    ] {
        let Some(user) = User::make("an_account_that_may_not_be_used", &[]) else {
            return;
        };
        let done = std::process::Command::new(change[0])
            .args(&change[1..])
            .arg(&user.name)
            .status()
            .unwrap();
        assert!(done.success());
        let world = World::with(EVERYTHING, &user.name, |_| {}).await;
        let out = world.run("ssh", &["web1", "true"]).await;
        assert!(said(&out.stderr).contains(word), "{word}: {}", said(&out.stderr));
        assert!(world.uplink.of(EventKind::SessionStart).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_the_passes_is_refused() {
    let world = World::new().await;
    let try_it = || async {
        let before = world.uplink.of(EventKind::SessionRefused).len();
        let out = world.run("ssh", &["web1", "true"]).await;
        assert_eq!(out.status.code(), Some(255));
        let refused = world.uplink.of(EventKind::SessionRefused);
        assert!(refused.len() > before, "it is audited");
        (said(&out.stderr), refused.last().unwrap().message.clone())
    };
    let other = Cas::new();
    world.identity_by(&other.user, "alice", |_| {});
    assert!(try_it().await.1.contains("not trusted here"));
    world.identity("alice", |request| request.key_id = "bob".into());
    assert!(try_it().await.1.contains("another user"));
    world.identity("alice", |request| {
        request.valid_after = now_secs() - 600;
        request.valid_before = now_secs() - 60;
    });
    assert!(try_it().await.1.contains("expired"));
    // What the certificate names is the node's to decide; a login that the pass does not have is refused here.
    world.identity("alice", |_| {});
    let out = world.run("ssh", &["-l", "daemon", "web1", "true"]).await;
    assert!(
        said(&out.stderr).contains("does not allow login daemon"),
        "{}",
        said(&out.stderr)
    );
    assert!(world.uplink.of(EventKind::SessionStart).is_empty());
}

async fn cut_off(world: &World, because: &str, within: Duration, cut: impl FnOnce()) {
    let mut tty = Tty::open(world, &["web1"]);
    tty.keys("echo up''-and-running\n").await;
    tty.shows("up-and-running").await;
    let at = Instant::now();
    cut();
    let ended = until("the end is written", || world.uplink.ended()).await;
    assert!(at.elapsed() < within, "{because} after {:?}", at.elapsed());
    let (err, status) = tty.over().await;
    assert!(err.contains(because), "{err}");
    assert_ne!(status, Some(0));
    assert!(
        ended.tape().notes.iter().any(|note| note.contains(because)),
        "{:?}",
        ended.tape().notes
    );
    let event = world.uplink.of(EventKind::SessionTerminated).remove(0);
    assert!(event.message.contains(because), "{}", event.message);
    assert!(world.server.live().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_a_session() {
    let world = World::new().await;
    cut_off(&world, "see security", SOON, || {
        let id = world.server.live()[0].session.session.clone();
        assert!(world.server.end(
            &palisade_core::name::SessionId::parse(&id).unwrap(),
            "see security"
        ));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_comes_later_ends_what_runs() {
    let world = World::new().await;
    cut_off(&world, "locked: on leave", SOON, || {
        world.server.revise("c1", &Err("locked: on leave".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_certificate_ends_the_session() {
    let role = "
    options: {disconnect_expired_cert: true}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    cut_off(&world, "your certificate has expired", SOON, || {
        world.uplink.shift_ms.store(700_000, Ordering::SeqCst);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_the_session() {
    let role = "
    options: {client_idle_timeout: 10s}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    cut_off(
        &world,
        "nothing happened for 10s",
        Duration::from_secs(10) + SOON,
        || {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_new_decision_takes_away_ends_and_the_rest_goes_on() {
    let world = World::new().await;
    let mut tty = Tty::open(&world, &["web1"]);
    tty.keys("echo up''-and-running\n").await;
    tty.shows("up-and-running").await;
    let mut policy = world.policy.lock().unwrap().clone();
    policy.role = "
    options: {file_copy: false}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
"
    .into();
    let less = decide(&policy, "c1", "127.0.0.1:1").unwrap();
    world.server.revise("c1", &Ok(less));
    tty.keys("echo still''-running; exit 0\n").await;
    tty.shows("still-running").await;
    assert_eq!(tty.over().await.1, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_sessions_than_allowed_are_refused() {
    let role = "
    options: {max_sessions: 1}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    let mut tty = Tty::open(&world, &["web1"]);
    tty.keys("echo up''-and-running\n").await;
    tty.shows("up-and-running").await;
    let out = world.run("ssh", &["web1", "true"]).await;
    assert!(
        said(&out.stderr).contains("you have 1 sessions already"),
        "{}",
        said(&out.stderr)
    );
    tty.keys("exit\n").await;
    tty.over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_output_waits_for_the_nodes() {
    let role = "
    options: {record_session: strict}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    let mut child = world
        .ssh(&["web1", "echo first; read x; echo second"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).await.unwrap();
    assert_eq!(line, "first\n");
    world.uplink.away.store(true, Ordering::SeqCst);
    child.stdin.take().unwrap().write_all(b"go\n").await.unwrap();
    line.clear();
    let early = tokio::time::timeout(Duration::from_secs(1), out.read_line(&mut line)).await;
    assert!(early.is_err(), "shown before it was safe: {line}");
    world.uplink.away.store(false, Ordering::SeqCst);
    tokio::time::timeout(WITHIN, out.read_line(&mut line))
        .await
        .expect("shown")
        .unwrap();
    assert_eq!(line, "second\n");
}
