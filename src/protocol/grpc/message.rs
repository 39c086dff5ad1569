//! The five bytes in front of each message: compressed or not, length big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::gzip::Encoding;
use crate::protocol::status::{Status, code};

/// Bytes in front of a message.
pub const PREFIX_BYTES: usize = 5;

/// Bytes of a message that is sent at most.
pub const MESSAGE_BYTES_MAX: usize = (1 << 31) - 1;

/// Appends one message. `write_message` appends its bytes, and only appends, to the buffer it is
/// given, which is `out` itself. A message that no client could take is taken back.
pub fn encode_message(
    out: &mut BytesMut,
    write_message: impl FnOnce(&mut BytesMut),
) -> Result<(), Status> {
    let start = out.len();
    out.put_bytes(0, PREFIX_BYTES);
    write_message(out);
    assert!(out.len() >= start + PREFIX_BYTES, "a message only appends");
    if let Err(status) = write_prefix(&mut out[start..], false) {
        out.truncate(start);
        return Err(status);
    }
    Ok(())
}

/// Writes the prefix of `framed`, which is room for it and one whole message.
pub fn write_prefix(framed: &mut [u8], is_compressed: bool) -> Result<(), Status> {
    let length = framed.len() - PREFIX_BYTES;
    if length > MESSAGE_BYTES_MAX {
        return Err(above_limit(length));
    }
    let length = u32::try_from(length).expect("MESSAGE_BYTES_MAX is below 2^32");
    framed[0] = u8::from(is_compressed);
    framed[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Returns the status of a message that is too large to be sent.
pub fn above_limit(length: usize) -> Status {
    Status::new(
        code::RESOURCE_EXHAUSTED,
        format!("grpc: trying to send message larger than max ({length} vs. {MESSAGE_BYTES_MAX})"),
    )
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    pub bytes: Bytes,
    /// The bytes are to be unpacked, as the call's encoding says.
    pub is_compressed: bool,
}

/// Puts the messages of one request body together from the pieces in which they come.
///
/// A message that comes in one piece is not copied. Call [`MessageReader::next_message`] until it
/// says `None` after every [`MessageReader::push`]: then never more than one message within the
/// limit, and the piece that completed it, is held.
#[derive(Debug)]
pub struct MessageReader {
    message_bytes_max: usize,
    held: PartialMessage,
}

#[derive(Debug)]
enum PartialMessage {
    /// One piece as it came.
    Piece(Bytes),
    /// The beginning of a message, joined from several.
    Joined(BytesMut),
}

impl MessageReader {
    /// Makes a reader that refuses messages above `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> MessageReader {
        MessageReader { message_bytes_max, held: PartialMessage::Piece(Bytes::new()) }
    }

    /// Returns the limit.
    pub fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: Bytes) {
        match &mut self.held {
            PartialMessage::Piece(held) if held.is_empty() => *held = piece,
            PartialMessage::Piece(held) => {
                let mut joined = BytesMut::with_capacity(held.len() + piece.len());
                joined.extend_from_slice(held);
                joined.extend_from_slice(&piece);
                self.held = PartialMessage::Joined(joined);
            }
            PartialMessage::Joined(joined) => joined.extend_from_slice(&piece),
        }
    }

    /// Returns the next whole message. `encoding` is what the request's header `grpc-encoding`
    /// names.
    pub fn next_message(&mut self, encoding: Encoding) -> Result<Option<Packed>, Status> {
        let held = match &self.held {
            PartialMessage::Piece(held) => &held[..],
            PartialMessage::Joined(joined) => &joined[..],
        };
        let Some(&[format, a, b, c, d]) = held.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.message_bytes_max {
            return Err(Status::new(
                code::RESOURCE_EXHAUSTED,
                format!(
                    "grpc: received message larger than max ({length} vs. {})",
                    self.message_bytes_max
                ),
            ));
        }
        if held.len() - PREFIX_BYTES < length {
            return Ok(None);
        }
        let is_compressed = is_compressed(format, encoding)?;
        let mut message = match &mut self.held {
            PartialMessage::Piece(held) => held.split_to(PREFIX_BYTES + length),
            PartialMessage::Joined(joined) => {
                let message = joined.split_to(PREFIX_BYTES + length).freeze();
                let rest = std::mem::take(joined).freeze();
                self.held = PartialMessage::Piece(rest);
                message
            }
        };
        message.advance(PREFIX_BYTES);
        Ok(Some(Packed { bytes: message, is_compressed }))
    }

    /// Whether a message has begun to come.
    pub fn is_begun(&self) -> bool {
        self.held_bytes() > 0
    }

    /// Whether an end of the body here is inside a message. In Go a piece of a prefix is none.
    pub fn is_inside_message(&self) -> bool {
        self.held_bytes() >= PREFIX_BYTES
    }

    fn held_bytes(&self) -> usize {
        match &self.held {
            PartialMessage::Piece(held) => held.len(),
            PartialMessage::Joined(joined) => joined.len(),
        }
    }
}

fn is_compressed(format: u8, encoding: Encoding) -> Result<bool, Status> {
    match (format, encoding) {
        (0, _) => Ok(false),
        (1, Encoding::Gzip) => Ok(true),
        (1, Encoding::Identity) => Err(Status::new(
            code::INTERNAL,
            "grpc: compressed flag set with identity or empty encoding",
        )),
        (other, _) => Err(Status::new(
            code::INTERNAL,
            format!("grpc: received unexpected payload format {other}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(bytes: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        encode_message(&mut out, |out| out.extend_from_slice(bytes)).unwrap();
        out.freeze()
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let piece = message(b"hello");
        assert_eq!(piece, &b"\0\0\0\0\x05hello"[..]);
        let mut reader = MessageReader::new(5);
        reader.push(piece.clone());
        let read = reader.next_message(Encoding::Identity).unwrap().unwrap().bytes;
        assert_eq!(read, "hello");
        assert_eq!(read.as_ptr(), piece[PREFIX_BYTES..].as_ptr());
        assert_eq!(reader.next_message(Encoding::Identity), Ok(None));
        assert!(!reader.is_inside_message());
    }

    #[test]
    fn a_length_above_the_limit_is_refused_at_the_prefix() {
        let mut reader = MessageReader::new(1000);
        reader.push(Bytes::from_static(b"\0\xFF\xFF\xFF\xFF"));
        let text = "grpc: received message larger than max (4294967295 vs. 1000)";
        let refused = reader.next_message(Encoding::Identity);
        assert_eq!(refused, Err(Status::new(code::RESOURCE_EXHAUSTED, text)));
    }

    #[test]
    fn compression_is_accepted_only_under_an_encoding() {
        let read = |format: u8, encoding| {
            let mut reader = MessageReader::new(10);
            reader.push(Bytes::from(vec![format, 0, 0, 0, 0]));
            reader.next_message(encoding)
        };
        let message = |is_compressed| Ok(Some(Packed { bytes: Bytes::new(), is_compressed }));
        assert_eq!(read(1, Encoding::Gzip), message(true));
        // An encoding that is named but not used harms nobody.
        assert_eq!(read(0, Encoding::Gzip), message(false));
        assert_eq!(read(0, Encoding::Identity), message(false));
        let unset = "grpc: compressed flag set with identity or empty encoding";
        assert_eq!(read(1, Encoding::Identity), Err(Status::new(code::INTERNAL, unset)));
        let odd = "grpc: received unexpected payload format 2";
        assert_eq!(read(2, Encoding::Gzip), Err(Status::new(code::INTERNAL, odd)));
    }

    #[test]
    fn an_end_inside_a_message_is_noticed() {
        for cut in 0..8 {
            let mut reader = MessageReader::new(10);
            reader.push(message(b"abc").slice(..cut));
            assert_eq!(reader.next_message(Encoding::Identity), Ok(None));
            assert_eq!(reader.is_inside_message(), cut >= PREFIX_BYTES);
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_messages(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1usize..30, 1..20),
        ) {
            let mut body = Bytes::from(
                messages.iter().flat_map(|bytes| message(bytes)).collect::<Vec<u8>>(),
            );
            let mut reader = MessageReader::new(40);
            let mut read = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !body.is_empty() {
                reader.push(body.split_to(body.len().min(*cuts.next().unwrap())));
                while let Some(message) = reader.next_message(Encoding::Identity).unwrap() {
                    read.push(message.bytes.to_vec());
                }
            }
            prop_assert_eq!(read, messages);
            prop_assert!(!reader.is_inside_message());
        }

        #[test]
        fn random_bodies_are_read_or_refused(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        ) {
            let mut reader = MessageReader::new(100);
            for piece in pieces {
                reader.push(piece.into());
                while let Ok(Some(_)) = reader.next_message(Encoding::Gzip) {}
            }
        }
    }
}
