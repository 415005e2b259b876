//! Playing recordings: from the cluster or from an asciicast file, on a terminal or as plain output.

mod screen;
pub mod tape;
pub mod vt;

use crate::errors::Failure;
use palisade_core::shown::Shown;
use std::io::{IsTerminal, Write};
use tape::{Frame, Tape, What};

/// What a person asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// How many times faster than it was.
    pub speed: f64,
    /// Whether to leave out time in which nothing happened.
    pub skip_idle: bool,
    /// Where to begin, in milliseconds.
    pub at_ms: u64,
    /// Begin at the first place where this was shown.
    pub search: Option<String>,
    /// Do not wait between pieces of output.
    pub no_wait: bool,
}

/// Plays it.
pub fn play(tape: &Tape, wish: &Wish) -> Result<(), Failure> {
    let on_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if wish.no_wait || !on_terminal {
        return plain(tape, wish);
    }
    screen::play(tape, wish).map_err(|e| {
        Failure::new(
            format!("cannot use the terminal: {e}"),
            "use --no-wait to print the output as it was",
        )
    })?;
    // Afterwards, because playing clears the screen.
    for line in tape.title.iter().chain([&tape.end]) {
        eprintln!("{}", Shown(line));
    }
    Ok(())
}

/// Prints places where a text was shown, or the output itself, without waiting. Facts go to standard error.
fn plain(tape: &Tape, wish: &Wish) -> Result<(), Failure> {
    if let Some(wanted) = &wish.search {
        return matches(tape, wanted, wish.at_ms);
    }
    for line in &tape.title {
        eprintln!("{}", Shown(line));
    }
    let mut out = std::io::stdout().lock();
    let mut filter = vt::Filter::default();
    for frame in tape.frames.iter().filter(|frame| frame.at_ms >= wish.at_ms) {
        let bytes = shown(frame, &mut filter);
        match out.write_all(&bytes) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(e) => {
                return Err(Failure::new(
                    format!("cannot write the output: {e}"),
                    "check where it goes",
                ));
            }
            Ok(()) => {}
        }
    }
    let _ = out.flush();
    drop(out);
    eprintln!("{}", Shown(&tape.end));
    Ok(())
}

fn matches(tape: &Tape, wanted: &str, from_ms: u64) -> Result<(), Failure> {
    let found = tape.search(wanted);
    let found: Vec<_> = found.iter().filter(|hit| hit.at_ms >= from_ms).collect();
    if found.is_empty() {
        return Err(Failure::new(
            format!("{wanted:?} was not shown in this session"),
            "search is for text as it appeared on the screen, in any case",
        ));
    }
    let mut text = String::new();
    for hit in found {
        text += &format!(
            "{}  {}  {}\n",
            tape::elapsed(hit.at_ms),
            tape.wall(hit.at_ms),
            Shown(hit.line.trim())
        );
    }
    crate::errors::print(&text)
}

/// What a terminal gets for a frame.
fn shown(frame: &Frame, filter: &mut vt::Filter) -> Vec<u8> {
    match &frame.what {
        What::Output(bytes) => filter.pass(bytes),
        What::Remark(text) => format!("\r\n[{}]\r\n", Shown(text)).into_bytes(),
        What::Resize(..) | What::Nothing => Vec::new(),
    }
}
