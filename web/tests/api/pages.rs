//! The web pages as they are given out: what is a page, what is a file, what neither. Needs them built: `make ui`.

use crate::support::{World, nobody};
use axum::body::Body;
use axum::http::Request;

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> crate::support::Answer {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world
        .send(&nobody(), request.body(Body::empty()).expect("a request"))
        .await
}

/// The address of the page's own script.
async fn script(world: &World) -> String {
    let page = get(world, "/", &[]).await;
    assert_eq!(page.status, 200, "no pages: run `make ui` first: {}", page.text());
    let text = page.text();
    let (_, rest) = text.split_once("src=\"/assets/").expect("a script");
    let (name, _) = rest.split_once('"').expect("its name");
    format!("/assets/{name}")
}

#[tokio::test]
async fn an_address_is_a_page_a_file_or_nothing() {
    let world = World::new();
    let script = script(&world).await;
    for path in [
        "/",
        "/hosts",
        "/recordings/0c9a4c9e",
        "/admin/roles/a%20b",
        "/admin/hosts/web1.example.com",
        // No way out, whoever undoes the escapes: it is an address like any other, of a page that says that there is none.
        "/%2e%2e/Cargo.toml",
        "/invite/AbC-_1",
    ] {
        let page = get(&world, path, &[]).await;
        assert_eq!(
            (page.status.as_u16(), page.headers["content-type"].as_bytes()),
            (200, &b"text/html; charset=utf-8"[..]),
            "{path}"
        );
        assert_eq!(page.headers["cache-control"], "no-cache", "{path}");
    }
    let file = get(&world, &script, &[]).await;
    assert_eq!(
        (file.status.as_u16(), file.headers["content-type"].as_bytes()),
        (200, &b"text/javascript; charset=utf-8"[..])
    );
    assert!(
        file.headers["cache-control"]
            .to_str()
            .is_ok_and(|kept| kept.contains("immutable"))
    );
    // A page in the place of a script that is missing would be run as one; and nothing outside of the pages is given out.
    for path in [
        "/assets/missing.js",
        "/assets/",
        "/favicon.gif",
        "/../Cargo.toml",
        "/assets/../../../Cargo.toml",
        "/..%2fCargo.toml",
        "/index.html/../../package.json",
        "//etc/passwd",
        "/v1/nothing",
        "/v1",
        "/a;b",
    ] {
        get(&world, path, &[]).await.refused(404, "not_found");
    }
    let post = Request::builder()
        .method("POST")
        .uri("/hosts")
        .body(Body::empty());
    world
        .send(&nobody(), post.expect("a request"))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn what_a_page_may_do_is_said_with_it() {
    let world = World::new();
    let page = get(&world, "/hosts", &[]).await;
    let policy = page.headers["content-security-policy"]
        .to_str()
        .expect("text")
        .to_owned();
    for wanted in [
        "default-src 'none'",
        "script-src 'self';",
        "connect-src 'self' https://127.0.0.1:3080 wss://127.0.0.1:3080;",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(wanted), "{wanted} is not in {policy}");
    }
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.headers[name], value);
    }
    assert!(page.headers.contains_key("strict-transport-security"));
    assert!(!page.text().contains("<script>"), "a script in the page itself");
}

#[tokio::test]
async fn files_come_compressed_as_asked_and_not_twice() {
    let world = World::new();
    let path = script(&world).await;
    let plain = get(&world, &path, &[]).await;
    for (asked, coding) in [
        ("br, gzip", Some("br")),
        ("gzip", Some("gzip")),
        ("br;q=0, gzip;q=0.5", Some("gzip")),
        ("identity", None),
        ("zstd", None),
    ] {
        let file = get(&world, &path, &[("accept-encoding", asked)]).await;
        let got = file
            .headers
            .get("content-encoding")
            .and_then(|value| value.to_str().ok());
        assert_eq!(got, coding, "{asked}");
        assert_eq!(coding.is_some(), file.bytes.len() < plain.bytes.len(), "{asked}");
        assert_eq!(file.headers["vary"], "accept-encoding");
    }
    let tag = plain.headers["etag"].to_str().expect("text").to_owned();
    let again = get(&world, &path, &[("if-none-match", &tag)]).await;
    assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0));
}
