//! Runs seeds of the simulation, and prints how each that fails can be run again.
//!
//! Each seed has a process of its own: what libraries count for a whole process would else depend on the seeds before.

use std::io::Read as _;
use std::ops::Range;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use palisade_chaos::sim::{self, Options, Outcome, Violation};

/// Seeds of the simulation of a Palisade cluster. Exit code 0: nothing found; 1: a promise was broken.
#[derive(Parser)]
struct Args {
    /// One seed, run in this process.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds from the first up to, not including, the last.
    #[arg(long, value_parser = range, value_name = "FROM..TO")]
    seeds: Option<Range<u64>>,
    /// A fault that is built in on purpose, in a debug build.
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// Seeds that run at a time.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Goes on after the first seed that fails.
    #[arg(long)]
    all: bool,
    /// Makes no faults, which is a failure: such a run shows nothing.
    #[arg(long)]
    calm: bool,
    /// Prints everything that happens.
    #[arg(long)]
    trace: bool,
}

/// A seed takes a second or two; one that takes so long stands still.
const STANDS_STILL: Duration = Duration::from_secs(180);

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("write it as FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|e| e.to_string());
    Ok(number(from)?..number(to)?)
}

/// The operating system's random numbers: from the seed.
#[expect(unsafe_code, reason = "it takes the place of a function of the C library")]
mod random {
    use super::{AtomicU64, Ordering};

    static STATE: AtomicU64 = AtomicU64::new(0);

    pub(crate) fn seed(seed: u64) {
        STATE.store(seed, Ordering::SeqCst);
    }

    // What asks for secrets has no place in this program.
    #[unsafe(no_mangle)]
    extern "C" fn getrandom(buffer: *mut u8, len: usize, _flags: u32) -> isize {
        for at in 0..len {
            let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z ^= z >> 27;
            // SAFETY: the caller gives `len` bytes to write to.
            unsafe { buffer.add(at).write(z.to_le_bytes()[3]) };
        }
        isize::try_from(len).unwrap_or(isize::MAX)
    }
}

/// What panicked, whoever caught it.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

fn note_panics(print: bool) {
    std::panic::set_hook(Box::new(move |panic| {
        if print {
            let task = tokio::task::try_id();
            eprintln!("{task:?} {panic}\n{}", std::backtrace::Backtrace::capture());
        }
        if let Ok(mut first) = PANIC.lock() {
            first.get_or_insert_with(|| panic.to_string().replace('\n', " "));
        }
    }));
}

fn replay(seed: u64, mutant: Option<&str>) -> String {
    let mutant = mutant.map(|name| format!(" --mutant {name}")).unwrap_or_default();
    format!("replay: cargo run -p palisade-chaos --bin palisade-sim -- --seed {seed}{mutant} --trace")
}

fn activate(name: &str) -> bool {
    let Some(mutant) = palisade_core::mutant::Mutant::named(name) else {
        return false;
    };
    #[cfg(debug_assertions)]
    palisade_core::mutant::activate(mutant);
    palisade_core::mutant::active(mutant)
}

fn one(seed: u64, args: &Args) -> ExitCode {
    if let Some(name) = &args.mutant
        && !activate(name)
    {
        eprintln!("there is no mutant {name:?}, or this is no debug build");
        return ExitCode::from(2);
    }
    note_panics(args.trace);
    random::seed(seed);
    let options = Options {
        seed,
        trace: args.trace,
        calm: args.calm,
    };
    // A fresh thread has no random numbers drawn yet.
    let ran = std::thread::spawn(move || sim::run(options)).join();
    let panicked = PANIC.lock().ok().and_then(|first| first.clone());
    let mut outcome = match ran {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(e)) => {
            eprintln!("seed {seed} cannot be run: {e}");
            return ExitCode::from(2);
        }
        Err(_) => Outcome::default(),
    };
    if let Some(what) = panicked {
        outcome.violation = Some(Violation {
            invariant: "no-panic".to_owned(),
            what,
            at_ms: outcome.simulated_ms,
        });
    }
    let faults: u64 = outcome.faults.values().sum();
    let Outcome {
        trace,
        events,
        answered,
        unknown,
        reads,
        simulated_ms,
        ..
    } = outcome;
    println!(
        "seed {seed}: trace {trace:016x}, {events} events, {faults} faults, {answered} answered, {unknown} unknown, \
         {reads} reads, {simulated_ms} ms"
    );
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(Violation {
            invariant,
            what,
            at_ms,
        }) => {
            println!("seed {seed}: {invariant} is broken after {at_ms} ms: {what}");
            println!("{}", replay(seed, args.mutant.as_deref()));
            ExitCode::FAILURE
        }
    }
}

struct Running {
    seed: u64,
    child: Child,
    began: Instant,
}

fn start(seed: u64, args: &Args) -> std::io::Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--seed", &seed.to_string()]).stdout(Stdio::piped());
    if let Some(name) = &args.mutant {
        command.args(["--mutant", name]);
    }
    if args.calm {
        command.arg("--calm");
    }
    Ok(Running {
        seed,
        child: command.spawn()?,
        began: Instant::now(),
    })
}

/// Whether it has ended, and how; prints what it found.
fn ended(running: &mut Running, args: &Args) -> std::io::Result<Option<bool>> {
    let Some(status) = running.child.try_wait()? else {
        if running.began.elapsed() < STANDS_STILL {
            return Ok(None);
        }
        running.child.kill()?;
        running.child.wait()?;
        println!("seed {}: time stands still", running.seed);
        println!("{}", replay(running.seed, args.mutant.as_deref()));
        return Ok(Some(false));
    };
    let mut text = String::new();
    if let Some(mut out) = running.child.stdout.take() {
        out.read_to_string(&mut text)?;
    }
    if !status.success() {
        print!("{text}");
        if status.code() != Some(1) {
            println!("seed {}: the run ended with {status}", running.seed);
            println!("{}", replay(running.seed, args.mutant.as_deref()));
        }
    }
    Ok(Some(status.success()))
}

fn many(seeds: Range<u64>, args: &Args) -> std::io::Result<ExitCode> {
    let began = Instant::now();
    let mut seeds = seeds;
    let mut running: Vec<Running> = Vec::new();
    let (mut done, mut failed) = (0u64, 0u64);
    loop {
        while (running.len() as u64) < args.jobs.max(1) && (failed == 0 || args.all) {
            let Some(seed) = seeds.next() else { break };
            running.push(start(seed, args)?);
        }
        if running.is_empty() {
            break;
        }
        let mut still = Vec::new();
        for mut one in running {
            match ended(&mut one, args)? {
                None => still.push(one),
                Some(well) => {
                    done += 1;
                    failed += u64::from(!well);
                }
            }
        }
        running = still;
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{done} seeds in {} s, {failed} failed", began.elapsed().as_secs());
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.seeds.clone() {
        None => one(args.seed.unwrap_or(1), &args),
        Some(seeds) => many(seeds, &args).unwrap_or_else(|e| {
            eprintln!("the seeds cannot be run: {e}");
            ExitCode::from(2)
        }),
    }
}
