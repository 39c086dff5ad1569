//! Whether one call's answer is what the line says it must be.

use super::call::{Answered, ClientCall, header};
use super::leases;
use super::line::{Broken, ObservedLine};
use crate::types::{LeaseId, Op, Refusal, Reply, Request, TxnRequest};

/// Judges `call`, which made the revision `made`, if any. The model holds the line.
pub(super) fn judge(
    line: &mut ObservedLine,
    call: &ClientCall,
    made: Option<i64>,
) -> Result<(), Broken> {
    let Some(answered) = &call.answered else { return Ok(()) };
    let broken = |what: &str| Err(format!("step {}: {what}: {call:?}", answered.step));
    if let Some(header) = header(&answered.answer) {
        if header < call.invoked.after.max(call.invoked.stable) {
            return broken("the header is older than what was answered before it was asked");
        }
        if header > answered.stable {
            return broken("R3: the header is above stable");
        }
    }
    match &answered.answer {
        Ok(Reply::Compact(_)) => {
            if matches!(&call.request, Request::Compact(c) if c.revision > answered.stable) {
                return broken("it compacted what was not there");
            }
            Ok(())
        }
        Ok(Reply::HashKv(reply)) => {
            let at = (reply.hash_revision, reply.compact_revision);
            let hash = *line.hashes().entry(at).or_insert(reply.hash);
            if hash != reply.hash {
                return broken(&format!("the hash at {at:?} was {hash}"));
            }
            Ok(())
        }
        Ok(Reply::Status(_) | Reply::Hash(_) | Reply::Defragment(_)) => Ok(()),
        // Their word on the lease was judged when it came.
        Ok(
            Reply::LeaseGrant(_)
            | Reply::LeaseRevoke(_)
            | Reply::LeaseKeepAlive(_)
            | Reply::LeaseTimeToLive(_)
            | Reply::LeaseLeases(_),
        ) => Ok(()),
        Ok(reply) => {
            let expected = match made {
                Some(revision) => line.model().evaluate(&call.request, revision - 1),
                None => {
                    let header = header(&answered.answer).expect("it has one");
                    match line.answer_at(&call.request, header) {
                        Some(answer) => answer.map(|reply| (reply, Vec::new())),
                        None => return broken("it should have changed something"),
                    }
                }
            };
            match expected {
                Ok((expected, _)) if expected == *reply => {}
                expected => return broken(&format!("expected {expected:?}")),
            }
            let is_gone = |at: i64| at > 0 && at < call.invoked.compacted;
            if matches!(&call.request, Request::Range(range) if is_gone(range.revision)) {
                return broken("it read what was compacted before it was asked");
            }
            Ok(())
        }
        Err(refusal) => refused(line, call, answered, refusal),
    }
}

fn refused(
    line: &ObservedLine,
    call: &ClientCall,
    answered: &Answered,
    refusal: &Refusal,
) -> Result<(), Broken> {
    let broken = |what: &str| Err(format!("step {}: {what}: {call:?}", answered.step));
    let asked = newest_asked(&call.request);
    let right = match refusal {
        Refusal::Timeout => answered.now.0 > call.invoked.now.0 + 900_000_000,
        Refusal::DeadlineExceeded => call.deadline.is_some_and(|at| at <= answered.now),
        // Nobody else leads; it can only be the time before the first epoch is open.
        Refusal::LeaderChanged => true,
        Refusal::NoSpace => {
            let needs_room = matches!(call.request, Request::LeaseGrant(_) | Request::Defragment);
            answered.was_full && (call.writes() || needs_room)
        }
        // As above.
        Refusal::LeaseNotFound => !leases::names(&call.request).is_empty(),
        Refusal::LeaseExist => {
            matches!(&call.request, Request::LeaseGrant(grant) if grant.id != LeaseId::NONE)
        }
        Refusal::LeaseTtlTooLarge => leases::is_refused_for_certain(&call.request),
        Refusal::FutureRevision => asked.is_some_and(|asked| asked > call.invoked.stable),
        Refusal::Compacted => match &call.request {
            Request::Compact(request) => request.revision <= answered.compacting,
            request => oldest_asked(request).is_some_and(|asked| asked < answered.compacting),
        },
        Refusal::KeyNotFound => {
            // It saw pending state, which may since be void: that is why it had to wait.
            let seen = call.invoked.after.max(call.invoked.stable)..=answered.stable;
            seen.into_iter()
                .any(|at| line.answer_at(&call.request, at) == Some(Err(refusal.clone())))
        }
        _ => false,
    };
    if right { Ok(()) } else { broken("it should not have been refused") }
}

/// The revisions that a request names.
fn asked(request: &Request) -> Vec<i64> {
    fn of_txn(txn: &TxnRequest, found: &mut Vec<i64>) {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Range(range) => found.extend((range.revision > 0).then_some(range.revision)),
                Op::Txn(nested) => of_txn(nested, found),
                Op::Put(_) | Op::DeleteRange(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    match request {
        Request::Range(range) if range.revision > 0 => found.push(range.revision),
        Request::Compact(request) => found.push(request.revision),
        Request::HashKv(request) if request.revision > 0 => found.push(request.revision),
        Request::Txn(txn) => of_txn(txn, &mut found),
        _ => {}
    }
    found
}

fn oldest_asked(request: &Request) -> Option<i64> {
    asked(request).into_iter().min()
}

fn newest_asked(request: &Request) -> Option<i64> {
    asked(request).into_iter().max()
}
