//! Which key comes next, and how keys look.

use std::fmt;
use std::str::FromStr;

use super::distribution::Zipf;
use crate::chance::Chance;

/// How keys are chosen from the keyspace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Distribution {
    Uniform,
    /// A few keys get most requests; which ones they are is scattered over the keyspace.
    Zipf(f64),
    /// One after the other, each thread its own share, from the start again at the end.
    Sequential,
    /// Always the first key.
    Single,
    /// Uniform among the keys that are this thread's alone.
    Owned,
}

/// The exponent that YCSB made common.
const ZIPF_EXPONENT: f64 = 0.99;

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Distribution, String> {
        match text {
            "uniform" => Ok(Distribution::Uniform),
            "zipf" => Ok(Distribution::Zipf(ZIPF_EXPONENT)),
            "sequential" => Ok(Distribution::Sequential),
            "single" => Ok(Distribution::Single),
            _ => {
                let exponent = text.strip_prefix("zipf:").ok_or_else(|| {
                    "uniform, zipf, zipf:EXPONENT, sequential or single are known".to_owned()
                })?;
                match exponent.parse() {
                    Ok(exponent) if exponent > 0.0 && exponent <= 10.0 => {
                        Ok(Distribution::Zipf(exponent))
                    }
                    _ => Err("the exponent is a number above 0, at most 10".to_owned()),
                }
            }
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distribution::Uniform => f.write_str("uniform"),
            Distribution::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Distribution::Sequential => f.write_str("sequential"),
            Distribution::Single => f.write_str("single"),
            Distribution::Owned => f.write_str("owned"),
        }
    }
}

/// Chooses numbers of keys.
#[derive(Clone, Debug)]
pub(super) struct Chooser {
    count: u64,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Uniform,
    Owned { share: u64, thread: u64, threads: u64 },
    Zipf { zipf: Zipf, scatter: Scatter },
    Sequential { next: u64, step: u64 },
    Single,
}

impl Chooser {
    /// The chooser of thread `thread` of `threads`.
    pub(super) fn new(
        distribution: Distribution,
        count: u64,
        thread: usize,
        threads: usize,
    ) -> Chooser {
        assert!(count > 0 && thread < threads, "{count} keys, thread {thread} of {threads}");
        let way = match distribution {
            Distribution::Uniform => Way::Uniform,
            Distribution::Owned if thread as u64 >= count => Way::Uniform,
            Distribution::Owned => {
                let (thread, threads) = (thread as u64, threads as u64);
                Way::Owned { share: (count - thread).div_ceil(threads), thread, threads }
            }
            Distribution::Zipf(exponent) => {
                Way::Zipf { zipf: Zipf::new(count, exponent), scatter: Scatter::new(count) }
            }
            Distribution::Sequential => {
                Way::Sequential { next: thread as u64, step: threads as u64 }
            }
            Distribution::Single => Way::Single,
        };
        Chooser { count, way }
    }

    pub(super) fn next(&mut self, chance: &mut Chance) -> u64 {
        match &mut self.way {
            Way::Uniform => chance.below(self.count),
            Way::Owned { share, thread, threads } => chance.below(*share) * *threads + *thread,
            Way::Zipf { zipf, scatter } => scatter.of(zipf.rank(chance) - 1),
            Way::Sequential { next, step } => {
                let key = *next % self.count;
                *next += *step;
                key
            }
            Way::Single => 0,
        }
    }
}

/// Every rank to a key of its own: a permutation of the numbers below a count, which puts
/// neighbours far from one another.
#[derive(Clone, Copy, Debug)]
struct Scatter {
    count: u64,
    factor: u64,
}

/// The golden ratio's part of 2^64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Scatter {
    fn new(count: u64) -> Scatter {
        let near = ((u128::from(count) * u128::from(GOLDEN)) >> 64) as u64;
        // What has no divisor in common with the count leaves no number out. One is soon found.
        let factor = (near.max(1)..).find(|&factor| divisor(factor, count) == 1);
        Scatter { count, factor: factor.expect("numbers without a common divisor have no end") }
    }

    fn of(self, rank: u64) -> u64 {
        // Not zero first: rank 0 is the hottest, and is not the first key.
        let first = self.count / 3;
        let rank =
            if rank < self.count - first { rank + first } else { rank - (self.count - first) };
        match self.count <= 1 << 32 {
            true => rank * self.factor % self.count,
            false => (u128::from(rank) * u128::from(self.factor) % u128::from(self.count)) as u64,
        }
    }
}

/// The greatest common divisor.
fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A set of keys that look alike: a prefix and a number, padded with zeros to one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyForm {
    prefix: String,
    digits: usize,
}

impl KeyForm {
    /// Keys of `key_bytes` in all, for `count` numbers.
    pub(super) fn new(prefix: &str, key_bytes: usize, count: u64) -> Result<KeyForm, String> {
        let needed = digits(count.saturating_sub(1));
        let digits = key_bytes.checked_sub(prefix.len()).filter(|&digits| digits >= needed);
        let digits = digits.ok_or_else(|| {
            format!(
                "keys of {key_bytes} bytes cannot hold the prefix {prefix:?} and {needed} digits \
                 for a keyspace of {count}"
            )
        })?;
        Ok(KeyForm { prefix: prefix.to_owned(), digits })
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn length(&self) -> usize {
        self.prefix.len() + self.digits
    }

    /// Key 0: what [`patch`](KeyForm::patch) makes the others of.
    pub(super) fn blank(&self) -> Vec<u8> {
        let mut key = self.prefix.as_bytes().to_vec();
        key.resize(self.length(), b'0');
        key
    }

    /// Writes key `number` over what `key` held.
    pub(super) fn write(&self, number: u64, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(self.prefix.as_bytes());
        key.resize(self.length(), b'0');
        self.patch(number, key);
    }

    /// Makes any key of this form that of `number`.
    ///
    /// # Panics
    ///
    /// If the number has too many digits.
    pub(super) fn patch(&self, mut number: u64, key: &mut [u8]) {
        let mut digits = &mut key[self.prefix.len()..];
        while number > 0 {
            let (last, rest) = digits.split_last_mut().expect("the number fits into the digits");
            *last = b'0' + (number % 10) as u8;
            number /= 10;
            digits = rest;
        }
        digits.fill(b'0');
    }
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// The end of the range of all keys that begin with `prefix`; empty is "to the end".
pub(super) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_length_and_the_order_of_their_numbers() {
        let form = KeyForm::new("load/", 10, 100_000).expect("it fits");
        let mut key = Vec::new();
        form.write(42, &mut key);
        assert_eq!(key, b"load/00042");
        form.write(99_999, &mut key);
        assert_eq!(key, b"load/99999");
        form.patch(7, &mut key);
        assert_eq!(key, b"load/00007");
        assert_eq!(form.blank(), b"load/00000");
        let error = KeyForm::new("load/", 10, 100_001).expect_err("a digit too many");
        assert!(error.contains("6 digits"), "{error}");
    }

    #[test]
    fn distributions_are_read_and_shown() {
        for (text, shown) in [
            ("uniform", "uniform"),
            ("zipf", "zipf:0.99"),
            ("zipf:1.2", "zipf:1.2"),
            ("sequential", "sequential"),
            ("single", "single"),
        ] {
            assert_eq!(text.parse::<Distribution>().expect(text).to_string(), shown);
        }
        for text in ["", "zipf:", "zipf:0", "zipf:x", "zipf:11", "normal"] {
            assert!(text.parse::<Distribution>().is_err(), "{text}");
        }
    }

    #[test]
    fn sequential_threads_share_the_keyspace() {
        let mut chance = Chance::new(0);
        let mut seen = [0; 10];
        for thread in 0..3 {
            let mut chooser = Chooser::new(Distribution::Sequential, 10, thread, 3);
            for _ in 0..(10 - thread).div_ceil(3) {
                seen[chooser.next(&mut chance) as usize] += 1;
            }
        }
        assert_eq!(seen, [1; 10]);
    }

    #[test]
    fn what_a_thread_owns_no_other_thread_chooses() {
        let mut chance = Chance::new(0);
        for thread in 0..3 {
            let mut chooser = Chooser::new(Distribution::Owned, 10, thread, 3);
            for _ in 0..100 {
                let key = chooser.next(&mut chance);
                assert!(key < 10 && key % 3 == thread as u64, "{key}");
            }
        }
    }

    #[test]
    fn zipf_scatters_what_is_hot() {
        let mut chooser = Chooser::new(Distribution::Zipf(0.99), 1000, 0, 1);
        let mut chance = Chance::new(5);
        let mut counts = vec![0u32; 1000];
        for _ in 0..100_000 {
            counts[chooser.next(&mut chance) as usize] += 1;
        }
        let hottest = (0..1000).max_by_key(|&key| counts[key]).expect("keys");
        assert_ne!(hottest, 0);
        assert!(counts[hottest] > 10_000, "{}", counts[hottest]);
    }

    /// One key for each rank: with collisions, a third of the keys were never chosen.
    #[test]
    fn zipf_reaches_every_key() {
        for count in [1, 2, 3, 6, 10, 97, 1000, 100_000] {
            let scatter = Scatter::new(count);
            let mut seen = vec![false; count as usize];
            (0..count).for_each(|rank| seen[scatter.of(rank) as usize] = true);
            assert!(seen.iter().all(|&seen| seen), "{count}");
        }
        let huge = Scatter::new(u64::MAX);
        assert!(huge.of(u64::MAX - 1) < u64::MAX && huge.of(0) != huge.of(1));
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(prefix_end(b"ab"), b"ac");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), [0]);
    }
}
