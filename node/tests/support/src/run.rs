//! Running programs: bounded, with their output kept.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No command of a test takes longer than this; one that does is stopped and reported.
const LONGEST: Duration = Duration::from_secs(120);

/// What a program did.
#[derive(Debug, Clone)]
pub struct Ran {
    /// What was run, for messages.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained of.
    pub stderr: Vec<u8>,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Whether it ended with success.
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// Its output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its complaints as text.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Its output; panics if it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.succeeded(), "{self}");
        self.text()
    }

    /// Its output as JSON; panics if it failed or printed anything else.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let shown = self.to_string();
        match serde_json::from_str(&self.ok()) {
            Ok(value) => value,
            Err(e) => panic!("no JSON ({e}) from {shown}"),
        }
    }

    /// Its complaint; panics if it succeeded, was killed, or said nothing that a person could act on.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(!self.succeeded(), "this should have been refused: {self}");
        assert!(
            self.status.code().is_some(),
            "it died instead of refusing: {self}"
        );
        let complaint = self.complaint();
        assert!(!complaint.trim().is_empty(), "it refused without a word: {self}");
        assert!(!complaint.contains("panicked at"), "it panicked: {self}");
        complaint
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ran {
            line, status, took, ..
        } = self;
        write!(
            f,
            "`{line}` ended with {status} after {took:?}\n{}{}",
            self.text(),
            self.complaint()
        )
    }
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Ran {
    run_with_input(command, b"")
}

/// Runs a program to its end, giving it these bytes on its input.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Ran {
    let mut background = Background::start(command);
    background.send(input);
    background.close_input();
    background.finish(LONGEST)
}

/// A program that runs beside the test. It is killed when this is dropped.
#[derive(Debug)]
pub struct Background {
    line: String,
    began: Instant,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Background {
    /// Starts it, with pipes on input and output.
    pub fn start(command: &mut Command) -> Self {
        let line = shown(command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("`{line}` does not start: {e}"));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("it is a pipe"), &stdout),
            collect(child.stderr.take().expect("it is a pipe"), &stderr),
        ];
        Background {
            line,
            began: Instant::now(),
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
            readers,
        }
    }

    /// Writes to its input. A program that closed it early is no fault of the test.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin
            && stdin.write_all(bytes).and_then(|()| stdin.flush()).is_err()
        {
            self.stdin = None;
        }
    }

    /// Ends its input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().expect("readers do not panic")).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether its output contains the text within the bound.
    pub fn prints(&mut self, text: &str, bound: Duration) -> bool {
        let began = Instant::now();
        while !self.output().contains(text) {
            if !self.is_running() || began.elapsed() > bound {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Waits until its output contains the text.
    #[track_caller]
    pub fn expect_output(&mut self, text: &str, bound: Duration) {
        let began = Instant::now();
        while !self.output().contains(text) {
            let ended = self.child.try_wait().expect("a child can be asked");
            if ended.is_some() || began.elapsed() > bound {
                let complaint =
                    String::from_utf8_lossy(&self.stderr.lock().expect("readers do not panic")).into_owned();
                panic!(
                    "`{}` did not print {text:?} (ended: {ended:?}); it printed:\n{}{complaint}",
                    self.line,
                    self.output()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Waits for its end; kills it and panics after the bound.
    #[track_caller]
    pub fn finish(mut self, bound: Duration) -> Ran {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                break status;
            }
            if self.began.elapsed() > bound {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!(
                    "`{}` ran longer than {bound:?}; it printed:\n{}",
                    self.line,
                    self.output()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = self.began.elapsed();
        // A grandchild may keep the pipe open (a multiplexing ssh does): its output is not waited for.
        let began = Instant::now();
        while self.readers.iter().any(|r| !r.is_finished()) && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let taken = |kept: &Mutex<Vec<u8>>| std::mem::take(&mut *kept.lock().expect("readers do not panic"));
        Ran {
            line: self.line.clone(),
            status,
            stdout: taken(&self.stdout),
            stderr: taken(&self.stderr),
            took,
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static, into: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n) = from.read(&mut buffer) {
            if n == 0 {
                break;
            }
            into.lock()
                .expect("readers do not panic")
                .extend_from_slice(&buffer[..n]);
        }
    })
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

/// What to start a program under so that its wall clock is off by what the file says, such as `+3600`; the file may change
/// while it runs.
pub fn under_clock(file: &Path) -> Vec<String> {
    // Debian keeps it in a folder named after the processor.
    let folders = std::fs::read_dir("/usr/lib")
        .expect("there is /usr/lib")
        .flatten();
    let library = folders
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
        .expect("faketime is installed: scripts/setup.sh test");
    vec![
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ]
}
