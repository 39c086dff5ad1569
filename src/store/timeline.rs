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

    /// The ordinal that the next change gets.
    fn end(&self) -> u64 {
        self.chunks.back().map_or(0, |chunk| chunk.ordinal + chunk.keys.len() as u64)
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

    /// How many changes are above `revision`.
    pub(super) fn count_above(&self, revision: i64) -> u64 {
        let at = self.chunks.partition_point(|chunk| chunk.last() <= revision);
        let Some(chunk) = self.chunks.get(at) else { return 0 };
        self.end() - chunk.ordinal - chunk.place_after(revision).max(chunk.taken) as u64
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
                    assert_eq!(timeline.count_above(at), expected.len() as u64);
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
