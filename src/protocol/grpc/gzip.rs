//! Messages compressed with gzip. They are compressed and decompressed in slices, so that the
//! caller can let other tasks run in between.
//!
//! The decompressed size is bounded. The texts of errors are grpc-go's.

use std::io::{self, Write};

use bytes::buf::Writer;
use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};

use crate::protocol::status::{Status, code};

/// Bytes of one slice, of what goes in and of what comes out.
pub const SLICE_BYTES: usize = 64 << 10;

/// Deflate makes at most 1032 bytes of one, so one bite gives about a slice.
const BITE_BYTES: usize = 64;

/// Bytes of the shortest header of gzip, and how it begins.
const HEADER_BYTES: usize = 10;
const MAGIC: [u8; 3] = [0x1F, 0x8B, 8];

/// How the messages of one call are compressed: what the header `grpc-encoding` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Identity,
    Gzip,
}

impl Encoding {
    /// Returns the encoding of that name; Unimplemented if there is none.
    pub fn of(name: Option<&str>) -> Result<Encoding, Status> {
        match name {
            None | Some("" | "identity") => Ok(Encoding::Identity),
            Some("gzip") => Ok(Encoding::Gzip),
            Some(other) => Err(Status::new(
                code::UNIMPLEMENTED,
                format!("grpc: Decompressor is not installed for grpc-encoding {other:?}"),
            )),
        }
    }
}

/// Unpacks one message.
pub struct Inflater {
    packed: Bytes,
    /// The last bytes: how long the message is, if it is whole.
    length_claimed: u32,
    decoder: MultiGzDecoder<Unpacked>,
}

impl Inflater {
    /// Begins to unpack a message that must not come to more than `bytes_max`; it is refused if it
    /// is no gzip at all.
    pub fn new(packed: Bytes, bytes_max: usize) -> Result<Inflater, Status> {
        let malformed = match packed.len() {
            0 => Some("EOF"),
            1..HEADER_BYTES => Some("unexpected EOF"),
            _ if !packed.starts_with(&MAGIC) => Some("gzip: invalid header"),
            _ => None,
        };
        if let Some(why) = malformed {
            let text = format!("grpc: failed to decompress the message: {why}");
            return Err(Status::new(code::INTERNAL, text));
        }
        let unpacked = Unpacked { bytes: BytesMut::new(), bytes_max, is_over: false };
        let length_claimed = packed.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        Ok(Inflater { packed, length_claimed, decoder: MultiGzDecoder::new(unpacked) })
    }

    /// Unpacks one slice more; the message once all is there.
    pub fn step(&mut self) -> Result<Option<Bytes>, Status> {
        let start = self.held();
        let mut taken = 0;
        while taken < SLICE_BYTES && self.held() - start < SLICE_BYTES && !self.packed.is_empty() {
            let bite = self.packed.split_to(BITE_BYTES.min(self.packed.len()));
            taken += bite.len();
            self.decoder.write_all(&bite).map_err(|error| self.refusal(&error))?;
        }
        if !self.packed.is_empty() {
            return Ok(None);
        }
        self.decoder.try_finish().map_err(|error| self.refusal(&error))?;
        Ok(Some(std::mem::take(&mut self.decoder.get_mut().bytes).freeze()))
    }

    /// Bytes unpacked so far.
    pub fn held(&self) -> usize {
        self.decoder.get_ref().bytes.len()
    }

    fn refusal(&self, error: &io::Error) -> Status {
        let unpacked = self.decoder.get_ref();
        if unpacked.is_over {
            return Status::new(
                code::RESOURCE_EXHAUSTED,
                format!(
                    "grpc: received message after decompression larger than max {}",
                    unpacked.bytes_max
                ),
            );
        }
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "unexpected EOF",
            // The decoder says so of what is cut off as well.
            _ if error.to_string().contains("checksum") => {
                let is_whole = self.length_claimed as usize == unpacked.bytes.len();
                if is_whole { "gzip: invalid checksum" } else { "unexpected EOF" }
            }
            _ if error.to_string().contains("header") => "gzip: invalid header",
            _ => "flate: corrupt input",
        };
        let text = format!("grpc: failed to read decompressed data: {why}");
        Status::new(code::INTERNAL, text)
    }
}

/// The unpacked bytes, up to their bound.
struct Unpacked {
    bytes: BytesMut,
    bytes_max: usize,
    is_over: bool,
}

impl Write for Unpacked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.bytes_max - self.bytes.len() {
            self.is_over = true;
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Packs one message, or anything else that goes out under gzip.
pub struct Deflater {
    plain: Bytes,
    encoder: Option<GzEncoder<Writer<BytesMut>>>,
}

impl Deflater {
    /// Packs `plain` behind what `out` holds already.
    pub fn new(plain: Bytes, out: BytesMut) -> Deflater {
        // The fastest level: answers are for a client on a wire that is slower than the core.
        let encoder = GzEncoder::new(out.writer(), Compression::fast());
        Deflater { plain, encoder: Some(encoder) }
    }

    /// Packs one slice more; everything once it is done, and then not to be called again.
    pub fn step(&mut self) -> Option<BytesMut> {
        let slice = self.plain.split_to(SLICE_BYTES.min(self.plain.len()));
        let encoder = self.encoder.as_mut().expect("not called again");
        encoder.write_all(&slice).expect("a BytesMut grows");
        if !self.plain.is_empty() {
            return None;
        }
        let encoder = self.encoder.take().expect("not called again");
        Some(encoder.finish().expect("a BytesMut grows").into_inner())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(plain: &[u8]) -> Bytes {
        let mut deflater = Deflater::new(Bytes::copy_from_slice(plain), BytesMut::new());
        loop {
            if let Some(packed) = deflater.step() {
                return packed.freeze();
            }
        }
    }

    /// Returns the message, and the slices that it took.
    fn unpacked(packed: Bytes, bytes_max: usize) -> Result<(Bytes, usize), Status> {
        let mut inflater = Inflater::new(packed, bytes_max)?;
        for steps in 1.. {
            let before = inflater.held();
            if let Some(message) = inflater.step()? {
                return Ok((message, steps));
            }
            // One bite beyond the slice at most.
            assert!(inflater.held() - before < SLICE_BYTES + BITE_BYTES * 1040);
        }
        unreachable!("there is no end to the steps")
    }

    #[test]
    fn names_are_grpcs() {
        for name in [None, Some(""), Some("identity")] {
            assert_eq!(Encoding::of(name), Ok(Encoding::Identity));
        }
        assert_eq!(Encoding::of(Some("gzip")), Ok(Encoding::Gzip));
        for name in ["snappy", "GZIP", "gzip, identity"] {
            let text = format!("grpc: Decompressor is not installed for grpc-encoding {name:?}");
            assert_eq!(Encoding::of(Some(name)), Err(Status::new(code::UNIMPLEMENTED, text)));
        }
    }

    #[test]
    fn a_message_comes_to_its_bound_and_no_byte_further_slice_by_slice() {
        let bomb = packed(&vec![0; 8 << 20]);
        assert!(bomb.len() < 64 << 10);
        let (message, steps) = unpacked(bomb.clone(), 8 << 20).expect("within its bound");
        assert_eq!(message.len(), 8 << 20);
        assert!(steps >= 60, "in slices: {steps}");
        let text =
            format!("grpc: received message after decompression larger than max {}", (8 << 20) - 1);
        let refused = unpacked(bomb, (8 << 20) - 1).expect_err("too large");
        assert_eq!(refused, Status::new(code::RESOURCE_EXHAUSTED, text));
    }

    #[test]
    fn what_is_malformed_is_named_as_by_go() {
        let whole = packed(b"a message");
        let refused = |bytes: &[u8]| {
            unpacked(Bytes::copy_from_slice(bytes), 100).expect_err("malformed").message
        };
        let begin = "grpc: failed to decompress the message: ";
        assert_eq!(refused(b""), format!("{begin}EOF"));
        assert_eq!(refused(b"abcdefghijklm"), format!("{begin}gzip: invalid header"));
        assert_eq!(refused(&whole[..5]), format!("{begin}unexpected EOF"));
        let later = "grpc: failed to read decompressed data: ";
        for cut in HEADER_BYTES..whole.len() {
            assert_eq!(refused(&whole[..cut]), format!("{later}unexpected EOF"), "{cut}");
        }
        let mut wrong = whole.to_vec();
        let checksum = wrong.len() - 8;
        wrong[checksum] ^= 1;
        assert_eq!(refused(&wrong), format!("{later}gzip: invalid checksum"));
        assert!(refused(&[&whole[..], b"and more than this"].concat()).starts_with(later));
    }

    #[test]
    fn members_of_one_message_are_joined() {
        let two = [packed(b"one, "), packed(b"two")].concat();
        assert_eq!(unpacked(two.into(), 100).expect("whole").0, "one, two");
    }

    proptest! {
        #[test]
        fn every_message_comes_back(plain in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(&unpacked(packed(&plain), 3000).expect("whole").0[..], &plain[..]);
        }

        #[test]
        fn random_bytes_are_read_or_refused(
            tail in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3], &tail[..]].concat();
            let _ = unpacked(bytes.into(), 1000);
        }
    }
}
