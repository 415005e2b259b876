//! The network of a run: a switch, a namespace for each node, and what can go wrong between them.
//!
//! ```text
//! clients, hosts: br0 10.78.0.254 == v1 .. v4 -- e0 10.78.0.1 .. .4 (one namespace each)
//! ```
//!
//! Everything lies in a network and a mount namespace of the run's own, so that nothing is left when it has ended, however
//! it ended. Cuts are rules of the bridge, for one direction of one pair; clients reach every node all the while, also
//! one that has lost the others: that is where a stale answer would be seen.

use palisade_testkit::{Background, run};
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// Set in the process that runs inside.
const INSIDE: &str = "PALISADE_CHAOS_INSIDE";

/// Where clients and hosts are.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 254);

/// The address of a node.
pub fn addr_of(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, u8::try_from(node + 1).expect("there are few nodes"))
}

/// Starts this program once more with these words, in namespaces of its own, and answers how that ended; `None` in the
/// one that was started so. What it prints comes behind `before`, line by line: a test sets it off, so that nobody takes
/// its result for one of this process.
///
/// # Errors
/// Namespaces are not allowed here, or a program is missing: without them there is no run, and no pass.
pub fn enter(words: &[String], before: &str) -> Result<Option<ExitCode>, String> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    needs()?;
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut inside = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private"])
        .arg(me)
        .args(words)
        .env(INSIDE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("unshare: {e}"))?;
    let said = inside.stdout.take().ok_or("unshare has no output")?;
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        println!("{before}{line}");
    }
    let status = inside.wait().map_err(|e| e.to_string())?;
    Ok(Some(match status.code() {
        Some(0) => ExitCode::SUCCESS,
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    }))
}

/// Says what this machine lacks.
fn needs() -> Result<(), String> {
    let tries: [(&[&str], &str); 5] = [
        (
            &["unshare", "--net", "--mount", "ip", "link", "set", "lo", "up"],
            "root, network and mount namespaces",
        ),
        (
            &["unshare", "--net", "nft", "add", "table", "bridge", "t"],
            "nftables for bridges",
        ),
        (
            &["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
            "the right to mount a tmpfs",
        ),
        (
            &[
                "unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit",
                "burst", "32kbit", "latency", "400ms",
            ],
            "the qdisc tbf",
        ),
        (&["cc", "--version"], "a C compiler"),
    ];
    for (words, what) in tries {
        let tried = Command::new(words[0]).args(&words[1..]).output();
        if !tried.as_ref().is_ok_and(|out| out.status.success()) {
            let why = match tried {
                Ok(out) => String::from_utf8_lossy(&out.stderr).trim().to_owned(),
                Err(e) => e.to_string(),
            };
            return Err(format!(
                "this machine lacks {what}, and without it no fault of this kind can be made ({}: {why}); scripts/setup.sh installs the programs",
                words.join(" ")
            ));
        }
    }
    Ok(())
}

/// A pair of nodes, in one direction.
pub type Way = (usize, usize);

/// The network.
#[derive(Debug)]
pub struct Net {
    nodes: usize,
    folder: PathBuf,
    wire: Option<(usize, Background)>,
}

fn ip(words: &str) {
    run(Command::new("ip").args(words.split(' '))).ok();
}

fn nft(words: &str) {
    run(Command::new("nft").arg(words)).ok();
}

impl Net {
    /// Lays it, for so many nodes.
    pub fn lay(nodes: usize, folder: &Path) -> Self {
        run(Command::new("mkdir").args(["-p", "/run/netns"])).ok();
        run(Command::new("mount").args(["-t", "tmpfs", "palisade-chaos", "/run/netns"])).ok();
        ip("link set lo up");
        ip("link add br0 type bridge");
        ip(&format!("addr add {HERE}/24 dev br0"));
        ip("link set br0 up");
        for i in 0..nodes {
            let (ns, outer) = (name(i), format!("v{}", i + 1));
            ip(&format!("netns add {ns}"));
            ip(&format!("link add {outer} type veth peer name e0 netns {ns}"));
            ip(&format!("link set {outer} master br0"));
            ip(&format!("link set {outer} up"));
            ip(&format!("-n {ns} addr add {}/24 dev e0", addr_of(i)));
            ip(&format!("-n {ns} link set e0 up"));
            ip(&format!("-n {ns} link set lo up"));
            // Checksums are made in the packet: what passes by the wire has no network card behind it that would.
            plain(Some(&ns), "e0");
        }
        plain(None, "br0");
        nft("add table bridge chaos");
        nft("add chain bridge chaos forwarded { type filter hook forward priority 0; }");
        Net {
            nodes,
            folder: folder.to_owned(),
            wire: None,
        }
    }

    /// What to start a node under so that it lives in its namespace.
    pub fn way_in(node: usize) -> Vec<String> {
        // Not `ip netns exec`: that one has a mount namespace of its own.
        vec!["nsenter".into(), format!("--net=/run/netns/{}", name(node))]
    }

    /// Loses everything that goes this way, without a word.
    pub fn cut(&self, (from, to): Way) {
        nft(&format!(
            "add rule bridge chaos forwarded iifname v{} oifname v{} drop",
            from + 1,
            to + 1
        ));
    }

    /// Cuts a node off from these, in both directions.
    pub fn part(&self, node: usize, others: &[usize]) {
        for other in others.iter().filter(|other| **other != node) {
            self.cut((node, *other));
            self.cut((*other, node));
        }
    }

    /// Loses so many of 256 packets between nodes.
    pub fn lose(&self, of_256: u8) {
        nft(&format!(
            "add rule bridge chaos forwarded meta random & 0xff < {of_256} drop"
        ));
    }

    /// Lets no more than this rate through to a node: `4mbit`.
    pub fn limit(&self, node: usize, rate: &str) {
        let device = format!("v{}", node + 1);
        let mut tc = Command::new("tc");
        tc.args(["qdisc", "add", "dev", &device, "root", "tbf", "rate", rate]);
        run(tc.args(["burst", "64kbit", "latency", "200ms"])).ok();
    }

    /// Delays what goes to a node and comes from it, by a program that carries the packets.
    pub fn delay(&mut self, node: usize, millis: u32, jitter: u32) {
        assert!(self.wire.is_none(), "one wire at a time");
        let script = self.folder.join("wire.py");
        std::fs::write(&script, include_str!("wire.py")).expect("the run's folder is writable");
        let outer = format!("v{}", node + 1);
        ip("link add w0 type veth peer name w1");
        ip("link set w1 master br0");
        ip("link set w0 up");
        ip("link set w1 up");
        let mut wire = Command::new("setpriv");
        wire.args(["--pdeathsig", "KILL", "python3"]).arg(script);
        let mut wire = Background::start(wire.args([&outer, "w0", &millis.to_string(), &jitter.to_string()]));
        wire.expect_output("ready", Duration::from_secs(20));
        ip(&format!("link set {outer} nomaster"));
        self.wire = Some((node, wire));
    }

    /// Everything is as it was.
    pub fn heal(&mut self) {
        nft("flush chain bridge chaos forwarded");
        for i in 0..self.nodes {
            // It fails where there is none.
            let device = format!("v{}", i + 1);
            run(Command::new("tc").args(["qdisc", "del", "dev", &device, "root"]));
        }
        if let Some((node, wire)) = self.wire.take() {
            drop(wire);
            ip("link del w0");
            ip(&format!("link set v{} master br0", node + 1));
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for i in 0..self.nodes {
            let _ = Command::new("ip").args(["netns", "del", &name(i)]).status();
        }
    }
}

fn name(node: usize) -> String {
    format!("node{}", node + 1)
}

/// Switches a device's checksums off that its driver would leave to hardware.
fn plain(namespace: Option<&str>, device: &str) {
    let ask = "import fcntl,socket,struct,array,sys\n\
               s=socket.socket()\n\
               v=array.array('B',struct.pack('II',0x17,0))\n\
               fcntl.ioctl(s,0x8946,struct.pack('16sP',sys.argv[1].encode(),v.buffer_info()[0]))\n";
    let mut command = match namespace {
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace, "python3"]);
            command
        }
        None => Command::new("python3"),
    };
    run(command.args(["-c", ask, device])).ok();
}
