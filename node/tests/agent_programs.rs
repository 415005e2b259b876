//! Stock programs at a host with an agent: rsync, git, Ansible, tmux, and a browser's worth of connections through SOCKS.

use palisade_testkit::{Agent, Background, Cluster, Person, free_port, me, python_program, retry, run};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

/// A cluster, a host with an agent, and somebody who is logged in.
struct House {
    cluster: Cluster,
    _web1: Agent,
    alice: Person,
    target: String,
}

impl House {
    fn start(nodes: usize) -> Self {
        let cluster = Cluster::start(nodes);
        let web1 = Agent::start(&cluster, "web1", "env=test");
        let alice = cluster.person("alice", "access");
        alice.login(&cluster.nodes[0].web_addr()).ok();
        alice.ssh_config();
        House {
            cluster,
            _web1: web1,
            alice,
            target: format!("{}@web1", me()),
        }
    }

    /// How other programs are told to run ssh.
    fn rsh(&self) -> String {
        format!(
            "ssh -F {} -o BatchMode=yes",
            self.alice.home.join("ssh_config").display()
        )
    }

    fn at_home(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        self.alice.at_home(&mut command);
        command
    }
}

/// Bytes that do not repeat soon.
fn noise(len: u32, seed: u32) -> Vec<u8> {
    (0..len)
        .map(|n| (n ^ seed).wrapping_mul(2_246_822_519).to_le_bytes()[3])
        .collect()
}

#[test]
fn rsync_carries_a_tree_both_ways() {
    let house = House::start(1);
    let folder = house.cluster.folder("files");
    let (tree, there, back) = (folder.join("tree"), folder.join("there"), folder.join("back"));
    fs::create_dir_all(tree.join("sub")).expect("the folder is writable");
    for n in 0..20 {
        fs::write(tree.join(format!("f{n}")), noise(50_000 * n, n)).expect("written");
    }
    fs::write(tree.join("sub/with space"), b"x").expect("written");
    let rsync = |from: String, to: String| {
        let mut rsync = house.at_home("rsync");
        rsync.env("RSYNC_RSH", house.rsh());
        run(rsync.args(["-a", "--checksum", "--stats", &from, &to])).ok()
    };
    let remote = |path: &PathBuf| format!("{}:{}/", house.target, path.display());
    rsync(format!("{}/", tree.display()), remote(&there));
    rsync(remote(&there), format!("{}/", back.display()));
    run(Command::new("diff").arg("-r").arg(&tree).arg(&back)).ok();
    // What did not change is not carried again: rsync talks to itself through the agent, it does not just copy.
    fs::write(tree.join("f3"), b"changed").expect("written");
    let stats = rsync(format!("{}/", tree.display()), remote(&there));
    assert!(
        stats.contains("regular files transferred: 1\n") || stats.contains("files transferred: 1\n"),
        "{stats}"
    );
    retry("the transfers in the audit log", BOUND, || {
        let events = house.cluster.events(0, "session.files");
        match events.len() {
            3 => Ok(()),
            n => Err(format!("{n} summaries: {events:?}")),
        }
    });
}

#[test]
fn git_clones_and_pushes() {
    let house = House::start(1);
    let folder = house.cluster.folder("git");
    let git = |words: &[&str]| {
        let mut git = house.at_home("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]);
        git.args(["-c", "init.defaultBranch=main"])
            .args(words)
            .current_dir(&folder)
            .env("GIT_SSH_COMMAND", house.rsh());
        run(&mut git)
    };
    let bare = folder.join("bare.git").display().to_string();
    git(&["init", "-q", "--bare", &bare]).ok();
    let url = format!("{}:{bare}", house.target);
    git(&["clone", "-q", &url, "work"]).ok();
    fs::write(folder.join("work/file"), noise(3_000_000, 1)).expect("written");
    git(&["-C", "work", "add", "file"]).ok();
    git(&["-C", "work", "commit", "-q", "-m", "one"]).ok();
    git(&["-C", "work", "push", "-q", "origin", "HEAD:main"]).ok();
    git(&["clone", "-q", "-b", "main", &url, "again"]).ok();
    assert_eq!(
        fs::read(folder.join("again/file")).expect("it was pushed"),
        noise(3_000_000, 1)
    );
}

#[test]
fn ansible_pings_and_copies() {
    let (Some(ansible), Some(python)) = (python_program("ansible"), python_program("python3")) else {
        panic!("ansible is not installed: `make test` installs it (scripts/setup.sh test)");
    };
    let house = House::start(1);
    let folder = house.cluster.folder("ansible");
    let (from, to) = (folder.join("from"), folder.join("to"));
    fs::write(&from, noise(100_000, 2)).expect("written");
    let inventory = folder.join("inventory.ini");
    let host = format!(
        "[web]\nweb1 ansible_user={} ansible_python_interpreter={}\n",
        me(),
        python.display()
    );
    fs::write(&inventory, host).expect("written");
    let module = |name: &str, arguments: &str| {
        let mut command = house.at_home(&ansible);
        command.args(["web", "-i"]).arg(&inventory).args(["-m", name]);
        command
            .args(["-a", arguments])
            .env("ANSIBLE_HOST_KEY_CHECKING", "True")
            .env("ANSIBLE_SSH_ARGS", house.rsh().trim_start_matches("ssh "));
        run(&mut command).ok()
    };
    let said = module("ansible.builtin.ping", "");
    assert!(said.contains("\"ping\": \"pong\""), "{said}");
    let arguments = format!("src={} dest={} mode=0600", from.display(), to.display());
    let said = module("ansible.builtin.copy", &arguments);
    assert!(said.contains("\"changed\": true"), "{said}");
    assert_eq!(fs::read(&to).expect("it was copied"), noise(100_000, 2));
    let said = module("ansible.builtin.copy", &arguments);
    assert!(said.contains("\"changed\": false"), "{said}");
}

/// A tmux server of the test's own, ended with it.
struct Tmux(PathBuf);

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .arg("-S")
            .arg(&self.0)
            .arg("kill-server")
            .stderr(Stdio::null())
            .status();
    }
}

/// Goal: a program that draws the whole terminal goes on as well. Method: tmux in a shell by stock ssh; each node in turn
/// is killed, and after each kill what is typed reaches the shell inside tmux, and what it says the screen.
#[test]
fn tmux_inside_a_session_outlives_the_node_that_carries_it() {
    let house = House::start(3);
    let socket = Tmux(house.cluster.folder("tmux").join("socket"));
    let mut ssh = house.alice.openssh("ssh", &["-tt", &house.target]);
    let mut shell = Background::start(ssh.env("TERM", "xterm-256color"));
    shell.send(b"stty rows 40 cols 100; echo begin-$((40+2))\n");
    shell.expect_output("begin-42", BOUND);
    let start = format!(
        "tmux -S {} -f /dev/null new-session -s work 'PS1=; export PS1; exec sh'\n",
        socket.0.display()
    );
    shell.send(start.as_bytes());
    shell.send(b"marker=kept; echo inside-$((1+1))-${TMUX:+tmux}\n");
    shell.expect_output("inside-2-tmux", BOUND);
    for i in 0..house.cluster.nodes.len() {
        house.cluster.kill9(i);
        let killed = Instant::now();
        shell.send(format!("echo $marker-{i}-$((1+1))\n").as_bytes());
        shell.expect_output(&format!("kept-{i}-2"), BOUND);
        println!("node {i} killed: tmux answered after {:?}", killed.elapsed());
        assert!(
            killed.elapsed() < Duration::from_secs(10),
            "{:?}",
            killed.elapsed()
        );
        house.cluster.spawn(i);
        house.cluster.wait_voters(3);
    }
    shell.send(b"exit\n");
    shell.expect_output("[exited]", BOUND);
    shell.send(b"echo outside-$((1+1))-${TMUX:-none}; exit 3\n");
    shell.expect_output("outside-2-none", BOUND);
    assert_eq!(shell.finish(BOUND).status.code(), Some(3));
}

/// Serves `/N` as [`noise`] of some length, on loopback, for as long as the test runs; connections are kept open, as
/// browsers like it.
fn web_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn page(n: u32) -> Vec<u8> {
    noise(1_000 + n % 7 * 60_000, n)
}

fn serve(stream: TcpStream) -> Option<()> {
    let mut requests = BufReader::new(stream.try_clone().ok()?);
    let mut answers = stream;
    loop {
        let mut first = String::new();
        if requests.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let n = first.split(' ').nth(1)?.trim_start_matches('/').parse().ok()?;
        let mut line = String::new();
        while requests.read_line(&mut line).ok()? > 2 {
            line.clear();
        }
        let body = page(n);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        answers.write_all(head.as_bytes()).ok()?;
        answers.write_all(&body).ok()?;
    }
}

/// Goal: `-D` bears what a browser does to it. Method: fifty curls at once, each with several pages over kept-open
/// connections, through one SOCKS port of stock ssh; in the second round the node that carries it all is killed.
#[test]
fn a_browsers_load_through_socks_arrives_whole_also_when_a_node_dies() {
    const BROWSERS: u32 = 50;
    const PAGES: u32 = 8;
    let house = House::start(3);
    let (web, proxy) = (web_server(), free_port());
    let mut ssh = house.alice.openssh(
        "ssh",
        &[
            "-tt",
            "-D",
            &format!("127.0.0.1:{proxy}"),
            &house.target,
            "echo open-$((1+1)); cat",
        ],
    );
    let mut session = Background::start(&mut ssh);
    session.expect_output("open-2", BOUND);
    let folder = house.cluster.folder("pages");
    for round in 0..=house.cluster.nodes.len() {
        let began = Instant::now();
        let browsers: Vec<_> = (0..BROWSERS)
            .map(|browser| {
                let mut curl = house.at_home("curl");
                curl.args(["-sS", "--fail", "--max-time", "60"]);
                curl.args(["--socks5-hostname", &format!("127.0.0.1:{proxy}")]);
                for n in 0..PAGES {
                    let page = browser * PAGES + n;
                    let file = folder.join(format!("{round}-{page}"));
                    curl.arg("-o")
                        .arg(file)
                        .arg(format!("http://127.0.0.1:{web}/{page}"));
                }
                Background::start(&mut curl)
            })
            .collect();
        // Each node in turn, so that the one that carries it all is among them.
        let killed = round.checked_sub(1);
        if let Some(i) = killed {
            retry("some pages to be there", BOUND, || {
                let there = fs::read_dir(&folder).map_err(|e| e.to_string())?.flatten();
                let begun = there
                    .filter(|file| {
                        file.file_name()
                            .to_string_lossy()
                            .starts_with(&format!("{round}-"))
                    })
                    .count();
                if begun >= 20 {
                    Ok(())
                } else {
                    Err(format!("{begun}"))
                }
            });
            house.cluster.kill9(i);
        }
        for browser in browsers {
            browser.finish(BOUND).ok();
        }
        println!(
            "round {round}: {} pages in {:?}",
            BROWSERS * PAGES,
            began.elapsed()
        );
        for n in 0..BROWSERS * PAGES {
            let got = fs::read(folder.join(format!("{round}-{n}"))).expect("curl wrote it");
            assert!(got == page(n), "page {n} of round {round}: {} bytes", got.len());
        }
        if let Some(i) = killed {
            house.cluster.spawn(i);
            house.cluster.wait_voters(3);
        }
    }
    assert!(session.is_running());
}
