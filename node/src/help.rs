//! Shell completion and the man page, from the same definitions that parse the command line.

use clap::Command;

/// A completion script.
pub(crate) fn completion(mut command: Command, shell: clap_complete::Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// The man page.
pub(crate) fn man(command: Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}
