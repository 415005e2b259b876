//! Networks that fail in one direction only, between an agent and its nodes: in network namespaces of the test's own.

use palisade_testkit::{Agent, Cluster, me, run};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

/// Set in the process that runs in a namespace of its own.
const INSIDE: &str = "PALISADE_TEST_INSIDE";

/// Whether this is the process in which the test may lay its network. The first one starts itself once more for that,
/// with an empty network, and is done with it. Skipped, loudly, where namespaces are not allowed.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let allowed = Command::new("unshare")
        .args(["-n", "ip", "link", "set", "lo", "up"])
        .output();
    if !allowed.is_ok_and(|out| out.status.success()) {
        eprintln!("SKIPPED {test}: network namespaces are not allowed here");
        return false;
    }
    let me = std::env::current_exe().expect("a running test has a path");
    let again = Command::new("unshare")
        .arg("-n")
        .arg(me)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("it starts");
    // Set off, so that nobody takes its result for one of this process.
    for line in [again.stdout, again.stderr].concat().split(|byte| *byte == b'\n') {
        println!("| {}", String::from_utf8_lossy(line));
    }
    assert!(again.status.success(), "see above: {}", again.status);
    false
}

/// Nodes here, a router, and the agent behind it:
///
/// ```text
/// 10.77.1.1, .2, .3  a0 == r0  router  r1 == b0  10.77.2.1
/// ```
struct Net {
    router: String,
    agent: String,
}

const NODES: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 77, 1, 1),
    Ipv4Addr::new(10, 77, 1, 2),
    Ipv4Addr::new(10, 77, 1, 3),
];
const AGENT: &str = "10.77.2.1";

/// Which packets are lost.
#[derive(Debug, Clone, Copy)]
enum Direction {
    AgentToNode,
    NodeToAgent,
}

fn ip(words: &str) {
    run(Command::new("ip").args(words.split(' '))).ok();
}

impl Net {
    fn lay() -> Net {
        let pid = std::process::id();
        let net = Net {
            router: format!("palisade-r{pid}"),
            agent: format!("palisade-a{pid}"),
        };
        let (r, a) = (&net.router, &net.agent);
        ip("link set lo up");
        ip(&format!("netns add {r}"));
        ip(&format!("netns add {a}"));
        ip(&format!("link add a0 type veth peer name r0 netns {r}"));
        ip(&format!("-n {r} link add r1 type veth peer name b0 netns {a}"));
        for node in NODES {
            ip(&format!("addr add {node}/24 dev a0"));
        }
        ip("link set a0 up");
        ip("route add 10.77.2.0/24 via 10.77.1.254");
        for (at, address, device) in [
            (r, "10.77.1.254", "r0"),
            (r, "10.77.2.254", "r1"),
            (a, AGENT, "b0"),
        ] {
            ip(&format!("-n {at} addr add {address}/24 dev {device}"));
            ip(&format!("-n {at} link set {device} up"));
            ip(&format!("-n {at} link set lo up"));
        }
        ip(&format!("-n {a} route add default via 10.77.2.254"));
        // The router asks for no way back before it passes a packet on.
        let set = "echo 1 >/proc/sys/net/ipv4/ip_forward; for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done";
        run(Command::new("ip").args(["netns", "exec", r, "sh", "-c", set])).ok();
        net
    }

    /// Loses what goes between the agent and a node in one direction: without a word, as a broken network does.
    fn cut(&self, direction: Direction, node: Ipv4Addr) {
        let (from, to) = ends(direction, node);
        ip(&format!(
            "-n {} rule add from {from} to {to} pref 10 blackhole",
            self.router
        ));
    }

    fn heal(&self, direction: Direction, node: Ipv4Addr) {
        let (from, to) = ends(direction, node);
        ip(&format!(
            "-n {} rule del from {from} to {to} pref 10 blackhole",
            self.router
        ));
    }
}

fn ends(direction: Direction, node: Ipv4Addr) -> (String, String) {
    match direction {
        Direction::AgentToNode => (AGENT.into(), node.to_string()),
        Direction::NodeToAgent => (node.to_string(), AGENT.into()),
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.router, &self.agent] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Goal: a node that hears its agent and is not heard by it, or the other way round, is as good as dead, and a shell goes
/// on through another one. Method: each node in turn loses one direction, so that whichever carries the shell is among
/// them; then the other direction.
#[test]
fn a_shell_at_an_agent_outlives_cuts_in_one_direction() {
    if !inside("a_shell_at_an_agent_outlives_cuts_in_one_direction") {
        return;
    }
    let net = Net::lay();
    let cluster = Cluster::start_at(&NODES);
    let web1 = Agent::joined(&cluster, "web1");
    web1.spawn_under(&["ip", "netns", "exec", &net.agent]);
    web1.wait_online(&cluster);
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let mut shell = alice.ssh_interactive(&[&format!("{}@web1", me())]);
    shell.send(b"marker=kept; echo begin-$((40+2))\n");
    shell.expect_output("begin-42", BOUND);
    for direction in [Direction::AgentToNode, Direction::NodeToAgent] {
        let mut longest = Duration::ZERO;
        for (i, node) in NODES.into_iter().enumerate() {
            net.cut(direction, node);
            let cut = Instant::now();
            let said = format!("{direction:?}-{i}");
            shell.send(format!("echo $marker-{said}-$((1+1))\n").as_bytes());
            shell.expect_output(&format!("kept-{said}-2"), BOUND);
            longest = longest.max(cut.elapsed());
            println!(
                "{direction:?} cut at node {i}: the shell answered after {:?}",
                cut.elapsed()
            );
            // Long enough for everybody to have noticed: what is typed later goes another way.
            web1.wait_tunnels_without(&cluster.nodes[i].web_addr());
            net.heal(direction, node);
        }
        // A shell that answered at once each time went through none of them.
        assert!(
            longest > Duration::from_millis(500),
            "no cut was on the way: {longest:?}"
        );
        assert!(longest < Duration::from_secs(5), "{direction:?}: {longest:?}");
    }
    shell.send(b"exit 3\n");
    assert_eq!(shell.finish(BOUND).status.code(), Some(3));
}

/// Goal: a leader that people cannot reach does not go on leading, though its heartbeats arrive. Method: what is sent to its
/// HTTPS port is lost, and nothing else.
#[test]
fn a_leader_that_nobody_reaches_hands_over() {
    if !inside("a_leader_that_nobody_reaches_hands_over") {
        return;
    }
    ip("link set lo up");
    // The rule for what is local comes first and cannot be preceded, so it is made anew behind ours.
    ip("rule add pref 100 lookup local");
    ip("rule del pref 0");
    let cluster = Cluster::start(3);
    let sick = cluster.leader();
    let addr = cluster.nodes[sick].web_addr();
    let (host, port) = addr.rsplit_once(':').expect("an address has a port");
    let cut = format!("to {host} ipproto tcp dport {port} pref 10 blackhole");
    ip(&format!("rule add {cut}"));
    let began = Instant::now();
    let well = (0..3).find(|i| *i != sick).expect("there are three");
    cluster.wait_led_by_another(well, sick);
    println!(
        "out of reach -> another leads: {} ms",
        began.elapsed().as_millis()
    );
    let log = cluster.nodes[sick].log();
    assert!(log.contains("out of the others' reach"), "{log}");
    ip(&format!("rule del {cut}"));
    cluster
        .palctl(well, &["hosts", "add", "after", "--addr", "127.0.0.1:22"])
        .ok();
}
