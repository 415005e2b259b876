//! Clients of every kind. Each runs in a thread of its own until it is told to stop, is never surprised by a failure, and
//! notes what it was told.

pub mod api;
pub mod forward;
pub mod login;
pub mod reader;
pub mod records;
pub mod shell;
pub mod transfer;

use crate::real::history::History;
use crate::real::rng::Rng;
use palisade_testkit::me;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What all clients share.
#[derive(Debug)]
pub struct Shared {
    /// What they saw.
    pub history: History,
    /// HTTPS addresses, in the order of the nodes.
    pub web: Vec<String>,
    /// Whether to end.
    pub stop: AtomicBool,
    /// Which keys are used now: one set a step, so that histories stay short.
    pub era: AtomicUsize,
    /// Where each writer is: what is older than all of them is complete.
    pub at: Vec<AtomicUsize>,
    /// Sessions that ended.
    pub sessions: Mutex<Vec<shell::Seen>>,
    /// Streams and files that ended.
    pub passed: Mutex<Vec<crate::real::check::streams::Passed>>,
    /// The port of a service on the hosts that says what it hears.
    pub echo: u16,
}

impl Shared {
    /// Whether to go on.
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Waits between two operations; not longer than the run lasts.
    pub fn pause(&self, how_long: Duration) {
        let until = Instant::now() + how_long;
        while self.goes_on() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20).min(how_long));
        }
    }
}

/// The hosts: one with a stock `sshd`, one with an agent.
pub const PLAIN: &str = "plain";
/// The one with an agent.
pub const AGENT: &str = "agent";

/// Where to log in at a host.
pub fn at_host(host: &str) -> String {
    format!("{}@{host}", me())
}

/// Starts a client's thread.
pub fn start(
    name: &str,
    shared: &Arc<Shared>,
    mut rng: Rng,
    client: impl FnOnce(&Shared, &mut Rng) + Send + 'static,
) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || client(&shared, &mut rng))
        .expect("a thread can be started")
}

/// A service that says what it hears, on loopback of the hosts. It ends with the process.
pub fn echo() -> u16 {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = service.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in service.incoming().flatten() {
            std::thread::spawn(move || {
                // It ends as its client ends it.
                let _ = std::io::copy(&mut &stream, &mut &stream);
                let _ = stream.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    port
}

/// A program of a client that is watched line by line. Killed when dropped.
pub struct Watched {
    child: Child,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
    reader: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("programs of the tests are installed");
        let out = child.stdout.take().expect("it is a pipe");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                into.lock()
                    .expect("nobody panics while holding it")
                    .push((Instant::now(), text));
            }
        });
        Watched {
            child,
            lines,
            reader: Some(reader),
        }
    }

    /// Waits for its end, at most so long; then it is killed.
    pub fn finish(&mut self, bound: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + bound;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                _ => break,
            }
        }
        self.kill();
        None
    }

    /// What it printed, and when. Only after its end this is all of it.
    pub fn lines(&mut self) -> Vec<(Instant, String)> {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some())
            && let Some(reader) = self.reader.take()
        {
            let until = Instant::now() + Duration::from_secs(5);
            // A grandchild may keep the pipe open: that is not waited for.
            while !reader.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.lines.lock().expect("nobody panics while holding it").clone()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Ends it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.kill();
    }
}
