//! Invites and resets: a link that sets password and second factor, once.

use crate::ask::{Ask, Fresh};
use crate::body::{Json, Path};
use crate::certs::{addresses, tls_pin};
use crate::error::Failure;
use crate::login::{open_totp, seal_totp};
use crate::records::check_power_over;
use crate::totp;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palisade_core::api::{AcceptInvite, InviteLink, InviteView, NewInvite};
use palisade_core::command::{Command, InvitePurpose};
use palisade_core::name::Name;
use palisade_core::record::{Grant, SecondFactor, UserSpec, Verb};
use palisade_core::state::{self, Invite};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const DEFAULT_TTL_SECS: u64 = 3600;
const TTL_MAX_SECS: u64 = 7 * 86_400;

/// Hex SHA-256: what is kept of a secret that is only compared.
pub(crate) fn sha256_hex(text: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

/// 256 random bits, for a link or a token.
pub(crate) fn random_secret() -> Zeroizing<String> {
    let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()))
}

/// A lifetime that was asked for, in milliseconds.
pub(crate) fn ttl_ms(asked_secs: u64, default_secs: u64, max_secs: u64) -> Result<u64, Failure> {
    let secs = if asked_secs == 0 { default_secs } else { asked_secs };
    if secs > max_secs {
        return Err(Failure::invalid(format!(
            "ttl_secs: {secs} is too long, at most {max_secs} ({} days)",
            max_secs / 86_400
        )));
    }
    Ok(secs * 1000)
}

/// `POST /v1/users/{name}/invites`. A newer one makes the older ones void, so that a repetition does no harm.
pub(crate) async fn create(
    ask: Ask,
    Path(name): Path<String>,
    Json(request): Json<NewInvite>,
) -> Result<axum::Json<InviteLink>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let name = Name::parse(&name)?;
    let kv = ask.kv();
    let found = state::record::<UserSpec>(kv.as_ref(), &name)?;
    let labels = found
        .as_ref()
        .map(|user| user.metadata.labels.clone())
        .unwrap_or_default();
    let permit = ask
        .permit(&who, Verb::Update, Grant::User, Some((name.as_str(), &labels)))
        .await?;
    let user = found.ok_or_else(|| Failure::not_found(format!("there is no user {name:?}")))?;
    // Whoever sets another's password can be them: that must not be a way up.
    check_power_over(&ask, &who, &user).await?;
    let now = ask.now();
    let expires = now.plus_ms(ttl_ms(request.ttl_secs, DEFAULT_TTL_SECS, TTL_MAX_SECS)?);
    let had = state::local_auth(kv.as_ref(), &name)?.is_some_and(|auth| !auth.password_hash.is_empty());
    let purpose = if had {
        InvitePurpose::Reset
    } else {
        InvitePurpose::Invite
    };
    let token = random_secret();
    let secret = Zeroizing::new(rand::random::<[u8; totp::SECRET_BYTES]>());
    let command = Command::CreateInvite {
        user: name.clone(),
        purpose,
        token_sha256: sha256_hex(&token),
        totp: seal_totp(&ask.app, kv.as_ref(), &name, secret.as_ref())?,
        expires,
    };
    ask.propose(ask.actor(permit.actor()), ask.new_id(), command)
        .await?;
    let (web_addrs, _) = addresses(kv.as_ref())?;
    let addr = web_addrs.first().map(String::as_str).unwrap_or("localhost");
    let ca_pin = tls_pin(kv.as_ref())?;
    Ok(axum::Json(InviteLink {
        user: name.to_string(),
        // What follows the # is not sent to anybody: it tells the client whom to trust at first contact.
        url: format!("https://{addr}/invite/{}#ca_pin={ca_pin}", *token),
        token: token.to_string(),
        ca_pin,
        expires,
    }))
}

/// The invite that a token opens. Wrong, used and expired ones are not told apart.
pub(crate) async fn open(ask: &Ask, token: &str) -> Result<(String, Invite), Failure> {
    if !ask.app.tokens.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    if token.len() > 128 {
        return Err(Failure::bad_token());
    }
    ask.fresh(Fresh::Linear).await?;
    let hash = sha256_hex(token);
    let invite = state::invite(ask.kv().as_ref(), &hash)?;
    let invite = invite.filter(|invite| invite.expires > ask.now());
    Ok((hash, invite.ok_or_else(Failure::bad_token)?))
}

/// `GET /v1/invites/{token}`.
pub(crate) async fn view(ask: Ask, Path(token): Path<String>) -> Result<axum::Json<InviteView>, Failure> {
    let (_, invite) = open(&ask, &token).await?;
    let kv = ask.kv();
    let cluster = state::cluster(kv.as_ref())?
        .map(|c| c.name.to_string())
        .unwrap_or_default();
    let secret = open_totp(&ask.app, kv.as_ref(), &invite.user, &invite.totp)?;
    Ok(axum::Json(InviteView {
        user: invite.user.to_string(),
        totp_secret: totp::base32(&secret),
        totp_uri: totp::uri(&cluster, invite.user.as_str(), &secret),
        second_factor: state::auth_preference(kv.as_ref())?.second_factor == SecondFactor::Totp,
        cluster,
    }))
}

/// `POST /v1/invites/{token}`.
pub(crate) async fn accept(
    ask: Ask,
    Path(token): Path<String>,
    Json(request): Json<AcceptInvite>,
) -> Result<StatusCode, Failure> {
    let (password, code) = (Zeroizing::new(request.password), request.code);
    crate::passwords::check_new(&password)?;
    // The id binds the token's hash alone: a password must never be among what the log keeps.
    let token_sha256 = sha256_hex(&token);
    let id = ask.id_for("", &[b"accept", token_sha256.as_bytes()]);
    let (_, invite) = match open(&ask, &token).await {
        Ok(opened) => opened,
        Err(failure) => {
            let gone = state::invite(ask.kv().as_ref(), &token_sha256)?.is_none();
            if !gone || !ask.may_be_repeated() {
                return Err(failure);
            }
            // Used already: by this very request, if its answer was lost. The log knows, and refuses any other.
            let command = Command::AcceptInvite {
                token_sha256,
                password_hash: String::new(),
                totp_step: 0,
            };
            ask.propose(ask.actor(""), id, command).await?;
            return Ok(StatusCode::NO_CONTENT);
        }
    };
    let kv = ask.kv();
    let secret = open_totp(&ask.app, kv.as_ref(), &invite.user, &invite.totp)?;
    let step = totp::matching_step(&secret, &code, ask.now().secs());
    let totp_step = match (state::auth_preference(kv.as_ref())?.second_factor, step) {
        (_, Some(step)) => step,
        (SecondFactor::Off, None) if code.is_empty() => 0,
        (SecondFactor::Off | SecondFactor::Totp, None) => {
            return Err(Failure::invalid(
                "the code is not the present one of this secret: check the clock of the device that made it",
            ));
        }
    };
    let password_hash = ask.app.hasher.hash(password).await?;
    let command = Command::AcceptInvite {
        token_sha256,
        password_hash,
        totp_step,
    };
    ask.propose(ask.actor(""), id, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
