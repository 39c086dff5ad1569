//! A hint: which keys are about to be written.

use super::Store;
use super::leaf::Leaf;

impl Store {
    /// So many keys are asked for at once: enough for the memory of the first to be there when the
    /// last has been asked for, few enough for all of it to stay in the nearest cache.
    pub const PREFETCHED: usize = 8;

    /// Asks for the memory of the first [`Store::PREFETCHED`] of `keys`. Most of a write is waiting
    /// for it, for one thing after the other; so here all leaves are asked for first, then the
    /// records in them, each with one way down the tree.
    pub fn prefetch<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let mut asked: [Option<(&Leaf, &[u8])>; Store::PREFETCHED] = [None; Store::PREFETCHED];
        for (slot, key) in asked.iter_mut().zip(keys) {
            let leaf = self.tree.leaf_of(key);
            leaf.prefetch();
            *slot = Some((leaf, key));
        }
        for (leaf, key) in asked.into_iter().flatten() {
            leaf.prefetch_record(key);
        }
    }
}
