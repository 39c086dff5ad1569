//! A server's memory as it states it itself, in its metrics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of metrics at most.
const METRICS_BYTES_MAX: u64 = 64 << 20;
const RESIDENT: &str = "process_resident_memory_bytes ";

/// Resident bytes of the server behind `address`.
pub(super) fn resident_bytes(address: SocketAddr) -> Result<f64, String> {
    let text = metrics(address).map_err(|error| format!("{address}: metrics: {error}"))?;
    find_resident(&text).ok_or_else(|| format!("{address}: no {}in the metrics", RESIDENT))
}

fn metrics(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(METRICS_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn find_resident(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(RESIDENT)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_bytes_are_found_in_metrics() {
        let text = "HTTP/1.1 200 OK\r\n\r\n# TYPE process_resident_memory_bytes gauge\r\n\
                    process_resident_memory_bytes 3.1457280e+07\r\nprocess_start 1\r\n";
        assert_eq!(find_resident(text), Some(31_457_280.0));
        assert_eq!(find_resident("process_resident_memory_bytes\n"), None);
    }
}
