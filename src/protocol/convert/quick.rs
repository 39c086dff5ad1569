//! Puts and ranges as they nearly always come, without prost between bytes and message.
//!
//! Taken is only what a known field with the right wire type and a sound length makes: whatever
//! else is in a message (a field of a later version, a group, a length that leads out of it) is
//! not taken here and prost's to judge, so that every message means the same and is refused for the
//! same.

use bytes::Bytes;

use crate::protocol::pb::etcdserverpb::{PutRequest, RangeRequest};
use crate::protocol::{Field, Fields};

/// Returns the put that `message`, a part of `payload`, is, if it is a plain one.
pub(super) fn put(payload: &Bytes, message: &[u8]) -> Option<PutRequest> {
    let mut fields = Fields(message);
    let mut put = PutRequest::default();
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    for field in &mut fields {
        match field {
            Field { number: 1, bytes: Some(bytes), .. } => key = bytes,
            Field { number: 2, bytes: Some(bytes), .. } => value = bytes,
            Field { number: 3, varint: Some(number), .. } => put.lease = number as i64,
            Field { number: 4, varint: Some(set), .. } => put.prev_kv = set != 0,
            Field { number: 5, varint: Some(set), .. } => put.ignore_value = set != 0,
            Field { number: 6, varint: Some(set), .. } => put.ignore_lease = set != 0,
            _ => return None,
        }
    }
    (put.key, put.value) = (payload.slice_ref(key), payload.slice_ref(value));
    fields.is_empty().then_some(put)
}

/// Returns the range that `payload` is, if it is a plain one.
pub(super) fn range(payload: &Bytes) -> Option<RangeRequest> {
    let mut fields = Fields(payload);
    let mut range = RangeRequest::default();
    let (mut key, mut range_end): (&[u8], &[u8]) = (&[], &[]);
    for field in &mut fields {
        match (field.number, field.bytes, field.varint) {
            (1, Some(bytes), _) => key = bytes,
            (2, Some(bytes), _) => range_end = bytes,
            (3, _, Some(number)) => range.limit = number as i64,
            (4, _, Some(number)) => range.revision = number as i64,
            (5, _, Some(number)) => range.sort_order = number as i32,
            (6, _, Some(number)) => range.sort_target = number as i32,
            (7, _, Some(number)) => range.serializable = number != 0,
            (8, _, Some(number)) => range.keys_only = number != 0,
            (9, _, Some(number)) => range.count_only = number != 0,
            (10, _, Some(number)) => range.min_mod_revision = number as i64,
            (11, _, Some(number)) => range.max_mod_revision = number as i64,
            (12, _, Some(number)) => range.min_create_revision = number as i64,
            (13, _, Some(number)) => range.max_create_revision = number as i64,
            _ => return None,
        }
    }
    (range.key, range.range_end) = (payload.slice_ref(key), payload.slice_ref(range_end));
    fields.is_empty().then_some(range)
}

/// Returns the key, if the message asks for one key whole as it is now, and for nothing else.
pub fn asked_key(message: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(message);
    let mut key: &[u8] = &[];
    for field in &mut fields {
        match field {
            Field { number: 1, bytes: Some(bytes), .. } => key = bytes,
            // Serializable: what is stable here is no older than what is stable anywhere.
            Field { number: 7, varint: Some(_), .. } => {}
            _ => return None,
        }
    }
    (fields.is_empty() && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// Checks that whatever is taken is what prost makes of it.
    fn agree(bytes: &[u8]) -> (bool, bool) {
        let message = Bytes::copy_from_slice(bytes);
        let (put, range) = (put(&message, &message), range(&message));
        if let Some(put) = &put {
            assert_eq!(Ok(put.clone()), PutRequest::decode(message.clone()), "{bytes:x?}");
        }
        if let Some(range) = &range {
            assert_eq!(Ok(range.clone()), RangeRequest::decode(message.clone()), "{bytes:x?}");
        }
        (put.is_some(), range.is_some())
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
