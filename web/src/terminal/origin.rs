//! Whose page opens a socket. Browsers let every page open one to every host, and send cookies along; but they do not let a
//! page lie about where it came from.

use axum::http::{HeaderMap, header};

/// Whether the page is of this node, or of one at these addresses.
pub(super) fn is_ours(headers: &HeaderMap, addrs: &[String]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return false;
    };
    let Some(origin) = origin
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("https://"))
    else {
        return false;
    };
    let origin = plain(origin);
    if origin.is_empty() {
        return false;
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().map(plain),
        _ => None,
    };
    host.as_deref() == Some(origin.as_str()) || addrs.iter().any(|addr| plain(addr) == origin)
}

/// Browsers leave the default port out, and write names in lower case.
fn plain(text: &str) -> String {
    text.strip_suffix(":443").unwrap_or(text).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn ours(origins: &[&'static str], host: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers.append(header::HOST, HeaderValue::from_static(host));
        let addrs = ["n1.example:3080".to_owned(), "n2.example:443".to_owned()];
        is_ours(&headers, &addrs)
    }

    #[test]
    fn pages_of_the_nodes_may_open_sockets_and_no_others() {
        let host = "pal.example:3080";
        for origin in [
            "https://pal.example:3080",
            "https://PAL.example:3080",
            "https://n1.example:3080",
            "https://n2.example",
            "https://n2.example:443",
        ] {
            assert!(ours(&[origin], host), "{origin}");
        }
        assert!(ours(&["https://pal.example"], "pal.example:443"));
        assert!(ours(&["https://pal.example"], "pal.example"));
        for origins in [
            &[][..],
            &["null"],
            &[""],
            &["https://"],
            &["http://pal.example:3080"],
            &["https://pal.example"],
            &["https://pal.example:3080.evil.example"],
            &["https://evil.example/https://pal.example:3080"],
            &["https://n1.example"],
            &["https://n1.example:3080/"],
            &["https://n1.example:3080@evil.example"],
            &["wss://pal.example:3080"],
            &["file://"],
            &["https://pal.example:3080", "https://evil.example"],
        ] {
            assert!(!ours(origins, host), "{origins:?}");
        }
        assert!(!is_ours(&HeaderMap::new(), &["".into()]));
    }
}
