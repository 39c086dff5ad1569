//! Header blocks to fields.
//!
//! Nothing is copied that need not be: a field of a table is handed out where it stands there, a
//! text that is not coded where it stands in the block. So a block costs in proportion to its own
//! bytes, however much its fields come to.

use std::collections::VecDeque;

use super::table::STATIC;
use super::{BadBlock, ENTRY_BYTES, TABLE_BYTES, huffman};

/// The decoder of one connection.
#[derive(Debug)]
pub struct Decoder {
    /// Newest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    /// The number of times that the table has changed.
    changes: u64,
    /// Texts that were coded, for as long as one field is looked at.
    name: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    /// Name and value.
    text: Box<[u8]>,
    name_bytes: usize,
}

impl Entry {
    fn parts(&self) -> (&[u8], &[u8]) {
        self.text.split_at(self.name_bytes)
    }
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::with_table(TABLE_BYTES)
    }
}

/// A text of a literal field.
enum Text<'a> {
    Plain(&'a [u8]),
    Coded,
}

impl Decoder {
    pub(super) fn with_table(bytes_max: usize) -> Decoder {
        Decoder {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
            changes: 0,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Says every field of a block in order. The whole block must be there.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), BadBlock> {
        let mut is_first = true;
        while let Some(&first) = block.first() {
            match first {
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    let (name, value) = self.entry(index)?;
                    each(name, value);
                }
                0x40..0x80 => self.literal(&mut block, 6, true, &mut each)?,
                0x20..0x40 => {
                    let size = integer(&mut block, 5)?;
                    // Only in front of the fields, and at most what we have said.
                    if !is_first || size > TABLE_BYTES {
                        return Err(BadBlock);
                    }
                    self.bytes_max = size;
                    self.changes += 1;
                    self.evict(0);
                    continue;
                }
                _ => self.literal(&mut block, 4, false, &mut each)?,
            }
            is_first = false;
        }
        Ok(())
    }

    /// A number that changes with the table: a block means the same as long as it is the same.
    pub fn table(&self) -> u64 {
        self.changes
    }

    /// Bytes of the table, as HPACK counts them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), BadBlock> {
        let at = index.checked_sub(1).ok_or(BadBlock)?;
        match STATIC.get(at) {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => self.entries.get(at - STATIC.len()).map(Entry::parts).ok_or(BadBlock),
        }
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        bits: u32,
        is_kept: bool,
        each: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), BadBlock> {
        let (mut name, mut value) =
            (std::mem::take(&mut self.name), std::mem::take(&mut self.value));
        name.clear();
        value.clear();
        let result = self.texts(block, bits, is_kept, (&mut name, &mut value), each);
        // A long text does not keep its buffer.
        (self.name, self.value) = (kept(name), kept(value));
        result
    }

    fn texts(
        &mut self,
        block: &mut &[u8],
        bits: u32,
        is_kept: bool,
        (name_coded, value_coded): (&mut Vec<u8>, &mut Vec<u8>),
        each: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), BadBlock> {
        let index = integer(block, bits)?;
        let name = match index {
            0 => string(block, name_coded)?,
            _ => Text::Coded,
        };
        let value = string(block, value_coded)?;
        let value: &[u8] = match value {
            Text::Plain(text) => text,
            Text::Coded => value_coded,
        };
        let name: &[u8] = match (index, name) {
            (0, Text::Plain(text)) => text,
            (0, Text::Coded) => name_coded,
            _ => self.entry(index)?.0,
        };
        each(name, value);
        if is_kept {
            let entry = Entry { text: [name, value].concat().into(), name_bytes: name.len() };
            self.insert(entry);
        }
        Ok(())
    }

    fn insert(&mut self, entry: Entry) {
        self.changes += 1;
        let bytes = entry.text.len() + ENTRY_BYTES;
        self.evict(bytes);
        if bytes <= self.bytes_max {
            self.bytes += bytes;
            self.entries.push_front(entry);
        }
    }

    /// Makes room for an entry of so many bytes.
    fn evict(&mut self, room: usize) {
        while self.bytes + room > self.bytes_max {
            let Some(entry) = self.entries.pop_back() else { return };
            self.bytes -= entry.text.len() + ENTRY_BYTES;
        }
    }
}

fn kept(text: Vec<u8>) -> Vec<u8> {
    const KEPT_BYTES: usize = 1 << 10;
    if text.capacity() > KEPT_BYTES { Vec::new() } else { text }
}

/// A number whose first byte shares `8 - bits` bits with something else.
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
    // No number that a block may hold needs more than these.
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        value += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(BadBlock)
}

/// A text; what is coded is decoded into `out`.
fn string<'a>(block: &mut &'a [u8], out: &mut Vec<u8>) -> Result<Text<'a>, BadBlock> {
    let is_coded = block.first().ok_or(BadBlock)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(BadBlock)?;
    *block = rest;
    if is_coded {
        huffman::decode(text, out)?;
        return Ok(Text::Coded);
    }
    Ok(Text::Plain(text))
}
