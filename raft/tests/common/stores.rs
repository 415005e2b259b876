pub fn open_stores(dir: &Path) -> (LogStore, StateStore) {
    std::fs::create_dir_all(dir).unwrap();
    (LogStore::default(), StateStore::new(dir))
}
