//! Clusters in one thread: everything that happens follows from a seed.
