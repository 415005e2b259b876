//! Where the tasks of a node run: on tokio, openraft's among them. A simulation, which has many nodes in one thread,
//! keeps those of each together, so that a node can stand still or die as a process does.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft::impls::TokioRuntime;
use tokio::task::{AbortHandle, JoinError, JoinHandle};

/// Has the tasks of one simulated node: all that it was given, and all that those spawned.
pub trait Keeper: Send + Sync {
    /// Whether a task of the node may go on; if not, the keeper wakes it when it may.
    fn may_run(&self, task: &mut Context<'_>) -> bool;
    /// The node has one more task. One of a node that is dead already is aborted by this.
    fn born(&self, task: AbortHandle);
    /// It has one less: ended, or aborted and dropped.
    fn ended(&self);
}

thread_local! {
    /// Of the task that runs just now. The product never has one.
    static KEEPER: RefCell<Option<Arc<dyn Keeper>>> = const { RefCell::new(None) };
}

fn keeper() -> Option<Arc<dyn Keeper>> {
    // While a thread ends there is none.
    KEEPER.try_with(|keeper| keeper.borrow().clone()).ok().flatten()
}

/// As long as it lives, what is spawned belongs to a keeper.
struct Inside(Option<Arc<dyn Keeper>>);

impl Inside {
    fn of(keeper: &Arc<dyn Keeper>) -> Self {
        Self(KEEPER.with(|current| current.replace(Some(Arc::clone(keeper)))))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        KEEPER.with(|current| current.replace(self.0.take()));
    }
}

/// A task of a simulated node.
struct Kept<F> {
    keeper: Arc<dyn Keeper>,
    task: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Kept<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.keeper.may_run(cx) {
            return Poll::Pending;
        }
        let keeper = Arc::clone(&self.keeper);
        let _inside = Inside::of(&keeper);
        match &mut self.task {
            Some(task) => task.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Kept<F> {
    fn drop(&mut self) {
        let _inside = Inside::of(&self.keeper);
        self.task = None;
        self.keeper.ended();
    }
}

/// Spawns a task that belongs to a simulated node, as will all that it spawns.
pub fn spawn_kept<F>(keeper: Arc<dyn Keeper>, task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let handle = tokio::spawn(Kept {
        keeper: Arc::clone(&keeper),
        task: Some(Box::pin(task)),
    });
    keeper.born(handle.abort_handle());
    handle
}

/// Spawns a task of the node that the current one belongs to.
pub(crate) fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match keeper() {
        None => tokio::spawn(task),
        Some(keeper) => spawn_kept(keeper, task),
    }
}

/// Does work that waits for the disk without holding up other tasks. A simulated disk makes nobody wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if keeper().is_none() {
        return tokio::task::spawn_blocking(work).await;
    }
    tokio::task::yield_now().await;
    Ok(work())
}

/// tokio, as openraft sees it.
pub(crate) struct Runtime(TokioRuntime);

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = JoinError;
    type JoinHandle<T: openraft::OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + openraft::OptionalSend> = tokio::time::Timeout<T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: openraft::OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + openraft::OptionalSend + 'static,
        T::Output: openraft::OptionalSend + 'static,
    {
        spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + openraft::OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + openraft::OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
