//! Passwords: argon2id off the async threads, in a pool that is bounded in memory and in waiting.
//!
//! The pool has threads of its own. An allocator keeps what a thread has freed for that thread, and the runtime's pool
//! has hundreds: a burst of logins left megabytes behind in each of them.

use crate::error::Failure;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// The shortest password that may be set, in bytes.
pub(crate) const PASSWORD_MIN: usize = 8;
/// The longest password that is looked at.
pub(crate) const PASSWORD_MAX: usize = 1024;
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Hashes and checks passwords.
pub(crate) struct Hasher {
    workers: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    kib: u32,
    jobs: Sender<Job>,
    /// The hash of nobody's password: a login of somebody who does not exist costs the same.
    dummy: Arc<str>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Starts threads that take jobs until nobody can send any.
fn pool(threads: usize) -> Sender<Job> {
    let (jobs, waiting) = std::sync::mpsc::channel::<Job>();
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..threads {
        let waiting = waiting.clone();
        let work = move || {
            loop {
                // Let go before the work begins.
                let job = waiting.lock().recv();
                let Ok(job) = job else { return };
                // What panicked has been printed by the panic hook; its request sees that no answer comes.
                drop(catch_unwind(AssertUnwindSafe(job)));
            }
        };
        if let Err(error) = std::thread::Builder::new().name("argon2".into()).spawn(work) {
            tracing::error!(%error, "a thread for passwords could not be started");
        }
    }
    jobs
}

/// argon2id with two passes and one lane. What a stored hash costs is written in it.
fn argon2(kib: u32) -> Argon2<'static> {
    let params = Params::new(kib, 2, 1, Some(32)).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &[u8], kib: u32) -> Result<String, argon2::password_hash::Error> {
    argon2(kib)
        .hash_password(password)
        .map(|hash: PasswordHash| hash.to_string())
}

impl Hasher {
    pub(crate) fn new(kib: u32, workers: usize, queue: usize) -> Self {
        let workers = workers.max(1);
        let secret: [u8; 32] = rand::random();
        // Without a system source of randomness nothing of this node works; an unusable hash then refuses everybody.
        let dummy = hash(&secret, kib).unwrap_or_default();
        Hasher {
            workers: Arc::new(Semaphore::new(workers)),
            queue: Arc::new(Semaphore::new(workers + queue)),
            kib,
            jobs: pool(workers),
            dummy: dummy.into(),
        }
    }

    /// Whether the password is the one that was hashed. Without a hash the work is the same and the answer no.
    pub(crate) async fn verify(
        &self,
        password: Zeroizing<String>,
        phc: Option<&str>,
    ) -> Result<bool, Failure> {
        let known = phc.is_some();
        let kib = self.kib;
        let phc: Arc<str> = phc.map_or_else(|| self.dummy.clone(), Arc::from);
        let right = self
            .run(move || {
                let hash = PasswordHash::new(&phc);
                hash.is_ok_and(|hash| argon2(kib).verify_password(password.as_bytes(), &hash).is_ok())
            })
            .await?;
        Ok(right && known)
    }

    /// The hash of a new password, in PHC form.
    pub(crate) async fn hash(&self, password: Zeroizing<String>) -> Result<String, Failure> {
        let kib = self.kib;
        self.run(move || hash(password.as_bytes(), kib))
            .await?
            .map_err(|e| Failure::internal("argon2", &e))
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let busy = || Failure::unavailable("too many logins at this moment: try again");
        let _place = self.queue.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = tokio::time::timeout(TURN, self.workers.clone().acquire_owned()).await;
        let worker = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let (answer, done) = tokio::sync::oneshot::channel();
        // A client that hangs up does not free its worker before the work is done: memory stays bounded.
        let job = Box::new(move || {
            let _worker = worker;
            let _ = answer.send(work());
        });
        self.jobs.send(job).map_err(|_| busy())?;
        done.await.map_err(|e| Failure::internal("password pool", &e))
    }
}

/// Refuses passwords that are too short to set or too long to look at.
pub(crate) fn check_new(password: &str) -> Result<(), Failure> {
    if password.len() < PASSWORD_MIN {
        return Err(Failure::invalid(format!(
            "the password is too short: at least {PASSWORD_MIN} characters"
        )));
    }
    if password.len() > PASSWORD_MAX {
        return Err(Failure::too_large(format!(
            "the password is longer than {PASSWORD_MAX} bytes"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_of_the_stated_cost_and_checks() {
        let hasher = Hasher::new(19 * 1024, 1, 1);
        let phc = hasher.hash(secret("correct horse")).await.expect("hashed");
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_eq!(hasher.verify(secret("correct horse"), Some(&phc)).await, Ok(true));
        assert_eq!(hasher.verify(secret("wrong horse"), Some(&phc)).await, Ok(false));
        assert_eq!(hasher.verify(secret("x"), None).await, Ok(false));
        assert_eq!(hasher.verify(secret("x"), Some("no hash")).await, Ok(false));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_queue_answers_at_once() {
        let hasher = Arc::new(Hasher::new(19 * 1024, 1, 1));
        let tries = (0..20).map(|_| {
            let hasher = hasher.clone();
            tokio::spawn(async move { hasher.verify(secret("x"), None).await })
        });
        let answers = futures::future::join_all(tries).await;
        let busy = answers.iter().flatten().filter(|a| a.is_err()).count();
        assert!(busy >= 10, "only {busy} of 20 were turned away");
    }
}
