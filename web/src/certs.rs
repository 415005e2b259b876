//! Certificates: what they will say, the entry that allows them, and only then the signatures.

use crate::ask::{Ask, Fresh, Who};
use crate::body::Json;
use crate::caller::Certified;
use crate::error::Failure;
use crate::issued::{self, BACKDATED_MS, Issued};
use palisade_ca as ca;
use palisade_core::access::{Options, View};
use palisade_core::api::{Certificates, RenewRequest};
use palisade_core::command::{CertPurpose, CertTerms, Command};
use palisade_core::kv::Kv;
use palisade_core::name::Login;
use palisade_core::record::{AuthorityType, NodeSpec};
use palisade_core::state;
use palisade_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The logins in a certificate, for people.
fn logins(terms: &CertTerms) -> Vec<String> {
    let named = terms.principals.iter().map(ToString::to_string);
    named
        .filter(|login| login != palisade_core::access::NO_LOGIN)
        .collect()
}

/// The pin of the TLS authority; empty while there is none.
pub(crate) fn tls_pin(kv: &dyn Kv) -> Result<String, Failure> {
    match ca::public_authority(kv, AuthorityType::Tls) {
        Ok(spec) => Ok(spec.pin),
        Err(ca::AuthorityFault::Missing(_)) => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

/// HTTPS and SSH addresses of all nodes, in the same order.
pub(crate) fn addresses(kv: &dyn Kv) -> Result<(Vec<String>, Vec<String>), Failure> {
    let nodes = state::records::<NodeSpec>(kv)?;
    Ok(nodes
        .into_iter()
        .map(|n| (n.spec.web_addr, n.spec.ssh_addr))
        .unzip())
}

/// The keys that a client wants certified.
pub(crate) struct ClientKeys {
    pub(crate) ssh: ca::SubjectKey,
    pub(crate) tls: ca::SubjectSpki,
}

impl ClientKeys {
    /// Takes public keys only: no certificates, nothing weak.
    pub(crate) fn parse(ssh: &str, tls: &str) -> Result<Self, Failure> {
        if ssh.len() > 8192 || tls.len() > 8192 {
            return Err(Failure::too_large("a public key is longer than 8 KiB"));
        }
        Ok(ClientKeys {
            ssh: ca::SubjectKey::parse(ssh).map_err(|e| Failure::invalid(format!("ssh_public_key: {e}")))?,
            tls: ca::SubjectSpki::from_pem(tls)
                .map_err(|e| Failure::invalid(format!("tls_public_key: {e}")))?,
        })
    }

    /// Of the SSH key, as `ssh-keygen -l` shows it.
    pub(crate) fn fingerprint(&self) -> String {
        self.ssh.fingerprint().to_string()
    }
}

/// What a user's certificates will say, now.
pub(crate) fn terms(
    view: &View,
    purpose: CertPurpose,
    keys: &ClientKeys,
    ttl_secs: u64,
    client: Option<IpAddr>,
    now: Timestamp,
) -> Result<CertTerms, Failure> {
    terms_for(view, purpose, keys.fingerprint(), ttl_secs, client, now)
}

/// The same for a key of which only the fingerprint is known.
pub(crate) fn terms_for(
    view: &View,
    purpose: CertPurpose,
    key_fingerprint: String,
    ttl_secs: u64,
    client: Option<IpAddr>,
    now: Timestamp,
) -> Result<CertTerms, Failure> {
    let options = view.options(now);
    let most = options.max_session_ttl.ms();
    let asked = if ttl_secs == 0 {
        view.auth.default_session_ttl.ms()
    } else {
        ttl_secs.saturating_mul(1000)
    };
    let source_address = match (options.pin_source_ip, client) {
        (false, _) => None,
        (true, Some(addr)) => Some(addr.to_canonical().to_string()),
        (true, None) => {
            return Err(Failure::refused(
                "your roles pin certificates to an address, and there is none here",
            ));
        }
    };
    Ok(CertTerms {
        purpose,
        subject: view.user.metadata.name.clone(),
        principals: view.cert_principals(now),
        valid_after: now.minus_ms(BACKDATED_MS),
        valid_before: now.plus_ms(asked.min(most)),
        key_fingerprint,
        source_address,
        renews: None,
    })
}

/// A certificate order: checked, not yet allowed.
pub(crate) struct Order {
    pub(crate) view: View,
    pub(crate) keys: ClientKeys,
    pub(crate) terms: CertTerms,
}

impl Ask {
    /// Proposes the entry that allows a certificate and, once it has committed, signs. `command` is made of the terms.
    pub(crate) async fn issue(
        &self,
        order: Order,
        what: &str,
        command: impl FnOnce(CertTerms) -> Command,
    ) -> Result<Certificates, Failure> {
        let kv = self.kv();
        let user = order.terms.subject.to_string();
        // Opened first: an entry must not be spent on an authority that does not open.
        self.app.authorities.signer(kv.as_ref(), AuthorityType::User)?;
        self.app.authorities.signer(kv.as_ref(), AuthorityType::Tls)?;
        let mut terms = order.terms;
        let id = self.id_for(&user, &[what.as_bytes(), terms.key_fingerprint.as_bytes()]);
        let serial = self
            .propose(self.actor(&user), id, command(terms.clone()))
            .await?;
        if self.may_be_repeated() {
            // The entry may be that of an earlier, equal request: what is signed is what it says.
            let mut found = self
                .audit_log(move |log| issued::find_newest(log, serial))
                .await?;
            if found.is_none() {
                // It has committed, but is not applied here yet.
                self.fresh(Fresh::Linear).await?;
                found = self
                    .audit_log(move |log| issued::find_newest(log, serial))
                    .await?;
            }
            terms = repeated(terms, found)?;
        }
        self.signed(&order.view, &order.keys, &terms, serial)
    }

    /// The certificates that the entry with this serial allowed. It has committed: without it nothing is signed.
    pub(crate) fn signed(
        &self,
        view: &View,
        keys: &ClientKeys,
        terms: &CertTerms,
        serial: u64,
    ) -> Result<Certificates, Failure> {
        let kv = self.kv();
        let ssh = self.app.authorities.signer(kv.as_ref(), AuthorityType::User)?;
        let tls = self.app.authorities.signer(kv.as_ref(), AuthorityType::Tls)?;
        self.remember(serial, Issued::of(terms));
        let options = view.options(self.now());
        let ssh_certificate = sign_ssh(&ssh, terms, &keys.ssh, extensions(&options), serial)?;
        let tls_certificate = sign_tls(&tls, terms, keys, serial)?;
        let (web_addrs, ssh_addrs) = addresses(kv.as_ref())?;
        let cluster = state::cluster(kv.as_ref())?;
        Ok(Certificates {
            user: terms.subject.to_string(),
            cluster: cluster.map(|c| c.name.to_string()).unwrap_or_default(),
            ssh_certificate,
            tls_certificate,
            tls_authorities: ca::public_authority(kv.as_ref(), AuthorityType::Tls)?
                .certificate
                .into_iter()
                .collect(),
            host_authorities: ca::public_authority(kv.as_ref(), AuthorityType::Host)?
                .ssh_public_key
                .into_iter()
                .collect(),
            web_addrs,
            ssh_addrs,
            logins: logins(terms),
            roles: view.user.spec.roles.iter().map(ToString::to_string).collect(),
            valid_before: terms.valid_before,
        })
    }
}

impl Ask {
    /// The SSH certificate of a key that this node made for one connection of its user: until their login ends, for the one
    /// account where their roles allow it, and void with the login that it is issued on. Signed once the entry that allows
    /// it has committed. Where the roles do not allow the account it names the others, and whoever decides says so.
    pub(crate) async fn issue_for_connection(
        &self,
        view: &View,
        login: &Certified,
        key: &str,
        account: Option<&Login>,
    ) -> Result<String, Failure> {
        let key = ca::SubjectKey::parse(key).map_err(|e| Failure::internal("a key of our own", &e))?;
        let signer = self
            .app
            .authorities
            .signer(self.kv().as_ref(), AuthorityType::User)?;
        let (fingerprint, now) = (key.fingerprint().to_string(), self.now());
        let left = login.not_after.since_ms(now).div_ceil(1000).max(1);
        let mut terms = terms_for(view, CertPurpose::Renew, fingerprint, left, self.peer.addr, now)?;
        terms.renews = Some(login.serial);
        terms.valid_before = terms.valid_before.min(login.not_after);
        if let Some(account) = account.filter(|account| terms.principals.contains(account)) {
            terms.principals = vec![account.clone()];
        }
        let actor = self.actor(terms.subject.as_str());
        let command = Command::IssueCert { terms: terms.clone() };
        let serial = self.propose(actor, self.new_id(), command).await?;
        let extensions = BTreeSet::from([ca::StandardExtension::Pty]);
        sign_ssh(&signer, &terms, &key, extensions, serial)
    }
}

fn repeated(mut terms: CertTerms, found: Option<Issued>) -> Result<CertTerms, Failure> {
    let found = found.filter(|issued| issued.key_fingerprint == terms.key_fingerprint);
    let Some(issued) = found else {
        return Err(Failure::conflict(
            "this request id was used for another certificate: choose a new one",
        ));
    };
    terms.principals = issued.principals;
    terms.valid_before = issued.valid_before;
    terms.source_address = issued.source.map(|addr| addr.to_string());
    Ok(terms)
}

fn window_secs(terms: &CertTerms) -> u64 {
    terms.valid_before.since_ms(terms.valid_after).div_ceil(1000) + 1
}

/// What a person's certificate lets them ask of hosts.
fn extensions(options: &Options) -> BTreeSet<ca::StandardExtension> {
    use ca::StandardExtension as Ext;
    let mut extensions = BTreeSet::from([Ext::Pty]);
    if options.port_forwarding {
        extensions.insert(Ext::PortForwarding);
    }
    if options.forward_agent {
        extensions.insert(Ext::AgentForwarding);
    }
    if options.x11_forwarding {
        extensions.insert(Ext::X11Forwarding);
    }
    extensions
}

fn sign_ssh(
    signer: &ca::Signer,
    terms: &CertTerms,
    key: &ca::SubjectKey,
    extensions: BTreeSet<ca::StandardExtension>,
    serial: u64,
) -> Result<String, Failure> {
    let source = terms.source_address.as_deref().map(|text| text.parse::<IpAddr>());
    let source = source
        .transpose()
        .map_err(|e| Failure::internal("pinned address", &e))?;
    let request = ca::UserCertRequest {
        public_key: key.clone(),
        key_id: terms.subject.to_string(),
        principals: ca::Principals::new(terms.principals.iter().map(|login| login.as_str()))
            .map_err(|e| Failure::invalid(format!("the certificate's logins: {e}")))?,
        valid_after: terms.valid_after.secs(),
        valid_before: terms.valid_before.secs(),
        ttl_max_secs: window_secs(terms),
        serial,
        extensions,
        custom_extensions: BTreeMap::new(),
        source_networks: source.map(ca::SourceNetwork::single).into_iter().collect(),
    };
    ca::sign_user_cert(signer, &request).map_err(|e| Failure::internal("sign", &e))
}

fn sign_tls(
    signer: &ca::Signer,
    terms: &CertTerms,
    keys: &ClientKeys,
    serial: u64,
) -> Result<String, Failure> {
    let request = ca::ClientCertRequest {
        public_key: keys.tls.clone(),
        user: terms.subject.to_string(),
        serial,
        window: ca::Window {
            not_before: terms.valid_after.secs(),
            not_after: terms.valid_before.secs(),
            ttl_max_secs: window_secs(terms),
        },
    };
    ca::sign_client_cert(signer, &request)
        .map(|cert| cert.pem)
        .map_err(|e| Failure::internal("sign", &e))
}

/// `POST /v1/certs`: new certificates from valid ones: for the same time at most, the same logins at most, and the
/// same address.
pub(crate) async fn renew(
    ask: Ask,
    Json(request): Json<RenewRequest>,
) -> Result<axum::Json<Certificates>, Failure> {
    let keys = ClientKeys::parse(&request.ssh_public_key, &request.tls_public_key)?;
    if ask.is_browser() {
        // A page that somebody tampered with must not carry away what outlives it.
        ask.who(Fresh::Decision).await?;
        return Err(Failure::refused(
            "a browser's session gives no certificates: run `pal login`",
        ));
    }
    let (view, certified) = match ask.who(Fresh::Linear).await? {
        Who::User(view, certified) => (*view, certified),
        Who::Operator => {
            return Err(Failure::refused(
                "the control socket needs no certificate: log in as a user for one",
            ));
        }
    };
    let now = ask.now();
    let mut terms = terms(
        &view,
        CertPurpose::Renew,
        &keys,
        request.ttl_secs,
        ask.peer.addr,
        now,
    )?;
    let Some(held) = ask.issued(&certified).await? else {
        return Err(Failure::unauthenticated(
            "this certificate is too old to be renewed: run `pal login`",
        ));
    };
    terms.renews = Some(certified.serial);
    terms.principals.retain(|login| held.principals.contains(login));
    terms.valid_before = terms.valid_before.min(certified.not_after).min(held.valid_before);
    if let Some(source) = held.source {
        terms.source_address = Some(source.to_string());
    }
    let order = Order { view, keys, terms };
    let certificates = ask
        .issue(order, "renew", |terms| Command::IssueCert { terms })
        .await?;
    Ok(axum::Json(certificates))
}
