//! A client's keep-alive stream: one reply to each message, in order. Messages need not wait for
//! the replies to earlier ones.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures_lite::future::or;

use super::{Gone, Inlet, Outlet, Said, Terms};
use crate::limits::STREAM_KEEPALIVES_MAX;
use crate::protocol::convert;
use crate::protocol::method::Method;
use crate::protocol::status::{self, Status, code};
use crate::rt::WaitList;
use crate::server::front::{Front, PendingRequest};
use crate::types::Refusal;

/// The keep-alives that are not answered, oldest first.
#[derive(Default)]
struct Due {
    asked: RefCell<VecDeque<PendingRequest<Rc<Front>>>>,
    /// The client has no more to say, or the stream ends for a reason of ours.
    end: RefCell<Option<Status>>,
    changed: WaitList,
}

impl Due {
    fn end(&self, status: Status) {
        *self.end.borrow_mut() = Some(status);
        self.changed.wake_all();
    }
}

/// Serves the stream to its end; `Err` if the client has left.
pub(in crate::server) async fn keep_alive(
    front: &Rc<Front>,
    terms: Terms,
    inlet: &mut impl Inlet,
    outlet: &mut impl Outlet,
) -> Result<Status, Gone> {
    let due = Due::default();
    let taking = async {
        let ending =
            async { Err(front.end_of_stream(terms.requires_leader, terms.deadline).await) };
        let taking = async { Ok(take(front, &due, inlet).await) };
        let status = match or(ending, taking).await {
            Ok(status) => status?,
            Err(refusal @ Refusal::Stopped) => status::of(&refusal),
            // Nobody could answer, or nobody waits.
            Err(refusal) => return Ok(status::of(&refusal)),
        };
        // Earlier requests are answered first.
        due.end(status);
        std::future::pending().await
    };
    or(taking, send_replies(&due, outlet)).await
}

async fn take(front: &Rc<Front>, due: &Due, inlet: &mut impl Inlet) -> Result<Status, Gone> {
    loop {
        due.changed.until(|| due.asked.borrow().len() < STREAM_KEEPALIVES_MAX).await;
        let message = match inlet.next().await {
            Said::Message(message) => message,
            Said::End => return Ok(Status::new(code::OK, "")),
            Said::Broken(status) => return Ok(status),
            Said::Gone => return Err(Gone),
        };
        front.meters().received(Method::LeaseKeepAlive, message.len());
        match convert::decode(Method::LeaseKeepAlive, message, &front.settings.limits) {
            Ok(request) => {
                let asked = PendingRequest::new(front.clone(), request, None);
                due.asked.borrow_mut().push_back(asked);
                due.changed.wake_all();
            }
            Err(refusal) => return Ok(status::of(&refusal)),
        }
    }
}

async fn send_replies(due: &Due, outlet: &mut impl Outlet) -> Result<Status, Gone> {
    loop {
        let next = async {
            let is_due = || !due.asked.borrow().is_empty() || due.end.borrow().is_some();
            due.changed.until(is_due).await;
            let asked = due.asked.borrow_mut().pop_front();
            due.changed.wake_all();
            match asked {
                Some(asked) => Ok(Some(asked.await)),
                None => Ok(None),
            }
        };
        let gone = async {
            outlet.gone().await;
            Err(Gone)
        };
        match or(next, gone).await? {
            Some(Ok(reply)) => outlet.reply(&reply).await?,
            // One that fails ends the stream, as in etcd.
            Some(Err(refusal)) => return Ok(status::of(&refusal)),
            None => {
                let status = due.end.borrow_mut().take();
                return Ok(status.expect("only an end is due without an answer"));
            }
        }
    }
}
