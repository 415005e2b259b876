//! From the agent to the user, with no way back.

use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};
use std::ffi::CString;

/// Leaves nothing open but standard input, output and error.
pub(crate) fn close_others() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers: Vec<i32> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The one that listed them is closed already.
        let _ = nix::unistd::close(number);
    }
}

/// Looks the account up; it was found good by the agent a moment ago.
pub(crate) fn account(name: &str) -> Result<User, String> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("account {name} does not exist on this host")),
        Err(error) => Err(format!("account {name} cannot be looked up: {error}")),
    }
}

/// Becomes the user: groups, then group, then user. Checked afterwards, because a failure here is the worst there is.
pub(crate) fn become_user(user: &User) -> Result<(), String> {
    if Uid::effective().is_root() {
        let failed = |what: &'static str| {
            let name = &user.name;
            move |error: nix::Error| format!("cannot become {name}: {what}: {error}")
        };
        let name = CString::new(user.name.as_str()).map_err(|e| e.to_string())?;
        initgroups(&name, user.gid).map_err(failed("its groups"))?;
        setgid(user.gid).map_err(failed("its group"))?;
        setuid(user.uid).map_err(failed("its number"))?;
    }
    let now = (Uid::current(), Uid::effective(), Gid::current(), Gid::effective());
    if now != (user.uid, user.uid, user.gid, user.gid) {
        return Err(format!("cannot become {}: the agent has no right to", user.name));
    }
    if !user.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(format!("cannot become {} for good", user.name));
    }
    Ok(())
}
