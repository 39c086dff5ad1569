//! HPACK (RFC 7541), as much as a client needs that always asks the same: a full decoder for what
//! servers answer, and the few forms in which requests are written.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

/// The dynamic table that either side may use unless it is told otherwise.
const TABLE_BYTES: usize = 4096;
/// Bytes that an entry counts beyond its text.
const ENTRY_BYTES: usize = 32;
/// A header's name or value at most; what is longer is an attack or a mistake.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The block was not HPACK; the connection's state is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadBlock;

/// The decoder of one connection.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Newest first.
    entries: VecDeque<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    bytes_max: Option<usize>,
    /// The number of times that the table has changed.
    changes: u64,
}

impl Decoder {
    /// Says every header of a block in order.
    pub(super) fn decode(
        &mut self,
        mut block: &[u8],
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), BadBlock> {
        while let Some(&first) = block.first() {
            match first {
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    let (name, value) = self.entry(index)?;
                    each(name, value);
                }
                0x40..0x80 => {
                    let (name, value) = self.literal(&mut block, 6)?;
                    each(&name, &value);
                    self.insert(name, value);
                }
                0x20..0x40 => {
                    let size = integer(&mut block, 5)?;
                    if size > TABLE_BYTES {
                        return Err(BadBlock);
                    }
                    self.bytes_max = Some(size);
                    self.changes += 1;
                    self.evict();
                }
                _ => {
                    let (name, value) = self.literal(&mut block, 4)?;
                    each(&name, &value);
                }
            }
        }
        Ok(())
    }

    /// A number that changes with the table: a block means the same as long as it is the same.
    pub(super) fn table(&self) -> u64 {
        self.changes
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), BadBlock> {
        let at = index.checked_sub(1).ok_or(BadBlock)?;
        match STATIC.get(at) {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => {
                let (name, value) = self.entries.get(at - STATIC.len()).ok_or(BadBlock)?;
                Ok((name, value))
            }
        }
    }

    fn literal(&self, block: &mut &[u8], bits: u32) -> Result<(Vec<u8>, Vec<u8>), BadBlock> {
        let name = match integer(block, bits)? {
            0 => string(block)?,
            index => self.entry(index)?.0.to_vec(),
        };
        Ok((name, string(block)?))
    }

    fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.changes += 1;
        self.bytes += name.len() + value.len() + ENTRY_BYTES;
        self.entries.push_front((name, value));
        self.evict();
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max.unwrap_or(TABLE_BYTES) {
            let Some((name, value)) = self.entries.pop_back() else { return };
            self.bytes -= name.len() + value.len() + ENTRY_BYTES;
        }
    }
}

fn integer(block: &mut &[u8], bits: u32) -> Result<usize, BadBlock> {
    let mask = (1usize << bits) - 1;
    let mut next = || {
        let (&byte, rest) = block.split_first().ok_or(BadBlock)?;
        *block = rest;
        Ok(usize::from(byte))
    };
    let mut value = next()? & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        value += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(BadBlock)
}

fn string(block: &mut &[u8]) -> Result<Vec<u8>, BadBlock> {
    let is_huffman = block.first().ok_or(BadBlock)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(BadBlock)?;
    *block = rest;
    match (length <= TEXT_BYTES_MAX, is_huffman) {
        (false, _) => Err(BadBlock),
        (true, false) => Ok(text.to_vec()),
        (true, true) => huffman(text),
    }
}

/// The code is canonical: of each length, the codes count up in the order of the symbols.
fn huffman(text: &[u8]) -> Result<Vec<u8>, BadBlock> {
    let mut out = Vec::with_capacity(text.len() * 8 / 5);
    let (mut code, mut length) = (0u32, 0u8);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        if let Some(symbol) = symbol(code, length) {
            out.push(symbol);
            (code, length) = (0, 0);
        } else if length > 30 {
            return Err(BadBlock);
        }
    }
    // The rest is padding: fewer than eight ones.
    if length < 8 && code == (1 << length) - 1 { Ok(out) } else { Err(BadBlock) }
}

fn symbol(code: u32, length: u8) -> Option<u8> {
    let first = FIRST_CODES[usize::from(length)];
    let count = COUNTS[usize::from(length)];
    let at = code.checked_sub(first).filter(|&at| at < count)?;
    let mut of_length = (0..=255u8).filter(|&symbol| LENGTHS[usize::from(symbol)] == length);
    of_length.nth(at as usize)
}

const COUNTS: [u32; 32] = {
    let mut counts = [0; 32];
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        counts[LENGTHS[symbol] as usize] += 1;
        symbol += 1;
    }
    counts
};

const FIRST_CODES: [u32; 32] = {
    let mut first = [0; 32];
    let mut length = 1;
    while length < 32 {
        first[length] = (first[length - 1] + COUNTS[length - 1]) << 1;
        length += 1;
    }
    first
};

/// Bits of the code of each byte.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The encoder of one connection: remembers what the server has in its table.
#[derive(Debug)]
pub(super) struct Encoder {
    /// Headers that were inserted, in order.
    inserted: Vec<(&'static str, String)>,
    /// The server keeps a smaller table than ours would need: nothing is inserted.
    plain: bool,
    /// The next block has to say that.
    shrink: bool,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder { inserted: Vec::new(), plain: false, shrink: false }
    }

    /// The server's SETTINGS_HEADER_TABLE_SIZE.
    pub(super) fn table_size(&mut self, size: u32) {
        if (size as usize) < TABLE_BYTES && !self.plain {
            (self.plain, self.shrink) = (true, true);
        }
    }

    /// A number that changes with what the next block would be.
    pub(super) fn table(&self) -> u64 {
        let inserted = self.inserted.len() as u64;
        inserted << 2 | u64::from(self.plain) << 1 | u64::from(self.shrink)
    }

    /// To be called before the first header of each block.
    pub(super) fn begin(&mut self, out: &mut BytesMut) {
        if std::mem::take(&mut self.shrink) {
            out.put_u8(0x20);
        }
    }

    /// A header of the static table.
    pub(super) fn indexed(out: &mut BytesMut, index: u8) {
        out.put_u8(0x80 | index);
    }

    /// A header that comes again: in full once, then as one byte.
    pub(super) fn repeated(&mut self, out: &mut BytesMut, name: &'static str, value: &str) {
        let known = self.inserted.iter().rev().position(|(n, v)| *n == name && v == value);
        if let Some(at) = known.filter(|_| !self.plain) {
            // Few are ever inserted, far below the 127 where one byte ends.
            out.put_u8(0x80 | (STATIC.len() + 1 + at) as u8);
            return;
        }
        out.put_u8(if self.plain { 0x00 } else { 0x40 });
        for text in [name, value] {
            put_length(out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        if !self.plain {
            self.inserted.push((name, value.to_owned()));
        }
    }
}

/// The length of a string that is not Huffman-coded.
pub(super) fn put_length(out: &mut BytesMut, length: usize) {
    if length < 127 {
        out.put_u8(length as u8);
        return;
    }
    out.put_u8(127);
    let mut rest = length - 127;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, BadBlock> {
        let mut headers = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        decoder.decode(block, |name, value| headers.push((text(name), text(value))))?;
        Ok(headers)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let number = |pair: &[u8]| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")
        };
        digits.chunks(2).map(number).collect()
    }

    /// RFC 7541, appendix C.6: responses with Huffman coding and a table of 256 bytes.
    #[test]
    fn the_responses_of_the_rfc() {
        let mut decoder = Decoder { bytes_max: Some(256), ..Decoder::default() };
        let first = bytes(
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        );
        let headers = decoded(&mut decoder, &first).expect("a block");
        assert_eq!(headers[0], (":status".into(), "302".into()));
        assert_eq!(headers[2], ("date".into(), "Mon, 21 Oct 2013 20:13:21 GMT".into()));
        assert_eq!(headers[3], ("location".into(), "https://www.example.com".into()));
        let headers = decoded(&mut decoder, &bytes("4883 640e ffc1 c0bf")).expect("a block");
        assert_eq!(headers[0], (":status".into(), "307".into()));
        assert_eq!(headers[1], ("cache-control".into(), "private".into()));
        assert_eq!((decoder.entries.len(), decoder.bytes), (4, 222));
    }

    #[test]
    fn what_we_write_we_can_read() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::default());
        for (round, length_max) in [(0, 400), (1, 5), (2, 5)] {
            let mut out = BytesMut::new();
            encoder.begin(&mut out);
            Encoder::indexed(&mut out, 3);
            encoder.repeated(&mut out, ":path", "/a");
            encoder.repeated(&mut out, "te", "trailers");
            encoder.repeated(&mut out, "x", &"y".repeat(300));
            assert!(out.len() <= length_max, "round {round}: {}", out.len());
            let headers = decoded(&mut decoder, &out).expect("a block");
            assert_eq!(headers[1], (":path".into(), "/a".into()));
            assert_eq!(headers[3].1.len(), 300);
        }
        encoder.table_size(0);
        let mut out = BytesMut::new();
        encoder.begin(&mut out);
        encoder.repeated(&mut out, "te", "trailers");
        let headers = decoded(&mut decoder, &out).expect("a block");
        assert_eq!((headers.len(), decoder.entries.len()), (1, 0));
    }

    #[test]
    fn broken_blocks_are_refused() {
        for block in [&[0x80][..], &[0xff], &[0xbe], &[0x40, 5, b'a'], &[0x00, 0x81, 0x00, 0x00]] {
            assert_eq!(decoded(&mut Decoder::default(), block), Err(BadBlock), "{block:?}");
        }
        assert!(Decoder::default().decode(&[0x3f, 0xff, 0xff, 0xff, 0xff, 1], |_, _| {}).is_err());
    }
}
