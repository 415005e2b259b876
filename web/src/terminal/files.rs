//! `GET` and `PUT /v1/hosts/{host}/file`: a file of a host, by its SFTP server, as the account that is named. Whether they
//! may is decided, and what they did is written down, where that is done for SFTP.

use super::{client, host_port};
use crate::ask::{Ask, Fresh};
use crate::body::{Path, Query};
use crate::caller::FromPort;
use crate::error::Failure;
use crate::sessions::stream;
use axum::Extension;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::StreamExt as _;
use palisade_core::name::Login;
use palisade_core::ports::{FileWanted, TerminalKey, TerminalUser};
use serde::Deserialize;
use utoipa::IntoParams;

/// The longest path.
const PATH_MAX: usize = 4096;

/// Which file.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileQuery {
    /// The account.
    login: String,
    /// From the account's home, unless it begins with a slash.
    path: String,
}

type Port = Option<Extension<FromPort>>;

async fn wanted(
    ask: &Ask,
    port: Port,
    host: &str,
    query: FileQuery,
) -> Result<(Box<dyn TerminalKey>, TerminalUser, FileWanted), Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let (host, at) = host_port(host)?;
    // Shells know this sign; SFTP servers begin where it stands for.
    let path = query.path.strip_prefix("~/").unwrap_or(&query.path);
    if path.is_empty() || path.len() > PATH_MAX || path.contains('\0') {
        return Err(Failure::invalid("path: the path of a file on the host"));
    }
    let wanted = FileWanted {
        host,
        port: at,
        login: Login::parse(&query.login)?,
        path: path.to_owned(),
    };
    let port = port.map_or(0, |Extension(FromPort(port))| port);
    let (key, user) = client(ask, &who, port, Some(&wanted.login)).await?;
    Ok((key, user, wanted))
}

/// `GET`: answers once the file is open, so that what is wrong with it is an answer and not half a file.
pub(crate) async fn get(
    ask: Ask,
    port: Port,
    Path(host): Path<String>,
    Query(query): Query<FileQuery>,
) -> Result<Response, Failure> {
    let (key, user, wanted) = wanted(&ask, port, &host, query).await?;
    let disposition = attachment(&wanted.path);
    let reading = key.read(user, wanted).await?;
    let mut response = Response::new(stream(reading.bytes));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    if let Some(size) = reading.size {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    Ok(response)
}

/// `PUT`: takes the body as fast as the host does.
pub(crate) async fn put(
    ask: Ask,
    port: Port,
    Path(host): Path<String>,
    Query(query): Query<FileQuery>,
    body: Body,
) -> Result<StatusCode, Failure> {
    let (key, user, wanted) = wanted(&ask, port, &host, query).await?;
    let mut body = body.into_data_stream();
    write(key, user, wanted, &mut body).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn write(
    key: Box<dyn TerminalKey>,
    user: TerminalUser,
    wanted: FileWanted,
    body: &mut BodyDataStream,
) -> Result<(), Failure> {
    let cut = |_| Failure::invalid("the body did not arrive whole: the file on the host is cut short");
    let mut writing = key.write(user, wanted).await?;
    while let Some(piece) = body.next().await {
        writing.write(piece.map_err(cut)?.into()).await?;
    }
    Ok(writing.finish().await?)
}

/// The header that has a browser save a file, under its last name (RFC 6266).
fn attachment(path: &str) -> HeaderValue {
    let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("file");
    let mut value = String::from("attachment; filename*=UTF-8''");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            value.push(char::from(byte));
        } else {
            value.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_cannot_leave_their_header() {
        for (path, name) in [
            ("/etc/passwd", "passwd"),
            ("a b\"; x=\r\n", "a%20b%22%3B%20x%3D%0D%0A"),
            ("\u{e9}/", "%C3%A9"),
            ("/", "file"),
        ] {
            let value = format!("attachment; filename*=UTF-8''{name}");
            assert_eq!(attachment(path), value.as_str(), "{path:?}");
        }
    }
}
