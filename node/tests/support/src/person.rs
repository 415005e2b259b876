//! Somebody who uses `pal` and stock OpenSSH.

use crate::cluster::NodeHandle;
use crate::program;
use crate::run::{Background, Ran, run, run_with_input};
use crate::wait::until;
use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const STEP_SECS: u64 = 30;

/// A person with a home folder of their own.
#[derive(Debug)]
pub struct Person {
    /// Their user name.
    pub name: String,
    /// Their home: `~/.pal` of nobody else is touched.
    pub home: PathBuf,
    /// Their password.
    pub password: String,
    pin: String,
    secret: RefCell<String>,
    last_step: RefCell<u64>,
}

impl Person {
    pub(crate) fn new(home: PathBuf, name: &str, pin: &str) -> Self {
        fs::create_dir_all(&home).expect("the temporary folder is writable");
        Person {
            name: name.to_owned(),
            home,
            password: "correct horse battery staple".to_owned(),
            pin: pin.to_owned(),
            secret: RefCell::default(),
            last_step: RefCell::new(0),
        }
    }

    /// Accepts an invite: shows the secret, stores it, proves it with a code.
    pub(crate) fn accept(&self, url: &str) {
        let shown = self
            .pal(&["invite", "accept", url, "--ca-pin", &self.pin, "--show"])
            .ok();
        *self.secret.borrow_mut() = secret_in(&shown);
        let code = self.code();
        let words = [
            "invite",
            "accept",
            url,
            "--ca-pin",
            &self.pin,
            "--password-stdin",
            "--code",
            &code,
        ];
        self.pal_with_input(&words, &format!("{}\n", self.password)).ok();
    }

    /// Runs `pal mfa add authenticator` with these words: stores the secret that it shows, and proves it with a code. What it
    /// said.
    pub fn new_authenticator(&self, words: &[&str]) -> String {
        let mut command = self.pal_command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut pal = command.spawn().expect("pal starts");
        let mut input = pal.stdin.take().expect("it is piped");
        writeln!(input, "{}", self.password).expect("pal reads");
        let mut said = String::new();
        let mut output = BufReader::new(pal.stdout.take().expect("it is piped"));
        while !said.contains("otpauth://") {
            let read = output.read_line(&mut said).expect("pal speaks");
            assert!(read > 0, "it ended after {said:?}");
        }
        *self.secret.borrow_mut() = secret_in(&said);
        writeln!(input, "{}", self.code()).expect("pal reads");
        output.read_to_string(&mut said).expect("pal speaks");
        assert!(pal.wait().expect("pal ends").success(), "{said}");
        said
    }

    /// Accepts an invite or reset where a password is enough.
    pub fn accept_by_password(&self, url: &str) {
        let words = ["invite", "accept", url, "--ca-pin", &self.pin, "--password-stdin"];
        self.pal_with_input(&words, &format!("{}\n", self.password)).ok();
    }

    /// A code that was not used before; waits for the next one if need be. Made by `oathtool`, not by our own code.
    pub fn code(&self) -> String {
        let step = until("a code that was not used", Duration::from_secs(40), || {
            let secs = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
            let now = secs / STEP_SECS;
            // One step early and one step late are accepted, as every server does; late only while this one lasts, which
            // must be long enough for the code to get there.
            let oldest = if secs % STEP_SECS < STEP_SECS / 2 {
                now - 1
            } else {
                now
            };
            let next = (*self.last_step.borrow() + 1).max(oldest);
            (next <= now + 1).then_some(next)
        });
        *self.last_step.borrow_mut() = step;
        self.code_of(step)
    }

    /// The code of the last step used: a second use of it must be refused.
    pub fn used_code(&self) -> String {
        self.code_of(*self.last_step.borrow())
    }

    fn code_of(&self, step: u64) -> String {
        let now = format!("@{}", step * STEP_SECS);
        let mut oathtool = Command::new("oathtool");
        oathtool.args(["--totp", "-b", "--now", &now, &self.secret.borrow()]);
        run(&mut oathtool).ok().trim().to_owned()
    }

    /// What is secret of them: names for people, and the texts.
    pub fn secrets(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("the password", self.password.clone())];
        if !self.secret.borrow().is_empty() {
            all.push(("the TOTP secret", self.secret.borrow().clone()));
        }
        all
    }

    /// Logs in at this address with password and a fresh code.
    pub fn login(&self, addr: &str) -> Ran {
        self.login_with(addr, &self.password, Some(&self.code()))
    }

    /// Logs in where a password is enough.
    pub fn login_by_password(&self, addr: &str) -> Ran {
        self.login_with(addr, &self.password, None)
    }

    /// Tries to log in with any password and code.
    pub fn login_with(&self, addr: &str, password: &str, code: Option<&str>) -> Ran {
        let mut words = vec![
            "login",
            "--proxy",
            addr,
            "--user",
            &self.name,
            "--ca-pin",
            &self.pin,
            "--password-stdin",
        ];
        if let Some(code) = code {
            words.extend(["--code", code]);
        }
        self.pal_with_input(&words, &format!("{password}\n"))
    }

    /// The pin that this person was told.
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// `pal` with these words.
    pub fn pal(&self, words: &[&str]) -> Ran {
        run(&mut self.pal_command(words))
    }

    /// `pal` with something on its input.
    pub fn pal_with_input(&self, words: &[&str], input: &str) -> Ran {
        run_with_input(&mut self.pal_command(words), input.as_bytes())
    }

    /// The same login for another thread: a handle with nothing but the home folder.
    pub fn handle(&self) -> Login {
        Login {
            home: self.home.clone(),
        }
    }

    /// `pal`, not started.
    pub fn pal_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("pal"));
        command.args(words);
        self.at_home(&mut command);
        command
    }

    /// Any program, in this person's home.
    pub fn at_home(&self, command: &mut Command) {
        at_home(&self.home, command);
    }

    /// The configuration for OpenSSH that `pal config` writes, written anew.
    pub fn ssh_config(&self) -> PathBuf {
        let path = self.home.join("ssh_config");
        fs::write(&path, self.pal(&["config"]).ok()).expect("their home is writable");
        path
    }

    /// The configuration that goes through one node, by its SSH port, with plain `ProxyJump`.
    pub fn ssh_config_through(&self, port: u16) -> PathBuf {
        let path = self.home.join(format!("ssh_config.{port}"));
        let text = self.pal(&["config", "--jump"]).ok();
        let lines = text
            .lines()
            .map(|line| match line.trim_start().starts_with("Port ") {
                true => format!("    Port {port}"),
                false => line.to_owned(),
            });
        fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n").expect("their home is writable");
        path
    }

    /// An interactive `ssh` through that node alone.
    pub fn ssh_interactive_through(&self, port: u16, words: &[&str]) -> Background {
        let mut command = Command::new("ssh");
        command
            .arg("-F")
            .arg(self.ssh_config_through(port))
            .args(["-o", "BatchMode=yes", "-tt"])
            .args(words);
        self.at_home(&mut command);
        Background::start(&mut command)
    }

    /// A stock program of OpenSSH (`ssh`, `scp`, `sftp`) with that configuration; nothing may ask a question.
    pub fn openssh(&self, tool: &str, words: &[&str]) -> Command {
        let written = self.home.join("ssh_config");
        let config = if written.exists() {
            written
        } else {
            self.ssh_config()
        };
        let mut command = Command::new(tool);
        command
            .arg("-F")
            .arg(config)
            .args(["-o", "BatchMode=yes"])
            .args(words);
        self.at_home(&mut command);
        command
    }

    /// `ssh` to its end.
    pub fn ssh(&self, words: &[&str]) -> Ran {
        run(&mut self.openssh("ssh", words))
    }

    /// An interactive `ssh` that goes on until told otherwise. Type into it with [`Background::send`].
    pub fn ssh_interactive(&self, words: &[&str]) -> Background {
        let mut all = vec!["-tt"];
        all.extend(words);
        Background::start(&mut self.openssh("ssh", &all))
    }

    /// A file that a login left in their home, by the end of its name: `-tls.pem`, `-tls.key`, `ca.pem`.
    pub fn saved(&self, ending: &str) -> PathBuf {
        find(&self.home, ending).unwrap_or_else(|| panic!("a login leaves a file *{ending} in their home"))
    }

    /// Their programs know this node alone from now on.
    pub fn only_through(&self, node: &NodeHandle) {
        let path = self.saved("profile.json");
        let text = fs::read_to_string(&path).expect("a login leaves it");
        let mut profile: serde_json::Value = serde_json::from_str(&text).expect("json");
        profile["web_addrs"] = serde_json::json!([node.web_addr()]);
        profile["ssh_addrs"] = serde_json::json!([node.ssh_addr().to_string()]);
        fs::write(&path, profile.to_string()).expect("their home is writable");
    }

    /// The SSH certificate as `ssh-keygen -L` shows it.
    pub fn certificate(&self) -> String {
        let path = self.saved("-cert.pub");
        run(Command::new("ssh-keygen").arg("-L").arg("-f").arg(path)).ok()
    }
}

/// Somebody's saved login, to be used from another thread.
#[derive(Debug, Clone)]
pub struct Login {
    home: PathBuf,
}

impl Login {
    /// `palctl` with it.
    pub fn palctl(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(program("palctl"));
        command.args(["--proxy", "127.0.0.1"]).args(words);
        at_home(&self.home, &mut command);
        run(&mut command)
    }
}

/// The TOTP secret in what a program shows.
fn secret_in(shown: &str) -> String {
    let base32 =
        |word: &&str| word.len() >= 16 && word.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    let secret = shown.split_whitespace().find(base32);
    secret
        .unwrap_or_else(|| panic!("no secret in {shown}"))
        .to_owned()
}

/// Sets a program's environment so that it lives in this home.
fn at_home(home: &Path, command: &mut Command) {
    let path = std::env::var("PATH").unwrap_or_default();
    let ours = program("pal");
    let folder = ours
        .parent()
        .expect("a program lies in a folder")
        .display()
        .to_string();
    command
        .env("HOME", home)
        .env("PATH", format!("{folder}:{path}"))
        .env("NO_COLOR", "1")
        .env_remove("PAL_HOME")
        .env_remove("PAL_PROXY")
        .env_remove("SSH_AUTH_SOCK");
}

fn find(folder: &Path, ending: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, ending) {
                return Some(found);
            }
        } else if path.to_string_lossy().ends_with(ending) {
            return Some(path);
        }
    }
    None
}
