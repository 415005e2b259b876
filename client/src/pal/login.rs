//! `pal login`, `logout`, `status`.

use super::{ContactArgs, LoginArgs, approve, load};
use crate::errors::{Failure, print};
use crate::http::{CallError, Nodes};
use crate::output::{self, Format, Table};
use crate::profile::{self, FirstContact, NewKeys, Profile, web_addr};
use crate::tls::Trust;
use palisade_core::api::{Certificates, LoginRequest, Ping, path};
use palisade_core::name::Name;
use palisade_core::record::HostAddr;
use palisade_core::shown::Shown;
use palisade_core::time::Ttl;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// A first or later contact: where, and what is believed.
pub(super) struct Contact {
    pub(super) first: HostAddr,
    pub(super) nodes: Nodes,
    kind: FirstContact,
    extra_roots: Option<String>,
}

/// Works out which nodes to talk to and why to believe them.
pub(super) fn contact(proxy: Option<&str>, args: &ContactArgs) -> Result<Contact, Failure> {
    let known = match (
        proxy,
        profile::home().and_then(|home| Profile::load(&home, proxy)),
    ) {
        (_, Ok(profile)) => Some(profile),
        (Some(_), Err(_)) => None,
        (None, Err(_)) => {
            return Err(Failure::usage(
                "it is not known which cluster to talk to",
                "give --proxy ADDRESS, for example node1.example.com:3080",
            ));
        }
    };
    let mut addrs: Vec<HostAddr> = Vec::new();
    for text in proxy.into_iter().flat_map(|list| list.split(',')) {
        // Without a port it may be the name of a saved login, whose addresses are known.
        let saved = known.as_ref().filter(|p| p.meta.proxy == text);
        if saved.is_none() {
            addrs.push(web_addr(text)?);
        }
    }
    let saved = known
        .iter()
        .flat_map(|p| &p.meta.web_addrs)
        .filter_map(|a| HostAddr::parse(a).ok());
    let saved: Vec<HostAddr> = saved.collect();
    let first = match (addrs.first(), &known) {
        (Some(addr), _) => addr.clone(),
        (None, Some(profile)) => web_addr(&profile.meta.proxy)?,
        (None, None) => return Err(Failure::usage("there is no address", "give --proxy ADDRESS")),
    };
    // Addresses given with a pin or a file may be those of another cluster than the saved one.
    let (trust, kind, extra_roots) = match (&args.ca_pin, &args.ca_file, &known) {
        (Some(pin), _, _) => (Trust::Pin(*pin), FirstContact::Pin, None),
        (None, Some(file), _) => {
            let pem = std::fs::read_to_string(file).map_err(|e| Failure::file(file, "read", &e))?;
            let trust = Trust::pem(pem.as_bytes()).map_err(|e| {
                Failure::usage(
                    format!("{} cannot be used: {e}", file.display()),
                    "give a PEM file of the authority",
                )
            })?;
            (trust, FirstContact::File, Some(pem))
        }
        (None, None, Some(profile)) => {
            let extra = std::fs::read_to_string(profile.extra_roots()).ok();
            (profile.trust()?, profile.meta.first_contact, extra)
        }
        (None, None, None) => (Trust::system()?, FirstContact::System, None),
    };
    let fresh = args.ca_pin.is_some() || args.ca_file.is_some();
    if addrs.is_empty() || !fresh {
        addrs.extend(saved);
    }
    let mut seen = std::collections::HashSet::new();
    let addrs: Vec<String> = addrs
        .iter()
        .map(HostAddr::to_string)
        .filter(|a| seen.insert(a.clone()))
        .collect();
    Ok(Contact {
        first,
        nodes: Nodes::over_tls(&addrs, trust, None)?,
        kind,
        extra_roots,
    })
}

pub(super) async fn login(proxy: Option<&str>, args: LoginArgs) -> Result<(), Failure> {
    let contact = contact(proxy, &args.contact)?;
    let ping: Ping = contact.nodes.get(path::PING, &[]).await?;
    if ping.cluster.is_empty() {
        return Err(Failure::new(
            "this node is in no cluster yet",
            "run `palctl cluster init` or `palctl cluster join` on it",
        ));
    }
    let home = profile::home()?;
    if args.browser {
        return by_browser(&home, contact, &args).await;
    }
    let user = match args.user.clone() {
        Some(user) => user,
        None => Profile::load(&home, Some(contact.first.host()))
            .map(|p| p.meta.user)
            .or_else(|_| std::env::var("USER"))
            .map_err(|_| Failure::usage("it is not known who logs in", "give --user NAME"))?,
    };
    let user = Name::parse(&user).map_err(|e| Failure::usage(e.to_string(), "give --user NAME"))?;
    let password = password(
        args.password_stdin,
        &format!("Password of {user} in {}: ", Shown(&ping.cluster)),
    )?;
    let code = match args.code {
        Some(code) => code,
        None if ping.second_factor => ask_code("Code of the second factor: ", args.password_stdin)?,
        None => String::new(),
    };
    let keys = NewKeys::make()?;
    let mut request = LoginRequest {
        user: user.to_string(),
        password: password.to_string(),
        code,
        ssh_public_key: keys.ssh_public(),
        tls_public_key: keys.tls_public(),
        ttl_secs: args.ttl.map_or(0, Ttl::ms).div_ceil(1000),
    };
    let issued: Result<Certificates, CallError> = contact.nodes.post(path::LOGIN, &request).await;
    zeroize::Zeroize::zeroize(&mut request.password);
    let issued = issued.map_err(|error| match &error {
        CallError::Refused { status: 401, error } => Failure::new(
            error.message.clone(),
            "check name, password and code; each code works once",
        ),
        _ => error.into(),
    })?;
    if issued.user != user.as_str() {
        return Err(Failure::new(
            "the node answered for another user",
            "check that the address is that of your cluster",
        ));
    }
    print(&describe(&contact.save(&home, &keys, &issued)?))
}

/// A login that somebody allows in their browser: who they are is known from there.
async fn by_browser(home: &std::path::Path, contact: Contact, args: &LoginArgs) -> Result<(), Failure> {
    let keys = NewKeys::make()?;
    let issued = approve::ask(&contact, &keys, args.ttl, None, true).await?;
    if args.user.as_ref().is_some_and(|user| *user != issued.user) {
        return Err(Failure::new(
            format!("the browser is {}'s, not yours", Shown(&issued.user)),
            "log in there as the user that you want to be here",
        ));
    }
    print(&describe(&contact.save(home, &keys, &issued)?))
}

impl Contact {
    /// Keeps what was issued as a profile.
    pub(super) fn save(
        &self,
        home: &std::path::Path,
        keys: &NewKeys,
        issued: &Certificates,
    ) -> Result<Profile, Failure> {
        Profile::save(
            home,
            &self.first,
            self.kind,
            self.extra_roots.as_deref(),
            keys,
            issued,
        )
    }
}

pub(super) async fn logout(proxy: Option<&str>) -> Result<(), Failure> {
    let home = profile::home()?;
    let profile = load(proxy)?;
    // The keys go away whether or not a node hears of it.
    let told = match Nodes::of_profile(&profile) {
        Ok(nodes) => {
            let nodes = nodes.deadline(std::time::Duration::from_secs(3));
            nodes
                .change(reqwest::Method::POST, path::LOGOUT, &json!({}))
                .await
                .is_ok()
        }
        Err(_) => false,
    };
    profile.remove(&home)?;
    if !told {
        eprintln!(
            "note: no node was told; the certificates would have run out at {}",
            profile.meta.valid_before
        );
    }
    print(&format!("Logged out of {}.\n", profile.meta.cluster))
}

pub(super) fn status(proxy: Option<&str>, format: Format) -> Result<ExitCode, Failure> {
    let current = load(proxy);
    let home = profile::home()?;
    let all = Profile::all(&home);
    let is_current = |p: &Profile| current.as_ref().is_ok_and(|c| c.meta.proxy == p.meta.proxy);
    match format {
        Format::Text => {
            let profile = current?;
            print(&describe(&profile))?;
            let others: Vec<&Profile> = all
                .iter()
                .filter(|p| p.meta.proxy != profile.meta.proxy)
                .collect();
            if !others.is_empty() {
                let mut table = Table::new(&["Other login", "Cluster", "User", "Until"]);
                for p in others {
                    table.row(&[
                        &p.meta.proxy,
                        &p.meta.cluster,
                        &p.meta.user,
                        &p.meta.valid_before.to_string(),
                    ]);
                }
                print(&format!("\n{}", table.render()))?;
            }
            Ok(if profile.expired() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        }
        Format::Json | Format::Yaml => {
            let shown = |p: &Profile| {
                json!({
                    "proxy": p.meta.proxy, "cluster": p.meta.cluster, "user": p.meta.user, "roles": p.meta.roles,
                    "logins": p.meta.logins, "valid_before": p.meta.valid_before, "expired": p.expired(),
                    "web_addrs": p.meta.web_addrs, "ssh_addrs": p.meta.ssh_addrs, "dir": p.dir,
                })
            };
            let active = all.iter().find(|p| is_current(p));
            let others: Vec<_> = all.iter().filter(|p| !is_current(p)).map(shown).collect();
            print(&output::data_text(
                format,
                &json!({"active": active.map(shown), "others": others}),
            ))?;
            Ok(if active.is_some_and(|p| !p.expired()) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

fn describe(profile: &Profile) -> String {
    let meta = &profile.meta;
    let list = |items: &[String]| {
        items
            .iter()
            .map(|i| Shown(i).to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let left = if profile.expired() {
        "run out".to_owned()
    } else {
        let minutes = meta.valid_before.since_ms(profile::now()) / 60_000;
        format!("{}h{:02}m left", minutes / 60, minutes % 60)
    };
    format!(
        "> Profile:   {}\n  User:      {}\n  Cluster:   {}\n  Roles:     {}\n  Logins:    {}\n  Nodes:     {}\n  Valid until: {} [{left}]\n",
        meta.proxy,
        meta.user,
        meta.cluster,
        list(&meta.roles),
        list(&meta.logins),
        list(&meta.web_addrs),
        meta.valid_before,
    )
}

/// Reads a password from the terminal, or the first line of standard input.
pub(super) fn password(from_stdin: bool, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if from_stdin {
        return line("password");
    }
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|_| {
            Failure::usage(
                "there is no terminal to ask for a password",
                "use --password-stdin",
            )
        })
}

/// The next line of standard input.
pub(super) fn line(what: &str) -> Result<Zeroizing<String>, Failure> {
    let none = |why: &str| {
        Failure::usage(
            format!("no {what} on standard input{why}"),
            "write it there as one line",
        )
    };
    let mut line = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|e| none(&format!(": {e}")))?;
    let kept = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(kept);
    if line.is_empty() {
        return Err(none(""));
    }
    Ok(line)
}

/// Asks for a code on the terminal.
pub(super) fn ask_code(prompt: &str, stdin_taken: bool) -> Result<String, Failure> {
    if stdin_taken || !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "the cluster asks for a code of the second factor",
            "give --code 123456",
        ));
    }
    eprint!("{prompt}");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| Failure::usage(format!("cannot read the code: {e}"), "give --code 123456"))?;
    Ok(line.trim().to_owned())
}
