//! Programs that are let in by their user's browser (after RFC 8628, the device authorization grant): `pal login --browser`
//! and, on computers that are not one's own, `pal ssh --headless`. The program keeps its keys; what it gets are
//! certificates for them, and only who holds them and the ticket's secret gets those.

use crate::ask::{Ask, Fresh};
use crate::body::{Json, Path};
use crate::browser;
use crate::certs::{ClientKeys, addresses, terms_for};
use crate::error::Failure;
use crate::invites::{random_secret, sha256_hex};
use axum::http::StatusCode;
use palisade_core::access::{View, lock_text};
use palisade_core::api::{
    ApprovalAnswer, ApprovalReply, ApprovalRequest, ApprovalState, ApprovalTake, ApprovalTicket, ApprovalView,
};
use palisade_core::command::{ApprovalWanted, CertPurpose, CertTerms, Command, NewApproval, RefusedCommand};
use palisade_core::name::Login;
use palisade_core::state::{self, APPROVAL_MS, Approval, Outcome};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::time::{Instant, timeout_at};

/// Letters of a code: consonants, so that they make no words and none is taken for a digit (RFC 8628, 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// How many of them.
const CODE_LENGTH: usize = 8;
/// How long a node waits for an answer before it says that there is none yet.
const WAIT: Duration = Duration::from_secs(5);
/// The longest description of a program, and the longest name of a host, in characters.
const CLIENT_MAX: usize = 100;
/// How long certificates for one connection live unless less is asked for, in seconds.
const HEADLESS_SECS: u64 = 600;

fn new_code() -> String {
    let mut left = rand::random::<u64>();
    let mut letter = || {
        let at = left % LETTERS.len() as u64;
        left /= LETTERS.len() as u64;
        char::from(LETTERS[at as usize])
    };
    (0..CODE_LENGTH).map(|_| letter()).collect()
}

/// A code as it is kept, however a person types it; `None` if it cannot be one.
fn parse(typed: &str) -> Option<String> {
    let letters = typed.chars().filter(|c| !matches!(c, '-' | ' '));
    let code: String = letters.take(CODE_LENGTH + 1).collect();
    let code = code.to_ascii_uppercase();
    (code.len() == CODE_LENGTH && code.bytes().all(|b| LETTERS.contains(&b))).then_some(code)
}

fn shown(code: &str) -> String {
    let (one, two) = code.split_at(CODE_LENGTH / 2);
    format!("{one}-{two}")
}

fn plain(what: &str, text: &str, most: usize) -> Result<String, Failure> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(Failure::invalid(format!("{what}: 1 to {most} characters")));
    }
    Ok(text.to_owned())
}

/// `POST /v1/approvals`.
pub(crate) async fn begin(
    ask: Ask,
    Json(request): Json<ApprovalRequest>,
) -> Result<axum::Json<ApprovalTicket>, Failure> {
    if !ask.app.logins.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    let keys = ClientKeys::parse(&request.ssh_public_key, &request.tls_public_key)?;
    let wanted = match (request.host.is_empty(), request.login.is_empty()) {
        (true, true) => ApprovalWanted::Login,
        (false, false) => ApprovalWanted::Headless {
            host: plain("host", &request.host, CLIENT_MAX)?,
            login: Login::parse(&request.login)?,
        },
        (true, false) | (false, true) => {
            return Err(Failure::invalid(
                "host: goes with a login, and a login with a host",
            ));
        }
    };
    let (code, secret) = (new_code(), random_secret());
    let expires = ask.now().plus_ms(APPROVAL_MS);
    let approval = NewApproval {
        code: code.clone(),
        secret_sha256: sha256_hex(&secret),
        wanted,
        ssh_key: keys.fingerprint(),
        tls_key_sha256: sha256_hex(&request.tls_public_key),
        ttl_secs: request.ttl_secs,
        client: plain("client", &request.client, CLIENT_MAX)?,
        expires,
    };
    // Never under a client's id: its answer is a secret that a repetition could not be given.
    ask.propose(ask.actor(""), ask.new_id(), Command::AskApproval { approval })
        .await?;
    let (web_addrs, _) = addresses(ask.kv().as_ref())?;
    let code = shown(&code);
    Ok(axum::Json(ApprovalTicket {
        urls: web_addrs
            .iter()
            .map(|addr| format!("https://{addr}/approve/{code}"))
            .collect(),
        code,
        secret: secret.to_string(),
        expires,
    }))
}

fn found(ask: &Ask, code: &str) -> Result<Option<Approval>, Failure> {
    let found = state::approval(ask.kv().as_ref(), code)?;
    Ok(found.filter(|found| found.asked.expires > ask.now()))
}

/// `POST /v1/approvals/{code}/take`. Wrong codes, wrong secrets and those whose time is over are not told apart.
pub(crate) async fn take(
    ask: Ask,
    Path(code): Path<String>,
    Json(request): Json<ApprovalTake>,
) -> Result<axum::Json<ApprovalReply>, Failure> {
    if !ask.app.tokens.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    let keys = ClientKeys::parse(&request.ssh_public_key, &request.tls_public_key)?;
    let code = parse(&code).ok_or_else(Failure::bad_token)?;
    let secret = sha256_hex(&request.secret);
    let until = Instant::now() + WAIT;
    let consensus = ask.app.api.consensus.clone();
    // It may have been asked a moment ago, at another node.
    ask.fresh(Fresh::Linear).await?;
    loop {
        let seen = consensus.policy_version();
        let approval = found(&ask, &code)?
            .filter(|found| {
                found
                    .asked
                    .secret_sha256
                    .as_bytes()
                    .ct_eq(secret.as_bytes())
                    .into()
            })
            .ok_or_else(Failure::bad_token)?;
        match approval.outcome {
            None => {}
            Some(Outcome::Refused) => {
                return Ok(axum::Json(ApprovalReply {
                    state: ApprovalState::Refused,
                    certificates: None,
                }));
            }
            Some(Outcome::Granted { serial, terms }) => {
                let same = terms.key_fingerprint == keys.fingerprint()
                    && sha256_hex(&request.tls_public_key) == approval.asked.tls_key_sha256;
                if !same {
                    return Err(Failure::invalid("the keys are not those that were asked with"));
                }
                return granted(&ask, &keys, terms, serial).await.map(axum::Json);
            }
        }
        if timeout_at(until, consensus.policy_changed(seen)).await.is_err() {
            return Ok(axum::Json(ApprovalReply {
                state: ApprovalState::Waiting,
                certificates: None,
            }));
        }
    }
}

/// The certificates that were granted, as often as they are asked for: they are always the same.
async fn granted(
    ask: &Ask,
    keys: &ClientKeys,
    terms: CertTerms,
    serial: u64,
) -> Result<ApprovalReply, Failure> {
    let now = ask.now();
    let view = View::load(ask.kv().as_ref(), &terms.subject)?.filter(|view| !view.user.expired(now));
    // Whoever granted it may have been locked, reset or removed since.
    let view = view.ok_or_else(Failure::bad_token)?;
    if let Some(lock) = view.lock(None, None, now) {
        return Err(RefusedCommand::Locked(lock_text(lock)).into());
    }
    view.check_serial(serial).map_err(|_| Failure::bad_token())?;
    Ok(ApprovalReply {
        state: ApprovalState::Granted,
        certificates: Some(ask.signed(&view, keys, &terms, serial)?),
    })
}

fn gone() -> Failure {
    Failure::not_found("nothing waits under this code (any more): run the command again")
}

/// `GET /v1/web/approvals/{code}`.
pub(crate) async fn view(ask: Ask, Path(code): Path<String>) -> Result<axum::Json<ApprovalView>, Failure> {
    browser::own(&ask, Fresh::Linear).await?;
    let code = parse(&code).ok_or_else(gone)?;
    let Approval {
        asked,
        addr,
        created,
        outcome,
    } = found(&ask, &code)?.ok_or_else(gone)?;
    let (host, login) = match asked.wanted {
        ApprovalWanted::Login => (String::new(), String::new()),
        ApprovalWanted::Headless { host, login } => (host, login.to_string()),
    };
    Ok(axum::Json(ApprovalView {
        code: shown(&code),
        client: asked.client,
        addr,
        host,
        login,
        created,
        expires: asked.expires,
        state: match outcome {
            None => ApprovalState::Waiting,
            Some(Outcome::Refused) => ApprovalState::Refused,
            Some(Outcome::Granted { .. }) => ApprovalState::Granted,
        },
    }))
}

/// `POST /v1/web/approvals/{code}`.
pub(crate) async fn answer(
    ask: Ask,
    Path(code): Path<String>,
    Json(request): Json<ApprovalAnswer>,
) -> Result<StatusCode, Failure> {
    let (view, session) = browser::own(&ask, Fresh::Change).await?;
    let code = parse(&code).ok_or_else(gone)?;
    let approval = found(&ask, &code)?.ok_or_else(gone)?;
    let terms = if request.approve {
        browser::just_confirmed(&ask, &session)?;
        Some(grant(&ask, &view, &approval)?)
    } else {
        None
    };
    let user = view.user.metadata.name;
    let command = Command::AnswerApproval {
        user: user.clone(),
        session: session.session.id,
        code,
        terms,
    };
    ask.propose(ask.actor(user.as_str()), ask.new_id(), command)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the certificates will say. Where roles pin them to an address, it is the program's and not the browser's.
fn grant(ask: &Ask, view: &View, approval: &Approval) -> Result<CertTerms, Failure> {
    let asked = &approval.asked;
    let ttl_secs = match (&asked.wanted, asked.ttl_secs) {
        (ApprovalWanted::Login, secs) => secs,
        (ApprovalWanted::Headless { .. }, 0) => HEADLESS_SECS,
        (ApprovalWanted::Headless { .. }, secs) => secs.min(HEADLESS_SECS),
    };
    let key = asked.ssh_key.clone();
    let from = approval.addr.parse().ok();
    let mut terms = terms_for(view, CertPurpose::Login, key, ttl_secs, from, ask.now())?;
    if let ApprovalWanted::Headless { login, .. } = &asked.wanted {
        if !terms.principals.contains(login) {
            return Err(Failure::refused(format!("your roles do not allow login {login}")));
        }
        terms.principals = vec![login.clone()];
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for _ in 0..200 {
            let code = new_code();
            assert_eq!(parse(&code).as_ref(), Some(&code));
            for typed in [
                shown(&code),
                shown(&code).to_lowercase(),
                shown(&code).replace('-', " "),
            ] {
                assert_eq!(parse(&typed).as_ref(), Some(&code), "{typed}");
            }
        }
        for wrong in [
            "",
            "BCDF",
            "BCDF-GHJKL",
            "BCDF-GHJA",
            "BCDF/GHJK",
            "ＢＣＤＦ-GHJK",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn codes_do_not_repeat() {
        let all: std::collections::BTreeSet<_> = (0..1000).map(|_| new_code()).collect();
        assert_eq!(all.len(), 1000);
    }
}
