//! `pal invite accept`.

use super::ContactArgs;
use super::login::{ask_code, contact, password};
use super::mfa::listed;
use crate::errors::{Failure, print};
use crate::http::fill;
use crate::tls::CaPin;
use palisade_core::api::{AcceptInvite, InviteView, RecoveryCodes, path};
use palisade_core::shown::Shown;
use reqwest::{Method, Url};

#[derive(Debug, clap::Args)]
pub(super) struct AcceptArgs {
    /// The link that you were sent, or just the token in it (then with --proxy)
    #[arg(value_name = "URL|TOKEN")]
    invite: String,
    #[command(flatten)]
    contact: ContactArgs,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// A code that your authenticator shows for the new secret [default: asked for]
    #[arg(long, alias = "otp")]
    code: Option<String>,
    /// Only show the secret of the second factor; the invite stays unused
    #[arg(long)]
    show: bool,
}

/// What an invite's text says.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    addr: Option<String>,
    token: String,
    pin: Option<CaPin>,
}

fn parse(text: &str) -> Result<Link, Failure> {
    let bad = || {
        Failure::usage(
            "this is no invite",
            "give the whole link, or the token with --proxy ADDRESS",
        )
    };
    if !text.contains("://") {
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        return if plain && !text.is_empty() {
            Ok(Link {
                addr: None,
                token: text.to_owned(),
                pin: None,
            })
        } else {
            Err(bad())
        };
    }
    let url = Url::parse(text).map_err(|_| bad())?;
    if url.scheme() != "https" {
        return Err(Failure::usage(
            "an invite's link begins with https://",
            "ask for a new link",
        ));
    }
    // The token may stand behind the #, which browsers do not send.
    let path_token = url
        .path_segments()
        .and_then(|mut s| s.next_back())
        .unwrap_or_default()
        .to_owned();
    let pairs = |text: Option<&str>| -> Vec<(String, String)> {
        let pairs = text
            .unwrap_or_default()
            .split('&')
            .filter_map(|p| p.split_once('='));
        pairs
            .map(|(k, v)| (k.to_owned(), v.replace("%3A", ":").replace("%3a", ":")))
            .collect()
    };
    let mut all = pairs(url.query());
    all.extend(pairs(url.fragment()));
    let find = |names: &[&str]| {
        all.iter()
            .find(|(k, _)| names.contains(&k.as_str()))
            .map(|(_, v)| v.clone())
    };
    let token = find(&["token"]).unwrap_or(path_token);
    let pin = find(&["ca_pin", "pin", "ca-pin"])
        .map(|p| CaPin::parse(&p))
        .transpose()
        .map_err(|_| bad())?;
    let host = url.host_str().ok_or_else(bad)?;
    let port = url.port_or_known_default().unwrap_or(443);
    if token.is_empty() {
        return Err(bad());
    }
    Ok(Link {
        addr: Some(format!("{host}:{port}")),
        token,
        pin,
    })
}

pub(super) async fn accept(proxy: Option<&str>, args: AcceptArgs) -> Result<(), Failure> {
    let link = parse(&args.invite)?;
    let mut how = args.contact.clone();
    if how.ca_pin.is_none() && how.ca_file.is_none() {
        how.ca_pin = link.pin;
    }
    let contact = contact(proxy.or(link.addr.as_deref()), &how)?;
    let route = fill(path::INVITE, &[&link.token]);
    let view: InviteView = contact.nodes.get(&route, &[]).await?;
    let mut text = format!(
        "Welcome, {}, to cluster {}.\n",
        Shown(&view.user),
        Shown(&view.cluster)
    );
    if view.second_factor {
        text += &format!(
            "\nPut this secret into your authenticator app:\n\n  {}\n  {}\n\n",
            Shown(&view.totp_secret),
            Shown(&view.totp_uri)
        );
    }
    print(&text)?;
    if args.show {
        return Ok(());
    }
    let chosen = password(args.password_stdin, "New password: ")?;
    if !args.password_stdin && *password(false, "The same again: ")? != *chosen {
        return Err(Failure::usage(
            "the two passwords differ",
            "run the command again: the invite is still good",
        ));
    }
    let code = match args.code {
        Some(code) => code,
        None if view.second_factor => ask_code("Code that the app shows now: ", args.password_stdin)?,
        None => String::new(),
    };
    // While the invite is good. A node of an older version has none.
    let recovery: Option<RecoveryCodes> = if view.second_factor {
        let route = fill(path::INVITE_RECOVERY, &[&link.token]);
        contact.nodes.get(&route, &[]).await.ok()
    } else {
        None
    };
    let mut body = AcceptInvite {
        password: chosen.to_string(),
        code,
    };
    let done = contact.nodes.change(Method::POST, &route, &body).await;
    zeroize::Zeroize::zeroize(&mut body.password);
    done?;
    if let Some(made) = recovery {
        print(&listed(&made))?;
    }
    print(&format!(
        "Done. Log in with:\n  pal login --proxy {} --user {}{}\n",
        contact.first,
        Shown(&view.user),
        how.ca_pin
            .map(|pin| format!(" --ca-pin {pin}"))
            .unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_tokens_are_read() {
        let pin = format!("sha256:{}", "0a".repeat(32));
        let of = |text: &str| parse(text).map_err(|f| f.what);
        for text in [
            format!("https://node1:3080/invite/tok-1?ca_pin={pin}"),
            format!("https://node1:3080/invite#token=tok-1&ca_pin={pin}"),
        ] {
            let link = of(&text).expect("a link");
            assert_eq!(
                (link.addr.as_deref(), link.token.as_str()),
                (Some("node1:3080"), "tok-1")
            );
            assert_eq!(link.pin.map(|p| p.to_string()), Some(pin.clone()));
        }
        assert_eq!(
            of("abc.def"),
            Ok(Link {
                addr: None,
                token: "abc.def".into(),
                pin: None
            })
        );
        for bad in [
            "",
            "a b",
            "http://node1/invite/x",
            "https://node1:3080/invite/x?ca_pin=nonsense",
            "https://",
        ] {
            assert!(parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
