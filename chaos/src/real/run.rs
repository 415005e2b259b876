//! One run: a cluster, its clients, faults in a row, and the checkers.

use super::afterwards::After;
use super::check::{self, Said};
use super::clients::api::Api;
use super::clients::records::Tokens;
use super::clients::{AGENT, PLAIN, Shared, echo, forward, login, reader, records, shell, start, transfer};
use super::faults::{ALL, Step, plan};
use super::history::{History, Op};
use super::net::HERE;
use super::report::{Kind, Report};
use super::rng::Rng;
use super::world::World;
use palisade_testkit::{Agent, Person, Sshd};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many faults.
    pub faults: usize,
    /// What its choices follow from.
    pub seed: u64,
    /// Only these kinds; all, if none are named.
    pub only: Vec<usize>,
    /// Whether there is time for long pauses.
    pub long: bool,
    /// A deliberate fault that every node is started with.
    pub mutant: Option<String>,
    /// Where the logs are kept.
    pub logs: PathBuf,
}

impl Options {
    fn replay(&self) -> String {
        let mut line = format!("palisade-chaos --faults {} --seed {}", self.faults, self.seed);
        if self.long {
            line += " --long";
        }
        if !self.only.is_empty() {
            let names: Vec<_> = self.only.iter().map(|kind| ALL[*kind].name).collect();
            line += &format!(" --only '{}'", names.join(","));
        }
        if let Some(mutant) = &self.mutant {
            line += &format!(" --mutant {mutant}");
        }
        line
    }
}

/// Between two faults, so that each begins with a cluster that works.
const CALM: Duration = Duration::from_millis(1500);
/// Writers of records: one at home at each node.
const WRITERS: usize = 3;

/// Everybody who uses the cluster.
struct People {
    auditor: Person,
    all: Vec<Person>,
}

fn people(world: &World) -> People {
    let cluster = &world.cluster;
    // With a code, so that there is a seed that must be seen nowhere; afterwards a password is enough, for a code works
    // once in half a minute.
    let auditor = cluster.person("auditor", "auditor,access");
    cluster.without_second_factor();
    cluster.create(
        "kind: role\nversion: v1\nmetadata: {name: strict}\nspec:\n  allow:\n    logins: ['{{internal.logins}}']\n    host_labels: {'*': ['*']}\n  options:\n    record_session: strict\n    port_forwarding: true\n",
    );
    let roles = [
        ("writer", "admin"),
        ("logs-in", "access"),
        ("plain", "access"),
        ("carol", "access"),
        ("strict", "strict"),
        ("strict-too", "strict"),
        ("copies", "access"),
        ("forwards", "access"),
    ];
    let all: Vec<Person> = roles
        .iter()
        .map(|(name, role)| cluster.person_by_password(name, role))
        .collect();
    let addrs: Vec<_> = world
        .members
        .iter()
        .map(|i| cluster.nodes[*i].web_addr())
        .collect();
    for person in all.iter().chain([&auditor]) {
        person.login_by_password(&addrs.join(",")).ok();
        person.ssh_config();
    }
    People { auditor, all }
}

/// Starts all clients; what they are called tells what they do.
fn clients(world: &World, people: People, shared: &Arc<Shared>, rng: &mut Rng) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    let mut all = people.all.into_iter();
    let mut next = || all.next().expect("there is one for each");
    let writer = next();
    let tokens: Arc<Tokens> = Arc::default();
    for home in 0..WRITERS {
        let (api, tokens) = (Api::of(&writer, &shared.web), Arc::clone(&tokens));
        threads.push(start("writer", shared, rng.fork(), move |shared, rng| {
            records::Client::new(api, shared, home, &tokens).run(rng);
        }));
    }
    for home in 0..WRITERS {
        let (api, tokens) = (Api::of(&writer, &shared.web), Arc::clone(&tokens));
        threads.push(start("pulse", shared, rng.fork(), move |shared, _| {
            records::Client::new(api, shared, home, &tokens).beat();
        }));
    }
    let logs_in = next();
    threads.push(start("login", shared, rng.fork(), move |shared, rng| {
        login::run(&logs_in, shared, rng)
    }));
    for (host, strict) in [(PLAIN, false), (AGENT, false), (PLAIN, true), (AGENT, true)] {
        let person = next();
        threads.push(start("shell", shared, rng.fork(), move |shared, rng| {
            shell::run(&person, host, strict, shared, rng);
        }));
    }
    let (copies, folder) = (next(), world.cluster.folder("files"));
    threads.push(start("transfer", shared, rng.fork(), move |shared, rng| {
        transfer::run(&copies, &folder, shared, rng);
    }));
    let forwards = next();
    threads.push(start("forward", shared, rng.fork(), move |shared, rng| {
        forward::run(&forwards, shared, rng)
    }));
    let api = Api::of(&people.auditor, &shared.web);
    threads.push(start("reader", shared, rng.fork(), move |shared, rng| {
        reader::run(&api, shared, rng)
    }));
    threads
}

/// Runs it.
///
/// # Panics
/// There is no cluster to begin with.
pub fn run(options: &Options) -> Report {
    let began = Instant::now();
    let mut rng = Rng::new(options.seed);
    let plan = plan(&mut rng, options.faults, &options.only, 3);
    println!("{}", options.replay());
    let mut world = World::new(options.mutant.as_deref());
    let keeper = Keeper(options.logs.clone(), world.cluster.root().to_owned());
    let _host = Sshd::start_at(&world.cluster, PLAIN, HERE);
    let _agent = Agent::start(&world.cluster, AGENT, "env=test");
    let people = people(&world);
    let shared = Arc::new(Shared {
        history: History::default(),
        web: world
            .members
            .iter()
            .map(|i| world.cluster.nodes[*i].web_addr())
            .collect(),
        stop: false.into(),
        era: 0.into(),
        at: (0..WRITERS).map(|_| AtomicUsize::new(0)).collect(),
        sessions: Mutex::default(),
        passed: Mutex::default(),
        echo: echo(),
    });
    for (what, text) in people
        .all
        .iter()
        .chain([&people.auditor])
        .flat_map(Person::secrets)
    {
        shared.history.secret(what, &text);
    }
    for person in people.all.iter().chain([&people.auditor]) {
        let key = fs::read_to_string(person.saved("-tls.key")).expect("a login leaves it");
        if let Some(line) = key.lines().nth(1) {
            shared.history.secret("a private key", line);
        }
    }
    let auditor = Api::of(&people.auditor, &shared.web);
    let before: Vec<_> = world.members.iter().map(|i| world.level(*i)).collect();
    let threads = clients(&world, people, &shared, &mut rng);
    let stop = StopOnDrop(Arc::clone(&shared));

    let mut faults: BTreeMap<&'static str, Kind> = BTreeMap::new();
    let mut waiting = Waiting::default();
    let mut checks: Vec<(&'static str, Said)> = Vec::new();
    let mut broken = Vec::new();
    if let Err(why) = world.settle(&shared.history) {
        broken.push(why);
    }
    for (number, kinds) in plan.iter().enumerate() {
        if !broken.is_empty() || !shared.history.violations().is_empty() || !waiting.wrong.is_empty() {
            println!("the run ends here, for what it found");
            break;
        }
        shared.era.store(number + 1, Ordering::SeqCst);
        shared.pause(CALM);
        let stepped = caught(|| {
            one_step(
                &mut world,
                &shared,
                kinds,
                options,
                &mut rng,
                began,
                &mut faults,
                &mut broken,
            );
        });
        broken.extend(stepped.err());
        waiting.take(&shared);
    }
    drop(stop);
    for thread in threads {
        if thread.join().is_err() {
            broken.push("a client panicked".into());
        }
    }
    waiting.take(&shared);
    println!("[{:7.1} s] clients have stopped", began.elapsed().as_secs_f64());

    checks.push((
        "recovery and refusals",
        said(broken, "the cluster was well after every fault"),
    ));
    checks.push((
        "clients",
        said(shared.history.violations(), "nobody was told what cannot be"),
    ));
    let good = format!(
        "{} operations on {} keys are linearizable",
        waiting.checked, waiting.keys
    );
    checks.push(("linearizability", said(std::mem::take(&mut waiting.wrong), &good)));
    let passed = shared.passed.lock().expect("all clients have ended").clone();
    checks.push(("streams and files", check::streams::check(&passed)));
    let mut promised = std::mem::take(&mut waiting.promised);
    promised.certificates = shared.history.certificates();
    let after = After {
        world: &world,
        shared: &shared,
        auditor: &auditor,
        promised: &promised,
        before: &before,
    };
    checks.extend(after.checks());
    let made = faults.values().map(|kind| kind.made).sum();
    let counts = shared.history.counts();
    checks.push(("enough", check::enough::check(made, options.faults, &counts)));
    drop(keeper);
    Report {
        replay: options.replay(),
        took: began.elapsed(),
        faults,
        counts,
        checks,
        logs: options.logs.clone(),
    }
}

/// What a part of the run panicked with, if it did: a finding as well, and what else was found is told beside it.
pub(super) fn caught<T>(part: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(part)).map_err(|why| {
        let text = why.downcast_ref::<String>().cloned();
        text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without a word".into())
    })
}

pub(super) fn said(wrong: Vec<String>, good: &str) -> Said {
    if wrong.is_empty() {
        Ok(good.to_owned())
    } else {
        Err(wrong)
    }
}

/// Tells clients to stop, also when the run panics.
struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

/// Copies the logs to where they are kept, also when the run panics.
struct Keeper(PathBuf, PathBuf);

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = fs::create_dir_all(&self.0);
        for entry in fs::read_dir(&self.1).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            for log in ["log", "sshd.log"] {
                let _ = fs::copy(entry.path().join(log), self.0.join(format!("{name}.log")));
            }
        }
    }
}

/// Operations that wait until nothing more can come to their keys.
#[derive(Default)]
struct Waiting {
    ops: Vec<Op>,
    promised: check::audit::Promised,
    checked: usize,
    keys: usize,
    wrong: Vec<String>,
}

impl Waiting {
    /// Checks the keys of all eras that every writer has left.
    fn take(&mut self, shared: &Shared) {
        let left = shared
            .at
            .iter()
            .map(|at| at.load(Ordering::SeqCst))
            .min()
            .unwrap_or(0);
        let new = shared.history.take_ops();
        self.promised.add(&new);
        self.ops.extend(new);
        // `kind/name-era…`: see `records.rs`.
        let era = |op: &Op| {
            let digits = op
                .key
                .split(['-', '/'])
                .find_map(|word| word.parse::<usize>().ok());
            digits.unwrap_or(usize::MAX)
        };
        let (ready, wait) = std::mem::take(&mut self.ops)
            .into_iter()
            .partition(|op| era(op) < left);
        self.ops = wait;
        let ready: Vec<Op> = ready;
        self.checked += ready.len();
        self.keys += ready
            .iter()
            .map(|op| op.key.as_str())
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        if let Err(wrong) = check::linear::check(&ready) {
            self.wrong.extend(wrong);
        }
    }
}

fn one_step(
    world: &mut World,
    shared: &Shared,
    kinds: &[usize],
    options: &Options,
    rng: &mut Rng,
    began: Instant,
    faults: &mut BTreeMap<&'static str, Kind>,
    broken: &mut Vec<String>,
) {
    let leader = world.cluster.leader();
    shared.history.take_gap();
    let at = || began.elapsed().as_secs_f64();
    let mut steps: Vec<Step> = Vec::new();
    for kind in kinds {
        let taken = steps.iter().flat_map(|step| step.taken.clone()).collect();
        let mut step = Step {
            rng: rng.fork(),
            leader,
            taken,
            alone: kinds.len() == 1,
            hold: Duration::from_millis(2000),
            long: options.long,
            note: String::new(),
            broken: Vec::new(),
        };
        println!("[{:7.1} s] {}", at(), ALL[*kind].name);
        (ALL[*kind].inject)(world, &mut step);
        println!("[{:7.1} s]   made: {}", at(), step.note.trim());
        steps.push(step);
    }
    let hold = steps.iter().map(|step| step.hold).max().unwrap_or_default();
    shared.pause(hold);
    for (kind, step) in kinds.iter().zip(&mut steps) {
        (ALL[*kind].heal)(world, step);
        broken.append(&mut step.broken);
    }
    world.heal();
    match world.settle(&shared.history) {
        Ok(took) => {
            let gap = shared.history.take_gap();
            println!(
                "[{:7.1} s]   held {:.1} s, well {:.1} s after it ended, longest gap of writes {:.2} s",
                at(),
                hold.as_secs_f64(),
                took.as_secs_f64(),
                gap.as_secs_f64()
            );
            for kind in kinds {
                let row = faults.entry(ALL[*kind].name).or_default();
                row.made += 1;
                row.in_pairs += usize::from(kinds.len() > 1);
                let worst = match kinds.len() {
                    1 => &mut row.worst_gap,
                    _ => &mut row.worst_in_pairs,
                };
                *worst = gap.max(*worst);
            }
        }
        Err(why) => broken.push(why),
    }
}
