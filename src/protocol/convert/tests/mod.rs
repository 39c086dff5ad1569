//! Messages there and back.

mod duplicates;
mod hostile;
mod replies;
mod requests;
mod txns;
mod watches;

use bytes::Bytes;
use prost::Message;

use super::{RequestLimits, decode};
use crate::protocol::method::Method;
use crate::protocol::pb::etcdserverpb as pb;
use crate::types::{Refusal, Request};

/// Decodes under the limits that servers have if nobody says otherwise.
fn decoded(method: Method, message: &impl Message) -> Result<Request, Refusal> {
    decode(method, message.encode_to_vec().into(), &RequestLimits::default())
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn get_op(key: &str) -> pb::RequestOp {
    op(pb::request_op::Request::RequestRange(pb::RangeRequest {
        key: bytes(key),
        ..Default::default()
    }))
}

fn put_op(key: &str) -> pb::RequestOp {
    op(pb::request_op::Request::RequestPut(pb::PutRequest {
        key: bytes(key),
        ..Default::default()
    }))
}

fn delete_op(key: &str, range_end: &str) -> pb::RequestOp {
    op(pb::request_op::Request::RequestDeleteRange(pb::DeleteRangeRequest {
        key: bytes(key),
        range_end: bytes(range_end),
        prev_kv: false,
    }))
}

fn txn_op(success: Vec<pb::RequestOp>, failure: Vec<pb::RequestOp>) -> pb::RequestOp {
    op(pb::request_op::Request::RequestTxn(txn(success, failure)))
}

fn txn(success: Vec<pb::RequestOp>, failure: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest { compare: Vec::new(), success, failure }
}
