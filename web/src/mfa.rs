//! What a user has beside the password: how they see it, and how they change it. Passkeys are in `passkeys`.

use crate::ask::{Ask, Fresh, Who};
use crate::body::{Json, Path};
use crate::browser;
use crate::challenge;
use crate::error::Failure;
use crate::login::{open_totp, seal_totp};
use crate::{invites, recovery, totp};
use palisade_core::api::{NewTotp, RecoveryCodes, SecondFactors, TotpChallenge};
use palisade_core::command::Command;
use palisade_core::name::Name;
use palisade_core::record::SecondFactor;
use palisade_core::state::{self, LocalAuth, RECOVERY_CODES};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The set that begins with every new authenticator.
const FIRST_SET: u32 = 1;
/// Keeps these questions apart from others.
const WHAT: &str = "totp/make";

/// `GET /v1/mfa`.
pub(crate) async fn factors(ask: Ask) -> Result<axum::Json<SecondFactors>, Failure> {
    let Who::User(view, _) = ask.who(Fresh::Linear).await? else {
        return Err(Failure::refused(
            "the operator at the control socket has no second factor",
        ));
    };
    let auth = state::local_auth(ask.kv().as_ref(), &view.user.metadata.name)?;
    Ok(axum::Json(SecondFactors {
        totp: view.auth.second_factor == SecondFactor::Totp,
        recovery_left: auth.as_ref().map_or(0, LocalAuth::recovery_left),
        recovery_of: RECOVERY_CODES,
        passkeys: view.auth.passkeys,
        passwordless: view.auth.passwordless,
    }))
}

fn local(ask: &Ask, user: &Name) -> Result<LocalAuth, Failure> {
    state::local_auth(ask.kv().as_ref(), user)?
        .filter(|auth| !auth.password_hash.is_empty())
        .ok_or_else(|| Failure::refused("you have no password here: your identity provider keeps it"))
}

/// `POST /v1/web/recovery`.
pub(crate) async fn new_codes(ask: Ask) -> Result<axum::Json<RecoveryCodes>, Failure> {
    let (view, session) = browser::own(&ask, Fresh::Change).await?;
    browser::just_confirmed(&ask, &session)?;
    let user = view.user.metadata.name;
    let auth = local(&ask, &user)?;
    let secret = open_totp(&ask.app, ask.kv().as_ref(), &user, &auth.totp)?;
    let set = auth.recovery_set.saturating_add(1);
    let command = Command::NewRecovery {
        user: user.clone(),
        session: session.session.id,
        set,
    };
    ask.propose(ask.actor(user.as_str()), ask.new_id(), command)
        .await?;
    Ok(axum::Json(RecoveryCodes {
        codes: recovery::codes(&secret, set),
    }))
}

/// `GET /v1/invites/{token}/recovery`: the codes that go with the authenticator that an invite sets up.
pub(crate) async fn of_invite(
    ask: Ask,
    Path(token): Path<String>,
) -> Result<axum::Json<RecoveryCodes>, Failure> {
    let (_, invite) = invites::open(&ask, &token).await?;
    let kv = ask.kv();
    let codes = match state::auth_preference(kv.as_ref())?.second_factor {
        SecondFactor::Off => Vec::new(),
        SecondFactor::Totp => {
            let secret = open_totp(&ask.app, kv.as_ref(), &invite.user, &invite.totp)?;
            recovery::codes(&secret, FIRST_SET)
        }
    };
    Ok(axum::Json(RecoveryCodes { codes }))
}

/// What is remembered while an authenticator is set up.
#[derive(Serialize, Deserialize)]
struct Making {
    user: Name,
    session: String,
    secret: Zeroizing<Vec<u8>>,
}

/// `POST /v1/web/totp/begin`.
pub(crate) async fn totp_begin(ask: Ask) -> Result<axum::Json<TotpChallenge>, Failure> {
    let (view, session) = browser::own(&ask, Fresh::Change).await?;
    browser::just_confirmed(&ask, &session)?;
    let user = view.user.metadata.name;
    local(&ask, &user)?;
    let cluster = state::cluster(ask.kv().as_ref())?;
    let cluster = cluster.map(|c| c.name.to_string()).unwrap_or_default();
    let secret = Zeroizing::new(rand::random::<[u8; totp::SECRET_BYTES]>().to_vec());
    let (totp_secret, totp_uri) = (totp::base32(&secret), totp::uri(&cluster, user.as_str(), &secret));
    let making = Making {
        user,
        session: session.session.id,
        secret,
    };
    Ok(axum::Json(TotpChallenge {
        id: challenge::seal(&ask, WHAT, making)?,
        totp_secret,
        totp_uri,
    }))
}

/// `POST /v1/web/totp/finish`.
pub(crate) async fn totp_finish(
    ask: Ask,
    Json(request): Json<NewTotp>,
) -> Result<axum::Json<RecoveryCodes>, Failure> {
    let (view, session) = browser::own(&ask, Fresh::Change).await?;
    let code = Zeroizing::new(request.code);
    let making: Making = challenge::open(&ask, WHAT, &request.id)?.state;
    let user = view.user.metadata.name;
    if making.user != user || making.session != session.session.id {
        return Err(Failure::invalid("id: this challenge is another session's"));
    }
    let Some(totp_step) = totp::matching_step(&making.secret, &code, ask.now().secs()) else {
        return Err(Failure::invalid(
            "the code is not the present one of this secret: check the clock of the device that made it",
        ));
    };
    let auth = local(&ask, &user)?;
    let command = Command::SetTotp {
        user: user.clone(),
        session: making.session,
        totp: seal_totp(&ask.app, ask.kv().as_ref(), &user, &making.secret)?,
        totp_step,
        generation: auth.generation,
    };
    ask.propose(ask.actor(user.as_str()), ask.new_id(), command)
        .await?;
    Ok(axum::Json(RecoveryCodes {
        codes: recovery::codes(&making.secret, FIRST_SET),
    }))
}
