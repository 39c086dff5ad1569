//! Memory that the machine has at hand.
//!
//! A virtual machine may give memory that it does not use back to its host ("free page reporting",
//! ballooning), and what it then uses for the first time the host has to find again: 2 s for a GiB
//! where it is 0.1 s otherwise, paid by whoever comes first and takes most. That is the host's
//! speed and no server's. So before a server starts, memory is taken and given back, for each
//! server alike, and what that costs is reported.

use std::time::{Duration, Instant};

/// Taken for each second that a server will run, which is more than puts of 256 bytes come to; less
/// on a machine that has little.
const BYTES_PER_SECOND: f64 = (512 << 20) as f64;

const PAGE_BYTES: usize = 4096;

/// Takes memory for a run of such a length, touches all of it and gives it back. Seconds for a GiB.
pub(super) fn touch(run: Duration) -> f64 {
    let bytes = (BYTES_PER_SECOND * run.as_secs_f64()) as usize;
    let bytes = bytes.min(available() / 2) / PAGE_BYTES * PAGE_BYTES;
    let took = touch_bytes(bytes);
    took.as_secs_f64() * (1u64 << 30) as f64 / bytes.max(1) as f64
}

fn available() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = super::machine::field(&text, "MemAvailable")
        .and_then(|text| text.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}

/// None of it if the kernel has none to give: then the servers see to it themselves.
fn touch_bytes(bytes: usize) -> Duration {
    let began = Instant::now();
    if bytes == 0 {
        return Duration::ZERO;
    }
    // SAFETY: a new mapping of our own, which nobody else knows; it is written within its bounds
    // and unmapped once.
    unsafe {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let start = libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0);
        if start == libc::MAP_FAILED {
            return Duration::ZERO;
        }
        // Only a wish: what is touched in large pages is quicker touched.
        libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
        for page in (0..bytes).step_by(PAGE_BYTES) {
            start.cast::<u8>().add(page).write_volatile(1);
        }
        libc::munmap(start, bytes);
    }
    began.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_touched_and_given_back() {
        assert!(available() > 0, "/proc/meminfo is understood");
        assert!(touch_bytes(64 * PAGE_BYTES) > Duration::ZERO);
        assert_eq!(touch_bytes(0), Duration::ZERO);
    }
}
