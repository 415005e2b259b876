//! A process that is killed, and a machine whose power is cut, lose nothing that was acknowledged.
//!
//! `CUT_SEED=n` makes other cuts, `CUT_TIMES=n` makes n times as many.

#[path = "crash/plan.rs"]
#[allow(dead_code)] // the victim uses the rest
mod plan;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use palisade_storage::{Kv, LogOptions, LogStore, StateOptions, StateStore};
use palisade_testkit::{Loss, build_power_shim, cut_power};
use plan::Plan;

/// What a victim said, in order.
#[derive(Default)]
struct Heard {
    submitted: Vec<(u64, Vec<String>)>,
    durable: u64,
    /// Version of the state after an installation.
    installed: BTreeMap<u64, u64>,
    opened: bool,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

struct Scene {
    dir: tempfile::TempDir,
    shim: PathBuf,
    kind: &'static str,
    skip: bool,
    r: Plan,
    seed: u64,
}

impl Scene {
    fn new(kind: &'static str, seed: u64, skip: bool) -> Scene {
        let seed = seed + 1_000_000 * setting("CUT_SEED", 0);
        let dir = tempfile::tempdir().expect("tempdir");
        let shim = build_power_shim(dir.path());
        Scene {
            dir,
            shim,
            kind,
            skip,
            r: Plan::new(seed),
            seed,
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn undo_log(&self) -> PathBuf {
        self.dir.path().join("undo.log")
    }

    fn command(&mut self) -> Command {
        self.seed += 1;
        let mut command = Command::new(env!("CARGO_BIN_EXE_storage-torture"));
        command
            .args([
                self.kind,
                &self.data().display().to_string(),
                &self.seed.to_string(),
            ])
            .arg(if self.skip { "skip" } else { "sync" })
            .env("LD_PRELOAD", &self.shim)
            .env("UNDO_DIR", self.data())
            .env("UNDO_LOG", self.undo_log())
            .stdout(Stdio::piped());
        command
    }

    fn spawn(&mut self) -> Child {
        self.command().spawn().expect("the victim starts")
    }

    /// Lets a victim work for a moment and kills it.
    fn run_and_kill(&mut self, heard: &mut Heard) -> Result<(), String> {
        let mut child = self.spawn();
        let out = child.stdout.take().expect("piped");
        let reader = std::thread::spawn(move || {
            BufReader::new(out)
                .lines()
                .map_while(Result::ok)
                .collect::<Vec<String>>()
        });
        let wait = Duration::from_millis(60 + self.r.below(350));
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if let Some(status) = child.try_wait().expect("wait") {
                return Err(format!("the victim ended by itself: {status}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
        let lines = reader.join().expect("reader");
        let base = heard.submitted.last().map_or(0, |(n, _)| *n);
        for line in lines {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let number = |at: usize| words.get(at).and_then(|w| w.parse::<u64>().ok());
            match (words[0].as_str(), number(1)) {
                ("O", _) => heard.opened = true,
                ("S", Some(n)) => heard.submitted.push((base + n, words[2..].to_vec())),
                ("D", Some(n)) => heard.durable = base + n,
                ("I", Some(n)) => drop(heard.installed.insert(base + n, number(2).unwrap_or(0))),
                // The last line may be cut short.
                _ => assert!(!line.starts_with('E'), "{line}"),
            }
        }
        Ok(())
    }
}

fn arg(words: &[String], at: usize) -> u64 {
    words
        .get(at)
        .and_then(|w| w.parse().ok())
        .unwrap_or_else(|| panic!("malformed: {words:?}"))
}

/// The log as it must be.
#[derive(Debug, Clone, Default, PartialEq)]
struct LogModel {
    entries: BTreeMap<u64, Vec<u8>>,
    vote: Option<Vec<u8>>,
    purged: Option<(u64, Vec<u8>)>,
}

impl LogModel {
    /// The states that one operation leads through: an append may be cut short between two entries.
    fn apply(&mut self, op: &[String], mut visit: impl FnMut(&LogModel)) {
        match op[0].as_str() {
            "append" => {
                for index in arg(op, 1)..arg(op, 2) {
                    self.entries.insert(index, plan::payload(index, arg(op, 3)));
                    visit(self);
                }
            }
            "vote" => self.vote = Some(plan::vote(arg(op, 1))),
            "truncate" => drop(self.entries.split_off(&arg(op, 1))),
            "purge" => {
                self.entries = self.entries.split_off(&(arg(op, 1) + 1));
                self.purged = Some((arg(op, 1), plan::marker(arg(op, 1))));
            }
            other => panic!("unknown operation {other}"),
        }
        visit(self);
    }

    fn read(dir: &Path) -> Result<LogModel, String> {
        let log = LogStore::open(dir, LogOptions::default()).map_err(|e| e.to_string())?;
        let records = log.read(0, u64::MAX, usize::MAX).map_err(|e| e.to_string())?;
        Ok(LogModel {
            entries: records.into_iter().map(|r| (r.index, r.payload)).collect(),
            vote: log.vote().map_err(|e| e.to_string())?,
            purged: log.purged(),
        })
    }

    fn brief(&self) -> String {
        let (first, last) = (self.entries.keys().next(), self.entries.keys().next_back());
        format!(
            "entries {first:?}..={last:?}, vote {:?}, purged {:?}",
            self.vote,
            self.purged.as_ref().map(|p| p.0)
        )
    }
}

/// The log after a crash must be as after some of the operations, with all acknowledged ones among them.
fn check_log(before: LogModel, heard: &Heard, found: &LogModel) -> Result<(), String> {
    let mut model = before;
    let mut fits = heard.durable == 0 && model == *found;
    let mut acknowledged = model.clone();
    for (number, op) in &heard.submitted {
        model.apply(op, |m| fits |= *number > heard.durable && m == found);
        if *number == heard.durable {
            fits = model == *found;
            acknowledged = model.clone();
        }
    }
    if fits {
        return Ok(());
    }
    Err(format!(
        "acknowledged up to {}: {}; found: {}",
        heard.durable,
        acknowledged.brief(),
        found.brief()
    ))
}

/// One cut on the log; what was found becomes the start of the next. Also tells how many operations there were.
fn cut_log(scene: &mut Scene, mut before: LogModel, loss: Option<Loss>) -> Result<(LogModel, usize), String> {
    let mut heard = Heard::default();
    scene.run_and_kill(&mut heard)?;
    if let Some(loss) = loss {
        // Sometimes the process dies first, starts again, and then the power goes. Once the store was opened again,
        // everything that was in it is durable.
        if scene.r.below(4) == 0 {
            let found = LogModel::read_copy(scene)?;
            check_log(before.clone(), &heard, &found)?;
            let mut again = Heard::default();
            scene.run_and_kill(&mut again)?;
            if again.opened {
                (heard, before) = (again, found);
            }
        }
        cut_power(&scene.data(), &scene.undo_log(), loss, &mut |n| scene.r.below(n));
    }
    let found = LogModel::read(&scene.data())?;
    check_log(before, &heard, &found)?;
    Ok((found, heard.submitted.len()))
}

impl LogModel {
    /// Reads without changing the store that the next victim opens.
    fn read_copy(scene: &Scene) -> Result<LogModel, String> {
        let copy = scene.dir.path().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        copy_dir(&scene.data(), &copy);
        LogModel::read(&copy)
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("mkdir");
    for e in std::fs::read_dir(from).expect("dir") {
        let e = e.expect("entry");
        let target = to.join(e.file_name());
        if e.file_type().expect("type").is_dir() {
            copy_dir(&e.path(), &target);
        } else {
            std::fs::copy(e.path(), target).expect("copy");
        }
    }
}

fn log_cuts(seed: u64, cuts: usize, loss: Option<Loss>) {
    let mut scene = Scene::new("log", seed * 1000, false);
    let mut model = LogModel::default();
    let mut total = 0;
    for i in 0..cuts * setting("CUT_TIMES", 1) as usize {
        let (found, done) = cut_log(&mut scene, model, loss)
            .unwrap_or_else(|e| panic!("seed {seed}, cut {i}, {loss:?}: {e}"));
        model = found;
        total += done;
    }
    assert!(
        total > cuts * 5,
        "too little was written for this to mean anything: {total} operations"
    );
}

#[test]
fn acknowledged_log_writes_survive_a_power_cut_that_loses_all_unsynced_writes() {
    log_cuts(1, 18, Some(Loss::All));
}

#[test]
fn acknowledged_log_writes_survive_a_power_cut_that_tears_the_last_writes() {
    log_cuts(2, 18, Some(Loss::Prefix));
}

#[test]
fn acknowledged_log_writes_survive_kill_9() {
    log_cuts(3, 8, None);
}

#[test]
fn the_power_cut_test_fails_when_our_fdatasync_is_left_out() {
    for seed in 0..15 {
        let mut scene = Scene::new("log", 40_000 + seed * 100, true);
        let mut model = LogModel::default();
        for _ in 0..2 {
            match cut_log(&mut scene, model, Some(Loss::All)) {
                Ok((found, _)) => model = found,
                Err(why) => {
                    println!("found, as it must be: {why}");
                    return;
                }
            }
        }
    }
    panic!("without fdatasync nothing was lost: the test cannot tell");
}

#[test]
fn nothing_is_acknowledged_after_a_failed_fsync() {
    for syncs in [20, 21, 40] {
        let mut scene = Scene::new("log", 7000 + syncs, false);
        let out = scene
            .command()
            .env("UNDO_FAIL_SYNC", syncs.to_string())
            .output()
            .expect("the victim runs");
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(1), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let fatal = lines
            .iter()
            .position(|l| l.starts_with("F "))
            .expect("it said that it failed");
        assert!(lines[fatal].contains("fdatasync"), "{}", lines[fatal]);
        assert!(
            lines[fatal..].iter().all(|l| !l.starts_with("D ")),
            "acknowledged after the failure: {text}"
        );
        let submitted = lines.iter().filter(|l| l.starts_with("S ")).count();
        let answered = lines
            .iter()
            .filter(|l| l.starts_with("D ") || l.starts_with("E "))
            .count();
        assert_eq!(submitted, answered, "everybody was told");
    }
}

type State = BTreeMap<Vec<u8>, Vec<u8>>;

fn read_state(dir: &Path) -> Result<(u64, State), String> {
    let s = StateStore::open(dir, StateOptions::default()).map_err(|e| e.to_string())?;
    let version = s
        .applied()
        .map_err(|e| e.to_string())?
        .0
        .map_or(0, |a| plan::version(&a));
    let pairs = s.scan(b"", None, usize::MAX, false).map_err(|e| e.to_string())?;
    if let Some(snapshot) = s.current_snapshot() {
        // What a snapshot says of itself must be true.
        let mut incoming = s.new_incoming().map_err(|e| e.to_string())?;
        std::io::copy(&mut snapshot.open().expect("open"), &mut incoming).expect("copy");
        s.install_snapshot(incoming)
            .map_err(|e| format!("the snapshot cannot be used: {e}"))?;
        let pairs = s.scan(b"", None, usize::MAX, false).map_err(|e| e.to_string())?;
        if pairs.into_iter().collect::<State>() != state_at(plan::version(&snapshot.meta)) {
            return Err("the snapshot is not of the state it names".to_owned());
        }
    }
    Ok((version, pairs.into_iter().collect()))
}

fn state_at(version: u64) -> State {
    let mut state = State::new();
    for v in 1..=version {
        for (key, value) in plan::changes(v) {
            match value {
                Some(value) => drop(state.insert(key, value)),
                None => drop(state.remove(&key)),
            }
        }
    }
    state
}

fn state_cut(scene: &mut Scene, start: u64, loss: Loss) -> Result<u64, String> {
    let mut heard = Heard::default();
    scene.run_and_kill(&mut heard)?;
    cut_power(&scene.data(), &scene.undo_log(), loss, &mut |n| scene.r.below(n));
    let copy = scene.dir.path().join("copy");
    let _ = std::fs::remove_dir_all(&copy);
    copy_dir(&scene.data(), &copy);
    let (found, state) = read_state(&copy)?;
    // Versions the state may have: that of the last acknowledged operation, or of any later one.
    let mut version = start;
    let mut allowed = vec![start];
    for (number, op) in &heard.submitted {
        match op[0].as_str() {
            "apply" => version = arg(op, 1),
            "install" => match heard.installed.get(number) {
                Some(v) => version = *v,
                // Under way: to a snapshot of any version there was.
                None if *number > heard.durable => allowed.extend(0..=version),
                None => {}
            },
            _ => {}
        }
        if *number == heard.durable {
            allowed.clear();
        }
        allowed.push(version);
    }
    if !allowed.contains(&found) {
        return Err(format!(
            "acknowledged version {:?}, found {found}",
            allowed.first()
        ));
    }
    if state != state_at(found) {
        return Err(format!("the state is not that of version {found}"));
    }
    Ok(found)
}

fn state_cuts(seed: u64, cuts: usize, loss: Loss) {
    let mut scene = Scene::new("state", seed * 1000, false);
    let mut version = 0;
    for i in 0..cuts * setting("CUT_TIMES", 1) as usize {
        version = state_cut(&mut scene, version, loss)
            .unwrap_or_else(|e| panic!("seed {seed}, cut {i}, {loss:?}: {e}"));
    }
}

#[test]
fn the_state_is_whole_after_a_power_cut_that_loses_all_unsynced_writes() {
    state_cuts(5, 8, Loss::All);
}

#[test]
fn the_state_is_whole_after_a_power_cut_that_tears_the_last_writes() {
    state_cuts(6, 8, Loss::Prefix);
}
