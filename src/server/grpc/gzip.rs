//! Messages compressed with gzip. Other tasks of the core run between two slices of one.

use bytes::{BufMut, Bytes, BytesMut};

use crate::protocol::grpc::{Deflater, Inflater, PREFIX_BYTES, write_prefix};
use crate::protocol::status::Status;
use crate::rt;

/// Unpacks one message of at most `bytes_max` bytes. `hold` is told how many there are so far, and
/// may end it.
pub(super) async fn unpack(
    packed: Bytes,
    bytes_max: usize,
    mut hold: impl FnMut(usize) -> Result<(), Status>,
) -> Result<Bytes, Status> {
    let mut inflater = Inflater::new(packed, bytes_max)?;
    loop {
        if let Some(message) = inflater.step()? {
            return Ok(message);
        }
        hold(inflater.held())?;
        rt::give_way().await;
    }
}

/// Packs one message with its prefix; one that is empty stays as it is, as in grpc-go.
pub(super) async fn pack(framed: Bytes) -> Bytes {
    if framed.len() == PREFIX_BYTES {
        return framed;
    }
    let mut out = BytesMut::with_capacity(512);
    out.put_bytes(0, PREFIX_BYTES);
    let mut deflater = Deflater::new(framed.slice(PREFIX_BYTES..), out);
    loop {
        if let Some(mut packed) = deflater.step() {
            // What fits plain and does not so packed was within a few bytes of the bound.
            return match write_prefix(&mut packed, true) {
                Ok(()) => packed.freeze(),
                Err(_) => framed,
            };
        }
        rt::give_way().await;
    }
}
