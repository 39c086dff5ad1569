//! Values that say whether they are the ones that were put.
//!
//! ```text
//!   ┌ version: 8 B ┬ check: 8 B ┬ the rest: cut from a table, where version and key say ┐
//! ```
//!
//! The check is a hash of key, version and length, so a value that belongs to another key, was cut
//! short or mixed with another one is found, whichever run of this program has put it. A value
//! without a sound check is nobody's: of another program, or damaged in its first bytes. Values
//! below [`MARK_BYTES`] have no room for it, and cannot be verified.

use std::sync::Arc;

use bytes::BytesMut;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::chance::{Chance, mix};

/// Bytes of version and check.
pub(super) const MARK_BYTES: usize = 16;
/// Offsets at which the rest may begin.
const OFFSETS: u64 = 4096;
/// The same table for all runs: one verifies what another has put.
const TABLE_SEED: u64 = 0x76_616c_7565;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// It has a sound mark, and not what belongs to it.
    Wrong,
    /// It has none.
    Foreign,
    /// It is too short for one.
    Short,
}

/// Bytes that values are cut from: incompressible, and made once.
#[derive(Clone, Debug)]
pub(super) struct Values {
    bytes: Arc<[u8]>,
}

impl Values {
    /// Room for values up to `value_bytes_max`.
    pub(super) fn new(value_bytes_max: usize) -> Values {
        let mut chance = Chance::new(TABLE_SEED);
        let words = (value_bytes_max + OFFSETS as usize).div_ceil(8);
        let bytes: Vec<u8> = (0..words).flat_map(|_| chance.number().to_le_bytes()).collect();
        Values { bytes: bytes.into() }
    }

    /// Appends the value of `length` bytes of this version of the key.
    pub(super) fn write(&self, key: &[u8], version: u64, length: usize, out: &mut BytesMut) {
        let check = check(key, version, length);
        let mark = &mark(version, check)[..length.min(MARK_BYTES)];
        out.extend_from_slice(mark);
        out.extend_from_slice(self.rest(check, length - mark.len()));
    }

    /// Bytes that belong to a number.
    pub(super) fn rest(&self, number: u64, length: usize) -> &[u8] {
        let offset = (mix(number) % OFFSETS) as usize;
        &self.bytes[offset..offset + length]
    }

    /// Whether this is a value of the key. A value that is longer than any of this run is believed
    /// as far as the table goes.
    pub(super) fn verify(&self, key: &[u8], value: &[u8]) -> Verdict {
        let Some((mark, rest)) = value.split_first_chunk::<MARK_BYTES>() else {
            return Verdict::Short;
        };
        let word = |at: usize| u64::from_le_bytes(mark[at..at + 8].try_into().expect("8 bytes"));
        let (version, told) = (word(0), word(8));
        if told != check(key, version, value.len()) {
            return Verdict::Foreign;
        }
        let offset = (mix(told) % OFFSETS) as usize;
        let known = &self.bytes[offset..];
        let both = known.len().min(rest.len());
        if known[..both] == rest[..both] { Verdict::Good } else { Verdict::Wrong }
    }
}

fn check(key: &[u8], version: u64, length: usize) -> u64 {
    xxh3_64_with_seed(key, version ^ mix(length as u64))
}

fn mark(version: u64, check: u64) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark[..8].copy_from_slice(&version.to_le_bytes());
    mark[8..].copy_from_slice(&check.to_le_bytes());
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: &[u8], version: u64, length: usize) -> Vec<u8> {
        let mut out = BytesMut::new();
        Values::new(300).write(key, version, length, &mut out);
        out.to_vec()
    }

    #[test]
    fn a_value_belongs_to_its_key_and_version() {
        let values = Values::new(300);
        for length in [0, 1, 15, 16, 17, 300] {
            let one = value(b"a", 7, length);
            assert_eq!(one.len(), length);
            assert_eq!(one, value(b"a", 7, length));
            let expected = if length < MARK_BYTES { Verdict::Short } else { Verdict::Good };
            assert_eq!(values.verify(b"a", &one), expected, "{length}");
        }
        assert_ne!(value(b"a", 7, 64), value(b"a", 8, 64));
        assert_ne!(value(b"a", 7, 64), value(b"b", 7, 64));
    }

    #[test]
    fn what_is_changed_in_any_byte_is_found() {
        let values = Values::new(300);
        let good = value(b"a", 7, 64);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let expected = if at < MARK_BYTES { Verdict::Foreign } else { Verdict::Wrong };
            assert_eq!(values.verify(b"a", &bad), expected, "{at}");
        }
        assert_eq!(values.verify(b"b", &good), Verdict::Foreign);
        assert_eq!(values.verify(b"a", &good[..63]), Verdict::Foreign);
    }

    /// Of a run with other values: they are verified as far as this run's table goes.
    #[test]
    fn longer_values_than_those_of_the_run_are_verified() {
        let long = value(b"a", 7, 300);
        assert_eq!(Values::new(10).verify(b"a", &long), Verdict::Good);
    }
}
