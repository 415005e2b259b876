//! The Merkle tree of the audit log, as RFC 6962 section 2.1 defines it (Certificate Transparency).
//!
//! The tree grows at its right end only. [`Frontier`] is what must be kept to append and to know the root: the
//! roots of the complete subtrees along the right edge, at most 64 hashes. Proofs are made from a function that
//! gives the hash of any complete subtree, so that the store decides what it keeps and what it computes again.
//!
//! Leaf hashes and node hashes are told apart by a first byte (0 and 1), so no leaf can pass for a node.

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The version byte of a stored [`Frontier`].
pub const FRONTIER_VERSION: u8 = 1;

/// No log grows beyond this; a stored size above it is damage.
const SIZE_MAX: u64 = 1 << 53;

/// The hash of a leaf's bytes.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(leaf)
        .finalize()
        .into()
}

/// The hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The root of a tree without leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The root of the tree over these leaf hashes.
pub fn root_of(leaf_hashes: impl IntoIterator<Item = Hash>) -> Hash {
    let mut frontier = Frontier::default();
    for hash in leaf_hashes {
        frontier.append(hash);
    }
    frontier.root()
}

/// The right edge of a tree: enough to append to it and to know its root, in space that grows with the
/// logarithm of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees whose sizes are the powers of two in `size`, largest first.
    peaks: Vec<Hash>,
}

/// Stored bytes that are not a frontier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// A version from the future, or damage.
    #[error("audit tree: format version {0} is not known (this program reads up to {FRONTIER_VERSION})")]
    Version(u8),
    /// The bytes do not fit the size they state.
    #[error("audit tree: {len} bytes are not a tree edge")]
    Shape {
        /// How many bytes there were.
        len: usize,
    },
}

impl Frontier {
    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf by its hash, and returns its index.
    pub fn append(&mut self, leaf_hash: Hash) -> u64 {
        self.append_with(leaf_hash, |_, _, _| {})
    }

    /// Adds a leaf, and tells of every subtree that it completes: level, index within the level, hash. The leaf
    /// itself comes first, as level 0. A store that keeps them can prove without hashing again.
    pub fn append_with(&mut self, leaf_hash: Hash, mut completed: impl FnMut(u32, u64, &Hash)) -> u64 {
        let index = self.size;
        let mut hash = leaf_hash;
        completed(0, index, &hash);
        for level in 0..index.trailing_ones() {
            // A set bit of the size is a peak; the type keeps as many peaks as bits.
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            completed(level + 1, index >> (level + 1), &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
        index
    }

    /// Adds a complete subtree of `1 << level` leaves by its root. Refused, with nothing changed, where no such subtree can
    /// begin: the size must be a multiple of its leaves.
    pub fn append_subtree(&mut self, level: u32, root: Hash) -> bool {
        let leaves = 1u64 << level.min(62);
        if !self.size.is_multiple_of(leaves) {
            return false;
        }
        let mut hash = root;
        for _ in 0..(self.size >> level).trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += leaves;
        true
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// The bytes to store: version, size, peaks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + 32 * self.peaks.len());
        bytes.push(FRONTIER_VERSION);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        for peak in &self.peaks {
            bytes.extend_from_slice(peak);
        }
        bytes
    }

    /// Reads stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrontierError> {
        let shape = || FrontierError::Shape { len: bytes.len() };
        let (&version, rest) = bytes.split_first().ok_or_else(shape)?;
        if version != FRONTIER_VERSION {
            return Err(FrontierError::Version(version));
        }
        let (size, peaks) = rest.split_first_chunk::<8>().ok_or_else(shape)?;
        let size = u64::from_be_bytes(*size);
        let (peaks, extra) = peaks.as_chunks::<32>();
        if size > SIZE_MAX || !extra.is_empty() || peaks.len() as u64 != u64::from(size.count_ones()) {
            return Err(shape());
        }
        Ok(Self {
            size,
            peaks: peaks.to_vec(),
        })
    }
}

/// Why a proof is not accepted, or cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf is not in a tree of this size, or the older tree is larger than the newer one.
    #[error("position {position} is outside a tree of {size} leaves")]
    Outside {
        /// The leaf's index, or the older size.
        position: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The proof has too many or too few hashes for this position and size.
    #[error("the proof has the wrong length")]
    Length,
    /// The proof leads to another root than the one given.
    #[error("the proof does not lead to the given root")]
    Root,
    /// The proof does not contain the older tree that was given.
    #[error("the older tree is not the beginning of this one")]
    OlderRoot,
}

/// Why a proof could not be made: the question was wrong, or the store failed.
#[derive(Debug, thiserror::Error)]
pub enum MakeProofError<E> {
    /// There is no such proof.
    #[error(transparent)]
    Asked(#[from] ProofError),
    /// A subtree's hash could not be had.
    #[error("a hash of the tree is missing")]
    Store(#[source] E),
}

/// The hashes that lead from leaf `index` to the root of the first `size` leaves (RFC 6962, 2.1.1).
///
/// `subtree(level, index)` gives the hash over the leaves `index << level .. (index + 1) << level`; only complete
/// subtrees inside the first `size` leaves are asked for.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    mut subtree: impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, MakeProofError<E>> {
    if index >= size {
        return Err(ProofError::Outside {
            position: index,
            size,
        }
        .into());
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        let (from, to) = if index < middle {
            (middle, end)
        } else {
            (start, middle)
        };
        proof.push(range_hash(from, to, &mut subtree).map_err(MakeProofError::Store)?);
        if index < middle {
            end = middle
        } else {
            start = middle
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The hashes that show that the first `old` leaves of a tree of `new` are the older tree (RFC 6962, 2.1.2).
pub fn consistency_proof<E>(
    old: u64,
    new: u64,
    mut subtree: impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, MakeProofError<E>> {
    if old > new {
        return Err(ProofError::Outside {
            position: old,
            size: new,
        }
        .into());
    }
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    // Whether the part of the older tree in view is the whole older tree, whose root the verifier has.
    let mut whole = true;
    while old != end {
        let middle = start + split(end - start);
        let (from, to) = if old <= middle {
            (middle, end)
        } else {
            (start, middle)
        };
        proof.push(range_hash(from, to, &mut subtree).map_err(MakeProofError::Store)?);
        if old <= middle {
            end = middle;
        } else {
            start = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range_hash(start, end, &mut subtree).map_err(MakeProofError::Store)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that a leaf is at `index` of the tree of `size` leaves with this root.
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Outside {
            position: index,
            size,
        });
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf_hash;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            // On the right edge, levels without a sibling are passed over.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// Checks that the tree of `old` leaves with `old_root` is the beginning of the tree of `new` with `new_root`.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Outside {
            position: old,
            size: new,
        });
    }
    if old == 0 || old == new {
        if !proof.is_empty() {
            return Err(ProofError::Length);
        }
        let expected = if old == 0 { empty_root() } else { *new_root };
        return if *old_root == expected {
            Ok(())
        } else {
            Err(ProofError::OlderRoot)
        };
    }
    // The older tree is one complete subtree: its root, which the verifier has, is left out of the proof.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length)?
    };
    let skipped = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> skipped, (new - 1) >> skipped);
    let (mut older, mut newer) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            older = node_hash(sibling, &older);
            newer = node_hash(sibling, &newer);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            newer = node_hash(&newer, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if older != *old_root {
        return Err(ProofError::OlderRoot);
    }
    if newer != *new_root {
        return Err(ProofError::Root);
    }
    Ok(())
}

/// Where a tree of `n > 1` leaves splits: the largest power of two below `n`.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// The root over a range of leaves that a split can yield: its start is a multiple of the largest power of two
/// within its length, so it is a row of complete subtrees of falling size.
fn range_hash<E>(
    start: u64,
    end: u64,
    subtree: &mut impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let mut peaks = Vec::new();
    let mut at = start;
    while at < end {
        let level = 63 - (end - at).leading_zeros();
        peaks.push(subtree(level, at >> level)?);
        at += 1 << level;
    }
    let mut peaks = peaks.into_iter().rev();
    let last = peaks.next().unwrap_or_else(empty_root);
    Ok(peaks.fold(last, |right, left| node_hash(&left, &right)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn h(hex: &str) -> Hash {
        hex::decode(hex).expect("hex").try_into().expect("32 bytes")
    }

    /// The leaves and roots that Certificate Transparency's own implementations are tested with
    /// (google/certificate-transparency: cpp/merkletree/merkle_tree_test.cc).
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn known_leaves() -> Vec<Hash> {
        LEAVES
            .iter()
            .map(|leaf| leaf_hash(&hex::decode(leaf).expect("hex")))
            .collect()
    }

    /// RFC 6962's definition, word for word.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
            }
        }
    }

    fn subtrees(leaves: &[Hash]) -> impl FnMut(u32, u64) -> Result<Hash, Infallible> + '_ {
        |level, index| {
            let width = 1usize << level;
            let start = index as usize * width;
            Ok(naive_root(&leaves[start..start + width]))
        }
    }

    fn leaves(n: usize) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        assert_eq!(
            empty_root(),
            h("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        );
        assert_eq!(Frontier::default().root(), empty_root());
        let leaves = known_leaves();
        let mut frontier = Frontier::default();
        for (i, root) in ROOTS.iter().enumerate() {
            assert_eq!(frontier.append(leaves[i]), i as u64);
            assert_eq!(frontier.root(), h(root));
            assert_eq!(root_of(leaves[..=i].iter().copied()), h(root));
        }
    }

    #[test]
    fn the_proofs_are_those_of_certificate_transparency() {
        let leaves = known_leaves();
        let inclusion = |index, size: usize| {
            inclusion_proof(index, size as u64, subtrees(&leaves[..size])).expect("inside")
        };
        assert_eq!(
            inclusion(0, 8),
            [
                h("96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"),
                h("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"),
                h("6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"),
            ]
        );
        assert_eq!(
            inclusion(5, 8),
            [
                h("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
                h("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
                h("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
            ]
        );
        let consistency = consistency_proof(6, 8, subtrees(&leaves)).expect("inside");
        assert_eq!(
            consistency,
            [
                h("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
                h("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
                h("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
            ]
        );
    }

    #[test]
    fn every_proof_of_every_small_tree_verifies_and_no_other() {
        let all = leaves(33);
        let mut frontier = Frontier::default();
        for size in 1..=all.len() {
            frontier.append(all[size - 1]);
            let (tree, n) = (&all[..size], size as u64);
            let root = naive_root(tree);
            assert_eq!(frontier.root(), root);
            for index in 0..n {
                let proof = inclusion_proof(index, n, subtrees(tree)).expect("inside");
                let leaf = &tree[index as usize];
                assert_eq!(verify_inclusion(leaf, index, n, &proof, &root), Ok(()));
                let mut longer = proof.clone();
                longer.push([0; 32]);
                assert_eq!(
                    verify_inclusion(leaf, index, n, &longer, &root),
                    Err(ProofError::Length)
                );
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(verify_inclusion(leaf, index, n, shorter, &root).is_err());
                }
                for other in (0..n).filter(|other| *other != index) {
                    assert!(verify_inclusion(leaf, other, n, &proof, &root).is_err());
                }
            }
            for old in 0..=n {
                let old_root = naive_root(&all[..old as usize]);
                let proof = consistency_proof(old, n, subtrees(tree)).expect("inside");
                assert_eq!(verify_consistency(old, n, &old_root, &root, &proof), Ok(()));
                assert!(verify_consistency(old, n, &[7; 32], &root, &proof).is_err());
                if old > 0 {
                    assert!(verify_consistency(old, n, &old_root, &[7; 32], &proof).is_err());
                }
            }
        }
    }

    #[test]
    fn questions_outside_the_tree_are_refused() {
        let all = leaves(4);
        assert!(matches!(
            inclusion_proof(4, 4, subtrees(&all)),
            Err(MakeProofError::Asked(ProofError::Outside {
                position: 4,
                size: 4
            }))
        ));
        assert!(consistency_proof(5, 4, subtrees(&all)).is_err());
        assert!(verify_inclusion(&all[0], 0, 0, &[], &empty_root()).is_err());
        assert!(verify_consistency(5, 4, &[0; 32], &[0; 32], &[]).is_err());
        let failing = |_, _| Err::<Hash, _>("disk");
        assert!(matches!(
            inclusion_proof(0, 4, failing),
            Err(MakeProofError::Store("disk"))
        ));
    }

    #[test]
    fn completed_subtrees_are_told_once_and_suffice_for_proofs() {
        let all = leaves(21);
        let mut kept = std::collections::BTreeMap::new();
        let mut frontier = Frontier::default();
        for leaf in &all {
            frontier.append_with(*leaf, |level, index, hash| {
                assert!(kept.insert((level, index), *hash).is_none());
            });
        }
        let mut subtree = |level, index| kept.get(&(level, index)).copied().ok_or("not kept");
        for index in 0..21 {
            let proof = inclusion_proof(index, 21, &mut subtree).expect("kept");
            assert_eq!(
                verify_inclusion(&all[index as usize], index, 21, &proof, &frontier.root()),
                Ok(())
            );
        }
        for old in 0..21 {
            consistency_proof(old, 21, &mut subtree).expect("kept");
        }
    }

    #[test]
    fn stored_bytes_keep_their_form() {
        let mut frontier = Frontier::default();
        for leaf in known_leaves() {
            frontier.append(leaf);
        }
        frontier.append(leaf_hash(b"x"));
        let bytes = frontier.to_bytes();
        // The form of version 1, kept for good.
        assert_eq!(
            hex::encode(&bytes),
            "010000000000000009".to_owned() + ROOTS[7] + &hex::encode(leaf_hash(b"x"))
        );
        assert_eq!(Frontier::from_bytes(&bytes), Ok(frontier));
        assert_eq!(Frontier::from_bytes(&[2, 0]), Err(FrontierError::Version(2)));
        for bad in [
            &bytes[..0],
            &bytes[..5],
            &bytes[..9],
            &bytes[..bytes.len() - 1],
            &[&bytes[..], &[0]].concat(),
        ] {
            assert_eq!(
                Frontier::from_bytes(bad),
                Err(FrontierError::Shape { len: bad.len() })
            );
        }
        let mut huge = vec![1];
        huge.extend_from_slice(&u64::MAX.to_be_bytes());
        huge.extend_from_slice(&[0; 64 * 32]);
        assert!(Frontier::from_bytes(&huge).is_err());
    }

    proptest! {
        #[test]
        fn whole_subtrees_add_what_their_leaves_would(before in 0usize..64, level in 0u32..6, after in 0usize..40) {
            let whole = 1usize << level;
            let all = leaves(before + whole + after);
            let mut tree = Frontier::default();
            for leaf in &all[..before] {
                tree.append(*leaf);
            }
            let root = naive_root(&all[before..before + whole]);
            let added = tree.append_subtree(level, root);
            prop_assert_eq!(added, before.is_multiple_of(whole), "one begins only where one can");
            if added {
                for leaf in &all[before + whole..] {
                    tree.append(*leaf);
                }
                prop_assert_eq!(tree.root(), naive_root(&all));
            } else {
                prop_assert_eq!(tree.root(), naive_root(&all[..before]), "nothing changed");
            }
        }

        #[test]
        fn a_frontier_stored_and_read_goes_on_as_before(n in 0usize..200, more in 0usize..50) {
            let all = leaves(n + more);
            let mut frontier = Frontier::default();
            for leaf in &all[..n] {
                frontier.append(*leaf);
            }
            let mut again = Frontier::from_bytes(&frontier.to_bytes()).expect("own bytes");
            for leaf in &all[n..] {
                again.append(*leaf);
            }
            prop_assert_eq!(again.size(), (n + more) as u64);
            prop_assert_eq!(again.root(), naive_root(&all));
        }

        #[test]
        fn any_flipped_bit_fails(
            n in 2usize..130, at in any::<prop::sample::Index>(), old in any::<prop::sample::Index>(), bit in 0usize..256,
            which in any::<prop::sample::Index>(),
        ) {
            let all = leaves(n);
            let (index, old) = (at.index(n), old.index(n - 1) + 1);
            let root = naive_root(&all);
            let size = n as u64;
            let flip = |hash: &mut Hash| hash[bit / 8] ^= 1 << (bit % 8);

            let mut proof = inclusion_proof(index as u64, size, subtrees(&all)).expect("inside");
            prop_assert_eq!(verify_inclusion(&all[index], index as u64, size, &proof, &root), Ok(()));
            let mut leaf = all[index];
            flip(&mut leaf);
            prop_assert!(verify_inclusion(&leaf, index as u64, size, &proof, &root).is_err());
            let i = which.index(proof.len());
            flip(&mut proof[i]);
            prop_assert!(verify_inclusion(&all[index], index as u64, size, &proof, &root).is_err());

            let old_root = naive_root(&all[..old]);
            let mut proof = consistency_proof(old as u64, size, subtrees(&all)).expect("inside");
            prop_assert_eq!(verify_consistency(old as u64, size, &old_root, &root, &proof), Ok(()));
            let mut other = old_root;
            flip(&mut other);
            prop_assert!(verify_consistency(old as u64, size, &other, &root, &proof).is_err());
            let mut other = root;
            flip(&mut other);
            prop_assert!(verify_consistency(old as u64, size, &old_root, &other, &proof).is_err());
            let i = which.index(proof.len());
            flip(&mut proof[i]);
            prop_assert!(verify_consistency(old as u64, size, &old_root, &root, &proof).is_err());
        }

        #[test]
        fn arbitrary_input_never_panics(
            index in any::<u64>(), size in any::<u64>(), proof in prop::collection::vec(any::<[u8; 32]>(), 0..70),
            bytes in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let root = [9; 32];
            prop_assert!(verify_inclusion(&root, index, size, &proof, &root).is_err() || size == 1);
            let _ = verify_consistency(index, size, &root, &root, &proof);
            let _ = Frontier::from_bytes(&bytes);
        }
    }
}
