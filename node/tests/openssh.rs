//! Stock programs through a node: ssh, scp, sftp, rsync, git, Ansible, and what ssh-audit says of the port.

use palisade_testkit::{Cluster, Person, Sshd, free_port, me, python_program, retry, run, run_with_input};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

/// One node, one sshd, one person who is logged in.
struct House {
    cluster: Cluster,
    host: Sshd,
    alice: Person,
    target: String,
}

impl House {
    fn start() -> Self {
        House::with_role("access", "")
    }

    /// With a role of its own, whose options are given.
    fn with_role(name: &str, options: &str) -> Self {
        let cluster = Cluster::start(1);
        if !options.is_empty() {
            cluster.create(&format!(
                "kind: role\nversion: v1\nmetadata:\n  name: {name}\nspec:\n  allow:\n    logins: ['{{{{internal.logins}}}}']\n    host_labels:\n      '*': ['*']\n  options:\n{options}"
            ));
        }
        let host = Sshd::start(&cluster, "web1");
        let alice = cluster.person("alice", name);
        alice.login(&cluster.nodes[0].web_addr()).ok();
        let target = format!("{}@web1", me());
        House {
            cluster,
            host,
            alice,
            target,
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.cluster.folder("files").join(name);
        fs::write(&path, bytes).expect("the folder is writable");
        path
    }
}

/// A peer built on the same library stalls for good at 10 MiB; a whole gibibyte must pass, and the node must not
/// grow with it.
#[test]
fn sftp_get_of_a_gibibyte_does_not_stall() {
    const SIZE: u64 = 1 << 30;
    let house = House::start();
    let big = house.cluster.folder("files").join("big");
    // Sparse: the disk is not what is tested.
    fs::File::create(&big)
        .and_then(|f| f.set_len(SIZE))
        .expect("the folder is writable");
    let batch = house.file("batch", format!("get {} /dev/null\n", big.display()).as_bytes());
    let began = Instant::now();
    let mut sftp = house
        .alice
        .openssh("sftp", &["-b", &batch.display().to_string(), &house.target]);
    run(&mut sftp).ok();
    println!("1 GiB by sftp in {:?}", began.elapsed());
    let resident = resident_kib(house.cluster.nodes[0].pid().expect("the node runs"));
    assert!(resident < 400 * 1024, "the node holds {resident} KiB after it");
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .expect("Linux tells it");
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number of KiB")
}

#[test]
fn both_directions_at_once_never_stall() {
    let house = House::start();
    let sent = vec![b'z'; 64 << 20];
    let mut ssh = house.alice.openssh("ssh", &[&house.target, "cat"]);
    let ran = run_with_input(&mut ssh, &sent);
    assert!(ran.succeeded(), "{}", ran.complaint());
    assert!(ran.stdout == sent, "{} bytes came back", ran.stdout.len());
}

#[test]
fn exec_carries_input_output_errors_and_status() {
    let house = House::start();
    let ran = house
        .alice
        .ssh(&[&house.target, "echo out; echo err >&2; exit 42"]);
    assert_eq!((ran.text().as_str(), ran.status.code()), ("out\n", Some(42)));
    assert!(ran.complaint().contains("err"));
    let mut wc = house.alice.openssh("ssh", &[&house.target, "wc -c"]);
    assert_eq!(run_with_input(&mut wc, &[7; 100_000]).ok().trim(), "100000");
    let killed = house.alice.ssh(&[&house.target, "kill -TERM $$"]);
    assert_eq!(
        killed.status.code(),
        Some(255),
        "a signal is told as one: {killed}"
    );
    let mut env = house.alice.openssh(
        "ssh",
        &["-o", "SendEnv=LC_PALISADE", &house.target, "echo $LC_PALISADE"],
    );
    assert_eq!(run(env.env("LC_PALISADE", "carried")).ok(), "carried\n");
}

#[test]
fn a_terminal_has_its_size_and_its_keys() {
    let house = House::start();
    let mut session = house.alice.ssh_interactive(&[&house.target]);
    session.send(b"tty && echo is-a-tty-$((1+1))\n");
    session.expect_output("is-a-tty-2", BOUND);
    // Ctrl-C reaches the program there, and the shell goes on.
    // Ctrl-C reaches the program there (once it runs), and the shell goes on.
    session.send(b"sh -c 'echo runs-$((1+1)); exec cat'\n");
    session.expect_output("runs-2", BOUND);
    session.send(b"\x03");
    // What is typed while the shell takes over again may be lost, as at any terminal: it is typed until it is heard.
    retry("the shell to go on", BOUND, || {
        session.send(b"echo after-$((2+3))\n");
        if session.output().contains("after-5") {
            Ok(())
        } else {
            Err(session.output())
        }
    });
    session.send(b"exit 3\n");
    assert_eq!(session.finish(BOUND).status.code(), Some(3));
}

/// The far terminal has the size of the near one, at the start and after it changes.
#[test]
fn a_terminal_follows_its_size() {
    let house = House::start();
    let script = r#"
set timeout 60
log_user 1
set stty_init "rows 24 columns 80"
eval spawn -noecho [lrange $argv 0 end]
expect -re {[#$] } {} timeout { exit 11 }
send "echo size=\[`stty size`\]\r"
expect {size=\[24 80\]} {} timeout { exit 12 }
stty rows 33 columns 99 < $spawn_out(slave,name)
exec kill -WINCH [exp_pid]
send "echo size=\[`stty size`\]\r"
expect {
    {size=\[33 99\]} {}
    {size=\[24 80\]} { send "echo size=\[`stty size`\]\r"; exp_continue }
    timeout { exit 13 }
}
send "exit\r"
expect eof
"#;
    let script = house.file("size.exp", script.as_bytes());
    let config = house.alice.ssh_config();
    let mut expect = Command::new("expect");
    expect
        .arg(script)
        .args(["ssh", "-F"])
        .arg(config)
        .arg(&house.target);
    house.alice.at_home(&mut expect);
    run(expect.env("TERM", "xterm")).ok();
}

#[test]
fn files_arrive_whole_by_scp_sftp_and_rsync() {
    let house = House::start();
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    let sent = house.file("sent", &content);
    let there = house.cluster.folder("there");
    let remote = |name: &str| format!("{}:{}", house.target, there.join(name).display());
    let local = sent.display().to_string();

    run(&mut house.alice.openssh("scp", &[&local, &remote("by-scp")])).ok();
    // The old protocol as well: it is an exec, not a subsystem.
    run(&mut house.alice.openssh("scp", &["-O", &local, &remote("by-old-scp")])).ok();
    let batch = house.file(
        "batch",
        format!("put {local} {}\n", there.join("by-sftp").display()).as_bytes(),
    );
    run(&mut house
        .alice
        .openssh("sftp", &["-b", &batch.display().to_string(), &house.target]))
    .ok();
    let config = house.alice.ssh_config();
    let mut rsync = Command::new("rsync");
    rsync
        .arg("-e")
        .arg(format!("ssh -F {} -o BatchMode=yes", config.display()));
    house.alice.at_home(&mut rsync);
    run(rsync.args(["-a", "--checksum", &local, &remote("by-rsync")])).ok();
    for name in ["by-scp", "by-old-scp", "by-sftp", "by-rsync"] {
        let came = fs::read(there.join(name)).unwrap_or_default();
        assert!(
            came == content,
            "{name}: {} of {} bytes",
            came.len(),
            content.len()
        );
    }
    let back = there.join("back").display().to_string();
    run(&mut house.alice.openssh("scp", &["-p", &remote("by-scp"), &back])).ok();
    assert!(fs::read(&back).expect("it came back") == content);
    // Each transfer is in the audit log.
    let events = house.cluster.events(0, "session.");
    assert!(
        events
            .iter()
            .any(|e| e.to_string().contains("session.file") || e.to_string().contains("sftp")),
        "{events:?}"
    );
}

#[test]
fn git_clones_and_pushes() {
    let house = House::start();
    let folder = house.cluster.folder("git");
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "-c",
            "init.defaultBranch=main",
        ]);
        command.args(words).current_dir(&folder);
        command.env(
            "GIT_SSH_COMMAND",
            format!(
                "ssh -F {} -o BatchMode=yes",
                house.alice.home.join("ssh_config").display()
            ),
        );
        house.alice.at_home(&mut command);
        run(&mut command)
    };
    house.alice.ssh_config();
    let bare = folder.join("bare.git").display().to_string();
    git(&["init", "-q", "--bare", &bare]).ok();
    let url = format!("{}:{bare}", house.target);
    git(&["clone", "-q", &url, "work"]).ok();
    fs::write(folder.join("work/file"), noise()).expect("the folder is writable");
    git(&["-C", "work", "add", "file"]).ok();
    git(&["-C", "work", "commit", "-q", "-m", "one"]).ok();
    git(&["-C", "work", "push", "-q", "origin", "HEAD:main"]).ok();
    git(&["clone", "-q", "-b", "main", &url, "again"]).ok();
    assert_eq!(
        fs::read(folder.join("again/file")).expect("it was pushed"),
        noise()
    );
}

fn noise() -> Vec<u8> {
    (0..200_000_u32)
        .map(|n| n.wrapping_mul(2_246_822_519).to_le_bytes()[3])
        .collect()
}

/// A service behind the host that answers with what it was sent. Its port on loopback.
fn echo_service() -> u16 {
    let service = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = service.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in service.incoming().flatten() {
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().expect("a socket can be shared");
                let mut reader = stream;
                let _ = std::io::copy(&mut reader, &mut writer);
                let _ = writer.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    port
}

/// Whether the service is at the other end of this stream.
fn echoes(mut stream: TcpStream) -> Result<(), String> {
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(|e| e.to_string())?;
    let sent = noise();
    let mut writer = stream.try_clone().map_err(|e| e.to_string())?;
    let copy = sent.clone();
    let sender = std::thread::spawn(move || {
        let _ = writer.write_all(&copy);
        let _ = writer.shutdown(std::net::Shutdown::Write);
    });
    let mut came = Vec::new();
    stream.read_to_end(&mut came).map_err(|e| e.to_string())?;
    let _ = sender.join();
    if came == sent {
        Ok(())
    } else {
        Err(format!("{} of {} bytes", came.len(), sent.len()))
    }
}

#[test]
fn ports_are_forwarded_both_ways_where_the_role_allows() {
    let house = House::with_role(
        "forwarder",
        "    port_forwarding: true\n    forward_agent: true\n",
    );
    let behind = echo_service();
    let (local, remote) = (free_port(), free_port());
    let session = palisade_testkit::Background::start(&mut house.alice.openssh(
        "ssh",
        &[
            "-o",
            "ExitOnForwardFailure=yes",
            "-N",
            "-L",
            &format!("127.0.0.1:{local}:127.0.0.1:{behind}"),
            "-R",
            &format!("127.0.0.1:{remote}:127.0.0.1:{behind}"),
            &house.target,
        ],
    ));
    let connect = |port: u16| TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string());
    retry("-L", BOUND, || echoes(connect(local)?));
    retry("-R", BOUND, || echoes(connect(remote)?));
    drop(session);
    assert!(!house.cluster.events(0, "session.forward").is_empty());
}

#[test]
fn ports_are_not_forwarded_where_the_role_does_not_allow() {
    let house = House::with_role("no-forwarding", "    port_forwarding: false\n");
    house.alice.ssh(&[&house.target, "true"]).ok();
    let mut ssh = house.alice.openssh("ssh", &["-W", "127.0.0.1:22", &house.target]);
    run(&mut ssh).refused();
    let mut ssh = house.alice.openssh(
        "ssh",
        &[
            "-o",
            "ExitOnForwardFailure=yes",
            "-R",
            &format!("127.0.0.1:{}:127.0.0.1:22", free_port()),
            &house.target,
            "true",
        ],
    );
    run(&mut ssh).refused();
    assert!(!house.cluster.events(0, "session.channel.refused").is_empty());
    assert!(!house.host.log().contains("direct-tcpip"), "{}", house.host.log());
}

/// Asks a SOCKS proxy on loopback for a port on the far loopback (RFC 1928).
fn by_socks(proxy: u16, port: u16) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy)).map_err(|e| e.to_string())?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(|e| e.to_string())?;
    let mut talk = |asked: &[u8], answer: &mut [u8]| {
        stream.write_all(asked).map_err(|e| e.to_string())?;
        stream.read_exact(answer).map_err(|e| e.to_string())
    };
    // Version 5, one method: none.
    talk(&[5, 1, 0], &mut [0; 2])?;
    let [high, low] = port.to_be_bytes();
    let mut answer = [0; 10];
    talk(&[5, 1, 0, 1, 127, 0, 0, 1, high, low], &mut answer)?;
    if answer[1] == 0 {
        Ok(stream)
    } else {
        Err(format!("refused with {}", answer[1]))
    }
}

#[test]
fn a_socks_proxy_reaches_what_the_host_reaches_where_the_role_allows() {
    let behind = echo_service();
    for allowed in [true, false] {
        let house = House::with_role("socks", &format!("    port_forwarding: {allowed}\n"));
        let proxy = free_port();
        let mut session = palisade_testkit::Background::start(&mut house.alice.openssh(
            "ssh",
            &[
                "-tt",
                "-D",
                &format!("127.0.0.1:{proxy}"),
                &house.target,
                "echo open-$((1+1)); cat",
            ],
        ));
        session.expect_output("open-2", BOUND);
        if allowed {
            echoes(by_socks(proxy, behind).expect("the proxy opens it")).expect("the service answers");
            let forwards = house.cluster.events(0, "session.forward");
            let target = format!("127.0.0.1:{behind}");
            assert!(
                forwards.iter().any(|e| e.to_string().contains(&target)),
                "{forwards:?}"
            );
        } else {
            by_socks(proxy, behind).expect_err("the role does not allow it");
            assert!(!house.cluster.events(0, "session.channel.refused").is_empty());
        }
    }
}

/// The person's agent, with one key in it.
struct Agent {
    socket: PathBuf,
    public: PathBuf,
    process: std::process::Child,
}

impl Agent {
    fn start(house: &House) -> Self {
        let folder = house.cluster.folder("agent");
        let (socket, key) = (folder.join("socket"), folder.join("key"));
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "ssh-agent", "-D", "-a"])
            .arg(&socket)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("ssh-agent is there");
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key))
        .ok();
        retry("the agent to take a key", BOUND, || {
            let added = run(Command::new("ssh-add").arg(&key).env("SSH_AUTH_SOCK", &socket));
            if added.succeeded() {
                Ok(())
            } else {
                Err(added.complaint())
            }
        });
        Agent {
            socket,
            public: key.with_extension("pub"),
            process,
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_agent_is_forwarded_where_it_is_asked_for_and_the_role_allows() {
    for allowed in [true, false] {
        let house = House::with_role("agent", &format!("    forward_agent: {allowed}\n"));
        let agent = Agent::start(&house);
        let on_the_host = |option: &str, command: &str| {
            let mut ssh = house.alice.openssh("ssh", &[option, &house.target, command]);
            run(ssh.env("SSH_AUTH_SOCK", &agent.socket))
        };
        let public = fs::read_to_string(&agent.public).expect("ssh-keygen wrote it");
        let key = public.split(' ').nth(1).expect("a public key has three words");
        if allowed {
            assert!(
                on_the_host("-A", "ssh-add -L").ok().contains(key),
                "the host sees the key"
            );
            // It signs as well, and the signature is good.
            on_the_host("-A", &format!("ssh-add -T {}", agent.public.display())).ok();
        } else {
            on_the_host("-A", "ssh-add -L").refused();
            let refused = house.cluster.events(0, "session.channel.refused");
            assert!(
                refused.iter().any(|e| e.to_string().contains("agent")),
                "{refused:?}"
            );
        }
        on_the_host("-a", "ssh-add -L").refused();
    }
}

/// Names are the host's business: what climbs, is absolute or holds control characters arrives under exactly that
/// name, and the audit log shows it so that no terminal obeys it.
#[test]
fn names_that_climb_or_hold_control_characters_arrive_as_they_are_and_are_shown_escaped() {
    let house = House::start();
    let there = house.cluster.folder("there");
    fs::create_dir(there.join("sub")).expect("the folder is writable");
    let sent = house.file("sent", b"content");
    let names = [
        ("sub/../climbed", "climbed", "sub/../climbed"),
        ("line\nbreak", "line\nbreak", "line\\nbreak"),
        (
            "esc\u{1b}]0;title\u{7}",
            "esc\u{1b}]0;title\u{7}",
            "esc\\u{1b}]0;title\\u{7}",
        ),
        ("right\u{202e}left", "right\u{202e}left", "right\\u{202e}left"),
    ];
    let local = sent.display().to_string();
    for (named, lies, _) in names {
        let remote = format!("{}:{}/{named}", house.target, there.display());
        run(&mut house.alice.openssh("scp", &[&local, &remote])).ok();
        assert_eq!(
            fs::read(there.join(lies)).expect("it arrived"),
            b"content",
            "{named:?}"
        );
    }
    // The old protocol names the file in a command.
    let remote = format!("{}:'{}/old\u{1b}[31m'", house.target, there.display());
    run(&mut house.alice.openssh("scp", &["-O", &local, &remote])).ok();
    // Relative to the home folder on the host, as sftp says it.
    let batch = house.file(
        "batch",
        format!("get ../../../../../../{local} /dev/null\n").as_bytes(),
    );
    run(&mut house
        .alice
        .openssh("sftp", &["-b", &batch.display().to_string(), &house.target]))
    .ok();

    let files = retry("all transfers to be audited", BOUND, || {
        let files = house.cluster.events(0, "session.file");
        // These, the one of the old protocol, and what was fetched.
        if files.len() >= names.len() + 2 {
            Ok(files)
        } else {
            Err(format!("{files:?}"))
        }
    });
    let targets: Vec<&str> = files
        .iter()
        .filter_map(|e| e["event"]["target"].as_str())
        .collect();
    for (_, _, shown) in names {
        let shown = format!("{}/{shown}", there.display());
        assert!(
            targets.contains(&shown.as_str()),
            "{shown} is not among {targets:?}"
        );
    }
    assert!(targets.iter().any(|t| t.contains("../../../")), "{targets:?}");
    let text = house.cluster.palctl(0, &["audit", "search"]).ok();
    assert!(text.contains("old\\u{1b}[31m"), "{text:?}");
    let obeyed: Vec<char> = text
        .chars()
        .filter(|c| c.is_control() && *c != '\n' || *c == '\u{202e}')
        .collect();
    assert!(obeyed.is_empty(), "a terminal would obey {obeyed:?}");
}

#[test]
fn pal_ssh_and_pal_scp_do_what_ssh_and_scp_do() {
    let house = House::start();
    assert_eq!(
        house.alice.pal(&["ssh", &house.target, "echo", "by pal"]).ok(),
        "by pal\n"
    );
    assert_eq!(
        house.alice.pal(&["ssh", &house.target, "exit 9"]).status.code(),
        Some(9)
    );
    let sent = house.file("sent", b"by pal scp");
    let there = house.cluster.folder("there").join("came");
    house
        .alice
        .pal(&[
            "scp",
            &sent.display().to_string(),
            &format!("{}:{}", house.target, there.display()),
        ])
        .ok();
    assert_eq!(fs::read(there).expect("it arrived"), b"by pal scp");
}

#[test]
fn ansible_runs_a_playbook() {
    let (Some(ansible), Some(python)) = (python_program("ansible-playbook"), python_program("python3"))
    else {
        panic!("ansible is not installed: `make test` installs it (scripts/setup.sh test)");
    };
    let house = House::start();
    let config = house.alice.ssh_config();
    let made = house.cluster.folder("there").join("by-ansible");
    let inventory = house.file(
        "inventory.ini",
        format!(
            "[web]\nweb1 ansible_user={} ansible_python_interpreter={}\n",
            me(),
            python.display()
        )
        .as_bytes(),
    );
    let playbook = format!(
        "- hosts: web\n  gather_facts: false\n  tasks:\n  - ansible.builtin.copy:\n      content: from ansible\n      dest: {}\n  - ansible.builtin.command: cat {}\n    register: said\n    changed_when: false\n  - ansible.builtin.assert:\n      that: said.stdout == 'from ansible'\n",
        made.display(),
        made.display()
    );
    let playbook = house.file("playbook.yaml", playbook.as_bytes());
    let mut command = Command::new(ansible);
    house.alice.at_home(&mut command);
    command
        .arg("-i")
        .arg(inventory)
        .arg(playbook)
        .env("ANSIBLE_HOST_KEY_CHECKING", "True")
        .env(
            "ANSIBLE_SSH_ARGS",
            format!("-F {} -o BatchMode=yes", config.display()),
        )
        .env("ANSIBLE_LOCALHOST_WARNING", "False");
    let said = run(&mut command).ok();
    assert!(said.contains("failed=0"), "{said}");
    assert_eq!(fs::read(made).expect("the playbook wrote it"), b"from ansible");
}

#[test]
fn ssh_audit_finds_nothing_to_fail() {
    let Some(ssh_audit) = python_program("ssh-audit") else {
        panic!("ssh-audit is not installed: `make test` installs it (scripts/setup.sh test)");
    };
    let cluster = Cluster::start(1);
    let port = cluster.nodes[0].ssh_port.to_string();
    let ran =
        run(Command::new(ssh_audit).args(["--no-colors", "--skip-rate-test", "-p", &port, "127.0.0.1"]));
    let said = ran.text();
    assert!(said.contains("(kex)"), "{ran}");
    assert!(!said.contains("[fail]"), "{said}");
    assert!(
        said.contains("mlkem768x25519-sha256"),
        "no post-quantum key exchange:\n{said}"
    );
    assert!(said.contains("kex-strict"), "no strict key exchange:\n{said}");
    for old in [
        "-cbc",
        "hmac-sha1",
        "ssh-rsa ",
        "diffie-hellman-group14-sha1",
        "ssh-dss",
    ] {
        assert!(!said.contains(old), "{old} is offered:\n{said}");
    }
}
