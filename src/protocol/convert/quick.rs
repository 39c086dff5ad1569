//! Puts and ranges as they nearly always come, without prost between bytes and message.
//!
//! Taken is only what a known field with the right wire type and a sound length makes: whatever
//! else is in a message (a field of a later version, a group, a length that leads out of it) is
//! not taken here and prost's to judge, so that every message means the same and is refused for the
//! same.

use std::ops::Range;

use bytes::{Buf, Bytes};

use crate::protocol::pb::etcdserverpb::{PutRequest, RangeRequest};

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

/// Bytes of a varint at most.
const VARINT_BYTES_MAX: usize = 10;

/// A field with its value.
enum Field {
    Number(u8, u64),
    /// Where in the message its bytes are.
    Bytes(u8, Range<usize>),
}

/// The fields of a message, in the order in which they come.
struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn is_empty(&self) -> bool {
        self.at == self.message.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.message.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for position in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            if position == VARINT_BYTES_MAX - 1 && byte > 1 {
                return None; // More than 64 bits.
            }
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn next(&mut self) -> Option<Field> {
        let tag = self.byte()?;
        if tag >= 0x80 {
            return None; // Field numbers above 15: none of these.
        }
        let number = tag >> 3;
        match tag & 7 {
            VARINT => Some(Field::Number(number, self.varint()?)),
            LENGTH_DELIMITED => {
                let length = usize::try_from(self.varint()?).ok()?;
                let end = self.at.checked_add(length)?;
                if end > self.message.len() {
                    return None;
                }
                let bytes = self.at..end;
                self.at = end;
                Some(Field::Bytes(number, bytes))
            }
            _ => None,
        }
    }
}

/// Two slices of a message, of which the second takes over its buffer.
fn cut(mut message: Bytes, first: Range<usize>, second: Range<usize>) -> (Bytes, Bytes) {
    let of = |range: Range<usize>, message: &Bytes| match range.is_empty() {
        true => Bytes::new(),
        false => message.slice(range),
    };
    if second.is_empty() {
        message.truncate(first.end);
        message.advance(first.start);
        return (message, Bytes::new());
    }
    let first = of(first, &message);
    message.truncate(second.end);
    message.advance(second.start);
    (first, message)
}

/// A put, if it is a plain one; else the message back.
pub(super) fn put(message: Bytes) -> Result<PutRequest, Bytes> {
    let Some((mut put, key, value)) = scan_put(&message) else { return Err(message) };
    (put.key, put.value) = cut(message, key, value);
    Ok(put)
}

fn scan_put(message: &[u8]) -> Option<(PutRequest, Range<usize>, Range<usize>)> {
    let mut fields = Fields { message, at: 0 };
    let mut put = PutRequest::default();
    let (mut key, mut value) = (0..0, 0..0);
    while !fields.is_empty() {
        match fields.next()? {
            Field::Bytes(1, bytes) => key = bytes,
            Field::Bytes(2, bytes) => value = bytes,
            Field::Number(3, number) => put.lease = number as i64,
            Field::Number(4, number) => put.prev_kv = number != 0,
            Field::Number(5, number) => put.ignore_value = number != 0,
            Field::Number(6, number) => put.ignore_lease = number != 0,
            _ => return None,
        }
    }
    Some((put, key, value))
}

/// A range, if it is a plain one; else the message back.
pub(super) fn range(message: Bytes) -> Result<RangeRequest, Bytes> {
    let Some((mut range, key, range_end)) = scan_range(&message) else { return Err(message) };
    (range.key, range.range_end) = cut(message, key, range_end);
    Ok(range)
}

fn scan_range(message: &[u8]) -> Option<(RangeRequest, Range<usize>, Range<usize>)> {
    let mut fields = Fields { message, at: 0 };
    let mut range = RangeRequest::default();
    let (mut key, mut range_end) = (0..0, 0..0);
    while !fields.is_empty() {
        match fields.next()? {
            Field::Bytes(1, bytes) => key = bytes,
            Field::Bytes(2, bytes) => range_end = bytes,
            Field::Number(3, number) => range.limit = number as i64,
            Field::Number(4, number) => range.revision = number as i64,
            Field::Number(5, number) => range.sort_order = number as i32,
            Field::Number(6, number) => range.sort_target = number as i32,
            Field::Number(7, number) => range.serializable = number != 0,
            Field::Number(8, number) => range.keys_only = number != 0,
            Field::Number(9, number) => range.count_only = number != 0,
            Field::Number(10, number) => range.min_mod_revision = number as i64,
            Field::Number(11, number) => range.max_mod_revision = number as i64,
            Field::Number(12, number) => range.min_create_revision = number as i64,
            Field::Number(13, number) => range.max_create_revision = number as i64,
            _ => return None,
        }
    }
    Some((range, key, range_end))
}

/// The key, if the message asks for one key whole as it is now, and for nothing else.
pub fn asked_key(message: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields { message, at: 0 };
    let mut key = 0..0;
    while !fields.is_empty() {
        match fields.next()? {
            Field::Bytes(1, bytes) => key = bytes,
            // Serializable: what is stable here is no older than what is stable anywhere.
            Field::Number(7, _) => {}
            _ => return None,
        }
    }
    if key.is_empty() { None } else { message.get(key) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// Whatever is taken is what prost makes of it.
    fn agree(bytes: &[u8]) -> (bool, bool) {
        let message = Bytes::copy_from_slice(bytes);
        let (put, range) = (put(message.clone()), range(message.clone()));
        if let Ok(put) = &put {
            assert_eq!(Ok(put.clone()), PutRequest::decode(message.clone()), "{bytes:x?}");
        }
        if let Ok(range) = &range {
            assert_eq!(Ok(range.clone()), RangeRequest::decode(message.clone()), "{bytes:x?}");
        }
        (put.is_ok(), range.is_ok())
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
    }

    proptest! {
        #[test]
        fn every_put_is_taken(
            key in bytes(), value in bytes(), lease in any::<i64>(),
            prev_kv in any::<bool>(), ignore_value in any::<bool>(), ignore_lease in any::<bool>(),
        ) {
            let put = PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease };
            prop_assert!(agree(&put.encode_to_vec()).0);
        }

        #[test]
        fn every_range_is_taken(
            (key, range_end) in (bytes(), bytes()), numbers in any::<[i64; 6]>(),
            enums in any::<[i32; 2]>(), flags in any::<[bool; 3]>(),
        ) {
            let range = RangeRequest {
                key,
                range_end,
                limit: numbers[0],
                revision: numbers[1],
                sort_order: enums[0],
                sort_target: enums[1],
                serializable: flags[0],
                keys_only: flags[1],
                count_only: flags[2],
                min_mod_revision: numbers[2],
                max_mod_revision: numbers[3],
                min_create_revision: numbers[4],
                max_create_revision: numbers[5],
            };
            prop_assert!(agree(&range.encode_to_vec()).1);
        }

        #[test]
        fn damaged_messages_are_never_understood_differently(
            key in bytes(),
            value in bytes(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
            more in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let put = PutRequest { key, value, lease: 7, prev_kv: true, ..PutRequest::default() };
            let mut encoded = put.encode_to_vec();
            let at = at.index(encoded.len());
            encoded[at] = byte;
            agree(&encoded);
            encoded.extend(more);
            agree(&encoded);
            encoded.truncate(cut.index(encoded.len()));
            agree(&encoded);
        }

        #[test]
        fn nor_is_anything_else(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            agree(&bytes);
        }
    }

    #[test]
    fn fields_may_come_again_and_in_any_order() {
        // The value before the key, the key twice, a flag that is 2, a lease in ten bytes.
        let message = [
            &[0x12, 1, b'v', 0x0a, 1, b'x', 0x0a, 1, b'k', 0x20, 2, 0x18][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ];
        assert!(agree(&message.concat()).0);
    }
}
