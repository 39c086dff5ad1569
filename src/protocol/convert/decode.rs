//! One message to one request.

use bytes::Bytes;
use prost::Message;

use super::{bounds, duplicate, quick, txn};
use crate::limits::TXN_DEPTH_MAX;
use crate::protocol::method::{Kind, Method, Served};
use crate::protocol::pb::etcdserverpb as pb;
use crate::types::{
    AlarmAction, AlarmKind, AlarmRequest, CompactRequest, DeleteRangeRequest, HashKvRequest,
    KeyRange, LeaseGrantRequest, LeaseId, LeaseTimeToLiveRequest, MemberId, PutRequest,
    RangeFilters, RangeRequest, Refusal, Request, SortOrder, SortTarget, TxnRequest,
};

/// The limits of a request; operators set both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// `--max-request-bytes`: bytes of a request that goes through consensus.
    pub max_request_bytes: usize,
    /// `--max-txn-ops`.
    pub max_txn_ops: usize,
}

impl Default for RequestLimits {
    fn default() -> RequestLimits {
        RequestLimits { max_request_bytes: 3 << 19, max_txn_ops: 128 }
    }
}

/// Returns the request that `payload` is, if its form is right.
///
/// Refuses with `Unimplemented` the methods that the core does not serve.
pub fn decode(method: Method, payload: Bytes, limits: &RequestLimits) -> Result<Request, Refusal> {
    if method.served() != Served::Core {
        return Err(method.unimplemented());
    }
    let payload_bytes = payload.len();
    let request = match method {
        Method::Range => match quick::range(&payload) {
            Some(plain) => Request::Range(range(plain)?),
            None => Request::Range(range(message(method, payload)?)?),
        },
        Method::RangeStream => Request::Range(range_stream(message(method, payload)?)?),
        Method::Put => match quick::put(&payload, &payload) {
            Some(plain) => Request::Put(put(plain)?),
            None => Request::Put(put(message(method, payload)?)?),
        },
        Method::DeleteRange => Request::DeleteRange(delete_range(message(method, payload)?)?),
        Method::Txn => Request::Txn(whole_txn(payload, limits)?),
        Method::Compact => Request::Compact(compact(message(method, payload)?)),
        Method::Alarm => Request::Alarm(alarm(message(method, payload)?)?),
        Method::Status => message::<pb::StatusRequest>(method, payload).map(|_| Request::Status)?,
        Method::Hash => message::<pb::HashRequest>(method, payload).map(|_| Request::Hash)?,
        Method::HashKv => {
            let request: pb::HashKvRequest = message(method, payload)?;
            Request::HashKv(HashKvRequest { revision: request.revision })
        }
        Method::Defragment => {
            message::<pb::DefragmentRequest>(method, payload).map(|_| Request::Defragment)?
        }
        Method::MemberList => {
            let request: pb::MemberListRequest = message(method, payload)?;
            Request::MemberList { linearizable: request.linearizable }
        }
        Method::LeaseGrant => Request::LeaseGrant(lease_grant(message(method, payload)?)),
        Method::LeaseRevoke => {
            let request: pb::LeaseRevokeRequest = message(method, payload)?;
            Request::LeaseRevoke { id: LeaseId(request.id) }
        }
        Method::LeaseKeepAlive => {
            let request: pb::LeaseKeepAliveRequest = message(method, payload)?;
            Request::LeaseKeepAlive { id: LeaseId(request.id) }
        }
        Method::LeaseTimeToLive => {
            let request: pb::LeaseTimeToLiveRequest = message(method, payload)?;
            let id = LeaseId(request.id);
            Request::LeaseTimeToLive(LeaseTimeToLiveRequest { id, keys: request.keys })
        }
        Method::LeaseLeases => {
            message::<pb::LeaseLeasesRequest>(method, payload).map(|_| Request::LeaseLeases)?
        }
        _ => return Err(method.unimplemented()),
    };
    // etcd measures what it is about to propose, which is this message and a few bytes around it.
    if payload_bytes > limits.max_request_bytes && is_proposed(&request) {
        return Err(Refusal::RequestTooLarge);
    }
    Ok(request)
}

/// Whether etcd would put the request through consensus.
fn is_proposed(request: &Request) -> bool {
    match request {
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact(_)
        | Request::Alarm(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke { .. } => true,
        Request::Txn(txn) => !txn.only_reads(),
        Request::Range(_)
        | Request::Status
        | Request::Hash
        | Request::HashKv(_)
        | Request::Defragment
        | Request::MemberList { .. }
        | Request::LeaseKeepAlive { .. }
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases => false,
    }
}

pub(super) fn message<M: Message + Default>(method: Method, payload: Bytes) -> Result<M, Refusal> {
    M::decode(payload).map_err(|_| undecodable(method))
}

/// Returns the refusal that Go's gRPC server makes of bytes that are no message.
pub fn undecodable(method: Method) -> Refusal {
    let by_whom = match method.kind() {
        Kind::Unary => "error unmarshalling request",
        Kind::Stream | Kind::Bidi => "failed to unmarshal the received message",
    };
    Refusal::Undecodable(format!("grpc: {by_whom}: proto: cannot parse invalid wire-format data"))
}

fn whole_txn(payload: Bytes, limits: &RequestLimits) -> Result<TxnRequest, Refusal> {
    if let Some(plain) = txn::only_puts(&payload, limits.max_txn_ops) {
        let txn = plain?;
        duplicate::check(&txn)?;
        return Ok(txn);
    }
    bounds::check(&payload, limits.max_txn_ops).map_err(|excess| match excess {
        bounds::Excess::Malformed => undecodable(Method::Txn),
        bounds::Excess::TooManyOps => Refusal::TooManyOps,
        bounds::Excess::TooDeep => Refusal::Invalid(format!(
            "braid: txn request is nested deeper than {} levels",
            TXN_DEPTH_MAX
        )),
    })?;
    let txn = txn::txn(message(Method::Txn, payload)?)?;
    duplicate::check(&txn)?;
    Ok(txn)
}

/// Decodes a range, also inside a txn.
pub(super) fn range(request: pb::RangeRequest) -> Result<RangeRequest, Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    use pb::range_request as api;
    let order = match api::SortOrder::try_from(request.sort_order) {
        Ok(api::SortOrder::None) => SortOrder::None,
        Ok(api::SortOrder::Ascend) => SortOrder::Ascend,
        Ok(api::SortOrder::Descend) => SortOrder::Descend,
        Err(_) => return Err(Refusal::InvalidSortOption),
    };
    let target = match api::SortTarget::try_from(request.sort_target) {
        Ok(api::SortTarget::Key) => SortTarget::Key,
        Ok(api::SortTarget::Version) => SortTarget::Version,
        Ok(api::SortTarget::Create) => SortTarget::Create,
        Ok(api::SortTarget::Mod) => SortTarget::Mod,
        Ok(api::SortTarget::Value) => SortTarget::Value,
        Err(_) => return Err(Refusal::InvalidSortOption),
    };
    Ok(RangeRequest {
        range: KeyRange::from_api(request.key, request.range_end),
        limit: u64::try_from(request.limit).unwrap_or(0),
        revision: request.revision,
        order,
        target,
        serializable: request.serializable,
        keys_only: request.keys_only,
        count_only: request.count_only,
        uncounted: false,
        filters: RangeFilters {
            min_mod: request.min_mod_revision,
            max_mod: request.max_mod_revision,
            min_create: request.min_create_revision,
            max_create: request.max_create_revision,
        },
    })
}

/// Returns a range whose answer can be sent as it is found: in key order, but for the order within
/// a part, and unfiltered.
fn range_stream(request: pb::RangeRequest) -> Result<RangeRequest, Refusal> {
    let range = range(request)?;
    let in_key_order = match range.order {
        // The target orders the keys of each part.
        SortOrder::None => true,
        SortOrder::Ascend => range.target == SortTarget::Key,
        SortOrder::Descend => false,
    };
    if !in_key_order {
        return Err(Refusal::Unimplemented(
            "RangeStream does not support custom sort orders".to_owned(),
        ));
    }
    if !range.filters.is_off() {
        return Err(Refusal::Unimplemented(
            "RangeStream does not support revision filters".to_owned(),
        ));
    }
    Ok(range)
}

/// Decodes a put, also inside a txn.
pub(super) fn put(request: pb::PutRequest) -> Result<PutRequest, Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(PutRequest {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    })
}

/// Decodes a range delete, also inside a txn.
pub(super) fn delete_range(request: pb::DeleteRangeRequest) -> Result<DeleteRangeRequest, Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    Ok(DeleteRangeRequest {
        range: KeyRange::from_api(request.key, request.range_end),
        prev_kv: request.prev_kv,
    })
}

fn lease_grant(request: pb::LeaseGrantRequest) -> LeaseGrantRequest {
    LeaseGrantRequest { id: LeaseId(request.id), ttl: request.ttl }
}

fn compact(request: pb::CompactionRequest) -> CompactRequest {
    CompactRequest { revision: request.revision, physical: request.physical }
}

fn alarm(request: pb::AlarmRequest) -> Result<AlarmRequest, Refusal> {
    use pb::alarm_request::AlarmAction as Api;
    let action = match Api::try_from(request.action) {
        Ok(Api::Get) => AlarmAction::Get,
        Ok(Api::Activate) => AlarmAction::Activate,
        Ok(Api::Deactivate) => AlarmAction::Deactivate,
        Err(_) => {
            return Err(Refusal::Invalid(format!(
                "braid: unknown alarm action {}",
                request.action
            )));
        }
    };
    let kind = match pb::AlarmType::try_from(request.alarm) {
        Ok(pb::AlarmType::None) => None,
        Ok(pb::AlarmType::Nospace) => Some(AlarmKind::NoSpace),
        Ok(pb::AlarmType::Corrupt) => Some(AlarmKind::Corrupt),
        Err(_) => {
            return Err(Refusal::Invalid(format!("braid: unknown alarm type {}", request.alarm)));
        }
    };
    Ok(AlarmRequest { action, member: MemberId(request.member_id), kind })
}
