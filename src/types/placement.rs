//! Which shard a key lives on: a constant of the disk format and of the frame protocol.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ShardId;

/// Seed of the hash that places keys: `BRAIDKEY` in ASCII, read big-endian. Never changes.
pub const PLACEMENT_SEED: u64 = 0x4252_4149_444B_4559;

/// Returns the shard of `key` in a cluster of `shards` shards.
///
/// # Panics
///
/// If `shards` is 0.
pub fn shard_of(key: &[u8], shards: u16) -> ShardId {
    shard_at(place_of(key), shards)
}

/// Returns the hash by which `key` is placed.
pub fn place_of(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, PLACEMENT_SEED)
}

/// Returns the shard of a key that hashes to `place`.
///
/// # Panics
///
/// If `shards` is 0.
pub fn shard_at(place: u64, shards: u16) -> ShardId {
    assert!(shards > 0, "a cluster has at least one shard");
    let shard = place % u64::from(shards);
    ShardId(u16::try_from(shard).expect("a remainder is below its divisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_spells_what_the_documents_say() {
        assert_eq!(PLACEMENT_SEED, u64::from_be_bytes(*b"BRAIDKEY"));
    }

    /// Hashes of an independent implementation (Python's xxhash).
    #[test]
    fn keys_stay_where_existing_clusters_have_them() {
        let golden: [(&[u8], u64); 4] = [
            (b"", 0x3b5d_95f3_f6aa_648f),
            (b"foo", 0x88fe_ed25_adf0_7c7e),
            (b"/registry/pods/default/nginx", 0xc331_631e_606f_7e78),
            (&[0; 300], 0x4da7_fbfe_34cc_2595),
        ];
        for (key, hash) in golden {
            assert_eq!(xxh3_64_with_seed(key, PLACEMENT_SEED), hash, "{}", key.escape_ascii());
            assert_eq!(shard_of(key, 7).0, u16::try_from(hash % 7).unwrap());
        }
    }

    #[test]
    fn one_shard_has_every_key() {
        assert_eq!(shard_of(b"anything", 1), ShardId(0));
    }

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0u32; 16];
        for i in 0..16_000u32 {
            counts[usize::from(shard_of(format!("/registry/pods/{i}").as_bytes(), 16).0)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
