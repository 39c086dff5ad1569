//! A shard's index of interest: which cores have watchers of a key.
//!
//! A shard knows of cores, not of watchers: however many watch a key on one core, that core is
//! told once, and its hub counts them. A key that no core wants costs one look-up; without any
//! interest, nothing.

use std::collections::HashMap;

use super::hash::Seeded;
use super::interval::IntervalMap;
use super::keys::{CoreSet, Keys};
use crate::limits::CORES_MAX;
use crate::types::{Blob, CoreId};

/// The index of the cores that want a key.
#[derive(Debug)]
pub struct Interest {
    ones: HashMap<Blob, Wanted, Seeded>,
    spans: IntervalMap<CoreSet>,
    /// Cores of the keys that several want.
    sets: Vec<CoreSet>,
    free: Vec<u32>,
}

/// One core below [`CORES_MAX`], above it a place in `sets`: a key takes 16 bytes of the table.
#[derive(Clone, Copy, Debug)]
struct Wanted(u32);

impl Wanted {
    fn one(core: CoreId) -> Wanted {
        Wanted(u32::from(core.0))
    }

    fn place(self) -> Option<usize> {
        (self.0 as usize).checked_sub(CORES_MAX)
    }
}

impl Interest {
    /// Nobody wants anything.
    pub fn new(seed: u64) -> Interest {
        Interest {
            ones: HashMap::with_hasher(Seeded(seed)),
            spans: IntervalMap::new(seed),
            sets: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Whether no core wants any key.
    pub fn is_empty(&self) -> bool {
        self.ones.is_empty() && self.spans.is_empty()
    }

    /// `core` wants these keys. It says so once for each distinct range.
    pub fn add(&mut self, keys: Keys, core: CoreId) {
        match keys {
            Keys::One(key) => {
                let Some(&wanted) = self.ones.get(&key) else {
                    self.ones.insert(key, Wanted::one(core));
                    return;
                };
                let mut set = self.set(wanted);
                set.insert(core);
                let wanted = self.keep(Some(wanted), set);
                self.ones.insert(key, wanted);
            }
            Keys::Span(span) => match self.spans.get_mut(&span) {
                Some(set) => set.insert(core),
                None => {
                    let mut set = CoreSet::default();
                    set.insert(core);
                    self.spans.insert(span, set);
                }
            },
        }
    }

    /// `core` does not want these keys any more.
    pub fn drop(&mut self, keys: &Keys, core: CoreId) {
        match keys {
            Keys::One(key) => {
                let Some(&wanted) = self.ones.get(key) else { return };
                let mut set = self.set(wanted);
                set.remove(core);
                if set.is_empty() {
                    self.ones.remove(key);
                    self.shrink();
                } else {
                    let wanted = self.keep(Some(wanted), set);
                    *self.ones.get_mut(key).expect("looked up") = wanted;
                }
            }
            Keys::Span(span) => {
                let Some(set) = self.spans.get_mut(span) else { return };
                set.remove(core);
                if set.is_empty() {
                    self.spans.remove(span);
                }
            }
        }
    }

    /// The cores that want to hear of `key`.
    pub fn cores_of(&self, key: &[u8]) -> CoreSet {
        let mut cores = match self.ones.get(key) {
            Some(&wanted) => self.set(wanted),
            None => CoreSet::default(),
        };
        self.spans.stab(key, &mut |set| cores = cores.union(*set));
        cores
    }

    fn set(&self, wanted: Wanted) -> CoreSet {
        match wanted.place() {
            Some(place) => self.sets[place],
            None => CoreSet(1 << wanted.0),
        }
    }

    /// Keeps `set` where it takes least, in place of `old`.
    fn keep(&mut self, old: Option<Wanted>, set: CoreSet) -> Wanted {
        let place = old.and_then(Wanted::place);
        if let Some(core) = set.only() {
            self.free.extend(place.map(|place| place as u32));
            return Wanted::one(core);
        }
        let place = place.or_else(|| self.free.pop().map(|place| place as usize));
        let place = place.unwrap_or_else(|| {
            self.sets.push(CoreSet::default());
            self.sets.len() - 1
        });
        self.sets[place] = set;
        Wanted(u32::try_from(place + CORES_MAX).expect("fewer than 2^32 keys"))
    }

    fn shrink(&mut self) {
        if self.ones.capacity() > 1024 && self.ones.len() < self.ones.capacity() / 8 {
            self.ones.shrink_to(self.ones.len() * 2);
        }
        if self.ones.is_empty() {
            (self.sets, self.free) = (Vec::new(), Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::types::KeyRange;
    use bytes::Bytes;

    #[test]
    fn knows_which_cores_want_a_key_as_a_plain_list_does() {
        let mut chance = Chance::new(7);
        let mut draw = |below: u64| chance.below(below);
        let mut interest = Interest::new(3);
        let mut list: Vec<(KeyRange, CoreId)> = Vec::new();
        for _ in 0..4000 {
            let start = Bytes::from(format!("k{}", draw(9)));
            let end = match draw(3) {
                0 => Bytes::from("\0"),
                1 => Bytes::from(format!("k{}", draw(10))),
                _ => Bytes::new(),
            };
            let range = KeyRange::from_api(start, end);
            let core = CoreId(draw(5) as u16 * 31);
            if range.is_empty() {
                continue;
            }
            let wish = (range.clone(), core);
            match list.iter().position(|other| *other == wish) {
                Some(at) => {
                    interest.drop(&Keys::of(&range), core);
                    list.swap_remove(at);
                }
                None => {
                    interest.add(Keys::of(&range), core);
                    list.push(wish);
                }
            }
            assert_eq!(interest.is_empty(), list.is_empty());
            for key in 0..11 {
                let key = format!("k{key}");
                let mut expected = CoreSet::default();
                let wanted = list.iter().filter(|(range, _)| range.contains(key.as_bytes()));
                wanted.for_each(|(_, core)| expected.insert(*core));
                assert_eq!(interest.cores_of(key.as_bytes()), expected);
            }
        }
        for (range, core) in list {
            interest.drop(&Keys::of(&range), core);
            interest.drop(&Keys::of(&range), core);
        }
        assert!(interest.is_empty() && interest.sets.is_empty());
    }
}
