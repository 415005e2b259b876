//! The agent's ends: a register of connections, and the links that come in for them.

use super::carrier::End;
use super::error::Error;
use super::frame::{Frame, FrameError, Hello, Refusal, decode, encode};
use super::machine::Machine;
use super::stream::{ResumeStream, Shared, State, wait};
use super::token::{Ephemeral, Id};
use super::{Config, Event, Link, Observer};
use bytes::BytesMut;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A refusal is written for so long; a peer that does not take it misses it.
const REFUSAL: Duration = Duration::from_secs(1);

/// What became of a link.
#[derive(Debug)]
pub enum Accepted<M> {
    /// It began a connection.
    New {
        /// The connection.
        stream: ResumeStream,
        /// What was said about its link.
        about: Arc<M>,
    },
    /// It goes on with one.
    Resumed {
        /// Which.
        id: Id,
        /// What was said about the link that began it.
        about: Arc<M>,
        /// What was said about this one.
        fresh: M,
    },
}

/// Why a link was refused, with the connection that it was about, if it said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// The connection named in the greeting.
    pub id: Option<Id>,
    /// Why. The connection of that name, if there is one, is as it was.
    pub error: Error,
}

/// The connections of one agent. `M` is what its user knows about a link: the pass that came with it.
pub struct Acceptor<M> {
    inner: Arc<Inner<M>>,
}

struct Inner<M> {
    config: Config,
    most: usize,
    observer: Option<Observer>,
    connections: Mutex<HashMap<Id, Entry<M>>>,
}

struct Entry<M> {
    shared: Arc<Shared>,
    about: Arc<M>,
}

impl<M> Clone for Acceptor<M> {
    fn clone(&self) -> Self {
        Acceptor {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<M> fmt::Debug for Acceptor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl<M: Send + Sync + 'static> Acceptor<M> {
    /// A register of at most `most` connections.
    pub fn new(config: Config, most: usize, observer: Option<Observer>) -> Self {
        Acceptor {
            inner: Arc::new(Inner {
                config,
                most,
                observer,
                connections: Mutex::default(),
            }),
        }
    }

    /// Connections that live, those without a link among them.
    pub fn len(&self) -> usize {
        self.inner.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the greeting on a link and begins a connection or goes on with one. `about` is kept with a new one.
    ///
    /// Before a connection is resumed, and after the token has proved it, `same` is asked whether whoever brought this
    /// link may have it: it sees what was said about the link that began it, and about this one. A link that the
    /// client replaces is dropped, also if it still seems to live.
    ///
    /// # Errors
    /// Why the link was refused, for the audit; the client was told. No connection has changed.
    pub async fn accept(
        &self,
        mut link: Box<dyn Link>,
        about: M,
        same: impl FnOnce(&M, &M) -> bool + Send,
    ) -> Result<Accepted<M>, Refused> {
        let mut input = BytesMut::new();
        let read = read_hello(&mut link, &mut input);
        let (id, error) = match tokio::time::timeout(self.inner.config.greeting, read).await {
            Err(_) => (None, Error::Greeting),
            Ok(Err(error)) => (None, error),
            Ok(Ok(hello)) => {
                let id = hello.id();
                let result = match hello {
                    Hello::New { .. } => self.begin(&hello, link, input, about),
                    Hello::Resume { .. } => self.resume(&hello, link, input, about, same),
                };
                match result {
                    Ok(accepted) => return Ok(accepted),
                    Err((error, back)) => {
                        link = back;
                        (Some(id), error)
                    }
                }
            }
        };
        refuse(&mut link, error).await;
        Err(Refused { id, error })
    }

    fn begin(
        &self,
        hello: &Hello,
        link: Box<dyn Link>,
        input: BytesMut,
        about: M,
    ) -> Result<Accepted<M>, (Error, Box<dyn Link>)> {
        let config = self.inner.config;
        let machine = Ephemeral::random().and_then(|key| Machine::agent(config, hello, key, Instant::now()));
        let machine = match machine {
            Ok(machine) => machine,
            Err(error) => return Err((error, link)),
        };
        let id = hello.id();
        let about = Arc::new(about);
        let shared = Shared::new(machine, self.inner.observer.clone());
        {
            let mut connections = self.inner.lock();
            if connections.contains_key(&id) {
                return Err((Error::IdInUse, link));
            }
            if connections.len() >= self.inner.most {
                return Err((Error::Full, link));
            }
            connections.insert(
                id,
                Entry {
                    shared: Arc::clone(&shared),
                    about: Arc::clone(&about),
                },
            );
        }
        shared.lock().offer(link, input).wake();
        tokio::spawn(drive(
            Arc::clone(&shared),
            Gone {
                inner: Arc::downgrade(&self.inner),
                id,
            },
        ));
        Ok(Accepted::New {
            stream: ResumeStream::new(shared),
            about,
        })
    }

    fn resume(
        &self,
        hello: &Hello,
        link: Box<dyn Link>,
        input: BytesMut,
        fresh: M,
        same: impl FnOnce(&M, &M) -> bool,
    ) -> Result<Accepted<M>, (Error, Box<dyn Link>)> {
        let id = hello.id();
        let found = self
            .inner
            .lock()
            .get(&id)
            .map(|entry| (Arc::clone(&entry.shared), Arc::clone(&entry.about)));
        let Some((shared, about)) = found else {
            return Err((Error::Unknown, link));
        };
        if let Err(error) = shared.lock().machine.prove(hello) {
            return Err((error, link));
        }
        if !same(&about, &fresh) {
            return Err((Error::Owner, link));
        }
        let mut state = shared.lock();
        if let Err(error) = state.machine.resume(hello, Instant::now()) {
            return Err((error, link));
        }
        let (driver, wakers) = (state.offer(link, input), state.due_wakers());
        drop(state);
        driver.wake();
        wakers.wake();
        Ok(Accepted::Resumed { id, about, fresh })
    }
}

impl<M> Inner<M> {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Id, Entry<M>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a connection out of the register when its driver ends, however it ends.
struct Gone<M> {
    inner: Weak<Inner<M>>,
    id: Id,
}

impl<M> Drop for Gone<M> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.lock().remove(&self.id);
        }
    }
}

async fn drive<M>(shared: Arc<Shared>, gone: Gone<M>) {
    while let Some(mut carrier) = wait(&shared, State::take_offer).await {
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
    }
    drop(gone);
    shared.fail(Error::Ended);
    shared.tell(Event::Ended);
}

async fn read_hello(link: &mut Box<dyn Link>, input: &mut BytesMut) -> Result<Hello, Error> {
    loop {
        match decode(input)? {
            Some(Frame::Hello(hello)) => return Ok(hello),
            Some(_) => return Err(Error::Unexpected("a frame before the greeting")),
            None => {}
        }
        input.reserve(512);
        match link.read_buf(input).await {
            Ok(0) | Err(_) => return Err(Error::LinkEnded),
            Ok(_) => {}
        }
    }
}

async fn refuse(link: &mut Box<dyn Link>, error: Error) {
    let refusal = match error {
        Error::Unknown => Refusal::Unknown,
        Error::Full => Refusal::Full,
        Error::Frame(FrameError::Version(_)) => Refusal::Protocol,
        // Who does not speak this protocol is not answered in it.
        Error::Frame(_) | Error::LinkEnded | Error::Greeting => return,
        _ => Refusal::Denied,
    };
    let mut out = BytesMut::new();
    encode(&mut out, &Frame::Refuse(refusal));
    let said = async {
        link.write_all(&out).await?;
        link.shutdown().await
    };
    let _ = tokio::time::timeout(REFUSAL, said).await;
}
