//! Accounts of the host: who may be logged in to, and why not. This may ask a name service: not on an async thread.

use nix::unistd::{Gid, Uid, User};
use std::path::PathBuf;

/// An account that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Its first group.
    pub gid: Gid,
    /// Its home.
    pub home: PathBuf,
    /// Its login shell.
    pub shell: PathBuf,
}

/// Why an account cannot be used. Shown to the user, who has proved by then that they may be this login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAccount {
    /// There is none.
    #[error("account {0} does not exist on this host")]
    Missing(String),
    /// Its password is locked.
    #[error("account {0} is locked on this host")]
    Locked(String),
    /// Its last day has passed.
    #[error("account {0} has expired on this host")]
    Expired(String),
    /// Its shell is not one.
    #[error("account {0} has no login shell on this host")]
    NoShell(String),
    /// `/etc/nologin` is there.
    #[error("this host lets nobody in now: {0}")]
    NoLogins(String),
    /// We are not root and it is not ours.
    #[error("the agent on this host runs without root and serves only its own account, {0}")]
    NotOurs(String),
    /// The system cannot say.
    #[error("account {0} cannot be looked up on this host")]
    Unknown(String),
}

/// Looks an account up and checks that it may be logged in to. `today` is in days since 1970.
pub fn look_up(login: &str, today: i64) -> Result<Account, NoAccount> {
    let user = match User::from_name(login) {
        Ok(Some(user)) => user,
        Ok(None) => return Err(NoAccount::Missing(login.to_owned())),
        Err(error) => {
            tracing::warn!(login, error = %error, "an account could not be looked up");
            return Err(NoAccount::Unknown(login.to_owned()));
        }
    };
    let us = Uid::effective();
    if !us.is_root() {
        if user.uid != us {
            let own = User::from_uid(us).ok().flatten().map(|user| user.name);
            return Err(NoAccount::NotOurs(own.unwrap_or_else(|| us.to_string())));
        }
    } else {
        if !user.uid.is_root()
            && let Ok(text) = std::fs::read_to_string("/etc/nologin")
        {
            return Err(NoAccount::NoLogins(first_line(&text)));
        }
        // An account of a directory service has no line here; the service does not name it if it is closed.
        let shadow = std::fs::read_to_string("/etc/shadow").unwrap_or_default();
        if let Some(line) = shadow.lines().find(|line| line.split(':').next() == Some(login)) {
            shadow_allows(login, line, today)?;
        }
    }
    let shell = if user.shell.as_os_str().is_empty() {
        PathBuf::from("/bin/sh")
    } else {
        user.shell
    };
    let last = shell
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if matches!(last, "nologin" | "false" | "true" | "sync" | "halt" | "shutdown") || !shell.is_file() {
        return Err(NoAccount::NoShell(login.to_owned()));
    }
    Ok(Account {
        name: user.name,
        uid: user.uid,
        gid: user.gid,
        home: user.dir,
        shell,
    })
}

/// What a line of shadow(5) says about logging in without a password.
fn shadow_allows(login: &str, line: &str, today: i64) -> Result<(), NoAccount> {
    let fields: Vec<&str> = line.split(':').collect();
    let password = fields.get(1).copied().unwrap_or_default();
    if password.starts_with('!') || password.starts_with("*LK*") {
        return Err(NoAccount::Locked(login.to_owned()));
    }
    match fields.get(7).and_then(|field| field.parse::<i64>().ok()) {
        Some(last) if last >= 0 && today >= last => Err(NoAccount::Expired(login.to_owned())),
        _ => Ok(()),
    }
}

fn first_line(text: &str) -> String {
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    line.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadow_says_who_is_locked_and_who_has_expired() {
        let says = |line: &str| shadow_allows("a", line, 20_000);
        assert_eq!(says("a:*:19000:0:99999:7:::"), Ok(()));
        assert_eq!(says("a:$y$j9T$x:19000:0:99999:7:::"), Ok(()));
        assert_eq!(says("a:!:19000:0:99999:7:::"), Err(NoAccount::Locked("a".into())));
        assert_eq!(says("a:!$6$x:19000::::::"), Err(NoAccount::Locked("a".into())));
        assert_eq!(says("a:*LK*:19000::::::"), Err(NoAccount::Locked("a".into())));
        assert_eq!(
            says("a:*:19000:0:99999:7::20000:"),
            Err(NoAccount::Expired("a".into()))
        );
        assert_eq!(says("a:*:19000:0:99999:7::20001:"), Ok(()));
    }

    #[test]
    fn an_account_that_is_not_there_is_said_to_be_missing() {
        assert_eq!(
            look_up("nobody-here-x", 0),
            Err(NoAccount::Missing("nobody-here-x".into()))
        );
    }
}
