//! Bytes by hand: frames, HTTP/2 and HTTP/1 as a hostile peer writes them, without any code of
//! ours or of a library in between.

pub mod frames;
pub mod http2;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a server may take to say or do what it must.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// A connection on which nothing waits for ever.
pub struct Wire {
    stream: TcpStream,
}

/// What came of a flood of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flooded {
    /// All of them were taken.
    Taken,
    /// The server stopped reading.
    Blocked,
    /// The server closed the connection.
    Closed,
}

impl Wire {
    pub fn connect(port: u16) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a read timeout");
        stream.set_write_timeout(Some(Duration::from_millis(1500))).expect("a write timeout");
        Wire { stream }
    }

    /// Writes; an error means that the server is gone or reads no more, which attackers expect.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Writes pieces until `count` are gone, the server stops reading, or it closes.
    pub fn flood(&mut self, count: usize, mut piece: impl FnMut(usize) -> Vec<u8>) -> Flooded {
        for number in 0..count {
            match self.stream.write_all(&piece(number)) {
                Ok(()) => {}
                Err(error) if is_timeout(error.kind()) => return Flooded::Blocked,
                Err(_) => return Flooded::Closed,
            }
        }
        Flooded::Taken
    }

    /// No more bytes from here.
    pub fn finish(&mut self) {
        // The server may have closed before us.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Whatever arrives until `enough` says so or the server closes; panics after [`PATIENCE`].
    pub fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        let (mut got, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        while !enough(&got) {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(error) if is_timeout(error.kind()) => {
                    assert!(Instant::now() < deadline, "silence after {} bytes", got.len());
                }
                Err(_) => break,
            }
        }
        got
    }

    /// Everything until the server closes.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        self.read_until(|_| false)
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
