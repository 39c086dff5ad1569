//! Fields to header blocks. What comes again goes into the other side's table, as long as nothing
//! has to leave it for that: then a field is one byte from its second time on.

use bytes::{BufMut, BytesMut};

use super::table::STATIC;
use super::{ENTRY_BYTES, TABLE_BYTES, huffman};

/// Indexes of the static table that are written as they are.
pub mod indexes {
    pub const METHOD_POST: u8 = 3;
    pub const SCHEME_HTTP: u8 = 6;
    pub const STATUS_200: u8 = 8;
}

/// A field that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'static str,
    pub value: &'a str,
    /// Whether the same field will be written again on the connection.
    pub comes_again: bool,
}

impl<'a> Field<'a> {
    /// A field of which nobody knows whether it comes again.
    pub fn once(name: &'static str, value: &'a str) -> Field<'a> {
        Field { name, value, comes_again: false }
    }

    /// A field that comes again.
    pub fn repeated(name: &'static str, value: &'a str) -> Field<'a> {
        Field { name, value, comes_again: true }
    }
}

/// The encoder of one connection, which remembers what the other side has in its table.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Fields that were inserted, in order. None is ever evicted.
    inserted: Vec<(&'static str, Box<str>)>,
    /// Their bytes as HPACK counts them.
    bytes: usize,
    /// The other side keeps less than we have been using: nothing is inserted any more.
    plain: bool,
    /// The next block has to say that.
    shrink: bool,
}

impl Encoder {
    /// The other side's SETTINGS_HEADER_TABLE_SIZE.
    pub fn table_size(&mut self, size: u32) {
        if (size as usize) < TABLE_BYTES && !self.plain {
            (self.plain, self.shrink) = (true, true);
            self.inserted.clear();
        }
    }

    /// A number that changes with what the next block would be.
    pub fn table(&self) -> u64 {
        let inserted = self.inserted.len() as u64;
        inserted << 2 | u64::from(self.plain) << 1 | u64::from(self.shrink)
    }

    /// To be called before the first field of each block.
    pub fn begin(&mut self, out: &mut BytesMut) {
        if std::mem::take(&mut self.shrink) {
            out.put_u8(0x20);
        }
    }

    /// Appends a field of the static table; `index` is below 62.
    pub fn indexed(out: &mut BytesMut, index: u8) {
        out.put_u8(0x80 | index);
    }

    /// Appends a field.
    pub fn field(&mut self, out: &mut BytesMut, field: Field<'_>) {
        if field.comes_again {
            return self.repeated(out, field.name, field.value);
        }
        put_name(out, 0x00, 4, field.name);
        put_text(out, field.value);
    }

    /// Appends a field that comes again.
    pub fn repeated(&mut self, out: &mut BytesMut, name: &'static str, value: &str) {
        let mut known = self.inserted.iter().rev();
        if let Some(at) = known.position(|(n, v)| *n == name && **v == *value) {
            return put_integer(out, 0x80, 7, STATIC.len() + 1 + at);
        }
        let bytes = name.len() + value.len() + ENTRY_BYTES;
        let is_inserted = !self.plain && self.bytes + bytes <= TABLE_BYTES;
        match is_inserted {
            true => put_name(out, 0x40, 6, name),
            false => put_name(out, 0x00, 4, name),
        }
        put_text(out, value);
        if is_inserted {
            self.bytes += bytes;
            self.inserted.push((name, value.into()));
        }
    }
}

/// A name: its index in the static table, or its text.
fn put_name(out: &mut BytesMut, first: u8, bits: u32, name: &str) {
    match STATIC.iter().position(|known| known.0 == name) {
        Some(at) => put_integer(out, first, bits, at + 1),
        None => {
            out.put_u8(first);
            put_text(out, name);
        }
    }
}

/// A text, coded if that is shorter.
fn put_text(out: &mut BytesMut, text: &str) {
    let coded = huffman::coded_bytes(text.as_bytes());
    if coded < text.len() {
        put_integer(out, 0x80, 7, coded);
        huffman::encode(text.as_bytes(), out);
    } else {
        put_integer(out, 0x00, 7, text.len());
        out.extend_from_slice(text.as_bytes());
    }
}

/// A number in the low `bits` bits of the byte `first`, and in the bytes after it.
fn put_integer(out: &mut BytesMut, first: u8, bits: u32, value: usize) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        out.put_u8(first | value as u8);
        return;
    }
    out.put_u8(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}
