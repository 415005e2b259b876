//! Sessions of browsers: a cookie that any node knows, and what a page has to show beside it before it may change
//! anything. The cluster keeps both as hashes; a session ends by time, by idleness, by a lock, by a reset, or by hand.

use crate::ask::{Ask, Fresh, Who};
use crate::body::{Json, Path};
use crate::certs::addresses;
use crate::cluster::VERSION;
use crate::error::Failure;
use crate::invites::{random_secret, sha256_hex};
use crate::login::{Beside, Checked, admit, check, failed, no_sooner};
use crate::passkeys;
use crate::passwords::check_new;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use palisade_core::access::View;
use palisade_core::api::{
    BrowserLogin, BrowserSession as Page, BrowserSessionRow, BrowserSessions, CSRF_HEADER, Confirm,
    NewPassword, WaysIn,
};
use palisade_core::command::{Command, LoginProof, NewBrowserSession, RefusedCommand};
use palisade_core::record::{Grant, NodeSpec, SecondFactor, Verb};
use palisade_core::state::{self, BrowserSession, CONFIRMED_MS};
use palisade_core::time::Timestamp;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Instant;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The cookie's name. The prefix makes browsers take it from this host alone, over TLS alone, for every path.
const COOKIE: &str = "__Host-palisade";
/// A session's use is written down this often at most.
const SEEN_EVERY_MS: u64 = 5 * 60_000;
/// What is left of a browser's own description of itself.
const AGENT_MAX: usize = 60;

/// What a browser shows for itself.
#[derive(Clone)]
pub(crate) struct Shown {
    id: String,
    proof: Proof,
}

/// What comes with the id of a session.
#[derive(Clone)]
enum Proof {
    /// The cookie; `page` is what the page adds to it.
    Cookie {
        secret: Zeroizing<String>,
        page: Option<Zeroizing<String>>,
        /// Whether the request can change something.
        changes: bool,
    },
    /// What the page knows, at a node that does not get the cookie.
    Page(Zeroizing<String>),
}

impl Shown {
    /// The id of the session; no secret.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What a request's headers show.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Option<Shown> {
        let cookies = headers.get_all(header::COOKIE).iter();
        let pairs = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(';'));
        let mut ours = pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == COOKIE);
        let (_, value) = ours.next()?;
        let (id, secret) = value.split_once('.')?;
        let page = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
        Some(Shown {
            id: id.to_owned(),
            proof: Proof::Cookie {
                secret: Zeroizing::new(secret.to_owned()),
                page: page.map(|page| Zeroizing::new(page.to_owned())),
                changes: method != Method::GET && method != Method::HEAD,
            },
        })
    }

    /// The cookie of a WebSocket, with what the page says in its first message: that is asked for as for a change.
    pub(crate) fn and_page(self, page: &str) -> Shown {
        let proof = match self.proof {
            Proof::Cookie { secret, .. } => Proof::Cookie {
                secret,
                page: Some(Zeroizing::new(page.to_owned())),
                changes: true,
            },
            page @ Proof::Page(_) => page,
        };
        Shown { id: self.id, proof }
    }

    /// What the page of another node of this cluster shows: [`Page::resume`].
    pub(crate) fn resumes(text: &str) -> Option<Shown> {
        let (id, page) = text.split_once('.')?;
        Some(Shown {
            id: id.to_owned(),
            proof: Proof::Page(Zeroizing::new(page.to_owned())),
        })
    }
}

fn hash_is(text: &str, sha256: &str) -> bool {
    sha256_hex(text).as_bytes().ct_eq(sha256.as_bytes()).into()
}

/// What the page knows: made of the cookie's secret, and no way back to it.
fn page_key(id: &str, secret: &str) -> Zeroizing<String> {
    Zeroizing::new(sha256_hex(&format!("palisade page {id} {secret}")))
}

/// The session that is shown, if it is one.
pub(crate) async fn open(ask: &Ask, shown: &Shown) -> Result<BrowserSession, Failure> {
    let ended = || Failure::unauthenticated("this session has ended: log in again");
    // Nobody gets a key of the state's by choosing an id.
    if shown.id.len() != 32 || !shown.id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ended());
    }
    let mut found = state::browser_session(ask.kv().as_ref(), &shown.id)?;
    if found.is_none() {
        // It may have begun a moment ago, at another node.
        ask.fresh(Fresh::Linear).await?;
        found = state::browser_session(ask.kv().as_ref(), &shown.id)?;
    }
    let session = found.ok_or_else(ended)?;
    let now = ask.now();
    let idle_ms = u64::try_from(ask.app.api.config.browser_idle.as_millis()).unwrap_or(u64::MAX);
    let idle = now.since_ms(session.seen) > idle_ms;
    if session.session.expires <= now || idle {
        return Err(ended());
    }
    match &shown.proof {
        Proof::Cookie {
            secret,
            page,
            changes,
        } => {
            if !hash_is(secret, &session.session.secret_sha256) {
                return Err(ended());
            }
            let proven = page
                .as_ref()
                .is_some_and(|page| hash_is(page, &session.session.page_sha256));
            if *changes && !proven {
                return Err(Failure::refused(format!(
                    "the header {CSRF_HEADER} is missing or wrong: reload the page"
                )));
            }
        }
        Proof::Page(page) => {
            if !hash_is(page, &session.session.page_sha256) {
                return Err(ended());
            }
        }
    }
    if now.since_ms(session.seen) > SEEN_EVERY_MS.min(idle_ms / 2) {
        seen(ask, &session);
    }
    Ok(session)
}

/// Writes down that a session is used. Nobody waits for it, and one that is not written is written the next time.
fn seen(ask: &Ask, session: &BrowserSession) {
    let (consensus, actor, id) = (
        ask.app.api.consensus.clone(),
        ask.actor(session.user.as_str()),
        ask.new_id(),
    );
    let command = Command::BrowserSeen {
        user: session.user.clone(),
        session: session.session.id.clone(),
    };
    tokio::spawn(async move {
        if let Err(error) = consensus.propose(actor, id, command).await {
            tracing::debug!(%error, "a session's use could not be written down");
        }
    });
}

/// The session that asks, and who that is.
pub(crate) async fn own(ask: &Ask, fresh: Fresh) -> Result<(Box<View>, BrowserSession), Failure> {
    let (Some(shown), true) = (&ask.browser, ask.is_browser()) else {
        // Whoever shows something else is told first what is wrong with that.
        ask.who(fresh).await?;
        return Err(Failure::refused("this is for a browser's session alone"));
    };
    match ask.who_shows(shown, fresh).await? {
        (Who::User(view, _), session) => Ok((view, session)),
        (Who::Operator, _) => Err(Failure::refused("the control socket has no session")),
    }
}

/// Refuses what is done only a short time after whoever sits there proved who they are: said before anything dear is worked
/// out, and asked again by the log.
pub(crate) fn just_confirmed(ask: &Ask, session: &BrowserSession) -> Result<(), Failure> {
    if ask.now().since_ms(session.confirmed) > CONFIRMED_MS {
        return Err(RefusedCommand::NotConfirmed.into());
    }
    Ok(())
}

/// What a request says of the browser and of the address that it was opened under.
pub(crate) struct Browser {
    /// The name and the port under which the node was asked.
    pub(crate) host: Option<String>,
    /// The program, in a few words and by its own account.
    agent: String,
}

impl<S: Sync> FromRequestParts<S> for Browser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // HTTP/2 carries it in the request line, HTTP/1.1 in a header.
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let header = || {
            parts
                .headers
                .get(header::HOST)
                .and_then(|value| value.to_str().ok())
        };
        Ok(Browser {
            host: authority.or_else(header).map(str::to_owned),
            agent: browser_words(&parts.headers),
        })
    }
}

/// `GET /v1/web/ways`.
pub(crate) async fn ways(ask: Ask) -> Result<axum::Json<WaysIn>, Failure> {
    let kv = ask.kv();
    let auth = state::auth_preference(kv.as_ref())?;
    Ok(axum::Json(WaysIn {
        cluster: state::cluster(kv.as_ref())?
            .map(|c| c.name.to_string())
            .unwrap_or_default(),
        version: VERSION.to_owned(),
        second_factor: auth.second_factor == SecondFactor::Totp,
        passkeys: auth.passkeys,
        passwordless: auth.passwordless,
    }))
}

/// `POST /v1/web/login`.
pub(crate) async fn login(
    ask: Ask,
    from: Browser,
    Json(request): Json<BrowserLogin>,
) -> Result<Response, Failure> {
    let began = Instant::now();
    let BrowserLogin {
        user,
        password,
        code,
        passkey,
    } = request;
    let (password, code) = (Zeroizing::new(password), Zeroizing::new(code));
    admit(&ask, &password)?;
    let beside = passkey.as_ref().map_or(Beside::Code(&code), Beside::Passkey);
    let answer = match check(&ask, &user, password, beside).await {
        Ok(checked) => begin(&ask, from, &checked.view, checked.proof, checked.generation).await,
        Err(failure) => Err(failure),
    };
    no_sooner(&ask, began, answer).await
}

/// Begins a session for somebody who was found to be who they say.
pub(crate) async fn begin(
    ask: &Ask,
    from: Browser,
    view: &View,
    proof: LoginProof,
    generation: u64,
) -> Result<Response, Failure> {
    let now = ask.now();
    let lasts = view
        .auth
        .default_session_ttl
        .ms()
        .min(view.options(now).max_session_ttl.ms());
    let id = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 16]>());
    let secret = random_secret();
    let page = page_key(&id, &secret);
    let session = NewBrowserSession {
        id: id.clone(),
        secret_sha256: sha256_hex(&secret),
        page_sha256: sha256_hex(&page),
        expires: now.plus_ms(lasts),
        agent: from.agent,
    };
    let (user, expires) = (view.user.metadata.name.clone(), session.expires);
    let command = Command::BrowserLogin {
        user: user.clone(),
        proof,
        generation,
        session,
    };
    // Never under a client's id: its answer is a secret that a repetition could not be given.
    ask.propose(ask.actor(user.as_str()), ask.new_id(), command)
        .await?;
    // The page's next request may read this node's state as it is.
    ask.fresh(Fresh::Linear).await?;
    let Some(view) = View::load(ask.kv().as_ref(), &user)? else {
        return Err(Failure::bad_login());
    };
    let shown = page_of(ask, &view, &id, &page, now, expires)?;
    let mut response = axum::Json(shown).into_response();
    let lasts_secs = lasts / 1000;
    let cookie = Zeroizing::new(format!(
        "{COOKIE}={id}.{}; {ATTRIBUTES}; Max-Age={lasts_secs}",
        *secret
    ));
    set_cookie(&mut response, &cookie)?;
    Ok(response)
}

const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

fn set_cookie(response: &mut Response, cookie: &str) -> Result<(), Failure> {
    let mut value = HeaderValue::from_str(cookie).map_err(|e| Failure::internal("cookie", &e))?;
    value.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(())
}

/// What is told of a session to its own page.
fn page_of(
    ask: &Ask,
    view: &View,
    id: &str,
    page: &str,
    created: Timestamp,
    expires: Timestamp,
) -> Result<Page, Failure> {
    let (kv, now) = (ask.kv(), ask.now());
    let node = ask.app.api.consensus.node_id();
    let nodes = state::records::<NodeSpec>(kv.as_ref())?;
    let here = nodes.iter().find(|record| record.spec.id == node);
    let cluster = state::cluster(kv.as_ref())?
        .map(|c| c.name.to_string())
        .unwrap_or_default();
    let (web_addrs, _) = addresses(kv.as_ref())?;
    Ok(Page {
        id: id.to_owned(),
        user: view.user.metadata.name.to_string(),
        cluster,
        version: VERSION.to_owned(),
        node: here
            .map(|record| record.metadata.name.to_string())
            .unwrap_or_default(),
        roles: view.user.spec.roles.iter().map(ToString::to_string).collect(),
        logins: view.principals(now).iter().map(ToString::to_string).collect(),
        csrf: page.to_owned(),
        resume: format!("{id}.{page}"),
        created,
        expires,
        second_factor: view.auth.second_factor == SecondFactor::Totp,
        passkeys: view.auth.passkeys,
        passwordless: view.auth.passwordless,
        web_addrs: web_addrs.iter().map(|addr| format!("https://{addr}")).collect(),
        may: abilities(view, now),
    })
}

/// For each resource and verb why it is not allowed; an empty text where it is.
fn abilities(view: &View, now: Timestamp) -> BTreeMap<String, BTreeMap<String, String>> {
    let of = |grant: Grant| {
        let verbs = [Verb::List, Verb::Read, Verb::Create, Verb::Update, Verb::Delete];
        let why = |verb| crate::ask::why_not(view, verb, grant, now).unwrap_or_default();
        verbs
            .into_iter()
            .map(|verb| (verb.as_str().to_owned(), why(verb)))
            .collect()
    };
    Grant::EACH
        .into_iter()
        .map(|grant| (palisade_core::access::grant_word(grant).to_owned(), of(grant)))
        .collect()
}

/// `GET /v1/web/session`.
pub(crate) async fn session(ask: Ask) -> Result<axum::Json<Page>, Failure> {
    let (view, session) = own(&ask, Fresh::Decision).await?;
    let Some(Shown {
        proof: Proof::Cookie { secret, .. },
        ..
    }) = &ask.browser
    else {
        return Err(Failure::unauthenticated("this needs the session's cookie"));
    };
    let id = &session.session.id;
    let page = page_key(id, secret);
    page_of(&ask, &view, id, &page, session.created, session.session.expires).map(axum::Json)
}

/// `POST /v1/web/logout`.
pub(crate) async fn logout(ask: Ask) -> Result<Response, Failure> {
    let (view, session) = own(&ask, Fresh::Change).await?;
    end(&ask, &view, session.session.id).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, &format!("{COOKIE}=; {ATTRIBUTES}; Max-Age=0"))?;
    let clear = HeaderValue::from_static("\"cache\", \"storage\"");
    response
        .headers_mut()
        .insert(HeaderName::from_static("clear-site-data"), clear);
    Ok(response)
}

async fn end(ask: &Ask, view: &View, session: String) -> Result<(), Failure> {
    let user = view.user.metadata.name.clone();
    let id = ask.id_for(user.as_str(), &[b"browser logout", session.as_bytes()]);
    let command = Command::BrowserLogout {
        user: user.clone(),
        session,
    };
    ask.propose(ask.actor(user.as_str()), id, command).await?;
    Ok(())
}

/// `GET /v1/web/sessions`.
pub(crate) async fn list(ask: Ask) -> Result<axum::Json<BrowserSessions>, Failure> {
    let Who::User(view, _) = ask.who(Fresh::Linear).await? else {
        return Err(Failure::refused(
            "the operator at the control socket has no sessions",
        ));
    };
    let (now, user) = (ask.now(), &view.user.metadata.name);
    let here = ask
        .browser
        .as_ref()
        .filter(|_| ask.is_browser())
        .map(|shown| shown.id.as_str());
    let mut all = state::browser_sessions(ask.kv().as_ref(), user)?;
    all.retain(|one| one.session.expires > now && view.check_serial(one.serial).is_ok());
    let row = |one: BrowserSession| BrowserSessionRow {
        current: here == Some(one.session.id.as_str()),
        id: one.session.id,
        created: one.created,
        seen: one.seen,
        expires: one.session.expires,
        addr: one.addr,
        agent: one.session.agent,
    };
    Ok(axum::Json(BrowserSessions {
        items: all.into_iter().rev().map(row).collect(),
    }))
}

/// `DELETE /v1/web/sessions/{id}`.
pub(crate) async fn revoke(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let Who::User(view, _) = ask.who(Fresh::Change).await? else {
        return Err(Failure::refused(
            "the operator at the control socket has no sessions",
        ));
    };
    let all = state::browser_sessions(ask.kv().as_ref(), &view.user.metadata.name)?;
    // Others' sessions are not told apart from ones that never were.
    if !all.iter().any(|one| one.session.id == id) {
        return Err(Failure::not_found("you have no such session (any more)"));
    }
    end(&ask, &view, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/web/confirm`.
pub(crate) async fn confirm(ask: Ask, Json(request): Json<Confirm>) -> Result<StatusCode, Failure> {
    let began = Instant::now();
    let (password, code) = (Zeroizing::new(request.password), Zeroizing::new(request.code));
    let (view, session) = own(&ask, Fresh::Change).await?;
    admit(&ask, &password)?;
    let user = view.user.metadata.name.clone();
    let checked = match &request.passkey {
        Some(alone) if password.is_empty() => passkeys::check(&ask, alone).await,
        Some(beside) => check(&ask, user.as_str(), password, Beside::Passkey(beside)).await,
        None => check(&ask, user.as_str(), password, Beside::Code(&code)).await,
    };
    let answer = match checked {
        Ok(checked) if checked.view.user.metadata.name == user => {
            confirmed(&ask, checked, session.session.id).await
        }
        Ok(_) => Err(failed(&ask, user.as_str(), "the passkey is another user's").await),
        Err(failure) => Err(failure),
    };
    match no_sooner(&ask, began, answer).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        // Not a matter of the session: a page that took it for one would throw the person out.
        Err(failure) if failure.status() == StatusCode::UNAUTHORIZED => Err(Failure::refused(
            "the password, the code or the passkey is wrong; a code works once",
        )),
        Err(failure) => Err(failure),
    }
}

async fn confirmed(ask: &Ask, checked: Checked, session: String) -> Result<(), Failure> {
    let user = checked.view.user.metadata.name;
    let command = Command::BrowserConfirm {
        user: user.clone(),
        session,
        proof: checked.proof,
        generation: checked.generation,
    };
    ask.propose(ask.actor(user.as_str()), ask.new_id(), command)
        .await?;
    Ok(())
}

/// `PUT /v1/web/password`.
pub(crate) async fn set_password(ask: Ask, Json(request): Json<NewPassword>) -> Result<StatusCode, Failure> {
    let password = Zeroizing::new(request.password);
    let (view, session) = own(&ask, Fresh::Change).await?;
    check_new(&password)?;
    // Hashing is dear: not for somebody whom the log would refuse anyway.
    just_confirmed(&ask, &session)?;
    let user = view.user.metadata.name;
    let auth = state::local_auth(ask.kv().as_ref(), &user)?
        .ok_or_else(|| Failure::refused("you have no password here: your identity provider keeps it"))?;
    let password_hash = ask.app.hasher.hash(password).await?;
    let command = Command::SetPassword {
        user: user.clone(),
        session: session.session.id,
        password_hash,
        generation: auth.generation,
    };
    ask.propose(ask.actor(user.as_str()), ask.new_id(), command)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A browser in a few words, of its own lengthy description.
fn browser_words(headers: &HeaderMap) -> String {
    let text = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    let Some(text) = text else {
        return "something that does not say".into();
    };
    // Whoever pretends to be several is named by the last that it adds.
    let browsers = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let browser = browsers
        .iter()
        .find_map(|(mark, name)| text.contains(mark).then_some(*name));
    let system = systems
        .iter()
        .find_map(|(mark, name)| text.contains(mark).then_some(*name));
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => text.chars().filter(|c| !c.is_control()).take(AGENT_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for (name, value) in pairs {
            all.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("a value"),
            );
        }
        all
    }

    #[test]
    fn a_browser_is_named_in_a_few_words() {
        for (agent, words) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141 Safari/537.36 Edg/141",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18 Mobile Safari/604",
                "Safari on iPhone",
            ),
            ("curl/8.5", "curl/8.5"),
        ] {
            assert_eq!(browser_words(&headers(&[("user-agent", agent)])), words);
        }
        let long = "x".repeat(1000);
        assert_eq!(browser_words(&headers(&[("user-agent", &long)])).len(), AGENT_MAX);
    }

    #[test]
    fn only_our_cookie_is_read_and_only_whole() {
        let get = |cookie: &str| Shown::of(&Method::GET, &headers(&[("cookie", cookie)]));
        assert!(get("a=b; __Host-palisade=00.11; c=d").is_some_and(|shown| shown.id == "00"));
        for cookie in [
            "",
            "a=b",
            "palisade=00.11",
            "__Host-palisade",
            "__Host-palisade=0011",
            "x__Host-palisade=0.1",
        ] {
            assert!(get(cookie).is_none(), "{cookie:?}");
        }
    }

    #[test]
    fn the_page_knows_nothing_that_gives_the_cookie_away() {
        let page = page_key("id", "secret");
        assert!(!page.contains("secret"));
        assert_ne!(*page, *page_key("id", "secre"));
        assert_ne!(*page, *page_key("other", "secret"));
        assert_ne!(sha256_hex(&page), sha256_hex("secret"));
    }
}
