//! The first bytes of a connection: which protocol it speaks.

use bytes::{Buf, BytesMut};

use super::FrameFault;

/// The first bytes of a client that speaks frames. The first of them begins no HTTP method, no TLS
/// record and no UTF-8 text; the last two break if line ends are rewritten.
pub const PREFACE: [u8; 8] = *b"\xB7BRAID\r\n";

/// The beginning that only HTTP/2 has (`PRI * HTTP/2.0`); `PRI ` already is no HTTP/1.1 method.
const HTTP2: &[u8] = b"PRI ";

/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Frames,
    Http2,
    Http1,
    Tls,
}

/// The result of looking at a connection's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// Nothing yet; the next bytes will.
    More,
    Protocol(Protocol),
    /// Nothing that a client port speaks.
    Unknown,
}

/// Judges by the first bytes and takes none of them. Four bytes always suffice.
pub fn sniff(first: &[u8]) -> Sniffed {
    match first {
        [] => Sniffed::More,
        [0xB7, ..] => Sniffed::Protocol(Protocol::Frames),
        [TLS_HANDSHAKE, ..] => Sniffed::Protocol(Protocol::Tls),
        _ if first.starts_with(HTTP2) => Sniffed::Protocol(Protocol::Http2),
        _ if HTTP2.starts_with(first) => Sniffed::More,
        [letter, ..] if letter.is_ascii_alphabetic() => Sniffed::Protocol(Protocol::Http1),
        _ => Sniffed::Unknown,
    }
}

/// Takes the preface off a connection that [`sniff`] said speaks frames. `false`: it is not all
/// there yet.
pub fn take_preface(input: &mut BytesMut) -> Result<bool, FrameFault> {
    let seen = input.len().min(PREFACE.len());
    if input[..seen] != PREFACE[..seen] {
        return Err(FrameFault::Preface);
    }
    if seen < PREFACE.len() {
        return Ok(false);
    }
    input.advance(PREFACE.len());
    Ok(true)
}
