//! One run of one node's process: all of its tasks, which stand still together and die together.

use std::task::{Context, Waker};

use palisade_raft::Keeper;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The life of a process.
#[derive(Default)]
pub(crate) struct Life(Mutex<State>, Notify);

#[derive(Default)]
struct State {
    dead: bool,
    paused: bool,
    waiting: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    alive: usize,
}

/// As many handles may be of tasks that have ended.
const STALE: usize = 256;

impl Life {
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().dead
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.0.lock().paused
    }

    /// From now on nothing of it runs, as if by SIGSTOP: its timers run out meanwhile.
    pub(crate) fn pause(&self) {
        self.0.lock().paused = true;
    }

    pub(crate) fn resume(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.paused = false;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// From now on nothing of it runs; [`Life::end`] follows. For a process that ends itself.
    pub(crate) fn stop(&self) {
        self.0.lock().dead = true;
        self.1.notify_one();
    }

    /// Waits until it was stopped.
    pub(crate) async fn stopped(&self) {
        while !self.is_dead() {
            self.1.notified().await;
        }
    }

    /// Kills it, and waits until the last of its tasks is dropped.
    pub(crate) async fn end(&self) {
        let tasks = {
            let mut state = self.0.lock();
            state.dead = true;
            std::mem::take(&mut state.tasks)
        };
        for task in tasks {
            task.abort();
        }
        while self.0.lock().alive > 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl Keeper for Life {
    fn may_run(&self, task: &mut Context<'_>) -> bool {
        let mut state = self.0.lock();
        if state.paused {
            state.waiting.push(task.waker().clone());
        }
        !state.dead && !state.paused
    }

    fn born(&self, task: AbortHandle) {
        let mut state = self.0.lock();
        state.alive += 1;
        if state.dead {
            drop(state);
            task.abort();
            return;
        }
        if state.tasks.len() > STALE + 2 * state.alive {
            state.tasks.retain(|task| !task.is_finished());
        }
        state.tasks.push(task);
    }

    fn ended(&self) {
        self.0.lock().alive -= 1;
    }
}
