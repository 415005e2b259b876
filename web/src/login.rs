//! Logging in and out. A failed login answers the same after the same time, whatever was wrong with it.

use crate::api::App;
use crate::ask::{Ask, Fresh, audit};
use crate::body::Json;
use crate::certs::{ClientKeys, Order, terms};
use crate::error::Failure;
use crate::passwords::PASSWORD_MAX;
use crate::{passkeys, recovery, totp};
use axum::http::StatusCode;
use palisade_ca::SealContext;
use palisade_core::access::View;
use palisade_core::api::{Certificates, LoginRequest, PasskeyLogin};
use palisade_core::command::{CertPurpose, Command, LoginProof, RecoveryUse, Sealed};
use palisade_core::event::{Event, EventKind};
use palisade_core::kv::Kv;
use palisade_core::name::Name;
use palisade_core::record::SecondFactor;
use palisade_core::state::{self, LocalAuth};
use std::time::Instant;
use zeroize::Zeroizing;

/// What was found out about a login before it is proposed.
pub(crate) struct Checked {
    pub(crate) view: View,
    pub(crate) proof: LoginProof,
    pub(crate) generation: u64,
}

/// What is shown beside the password.
pub(crate) enum Beside<'a> {
    /// Six digits, a recovery code, or nothing.
    Code(&'a str),
    /// A passkey's answer.
    Passkey(&'a PasskeyLogin),
}

/// `POST /v1/login`.
pub(crate) async fn login(
    ask: Ask,
    Json(request): Json<LoginRequest>,
) -> Result<axum::Json<Certificates>, Failure> {
    let began = Instant::now();
    let LoginRequest {
        user,
        password,
        code,
        ssh_public_key,
        tls_public_key,
        ttl_secs,
    } = request;
    let (password, code) = (Zeroizing::new(password), Zeroizing::new(code));
    admit(&ask, &password)?;
    let keys = ClientKeys::parse(&ssh_public_key, &tls_public_key)?;
    let answer = match check(&ask, &user, password, Beside::Code(&code)).await {
        Ok(checked) => {
            let Checked {
                view,
                proof,
                generation,
            } = checked;
            let (totp_step, recovery) = match proof {
                LoginProof::Password { totp_step } => (totp_step, None),
                LoginProof::Recovery(code) => (None, Some(code)),
                LoginProof::Passkey { .. } => return Err(Failure::bad_login()),
            };
            let terms = terms(
                &view,
                CertPurpose::Login,
                &keys,
                ttl_secs,
                ask.peer.addr,
                ask.now(),
            )?;
            let name = view.user.metadata.name.clone();
            let order = Order { view, keys, terms };
            ask.issue(order, "login", move |terms| Command::Login {
                user: name,
                totp_step,
                recovery,
                generation,
                terms,
            })
            .await
        }
        Err(failure) => Err(failure),
    };
    no_sooner(&ask, began, answer).await.map(axum::Json)
}

/// Bounds how often passwords are tried, and how long they are.
pub(crate) fn admit(ask: &Ask, password: &str) -> Result<(), Failure> {
    if !ask.app.logins.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    if password.len() > PASSWORD_MAX {
        return Err(Failure::too_large(format!(
            "the password is longer than {PASSWORD_MAX} bytes"
        )));
    }
    Ok(())
}

/// The answer to a login; a refusal no sooner than any other.
pub(crate) async fn no_sooner<T>(
    ask: &Ask,
    began: Instant,
    answer: Result<T, Failure>,
) -> Result<T, Failure> {
    if let Err(failure) = &answer
        && failure.status() == StatusCode::UNAUTHORIZED
    {
        let floor = ask.app.api.config.failed_login_floor;
        tokio::time::sleep(floor.saturating_sub(began.elapsed())).await;
    }
    answer
}

/// Checks the password and what is shown beside it. What is wrong goes to the audit log alone.
pub(crate) async fn check(
    ask: &Ask,
    user: &str,
    password: Zeroizing<String>,
    beside: Beside<'_>,
) -> Result<Checked, Failure> {
    // A code that another node has just taken must be seen here.
    ask.fresh(Fresh::Linear).await?;
    let kv = ask.kv();
    let now = ask.now();
    let name = Name::parse(user).ok();
    let view = match &name {
        Some(name) => View::load(kv.as_ref(), name)?.filter(|view| !view.user.expired(now)),
        None => None,
    };
    let auth = match &name {
        Some(name) => state::local_auth(kv.as_ref(), name)?.filter(|auth| !auth.password_hash.is_empty()),
        None => None,
    };
    if auth.as_ref().is_some_and(|auth| auth.locked_until > now) {
        return Err(failed(ask, user, "locked out after too many failures").await);
    }
    let right = ask
        .app
        .hasher
        .verify(password, auth.as_ref().map(|auth| auth.password_hash.as_str()))
        .await?;
    let (Some(view), Some(auth)) = (view, auth) else {
        return Err(failed(ask, user, "there is no such user").await);
    };
    let proof = match beside {
        Beside::Code(code) => by_code(ask, &view, &auth, code)?.ok_or_else(|| "the code is wrong".to_owned()),
        Beside::Passkey(answer) => match passkeys::answered(ask, answer, true)? {
            Ok((owner, proof)) if owner == view.user.metadata.name => Ok(proof),
            Ok(_) => Err("the passkey is another user's".to_owned()),
            Err((_, why)) => Err(why),
        },
    };
    match (right, proof) {
        (true, Ok(proof)) => Ok(Checked {
            view,
            proof,
            generation: auth.generation,
        }),
        (false, _) => Err(failed(ask, user, "the password is wrong").await),
        (true, Err(why)) => Err(failed(ask, user, &why).await),
    }
}

/// What a code proves beside the password, if it does.
fn by_code(ask: &Ask, view: &View, auth: &LocalAuth, code: &str) -> Result<Option<LoginProof>, Failure> {
    if view.auth.second_factor == SecondFactor::Off {
        return Ok(Some(LoginProof::Password { totp_step: None }));
    }
    let secret = open_totp(&ask.app, ask.kv().as_ref(), &view.user.metadata.name, &auth.totp)?;
    if let Some(step) = totp::matching_step(&secret, code, ask.now().secs()) {
        return Ok(Some(LoginProof::Password {
            totp_step: Some(step),
        }));
    }
    let set = auth.recovery_set;
    let index = recovery::matching(&secret, set, code);
    Ok(index.map(|index| LoginProof::Recovery(RecoveryUse { set, index })))
}

/// Counts and audits a failure, and gives the one answer that every failure gets.
pub(crate) async fn failed(ask: &Ask, user: &str, reason: &str) -> Failure {
    let command = Command::LoginFailed {
        // Whoever types a password into the field for the name does not find it in the log.
        user: Name::parse(user).map_or_else(|_| String::from("(not a name)"), |name| name.to_string()),
        reason: reason.to_owned(),
    };
    match ask.propose(ask.actor(""), ask.new_id(), command).await {
        Ok(_) => Failure::bad_login(),
        // Not counted is not refused: without a quorum nobody guesses passwords for free.
        Err(failure) => failure,
    }
}

fn totp_context(kv: &dyn Kv, user: &Name) -> Result<SealContext, Failure> {
    let cluster =
        state::cluster(kv)?.ok_or_else(|| Failure::unavailable("this node is in no cluster yet"))?;
    Ok(SealContext::new(cluster.id.as_str(), &format!("totp/{user}"), 1))
}

/// Opens a user's TOTP secret.
pub(crate) fn open_totp(
    app: &App,
    kv: &dyn Kv,
    user: &Name,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    app.api
        .seal
        .open(totp_context(kv, user)?.as_str(), &sealed.0)
        .map_err(|e| Failure::internal("second factor", &e))
}

/// Seals a user's TOTP secret.
pub(crate) fn seal_totp(app: &App, kv: &dyn Kv, user: &Name, secret: &[u8]) -> Result<Sealed, Failure> {
    app.api
        .seal
        .seal(totp_context(kv, user)?.as_str(), secret)
        .map(Sealed)
        .map_err(|e| Failure::internal("second factor", &e))
}

/// `POST /v1/logout`.
pub(crate) async fn logout(ask: Ask) -> Result<StatusCode, Failure> {
    let who = ask.who(Fresh::Decision).await?;
    let event = Event::new(EventKind::Logout)
        .user(who.name())
        .addr(ask.peer.shown_addr());
    let id = ask.id_for(who.name(), &[b"logout"]);
    ask.propose(ask.actor(who.name()), id, audit(event)).await?;
    Ok(StatusCode::NO_CONTENT)
}
