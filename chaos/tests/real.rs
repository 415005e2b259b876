//! Twenty faults in a row against a cluster of real processes, in namespaces of the test's own: in short what `make soak`
//! does for an hour.

use palisade_chaos::real::faults::named;
use palisade_chaos::real::{Options, net, run, shim};
use palisade_testkit::me;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// One at a time: each has processes enough for the whole machine.
static ONE: Mutex<()> = Mutex::new(());

/// Whether this is the process inside the namespaces; the first one starts it, and is done with it.
fn inside(test: &str) -> bool {
    let words = ["--exact", test, "--nocapture", "--test-threads=1"].map(str::to_owned);
    // Who waited for one that failed is not to blame for it.
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    match net::enter(&words, "| ") {
        Ok(None) => true,
        Ok(Some(code)) => {
            assert_eq!(code, ExitCode::SUCCESS, "see above");
            false
        }
        // Without the rights of root it cannot be run; with them, whatever is missing is a fault.
        Err(why) if me() != "root" => {
            println!("NOT RUN: {test}: {why}");
            false
        }
        Err(why) => panic!("{why}"),
    }
}

fn options(faults: usize, seed: u64) -> Options {
    Options {
        faults,
        seed,
        only: Vec::new(),
        long: false,
        mutant: None,
        logs: std::env::temp_dir().join(format!("palisade-chaos-{seed}")),
    }
}

/// Goal: nothing that was acknowledged is lost, doubled or told otherwise, whatever fails.
#[test]
fn twenty_faults_in_a_row_break_no_promise() {
    if inside("twenty_faults_in_a_row_break_no_promise") {
        let report = run(&options(20, 5));
        println!("{report}");
        assert!(report.is_good(), "see above; replay: {}", report.replay);
    }
}

fn is_caught(mutant: &str, only: &[&str], by: &str) {
    let report = run(&Options {
        only: only
            .iter()
            .map(|name| named(name).expect("there is such a fault"))
            .collect(),
        mutant: Some(mutant.to_owned()),
        ..options(2, 11)
    });
    println!("{report}");
    let caught = report.caught();
    assert!(
        caught.iter().any(|(name, _)| *name == by),
        "{by} did not see {mutant}; these did: {caught:?}"
    );
}

/// Goal: the checker of events can fail. Method: a build that applies an entry now and then without its event.
#[test]
fn a_dropped_audit_event_is_caught() {
    if inside("a_dropped_audit_event_is_caught") {
        is_caught(
            "drop-audit-event",
            &["kill one", "one-way cut"],
            "events and certificates",
        );
    }
}

/// Goal: what looks for doubles can fail. Method: a build that does not know a request again.
#[test]
fn forgotten_requests_are_caught() {
    if inside("forgotten_requests_are_caught") {
        is_caught("forget-requests", &["kill one", "one-way cut"], "clients");
    }
}

/// Goal: the faults are real. Method: packets and programs are looked at, instead of a cluster.
#[test]
fn each_fault_of_network_disk_and_clock_does_what_it_says() {
    if inside("each_fault_of_network_disk_and_clock_does_what_it_says") {
        let folder = std::env::temp_dir().join(format!("palisade-chaos-real-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        network(&folder);
        disk_and_clock(&folder);
        std::fs::remove_dir_all(&folder).expect("it is ours");
    }
}

/// Pings from one node's namespace to another's: how many of so many came back, and the middle of their times in ms.
fn ping(from: usize, to: usize, count: usize) -> (usize, f64) {
    let mut command = Command::new("ip");
    command.args([
        "netns",
        "exec",
        &format!("node{}", from + 1),
        "ping",
        "-n",
        "-q",
        "-i",
        "0.05",
        "-W",
        "1",
    ]);
    let ran = palisade_testkit::run(command.args(["-c", &count.to_string(), &net::addr_of(to).to_string()]));
    let said = ran.text();
    let came = said
        .split(", ")
        .find_map(|part| part.strip_suffix(" received")?.parse().ok());
    // rtt min/avg/max/mdev = 0.03/0.04/0.05/0.006 ms
    let middle = said
        .split(" = ")
        .nth(1)
        .and_then(|times| times.split('/').nth(1)?.parse().ok());
    (came.unwrap_or(0), middle.unwrap_or(0.0))
}

fn network(folder: &Path) {
    let mut net = net::Net::lay(3, folder);
    assert_eq!(ping(0, 1, 5).0, 5, "nothing is wrong yet");
    net.cut((0, 1));
    assert_eq!(
        (ping(0, 1, 3).0, ping(1, 0, 3).0),
        (0, 0),
        "no answer either way, for one way is lost"
    );
    assert_eq!(ping(0, 2, 3).0, 3, "another pair is not meant");
    net.heal();
    net.part(0, &[0, 1, 2]);
    assert_eq!((ping(0, 1, 3).0, ping(2, 0, 3).0, ping(1, 2, 3).0), (0, 0, 3));
    net.heal();
    net.lose(77);
    // 30 % each way: half of them come back. The bounds are far beyond chance.
    let (came, _) = ping(0, 1, 200);
    assert!((50..150).contains(&came), "{came} of 200");
    net.heal();
    net.delay(0, 40, 10);
    let (came, middle) = ping(0, 1, 20);
    assert!(came == 20 && middle >= 80.0, "{came} came after {middle} ms");
    let (_, others) = ping(1, 2, 20);
    assert!(others < 40.0, "who is not meant takes {others} ms");
    net.heal();
    assert_eq!(ping(0, 1, 5).0, 5, "all is well again");
}

fn disk_and_clock(folder: &Path) {
    let shim = shim::Shim::new(&[shim::build(folder)], folder.join("control"));
    let file = folder.join("file").display().to_string();
    // What a node does: writes at a place, syncs, looks at the clock.
    let program = "import os,sys,time\n\
        f=os.open(sys.argv[1],os.O_RDWR|os.O_CREAT)\n\
        def tried(call):\n  began=time.monotonic()\n  try: call(); said='ok'\n  except OSError as e: said=str(e.errno)\n  return said+(' slow' if time.monotonic()-began>0.3 else '')\n\
        print(tried(lambda: os.pwrite(f,b'x',0)),'/',tried(lambda: os.fdatasync(f)),'/',tried(lambda: os.fsync(f)),'/',int(time.time()))\n";
    let ask = || {
        let under = shim.under();
        let said = palisade_testkit::run(
            Command::new(&under[0])
                .args(&under[1..])
                .args(["python3", "-c", program, &file]),
        )
        .ok();
        let words: Vec<String> = said.trim().split(" / ").map(str::to_owned).collect();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let off = words[3].parse::<i64>().expect("a time") - i64::try_from(now).expect("seconds fit");
        (words[..3].join(" / "), (off as f64 / 60.0).round())
    };
    assert_eq!(ask(), ("ok / ok / ok".into(), 0.0));
    shim.set(shim::Knob::Clock, -3600 * 1_000_000_000);
    assert_eq!(ask().1, -60.0);
    shim.set(shim::Knob::SyncError, shim::EIO);
    assert_eq!(ask().0, "ok / 5 / 5");
    shim.reset();
    shim.set(shim::Knob::WriteError, shim::EIO);
    shim.set(shim::Knob::SyncDelay, 500_000);
    assert_eq!(ask(), ("5 / ok slow / ok slow".into(), 0.0));
    shim.reset();
    assert_eq!(ask(), ("ok / ok / ok".into(), 0.0));
}
