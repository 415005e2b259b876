/// The real stores, in one directory per node. A node that was just stopped may hold its own for a moment longer.
pub async fn open_stores(dir: &Path) -> (LogStore, StateStore) {
    std::fs::create_dir_all(dir).unwrap();
    let log = eventually("the log is free", 10, || {
        match LogStore::open(&dir.join("raft"), LogOptions { cache: 4 << 20, ..LogOptions::default() }) {
            Ok(log) => Some(log),
            Err(OpenError::Locked { .. }) => None,
            Err(e) => panic!("{e}"),
        }
    })
    .await;
    let state = eventually("the state is free", 10, || {
        match StateStore::open(dir, StateOptions { cache: 4 << 20, ..StateOptions::default() }) {
            Ok(state) => Some(state),
            Err(OpenError::Locked { .. }) => None,
            Err(e) => panic!("{e}"),
        }
    })
    .await;
    (log, state)
}
