//! RangeStream: one range, one revision, answered in parts.

use super::front::Front;
use crate::protocol::convert::RangeStreamParts;
use crate::types::{Nanos, Refusal, Reply, Request};

/// Reads the range; the parts share their keys and values with the store.
pub(super) async fn start(
    front: &Front,
    request: Request,
    deadline: Option<Nanos>,
) -> Result<RangeStreamParts, Refusal> {
    match front.ask(request, deadline).await? {
        Reply::Range(reply) => Ok(RangeStreamParts::new(reply, front.settings.request_bytes_max)),
        other => Err(Refusal::Internal(format!("braid: a range was answered with {other:?}"))),
    }
}
