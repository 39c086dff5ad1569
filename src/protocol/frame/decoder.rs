//! Frames out of a growing buffer.

use bytes::{Buf, Bytes, BytesMut};

use super::{FrameFault, HEADER_BYTES, Header};

/// One frame whose checksum held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub header: Header,
    /// A slice of the receive buffer, which lives as long as it does.
    pub payload: Bytes,
}

/// Cuts frames off a receive buffer.
///
/// Order of suspicion: the length, as soon as the header is there; the checksum, when the payload
/// is; flags and reserved bits, which are worth a word only if the checksum held. The opcode is the
/// caller's to judge: the client port and the peer port know different ones.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    payload_bytes_max: usize,
}

impl Decoder {
    /// Makes a decoder that refuses payloads above `payload_bytes_max` bytes.
    pub fn new(payload_bytes_max: usize) -> Decoder {
        Decoder { payload_bytes_max }
    }

    /// Returns the next frame, or `None` while it is not all there. After a fault the connection is
    /// lost: nothing behind it can be trusted to begin where a frame begins.
    pub fn decode(&self, input: &mut BytesMut) -> Result<Option<Frame>, FrameFault> {
        let seen = self.look(input)?.map(|(header, _)| header);
        Ok(seen.map(|header| Decoder::cut(input, header)))
    }

    /// Returns the opcode in the next frame's header, if that is there; nothing of it is checked.
    pub fn opcode(input: &[u8]) -> Option<u8> {
        input.first_chunk().map(|bytes| Header::decode(bytes).opcode)
    }

    /// Returns the frame that [`Decoder::cut`] would cut off, without cutting it.
    pub fn look<'a>(&self, input: &'a [u8]) -> Result<Option<(Header, &'a [u8])>, FrameFault> {
        let Some((header, length)) = self.header(input)? else {
            return Ok(None);
        };
        let Some(payload) = input[HEADER_BYTES..].get(..length) else {
            return Ok(None);
        };
        let computed = header.checksum(payload);
        if computed != header.crc {
            return Err(FrameFault::Checksum { stated: header.crc, computed });
        }
        if !header.flags.is_known() {
            return Err(FrameFault::Flags(header.flags.0));
        }
        if header.reserved != 0 {
            return Err(FrameFault::Reserved(header.reserved));
        }
        Ok(Some((header, payload)))
    }

    /// Cuts off the frame with this header, which was looked at.
    pub fn cut(input: &mut BytesMut, header: Header) -> Frame {
        let mut payload = input.split_to(header.frame_bytes()).freeze();
        payload.advance(HEADER_BYTES);
        Frame { header, payload }
    }

    /// Bytes that must still arrive before [`Decoder::decode`] can say more, given what `input`
    /// holds after it said `None`. At most a header and the largest payload; a reader may use it
    /// to size its next read, capped by what it is willing to hold for an unproven claim.
    pub fn missing(&self, input: &BytesMut) -> usize {
        match self.header(input) {
            Ok(Some((_, length))) => (HEADER_BYTES + length).saturating_sub(input.len()),
            Ok(None) => HEADER_BYTES - input.len(),
            Err(_) => 0,
        }
    }

    fn header(&self, input: &[u8]) -> Result<Option<(Header, usize)>, FrameFault> {
        let Some(bytes) = input.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = Header::decode(bytes);
        let length = header.length as usize;
        if length > self.payload_bytes_max {
            return Err(FrameFault::Length { length, length_max: self.payload_bytes_max });
        }
        Ok(Some((header, length)))
    }
}
