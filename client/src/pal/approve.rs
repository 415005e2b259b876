//! Being let in by one's browser: `pal login --browser`, and `pal ssh --headless` on a computer that is not one's own.

use super::login::Contact;
use crate::errors::Failure;
use crate::http::{CallError, fill};
use crate::profile::{self, NewKeys};
use palisade_core::api::{
    ApprovalReply, ApprovalRequest, ApprovalState, ApprovalTake, ApprovalTicket, Certificates, path,
};
use palisade_core::shown::Shown;
use palisade_core::time::Ttl;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long an answer is waited for; the cluster gives up sooner.
const PATIENCE: Duration = Duration::from_secs(11 * 60);
/// Between two tries while no node can be reached.
const PAUSE: Duration = Duration::from_secs(1);

/// The one connection that is wanted, if not a whole login.
pub(super) struct One<'a> {
    pub(super) host: &'a str,
    pub(super) login: &'a str,
}

/// Who asks, in the words that the browser shows.
fn client() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".into());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.as_deref().map_or("a computer", str::trim);
    let text = format!("pal, run by {user} on {host}");
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Asks to be let in and waits for what somebody says in their browser.
pub(super) async fn ask(
    contact: &Contact,
    keys: &NewKeys,
    ttl: Option<Ttl>,
    one: Option<One<'_>>,
    open: bool,
) -> Result<Certificates, Failure> {
    let (ssh_public_key, tls_public_key) = (keys.ssh_public(), keys.tls_public());
    let (host, login) = one.map_or_else(Default::default, |one| {
        (one.host.to_owned(), one.login.to_owned())
    });
    let request = ApprovalRequest {
        ssh_public_key: ssh_public_key.clone(),
        tls_public_key: tls_public_key.clone(),
        ttl_secs: ttl.map_or(0, Ttl::ms).div_ceil(1000),
        client: client(),
        host,
        login,
    };
    let ticket: ApprovalTicket = contact.nodes.post(path::APPROVALS, &request).await?;
    // The address that was typed is one that this person can reach.
    let url = format!("https://{}/approve/{}", contact.first, ticket.code);
    eprintln!(
        "Open this address in your browser, compare the code, and say yes:\n\n    {}\n\n    code: {}\n",
        Shown(&url),
        Shown(&ticket.code)
    );
    if open {
        show(&url);
    }
    let take = ApprovalTake {
        secret: ticket.secret,
        ssh_public_key,
        tls_public_key,
    };
    let route = fill(path::APPROVAL_TAKE, &[&ticket.code]);
    let until = Instant::now() + PATIENCE;
    loop {
        match contact.nodes.post::<_, ApprovalReply>(&route, &take).await {
            Ok(ApprovalReply {
                state: ApprovalState::Granted,
                certificates: Some(certificates),
            }) => return Ok(certificates),
            Ok(ApprovalReply {
                state: ApprovalState::Refused,
                ..
            }) => {
                return Err(Failure::new(
                    "you were turned away in the browser",
                    "run the command again, if that was a mistake",
                ));
            }
            Ok(_) => {}
            // Another node answers in a moment, or this one does.
            Err(CallError::Unreachable(_) | CallError::Unavailable(_)) => sleep(PAUSE).await,
            Err(CallError::Refused { status: 429, .. }) => sleep(PAUSE * 5).await,
            Err(error) if error.code() == Some("refused") => return Err(late()),
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= until {
            return Err(late());
        }
    }
}

fn late() -> Failure {
    Failure::new(
        "nobody answered in time",
        "run the command again, and open the address that it prints",
    )
}

/// Opens an address in the desktop's browser, where there is one. That it does not open is no fault: it is printed.
fn show(url: &str) {
    let desktop = ["WAYLAND_DISPLAY", "DISPLAY"];
    let program = std::env::var("BROWSER")
        .ok()
        .filter(|program| !program.is_empty());
    let program = match program {
        Some(program) => program,
        None if desktop.iter().any(|name| std::env::var_os(name).is_some()) => "xdg-open".into(),
        None => return,
    };
    let _ = Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

/// A profile that lives in memory for one command, and goes with it.
pub(super) struct Passing {
    home: std::path::PathBuf,
}

impl Passing {
    /// A directory of this user's alone, in memory where the system has such a place.
    pub(super) fn make() -> Result<Self, Failure> {
        let places = [std::path::PathBuf::from("/dev/shm"), std::env::temp_dir()];
        let place = places
            .into_iter()
            .find(|place| place.is_dir())
            .unwrap_or_default();
        let home = place.join(format!("pal-{}", uuid::Uuid::new_v4().simple()));
        profile::make_dir(&home)?;
        Ok(Passing { home })
    }

    /// Where it is.
    pub(super) fn home(&self) -> &std::path::Path {
        &self.home
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.home) {
            eprintln!("note: {} could not be removed: {error}", self.home.display());
        }
    }
}
