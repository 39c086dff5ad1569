//! Heads: eight bytes of each key of a node, side by side, so that a search follows no pointers.

/// Bytes that two keys begin with in common.
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The eight bytes of `key` after `prefix`, ordered like the keys as far as they go.
#[inline]
pub(super) fn head(key: &[u8], prefix: usize) -> u64 {
    let rest = key.get(prefix..).unwrap_or(&[]);
    if let Some(bytes) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}

/// Counts the `heads` below `head`. Counting all is quicker than a binary search here: it neither
/// branches nor waits for one cache line to know the next.
#[inline]
pub(super) fn count_below(heads: &[u64], head: u64) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { count_four_at_once(heads, head) };
    }
    count(heads, head)
}

#[inline(always)]
fn count(heads: &[u64], head: u64) -> usize {
    heads.iter().map(|&other| u64::from(other < head)).sum::<u64>() as usize
}

/// Counts as [`count_below`] does, compiled for processors that compare four at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn count_four_at_once(heads: &[u64], head: u64) -> usize {
    count(heads, head)
}

/// The place of the first of `heads` that is not below `head`, and how many are equal to it.
#[inline]
pub(super) fn ties(heads: &[u64], head: u64) -> (usize, usize) {
    let first = count_below(heads, head);
    let rest = &heads[first..];
    // Nearly always none or one.
    let same = match rest {
        [one, other, ..] if *one == head && *other == head => {
            rest.iter().take_while(|&&other| other == head).count()
        }
        [one, ..] => usize::from(*one == head),
        [] => 0,
    };
    (first, same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_however_many_there_are_and_whatever_the_highest_bit() {
        let numbers = [0, 1, 7, 7, 7, 1 << 40, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX];
        for length in 0..64 {
            for skipped in 0..3 {
                let mut heads: Vec<u64> =
                    (0..length).map(|i| numbers[(i * 7 + skipped) % numbers.len()]).collect();
                heads.sort_unstable();
                for head in numbers {
                    let below = heads.iter().filter(|&&other| other < head).count();
                    let same = heads.iter().filter(|&&other| other == head).count();
                    assert_eq!(count(&heads, head), below);
                    assert_eq!(count_below(&heads, head), below);
                    assert_eq!(ties(&heads, head), (below, same));
                }
            }
        }
    }

    #[test]
    fn heads_are_ordered_like_keys() {
        let keys: [&[u8]; 6] = [b"", b"a", b"a\0b", b"ab", b"abcdefgh", b"b"];
        let heads: Vec<u64> = keys.iter().map(|key| head(key, 0)).collect();
        assert!(heads.is_sorted());
        assert_eq!(head(b"xxab", 2), head(b"ab", 0));
        assert_eq!(head(b"x", 5), 0);
    }
}
