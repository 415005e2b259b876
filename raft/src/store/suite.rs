//! openraft's own tests of a store, on the real ones.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use palisade_core::kv::Kv;
use palisade_storage::{LogOptions, LogStore, StateOptions, StateStore};
use tokio::sync::watch;

use super::{Applied, AppliedAt, Apply, Fault, Log, LogPosition, StateMachine};
use crate::shared::FatalHook;
use crate::types::TypeConfig;

struct Nothing;

impl Apply for Nothing {
    fn apply(&self, _kv: &dyn Kv, _at: LogPosition, _entry: &[u8]) -> Result<Applied, Fault> {
        Ok(Applied::default())
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, Log, StateMachine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("tempdir");
        let log = LogStore::open(&dir.path().join("raft"), LogOptions::default()).expect("log");
        let state = StateStore::open(dir.path(), StateOptions::default()).expect("state");
        let (applied, _) = watch::channel(AppliedAt::default());
        let fatal = Arc::new(FatalHook::new(Arc::new(|why: &str| eprintln!("fatal: {why}"))));
        let machine = StateMachine::new(state, Arc::new(Nothing), applied, fatal).expect("state machine");
        Ok((dir, Log::new(log), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storage_suite_of_openraft_passes_on_the_real_stores() {
    Suite::test_all(Builder).await.expect("the suite");
}
