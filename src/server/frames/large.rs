//! Replies of many keys: encoded by the writer in pieces, between which others of the connection
//! are sent, and sent by themselves.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{Session, UnderWay, write_output};
use crate::protocol::frame::{Flags, PiecedFrame};
use crate::protocol::method::Method;
use crate::protocol::status::code;
use crate::rt::{self, TcpStream};
use crate::server::large::{Large, SLICE_BYTES};
use crate::server::meters::add;
use crate::types::Reply;

/// The replies of a connection that wait for the writer.
#[derive(Default)]
pub(super) struct LargeReplies {
    waiting: VecDeque<Waiting>,
    pushed: u64,
    /// One is on its way.
    is_busy: bool,
}

struct Waiting {
    place: LargePlace,
    stream: u32,
    method: Method,
    reply: Large,
}

/// Which of them a stream has; never given twice on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LargePlace(u64);

impl LargeReplies {
    /// Whether the writer has none left.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_busy
    }
}

impl Session {
    /// Has the writer see to a reply.
    pub(super) fn put_large(&self, stream: u32, method: Method, reply: Reply) {
        let reply = Large::charged(&self.front.header(), reply, &self.account);
        let mut large = self.large.borrow_mut();
        large.pushed += 1;
        let place = LargePlace(large.pushed);
        large.waiting.push_back(Waiting { place, stream, method, reply });
        self.under_way.borrow_mut().insert(stream, UnderWay::Large(place));
        self.written.notify();
    }

    /// Whether the client still wants it.
    fn wants(&self, stream: u32, place: LargePlace) -> bool {
        let under_way = self.under_way.borrow();
        matches!(under_way.get(&stream), Some(UnderWay::Large(own)) if *own == place)
    }

    /// Sends the next one, if any waits; whether the connection is still good.
    pub(super) async fn send_large(&self, to: &TcpStream, sending: &mut BytesMut) -> bool {
        let next = {
            let mut large = self.large.borrow_mut();
            let next = large.waiting.pop_front();
            large.is_busy = next.is_some();
            next
        };
        let Some(Waiting { place, stream, method, mut reply }) = next else { return true };
        let is_good = match self.encode_large(stream, method, place, &mut reply, to, sending).await
        {
            Encoded::Frame(frame) if self.wants(stream, place) => {
                self.under_way.borrow_mut().remove(&stream);
                add(&self.front.meters().sent_bytes, frame.len() as u64);
                self.front.meters().handled(method, code::OK);
                to.write_all(&frame).await.is_ok()
            }
            Encoded::Frame(_) | Encoded::Nothing => true,
            Encoded::Broken => false,
        };
        self.large.borrow_mut().is_busy = false;
        self.room.notify();
        is_good
    }

    async fn encode_large(
        &self,
        stream: u32,
        method: Method,
        place: LargePlace,
        reply: &mut Large,
        to: &TcpStream,
        sending: &mut BytesMut,
    ) -> Encoded {
        while !reply.measure_some() {
            rt::give_way().await;
            if !write_output(self, to, sending).await {
                return Encoded::Broken;
            }
        }
        let length = reply.length();
        let mut frame = match PiecedFrame::new(stream, method.opcode(), Flags::END, length) {
            Ok(frame) => frame,
            Err(status) => {
                if self.wants(stream, place) {
                    self.under_way.borrow_mut().remove(&stream);
                    self.end_with(stream, method, &status);
                }
                return Encoded::Nothing;
            }
        };
        reply.charge_more(length);
        while !frame.piece(|out| reply.encode_some(SLICE_BYTES, out)) {
            rt::give_way().await;
            if !self.wants(stream, place) {
                return Encoded::Nothing;
            }
            if !write_output(self, to, sending).await {
                return Encoded::Broken;
            }
        }
        Encoded::Frame(frame.finish())
    }
}

enum Encoded {
    Frame(BytesMut),
    /// The client does not want it any more, or gets an error instead.
    Nothing,
    /// The client is gone.
    Broken,
}
