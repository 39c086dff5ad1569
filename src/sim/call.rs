//! A client's call, with everything that bounds when it can have happened.

use crate::types::{Answer, Nanos, OpReply, Refusal, Reply, Request, TxnReply};

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct ClientCall {
    /// Also its ticket, and the mark of its values.
    pub id: u64,
    pub core: usize,
    pub request: Request,
    pub deadline: Option<Nanos>,
    pub invoked: Invoked,
    pub answered: Option<Answered>,
    pub canceled: bool,
}

/// When it was invoked.
#[derive(Clone, Copy, Debug)]
pub struct Invoked {
    pub now: Nanos,
    /// The highest header that any answer had before.
    pub after: i64,
    /// The stable that was published.
    pub stable: i64,
    /// The highest compaction that was answered before.
    pub compacted: i64,
}

/// When it was answered, and how.
#[derive(Clone, Debug)]
pub struct Answered {
    pub step: u64,
    pub now: Nanos,
    pub answer: Answer,
    /// The stable that was published.
    pub stable: i64,
    /// The highest compaction that anybody had asked for.
    pub compacting: i64,
    /// The disk has been full in this life.
    pub was_full: bool,
}

impl ClientCall {
    /// Whether it may have taken effect or not: nobody was told.
    pub fn is_unknown(&self) -> bool {
        match &self.answered {
            None => true,
            Some(answered) => matches!(
                answered.answer,
                Err(Refusal::Timeout | Refusal::DeadlineExceeded | Refusal::LeaderChanged)
            ),
        }
    }

    /// The revision that it was told it made.
    pub fn made(&self) -> Option<i64> {
        match &self.answered.as_ref()?.answer {
            Ok(Reply::Put(reply)) => Some(reply.revision.0),
            Ok(Reply::DeleteRange(reply)) if reply.deleted > 0 => Some(reply.revision.0),
            Ok(Reply::Txn(reply)) if changes(reply) => Some(reply.revision.0),
            _ => None,
        }
    }

    /// Whether it can make a revision at all.
    pub fn writes(&self) -> bool {
        matches!(self.request, Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_))
    }
}

/// The header's revision, if the answer has one.
pub fn header(answer: &Answer) -> Option<i64> {
    Some(match answer.as_ref().ok()? {
        Reply::Range(reply) => reply.revision.0,
        Reply::Put(reply) => reply.revision.0,
        Reply::DeleteRange(reply) => reply.revision.0,
        Reply::Txn(reply) => reply.revision.0,
        Reply::Compact(reply) => reply.revision.0,
        Reply::HashKv(reply) => reply.revision.0,
        Reply::Status(reply) => reply.revision.0,
        Reply::Hash(reply) => reply.revision.0,
        Reply::LeaseGrant(reply) => reply.revision.0,
        Reply::LeaseRevoke(reply) => reply.revision.0,
        Reply::LeaseKeepAlive(reply) => reply.revision.0,
        Reply::LeaseTimeToLive(reply) => reply.revision.0,
        Reply::LeaseLeases(reply) => reply.revision.0,
        _ => return None,
    })
}

/// Returns the kind of the answer, in a word or two.
pub fn kind(answer: &Answer) -> String {
    let shown = match answer {
        Ok(reply) => format!("{reply:?}"),
        Err(refusal) => format!("{refusal:?}"),
    };
    shown.split('(').next().unwrap_or_default().to_owned()
}

fn changes(txn: &TxnReply) -> bool {
    txn.responses.iter().any(|response| match response {
        OpReply::Put(_) => true,
        OpReply::DeleteRange(reply) => reply.deleted > 0,
        OpReply::Range(_) => false,
        OpReply::Txn(nested) => changes(nested),
    })
}
