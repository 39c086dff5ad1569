//! The lock service.

use bytes::Bytes;

use super::asker::Asker;
use super::place::QueuePlace;
use crate::protocol::pb::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use crate::protocol::status::{Status, code};
use crate::types::{KeyRange, RangeRequest};

/// Waits until the caller's key is the oldest of its name.
pub(super) async fn lock(asker: &Asker, request: LockRequest) -> Result<LockResponse, Status> {
    let lease = asker.lease(request.lease).await?;
    let (place, taken) = QueuePlace::take(asker, request.name, lease, Bytes::new()).await?;
    if taken.is_first {
        let header = asker.header(taken.revision);
        return Ok(LockResponse { header, key: place.keep() });
    }
    place.wait(asker).await?;
    // Its lease may have ended while it waited.
    let own = asker.range(RangeRequest::of(KeyRange::single(place.key.clone()))).await?;
    if own.kvs.is_empty() {
        place.keep();
        return Err(Status::new(code::UNKNOWN, "mutex: session is expired"));
    }
    Ok(LockResponse { header: asker.header(own.revision), key: place.keep() })
}

/// Gives the lock up, or the place before it.
pub(super) async fn unlock(
    asker: &Asker,
    request: UnlockRequest,
) -> Result<UnlockResponse, Status> {
    let deleted = asker.delete(request.key).await?;
    Ok(UnlockResponse { header: asker.header(deleted.revision) })
}
