//! Shell completion and man pages, from the same definitions that parse the command line.

use crate::errors::{Failure, print};
use clap::Command;

/// A completion script.
pub fn completion(mut command: Command, shell: clap_complete::Shell) -> Result<(), Failure> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// The man page, or with `dir` one page for every command.
pub fn man(command: Command, dir: Option<&std::path::Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|e| Failure::new(format!("cannot write the man page: {e}"), ""))?;
        return print(&String::from_utf8_lossy(&page));
    };
    clap_mangen::generate_to(command, dir).map_err(|e| Failure::file(dir, "write man pages into", &e))
}
