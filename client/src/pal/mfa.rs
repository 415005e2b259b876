//! `pal mfa`: what one has beside the password. Whatever changes it is asked for password and code first, and done in a
//! session of its own that ends with the command.

use super::ContactArgs;
use super::login::{Contact, ask_code, contact, line, password};
use crate::errors::{Failure, print};
use crate::http::{CallError, Nodes, fill};
use crate::output::{self, Format, Table};
use crate::profile::Profile;
use palisade_core::api::{
    BrowserLogin, NewTotp, Passkeys, Ping, RecoveryCodes, SecondFactors, TotpChallenge, path,
};
use palisade_core::shown::Shown;
use reqwest::Method;
use serde_json::json;

#[derive(Debug, clap::Subcommand)]
pub(super) enum MfaCommand {
    /// List what you have
    Ls {
        /// How to show it
        #[arg(long, short, value_enum, default_value_t)]
        format: Format,
    },
    /// Set up a new authenticator, make new recovery codes, or see where a passkey is added
    Add {
        /// What
        #[arg(value_enum)]
        what: Added,
        #[command(flatten)]
        proof: Proof,
    },
    /// Remove a passkey
    Rm {
        /// Its name, as `pal mfa ls` shows it
        name: String,
        #[command(flatten)]
        proof: Proof,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Added {
    /// An app that shows codes; the one that you have, and its recovery codes, work no more
    Authenticator,
    /// Ten codes that each stand once for the authenticator's; the ones that you have work no more
    Recovery,
    /// A passkey: made in a browser
    Passkey,
}

#[derive(Debug, clap::Args)]
pub(super) struct Proof {
    /// Read the password from standard input, and with `add authenticator` the new one's code as the next line
    #[arg(long)]
    password_stdin: bool,
    /// The code of the second factor, or a recovery code [default: asked for]
    #[arg(long, alias = "otp")]
    code: Option<String>,
}

pub(super) async fn run(profile: &Profile, proxy: Option<&str>, command: MfaCommand) -> Result<(), Failure> {
    match command {
        MfaCommand::Ls { format } => ls(profile, format).await,
        MfaCommand::Add {
            what: Added::Passkey, ..
        } => {
            let pages = profile.meta.web_addrs.iter();
            let pages: String = pages
                .map(|addr| format!("    https://{addr}/account\n"))
                .collect();
            print(&format!(
                "A passkey is made by your browser. Open one of these, and add it there:\n\n{pages}"
            ))
        }
        MfaCommand::Add {
            what: Added::Recovery,
            proof,
        } => {
            let session = Session::begin(profile, proxy, &proof).await?;
            let made: Result<RecoveryCodes, _> = session.nodes.post(path::RECOVERY, &json!({})).await;
            session.end().await;
            print(&listed(&made?))
        }
        MfaCommand::Add {
            what: Added::Authenticator,
            proof,
        } => {
            let session = Session::begin(profile, proxy, &proof).await?;
            let made = authenticator(&session.nodes, &proof).await;
            session.end().await;
            print(&listed(&made?))
        }
        MfaCommand::Rm { name, proof } => rm(profile, proxy, &name, &proof).await,
    }
}

async fn ls(profile: &Profile, format: Format) -> Result<(), Failure> {
    let nodes = Nodes::of_profile(profile)?;
    let factors: SecondFactors = nodes.get(path::MFA, &[]).await?;
    let passkeys: Passkeys = nodes.get(path::PASSKEYS, &[]).await?;
    match format {
        Format::Text => {
            let mut table = Table::new(&["What", "Name", "Since", "Last used"]);
            let asked = if factors.totp {
                "asked for"
            } else {
                "not asked for"
            };
            table.row(&["authenticator", asked, "", ""]);
            let left = format!("{} of {} left", factors.recovery_left, factors.recovery_of);
            table.row(&["recovery codes", &left, "", ""]);
            for key in &passkeys.items {
                let used = key.used.map(|at| at.to_string()).unwrap_or_default();
                table.row(&["passkey", &key.name, &key.created.to_string(), &used]);
            }
            print(&table.render())
        }
        Format::Json | Format::Yaml => print(&output::data_text(
            format,
            &json!({"second_factors": factors, "passkeys": passkeys.items}),
        )),
    }
}

async fn authenticator(nodes: &Nodes, proof: &Proof) -> Result<RecoveryCodes, Failure> {
    let begun: TotpChallenge = nodes.post(path::TOTP_BEGIN, &json!({})).await?;
    print(&format!(
        "Put this into your authenticator:\n\n    secret: {}\n    {}\n\n",
        Shown(&begun.totp_secret),
        Shown(&begun.totp_uri)
    ))?;
    let code = if proof.password_stdin {
        line("code of the new authenticator")?.to_string()
    } else {
        ask_code("Code that it shows now: ", false)?
    };
    let finish = NewTotp { id: begun.id, code };
    Ok(nodes.post(path::TOTP_FINISH, &finish).await?)
}

/// The codes, as they are shown once.
pub(super) fn listed(made: &RecoveryCodes) -> String {
    let codes: String = made
        .codes
        .iter()
        .map(|code| format!("    {}\n", Shown(code)))
        .collect();
    format!("Recovery codes. Each works once in the place of a code; they are not shown again:\n\n{codes}")
}

async fn rm(profile: &Profile, proxy: Option<&str>, name: &str, proof: &Proof) -> Result<(), Failure> {
    let kept: Passkeys = Nodes::of_profile(profile)?.get(path::PASSKEYS, &[]).await?;
    let mut named = kept.items.iter().filter(|key| key.name == name || key.id == name);
    let (Some(key), None) = (named.next(), named.next()) else {
        let what = format!("you do not have one passkey of the name {name:?}");
        return Err(Failure::usage(
            what,
            "`pal mfa ls` shows them; give the id where a name is not enough",
        ));
    };
    let session = Session::begin(profile, proxy, proof).await?;
    let gone = session.nodes.delete(&fill(path::PASSKEY, &[&key.id])).await;
    session.end().await;
    gone?;
    print(&format!("Removed passkey {}.\n", Shown(name)))
}

/// A session that is confirmed by having just begun.
struct Session {
    nodes: Nodes,
}

impl Session {
    async fn begin(profile: &Profile, proxy: Option<&str>, proof: &Proof) -> Result<Self, Failure> {
        let user = &profile.meta.user;
        let prompt = format!("Password of {user} in {}: ", Shown(&profile.meta.cluster));
        let typed = password(proof.password_stdin, &prompt)?;
        // Without the certificate: whoever shows one is not asked for the session.
        let Contact { nodes, .. } = contact(proxy, &ContactArgs::default())?;
        let ping: Ping = nodes.get(path::PING, &[]).await?;
        let code = match &proof.code {
            Some(code) => code.clone(),
            None if ping.second_factor => ask_code("Code of the second factor: ", proof.password_stdin)?,
            None => String::new(),
        };
        let mut request = BrowserLogin {
            user: user.clone(),
            password: typed.to_string(),
            code,
            passkey: None,
        };
        let answer = nodes.change(Method::POST, path::WEB_LOGIN, &request).await;
        zeroize::Zeroize::zeroize(&mut request.password);
        let answer = answer.map_err(|error| match &error {
            CallError::Refused { status: 401, error } => Failure::new(
                error.message.clone(),
                "check password and code; each code works once",
            ),
            _ => error.into(),
        })?;
        let nodes = nodes.in_session(answer).await?;
        Ok(Session { nodes })
    }

    /// What is left of it runs out by itself.
    async fn end(&self) {
        let _ = self
            .nodes
            .change(Method::POST, path::WEB_LOGOUT, &json!({}))
            .await;
    }
}
