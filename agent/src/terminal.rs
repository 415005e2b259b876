//! Pseudo-terminals: made by the agent, owned by the user.

use crate::account::Account;
use palisade_session::ssh::russh::Pty;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, Winsize,
    tcgetattr, tcgetpgrp, tcsetattr, tcsetwinsize,
};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) term: String,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) pixels: (u32, u32),
    pub(crate) modes: Vec<(Pty, u32)>,
}

/// A terminal before a program runs in it.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Our end; reading and writing it never waits.
    pub(crate) ours: OwnedFd,
    /// The program's end.
    pub(crate) theirs: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Terminal {
    /// Opens one for the account.
    pub(crate) fn open(wanted: &Wanted, account: &Account) -> io::Result<Terminal> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let path = PathBuf::from(OsStr::from_bytes(name.as_bytes()));
        // Not opened by its name, which another mount namespace may give to another terminal.
        let theirs = ioctl_tiocgptpeer(&ours, flags)?;
        fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
        if nix::unistd::Uid::effective().is_root() {
            let tty = nix::unistd::Group::from_name("tty").ok().flatten();
            // Others write to it only through programs of group tty, such as write(1).
            let (group, mode) = match tty {
                Some(tty) => (tty.gid, 0o620),
                None => (account.gid, 0o600),
            };
            chown(&path, Some(account.uid.as_raw()), Some(group.as_raw()))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        }
        let mut settings = tcgetattr(&theirs)?;
        wanted
            .modes
            .iter()
            .for_each(|(mode, value)| set(&mut settings, *mode, *value));
        tcsetattr(&theirs, OptionalActions::Now, &settings)?;
        let terminal = Terminal { ours, theirs, path };
        resize(&terminal.ours, wanted.columns, wanted.rows, wanted.pixels)?;
        Ok(terminal)
    }
}

/// Gives a terminal another size; its foreground programs are told by the kernel.
pub(crate) fn resize(ours: &OwnedFd, columns: u32, rows: u32, (width, height): (u32, u32)) -> io::Result<()> {
    let short = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let size = Winsize {
        ws_row: short(rows),
        ws_col: short(columns),
        ws_xpixel: short(width),
        ws_ypixel: short(height),
    };
    Ok(tcsetwinsize(ours, size)?)
}

/// The process group that a terminal's keys go to.
pub(crate) fn foreground(ours: &OwnedFd) -> Option<i32> {
    tcgetpgrp(ours).ok().map(|group| group.as_raw_nonzero().get())
}

/// One encoded mode (RFC 4254, section 8).
fn set(to: &mut Termios, mode: Pty, value: u32) {
    if let Some(index) = special(mode) {
        // 255 stands for a key that is not there, which Linux writes as 0.
        to.special_codes[index] = u8::try_from(value).ok().filter(|byte| *byte != 255).unwrap_or(0);
    } else if let Some(flag) = input(mode) {
        to.input_modes.set(flag, value != 0);
    } else if let Some(flag) = local(mode) {
        to.local_modes.set(flag, value != 0);
    } else if let Some(flag) = output(mode) {
        to.output_modes.set(flag, value != 0);
    } else {
        match mode {
            Pty::CS7 if value != 0 => size(to, ControlModes::CS7),
            Pty::CS8 if value != 0 => size(to, ControlModes::CS8),
            Pty::PARENB => to.control_modes.set(ControlModes::PARENB, value != 0),
            Pty::PARODD => to.control_modes.set(ControlModes::PARODD, value != 0),
            // Speeds mean nothing here; the rest Linux does not have.
            _ => {}
        }
    }
}

fn size(to: &mut Termios, bits: ControlModes) {
    to.control_modes.remove(ControlModes::CSIZE);
    to.control_modes.insert(bits);
}

fn special(mode: Pty) -> Option<SpecialCodeIndex> {
    use SpecialCodeIndex as Key;
    Some(match mode {
        Pty::VINTR => Key::VINTR,
        Pty::VQUIT => Key::VQUIT,
        Pty::VERASE => Key::VERASE,
        Pty::VKILL => Key::VKILL,
        Pty::VEOF => Key::VEOF,
        Pty::VEOL => Key::VEOL,
        Pty::VEOL2 => Key::VEOL2,
        Pty::VSTART => Key::VSTART,
        Pty::VSTOP => Key::VSTOP,
        Pty::VSUSP => Key::VSUSP,
        Pty::VREPRINT => Key::VREPRINT,
        Pty::VWERASE => Key::VWERASE,
        Pty::VLNEXT => Key::VLNEXT,
        Pty::VSWTCH => Key::VSWTC,
        Pty::VDISCARD => Key::VDISCARD,
        _ => return None,
    })
}

fn input(mode: Pty) -> Option<InputModes> {
    use InputModes as In;
    Some(match mode {
        Pty::IGNPAR => In::IGNPAR,
        Pty::PARMRK => In::PARMRK,
        Pty::INPCK => In::INPCK,
        Pty::ISTRIP => In::ISTRIP,
        Pty::INLCR => In::INLCR,
        Pty::IGNCR => In::IGNCR,
        Pty::ICRNL => In::ICRNL,
        Pty::IUCLC => In::IUCLC,
        Pty::IXON => In::IXON,
        Pty::IXANY => In::IXANY,
        Pty::IXOFF => In::IXOFF,
        Pty::IMAXBEL => In::IMAXBEL,
        Pty::IUTF8 => In::IUTF8,
        _ => return None,
    })
}

fn local(mode: Pty) -> Option<LocalModes> {
    use LocalModes as Local;
    Some(match mode {
        Pty::ISIG => Local::ISIG,
        Pty::ICANON => Local::ICANON,
        Pty::XCASE => Local::XCASE,
        Pty::ECHO => Local::ECHO,
        Pty::ECHOE => Local::ECHOE,
        Pty::ECHOK => Local::ECHOK,
        Pty::ECHONL => Local::ECHONL,
        Pty::NOFLSH => Local::NOFLSH,
        Pty::TOSTOP => Local::TOSTOP,
        Pty::IEXTEN => Local::IEXTEN,
        Pty::ECHOCTL => Local::ECHOCTL,
        Pty::ECHOKE => Local::ECHOKE,
        Pty::PENDIN => Local::PENDIN,
        _ => return None,
    })
}

fn output(mode: Pty) -> Option<OutputModes> {
    use OutputModes as Out;
    Some(match mode {
        Pty::OPOST => Out::OPOST,
        Pty::OLCUC => Out::OLCUC,
        Pty::ONLCR => Out::ONLCR,
        Pty::OCRNL => Out::OCRNL,
        Pty::ONOCR => Out::ONOCR,
        Pty::ONLRET => Out::ONLRET,
        _ => return None,
    })
}
