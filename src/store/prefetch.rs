//! A hint: which keys are about to be written.

use super::{KeyLookup, Store};

impl Store {
    /// Keys that are prefetched at once: enough for the memory of the first to be there when the
    /// last has been asked for, few enough for all of it to stay in the nearest cache.
    pub const PREFETCHED: usize = 8;

    /// Asks for the memory of the first [`Store::PREFETCHED`] of `keys`. Most of a write is waiting
    /// for it, for one thing after the other; so here each thing is asked for of all keys before
    /// the next one is.
    pub fn prefetch<'a>(&'a self, keys: impl Iterator<Item = &'a [u8]>) {
        let mut places: [Option<KeyLookup<'a>>; Store::PREFETCHED] = [const { None }; _];
        for (place, key) in places.iter_mut().zip(keys) {
            *place = Some(self.seek(key));
        }
        places.iter_mut().flatten().for_each(KeyLookup::approach);
        places.iter().flatten().for_each(KeyLookup::prefetch);
    }
}
