//! Passkeys (Web Authentication, Level 3): kept after a confirmation, and good for a session: in the place of a code or,
//! where the cluster allows it, without a password. The log takes each answer only once.

use crate::ask::{Ask, Fresh, Who};
use crate::body::{Json, Path};
use crate::browser::{self, Browser};
use crate::challenge;
use crate::error::Failure;
use crate::login::{Checked, failed, no_sooner};
use axum::http::StatusCode;
use axum::response::Response;
use palisade_core::access::View;
use palisade_core::api::{NewPasskey, PasskeyChallenge, PasskeyLogin, PasskeyRow, Passkeys};
use palisade_core::command::{Command, LoginProof};
use palisade_core::name::Name;
use palisade_core::record::AuthPreferenceSpec;
use palisade_core::state;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::Instant;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, DiscoverableKey, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Uuid, Webauthn, WebauthnBuilder,
};

/// The longest name of a passkey, in characters.
const NAME_MAX: usize = 64;
/// Keep the two questions apart.
const MAKE: &str = "passkey/make";
const LOGIN: &str = "passkey/login";
/// What is remembered while an authenticator is asked.
#[derive(Serialize, Deserialize)]
struct Asked<T> {
    /// The domain and the origin that the challenge was made for.
    rp_id: String,
    origin: String,
    state: T,
}

/// What is remembered while a passkey is made.
#[derive(Serialize, Deserialize)]
struct Making {
    user: Name,
    session: String,
    handle: String,
    registration: PasskeyRegistration,
}

/// The library, for the name under which the pages are open.
fn library(rp_id: &str, origin: &str) -> Result<Webauthn, Failure> {
    let unfit = || {
        Failure::invalid(
            "passkeys need a name, not an address: open the pages under the node's name, as https://name:port",
        )
    };
    let url = Url::parse(origin).map_err(|_| unfit())?;
    if url.domain().is_none() {
        return Err(unfit());
    }
    let builder = WebauthnBuilder::new(rp_id, &url).map_err(|_| {
        Failure::invalid(format!(
            "the pages are open under {origin}, which is not below {rp_id}, the domain of this cluster's passkeys"
        ))
    })?;
    builder
        .rp_name("Palisade")
        .build()
        .map_err(|e| Failure::internal("passkeys", &e))
}

/// The domain and the origin of this request.
fn here(from: &Browser, auth: &AuthPreferenceSpec) -> Result<(String, String), Failure> {
    if !auth.passkeys {
        return Err(Failure::refused(
            "this cluster does not take passkeys: use your password",
        ));
    }
    let host = from.host.as_deref().unwrap_or_default();
    let origin = format!("https://{host}");
    let domain = Url::parse(&origin)
        .ok()
        .and_then(|url| url.domain().map(str::to_owned));
    let rp_id = if auth.rp_id.is_empty() {
        domain.unwrap_or_default()
    } else {
        auth.rp_id.clone()
    };
    Ok((rp_id, origin))
}

/// The options as browsers take them.
fn options<T: Serialize>(challenge: &T) -> Result<Value, Failure> {
    let mut whole = serde_json::to_value(challenge).map_err(|e| Failure::internal("passkeys", &e))?;
    Ok(whole["publicKey"].take())
}

fn credential_id(raw: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(raw))
}

/// `POST /v1/web/passkeys/begin`.
pub(crate) async fn begin(ask: Ask, from: Browser) -> Result<axum::Json<PasskeyChallenge>, Failure> {
    let (view, session) = browser::own(&ask, Fresh::Change).await?;
    browser::just_confirmed(&ask, &session)?;
    let (rp_id, origin) = here(&from, &view.auth)?;
    let user = view.user.metadata.name;
    let kept = state::passkeys(ask.kv().as_ref(), &user)?;
    let handle = match Uuid::parse_str(&kept.handle) {
        Ok(handle) => handle,
        Err(_) => Uuid::from_bytes(rand::random()),
    };
    let others = kept.keys.iter().filter_map(|key| read(&key.credential).ok());
    let others: Vec<_> = others.map(|passkey| passkey.cred_id().clone()).collect();
    let made = library(&rp_id, &origin)?.start_passkey_registration(
        handle,
        user.as_str(),
        user.as_str(),
        Some(others),
    );
    let (challenge, registration) = made.map_err(|e| Failure::internal("passkeys", &e))?;
    let mut options = options(&challenge)?;
    // It is to be found without a name being typed.
    options["authenticatorSelection"]["residentKey"] = "required".into();
    options["authenticatorSelection"]["requireResidentKey"] = true.into();
    let asked = Asked {
        rp_id,
        origin,
        state: Making {
            user,
            session: session.session.id,
            handle: handle.simple().to_string(),
            registration,
        },
    };
    let id = challenge::seal(&ask, MAKE, asked)?;
    Ok(axum::Json(PasskeyChallenge { id, options }))
}

fn read(credential: &[u8]) -> Result<Passkey, Failure> {
    serde_json::from_slice(credential).map_err(|e| Failure::internal("passkeys", &e))
}

/// `POST /v1/web/passkeys/finish`.
pub(crate) async fn finish(ask: Ask, Json(request): Json<NewPasskey>) -> Result<StatusCode, Failure> {
    let (view, session) = browser::own(&ask, Fresh::Change).await?;
    let name = request.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(Failure::invalid(format!("name: 1 to {NAME_MAX} characters")));
    }
    let asked: Asked<Making> = challenge::open(&ask, MAKE, &request.id)?.state;
    let making = asked.state;
    let user = view.user.metadata.name;
    if making.user != user || making.session != session.session.id {
        return Err(Failure::invalid("id: this challenge is another session's"));
    }
    let answer: RegisterPublicKeyCredential = serde_json::from_value(request.credential)
        .map_err(|e| Failure::invalid(format!("credential: {e}")))?;
    let passkey = library(&asked.rp_id, &asked.origin)?
        .finish_passkey_registration(&answer, &making.registration)
        .map_err(|e| Failure::invalid(format!("the passkey is not accepted: {e}")))?;
    let command = Command::AddPasskey {
        user: user.clone(),
        session: making.session,
        handle: making.handle,
        id: credential_id(passkey.cred_id().as_ref()),
        name,
        credential: serde_json::to_vec(&passkey).map_err(|e| Failure::internal("passkeys", &e))?,
    };
    ask.propose(ask.actor(user.as_str()), ask.new_id(), command)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/web/passkeys`.
pub(crate) async fn list(ask: Ask) -> Result<axum::Json<Passkeys>, Failure> {
    let Who::User(view, _) = ask.who(Fresh::Linear).await? else {
        return Err(Failure::refused(
            "the operator at the control socket has no passkeys",
        ));
    };
    let kept = state::passkeys(ask.kv().as_ref(), &view.user.metadata.name)?;
    let rows = kept.keys.into_iter().map(|key| PasskeyRow {
        id: key.id,
        name: key.name,
        created: key.created,
        used: key.used,
    });
    Ok(axum::Json(Passkeys {
        items: rows.collect(),
    }))
}

/// `DELETE /v1/web/passkeys/{id}`.
pub(crate) async fn remove(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let (view, session) = browser::own(&ask, Fresh::Change).await?;
    let user = view.user.metadata.name;
    let kept = state::passkeys(ask.kv().as_ref(), &user)?;
    if !kept.keys.iter().any(|key| key.id == id) {
        return Err(Failure::not_found("you have no such passkey (any more)"));
    }
    let command = Command::RemovePasskey {
        user: user.clone(),
        session: session.session.id,
        id,
    };
    ask.propose(ask.actor(user.as_str()), ask.new_id(), command)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/web/passkeys/login/begin`: nobody is named, so that nobody learns who has passkeys.
pub(crate) async fn login_begin(ask: Ask, from: Browser) -> Result<axum::Json<PasskeyChallenge>, Failure> {
    if !ask.app.logins.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    ask.fresh(Fresh::Decision).await?;
    let auth = state::auth_preference(ask.kv().as_ref())?;
    let (rp_id, origin) = here(&from, &auth)?;
    let begun = library(&rp_id, &origin)?.start_discoverable_authentication();
    let (challenge, state) = begun.map_err(|e| Failure::internal("passkeys", &e))?;
    let asked = Asked { rp_id, origin, state };
    let id = challenge::seal(&ask, LOGIN, asked)?;
    let options = options(&challenge)?;
    Ok(axum::Json(PasskeyChallenge { id, options }))
}

/// `POST /v1/web/passkeys/login/finish`.
pub(crate) async fn login_finish(
    ask: Ask,
    from: Browser,
    Json(request): Json<PasskeyLogin>,
) -> Result<Response, Failure> {
    let began = Instant::now();
    if !ask.app.logins.take(ask.source()) {
        return Err(Failure::rate_limited());
    }
    let answer = match check(&ask, &request).await {
        Ok(checked) => browser::begin(&ask, from, &checked.view, checked.proof, checked.generation).await,
        Err(failure) => Err(failure),
    };
    no_sooner(&ask, began, answer).await
}

/// Checks a passkey that stands alone: whose it is, it says itself. What is wrong goes to the audit log alone.
pub(crate) async fn check(ask: &Ask, answer: &PasskeyLogin) -> Result<Checked, Failure> {
    ask.fresh(Fresh::Linear).await?;
    let (user, proof) = match answered(ask, answer, false)? {
        Ok(found) => found,
        Err((user, why)) => return Err(failed(ask, &user, &why).await),
    };
    let kv = ask.kv();
    let view = View::load(kv.as_ref(), &user)?.filter(|view| !view.user.expired(ask.now()));
    let auth = state::local_auth(kv.as_ref(), &user)?;
    let (Some(view), Some(auth)) = (view, auth) else {
        return Err(failed(ask, user.as_str(), "there is no such user").await);
    };
    Ok(Checked {
        view,
        proof,
        generation: auth.generation,
    })
}

/// Whose passkey answered and what that proves; or who was meant and what is wrong, for the audit log. The state is to be
/// fresh.
pub(crate) fn answered(
    ask: &Ask,
    answer: &PasskeyLogin,
    with_password: bool,
) -> Result<Result<(Name, LoginProof), (String, String)>, Failure> {
    let pending: challenge::Pending<Asked<DiscoverableAuthentication>> =
        challenge::open(ask, LOGIN, &answer.id)?;
    let (issued, asked) = (pending.issued, pending.state);
    let answer: PublicKeyCredential = serde_json::from_value(answer.credential.clone())
        .map_err(|e| Failure::invalid(format!("credential: {e}")))?;
    let kv = ask.kv();
    let library = library(&asked.rp_id, &asked.origin)?;
    let handle = library.identify_discoverable_authentication(&answer);
    let handle = handle
        .map(|(handle, _)| handle.simple().to_string())
        .unwrap_or_default();
    let Some(user) = state::handle_owner(kv.as_ref(), &handle)? else {
        return Ok(Err((String::new(), "the passkey is nobody's".into())));
    };
    let id = credential_id(answer.get_credential_id());
    let kept = state::passkeys(kv.as_ref(), &user)?;
    let Some(key) = kept.keys.iter().find(|key| key.id == id) else {
        return Ok(Err((user.to_string(), "there is no such passkey".into())));
    };
    let mut passkey = read(&key.credential)?;
    let known = DiscoverableKey::from(&passkey);
    let result = match library.finish_discoverable_authentication_v2(&answer, asked.state, &known) {
        Ok(result) => result,
        Err(error) => {
            let why = format!("the passkey's answer is not right: {error}");
            return Ok(Err((user.to_string(), why)));
        }
    };
    passkey.update_credential(&result);
    let credential = serde_json::to_vec(&passkey).map_err(|e| Failure::internal("passkeys", &e))?;
    let proof = LoginProof::Passkey {
        id,
        issued,
        credential,
        with_password,
    };
    Ok(Ok((user, proof)))
}
