//! Protobuf fields, gathered on the stack before they go to the send buffer: that one is not grown
//! byte by byte, and a reply of small fields is one copy.

use bytes::BytesMut;
use prost::encoding::encoded_len_varint;

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

/// Bytes of a varint at most.
const VARINT_BYTES_MAX: usize = 10;

/// Bytes that are gathered at most.
const ROOM: usize = 128;

/// Four numbers with their keys, and the key and the length of their message in one byte each.
const SMALL_MESSAGE_BYTES: usize = 2 + 4 * (1 + VARINT_BYTES_MAX);
const _: () = assert!(SMALL_MESSAGE_BYTES < 0x80 && SMALL_MESSAGE_BYTES + VARINT_BYTES_MAX <= ROOM);

/// Bytes up to which a slice is copied once more to be gathered: a key is, and a value is not.
const SMALL_BYTES: usize = 48;

/// Fields on their way into a buffer; they are in it after [`Gather::finish`].
pub(super) struct Gather<'a> {
    out: &'a mut BytesMut,
    bytes: [u8; ROOM],
    length: usize,
}

impl<'a> Gather<'a> {
    pub(super) fn new(out: &'a mut BytesMut) -> Gather<'a> {
        Gather { out, bytes: [0; ROOM], length: 0 }
    }

    /// A number; 0 is left out.
    #[inline(always)]
    pub(super) fn varint(&mut self, number: u8, value: u64) {
        if value != 0 {
            self.key(number, VARINT);
            self.raw_varint(value);
        }
    }

    #[inline(always)]
    pub(super) fn bool(&mut self, number: u8, value: bool) {
        self.varint(number, u64::from(value));
    }

    /// The key and the length of a nested message, whose fields follow.
    #[inline(always)]
    pub(super) fn length(&mut self, number: u8, length: usize) {
        self.key(number, LENGTH_DELIMITED);
        self.raw_varint(length as u64);
    }

    /// A nested message of numbers, all of which `write` adds: four of them at most.
    #[inline(always)]
    pub(super) fn small(&mut self, number: u8, write: impl FnOnce(&mut Gather<'a>)) {
        self.make_room(SMALL_MESSAGE_BYTES);
        self.length(number, 0);
        let start = self.length;
        write(self);
        self.bytes[start - 1] = (self.length - start) as u8;
    }

    /// A bytes field; without bytes it is left out.
    #[inline]
    pub(super) fn bytes(&mut self, number: u8, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.length(number, bytes.len());
        if bytes.len() <= SMALL_BYTES {
            self.make_room(SMALL_BYTES);
            self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
            self.length += bytes.len();
        } else {
            self.flush();
            self.out.extend_from_slice(bytes);
        }
    }

    /// Bytes of the buffer with what was gathered for it.
    pub(super) fn len(&self) -> usize {
        self.out.len() + self.length
    }

    /// Puts the rest of what was gathered into the buffer.
    pub(super) fn finish(mut self) {
        self.flush();
    }

    #[inline(always)]
    fn make_room(&mut self, bytes: usize) {
        if self.length + bytes > ROOM {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(&self.bytes[..self.length]);
        self.length = 0;
    }

    #[inline(always)]
    fn key(&mut self, number: u8, wire_type: u8) {
        self.make_room(1 + VARINT_BYTES_MAX);
        self.bytes[self.length] = number << 3 | wire_type;
        self.length += 1;
    }

    /// There is room: see `key`.
    #[inline(always)]
    fn raw_varint(&mut self, value: u64) {
        let place = &mut self.bytes[self.length..][..VARINT_BYTES_MAX];
        if value < 0x80 {
            place[0] = value as u8;
            self.length += 1;
            return;
        }
        let length = encoded_len_varint(value);
        // Eight groups of seven bits at once; every byte but the last one says that more follow.
        let follow = 0x8080_8080_8080_8080_u64;
        let groups = spread(value) | follow & (u64::MAX >> (64 - 8 * (length - 1).min(8)));
        place[..8].copy_from_slice(&groups.to_le_bytes());
        let rest = value >> 56;
        place[8] = rest as u8 | if length == VARINT_BYTES_MAX { 0x80 } else { 0 };
        place[9] = (rest >> 7) as u8;
        self.length += length;
    }
}

/// Returns the lower 56 bits, seven to a byte.
#[inline(always)]
fn spread(value: u64) -> u64 {
    let halves = value & 0x0fff_ffff | (value & 0x00ff_ffff_f000_0000) << 4;
    let quarters = halves & 0x0000_3fff_0000_3fff | (halves & 0x0fff_c000_0fff_c000) << 2;
    quarters & 0x007f_007f_007f_007f | (quarters & 0x3f80_3f80_3f80_3f80) << 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding;

    use super::*;

    fn agree(number: u8, value: u64) {
        let (mut out, mut expected) = (BytesMut::new(), Vec::new());
        let mut gather = Gather::new(&mut out);
        gather.varint(number, value);
        gather.finish();
        if value != 0 {
            encoding::uint64::encode(u32::from(number), &value, &mut expected);
        }
        assert_eq!(out, expected, "{value:#x}");
    }

    #[test]
    fn numbers_of_every_length_are_prosts() {
        for bits in 0..64 {
            for value in [1_u64 << bits, (1 << bits) - 1, (1 << bits) | 1, u64::MAX >> bits] {
                agree(1, value);
                agree(15, value);
            }
        }
    }

    #[test]
    fn a_small_message_has_room_for_four_of_the_longest_numbers_wherever_it_begins() {
        for before in 0..ROOM {
            let (mut out, mut expected) = (BytesMut::new(), vec![7; before]);
            let mut gather = Gather::new(&mut out);
            gather.bytes[..before].fill(7);
            gather.length = before;
            gather.small(1, |fields| (1..5).for_each(|number| fields.varint(number, u64::MAX)));
            gather.finish();
            expected.extend([1 << 3 | LENGTH_DELIMITED, (SMALL_MESSAGE_BYTES - 2) as u8]);
            for number in 1..5 {
                encoding::uint64::encode(number, &u64::MAX, &mut expected);
            }
            assert_eq!(out, expected, "after {before} bytes");
        }
    }

    proptest! {
        #[test]
        fn fields_come_out_in_order_however_many(
            fields in proptest::collection::vec(
                (1u8..16, any::<u64>(), proptest::collection::vec(any::<u8>(), 0..200)),
                0..20,
            ),
        ) {
            let (mut out, mut expected) = (BytesMut::new(), Vec::new());
            let mut gather = Gather::new(&mut out);
            for (number, value, bytes) in &fields {
                agree(*number, *value);
                gather.varint(*number, *value);
                gather.bytes(*number, bytes);
                if *value != 0 {
                    encoding::uint64::encode(u32::from(*number), value, &mut expected);
                }
                if !bytes.is_empty() {
                    encoding::bytes::encode(u32::from(*number), bytes, &mut expected);
                }
            }
            gather.finish();
            prop_assert_eq!(out, expected);
        }
    }
}
