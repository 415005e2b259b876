//! What the API is made of: the ports it stands on and what it remembers between requests.

use crate::issued::Issued;
use crate::limits::{Buckets, Rate};
use crate::passwords::Hasher;
use crate::recordings;
use crate::terminal::{self, Places};
use palisade_ca::Authorities;
use palisade_core::name::Name;
use palisade_core::ports::{Agents, AuditPages, Consensus, Operations, Recordings, Sessions, Terminals};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Limits of the API. The defaults suit a node that is open to a company's network.
#[derive(Debug, Clone)]
pub struct Config {
    /// Tries to log in from one address.
    pub login_rate: Rate,
    /// Uses of invites and join tokens from one address.
    pub token_rate: Rate,
    /// Refusals of one user that are written to the audit log; beyond that the user waits.
    pub refusal_rate: Rate,
    /// A failed login answers no sooner than this, whatever was wrong with it.
    pub failed_login_floor: Duration,
    /// A browser's session that was not used for so long has ended.
    pub browser_idle: Duration,
    /// What one password hash costs in memory, in KiB.
    pub hash_kib: u32,
    /// Password hashes computed at the same time.
    pub hash_workers: usize,
    /// Password hashes that may wait for a worker.
    pub hash_queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            login_rate: Rate {
                burst: 60.0,
                per_second: 2.0,
            },
            token_rate: Rate {
                burst: 30.0,
                per_second: 1.0,
            },
            refusal_rate: Rate {
                burst: 50.0,
                per_second: 2.0,
            },
            failed_login_floor: Duration::from_millis(250),
            browser_idle: Duration::from_secs(3600),
            // OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
            hash_kib: 19 * 1024,
            hash_workers: std::thread::available_parallelism().map_or(2, |n| n.get()),
            hash_queue: 64,
        }
    }
}

/// Everything that the API stands on.
#[derive(Clone)]
pub struct Api {
    /// The replicated state.
    pub consensus: Arc<dyn Consensus>,
    /// Recordings.
    pub recordings: Arc<dyn Recordings>,
    /// Audit events that have left the state.
    pub pages: Arc<dyn AuditPages>,
    /// Sessions that run now.
    pub sessions: Arc<dyn Sessions>,
    /// Terminals and files at hosts.
    pub terminals: Arc<dyn Terminals>,
    /// The cluster itself.
    pub operations: Arc<dyn Operations>,
    /// Agents that are online.
    pub agents: Arc<dyn Agents>,
    /// Opens the authorities' keys and the users' second factors.
    pub seal: Arc<dyn palisade_ca::Seal>,
    /// Limits.
    pub config: Config,
}

/// The API at work.
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) authorities: Authorities,
    pub(crate) hasher: Hasher,
    pub(crate) logins: Buckets<IpAddr>,
    pub(crate) tokens: Buckets<IpAddr>,
    pub(crate) refusals: Buckets<String>,
    /// Open terminals, by user.
    pub(crate) terminals: Arc<Places<Name>>,
    /// Sockets whose other end has not said who it is, by source.
    pub(crate) terminals_waiting: Arc<Places<IpAddr>>,
    /// Searches in recordings at work, by who asked.
    pub(crate) searches: Arc<Places<String>>,
    /// What certificates were issued to say, by serial: it never changes.
    pub(crate) issued: Mutex<HashMap<u64, Arc<Issued>>>,
}

/// What handlers get as their state.
pub(crate) type App = Arc<Shared>;

impl Shared {
    pub(crate) fn new(api: Api) -> App {
        let config = &api.config;
        Arc::new(Shared {
            authorities: Authorities::new(api.seal.clone()),
            hasher: Hasher::new(config.hash_kib, config.hash_workers, config.hash_queue),
            logins: Buckets::new(config.login_rate),
            tokens: Buckets::new(config.token_rate),
            refusals: Buckets::new(config.refusal_rate),
            terminals: Places::new(terminal::MOST, terminal::MOST_EACH),
            terminals_waiting: Places::new(terminal::WAITING, terminal::WAITING_EACH),
            searches: Places::new(recordings::SEARCHES_MOST, recordings::SEARCHES_EACH),
            issued: Mutex::new(HashMap::new()),
            api,
        })
    }
}
