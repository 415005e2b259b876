//! `pal config`.

use super::ls::hosts;
use crate::errors::{Failure, print};
use crate::http::Nodes;
use crate::profile::Profile;
use crate::ssh_config::{Way, for_user};
use palisade_core::name::Name;
use std::path::PathBuf;

/// Where this program is, for ssh to call it back.
pub(super) fn own_path() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|e| {
        Failure::new(
            format!("cannot find where pal is installed: {e}"),
            "run it by its full path",
        )
    })
}

pub(super) async fn config(profile: &Profile, jump: bool) -> Result<(), Failure> {
    let listed = hosts(&Nodes::of_profile(profile)?).await?;
    // A name that is no name must not come into a configuration file.
    let names: Vec<String> = listed
        .into_iter()
        .filter_map(|h| Name::parse(&h.name).ok())
        .map(String::from)
        .collect();
    let way = if jump { Way::ProxyJump } else { Way::ProxyCommand };
    print(&for_user(profile, &own_path()?, &names, way))
}
