//! Probes for balancers and supervisors: a status code that a dumb one understands, and one line for people. They need
//! no credential and say nothing that is secret.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// What a probe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Whether the node serves.
    Serve,
    /// Whether it takes changes.
    Write,
}

/// What the query of `/readyz` asks for; `None` if that cannot be told. A probe that was written wrongly must not look
/// like one that succeeds.
pub(crate) fn wanted(query: Option<&str>) -> Option<Wanted> {
    match query.unwrap_or_default() {
        "" => Some(Wanted::Serve),
        "write" | "write=" | "write=1" | "write=true" => Some(Wanted::Write),
        _ => None,
    }
}

/// A query that asks for something else.
pub(crate) fn unknown() -> Response {
    plain(StatusCode::BAD_REQUEST, "ask /readyz or /readyz?write")
}

/// 200 and `ok`, or 503 and the reason.
pub(crate) fn answer(ready: Result<(), String>) -> Response {
    match ready {
        Ok(()) => plain(StatusCode::OK, "ok"),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// The process answers, so it lives.
pub(crate) async fn livez() -> Response {
    answer(Ok(()))
}

fn plain(status: StatusCode, text: &str) -> Response {
    // One line, whatever an error's text holds.
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(400)
        .collect();
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, kind, line + "\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_may_be_asked() {
        for (query, asks) in [
            (None, Some(Wanted::Serve)),
            (Some(""), Some(Wanted::Serve)),
            (Some("write"), Some(Wanted::Write)),
            (Some("write=1"), Some(Wanted::Write)),
            (Some("wirte"), None),
            (Some("write=0"), None),
            (Some("write&x"), None),
        ] {
            assert_eq!(wanted(query), asks, "{query:?}");
        }
    }

    #[test]
    fn the_answer_is_one_line() {
        let answered = answer(Err("a\nb".into()));
        assert_eq!(answered.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            answered.headers()[header::CONTENT_TYPE],
            "text/plain; charset=utf-8"
        );
    }
}
