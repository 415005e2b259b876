//! Somebody at a terminal of stock ssh.

use super::{WITHIN, World, said};
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

pub struct Tty {
    pub child: Child,
    keys: ChildStdin,
    pub screen: ChildStdout,
    said: ChildStderr,
    pub seen: String,
}

impl Tty {
    pub fn open(world: &World, args: &[&str]) -> Tty {
        let all: Vec<&str> = ["-tt"].iter().chain(args).copied().chain(["web1"]).collect();
        Tty::run(world.ssh(&all))
    }

    pub fn run(mut command: Command) -> Tty {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Tty {
            keys: child.stdin.take().unwrap(),
            screen: child.stdout.take().unwrap(),
            said: child.stderr.take().unwrap(),
            child,
            seen: String::new(),
        }
    }

    pub async fn keys(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).await.unwrap();
    }

    pub async fn shows(&mut self, what: &str) {
        let mut piece = [0; 4096];
        let read = async {
            while !self.seen.contains(what) {
                let n = self.screen.read(&mut piece).await.unwrap();
                if n == 0 {
                    return false;
                }
                self.seen.push_str(&said(&piece[..n]));
            }
            true
        };
        let found = tokio::time::timeout(WITHIN, read).await;
        assert_eq!(found, Ok(true), "{what:?} was not shown: {}", self.seen);
    }

    pub async fn started(world: &World) -> (Tty, String) {
        let mut tty = Tty::open(world, &[]);
        tty.keys("stty -echo; PS1=; x=kept; echo up''-and-running\n")
            .await;
        tty.shows("up-and-running").await;
        let id = world.server.live()[0].session.session.clone();
        (tty, id)
    }

    /// Waits for its end: the exit status, and what it was told beside the screen.
    pub async fn ends(mut self) -> (Option<i32>, String) {
        let mut told = String::new();
        let ending = async {
            // What is still shown is taken, so that nothing waits for us.
            let mut rest = Vec::new();
            let (shown, said, status) = tokio::join!(
                self.screen.read_to_end(&mut rest),
                self.said.read_to_string(&mut told),
                self.child.wait()
            );
            shown.unwrap();
            said.unwrap();
            self.seen.push_str(&super::said(&rest));
            status.unwrap().code()
        };
        let status = tokio::time::timeout(WITHIN, ending).await.expect("it ends");
        (status, format!("{}{told}", self.seen))
    }
}
