//! A client's watch stream.

use std::rc::Rc;

use futures_lite::future::or;

use super::{Gone, Inlet, Outlet, Said, Terms};
use crate::limits::REQUEST_OVERHEAD_BYTES;
use crate::protocol::convert::{decode_watch, watch_messages};
use crate::protocol::method::Method;
use crate::protocol::status::{self, Status};
use crate::rt;
use crate::server::front::Front;
use crate::server::watching::Watching;
use crate::types::WatchReply;

/// Requests after which others get their turn.
const TURN_REQUESTS: u32 = 64;

/// Serves the stream to its end; `Err` if the client has left.
pub(in crate::server) async fn watch(
    front: &Rc<Front>,
    terms: Terms,
    inlet: &mut impl Inlet,
    outlet: &mut impl Outlet,
) -> Result<Status, Gone> {
    let watching = Watching::open(front);
    let taking = take(front, &watching, inlet);
    let sending = send_replies(front, &watching, outlet);
    let ending = async {
        let refusal = front.end_of_stream(terms.requires_leader, terms.deadline).await;
        Ok(status::of(&refusal))
    };
    or(ending, or(taking, sending)).await
}

async fn take(front: &Front, watching: &Watching, inlet: &mut impl Inlet) -> Result<Status, Gone> {
    let mut taken = 0;
    loop {
        let message = match inlet.next().await {
            Said::Message(message) => message,
            // The watchers stay.
            Said::End => return std::future::pending().await,
            Said::Broken(status) => return Ok(status),
            Said::Gone => return Err(Gone),
        };
        front.meters().received(Method::Watch, message.len());
        match decode_watch(message) {
            Ok(Some(request)) => {
                if !watching.ask(request) {
                    watching.room().await;
                }
            }
            Ok(None) => {}
            Err(refusal) => return Ok(status::of(&refusal)),
        }
        taken += 1;
        if taken == TURN_REQUESTS {
            taken = 0;
            rt::yield_now().await;
        }
    }
}

async fn send_replies(
    front: &Front,
    watching: &Watching,
    outlet: &mut impl Outlet,
) -> Result<Status, Gone> {
    let bytes_max = front.settings.request_bytes_max + REQUEST_OVERHEAD_BYTES;
    loop {
        let next = async { Ok(watching.next().await) };
        let gone = async {
            outlet.gone().await;
            Err(Gone)
        };
        let reply = or(next, gone).await?;
        if let WatchReply::Ended(refusal) = &reply {
            return Ok(status::of(refusal));
        }
        for message in watch_messages(&front.header(), &reply, bytes_max) {
            outlet.watch_message(&message).await?;
        }
        if let WatchReply::Events(events) = &reply {
            outlet.give_back(watching.stream(), events.bytes);
        }
    }
}
