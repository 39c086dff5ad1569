//! A place in a queue.

use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_lite::future::or;

use super::asker::{
    Asker, Over, below, created_at, delete_created_at, oldest, put, status_of, unexpected,
    youngest_before,
};
use crate::protocol::status::Status;
use crate::rt::{self, Task};
use crate::server::front::Front;
use crate::types::{
    Answer, KeyRange, KeyValue, LeaseId, Op, OpReply, RangeRequest, Refusal, Reply, Request,
    Revision, TxnReply, TxnRequest,
};

/// Between two attempts to give a place up, while the core cannot.
const GIVE_UP_PAUSE: Duration = Duration::from_millis(100);

/// A place that is given up when it is dropped, until it is [kept](QueuePlace::keep).
pub(super) struct QueuePlace {
    front: Rc<Front>,
    pub(super) name: Bytes,
    pub(super) key: Bytes,
    /// When it was created.
    pub(super) created: Revision,
    state: State,
}

enum State {
    /// The txn that takes it is under way. It goes on if the caller leaves: only its answer tells
    /// whether there is something to be given up.
    Taking(Task<Answer>),
    Waiting,
    Kept,
}

/// How a place was found when it was taken.
pub(super) struct Taken {
    /// The revision of the txn.
    pub(super) revision: Revision,
    /// The key's value, if the lease had the place before.
    pub(super) before: Option<KeyValue>,
    /// Whether nobody is in front.
    pub(super) is_first: bool,
}

impl QueuePlace {
    /// Takes the place of `lease` in the queue `name`, or finds that it has it.
    pub(super) async fn take(
        asker: &Asker,
        name: Bytes,
        lease: LeaseId,
        value: Bytes,
    ) -> Result<(QueuePlace, Taken), Status> {
        let key = key(&name, lease);
        let own = Op::Range(RangeRequest::of(KeyRange::single(key.clone())));
        let first = Op::Range(oldest(below(&name)));
        let txn = TxnRequest {
            compare: vec![created_at(&key, Revision(0))],
            success: vec![put(&key, value, lease), first.clone()],
            failure: vec![own, first],
        };
        let (front, deadline) = (asker.front.clone(), asker.deadline);
        let taking = rt::spawn(async move {
            let _busy = front.busy();
            front.ask(Request::Txn(txn), deadline).await
        });
        let (front, created) = (asker.front.clone(), Revision(0));
        let mut place = QueuePlace { front, name, key, created, state: State::Taking(taking) };
        let State::Taking(taking) = &mut place.state else {
            unreachable!("just made so");
        };
        let answer = taking.await;
        // The outcome is known now, whatever it was.
        place.state = State::Kept;
        let reply = match answer.map_err(|refusal| status_of(&refusal))? {
            Reply::Txn(reply) => reply,
            other => return Err(unexpected(&other)),
        };
        let taken = place.settle(reply)?;
        place.state = State::Waiting;
        Ok((place, taken))
    }

    fn settle(&mut self, reply: TxnReply) -> Result<Taken, Status> {
        let mut responses = reply.responses.into_iter();
        let before = match responses.next() {
            Some(OpReply::Range(own)) if !reply.succeeded => own.kvs.into_iter().next(),
            _ => None,
        };
        self.created = before.as_ref().map_or(reply.revision, |kv| Revision(kv.create));
        let Some(OpReply::Range(first)) = responses.next() else {
            let text = "internal error: incomplete reply to the txn of a queue".to_owned();
            return Err(status_of(&Refusal::Internal(text)));
        };
        let is_first = first.kvs.first().is_none_or(|kv| kv.create == self.created.0);
        Ok(Taken { revision: reply.revision, before, is_first })
    }

    /// Until nobody is in front.
    pub(super) async fn wait(&self, asker: &Asker) -> Result<(), Status> {
        or(asker.stopped(), self.wait_for_all(asker)).await
    }

    async fn wait_for_all(&self, asker: &Asker) -> Result<(), Status> {
        loop {
            let before = youngest_before(below(&self.name), self.created);
            let mut found = asker.range(before).await?;
            let Some(kv) = found.kvs.pop() else {
                return Ok(());
            };
            let key = Bytes::copy_from_slice(&kv.key);
            let events = asker.events(KeyRange::single(key), found.revision);
            loop {
                match events.next().await {
                    Ok(happened) if happened.events.iter().any(|event| event.put.is_none()) => {
                        break;
                    }
                    Ok(_) => {}
                    // A fresh look tells as well whether it is still there.
                    Err(Over::Compacted) => break,
                    Err(Over::Status(status)) => return Err(status),
                }
            }
        }
    }

    /// It stays when the call is over.
    pub(super) fn keep(mut self) -> Bytes {
        self.state = State::Kept;
        self.key.clone()
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        let (front, key, created) = (self.front.clone(), self.key.clone(), self.created);
        match std::mem::replace(&mut self.state, State::Kept) {
            State::Kept => {}
            State::Waiting => give_up(front, key, created),
            State::Taking(taking) => {
                let after = async move {
                    let _busy = front.busy();
                    if let Ok(Reply::Txn(reply)) = taking.await
                        && reply.succeeded
                    {
                        give_up(front.clone(), key, reply.revision);
                    }
                };
                rt::spawn(after).detach();
            }
        }
    }
}

/// Deletes the key, if it is still the one created then, in a task that nobody waits for.
fn give_up(front: Rc<Front>, key: Bytes, created: Revision) {
    let giving_up = async move {
        let _busy = front.busy();
        let trying = async {
            loop {
                let delete = Request::Txn(delete_created_at(&key, created));
                match front.ask(delete, None).await {
                    Ok(_) => return,
                    Err(refusal) => tracing::debug!(?refusal, "a place is not given up yet"),
                }
                rt::sleep(GIVE_UP_PAUSE).await;
            }
        };
        // A key that is left after that goes with its lease.
        rt::within(front.settings.request_timeout, trying).await;
    };
    rt::spawn(giving_up).detach();
}

/// The key of a lease in a queue.
fn key(name: &[u8], lease: LeaseId) -> Bytes {
    let mut key = BytesMut::from(name);
    let sign = if lease.0 < 0 { "-" } else { "" };
    key.put_slice(format!("/{sign}{:x}", lease.0.unsigned_abs()).as_bytes());
    key.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_go_spells_them() {
        assert_eq!(key(b"a", LeaseId(0x1F)), "a/1f");
        assert_eq!(key(b"", LeaseId(-31)), "/-1f");
        assert_eq!(key(b"a/b", LeaseId(i64::MIN)), "a/b/-8000000000000000");
        let range = below(b"a");
        assert!(range.contains(b"a/") && range.contains(b"a/zz/y") && !range.contains(b"a0"));
    }
}
