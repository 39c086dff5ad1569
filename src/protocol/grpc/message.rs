//! The five bytes in front of each message: compressed or not, length big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

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
    let message_start = start + PREFIX_BYTES;
    assert!(out.len() >= message_start, "a message only appends");
    let length = out.len() - message_start;
    if length > MESSAGE_BYTES_MAX {
        out.truncate(start);
        return Err(Status::new(
            code::RESOURCE_EXHAUSTED,
            format!(
                "grpc: trying to send message larger than max ({length} vs. {MESSAGE_BYTES_MAX})"
            ),
        ));
    }
    let length = u32::try_from(length).expect("MESSAGE_BYTES_MAX is below 2^32");
    out[start + 1..message_start].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Puts the messages of one request body together from the pieces in which they come.
///
/// A message that comes in one piece is not copied. Call [`MessageReader::next_message`] until it
/// says `None` after every [`MessageReader::push`]: then never more than one message within the
/// limit, and the piece that completed it, is held.
#[derive(Debug)]
pub struct MessageReader {
    message_bytes_max: usize,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// One piece as it came.
    Piece(Bytes),
    /// The beginning of a message, joined from several.
    Joined(BytesMut),
}

impl MessageReader {
    /// A reader that refuses messages above `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> MessageReader {
        MessageReader { message_bytes_max, held: Held::Piece(Bytes::new()) }
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: Bytes) {
        match &mut self.held {
            Held::Piece(held) if held.is_empty() => *held = piece,
            Held::Piece(held) => {
                let mut joined = BytesMut::with_capacity(held.len() + piece.len());
                joined.extend_from_slice(held);
                joined.extend_from_slice(&piece);
                self.held = Held::Joined(joined);
            }
            Held::Joined(joined) => joined.extend_from_slice(&piece),
        }
    }

    /// The next whole message. `encoding` is the request's header `grpc-encoding`.
    pub fn next_message(&mut self, encoding: Option<&str>) -> Result<Option<Bytes>, Status> {
        let held = match &self.held {
            Held::Piece(held) => &held[..],
            Held::Joined(joined) => &joined[..],
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
        check_format(format, encoding)?;
        let mut message = match &mut self.held {
            Held::Piece(held) => held.split_to(PREFIX_BYTES + length),
            Held::Joined(joined) => {
                let message = joined.split_to(PREFIX_BYTES + length).freeze();
                let rest = std::mem::take(joined).freeze();
                self.held = Held::Piece(rest);
                message
            }
        };
        message.advance(PREFIX_BYTES);
        Ok(Some(message))
    }

    /// Judges the end of the body: it must not come inside a message.
    pub fn finish(&self) -> Result<(), Status> {
        let is_empty = match &self.held {
            Held::Piece(held) => held.is_empty(),
            Held::Joined(joined) => joined.is_empty(),
        };
        if is_empty { Ok(()) } else { Err(Status::new(code::INTERNAL, "unexpected EOF")) }
    }
}

fn check_format(format: u8, encoding: Option<&str>) -> Result<(), Status> {
    match (format, encoding) {
        (0, _) => Ok(()),
        (1, None | Some("" | "identity")) => Err(Status::new(
            code::INTERNAL,
            "grpc: compressed flag set with identity or empty encoding",
        )),
        (1, Some(encoding)) => Err(Status::new(
            code::UNIMPLEMENTED,
            format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}"),
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
        let read = reader.next_message(None).unwrap().unwrap();
        assert_eq!(read, "hello");
        assert_eq!(read.as_ptr(), piece[PREFIX_BYTES..].as_ptr());
        assert_eq!(reader.next_message(None), Ok(None));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_length_above_the_limit_is_refused_at_the_prefix() {
        let mut reader = MessageReader::new(1000);
        reader.push(Bytes::from_static(b"\0\xFF\xFF\xFF\xFF"));
        let text = "grpc: received message larger than max (4294967295 vs. 1000)";
        assert_eq!(reader.next_message(None), Err(Status::new(code::RESOURCE_EXHAUSTED, text)));
    }

    #[test]
    fn compression_is_refused_as_by_go() {
        let refused = |format: u8, encoding| {
            let mut reader = MessageReader::new(10);
            reader.push(Bytes::from(vec![format, 0, 0, 0, 0]));
            reader.next_message(encoding).expect_err("refused")
        };
        let unset = "grpc: compressed flag set with identity or empty encoding";
        for encoding in [None, Some(""), Some("identity")] {
            assert_eq!(refused(1, encoding), Status::new(code::INTERNAL, unset));
        }
        let gzip = "grpc: Decompressor is not installed for grpc-encoding \"gzip\"";
        assert_eq!(refused(1, Some("gzip")), Status::new(code::UNIMPLEMENTED, gzip));
        let odd = "grpc: received unexpected payload format 2";
        assert_eq!(refused(2, Some("gzip")), Status::new(code::INTERNAL, odd));
        // An encoding that is named but not used harms nobody.
        let mut reader = MessageReader::new(10);
        reader.push(message(b"x"));
        assert_eq!(reader.next_message(Some("gzip")), Ok(Some(Bytes::from_static(b"x"))));
    }

    #[test]
    fn an_end_inside_a_message_is_noticed() {
        for cut in 1..8 {
            let mut reader = MessageReader::new(10);
            reader.push(message(b"abc").slice(..cut));
            let read = reader.next_message(None);
            assert_eq!(read.is_ok_and(|message| message.is_some()), cut == 8);
            assert_eq!(reader.finish(), Err(Status::new(code::INTERNAL, "unexpected EOF")));
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
                while let Some(message) = reader.next_message(None).unwrap() {
                    read.push(message.to_vec());
                }
            }
            prop_assert_eq!(read, messages);
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn random_bodies_are_read_or_refused(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        ) {
            let mut reader = MessageReader::new(100);
            for piece in pieces {
                reader.push(piece.into());
                while let Ok(Some(_)) = reader.next_message(Some("gzip")) {}
            }
        }
    }
}
