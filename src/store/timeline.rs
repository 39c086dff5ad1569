//! The index from revisions to keys: every change in the order it was made.
//!
//! It is what rolls back (from its end), compacts (from its start), and tells a watcher that
//! catches up what changed. A change takes 12 bytes: four of revision above its chunk's base and a
//! pointer that shares the key. What changed in it is found in the key's record.

use std::collections::VecDeque;

use crate::types::Blob;

/// Changes of a chunk at most.
const CHUNK_CHANGES: usize = 256;

/// Invariants: revisions do not descend; no chunk is empty; ordinals count on without gaps.
#[derive(Default)]
pub(super) struct Timeline {
    chunks: VecDeque<Chunk>,
}

struct Chunk {
    /// Number of the chunk's first change since the store began, before any that was taken from
    /// the front.
    ordinal: u64,
    base: i64,
    /// Changes taken from the front; their keys are gone.
    taken: usize,
    above_base: Vec<u32>,
    keys: Vec<Blob>,
}

impl Chunk {
    fn revision(&self, i: usize) -> i64 {
        self.base + i64::from(self.above_base[i])
    }

    fn last(&self) -> i64 {
        self.revision(self.above_base.len() - 1)
    }

    /// The ordinal behind its last change.
    fn end(&self) -> u64 {
        self.ordinal + self.keys.len() as u64
    }

    /// The first place whose revision is above `revision`.
    fn place_after(&self, revision: i64) -> usize {
        self.above_base.partition_point(|&above| self.base + i64::from(above) <= revision)
    }
}

impl Timeline {
    pub(super) fn push(&mut self, revision: i64, key: &Blob) {
        if let Some(chunk) = self.chunks.back_mut() {
            assert!(revision >= chunk.last(), "changes come in the order of revisions");
            if chunk.keys.len() < CHUNK_CHANGES
                && let Ok(above) = u32::try_from(revision - chunk.base)
            {
                chunk.above_base.push(above);
                chunk.keys.push(key.clone());
                return;
            }
        }
        let mut chunk = Chunk {
            ordinal: self.end(),
            base: revision,
            taken: 0,
            above_base: Vec::with_capacity(CHUNK_CHANGES),
            keys: Vec::with_capacity(CHUNK_CHANGES),
        };
        chunk.above_base.push(0);
        chunk.keys.push(key.clone());
        self.chunks.push_back(chunk);
    }

    /// Adds the changes of all `keys` at `revision`, chunk by chunk.
    pub(super) fn append(&mut self, revision: i64, keys: OrderedKeys) {
        let newest = self.newest();
        assert!(newest.is_none_or(|newest| revision >= newest), "in the order of revisions");
        for OrderedChunk { keys, above_base } in keys.chunks {
            let ordinal = self.end();
            self.chunks.push_back(Chunk { ordinal, base: revision, taken: 0, above_base, keys });
        }
    }

    /// The ordinal that the next change gets.
    pub(super) fn end(&self) -> u64 {
        self.chunks.back().map_or(0, Chunk::end)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn newest(&self) -> Option<i64> {
        self.chunks.back().map(Chunk::last)
    }

    pub(super) fn front(&self) -> Option<(i64, &Blob)> {
        let chunk = self.chunks.front()?;
        Some((chunk.revision(chunk.taken), &chunk.keys[chunk.taken]))
    }

    pub(super) fn pop_front(&mut self) -> Option<(i64, Blob)> {
        let chunk = self.chunks.front_mut()?;
        let revision = chunk.revision(chunk.taken);
        let key = std::mem::take(&mut chunk.keys[chunk.taken]);
        chunk.taken += 1;
        if chunk.taken == chunk.keys.len() {
            self.chunks.pop_front();
        }
        Some((revision, key))
    }

    pub(super) fn pop_back(&mut self) -> Option<(i64, Blob)> {
        let chunk = self.chunks.back_mut()?;
        let revision = chunk.last();
        chunk.above_base.pop();
        let key = chunk.keys.pop().expect("no chunk is empty");
        if chunk.taken == chunk.keys.len() {
            self.chunks.pop_back();
        }
        Some((revision, key))
    }

    /// The `nth` change from the front.
    pub(super) fn get(&self, nth: usize) -> Option<(i64, &Blob)> {
        let front = self.chunks.front()?;
        let ordinal = front.ordinal + (front.taken + nth) as u64;
        let at = self.chunks.partition_point(|chunk| chunk.ordinal <= ordinal) - 1;
        let chunk = &self.chunks[at];
        let i = (ordinal - chunk.ordinal) as usize;
        Some((chunk.keys.get(i).map(|_| chunk.revision(i))?, &chunk.keys[i]))
    }

    /// The ordinal of the first change above `revision`.
    pub(super) fn ordinal_above(&self, revision: i64) -> u64 {
        let at = self.chunks.partition_point(|chunk| chunk.last() <= revision);
        let Some(chunk) = self.chunks.get(at) else { return self.end() };
        chunk.ordinal + chunk.place_after(revision).max(chunk.taken) as u64
    }

    /// The changes from an ordinal on that has not been taken from the front, oldest first.
    pub(super) fn since_ordinal(&self, ordinal: u64) -> impl Iterator<Item = (i64, &Blob)> {
        let at = self.chunks.partition_point(|chunk| chunk.end() <= ordinal);
        self.chunks.range(at..).flat_map(move |chunk| {
            let start = ordinal.saturating_sub(chunk.ordinal) as usize;
            let start = start.max(chunk.taken);
            (start..chunk.keys.len()).map(move |i| (chunk.revision(i), &chunk.keys[i]))
        })
    }

    /// The changes above `revision`, oldest first.
    pub(super) fn above(&self, revision: i64) -> impl Iterator<Item = (i64, &Blob)> {
        let at = self.chunks.partition_point(|chunk| chunk.last() <= revision);
        self.chunks.range(at..).flat_map(move |chunk| {
            let start = chunk.place_after(revision).max(chunk.taken);
            (start..chunk.keys.len()).map(move |i| (chunk.revision(i), &chunk.keys[i]))
        })
    }

    /// Gives back memory after many changes were taken.
    pub(super) fn shrink(&mut self) {
        self.chunks.shrink_to_fit();
    }
}

/// The keys of one change of many, in order, on their way into the timeline.
#[derive(Default)]
pub(super) struct OrderedKeys {
    /// None is empty; each fills a chunk of the timeline.
    chunks: Vec<OrderedChunk>,
    count: u64,
}

#[derive(Default)]
struct OrderedChunk {
    keys: Vec<Blob>,
    /// As many zeros.
    above_base: Vec<u32>,
}

impl OrderedKeys {
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// Adds a key that is behind all others.
    pub(super) fn push(&mut self, key: &Blob) {
        let is_full = |chunk: &OrderedChunk| chunk.keys.len() >= CHUNK_CHANGES;
        if self.chunks.last().is_none_or(is_full) {
            self.chunks.push(OrderedChunk {
                keys: Vec::with_capacity(CHUNK_CHANGES),
                above_base: Vec::with_capacity(CHUNK_CHANGES),
            });
        }
        let chunk = self.chunks.last_mut().expect("pushed");
        chunk.keys.push(key.clone());
        chunk.above_base.push(0);
        self.count += 1;
    }

    /// Adds a key in its place.
    pub(super) fn insert(&mut self, key: &Blob) {
        let at = self.chunk_of(key);
        let Some(chunk) = self.chunks.get_mut(at) else { return self.push(key) };
        let place = chunk.keys.partition_point(|own| own < key);
        chunk.keys.insert(place, key.clone());
        chunk.above_base.push(0);
        self.count += 1;
        if chunk.keys.len() > 2 * CHUNK_CHANGES {
            let keys = chunk.keys.split_off(CHUNK_CHANGES);
            let above_base = chunk.above_base.split_off(CHUNK_CHANGES);
            self.chunks.insert(at + 1, OrderedChunk { keys, above_base });
        }
    }

    /// Takes a key out again.
    pub(super) fn remove(&mut self, key: &Blob) {
        let at = self.chunk_of(key);
        let chunk = &mut self.chunks[at];
        let place = chunk.keys.binary_search(key).expect("it was added");
        chunk.keys.remove(place);
        chunk.above_base.pop();
        self.count -= 1;
        if chunk.keys.is_empty() {
            self.chunks.remove(at);
        }
    }

    /// The chunk in which `key` is or would be.
    fn chunk_of(&self, key: &Blob) -> usize {
        let is_before = |chunk: &OrderedChunk| chunk.keys.last().is_some_and(|last| last < key);
        self.chunks.partition_point(is_before)
    }

    /// Takes the last key out.
    pub(super) fn pop(&mut self) -> Option<Blob> {
        let chunk = self.chunks.last_mut()?;
        chunk.above_base.pop();
        let key = chunk.keys.pop().expect("no chunk is empty");
        self.count -= 1;
        if chunk.keys.is_empty() {
            self.chunks.pop();
        }
        Some(key)
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Blob> {
        self.chunks.iter().flat_map(|chunk| &chunk.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_queue_with_two_ends_that_finds_revisions() {
        let mut timeline = Timeline::default();
        let mut plain: VecDeque<(i64, Blob)> = VecDeque::new();
        let mut revision = 1;
        for i in 0..4000_i64 {
            // Steps of 0 share a revision; a large one does not fit above the chunk's base.
            revision += if i % 700 == 699 { 1 << 33 } else { i % 3 };
            let key = Blob::from(&i.to_be_bytes()[..]);
            timeline.push(revision, &key);
            plain.push_back((revision, key));
            if i % 5 == 0 {
                assert_eq!(timeline.pop_front(), plain.pop_front());
            }
            if i % 7 == 0 {
                assert_eq!(timeline.pop_back(), plain.pop_back());
                revision = plain.back().map_or(revision, |last| last.0);
            }
            if i % 97 == 90 {
                for at in [0, plain[plain.len() / 2].0, plain[plain.len() / 3].0 - 1, revision] {
                    let expected: Vec<_> = plain.iter().filter(|c| c.0 > at).cloned().collect();
                    let found: Vec<_> =
                        timeline.above(at).map(|(r, key)| (r, key.clone())).collect();
                    assert_eq!(found, expected);
                    let ordinal = timeline.ordinal_above(at);
                    assert_eq!(timeline.end() - ordinal, expected.len() as u64);
                    let found = timeline.since_ordinal(ordinal).map(|(r, key)| (r, key.clone()));
                    assert_eq!(found.collect::<Vec<_>>(), expected);
                }
                let nth = plain.len() / 2;
                assert_eq!(timeline.get(nth), plain.get(nth).map(|(r, key)| (*r, key)));
                assert_eq!(timeline.get(plain.len()), None);
            }
        }
        while let Some(change) = plain.pop_front() {
            assert_eq!(timeline.front(), Some((change.0, &change.1)));
            assert_eq!(timeline.pop_front(), Some(change));
        }
        assert!(timeline.is_empty() && timeline.newest().is_none());
    }
}
