//! Calls over frames that take a task: those with a stream of answers, and those that ask the core
//! for several things.

use std::rc::Rc;

use bytes::Bytes;
use prost::Message;

use super::bidi::FrameOutlet;
use super::{Session, UnderWay};
use crate::limits::CALL_BYTES;
use crate::protocol::frame::Flags;
use crate::protocol::method::Method;
use crate::protocol::status::{self, Status, code};
use crate::rt;
use crate::server::range_stream::RangeStream;
use crate::server::streams::Gone;
use crate::server::{concurrency, health};
use crate::types::{Refusal, Request};

/// How a call ended that went well.
enum Ended {
    /// With this as its only message.
    Message(Bytes),
    /// Its messages are out, the last one with END.
    Whole,
    /// Its messages are out.
    Bare,
}

impl Session {
    /// A call that is answered without the core, or by asking it for several things.
    pub(super) fn start_call(self: &Rc<Session>, stream: u32, method: Method, payload: Bytes) {
        let session = self.clone();
        // Such a call may last: it keeps no more than it needs of what was read.
        let payload = Bytes::copy_from_slice(&payload);
        let charge = self.account.charge(payload.len() + CALL_BYTES);
        self.start_task(stream, method, async move {
            let _charge = charge;
            let front = &session.front;
            let outlet = FrameOutlet { session: session.clone(), stream, method };
            match method {
                Method::HealthCheck => Ok(Ended::Message(bytes(health::check(&payload)?))),
                Method::HealthList => Ok(Ended::Message(bytes(health::list(&payload)?))),
                Method::HealthWatch => {
                    let mut outlet = outlet;
                    let now = health::now(&payload)?;
                    bare(health::watch(front, now, &mut outlet).await)
                }
                Method::Observe => {
                    let mut outlet = outlet;
                    bare(concurrency::observe(front, payload, None, &mut outlet).await)
                }
                _ => {
                    let reply = concurrency::call(front, method, payload, None).await?;
                    Ok(Ended::Message(reply))
                }
            }
        });
    }

    /// RangeStream: parts as there is room for them.
    pub(super) fn start_range(self: &Rc<Session>, stream: u32, method: Method, request: Request) {
        let session = self.clone();
        let charge = self.account.charge(CALL_BYTES);
        self.start_task(stream, method, async move {
            let _charge = charge;
            match session.range_stream(stream, method, request).await {
                Ok(()) => Ok(Ended::Whole),
                Err(refusal) => Err(status::of(&refusal)),
            }
        });
    }

    fn start_task(
        self: &Rc<Session>,
        stream: u32,
        method: Method,
        call: impl Future<Output = Result<Ended, Status>> + 'static,
    ) {
        let session = self.clone();
        let handling = self.front.handling(method);
        let task = rt::spawn(async move {
            let _handling = handling;
            // An executor may begin a task before it is known by its stream.
            rt::yield_now().await;
            let result = call.await;
            // Its own task is dropped here: it must go on to its end, so it is let go.
            if let Some(UnderWay::Stream(task)) = session.under_way.borrow_mut().remove(&stream) {
                task.detach();
            }
            match result {
                Ok(ended) => {
                    match ended {
                        Ended::Whole => {}
                        Ended::Bare => {
                            session.send(stream, method, Flags::END | Flags::BARE, |_| {});
                        }
                        Ended::Message(message) => {
                            let put = |out: &mut bytes::BytesMut| out.extend_from_slice(&message);
                            session.send(stream, method, Flags::END, put);
                        }
                    }
                    session.front.meters().handled(method, code::OK);
                }
                Err(status) => session.end_with(stream, method, &status),
            }
            session.room.notify();
        });
        self.under_way.borrow_mut().insert(stream, UnderWay::Stream(task));
    }

    async fn range_stream(
        &self,
        stream: u32,
        method: Method,
        request: Request,
    ) -> Result<(), Refusal> {
        let bytes_aimed = self.front.settings.request_bytes_max;
        let mut ranging = RangeStream::new(request, None, bytes_aimed)?;
        loop {
            // A part is not made before it can be sent.
            self.drained.until(|| self.has_room_for_streams()).await;
            self.front.room_to_make(&self.account, &self.drained).await;
            let part = ranging.next(&self.front).await?;
            let flags = if part.is_last { Flags::END } else { Flags::NONE };
            self.send_when_room(stream, method, flags, |out| part.encode(&self.front, out)).await;
            self.front.meters().sent(method);
            if part.is_last {
                return Ok(());
            }
        }
    }
}

fn bytes(message: impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn bare(end: Result<Status, Gone>) -> Result<Ended, Status> {
    match end {
        Ok(status) if status.code != code::OK => Err(status),
        // A client that has left takes this task with it.
        Ok(_) | Err(Gone) => Ok(Ended::Bare),
    }
}
