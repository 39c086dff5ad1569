//! Locks and elections: a queue of keys under a prefix, the oldest in front.
//!
//! ```text
//!  name/1a2b  created at 7   holds the lock, leads
//!  name/33c0  created at 9   waits until the one created before it is gone: 7
//!  name/0fe1  created at 12  waits for 9
//! ```
//!
//! Each call is a task of its connection that asks the core what any client could ask: a txn that
//! takes a place in the queue, a watch on the place before, a delete. So nothing here is part of
//! the store, and a lock is only as good as the lease of its key.
//!
//! - A key is the name, `/`, and its lease in hexadecimal: one lease has one place in a queue, and
//!   whoever asks again with it has it already.
//! - A caller that leaves while it waits gives its place up, though nobody waits for that any more
//!   ([`place::QueuePlace`]). A place that a lost call may have taken, or not, is given up if it
//!   was.
//! - As in etcd, what the core refuses is answered with the core's text and the code Unknown.
//!
//! | file | what |
//! |---|---|
//! | `asker` | what calls ask the core |
//! | `place` | a place in a queue: taking it, waiting in it, giving it up |
//! | `lock`, `election` | the services |

mod asker;
mod election;
mod lock;
mod place;

use std::rc::Rc;

use bytes::Bytes;
use futures_lite::future::or;
use prost::Message;

use self::asker::Asker;
use super::front::Front;
use super::streams::{Gone, Outlet};
use crate::protocol::convert::undecodable;
use crate::protocol::method::Method;
use crate::protocol::status::{self, Status};
use crate::types::{Nanos, Refusal};

/// Answers one call of a method with one reply, as bytes.
pub(super) async fn call(
    front: &Rc<Front>,
    method: Method,
    message: Bytes,
    deadline: Option<Nanos>,
) -> Result<Bytes, Status> {
    let asker = Asker::new(front, deadline);
    // etcd measures what the call proposes, which is this message and a few bytes around it.
    if message.len() > front.settings.limits.max_request_bytes {
        return Err(asker::status_of(&Refusal::RequestTooLarge));
    }
    let answering = async {
        match method {
            Method::Lock => lock::lock(&asker, decode(method, message)?).await.map(bytes),
            Method::Unlock => lock::unlock(&asker, decode(method, message)?).await.map(bytes),
            Method::Campaign => {
                election::campaign(&asker, decode(method, message)?).await.map(bytes)
            }
            Method::Proclaim => {
                election::proclaim(&asker, decode(method, message)?).await.map(bytes)
            }
            Method::Leader => election::leader(&asker, decode(method, message)?).await.map(bytes),
            Method::Resign => election::resign(&asker, decode(method, message)?).await.map(bytes),
            _ => Err(status::of(&method.unimplemented())),
        }
    };
    or(asker.late(), answering).await
}

/// Answers one call of Observe, to its end.
pub(super) async fn observe(
    front: &Rc<Front>,
    message: Bytes,
    deadline: Option<Nanos>,
    outlet: &mut impl Outlet,
) -> Result<Status, Gone> {
    let asker = Asker::new(front, deadline);
    let request = match decode(Method::Observe, message) {
        Ok(request) => request,
        Err(status) => return Ok(status),
    };
    let late = async { Ok(asker.late::<()>().await.expect_err("nothing else comes of it")) };
    or(late, election::observe(&asker, request, outlet)).await
}

fn decode<M: Message + Default>(method: Method, message: Bytes) -> Result<M, Status> {
    M::decode(message).map_err(|_| status::of(&undecodable(method)))
}

fn bytes(message: impl Message) -> Bytes {
    message.encode_to_vec().into()
}
