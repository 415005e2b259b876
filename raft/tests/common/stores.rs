/// The real stores, in one directory per node.
pub fn open_stores(dir: &Path) -> (LogStore, StateStore) {
    std::fs::create_dir_all(dir).unwrap();
    let log = LogStore::open(&dir.join("raft"), LogOptions { cache: 4 << 20, ..LogOptions::default() }).unwrap();
    let state = StateStore::open(dir, StateOptions { cache: 4 << 20, ..StateOptions::default() }).unwrap();
    (log, state)
}
