//! gRPC's message prefix: one byte "compressed", four bytes length, big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const PREFIX_BYTES: usize = 5;

/// A message with its prefix.
pub(super) fn encode(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + length);
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).expect("messages are far below 4 GiB"));
    message.encode(&mut buffer).expect("the buffer grows");
    buffer.freeze()
}

/// Puts the pieces that arrive together into messages.
pub(super) struct Assembly {
    buffer: BytesMut,
    message_bytes_max: usize,
}

impl Assembly {
    pub(super) fn new(message_bytes_max: usize) -> Assembly {
        Assembly { buffer: BytesMut::new(), message_bytes_max }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole message; an error text if the bytes cannot be one.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, String> {
        if self.buffer.len() < PREFIX_BYTES {
            return Ok(None);
        }
        let length = (&self.buffer[1..PREFIX_BYTES]).get_u32() as usize;
        if self.buffer[0] != 0 {
            return Err("a compressed message, which was not asked for".to_owned());
        }
        if length > self.message_bytes_max {
            return Err(format!(
                "grpc: received message larger than max ({length} vs. {})",
                self.message_bytes_max
            ));
        }
        if self.buffer.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether no piece of a message is left over.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_from_any_pieces() {
        let wire = b"\0\0\0\0\x02ab\0\0\0\0\0\0\0\0\0\x01c";
        for size in 1..wire.len() {
            let mut assembly = Assembly::new(10);
            let mut messages = Vec::new();
            for piece in wire.chunks(size) {
                assembly.push(piece);
                while let Some(message) = assembly.next().expect("the bytes are well-formed") {
                    messages.push(message);
                }
            }
            assert_eq!(messages, ["ab".as_bytes(), b"", b"c"], "pieces of {size}");
            assert!(assembly.is_empty());
        }
    }

    #[test]
    fn compressed_and_oversized_messages_are_refused() {
        let mut assembly = Assembly::new(10);
        assembly.push(b"\x01\0\0\0\x01a");
        assert!(assembly.next().expect_err("compressed").contains("compressed"));
        let mut assembly = Assembly::new(10);
        assembly.push(b"\0\0\0\0\x0b");
        assert!(assembly.next().expect_err("too large").contains("(11 vs. 10)"));
    }
}
