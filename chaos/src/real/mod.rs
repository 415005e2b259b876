//! Clusters of the shipped binary, with faults that the kernel makes.
