//! The RPCs by name.

use bytes::Bytes;

use super::{Client, Error, Method, Stream};
use crate::protocol::pb::etcdserverpb as pb;

/// A stream of the parts of a range's answer.
pub type RangeStream = Stream<pb::RangeRequest, pb::RangeStreamResponse>;

impl Client {
    /// Reads a range of keys.
    pub async fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        self.keyed(Method::RANGE, single(&request.key, &request.range_end), &request).await
    }

    /// Returns the parts of a range as the server finds them, in key order.
    pub async fn range_stream(&self, request: pb::RangeRequest) -> Result<RangeStream, Error> {
        self.server_stream(Method::RANGE_STREAM, &request).await
    }

    /// Collects the parts of [`Client::range_stream`] into one reply.
    ///
    /// Every part is merged as protobuf would: keys are appended, later numbers win.
    pub async fn range_stream_collect(
        &self,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Error> {
        let mut stream = self.range_stream(request).await?;
        let mut whole = pb::RangeResponse::default();
        while let Some(part) = stream.next().await? {
            let Some(part) = part.range_response else { continue };
            whole.header = part.header.or(whole.header);
            whole.kvs.extend(part.kvs);
            whole.more |= part.more;
            if part.count != 0 {
                whole.count = part.count;
            }
        }
        Ok(whole)
    }

    /// Puts one key.
    pub async fn put(&self, request: pb::PutRequest) -> Result<pb::PutResponse, Error> {
        self.keyed(Method::PUT, Some(&request.key), &request).await
    }

    /// Deletes a range of keys.
    pub async fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Error> {
        let key = single(&request.key, &request.range_end);
        self.keyed(Method::DELETE_RANGE, key, &request).await
    }

    /// Runs a txn. One that only reads is repeated like a read.
    pub async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        // The first compare is about the key that most txns are about.
        let key = request.compare.first().map(|compare| &compare.key[..]);
        self.keyed(Method::TXN.reading(only_reads(&request)), key, &request).await
    }

    /// Compacts history below a revision.
    pub async fn compact(
        &self,
        request: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, Error> {
        self.unary(Method::COMPACT, &request).await
    }

    /// Lists, activates or deactivates alarms.
    pub async fn alarm(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, Error> {
        let listing = request.action == pb::alarm_request::AlarmAction::Get as i32;
        self.unary(Method::ALARM.reading(listing), &request).await
    }

    /// Lists the members of the cluster.
    pub async fn member_list(&self, linearizable: bool) -> Result<pb::MemberListResponse, Error> {
        self.unary(Method::MEMBER_LIST, &pb::MemberListRequest { linearizable }).await
    }

    /// Asks for the status of the member at `endpoint`, which need not be one of the client's.
    pub async fn status(&self, endpoint: &str) -> Result<pb::StatusResponse, Error> {
        self.at(endpoint)?.unary(Method::STATUS, &pb::StatusRequest {}).await
    }

    /// Asks for the hash of the whole store of one member, as [`Client::status`] does.
    pub async fn hash(&self, endpoint: &str) -> Result<pb::HashResponse, Error> {
        self.at(endpoint)?.unary(Method::HASH, &pb::HashRequest {}).await
    }

    /// Asks for the hash of the store up to a revision, as [`Client::status`] does; revision 0 is
    /// the newest.
    pub async fn hash_kv(
        &self,
        endpoint: &str,
        revision: i64,
    ) -> Result<pb::HashKvResponse, Error> {
        self.at(endpoint)?.unary(Method::HASH_KV, &pb::HashKvRequest { revision }).await
    }

    /// Defragments one member, which is addressed as by [`Client::status`].
    pub async fn defragment(&self, endpoint: &str) -> Result<pb::DefragmentResponse, Error> {
        self.at(endpoint)?.unary(Method::DEFRAGMENT, &pb::DefragmentRequest {}).await
    }

    /// Trades a name and a password for a client whose requests carry the token.
    pub async fn authenticate(&self, name: &str, password: &str) -> Result<Client, Error> {
        let request =
            pb::AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
        let answer: pb::AuthenticateResponse = self.unary(Method::AUTHENTICATE, &request).await?;
        Ok(self.with_token(Some(&answer.token)))
    }

    /// Whether a linearizable read is answered, as etcdctl asks it: a member that denies the read
    /// is well.
    pub async fn health(&self) -> Result<(), Error> {
        let request = pb::RangeRequest { key: Bytes::from_static(b"health"), ..Default::default() };
        match self.range(request).await {
            Err(error) if error.code() != super::error::code::PERMISSION_DENIED => Err(error),
            _ => Ok(()),
        }
    }
}

/// Returns the first key after all that begin with `prefix`; one zero byte is "no end".
///
/// ```
/// use braid::client::prefix_end;
///
/// assert_eq!(prefix_end(b"config/"), "config0");
/// assert_eq!(prefix_end(b"a\xff"), "b");
/// assert_eq!(prefix_end(b""), "\0");
/// ```
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    match prefix.iter().rposition(|byte| *byte != 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
        None => Bytes::from_static(&[0]),
    }
}

/// Returns the key of a range that has only one.
fn single<'a>(key: &'a Bytes, range_end: &Bytes) -> Option<&'a [u8]> {
    range_end.is_empty().then_some(&key[..])
}

/// Whether no operation of the txn, in any branch, can change anything.
fn only_reads(txn: &pb::TxnRequest) -> bool {
    use pb::request_op::Request;
    let mut todo: Vec<&pb::TxnRequest> = vec![txn];
    while let Some(txn) = todo.pop() {
        for op in txn.success.iter().chain(&txn.failure) {
            match &op.request {
                Some(Request::RequestRange(_)) | None => {}
                Some(Request::RequestTxn(nested)) => todo.push(nested),
                Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => return false,
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::request_op::Request;

    #[test]
    fn a_prefix_ends_before_the_next_key() {
        assert_eq!(prefix_end(b"ab"), "ac");
        assert_eq!(prefix_end(b"a\xff\xff"), "b");
        assert_eq!(prefix_end(b"\xff"), "\0");
        assert_eq!(prefix_end(b""), "\0");
    }

    #[test]
    fn a_txn_reads_only_if_all_its_branches_do() {
        let op = |request| pb::RequestOp { request: Some(request) };
        let read = op(Request::RequestRange(pb::RangeRequest::default()));
        let write = op(Request::RequestPut(pb::PutRequest::default()));
        let txn = |success: &[_], failure: &[_]| pb::TxnRequest {
            compare: vec![],
            success: success.to_vec(),
            failure: failure.to_vec(),
        };
        let (read, write) = ([read], [write]);
        assert!(only_reads(&txn(&read, &[])));
        assert!(!only_reads(&txn(&read, &write)));
        let nested = |inner| [op(Request::RequestTxn(inner))];
        assert!(only_reads(&txn(&nested(txn(&[], &read)), &[])));
        assert!(!only_reads(&txn(&nested(txn(&[], &write)), &read)));
    }
}
