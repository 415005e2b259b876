//! What a client asks of its connection. Every kind of channel and request goes through the pass.

use crate::channel;
use crate::connection::Connection;
use crate::forward;
use palisade_ca::check_user_cert;
use palisade_core::event::EventKind;
use palisade_core::name::Login;
use palisade_core::pass::JOIN_LOGIN;
use palisade_session::ssh::keys::ssh_key::Certificate;
use palisade_session::ssh::russh::server::{Auth, ChannelOpenHandle, Handler as Ssh, Msg, Session};
use palisade_session::ssh::russh::{Channel, Error};
use palisade_session::ssh::serve::{Place, prohibited};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Handler {
    connection: Arc<Connection>,
    passed: Arc<AtomicBool>,
    /// Who they are is proved, but they may not be here: every channel is answered with this.
    refusal: Option<String>,
}

impl Handler {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Handler {
            connection,
            passed: Arc::default(),
            refusal: None,
        }
    }

    /// Becomes true when somebody authenticated.
    pub(crate) fn passed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.passed)
    }

    /// The logins of the certificate, if it is good for this connection. The handshake has proved that they hold its key.
    fn check(&self, certificate: &Certificate) -> Result<Vec<String>, String> {
        let shared = &self.connection.shared;
        let trusted = shared.user_authorities();
        let checked =
            check_user_cert(certificate, &trusted, shared.uplink.now().secs()).map_err(|e| e.to_string())?;
        let pass = self.connection.pass();
        let claims = pass.claims();
        if let Some(client) = address(&claims.client_addr)
            && !checked.allows_source(client)
        {
            return Err("the certificate is not for use from this address".into());
        }
        if checked.key_id != claims.user.as_str() {
            return Err("the certificate is another user's than the one that the node let through".into());
        }
        Ok(checked.principals)
    }

    async fn stranger(&self, user: &str, certificate: &Certificate, reason: &str) {
        let shown = |text: &str| {
            text.chars()
                .take(128)
                .collect::<String>()
                .escape_debug()
                .to_string()
        };
        let event = self
            .connection
            .event(EventKind::SessionRefused)
            .login(shown(user))
            .message(reason)
            .with("claimed_key_id", shown(certificate.key_id()));
        self.connection.audit_refusal(event).await;
    }

    /// Somebody who comes to join a session: there is no account that they become.
    async fn authenticate_to_join(&mut self, user: &str, certificate: &Certificate) -> Result<Auth, Error> {
        if let Err(reason) = self.check(certificate) {
            self.stranger(user, certificate, &reason).await;
            return Ok(Auth::reject());
        }
        self.refusal = match (self.connection.pass().join(), user) {
            (Some(_), JOIN_LOGIN) => None,
            (Some(_), _) => Some(format!(
                "this connection is for joining a session: its user is {JOIN_LOGIN}"
            )),
            (None, _) => Some("no session was named that is to be joined: use `pal join`".into()),
        };
        if let Some(reason) = &self.refusal {
            let event = self
                .connection
                .event(EventKind::SessionRefused)
                .message(reason.as_str());
            self.connection.audit_refusal(event).await;
        }
        self.passed.store(true, Ordering::SeqCst);
        Ok(Auth::Accept)
    }

    /// A place for one more channel; otherwise it is refused.
    async fn open(&self, reply: ChannelOpenHandle) -> Option<(Place, ChannelOpenHandle)> {
        if let Some(reason) = &self.refusal {
            reply.reject(prohibited(reason)).await;
            return None;
        }
        self.connection.touch();
        match self.connection.places.take() {
            Ok(place) => Some((place, reply)),
            Err(failure) => {
                reply.reject(failure).await;
                None
            }
        }
    }

    async fn refuse_kind(&self, kind: &str, reply: ChannelOpenHandle) -> Result<(), Error> {
        let reason = match &self.refusal {
            Some(reason) => reason.clone(),
            None => {
                let reason = format!("{kind} channels are opened by the host");
                self.connection.refused(kind, "", &reason).await;
                reason
            }
        };
        reply.reject(prohibited(&reason)).await;
        Ok(())
    }
}

/// The address in `address:port`.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<SocketAddr>()
        .ok()
        .map(|addr| addr.ip().to_canonical())
}

impl Ssh for Handler {
    type Error = Error;

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Error> {
        if self.connection.pass().join().is_some() || user == JOIN_LOGIN {
            return self.authenticate_to_join(user, certificate).await;
        }
        let login = match (Login::parse(user), self.check(certificate)) {
            (Err(_), _) => Err("the login is malformed".to_owned()),
            (_, Err(reason)) => Err(reason),
            (Ok(login), Ok(principals)) => Ok((login, principals)),
        };
        let (login, principals) = match login {
            Ok(found) => found,
            Err(reason) => {
                self.stranger(user, certificate, &reason).await;
                return Ok(Auth::reject());
            }
        };
        // Who they are is proved; what follows they may be told. OpenSSH shows nothing of a refused authentication.
        let pass = self.connection.pass();
        let verdict = if !principals.iter().any(|name| name == login.as_str()) {
            Err(format!(
                "your certificate does not allow login {login}: run `pal login` again if your roles changed"
            ))
        } else if pass.login(login.as_str()).is_none() {
            Err(format!(
                "none of your roles allows login {login} on {}",
                self.connection.shared.config.host
            ))
        } else {
            self.connection.look_up(&login).await
        };
        match verdict {
            Ok(account) => {
                if !self.connection.logged_in(login, account) {
                    return Ok(Auth::reject());
                }
                self.refusal = None;
            }
            Err(reason) => {
                let event = self
                    .connection
                    .event(EventKind::SessionRefused)
                    .login(login.as_str())
                    .message(reason.as_str());
                self.connection.audit_refusal(event).await;
                self.refusal = Some(reason);
            }
        }
        self.passed.store(true, Ordering::SeqCst);
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Error> {
        self.connection.answers_to(session.handle());
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        if let Some((place, reply)) = self.open(reply).await {
            let connection = Arc::clone(&self.connection);
            let tasks = connection.shared.tasks.clone();
            tasks.spawn(async move {
                reply.accept().await;
                channel::serve(connection, channel).await;
                drop(place);
            });
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        if let Some((place, reply)) = self.open(reply).await {
            let (connection, host) = (Arc::clone(&self.connection), host.to_owned());
            let tasks = connection.shared.tasks.clone();
            tasks.spawn(async move {
                forward::to_tcp(connection, channel, reply, &host, port).await;
                drop(place);
            });
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        if let Some((place, reply)) = self.open(reply).await {
            let (connection, path) = (Arc::clone(&self.connection), path.to_owned());
            let tasks = connection.shared.tasks.clone();
            tasks.spawn(async move {
                forward::to_socket(connection, channel, reply, &path).await;
                drop(place);
            });
        }
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse_kind("x11", reply).await
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse_kind("forwarded-tcpip", reply).await
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, _: &mut Session) -> Result<bool, Error> {
        if self.refusal.is_some() {
            return Ok(false);
        }
        self.connection.touch();
        match forward::listen_tcp(&self.connection, address, *port).await {
            Some(chosen) => {
                *port = chosen;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _: &mut Session,
    ) -> Result<bool, Error> {
        Ok(forward::cancel(
            &self.connection,
            &forward::tcp_name(address, port),
        ))
    }

    async fn streamlocal_forward(&mut self, path: &str, _: &mut Session) -> Result<bool, Error> {
        if self.refusal.is_some() {
            return Ok(false);
        }
        self.connection.touch();
        Ok(forward::listen_socket(&self.connection, path).await)
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _: &mut Session) -> Result<bool, Error> {
        Ok(forward::cancel(&self.connection, path))
    }
}
