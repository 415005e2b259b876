//! The web pages: files built from `web/ui`, embedded in the program. They are a client of the API like any other, and
//! what they may load, and from where, is said here.

use crate::api::App;
use crate::certs::addresses;
use crate::error::Failure;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

/// What `make ui` built. A program that was built without it has no pages, and says so.
#[derive(Embed)]
#[folder = "ui/dist"]
#[allow_missing = true]
struct Built;

const INDEX: &str = "index.html";
/// Files below it carry a hash of what is in them in their names.
const HASHED: &str = "assets/";
/// Texts are kept compressed beside themselves; the better one is asked for first.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// What is at no path of the API: a file, or the one page that shows what its address says.
pub(crate) async fn serve(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let api = path == "/v1" || path.starts_with("/v1/");
    if api || !reads {
        return nothing().into_response();
    }
    let name = path.strip_prefix('/').unwrap_or(path);
    if !plain(name) {
        return nothing().into_response();
    }
    if let Some(answer) = file(name, request.headers()) {
        return answer;
    }
    // An address that names a file is never a page: a script that is missing must not be answered with HTML. Further down a
    // dot is that of a record's name.
    let names_file = name.starts_with(HASHED) || (name.contains('.') && !name.contains('/'));
    if names_file {
        return nothing().into_response();
    }
    let Some(mut page) = file(INDEX, request.headers()) else {
        return Failure::not_found(
            "this program was built without its web pages (`make ui` builds them); /v1/openapi.json lists the API",
        )
        .into_response();
    };
    match policy(&app) {
        Ok(policy) => {
            page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            page
        }
        Err(failure) => failure.into_response(),
    }
}

fn nothing() -> Failure {
    Failure::not_found("there is nothing at this path: /v1/openapi.json lists what there is")
}

/// Addresses of pages are words; anything else is somebody's try.
fn plain(name: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~@:%".contains(&b);
    name.len() <= 512
        && !name.starts_with('/')
        && !name.contains("//")
        && !name.contains("..")
        && name.bytes().all(known)
}

/// What the page may do: run our scripts, talk to the nodes of this cluster, and nothing else. The terminal's library
/// sets styles by element, which is all that inline styles are allowed for.
fn policy(app: &App) -> Result<HeaderValue, Failure> {
    let (addrs, _) = addresses(app.api.consensus.kv().as_ref())?;
    let mut connect = String::from("'self'");
    for addr in addrs {
        let safe = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        if addr.bytes().all(safe) {
            connect.push_str(&format!(" https://{addr} wss://{addr}"));
        }
    }
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         font-src 'self'; manifest-src 'self'; worker-src 'self'; connect-src {connect}; object-src 'none'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    );
    HeaderValue::from_str(&policy).map_err(|e| Failure::internal("policy", &e))
}

/// A built file, compressed if whoever asks takes that.
fn file(name: &str, asked: &HeaderMap) -> Option<Response> {
    let original = Built::get(name)?;
    let taken = asked
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(coding);
    let taken: Vec<&str> = taken.collect();
    let compressed = CODINGS
        .into_iter()
        .filter(|(coding, _)| taken.contains(coding))
        .find_map(|(coding, ending)| Some((coding, Built::get(&format!("{name}{ending}"))?)));
    let tag = format!(
        "\"{}\"",
        data_encoding::HEXLOWER.encode(&original.metadata.sha256_hash()[..16])
    );
    let known = asked.get_all(header::IF_NONE_MATCH).iter();
    let mut response = if known
        .filter_map(|value| value.to_str().ok())
        .any(|value| value == tag)
    {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match compressed {
            Some((coding, file)) => {
                let mut response = body(file);
                let coding = HeaderValue::from_static(coding);
                response.headers_mut().insert(header::CONTENT_ENCODING, coding);
                response
            }
            None => body(original),
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    let cache = if name.starts_with(HASHED) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Some(response)
}

/// The coding that a word of `accept-encoding` takes; none that it refuses by a weight of nothing.
fn coding(word: &str) -> Option<&str> {
    let mut parts = word.split(';').map(str::trim);
    let name = parts.next()?;
    let refused =
        parts.any(|weight| weight.starts_with("q=0") && !weight.bytes().any(|b| matches!(b, b'1'..=b'9')));
    (!refused).then_some(name)
}

fn body(file: EmbeddedFile) -> Response {
    Response::new(Body::from(file.data.into_owned()))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_of_no_weight_is_not_taken() {
        for (word, taken) in [
            ("br", Some("br")),
            (" gzip;q=0.5", Some("gzip")),
            ("br;q=0", None),
            ("br; q=0.000", None),
            ("gzip; q=1", Some("gzip")),
        ] {
            assert_eq!(coding(word), taken, "{word:?}");
        }
    }

    #[test]
    fn addresses_of_pages_are_words() {
        for name in [
            "",
            "hosts",
            "recordings/0c9a4c9e",
            "admin/roles/a%20b",
            "invite/AbC-_1",
        ] {
            assert!(plain(name), "{name:?}");
        }
        for name in [
            "a\\b",
            "a//b",
            "/etc/passwd",
            "a/../b",
            "a;b",
            "a<b",
            &"x".repeat(600),
        ] {
            assert!(!plain(name), "{name:?}");
        }
    }
}
