//! What surrounds every request: headers that browsers heed, refusal of other sites, bounds on time, no panic on
//! the wire.

use crate::api::App;
use crate::error::Failure;
use crate::spent::spent;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use palisade_core::api::path;
use palisade_core::ports::Unavailable;
use std::any::Any;
use std::time::{Duration, Instant};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

/// A body that stops arriving for this long is given up.
const BODY_IDLE: Duration = Duration::from_secs(10);
/// A request whose answer takes longer than this to begin is given up. Joining waits until a node has caught up.
const ANSWER: Duration = Duration::from_secs(180);

/// Puts the layers around the routes.
pub(crate) fn layers(router: Router<App>, app: &App) -> Router<App> {
    router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(within_time))
        .layer(from_fn(same_site))
        .layer(from_fn(spent))
        .layer(RequestBodyTimeoutLayer::new(BODY_IDLE))
        .layer(from_fn_with_state(app.clone(), headers))
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    // What panicked has been printed by the panic hook; it is not for the caller.
    Failure::internal("handler", &"panicked").into_response()
}

async fn within_time(request: Request, next: Next) -> Response {
    // A file is answered when the host has it: as long as its bytes arrive, that may take.
    let route = request.extensions().get::<MatchedPath>();
    if route.is_some_and(|route| route.as_str() == path::FILE) {
        return next.run(request).await;
    }
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::from(Unavailable::Unknown("it took too long".into())).into_response(),
    }
}

/// A browser with a client certificate shows it to every site's requests: those of other sites are refused.
async fn same_site(request: Request, next: Next) -> Response {
    // Reading is refused as well: playing a recording writes an audit event in the victim's name. Terminals are opened by
    // pages of other nodes too, and look at that themselves.
    let path = request.uri().path();
    if path.starts_with("/v1/") && path != path::TERMINAL && foreign(request.headers()) {
        return Failure::refused("requests from other sites are refused").into_response();
    }
    next.run(request).await
}

fn foreign(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let fetched = text(&HeaderName::from_static("sec-fetch-site"));
    if fetched.is_some_and(|from| from != "same-origin" && from != "none") {
        return true;
    }
    match (text(&header::ORIGIN), text(&header::HOST)) {
        (None, _) => false,
        (Some(origin), Some(host)) => origin.strip_prefix("https://") != Some(host),
        // HTTP/2 carries the host in the request line; browsers that use it send `sec-fetch-site`.
        (Some(_), None) => fetched.is_none(),
    }
}

async fn headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    // The route, never the path: that may hold an invite's token.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    let route = route.as_ref().map(MatchedPath::as_str).unwrap_or_default();
    app.api.operations.answered(method.as_str(), route, status, took);
    tracing::debug!(
        %method,
        route,
        status,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox",
        ),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        // The pages say for themselves what they may load, and what may be kept.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn requests_of_other_sites_are_foreign() {
        for pairs in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example"), ("host", "pal.example")],
            &[("origin", "http://pal.example"), ("host", "pal.example")],
            &[("origin", "null"), ("host", "pal.example")],
            &[("origin", "https://pal.example")],
        ] {
            assert!(foreign(&sent(pairs)), "{pairs:?}");
        }
        for pairs in [
            &[][..],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://pal.example"),
                ("host", "pal.example"),
            ],
            &[
                ("origin", "https://pal.example:3080"),
                ("host", "pal.example:3080"),
            ],
        ] {
            assert!(!foreign(&sent(pairs)), "{pairs:?}");
        }
    }
}
