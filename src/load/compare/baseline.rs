//! The cost of the machine itself: one durable write, and one round trip over loopback. A lone put
//! can never be faster than both together.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::load::record::histogram;
use crate::load::summary::Latency;

const PAGE_BYTES: usize = 4096;
const PAGES: u64 = 256;
const WRITES: u64 = 512;
const ROUND_TRIPS: u32 = 4000;
const MESSAGE_BYTES: usize = 64;

#[repr(align(4096))]
struct Page([u8; PAGE_BYTES]);

/// Measured anew in each repetition.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    /// A write of 4 KiB with O_DSYNC and O_DIRECT into space that is allocated.
    pub(super) dsync: Latency,
    /// 64 bytes there and back between two threads.
    pub(super) loopback: Latency,
}

impl Baseline {
    pub(super) fn measure(scratch: &Path) -> Result<Baseline, String> {
        let path = scratch.join("dsync-baseline");
        let dsync = writes(&path).map_err(|error| format!("{}: {error}", path.display()));
        let _ = fs::remove_file(&path);
        let loopback = round_trips().map_err(|error| format!("loopback: {error}"))?;
        Ok(Baseline { dsync: Latency::of(&dsync?), loopback: Latency::of(&loopback) })
    }
}

fn writes(path: &Path) -> std::io::Result<Histogram<u64>> {
    fs::write(path, vec![0; PAGES as usize * PAGE_BYTES])?;
    fs::File::open(path)?.sync_all()?;
    let open = |flags| OpenOptions::new().write(true).custom_flags(flags).open(path);
    // Some file systems know no direct writes; the flag is about the same work without it.
    let file = open(libc::O_DSYNC | libc::O_DIRECT).or_else(|_| open(libc::O_DSYNC))?;
    let page = Page([0x5a; PAGE_BYTES]);
    let mut times = histogram();
    for number in 0..WRITES {
        let began = Instant::now();
        file.write_all_at(&page.0, number % PAGES * PAGE_BYTES as u64)?;
        times.saturating_record(began.elapsed().as_nanos() as u64);
    }
    Ok(times)
}

fn round_trips() -> std::io::Result<Histogram<u64>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let echo = std::thread::spawn(move || {
        let mut message = [0; MESSAGE_BYTES];
        while server.read_exact(&mut message).and_then(|()| server.write_all(&message)).is_ok() {}
    });
    let mut times = histogram();
    let mut message = [7; MESSAGE_BYTES];
    for _ in 0..ROUND_TRIPS {
        let began = Instant::now();
        client.write_all(&message)?;
        client.read_exact(&mut message)?;
        times.saturating_record(began.elapsed().as_nanos() as u64);
    }
    drop(client);
    echo.join().map_err(|_| std::io::Error::other("the echo panicked"))?;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_has_as_many_values_as_it_says() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
        let baseline = Baseline::measure(folder.path()).expect("a baseline");
        assert_eq!((baseline.dsync.count, baseline.loopback.count), (512, 4000));
        assert!(baseline.loopback.p50 > 0 && baseline.dsync.p50 <= baseline.dsync.max);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }
}
