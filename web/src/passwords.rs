//! Passwords: argon2id off the async threads, in a pool that is bounded in memory and in waiting.

use crate::error::Failure;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{self, CustomizedPasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::sync::Arc;
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
    /// The hash of nobody's password: a login of somebody who does not exist costs the same.
    dummy: Arc<str>,
}

/// argon2id with two passes and one lane. What a stored hash costs is written in it.
fn cost(kib: u32) -> Params {
    Params::new(kib, 2, 1, Some(32)).unwrap_or_default()
}

/// What is reserved for one hash; only what the cost asks for is touched. The C library never raises its threshold
/// for memory of its own beyond 32 MiB (`DEFAULT_MMAP_THRESHOLD_MAX` of malloc), so this is given back to the system
/// at once. A smaller piece would be kept, one for each thread that ever hashed.
const APART_BLOCKS: usize = 33 * 1024;

/// argon2 in memory that is given back.
struct Apart;

impl CustomizedPasswordHasher<PasswordHash> for Apart {
    type Params = Params;

    fn hash_password_customized(
        &self,
        password: &[u8],
        salt: &[u8],
        algorithm: Option<&str>,
        version: Option<u32>,
        params: Params,
    ) -> Result<PasswordHash, password_hash::Error> {
        let algorithm = algorithm.map_or(Ok(Algorithm::Argon2id), Algorithm::try_from)?;
        let version = version.map_or(Ok(Version::V0x13), Version::try_from)?;
        let mut memory = Vec::with_capacity(APART_BLOCKS.max(params.block_count()));
        memory.resize(params.block_count(), Block::new());
        let mut out = vec![0; params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
        let written = ParamsString::try_from(&params)?;
        Argon2::new(algorithm, version, params).hash_password_into_with_memory(
            password,
            salt,
            &mut out,
            &mut memory[..],
        )?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: written,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(&out)?),
        })
    }
}

fn hash(password: &[u8], kib: u32) -> Result<String, password_hash::Error> {
    let salt: [u8; 16] = rand::random();
    let hash = Apart.hash_password_with_params(password, &salt, cost(kib))?;
    Ok(hash.to_string())
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
        let phc: Arc<str> = phc.map_or_else(|| self.dummy.clone(), Arc::from);
        let right = self
            .run(move || {
                let hash = PasswordHash::new(&phc);
                hash.is_ok_and(|hash| Apart.verify_password(password.as_bytes(), &hash).is_ok())
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
        // A client that hangs up does not free its worker before the work is done: memory stays bounded.
        let done = tokio::task::spawn_blocking(move || {
            let _worker = worker;
            work()
        });
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

    #[test]
    fn hashes_are_those_of_the_argon2_crate() {
        use argon2::PasswordHasher as _;
        let stock = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost(19 * 1024));
        let theirs = stock
            .hash_password_with_salt(b"correct horse", b"0123456789abcdef")
            .expect("hashed");
        let ours = Apart.hash_password_with_params(b"correct horse", b"0123456789abcdef", cost(19 * 1024));
        assert_eq!(ours.expect("hashed").to_string(), theirs.to_string());
        assert!(Apart.verify_password(b"correct horse", &theirs).is_ok());
        assert!(Apart.verify_password(b"correct hors", &theirs).is_err());
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
