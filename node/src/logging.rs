//! The log: what is written to standard error, as text or JSON. Level and form can be changed while the process runs, and the
//! last lines are kept in memory for a support bundle.

use crate::config::LogForm;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// The variable that overrules the configured level.
pub const FILTER: &str = "PALISADE_LOG";
/// What is kept of the last lines, in bytes.
const RECENT_BYTES: usize = 128 * 1024;

static LOG: OnceLock<Log> = OnceLock::new();

/// The newest lines.
#[derive(Debug, Default)]
struct Recent {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, line: &[u8]) {
        let line = &line[..line.len().min(RECENT_BYTES / 16)];
        self.bytes += line.len();
        self.lines.push_back(line.to_vec());
        while self.bytes > RECENT_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.len();
        }
    }
}

/// Writes every line twice: out, and into memory.
#[derive(Clone)]
struct Tee(Arc<Mutex<Recent>>);

impl io::Write for Tee {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // One event comes as one write.
        self.0.lock().push(line);
        io::stderr().write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Tee {
    type Writer = Tee;

    fn make_writer(&'a self) -> Tee {
        self.clone()
    }
}

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Lines = Box<dyn Layer<Filtered> + Send + Sync>;

/// The log of this process.
#[derive(Clone)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    lines: reload::Handle<Lines, Filtered>,
    tee: Tee,
}

impl Log {
    /// Starts it. Once in a process.
    pub fn start(form: LogForm, level: &str) -> Log {
        let tee = Tee(Arc::default());
        let (filter, filter_handle) = reload::Layer::new(filter(level));
        let (lines, lines_handle) = reload::Layer::new(layer(form, &tee));
        tracing_subscriber::registry().with(filter).with(lines).init();
        let log = Log {
            filter: filter_handle,
            lines: lines_handle,
            tee,
        };
        LOG.get_or_init(|| log).clone()
    }

    /// The last lines of this process's log; empty if none was started.
    pub fn recent_lines() -> String {
        LOG.get().map(Log::recent).unwrap_or_default()
    }

    /// Takes another form and level.
    pub fn change(&self, form: LogForm, level: &str) {
        // They fail only once the log is gone, and then nobody reads it.
        let _ = self.filter.reload(filter(level));
        let _ = self.lines.reload(layer(form, &self.tee));
    }

    fn recent(&self) -> String {
        let recent = self.tee.0.lock();
        let bytes: Vec<u8> = recent.lines.iter().flatten().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_env(FILTER)
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},openraft=error,sled=warn,russh=warn")))
}

fn layer(form: LogForm, tee: &Tee) -> Lines {
    let lines = tracing_subscriber::fmt::layer().with_writer(tee.clone());
    match form {
        LogForm::Json => lines.json().boxed(),
        LogForm::Text => lines.with_ansi(false).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_lines_are_kept() {
        let mut recent = Recent::default();
        for n in 0..10_000 {
            recent.push(format!("line {n} {}\n", "x".repeat(100)).as_bytes());
        }
        assert!(recent.bytes <= RECENT_BYTES);
        assert_eq!(recent.bytes, recent.lines.iter().map(Vec::len).sum::<usize>());
        let last = recent.lines.back().expect("a line");
        assert!(last.starts_with(b"line 9999 "));
        recent.push(&vec![b'y'; 10 * RECENT_BYTES]);
        assert!(
            recent.bytes <= RECENT_BYTES && recent.lines.len() > 1,
            "one line does not drive out all others"
        );
    }
}
