//! Records: list, read, create, update, delete. What may be seen and changed is decided for each record; a change
//! never gives away more than the one who makes it holds.

use crate::ask::{Ask, Fresh, Who};
use crate::body::{Path, Query, RecordText};
use crate::error::Failure;
use crate::sessions::row_labels;
use axum::http::StatusCode;
use palisade_core::access::{Refusal, RulePermit, View, check_grant};
use palisade_core::api::Page;
use palisade_core::command::{Command, Expect};
use palisade_core::kv::Kv;
use palisade_core::name::{Login, Name};
use palisade_core::pattern::LabelSelector;
use palisade_core::record::{
    AnyRecord, Kind, Labels, Metadata, Record, RoleSpec, UserSpec, Verb, parse_records,
};
use palisade_core::state;
use palisade_core::time::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

/// Items of a page when none are asked for, and at most.
pub(crate) const PAGE_DEFAULT: usize = 100;
pub(crate) const PAGE_MAX: usize = 1000;
/// Records looked at for one page: conditions of rules may leave most of them out.
const LOOKED_AT_MAX: usize = 5000;
/// A stored value stays well under the 64 KiB that the store takes.
const RECORD_MAX: usize = 48 * 1024;
/// Texts for people.
const TEXT_MAX: usize = 4096;
/// Ten years: a later end is a slip of the keyboard.
const EXPIRES_MAX_MS: u64 = 3650 * 86_400_000;

/// How a list is paged.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paging {
    /// From the page before.
    #[serde(default)]
    #[param(max_length = 100)]
    pub(crate) after: String,
    /// At most so many; 0 for 100.
    #[serde(default)]
    #[param(maximum = 1000)]
    pub(crate) limit: usize,
}

impl Paging {
    /// Items asked for.
    pub(crate) fn limit(&self) -> Result<usize, Failure> {
        match self.limit {
            0 => Ok(PAGE_DEFAULT),
            n if n <= PAGE_MAX => Ok(n),
            _ => Err(Failure::invalid(format!("limit: at most {PAGE_MAX}"))),
        }
    }
}

/// Whether an update may create.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutQuery {
    /// Also where there is none yet.
    #[serde(default)]
    upsert: bool,
}

/// Which revision a deletion means.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    /// That of the record as it was read; 0 for whichever there is.
    #[serde(default)]
    revision: u64,
}

fn kind(word: &str) -> Result<Kind, Failure> {
    Kind::parse(word).map_err(|e| Failure::not_found(e.to_string()))
}

/// The record as the API shows it: hashes of secrets and sealed keys stay behind.
pub(crate) fn shown(mut record: AnyRecord) -> serde_json::Value {
    match &mut record {
        AnyRecord::Token(token) => token.spec.secret_sha256.clear(),
        AnyRecord::Recording(row) => row.spec.sealed_key.clear(),
        AnyRecord::User(_) | AnyRecord::Role(_) | AnyRecord::Host(_) | AnyRecord::Lock(_) => {}
        AnyRecord::CertAuthority(_) | AnyRecord::AuthPreference(_) => {}
        AnyRecord::RecordingConfig(_) | AnyRecord::MaintenanceConfig(_) | AnyRecord::Node(_) => {}
    }
    record.to_json()
}

/// `GET /v1/records/{kind}`.
pub(crate) async fn list(
    ask: Ask,
    Path(word): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<Page>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let kind = kind(&word)?;
    let permit = ask.permit(&who, Verb::List, kind.into(), None).await?;
    let limit = paging.limit()?;
    let (kv, now) = (ask.kv(), ask.now());
    let mut after = paging.after;
    if after.len() > 100 {
        return Err(Failure::invalid("after: not from a page before"));
    }
    let (mut items, mut looked_at) = (Vec::new(), 0);
    loop {
        let from = Some(after.as_str()).filter(|name| !name.is_empty());
        let found = state::any_records(kv.as_ref(), kind, from, limit)?;
        let whole = found.len() < limit;
        for record in found {
            looked_at += 1;
            after = record.metadata().name.to_string();
            if who.sees(&permit, &after, &labels_of(Some(&record)), now) {
                items.push(shown(record));
            }
            if items.len() == limit {
                return Ok(axum::Json(Page { items, next: after }));
            }
        }
        if whole {
            return Ok(axum::Json(Page {
                items,
                next: String::new(),
            }));
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok(axum::Json(Page { items, next: after }));
        }
    }
}

fn missing(kind: Kind, name: &str) -> Failure {
    Failure::not_found(format!("there is no {kind} {name:?}"))
}

/// What conditions of rules can ask about a record: of a recording, the same as where recordings are played.
fn labels_of(record: Option<&AnyRecord>) -> Labels {
    match record {
        None => Labels::new(),
        Some(AnyRecord::Recording(row)) => row_labels(&row.spec),
        Some(other) => other.metadata().labels.clone(),
    }
}

/// `GET /v1/records/{kind}/{name}`.
pub(crate) async fn read(
    ask: Ask,
    Path((word, name)): Path<(String, String)>,
) -> Result<axum::Json<serde_json::Value>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let (kind, name) = (kind(&word)?, Name::parse(&name)?);
    let found = state::any_record(ask.kv().as_ref(), kind, name.as_str())?;
    // Asked before the answer tells whether there is one.
    let labels = labels_of(found.as_ref());
    ask.permit(&who, Verb::Read, kind.into(), Some((name.as_str(), &labels)))
        .await?;
    found
        .map(|record| axum::Json(shown(record)))
        .ok_or_else(|| missing(kind, name.as_str()))
}

/// `POST /v1/records/{kind}`.
pub(crate) async fn create(
    ask: Ask,
    Path(word): Path<String>,
    RecordText(text): RecordText,
) -> Result<(StatusCode, axum::Json<serde_json::Value>), Failure> {
    let who = ask.who(Fresh::Change).await?;
    let kind = kind(&word)?;
    let record = one(&text, kind)?;
    let (name, labels) = (record.metadata().name.clone(), record.metadata().labels.clone());
    let permit = ask
        .permit(&who, Verb::Create, kind.into(), Some((name.as_str(), &labels)))
        .await?;
    check(&ask, &who, &record, None).await?;
    put(&ask, &permit, record, Expect::Absent, &text)
        .await
        .map(|json| (StatusCode::CREATED, json))
}

/// `PUT /v1/records/{kind}/{name}`. With a revision in the metadata, only that one is changed; with `?upsert=true`
/// there need not be one.
pub(crate) async fn update(
    ask: Ask,
    Path((word, name)): Path<(String, String)>,
    Query(query): Query<PutQuery>,
    RecordText(text): RecordText,
) -> Result<axum::Json<serde_json::Value>, Failure> {
    let who = ask.who(Fresh::Change).await?;
    let (kind, name) = (kind(&word)?, Name::parse(&name)?);
    let record = one(&text, kind)?;
    if record.metadata().name != name {
        return Err(Failure::invalid(format!(
            "metadata.name is {:?}, the path says {name:?}: a record is not renamed",
            record.metadata().name
        )));
    }
    let before = state::any_record(ask.kv().as_ref(), kind, name.as_str())?;
    // Both what it was and what it will be must be within the right, or labels would be a way around it.
    let (old, new) = (labels_of(before.as_ref()), record.metadata().labels.clone());
    let mut permit = ask
        .permit(&who, Verb::Update, kind.into(), Some((name.as_str(), &old)))
        .await?;
    permit = ask
        .permit(&who, permit.verb(), kind.into(), Some((name.as_str(), &new)))
        .await?;
    let expect = match (record.metadata().revision, query.upsert) {
        (0, true) => {
            ask.permit(&who, Verb::Create, kind.into(), Some((name.as_str(), &new)))
                .await?;
            Expect::Any
        }
        (0, false) => Expect::Present,
        (revision, _) => Expect::Revision(revision),
    };
    check(&ask, &who, &record, before.as_ref()).await?;
    put(&ask, &permit, record, expect, &text).await
}

/// `DELETE /v1/records/{kind}/{name}`.
pub(crate) async fn delete(
    ask: Ask,
    Path((word, name)): Path<(String, String)>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, Failure> {
    let who = ask.who(Fresh::Change).await?;
    let (kind, name) = (kind(&word)?, Name::parse(&name)?);
    let labels = labels_of(state::any_record(ask.kv().as_ref(), kind, name.as_str())?.as_ref());
    let permit = ask
        .permit(&who, Verb::Delete, kind.into(), Some((name.as_str(), &labels)))
        .await?;
    let expect = match query.revision {
        0 => Expect::Present,
        revision => Expect::Revision(revision),
    };
    let parts: [&[u8]; 4] = [
        b"delete",
        kind.as_str().as_bytes(),
        name.as_str().as_bytes(),
        &query.revision.to_be_bytes(),
    ];
    ask.change(
        &permit,
        &parts,
        Command::DeleteRecord {
            kind,
            name: name.clone(),
            expect,
        },
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn put(
    ask: &Ask,
    permit: &RulePermit,
    record: AnyRecord,
    expect: Expect,
    text: &str,
) -> Result<axum::Json<serde_json::Value>, Failure> {
    let mut answer = record.clone();
    let digest = Sha256::digest(text.as_bytes());
    let parts: [&[u8]; 4] = [
        b"put",
        permit.verb().as_str().as_bytes(),
        record.kind().as_str().as_bytes(),
        &digest,
    ];
    let command = Command::PutRecord {
        record: Box::new(record),
        expect,
    };
    answer.metadata_mut().revision = ask.change(permit, &parts, command).await?;
    Ok(axum::Json(shown(answer)))
}

/// The one record of a body, of the kind that the path says.
fn one(text: &str, kind: Kind) -> Result<AnyRecord, Failure> {
    let mut records = parse_records(text).map_err(|e| Failure::invalid(e.to_string()))?;
    let (Some(record), true) = (records.pop(), records.is_empty()) else {
        return Err(Failure::invalid("the body must hold exactly one record"));
    };
    if record.kind() != kind {
        return Err(Failure::invalid(format!(
            "the body is a {}, the path says {kind}",
            record.kind()
        )));
    }
    Ok(record)
}

/// What every record must keep, and what this person may write.
async fn check(ask: &Ask, who: &Who, record: &AnyRecord, before: Option<&AnyRecord>) -> Result<(), Failure> {
    let now = ask.now();
    check_form(record, now)?;
    match record {
        AnyRecord::Role(role) => check_role(ask, who, role, now).await,
        AnyRecord::User(user) => {
            let before = before
                .cloned()
                .and_then(<UserSpec as palisade_core::record::Spec>::from_any);
            check_user(ask, who, user, before.as_ref(), now).await
        }
        AnyRecord::Lock(_) | AnyRecord::Host(_) | AnyRecord::AuthPreference(_) => Ok(()),
        AnyRecord::RecordingConfig(_) | AnyRecord::MaintenanceConfig(_) => Ok(()),
        AnyRecord::Token(_) | AnyRecord::CertAuthority(_) | AnyRecord::Recording(_) | AnyRecord::Node(_) => {
            Ok(())
        }
    }
}

/// What every record must keep, whoever writes it.
fn check_form(record: &AnyRecord, now: Timestamp) -> Result<(), Failure> {
    let mut faults = form_faults(record, now);
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.remove(0)),
        several => {
            let all: Vec<&str> = faults.iter().map(Failure::message).collect();
            Err(Failure::invalid(format!(
                "{several} faults\n  {}",
                all.join("\n  ")
            )))
        }
    }
}

/// Everything in which a record is not what it must be, whoever writes it.
pub(crate) fn form_faults(record: &AnyRecord, now: Timestamp) -> Vec<Failure> {
    let mut faults = metadata_faults(record.metadata(), now);
    if record.to_json().to_string().len() > RECORD_MAX {
        faults.push(Failure::too_large(format!(
            "the record is larger than {} KiB",
            RECORD_MAX / 1024
        )));
    }
    match record {
        AnyRecord::Lock(lock) if lock.spec.message.len() > TEXT_MAX => faults.push(Failure::invalid(
            format!("spec.message: longer than {TEXT_MAX} bytes"),
        )),
        AnyRecord::Token(_) => faults.push(Failure::invalid(
            "a join token is made with `palctl tokens add`, which shows its secret once",
        )),
        AnyRecord::Role(_) | AnyRecord::User(_) | AnyRecord::Lock(_) | AnyRecord::Host(_) => {}
        AnyRecord::AuthPreference(_) | AnyRecord::RecordingConfig(_) | AnyRecord::MaintenanceConfig(_) => {}
        AnyRecord::CertAuthority(_) | AnyRecord::Recording(_) | AnyRecord::Node(_) => faults.push(
            Failure::invalid(format!("a {} is made by the cluster itself", record.kind())),
        ),
    }
    faults
}

fn metadata_faults(metadata: &Metadata, now: Timestamp) -> Vec<Failure> {
    let mut faults = Vec::new();
    if metadata.description.len() > TEXT_MAX {
        faults.push(Failure::invalid(format!(
            "metadata.description: longer than {TEXT_MAX} bytes"
        )));
    }
    match metadata.expires {
        Some(expires) if expires <= now => faults.push(Failure::invalid(format!(
            "metadata.expires: {expires} is over already"
        ))),
        Some(expires) if expires.since_ms(now) > EXPIRES_MAX_MS => faults.push(Failure::invalid(format!(
            "metadata.expires: {expires} is more than ten years away"
        ))),
        Some(_) | None => {}
    }
    faults
}

async fn above_own(ask: &Ask, who: &Who, target: &str, what: &str) -> Failure {
    ask.audited(who.name(), target, Refusal::GrantAboveOwn(what.to_owned()))
        .await
}

/// Nobody writes a role that allows more than they hold, nor one that they hold themselves.
async fn check_role(ask: &Ask, who: &Who, role: &Record<RoleSpec>, now: Timestamp) -> Result<(), Failure> {
    let (Who::User(view, _), false) = (who, who.holds_all(now)) else {
        return Ok(());
    };
    let target = format!("role/{}", role.metadata.name);
    if view.user.spec.roles.contains(&role.metadata.name) {
        return Err(above_own(ask, who, &target, "you hold this role yourself").await);
    }
    match check_grant(&role.spec, view, now).and_then(|()| check_reach(&role.spec, view, now)) {
        Ok(()) => Ok(()),
        Err(why) => Err(ask.audited(who.name(), &target, why).await),
    }
}

/// Refuses a role that reaches hosts which the one who grants it does not: each login must be held on the same
/// hosts, by a role with the same labels or with all. What labels in other words match is not guessed at.
fn check_reach(granted: &RoleSpec, view: &View, now: Timestamp) -> Result<(), Refusal> {
    let options = view.options(now);
    for (name, wants, holds) in [
        (
            "port forwarding",
            granted.options.port_forwarding,
            options.port_forwarding,
        ),
        (
            "agent forwarding",
            granted.options.forward_agent,
            options.forward_agent,
        ),
    ] {
        if wants == Some(true) && !holds {
            return Err(Refusal::GrantAboveOwn(name.to_owned()));
        }
    }
    let labels = &granted.allow.host_labels;
    if labels.is_empty() {
        return Ok(());
    }
    let live = || view.roles.iter().filter(|own| !own.expired(now));
    let unheld = granted.allow.logins.iter().find(|login| {
        !live().any(|own| {
            let own = &own.spec.allow;
            (own.host_labels == *labels || own.host_labels == LabelSelector::any())
                && own.logins.iter().any(|held| held.as_str() == login.as_str())
        })
    });
    match unheld {
        None => Ok(()),
        Some(login) => Err(Refusal::GrantAboveOwn(format!(
            "login {} on those hosts",
            login.as_str()
        ))),
    }
}

/// Nobody changes their own roles or traits, nor gives others what they do not hold.
async fn check_user(
    ask: &Ask,
    who: &Who,
    user: &Record<UserSpec>,
    before: Option<&Record<UserSpec>>,
    now: Timestamp,
) -> Result<(), Failure> {
    if who.holds_all(now) {
        return Ok(());
    }
    let target = format!("user/{}", user.metadata.name);
    if user.metadata.name.as_str() == who.name() && before.is_none_or(|before| before.spec != user.spec) {
        return Err(above_own(ask, who, &target, "your own roles and traits").await);
    }
    if let Some(before) = before {
        check_power_over(ask, who, before).await?;
    }
    check_power_over(ask, who, user).await
}

/// Refuses to touch a user who may do more than the one who asks: by their roles, and by the logins that their
/// traits make of those roles.
pub(crate) async fn check_power_over(ask: &Ask, who: &Who, user: &Record<UserSpec>) -> Result<(), Failure> {
    let now = ask.now();
    let (Who::User(view, _), false) = (who, who.holds_all(now)) else {
        return Ok(());
    };
    let target = format!("user/{}", user.metadata.name);
    let kv = ask.kv();
    let own = view.principals(now);
    for name in &user.spec.roles {
        let Some(role) = role(kv.as_ref(), name)? else {
            continue;
        };
        let above = check_grant(&role.spec, view, now).and_then(|()| check_reach(&role.spec, view, now));
        if let Err(why) = above {
            return Err(ask.audited(who.name(), &target, why).await);
        }
        let templates = role.spec.allow.logins.iter();
        let expanded = templates.flat_map(|template| template.expand(&user.spec.traits));
        let mut logins = expanded.filter_map(|login| Login::parse(login.as_ref()).ok());
        if let Some(login) = logins.find(|login| !own.contains(login)) {
            return Err(above_own(ask, who, &target, &format!("login {login}")).await);
        }
    }
    Ok(())
}

fn role(kv: &dyn Kv, name: &Name) -> Result<Option<Record<RoleSpec>>, Failure> {
    Ok(state::record::<RoleSpec>(kv, name)?)
}
