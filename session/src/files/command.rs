//! Which commands copy a file. A shell can copy in ways without number; here are the protocols that programs use, and
//! the plain forms that scripts use. One rule for the audit log and for a role that refuses file transfers.

/// How a command copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `sftp-server` as a command.
    Sftp,
    /// The old protocol of `scp`: `scp -t` and `scp -f`.
    Scp,
    /// `rsync --server`.
    Rsync,
    /// A program that writes a file to its output, or its input into a file.
    Program,
}

/// A command that copies files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// How.
    pub protocol: Protocol,
    /// From the host to the user; otherwise the other way.
    pub to_user: bool,
    /// Which file or directory, as the command names it.
    pub path: String,
    /// Whether the path is a directory into which things go.
    pub into_directory: bool,
}

/// What `command` copies, if it is one of the known ways.
pub fn copied_by(command: &str) -> Option<Copy> {
    let words = words(command)?;
    let mut words = words.into_iter().skip_while(|word| is_assignment(word));
    let program = words.next()?;
    let rest: Vec<String> = words.collect();
    let copy = |protocol, to_user, path: String| Copy {
        protocol,
        to_user,
        path,
        into_directory: false,
    };
    match program.rsplit('/').next()? {
        "sftp-server" => Some(copy(Protocol::Sftp, true, String::new())),
        "scp" => scp(&rest),
        "rsync" if rest.first().is_some_and(|word| word == "--server") => {
            let to_user = rest.iter().any(|word| word == "--sender");
            // After the options and a dot come the paths.
            let dot = rest.iter().position(|word| word == ".")?;
            Some(copy(Protocol::Rsync, to_user, rest[dot + 1..].join(" ")))
        }
        "cat" => cat(&rest),
        "dd" => {
            let named = |key: &str| rest.iter().find_map(|word| word.strip_prefix(key));
            match (named("if="), named("of=")) {
                (Some(from), None) => Some(copy(Protocol::Program, true, from.to_owned())),
                (None, Some(to)) => Some(copy(Protocol::Program, false, to.to_owned())),
                _ => None,
            }
        }
        "tee" => {
            let path = rest.iter().find(|word| !word.starts_with('-') && *word != ">")?;
            Some(copy(Protocol::Program, false, path.clone()))
        }
        _ => None,
    }
}

fn scp(rest: &[String]) -> Option<Copy> {
    let mut flags = String::new();
    let mut paths = Vec::new();
    let mut only_paths = false;
    for word in rest {
        match word.strip_prefix('-') {
            Some("-") if !only_paths => only_paths = true,
            Some(letters) if !only_paths && !letters.is_empty() => flags.push_str(letters),
            _ => paths.push(word.as_str()),
        }
    }
    // Without these it is a client on the host, which talks to somebody else.
    let to_user = match (flags.contains('f'), flags.contains('t')) {
        (true, false) => true,
        (false, true) => false,
        _ => return None,
    };
    Some(Copy {
        protocol: Protocol::Scp,
        to_user,
        path: paths.join(" "),
        into_directory: flags.contains('d') || flags.contains('r'),
    })
}

/// `cat file` to the user, `cat > file` from the user; anything else is not a plain copy.
fn cat(rest: &[String]) -> Option<Copy> {
    let to = rest.iter().position(|word| word == ">" || word == ">>");
    let (to_user, path) = match to {
        Some(at) if rest[..at].iter().all(|word| word == "-") => (false, rest.get(at + 1)?.clone()),
        Some(_) => return None,
        None => {
            let files: Vec<_> = rest.iter().filter(|word| !word.starts_with('-')).collect();
            let [file] = files[..] else { return None };
            (true, file.clone())
        }
    };
    Some(Copy {
        protocol: Protocol::Program,
        to_user,
        path,
        into_directory: false,
    })
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

/// The words of a simple command as a shell splits them; `None` for anything with several commands, expansions of
/// commands, or open quotes. `>` and `>>` are words.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        '`' => return None,
                        '$' if chars.peek() == Some(&'(') => return None,
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            '>' => {
                words.extend(word.take());
                let twice = chars.next_if_eq(&'>').is_some();
                words.push(if twice { ">>" } else { ">" }.to_owned());
            }
            '$' if chars.peek() == Some(&'(') => return None,
            ';' | '&' | '|' | '`' | '\n' | '<' | '(' | ')' => return None,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(command: &str) -> Option<(Protocol, bool, String)> {
        copied_by(command).map(|copy| (copy.protocol, copy.to_user, copy.path))
    }

    #[test]
    fn the_known_ways_are_recognised() {
        use Protocol::{Program, Rsync, Scp, Sftp};
        let table: &[(&str, Option<(Protocol, bool, &str)>)] = &[
            ("scp -t .", Some((Scp, false, "."))),
            ("scp -r -p -f '/etc/a b'", Some((Scp, true, "/etc/a b"))),
            ("/usr/bin/scp -v -d -t -- /tmp/x", Some((Scp, false, "/tmp/x"))),
            ("scp a host:b", None),
            (
                "rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv/x",
                Some((Rsync, true, "/srv/x")),
            ),
            ("rsync --server -e.LsfxC . up", Some((Rsync, false, "up"))),
            ("rsync -a x y", None),
            ("/usr/lib/openssh/sftp-server", Some((Sftp, true, ""))),
            ("cat /etc/passwd", Some((Program, true, "/etc/passwd"))),
            ("LC_ALL=C cat -- \"/tmp/a b\"", Some((Program, true, "/tmp/a b"))),
            ("cat > /tmp/up", Some((Program, false, "/tmp/up"))),
            ("cat >>up", Some((Program, false, "up"))),
            ("cat a > b", None),
            ("cat a b", None),
            ("cat", None),
            ("dd of=/tmp/x bs=1M", Some((Program, false, "/tmp/x"))),
            ("dd if=/dev/sda", Some((Program, true, "/dev/sda"))),
            ("dd if=a of=b", None),
            ("tee /tmp/x > /dev/null", Some((Program, false, "/tmp/x"))),
            ("cat a; rm b", None),
            ("echo 'open", None),
            ("cat $(ls)", None),
            ("", None),
        ];
        for (command, want) in table {
            let want = want.map(|(protocol, to_user, path)| (protocol, to_user, path.to_owned()));
            assert_eq!(seen(command), want, "{command}");
        }
    }

    proptest! {
        #[test]
        fn any_command_is_read_without_harm(command in ".{0,300}") {
            let _ = copied_by(&command);
        }
    }
}
