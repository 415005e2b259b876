//! The agent of a host, as a real process.

use crate::cluster::Cluster;
use crate::program;
use crate::run::run;
use crate::wait::{retry, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::cell::RefCell;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// An agent that has joined; its process is stopped when this is dropped.
#[derive(Debug)]
pub struct Agent {
    /// The host's name.
    pub name: String,
    config: PathBuf,
    log: PathBuf,
    child: RefCell<Option<Child>>,
}

impl Agent {
    /// Joins a host by a token of the cluster, starts its agent and waits until it is online.
    pub fn start(cluster: &Cluster, name: &str, labels: &str) -> Self {
        let agent = Agent::configured(cluster, name, "");
        let on = cluster.any_running();
        let mut words = vec!["tokens", "add", "--host", name, "--quiet"];
        if !labels.is_empty() {
            words.extend(["--labels", labels]);
        }
        let token = cluster.palctl(on, &words).ok();
        agent.join(&token, &cluster.nodes[on].web_addr()).ok();
        agent.spawn();
        agent.wait_online(cluster);
        agent
    }

    /// Writes a configuration, and starts nothing.
    pub fn configured(cluster: &Cluster, name: &str, more: &str) -> Self {
        let folder = cluster.folder(&format!("agent-{name}"));
        let agent = Agent {
            name: name.to_owned(),
            config: folder.join("agent.yaml"),
            log: folder.join("log"),
            child: RefCell::new(None),
        };
        agent.configure(more);
        agent
    }

    /// Writes its configuration anew; a running one is told by SIGHUP.
    pub fn configure(&self, more: &str) {
        let (name, data) = (&self.name, self.data_dir());
        let text = format!("name: {name}\ndata_dir: {}\n{more}", data.display());
        fs::write(&self.config, text).expect("the temporary folder is writable");
        if let Some(pid) = self.pid() {
            let pid = Pid::from_raw(i32::try_from(pid).expect("pids are positive"));
            kill(pid, Signal::SIGHUP).expect("the process is ours");
        }
    }

    /// Where it keeps its identity.
    pub fn data_dir(&self) -> PathBuf {
        self.config.with_file_name("data")
    }

    /// Joins a host by a token of the cluster; nothing is started.
    pub fn joined(cluster: &Cluster, name: &str) -> Self {
        let agent = Agent::configured(cluster, name, "");
        let on = cluster.any_running();
        let token = cluster
            .palctl(on, &["tokens", "add", "--host", name, "--quiet"])
            .ok();
        agent.join(&token, &cluster.nodes[on].web_addr()).ok();
        agent
    }

    /// Tries to join with any token at an address.
    pub fn join(&self, token: &str, addr: &str) -> crate::run::Ran {
        let mut command = Command::new(program("palisade"));
        command
            .args(["agent", "join", "--config"])
            .arg(&self.config)
            .args([token.trim(), addr]);
        run(&mut command)
    }

    /// Starts the process.
    pub fn spawn(&self) {
        self.spawn_under(&[]);
    }

    /// The same, as the last argument of another program (`ip netns exec`).
    pub fn spawn_under(&self, wrapper: &[&str]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("its folder is there");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(wrapper)
            .arg(program("palisade"))
            .args(["agent", "start", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("an open file can be shared"))
            .stderr(log)
            .spawn()
            .expect("setpriv (util-linux) is there");
        *self.child.borrow_mut() = Some(child);
    }

    /// Waits until the cluster lists the host as online.
    pub fn wait_online(&self, cluster: &Cluster) {
        retry(&format!("{} to be online", self.name), PATIENCE, || {
            match self.listed(cluster) {
                Some(host) if host["online"] == true => Ok(()),
                other => Err(format!("{other:?}\n{}", self.log())),
            }
        });
    }

    /// Waits until this node knows that it is online: one that has just started hears of agents from the others.
    pub fn wait_known_at(&self, cluster: &Cluster, node: usize) {
        let to = format!("{} to be online at node {node}", self.name);
        retry(&to, PATIENCE, || match self.listed_at(cluster, node) {
            Some(host) if host["online"] == true => Ok(()),
            other => Err(format!("{other:?}\n{}", self.log())),
        });
    }

    /// The host as an operator's list shows it.
    pub fn listed(&self, cluster: &Cluster) -> Option<serde_json::Value> {
        self.listed_at(cluster, cluster.any_running())
    }

    fn listed_at(&self, cluster: &Cluster, on: usize) -> Option<serde_json::Value> {
        let hosts = cluster.palctl(on, &["hosts", "ls", "--format", "json"]).json();
        let hosts = hosts.as_array().or_else(|| hosts["items"].as_array()).cloned()?;
        hosts
            .into_iter()
            .find(|host| host["metadata"]["name"] == self.name.as_str())
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it holds tunnels, and none to the node at this address, as its log tells.
    pub fn wait_tunnels_without(&self, addr: &str) {
        retry(
            &format!("{} to have no tunnel to {addr}", self.name),
            PATIENCE,
            || {
                let log = self.log();
                let mut up = std::collections::BTreeSet::new();
                for line in log.lines() {
                    let node = line
                        .split("node=")
                        .nth(1)
                        .and_then(|rest| rest.split_whitespace().next());
                    let Some(node) = node.map(|node| node.trim_matches('"').to_owned()) else {
                        continue;
                    };
                    if line.contains("another tunnel to this node is up already") {
                        continue;
                    }
                    if line.contains("a tunnel is up") {
                        up.insert(node);
                    } else if line.contains("a tunnel is down") {
                        up.remove(&node);
                    }
                }
                match up.contains(addr) || up.is_empty() {
                    true => Err(format!("it has {up:?}")),
                    false => Ok(()),
                }
            },
        );
    }

    /// kill -9.
    pub fn kill9(&self) {
        if let Some(mut child) = self.child.borrow_mut().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&self) {
        let Some(mut child) = self.child.borrow_mut().take() else {
            return;
        };
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("pids are positive"));
        kill(pid, Signal::SIGTERM).expect("the process is ours");
        let ended = until(&format!("the agent of {} to stop", self.name), PATIENCE, || {
            child.try_wait().ok().flatten()
        });
        assert!(ended.success(), "{ended}\n{}", self.log());
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.borrow().as_ref().map(Child::id)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("---- log of the agent of {}", self.name);
            eprintln!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}
