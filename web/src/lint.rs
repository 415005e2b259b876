//! What is wrong with a record's text, by the rules that writing it keeps: nothing is changed.

use crate::ask::{Ask, Fresh};
use crate::body::{Json, bounded};
use crate::error::Failure;
use crate::records::form_faults;
use palisade_core::api::{Lint, LintFault, LintReply};
use palisade_core::kv::Kv;
use palisade_core::record::{AnyRecord, RoleSpec, read_record};
use palisade_core::state;
use palisade_core::text::{Document, TextError, documents};
use palisade_core::time::Timestamp;

/// `POST /v1/lint`.
pub(crate) async fn lint(ask: Ask, Json(request): Json<Lint>) -> Result<axum::Json<LintReply>, Failure> {
    ask.who(Fresh::Decision).await?;
    bounded(&request.text)?;
    looked_at(ask.kv().as_ref(), &request.text, ask.now()).map(axum::Json)
}

fn looked_at(kv: &dyn Kv, text: &str, now: Timestamp) -> Result<LintReply, Failure> {
    let mut reply = LintReply {
        faults: Vec::new(),
        kind: String::new(),
        name: String::new(),
    };
    let all = match documents(text) {
        Ok(all) => all,
        // Where the text cannot be taken apart there is nothing further to be looked at.
        Err(error) => {
            reply.faults.push(fault(error));
            return Ok(reply);
        }
    };
    let Some(document) = all.first() else {
        reply.faults.push(at_start("there is no record here"));
        return Ok(reply);
    };
    match read_record(document) {
        Err(faults) => reply.faults.extend(faults.into_iter().map(fault)),
        Ok(record) => {
            reply.kind = record.kind().to_string();
            reply.name = record.metadata().name.to_string();
            let form = form_faults(&record, now);
            let form = form.iter().map(|failure| placed(document, failure.message()));
            reply.faults.extend(form);
            reply.faults.extend(missing_roles(kv, document, &record)?);
        }
    }
    if let Some(second) = all.get(1) {
        let (line, column) = second.place();
        reply.faults.push(LintFault {
            line: line as u64,
            column: column as u64,
            message: "a second record begins here: one at a time is written".into(),
            hint: String::new(),
        });
    }
    reply.faults.sort_by_key(|fault| (fault.line, fault.column));
    Ok(reply)
}

fn fault(error: TextError) -> LintFault {
    LintFault {
        line: error.line as u64,
        column: error.column as u64,
        message: error.message,
        hint: error.nearest.unwrap_or_default(),
    }
}

fn at_start(message: &str) -> LintFault {
    LintFault {
        line: 1,
        column: 1,
        message: message.to_owned(),
        hint: String::new(),
    }
}

/// A message that begins with a field's path is put where that field is.
fn placed(document: &Document, message: &str) -> LintFault {
    let path = message.split_once(": ").map(|(path, _)| path);
    let words = path.filter(|path| path.starts_with("metadata.") || path.starts_with("spec."));
    match words {
        Some(path) => {
            let steps: Vec<&str> = path.split('.').collect();
            let rest = &message[path.len() + 2..];
            fault(document.error_at(&steps, rest, &[]))
        }
        None => at_start(message),
    }
}

/// Roles that a user would hold and that do not exist.
fn missing_roles(kv: &dyn Kv, document: &Document, record: &AnyRecord) -> Result<Vec<LintFault>, Failure> {
    let AnyRecord::User(user) = record else {
        return Ok(Vec::new());
    };
    let mut faults = Vec::new();
    for (n, role) in user.spec.roles.iter().enumerate() {
        if state::record::<RoleSpec>(kv, role)?.is_some() {
            continue;
        }
        let known = state::records::<RoleSpec>(kv)?;
        let known: Vec<&str> = known.iter().map(|role| role.metadata.name.as_str()).collect();
        let mut found = fault(document.error_at(
            &["spec", "roles", &n.to_string()],
            &format!("there is no role {role}"),
            &[],
        ));
        let near = palisade_core::text::nearest(role.as_str(), known.iter().copied());
        found.hint = near.unwrap_or_default().to_owned();
        faults.push(found);
    }
    Ok(faults)
}
