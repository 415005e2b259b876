//! Nodes as real processes.

use crate::person::Person;
use crate::ports::free_port;
use crate::run::{Ran, run, run_with_input};
use crate::wait::retry;
use crate::{me, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a node may take to answer, to join, to elect: generous, because test machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node: its files outlive its process.
#[derive(Debug)]
pub struct NodeHandle {
    /// Its name.
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its address: loopback, unless the test has a network of its own.
    pub ip: Ipv4Addr,
    /// Its peer port.
    pub cluster_port: u16,
    /// Its HTTPS port.
    pub web_port: u16,
    /// Its SSH port.
    pub ssh_port: u16,
    /// What its process is always started under: the way into a network namespace of its own, a library before libc.
    pub under: Vec<String>,
    /// The program that it runs, if it is not the one that was built with the test.
    pub binary: Option<PathBuf>,
    log: PathBuf,
    child: RefCell<Option<Child>>,
}

impl NodeHandle {
    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.data.join("control.sock")
    }

    /// Its HTTPS address.
    pub fn web_addr(&self) -> String {
        format!("{}:{}", self.ip, self.web_port)
    }

    /// Its SSH address.
    pub fn ssh_addr(&self) -> SocketAddr {
        SocketAddr::from((self.ip, self.ssh_port))
    }

    /// Its peer address.
    pub fn cluster_addr(&self) -> SocketAddr {
        SocketAddr::from((self.ip, self.cluster_port))
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        let mut child = self.child.borrow_mut();
        child
            .as_mut()
            .is_some_and(|c| c.try_wait().is_ok_and(|ended| ended.is_none()))
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.borrow().as_ref().map(Child::id)
    }

    fn spawn(&self, wrapper: &[String]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("its folder is there");
        let mut words: Vec<std::ffi::OsString> = Vec::new();
        // The node dies with the thread of the test, also when the test is killed.
        words.extend(["setpriv", "--pdeathsig", "KILL"].map(Into::into));
        words.extend(self.under.iter().chain(wrapper).map(Into::into));
        let binary = self.binary.clone().unwrap_or_else(|| program("palisade"));
        words.extend([binary.into(), "node".into(), "--config".into()]);
        words.push(self.config.clone().into());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("an open file can be shared"))
            .stderr(log)
            .env("RUST_BACKTRACE", "1")
            .spawn()
            .expect("setpriv (util-linux) is there");
        *self.child.borrow_mut() = Some(child);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().expect("the node runs");
        kill(
            Pid::from_raw(i32::try_from(pid).expect("pids are positive")),
            signal,
        )
        .expect("it is our child");
    }

    fn reap(&self) -> ExitStatus {
        let mut child = self.child.borrow_mut().take().expect("the node runs");
        retry("a node to end", PATIENCE, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(format!("process {} still runs", child.id())),
            Err(e) => Err(e.to_string()),
        })
    }
}

/// A cluster of real processes on loopback.
#[derive(Debug)]
pub struct Cluster {
    /// Its nodes, in the order they joined.
    pub nodes: Vec<NodeHandle>,
    name: String,
    dir: TempDir,
}

impl Cluster {
    /// Starts `size` nodes, makes a cluster of them and waits until all of them vote.
    pub fn start(size: usize) -> Self {
        Cluster::start_at(&vec![Ipv4Addr::LOCALHOST; size])
    }

    /// The same, with each node at an address of its own, in a network that the test has made.
    pub fn start_at(addrs: &[Ipv4Addr]) -> Self {
        let mut cluster = Cluster::unformed(addrs.len());
        let size = addrs.len();
        for (i, addr) in addrs.iter().enumerate() {
            cluster.nodes[i].ip = *addr;
            cluster.write_config(i, "");
        }
        for i in 0..size {
            cluster.spawn(i);
        }
        cluster
            .palctl(0, &["cluster", "init", "--name", &cluster.name])
            .ok();
        for i in 1..size {
            cluster.join(i);
        }
        cluster.wait_voters(size);
        cluster
    }

    /// Writes the configuration of `size` nodes, and starts none.
    pub fn unformed(size: usize) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("palisade-test-")
            .tempdir()
            .expect("there is a temporary folder");
        let mut cluster = Cluster {
            nodes: Vec::new(),
            name: "test".into(),
            dir,
        };
        for _ in 0..size {
            cluster.add_node();
        }
        cluster
    }

    /// Writes the configuration of one more node, and answers its place.
    pub fn add_node(&mut self) -> usize {
        let place = self.nodes.len();
        let name = format!("n{}", place + 1);
        let folder = self.dir.path().join(&name);
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let node = NodeHandle {
            data: folder.join("data"),
            config: folder.join("node.yaml"),
            log: folder.join("log"),
            ip: Ipv4Addr::LOCALHOST,
            cluster_port: free_port(),
            web_port: free_port(),
            ssh_port: free_port(),
            under: Vec::new(),
            binary: None,
            child: RefCell::new(None),
            name,
        };
        self.nodes.push(node);
        self.write_config(place, "");
        place
    }

    /// Writes a node's configuration, with more lines at its end.
    pub fn write_config(&self, i: usize, more: &str) {
        let node = &self.nodes[i];
        let text = format!(
            "name: {}\ndata_dir: {}\nadvertise: {ip}\ncluster_listen: {ip}:{}\nweb_listen: {ip}:{}\nssh_listen: {ip}:{}\n{more}",
            node.name,
            node.data.display(),
            node.cluster_port,
            node.web_port,
            node.ssh_port,
            ip = node.ip,
        );
        fs::write(&node.config, text).expect("the temporary folder is writable");
    }

    /// Starts a node's process and waits for its control socket to answer.
    pub fn spawn(&self, i: usize) {
        self.spawn_under(i, &[]);
    }

    /// The same, with the node as the last argument of another program (`faketime`, `fiu-run`).
    pub fn spawn_under(&self, i: usize, wrapper: &[String]) {
        let node = &self.nodes[i];
        assert!(!node.is_running(), "{} runs already", node.name);
        node.spawn(wrapper);
        retry(&format!("{} to answer", node.name), PATIENCE, || {
            assert!(
                node.is_running(),
                "{} ended at its start:\n{}",
                node.name,
                node.log()
            );
            let ran = self.palctl(i, &["cluster", "status"]);
            if ran.succeeded() {
                Ok(())
            } else {
                Err(ran.to_string())
            }
        });
    }

    /// Runs a node that is expected to give up at its start, and answers what it logged.
    pub fn spawn_refused(&self, i: usize) -> String {
        let node = &self.nodes[i];
        let before = node.log().len();
        node.spawn(&[]);
        let status = node.reap();
        let log = node.log()[before..].to_owned();
        assert!(!status.success(), "{} should not have started:\n{log}", node.name);
        assert!(!log.contains("panicked at"), "{} panicked:\n{log}", node.name);
        log
    }

    /// Lets a running node join through the first node.
    pub fn join(&self, i: usize) {
        let token = self.join_token(0);
        self.join_with(i, &token).ok();
    }

    /// A fresh join token, made on a node.
    pub fn join_token(&self, on: usize) -> String {
        self.palctl(on, &["tokens", "add", "--quiet"])
            .ok()
            .trim()
            .to_owned()
    }

    /// Tries to join with any token.
    pub fn join_with(&self, i: usize, token: &str) -> Ran {
        self.palctl(i, &["cluster", "join", token, &self.nodes[0].web_addr()])
    }

    /// An operator's command on a node.
    pub fn palctl(&self, i: usize, words: &[&str]) -> Ran {
        run(self.palctl_command(i).args(words))
    }

    /// The same, with something on its input.
    pub fn palctl_with_input(&self, i: usize, words: &[&str], input: &str) -> Ran {
        run_with_input(self.palctl_command(i).args(words), input.as_bytes())
    }

    /// `palctl` at a node's control socket, not yet started.
    pub fn palctl_command(&self, i: usize) -> Command {
        let mut command = Command::new(program("palctl"));
        command.arg("--socket").arg(self.nodes[i].socket());
        command.env("HOME", self.dir.path()).env("NO_COLOR", "1");
        command
    }

    /// Creates or replaces records from YAML.
    pub fn create(&self, yaml: &str) {
        let on = self.any_running();
        self.palctl_with_input(on, &["create", "--force", "-f", "-"], yaml)
            .ok();
    }

    /// The status as a node sees it.
    pub fn status(&self, i: usize) -> Value {
        self.palctl(i, &["cluster", "status", "--format", "json"]).json()
    }

    /// The place of a node that runs.
    pub fn any_running(&self) -> usize {
        self.nodes
            .iter()
            .position(NodeHandle::is_running)
            .expect("some node runs")
    }

    /// Waits until one leader is known to every running node, and answers its place.
    pub fn leader(&self) -> usize {
        retry("one leader", PATIENCE, || {
            let mut seen = Vec::new();
            for i in (0..self.nodes.len()).filter(|i| self.nodes[*i].is_running()) {
                let ran = self.palctl(i, &["cluster", "status", "--format", "json"]);
                if !ran.succeeded() {
                    return Err(ran.to_string());
                }
                let status = ran.json();
                let id = status["leader"].as_u64().ok_or("no leader yet")?;
                let members = status["nodes"].as_array().ok_or("no nodes")?;
                let name = members
                    .iter()
                    .find(|n| n["id"] == id)
                    .and_then(|n| n["name"].as_str());
                seen.push(name.unwrap_or_default().to_owned());
            }
            let place = self.nodes.iter().position(|n| Some(&n.name) == seen.first());
            match place {
                Some(place) if seen.iter().all(|s| s == &seen[0]) && self.nodes[place].is_running() => {
                    Ok(place)
                }
                _ => Err(format!("they say {seen:?}")),
            }
        })
    }

    /// Waits until a node sees another lead than this one, which may not have noticed.
    pub fn wait_led_by_another(&self, on: usize, than: usize) {
        retry("another to lead", PATIENCE, || {
            let status = self.status(on);
            let name = &self.nodes[than].name;
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let led = nodes.iter().find(|n| n["id"] == status["leader"]);
            match led {
                Some(leader) if leader["name"] != *name => Ok(()),
                _ => Err(status.to_string()),
            }
        });
    }

    /// The place of a running node that does not lead.
    pub fn follower(&self) -> usize {
        let leader = self.leader();
        (0..self.nodes.len())
            .find(|i| *i != leader && self.nodes[*i].is_running())
            .expect("there is another node")
    }

    /// Waits until so many nodes vote and all of them are reachable.
    pub fn wait_voters(&self, count: usize) {
        let on = self.any_running();
        retry(&format!("{count} voters"), PATIENCE, || {
            self.voters(on, count).map(drop)
        });
    }

    /// Whether this node says that so many vote and are reachable; then how many nodes there are, and else what it says.
    pub fn voters(&self, on: usize, count: usize) -> Result<usize, String> {
        let ran = self.palctl(on, &["cluster", "status", "--format", "json"]);
        if !ran.succeeded() {
            return Err(ran.to_string());
        }
        let status = ran.json();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let fit = nodes
            .iter()
            .filter(|n| n["voter"] == true && n["reachable"] == true)
            .count();
        if fit == count && status["quorum"] == true {
            Ok(nodes.len())
        } else {
            Err(status.to_string())
        }
    }

    /// Waits until every running node has applied what the leader had when this was called.
    pub fn wait_converged(&self) {
        let target = self.status(self.leader())["last_index"]
            .as_u64()
            .expect("status has last_index");
        for i in (0..self.nodes.len()).filter(|i| self.nodes[*i].is_running()) {
            retry("all nodes to catch up", PATIENCE, || {
                let applied = self.status(i)["applied_index"].as_u64().unwrap_or(0);
                if applied >= target {
                    Ok(())
                } else {
                    Err(format!("n{} applied {applied} of {target}", i + 1))
                }
            });
        }
    }

    /// kill -9.
    pub fn kill9(&self, i: usize) {
        self.nodes[i].signal(Signal::SIGKILL);
        self.nodes[i].reap();
    }

    /// A planned stop; panics if the node does not end well.
    pub fn stop(&self, i: usize) {
        self.nodes[i].signal(Signal::SIGTERM);
        let status = self.nodes[i].reap();
        assert!(
            status.success(),
            "{} ended with {status}:\n{}",
            self.nodes[i].name,
            self.nodes[i].log()
        );
    }

    /// SIGHUP: a node reads its configuration again.
    pub fn hang_up(&self, i: usize) {
        self.nodes[i].signal(Signal::SIGHUP);
    }

    /// Freezes a node, as a machine does that is suspended.
    pub fn pause(&self, i: usize) {
        self.nodes[i].signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self, i: usize) {
        self.nodes[i].signal(Signal::SIGCONT);
    }

    /// Asks nodes for a password alone from now on: tests that log in often cannot wait half a minute for each code.
    pub fn without_second_factor(&self) {
        self.create(
            "kind: cluster_auth_preference\nversion: v1\nmetadata:\n  name: cluster-auth-preference\nspec:\n  second_factor: \"off\"\n",
        );
    }

    /// A person with these roles who may use the test's own account, invited and accepted but not logged in.
    pub fn person(&self, name: &str, roles: &str) -> Person {
        let (person, url) = self.invited(name, roles);
        person.accept(&url);
        person
    }

    /// The same after [`Cluster::without_second_factor`].
    pub fn person_by_password(&self, name: &str, roles: &str) -> Person {
        let (person, url) = self.invited(name, roles);
        person.accept_by_password(&url);
        person
    }

    fn invited(&self, name: &str, roles: &str) -> (Person, String) {
        let on = self.any_running();
        let login = me();
        let words = [
            "users", "add", name, "--roles", roles, "--logins", &login, "--format", "json",
        ];
        let invite = self.palctl(on, &words).json();
        let url = invite["url"]
            .as_str()
            .expect("users add answers the invite's url")
            .to_owned();
        let pin = invite["ca_pin"].as_str().expect("users add answers the pin");
        (
            Person::new(self.dir.path().join(format!("home-{name}")), name, pin),
            url,
        )
    }

    /// All audit events of a kind (or whose kind begins with it), oldest first, as a node has them.
    pub fn events(&self, i: usize, kind: &str) -> Vec<Value> {
        let words = [
            "audit",
            "search",
            "--event",
            kind,
            "--all",
            "--oldest-first",
            "--format",
            "json",
        ];
        self.palctl(i, &words).json()["items"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// What a probe at a node answers: the status code and the line.
    pub fn probe(&self, i: usize, path: &str) -> (u16, String) {
        let mut text = String::new();
        let ask = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
        let asked = UnixStream::connect(self.nodes[i].socket()).and_then(|mut socket| {
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.write_all(ask.as_bytes())?;
            socket.read_to_string(&mut text)
        });
        if let Err(e) = asked {
            return (0, e.to_string());
        }
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        let line = text.split("\r\n\r\n").nth(1).unwrap_or_default();
        (status.unwrap_or(0), line.trim_end().to_owned())
    }

    /// Waits until a probe answers with this status code, and answers its line.
    pub fn wait_probe(&self, i: usize, path: &str, status: u16) -> String {
        retry(&format!("{path} to answer {status}"), PATIENCE, || {
            match self.probe(i, path) {
                (answered, line) if answered == status => Ok(line),
                (answered, line) => Err(format!("{answered} {line}")),
            }
        })
    }

    /// A node's metrics, as its control socket gives them.
    pub fn metrics(&self, i: usize) -> String {
        retry("the metrics", PATIENCE, || {
            let mut text = String::new();
            let ask = b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n";
            let asked = UnixStream::connect(self.nodes[i].socket()).and_then(|mut socket| {
                socket.write_all(ask)?;
                socket.read_to_string(&mut text)
            });
            match asked {
                Ok(_) if text.starts_with("HTTP/1.0 200") => Ok(text),
                Ok(_) => Err(text),
                Err(e) => Err(e.to_string()),
            }
        })
    }

    /// A scratch folder of this cluster.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        folder
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where everything of this cluster lies.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Some(mut child) = node.child.borrow_mut().take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = node.log();
                let lines: Vec<_> = log.lines().collect();
                eprintln!("---- log of {} (last 60 of {} lines)", node.name, lines.len());
                eprintln!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            }
        }
    }
}
