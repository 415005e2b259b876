//! What went wrong, in the two lines that a person sees: what failed, and what to do.

use palisade_core::shown::Shown;
use std::fmt;
use std::process::ExitCode;

/// A command that did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub what: String,
    /// What to do next; may be empty.
    pub todo: String,
    /// The exit code: 1 failed, 2 wrong use.
    pub code: u8,
}

impl Failure {
    /// Something failed.
    pub fn new(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Failure {
            what: what.into(),
            todo: todo.into(),
            code: 1,
        }
    }

    /// The command was used wrongly.
    pub fn usage(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Failure {
            what: what.into(),
            todo: todo.into(),
            code: 2,
        }
    }

    /// A file or directory could not be used.
    pub fn file(path: &std::path::Path, doing: &str, error: &std::io::Error) -> Self {
        Failure::new(
            format!("cannot {doing} {}: {error}", path.display()),
            "check that the path exists and that you may use it",
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", lines(&self.what))?;
        if !self.todo.is_empty() {
            write!(f, "\n  {}", lines(&self.todo))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Texts of servers may hold anything; ours may hold line breaks, which are kept and indented.
fn lines(text: &str) -> String {
    text.lines()
        .map(|line| Shown(line).to_string())
        .collect::<Vec<_>>()
        .join("\n  ")
}

/// Runs a program to its end: prints the failure, if any, and gives the exit code.
pub fn run(program: impl Future<Output = Result<ExitCode, Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(program);
            // A thread that still waits for standard input must not keep us.
            runtime.shutdown_background();
            outcome
        }
        Err(e) => Err(Failure::new(
            format!("cannot start: {e}"),
            "check the limits of this account (ulimit)",
        )),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// What a text on standard output may fail with. A reader that closed the pipe has seen enough.
pub fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            format!("cannot write the output: {e}"),
            "check where standard output goes",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_a_server_are_not_printed() {
        let shown = Failure::new("no host \x1b[2Jweb", "try\nagain").to_string();
        assert_eq!(shown, "error: no host \\u{1b}[2Jweb\n  try\n  again");
    }
}
