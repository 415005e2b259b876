//! The client's end: it dials, and dials again.

use super::carrier::{Carrier, End};
use super::error::Error;
use super::machine::Machine;
use super::stream::{ResumeStream, Shared, wait};
use super::token::{Ephemeral, Id};
use super::{Config, Event, Link, Observer};
use crate::backoff::{backoff, random};
use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Before a link is dialled again: at once, then after these, jittered.
const STEPS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Why a link could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It may go better the next time.
    #[error(transparent)]
    Again(#[from] io::Error),
    /// It will not: access was refused, for example. The text is for people.
    #[error("{0}")]
    Never(String),
}

/// Makes links to the other end, over whichever node works.
pub trait Dial: Send + 'static {
    /// Makes a link. `attempt` counts the dials since the last good link, from 0. It is given up if it takes longer
    /// than the greeting may.
    ///
    /// # Errors
    /// Whether it makes sense to try again.
    fn dial(&mut self, attempt: u32) -> impl Future<Output = Result<Box<dyn Link>, DialError>> + Send;
}

/// Begins a connection over a first link, which `dialler` is asked for now; later ones as they are needed.
///
/// Returns as soon as there is a link: what is written travels right behind the greeting. Must be called in a tokio
/// runtime.
///
/// # Errors
/// Why the first dial failed. There are no second attempts at it: a dialler tries all nodes that it knows.
pub async fn connect<D: Dial>(
    mut dialler: D,
    config: Config,
    observer: Option<Observer>,
) -> Result<ResumeStream, DialError> {
    let link = dial(&mut dialler, 0, config).await?;
    let machine = (|| {
        let (id, key) = (Id::random()?, Ephemeral::random()?);
        Ok::<_, Error>(Machine::client(config, id, key, Instant::now()))
    })()
    .map_err(io::Error::from)?;
    let shared = Shared::new(machine, observer);
    tokio::spawn(drive(Arc::clone(&shared), dialler, config, link));
    Ok(ResumeStream::new(shared))
}

async fn dial<D: Dial>(dialler: &mut D, attempt: u32, config: Config) -> Result<Box<dyn Link>, DialError> {
    match tokio::time::timeout(config.greeting, dialler.dial(attempt)).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into()),
    }
}

async fn drive<D: Dial>(shared: Arc<Shared>, mut dialler: D, config: Config, first: Box<dyn Link>) {
    let mut next = Some(first);
    let mut attempt = 0;
    loop {
        let link = match next.take() {
            Some(link) => link,
            None => match redial(&shared, &mut dialler, config, &mut attempt).await {
                Some(link) => link,
                None => break,
            },
        };
        let before = shared.lock().machine.progress();
        let Some(mut carrier) = begin(&shared, link) else {
            break;
        };
        match carrier.run(&shared).await {
            End::Over => {
                carrier.close().await;
                break;
            }
            End::Lost(error) => {
                shared.lost(carrier.generation(), error);
            }
            End::Replaced => {}
        }
        // After a link that was of use, dialling begins at once again; links that open and break do not make it faster.
        if shared.lock().machine.progress() > before {
            attempt = 0;
        }
    }
    shared.tell(Event::Ended);
}

/// Greets on a link.
fn begin(shared: &Arc<Shared>, link: Box<dyn Link>) -> Option<Carrier> {
    let mut state = shared.lock();
    if state.machine.wants_restart() {
        let (Ok(id), Ok(key)) = (Id::random(), Ephemeral::random()) else {
            drop(state);
            shared.fail(Error::Crypto);
            return None;
        };
        state.machine.restart(id, key);
    }
    state.machine.connect(Instant::now());
    state.reason = None;
    state.generation += 1;
    Some(Carrier::new(link, BytesMut::new(), state.generation))
}

/// Dials until there is a link or no more need for one.
async fn redial<D: Dial>(
    shared: &Arc<Shared>,
    dialler: &mut D,
    config: Config,
    attempt: &mut u32,
) -> Option<Box<dyn Link>> {
    loop {
        let pause = backoff(&STEPS, *attempt, random());
        let dialling = async {
            tokio::time::sleep(pause).await;
            dial(dialler, *attempt, config).await
        };
        let result = tokio::select! {
            result = dialling => result,
            _ = wait(shared, |_| None::<()>) => return None,
        };
        *attempt = attempt.saturating_add(1);
        let error = match result {
            Ok(link) => return Some(link),
            Err(error) => error,
        };
        // If the grace runs out, people want to know what stood in the way.
        shared.lock().reason = Some(error.to_string().into());
        if let DialError::Never(_) = error {
            shared.fail(Error::NotDialled);
            return None;
        }
    }
}
