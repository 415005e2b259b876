//! What goes wrong, as HTTP. The one place that chooses a status; texts are for people and hold nothing internal.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use palisade_ca::AuthorityFault;
use palisade_core::access::Refusal;
use palisade_core::api::{ApiError, ErrorCode};
use palisade_core::audit_log::AuditFault;
use palisade_core::command::RefusedCommand;
use palisade_core::kv::KvFault;
use palisade_core::name::BadName;
use palisade_core::ports::{OperationFailed, Unavailable};

/// An answer that is not the one asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    retry_after_secs: Option<u64>,
}

impl Failure {
    fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Failure {
            status,
            code,
            message: shown(&message.into()),
            retry_after_secs: None,
        }
    }

    fn retry_after(mut self, secs: u64) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    /// The request makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, ErrorCode::Invalid, message)
    }

    /// No or no usable credential.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message)
    }

    /// What every failed login answers, whatever was wrong.
    pub(crate) fn bad_login() -> Self {
        Failure::unauthenticated(
            "wrong user name, password or code; a code works once, and after several failures you have to wait some minutes",
        )
    }

    /// What every failed use of an invite answers.
    pub(crate) fn bad_token() -> Self {
        Failure::refused(RefusedCommand::BadToken.to_string())
    }

    /// Not allowed.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::FORBIDDEN, ErrorCode::Refused, message)
    }

    /// Not there, or not to be seen.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
    }

    /// A session that has ended, or that nothing brings back.
    pub(crate) fn session_over(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::NOT_FOUND, ErrorCode::SessionOver, message)
    }

    /// A session that this node has not heard of.
    pub(crate) fn session_unknown(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::NOT_FOUND, ErrorCode::SessionUnknown, message)
    }

    /// The user has as many terminals open as they may.
    pub(crate) fn too_many_terminals(most: usize) -> Self {
        let message = format!("you have {most} terminals open at this node, and that is the most: close one");
        Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TooManyTerminals,
            message,
        )
    }

    /// Somebody was faster.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::CONFLICT, ErrorCode::Conflict, message)
    }

    /// The method does not fit the path.
    pub(crate) fn method() -> Self {
        Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Invalid,
            "this path does not take this method",
        )
    }

    /// The body is of another type than the route takes.
    pub(crate) fn media_type(wanted: &str) -> Self {
        Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::Invalid,
            format!("the body must be of type {wanted}"),
        )
    }

    /// More than the route takes.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, message)
    }

    /// Too many tries.
    pub(crate) fn rate_limited() -> Self {
        Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::RateLimited,
            "too many tries: wait a few seconds",
        )
        .retry_after(5)
    }

    /// The node is busy or cut off, and nothing happened.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message).retry_after(1)
    }

    /// Our own fault: the cause goes to the node's log, never to the caller.
    pub(crate) fn internal(what: &'static str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(what, cause = %cause, "a request failed");
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::Unavailable,
            "the node could not do this: its log says why",
        )
    }

    /// What failed, for people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What is said of it.
    pub(crate) fn into_error(self) -> ApiError {
        ApiError {
            code: self.code.as_str().to_owned(),
            message: self.message,
        }
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

/// Control characters of hostile input do not reach terminals and logs.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(4096));
    for c in text.chars() {
        if out.len() > 4000 {
            out.push('…');
            break;
        }
        let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if (c.is_control() && c != '\n') || hides {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = ApiError {
            code: self.code.as_str().to_owned(),
            message: self.message,
        };
        let mut response = (self.status, axum::Json(error)).into_response();
        if let Some(secs) = self.retry_after_secs {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

impl From<Unavailable> for Failure {
    fn from(why: Unavailable) -> Self {
        match why {
            Unavailable::NoQuorum(_) => Failure::unavailable(
                "the cluster has no quorum right now: try again, or ask at a node itself with `palctl status`",
            ),
            Unavailable::Unknown(_) => Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::UnknownOutcome,
                "it is not known yet whether this happened: repeat it with the same x-request-id to find out",
            )
            .retry_after(1),
            Unavailable::Overloaded(why) => Failure::unavailable(format!(
                "the node cannot take this now and nothing happened: {why}"
            )),
            Unavailable::Fault(why) => Failure::internal("state", &why),
        }
    }
}

impl From<KvFault> for Failure {
    fn from(why: KvFault) -> Self {
        Failure::internal("state", &why)
    }
}

impl From<AuditFault> for Failure {
    fn from(why: AuditFault) -> Self {
        match why {
            AuditFault::State(fault) => fault.into(),
            AuditFault::Lost { page, why } => {
                tracing::error!(%page, %why, "an audit page cannot be read");
                Failure::unavailable(format!(
                    "audit {page} is on no node that answers: bring the other nodes back, or restore its file"
                ))
            }
        }
    }
}

impl From<AuthorityFault> for Failure {
    fn from(fault: AuthorityFault) -> Self {
        match fault {
            AuthorityFault::State(fault) => fault.into(),
            AuthorityFault::Missing(_) => Failure::unavailable("this node is in no cluster yet"),
            AuthorityFault::Open(error) => Failure::internal("authority", &error),
        }
    }
}

impl From<BadName> for Failure {
    fn from(why: BadName) -> Self {
        Failure::invalid(why.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(why: Refusal) -> Self {
        let text = why.to_string();
        match why {
            Refusal::NoUser(_) | Refusal::CertExpired | Refusal::CertVoid | Refusal::OtherAddress(_) => {
                Failure::unauthenticated(text)
            }
            Refusal::Locked(_) => Failure::new(StatusCode::FORBIDDEN, ErrorCode::Locked, text),
            Refusal::NotAPrincipal(_)
            | Refusal::NotAllowed { .. }
            | Refusal::AbilityOff(_)
            | Refusal::Unmoderated { .. }
            | Refusal::NotJoinable { .. }
            | Refusal::OwnSession
            | Refusal::NoRule { .. }
            | Refusal::AgentHere
            | Refusal::NotAnAgent
            | Refusal::GrantAboveOwn(_) => Failure::refused(text),
        }
    }
}

impl From<RefusedCommand> for Failure {
    fn from(why: RefusedCommand) -> Self {
        let text = why.to_string();
        match why {
            RefusedCommand::NotFound { .. } | RefusedCommand::NoShare => Failure::not_found(text),
            RefusedCommand::Exists { .. } | RefusedCommand::Conflict { .. } => Failure::conflict(text),
            RefusedCommand::BadToken => Failure::bad_token(),
            // A lock-out is not told apart from a wrong password: the difference would tell who exists.
            RefusedCommand::BadLogin | RefusedCommand::LockedOut { .. } => Failure::bad_login(),
            RefusedCommand::Locked(_) => Failure::new(StatusCode::FORBIDDEN, ErrorCode::Locked, text),
            RefusedCommand::NoSession => Failure::unauthenticated(text),
            RefusedCommand::NotConfirmed => Failure::new(StatusCode::FORBIDDEN, ErrorCode::Confirm, text),
            RefusedCommand::TooManySessions { .. } => Failure::refused(text),
            RefusedCommand::Invalid(_) => Failure::invalid(text),
        }
    }
}

impl From<OperationFailed> for Failure {
    fn from(why: OperationFailed) -> Self {
        Failure::new(StatusCode::CONFLICT, ErrorCode::Operation, why.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        assert_eq!(shown("a\x1b[31mb\u{202e}c\r"), "a\\u{1b}[31mb\\u{202e}c\\r");
        assert!(shown(&"é".repeat(100_000)).len() < 4100);
    }

    #[test]
    fn a_lock_out_answers_like_a_wrong_password() {
        let locked = RefusedCommand::LockedOut {
            until: palisade_core::time::Timestamp::from_secs(9),
        };
        assert_eq!(Failure::from(locked), Failure::from(RefusedCommand::BadLogin));
    }

    #[test]
    fn an_unknown_outcome_is_told_apart_from_nothing_happened() {
        let unknown = Failure::from(Unavailable::Unknown(String::new()));
        let nothing = Failure::from(Unavailable::NoQuorum(String::new()));
        assert_eq!(
            (unknown.code, nothing.code),
            (ErrorCode::UnknownOutcome, ErrorCode::Unavailable)
        );
    }

    #[test]
    fn causes_stay_in_the_log() {
        let failure = Failure::from(Unavailable::Fault("/var/lib/palisade/sm/db is torn".into()));
        assert!(!failure.message.contains("/var"));
    }
}
