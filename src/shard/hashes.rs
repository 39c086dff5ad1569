//! Hashes that were asked for: one scan of the store for all who ask about the same revision, and
//! none for those who have left.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::HashCursor;
use crate::types::{Origin, Revision};

/// In order of arrival; the first is under way.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    hashes: BTreeMap<u64, Hashing>,
    by_revision: BTreeMap<Revision, u64>,
    by_origin: BTreeMap<Origin, u64>,
    last: u64,
}

#[derive(Debug)]
pub(super) struct Hashing {
    pub at: Revision,
    pub cursor: HashCursor,
    /// The requests that wait for it.
    origins: BTreeSet<Origin>,
}

impl Hashes {
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// `origin` asks for the hash at a revision.
    pub fn ask(&mut self, origin: Origin, at: Revision) {
        let number = *self.by_revision.entry(at).or_insert_with(|| {
            self.last += 1;
            let hashing = Hashing { at, cursor: HashCursor::new(at), origins: BTreeSet::new() };
            self.hashes.insert(self.last, hashing);
            self.last
        });
        self.hashes.get_mut(&number).expect("numbered").origins.insert(origin);
        self.by_origin.insert(origin, number);
    }

    /// The one that is under way.
    pub fn first(&mut self) -> Option<&mut Hashing> {
        self.hashes.first_entry().map(|first| first.into_mut())
    }

    /// The one that was under way is done: who waits for it.
    pub fn finish(&mut self) -> BTreeSet<Origin> {
        let Some((_, hashing)) = self.hashes.pop_first() else { return BTreeSet::new() };
        self.by_revision.remove(&hashing.at);
        for origin in &hashing.origins {
            self.by_origin.remove(origin);
        }
        hashing.origins
    }

    /// Drops a request whose client left; it is no error if that asked for no hash.
    pub fn cancel(&mut self, origin: Origin) {
        let Some(number) = self.by_origin.remove(&origin) else { return };
        let hashing = self.hashes.get_mut(&number).expect("numbered");
        hashing.origins.remove(&origin);
        if hashing.origins.is_empty() {
            self.by_revision.remove(&hashing.at);
            self.hashes.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CoreId;

    fn origin(call: u64) -> Origin {
        Origin { core: CoreId(0), call, part: 0 }
    }

    #[test]
    fn one_scan_is_for_all_who_ask_about_a_revision() {
        let mut hashes = Hashes::default();
        (0..3000).for_each(|call| hashes.ask(origin(call), Revision(5 + call as i64 % 2)));
        assert_eq!(hashes.hashes.len(), 2);
        assert_eq!(hashes.first().unwrap().at, Revision(5));
        assert_eq!(hashes.finish().len(), 1500);
        // One that comes while a scan is under way shares it.
        hashes.ask(origin(7000), Revision(6));
        assert_eq!(hashes.finish().len(), 1501);
        assert!(hashes.is_empty() && hashes.by_revision.is_empty() && hashes.by_origin.is_empty());
    }

    #[test]
    fn a_scan_that_nobody_waits_for_is_given_up() {
        let mut hashes = Hashes::default();
        (0..3000).for_each(|call| hashes.ask(origin(call), Revision(call as i64 / 2)));
        (0..2999).for_each(|call| hashes.cancel(origin(call)));
        hashes.cancel(origin(2));
        assert_eq!(hashes.first().unwrap().at, Revision(1499));
        assert_eq!(hashes.finish().into_iter().collect::<Vec<_>>(), [origin(2999)]);
        assert!(hashes.is_empty() && hashes.by_revision.is_empty() && hashes.by_origin.is_empty());
    }
}
