//! A shell, a transfer and a forwarded TCP stream at once, over the loss of the node that carries them.

use crate::cluster::Cluster;
use crate::person::Person;
use crate::ports::free_port;
use crate::wait::retry;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// No transfer takes longer: one that does is lost.
const TRANSFER: Duration = Duration::from_secs(180);
/// Between two keys, and two blocks of the forwarded stream.
const PACE: Duration = Duration::from_millis(5);
const BLOCK: usize = 32 * 1024;

/// The longest that each stood still from the kill on.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// From a key to its echo.
    pub shell: Duration,
    /// Between two pieces of the forwarded stream.
    pub forward: Duration,
    /// Between two pieces of the transfer.
    pub transfer: Duration,
}

impl Pauses {
    /// The longest of all.
    pub fn longest(&self) -> Duration {
        self.shell.max(self.forward).max(self.transfer)
    }
}

/// Starts an interactive shell, a forwarded TCP stream and a transfer of `from` to `to` on a host with an agent (down
/// from it, or up to it), calls `kill` when a quarter of the file is there, and waits until everything has arrived.
///
/// # Panics
/// Anything is lost: a session ends, an echo is another than the key, a byte of the stream or of the file is not as it
/// was; or the transfer was over before the kill.
pub fn outlive(
    alice: &Person,
    target: &str,
    (from, to): (&Path, &Path),
    down: bool,
    kill: impl FnOnce(),
) -> Pauses {
    let size = fs::metadata(from).expect("the file is there").len();
    let _ = fs::remove_file(to);
    let watch = Arc::new(Watch::default());
    let shell = shell(alice, target, &watch);
    let (forward, mut forwarder) = forward(alice, target, &watch);
    let there = |path: &Path| format!("{target}:{}", path.display());
    let words = match down {
        true => [there(from), to.display().to_string()],
        false => [from.display().to_string(), there(to)],
    };
    let mut scp = alice.pal_command(&["scp", "-q", &words[0], &words[1]]);
    let mut scp = Killed(
        scp.stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("pal starts"),
    );
    let arrived = || fs::metadata(to).map_or(0, |meta| meta.len());
    let began = Instant::now();
    while arrived() < size / 4 {
        assert!(
            scp.0.try_wait().is_ok_and(|ended| ended.is_none()),
            "scp ended before the kill"
        );
        assert!(began.elapsed() < TRANSFER, "the transfer does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    watch.killed.store(true, Ordering::SeqCst);
    kill();
    assert!(arrived() < size, "the transfer was over before the kill");
    let mut seen = (arrived(), Instant::now());
    let mut transfer = Duration::ZERO;
    let status = loop {
        let now = (arrived(), Instant::now());
        transfer = transfer.max(now.1 - seen.1);
        if now.0 != seen.0 {
            seen = now;
        }
        if let Some(status) = scp.0.try_wait().expect("a child can be asked") {
            break status;
        }
        assert!(now.1 - seen.1 < TRANSFER, "the transfer stands still");
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success(), "the transfer was lost: {status}");
    assert_same(from, to);
    watch.over.store(true, Ordering::SeqCst);
    shell.join().expect("the shell goes on");
    forward.join().expect("the forwarded stream goes on");
    assert!(
        forwarder.0.try_wait().is_ok_and(|ended| ended.is_none()),
        "the forward ended"
    );
    let longest = |at: &AtomicU64| Duration::from_micros(at.load(Ordering::SeqCst));
    Pauses {
        shell: longest(&watch.shell),
        forward: longest(&watch.forward),
        transfer,
    }
}

impl Cluster {
    /// The node that carries most connections of clients to hosts with an agent.
    pub fn carrier(&self) -> usize {
        let table = fs::read_to_string("/proc/net/tcp").expect("there is /proc");
        let links = |port: u16| {
            // `sl local remote state`, as in proc(5): 01 is an established connection.
            let remote = format!(":{port:04X}");
            let is_link = |line: &&str| {
                let words: Vec<_> = line.split_whitespace().take(4).collect();
                words.len() == 4 && words[2].ends_with(&remote) && words[3] == "01"
            };
            table.lines().filter(is_link).count()
        };
        let running = (0..self.nodes.len()).filter(|i| self.nodes[*i].is_running());
        running
            .max_by_key(|i| (links(self.nodes[*i].web_port), usize::MAX - i))
            .expect("some node runs")
    }

    /// One number of a node's metrics.
    pub fn metric(&self, i: usize, name: &str) -> f64 {
        let text = self.metrics(i);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Tunnels of agents, over all nodes that run.
    pub fn tunnels(&self) -> f64 {
        let running = (0..self.nodes.len()).filter(|i| self.nodes[*i].is_running());
        running.map(|i| self.metric(i, "palisade_agents")).sum()
    }
}

#[derive(Default)]
struct Watch {
    killed: AtomicBool,
    over: AtomicBool,
    /// Longest pauses since the kill, in microseconds.
    shell: AtomicU64,
    forward: AtomicU64,
}

impl Watch {
    fn note(&self, longest: &AtomicU64, since: Instant) {
        if self.killed.load(Ordering::SeqCst) {
            let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            longest.fetch_max(micros, Ordering::SeqCst);
        }
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Types, one key after the other's echo.
fn shell(alice: &Person, target: &str, watch: &Arc<Watch>) -> JoinHandle<()> {
    let mut ssh = alice.pal_command(&["ssh", "-tt", target, "stty raw -echo; echo ready; exec cat"]);
    let mut child = Killed(piped(&mut ssh));
    let mut keys = child.0.stdin.take().expect("it is a pipe");
    let mut screen = child.0.stdout.take().expect("it is a pipe");
    let mut shown = Vec::new();
    while !shown.ends_with(b"ready\r\n") && !shown.ends_with(b"ready\n") {
        let mut byte = [0];
        screen.read_exact(&mut byte).expect("the shell starts");
        shown.push(byte[0]);
    }
    let watch = Arc::clone(watch);
    std::thread::spawn(move || {
        let _child = child;
        for key in (b'a'..=b'z').cycle() {
            if watch.over() {
                break;
            }
            let pressed = Instant::now();
            keys.write_all(&[key])
                .and_then(|()| keys.flush())
                .expect("the shell takes a key");
            let mut echo = [0];
            screen.read_exact(&mut echo).expect("the shell echoes");
            watch.note(&watch.shell, pressed);
            assert_eq!(echo, [key], "another key came back");
            std::thread::sleep(PACE);
        }
    })
}

fn piped(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("pal starts")
}

/// A stream to an echo server of ours, through a forwarded port; and what forwards it.
fn forward(alice: &Person, target: &str, watch: &Arc<Watch>) -> (JoinHandle<()>, Killed) {
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let to = server.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        if let Ok((stream, _)) = server.accept() {
            // It ends as the client ends it.
            let _ = io::copy(&mut &stream, &mut &stream);
        }
    });
    let port = free_port();
    let spec = format!("127.0.0.1:{port}:{to}");
    let forwarder = Killed(piped(&mut alice.pal_command(&["ssh", "-N", "-L", &spec, target])));
    let stream = retry("the forward to listen", PATIENCE, || {
        TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())
    });
    let mut writing = stream.try_clone().expect("a socket can be shared");
    let watch = Arc::clone(watch);
    let thread = std::thread::spawn(move || {
        let writer = {
            let watch = Arc::clone(&watch);
            std::thread::spawn(move || {
                let mut at = 0;
                while !watch.over() {
                    writing
                        .write_all(&block(at))
                        .expect("the forward takes what is sent");
                    at += BLOCK as u64;
                    std::thread::sleep(PACE);
                }
                writing
                    .shutdown(std::net::Shutdown::Write)
                    .expect("its end is sent");
                at
            })
        };
        let mut reading = &stream;
        let (mut at, mut heard) = (0, Instant::now());
        let mut buffer = vec![0; BLOCK];
        loop {
            let n = reading.read(&mut buffer).expect("the forward gives what came");
            watch.note(&watch.forward, heard);
            heard = Instant::now();
            if n == 0 {
                break;
            }
            assert!(
                buffer[..n]
                    .iter()
                    .enumerate()
                    .all(|(i, b)| *b == byte(at + i as u64)),
                "another byte came back within {n} at {at}"
            );
            at += n as u64;
        }
        let sent = writer.join().expect("the forward takes what is sent");
        assert_eq!(at, sent, "the stream ended early");
    });
    (thread, forwarder)
}

/// The byte at a place of the forwarded stream: never the same run twice within what could be mixed up.
fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

fn block(at: u64) -> Vec<u8> {
    (at..at + BLOCK as u64).map(byte).collect()
}

/// Files of any size, byte by byte.
fn assert_same(a: &Path, b: &Path) {
    let ran = crate::run::run(Command::new("cmp").arg(a).arg(b));
    assert!(ran.succeeded(), "the file came out another: {ran}");
}
