//! A reply of many keys on its way out: in pieces between which others have their turn, also if
//! nobody wants it any more.

use std::rc::Rc;

use bytes::BytesMut;

use crate::budget::{Account, Charge};
use crate::protocol::convert::{HeaderFields, Pieces};
use crate::rt;
use crate::types::Reply;

/// Keys that are measured or dropped before others have their turn.
const SLICE_KEYS: usize = 512;

/// Bytes that are encoded before others have their turn.
pub(super) const SLICE_BYTES: usize = 64 << 10;

/// A reply for which [`Pieces::is_due`]. Dropped, it goes in slices too.
pub(super) struct Large {
    /// There until it is dropped.
    pieces: Option<Pieces>,
    /// The connection's charge for it.
    charge: Option<Charge>,
}

impl Large {
    pub(super) fn new(header: &HeaderFields, reply: Reply) -> Large {
        Large { pieces: Some(Pieces::new(header, reply)), charge: None }
    }

    /// Makes an answer of a connection, which is charged with what it holds.
    pub(super) fn charged(header: &HeaderFields, reply: Reply, account: &Rc<Account>) -> Large {
        let charge = account.charge(reply.own_bytes());
        Large { pieces: Some(Pieces::new(header, reply)), charge: Some(charge) }
    }

    /// Charges `bytes` more until it is dropped, for what it is encoded into.
    pub(super) fn charge_more(&mut self, bytes: usize) {
        if let Some(charge) = &mut self.charge {
            charge.resize(charge.bytes() + bytes);
        }
    }

    /// Measures some of it; whether that is done.
    pub(super) fn measure_some(&mut self) -> bool {
        self.pieces().measure_some(SLICE_KEYS)
    }

    /// Bytes of all of it, once it is measured.
    pub(super) fn length(&mut self) -> usize {
        self.pieces().length()
    }

    /// Appends about so many bytes; whether that was all.
    pub(super) fn encode_some(&mut self, bytes: usize, out: &mut BytesMut) -> bool {
        self.pieces().encode_some(bytes, out)
    }

    fn pieces(&mut self) -> &mut Pieces {
        self.pieces.as_mut().expect("it is not dropped")
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        let Some(mut pieces) = self.pieces.take() else { return };
        if pieces.drop_some(SLICE_KEYS) {
            return;
        }
        rt::spawn(async move {
            while !pieces.drop_some(SLICE_KEYS) {
                rt::give_way().await;
            }
        })
        .detach();
    }
}

/// Drops a reply that nobody waits for.
pub(super) fn discard(reply: Reply) {
    if Pieces::is_due(&reply) {
        drop(Large::new(&HeaderFields::default(), reply));
    }
}
