//! A connection that is not read from for a while.

use bytes::BytesMut;
use futures_lite::future::or;

use super::Session;
use super::intake::Intake;
use crate::budget::Rest;
use crate::rt::TcpStream;
use crate::server::pulse::Owed;
use crate::types::Nanos;

impl Session {
    /// Waits until the connection may be read from again, or that is worth another look. It has
    /// enough under way or, if it `has_room` by itself, the member's budget is full; in that case
    /// its empty buffers are given back. `missing` bytes are to come of the frame that has begun,
    /// and `heard` is when bytes last came. Returns whether the connection is broken.
    pub(super) async fn pause(
        &self,
        stream: &TcpStream,
        intake: &mut Intake,
        missing: usize,
        heard: Nanos,
        has_room: bool,
    ) -> bool {
        if has_room {
            intake.rest();
            self.rest_output();
        }
        let begun = intake.begun();
        self.pulse.owes((begun > 0).then_some(Owed::UnreadSince { heard, missing }));
        let poor = async {
            if has_room {
                self.front.room_in_budget(|| self.may_read(stream, begun, missing)).await;
            } else {
                self.account.return_pass();
                std::future::pending().await
            }
        };
        let woken = or(or(self.room.wait(), poor), self.front.closing().wait());
        let broken = async {
            stream.broken().await;
            true
        };
        or(broken, async {
            woken.await;
            false
        })
        .await
    }

    /// Returns whether the member's budget lets the connection be read from, which holds `begun`
    /// bytes of a frame of which `missing` bytes are to come.
    pub(super) fn may_read(&self, stream: &TcpStream, begun: usize, missing: usize) -> bool {
        let rest = || Rest::Known { missing, unread: stream.unread_bytes() };
        self.account.may_read_rest(begun, rest)
    }

    /// An output buffer with nothing in it is given back.
    fn rest_output(&self) {
        if self.output.borrow().is_empty() {
            *self.output.borrow_mut() = BytesMut::new();
            self.count_unsent();
        }
    }
}
