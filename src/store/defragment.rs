//! Giving memory back, in slices.

use super::Store;
use crate::types::Blob;

impl Store {
    /// Repacks leaves and queues of versions of about `keys` keys; true when it has been through
    /// all of them, and from then on as much is held as is in use.
    pub fn defragment_slice(&mut self, keys: usize) -> bool {
        let start = std::mem::replace(&mut self.defragment_next, Blob::empty());
        match self.tree.repack(&start, keys) {
            Some(next) => {
                self.defragment_next = next;
                false
            }
            None => {
                self.timeline.shrink();
                self.sizes.give_back();
                true
            }
        }
    }
}
