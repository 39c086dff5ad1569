//! Made-up histories of leases: what is right passes, and each broken promise is found.

use bytes::Bytes;

use super::super::call::{Answered, Invoked};
use super::super::model::Change;
use super::*;
use crate::types::{
    Answer, Blob, KeyValue, LeaseGrantReply, LeaseKeepAliveReply, LeaseLeasesReply,
    LeaseRevokeReply, LeaseTimeToLiveRequest, Nanos, PutReply, PutRequest, Revision,
};

/// A history as it is told, at whole seconds that are steps, too.
struct Tale {
    leases: Leases,
    line: ObservedLine,
    calls: Vec<ClientCall>,
}

fn clock(second: u64) -> Clock {
    let nanos = second * SECOND;
    Clock { step: second, most: nanos, least: nanos, ticked: nanos, seen: None }
}

fn change(key: &str, revision: i64, lease: i64) -> Change {
    let kv = KeyValue {
        key: Blob::from(key.as_bytes()),
        create: revision,
        modified: revision,
        version: 1,
        lease: LeaseId(lease),
        ..KeyValue::default()
    };
    Change { sub: 0, key: key.into(), put: Some(kv) }
}

/// On a line where 2 puts `a` with lease 11, and 3 deletes it.
fn tale() -> Tale {
    let gone = Change { sub: 0, key: b"a".to_vec(), put: None };
    let line = ObservedLine::of(vec![vec![change("a", 2, 11)], vec![gone]]);
    Tale { leases: Leases::new(1, SECOND), line, calls: Vec::new() }
}

impl Tale {
    fn ask(&mut self, second: u64, request: Request) -> usize {
        let invoked = Invoked { now: Nanos(0), after: 1, stable: 1, compacted: -1 };
        let id = self.calls.len() as u64;
        self.leases.asked(id, &request, clock(second));
        self.calls.push(ClientCall {
            id,
            core: 0,
            request,
            deadline: None,
            invoked,
            answered: None,
            canceled: false,
        });
        id as usize
    }

    fn answer(
        &mut self,
        second: u64,
        call: usize,
        stable: i64,
        answer: Answer,
    ) -> Result<(), Broken> {
        self.calls[call].answered = Some(Answered {
            step: second,
            now: Nanos(0),
            answer,
            stable,
            compacting: -1,
            was_full: false,
        });
        self.leases.answered(&self.calls[call], &self.line, clock(second), stable)
    }

    /// Asked at one second and answered at another.
    fn told(
        &mut self,
        (asked, answered): (u64, u64),
        request: Request,
        stable: i64,
        answer: Answer,
    ) -> Result<(), Broken> {
        let call = self.ask(asked, request);
        self.answer(answered, call, stable, answer)
    }

    /// Lease 11 of five seconds, granted at 1.
    fn granted() -> Tale {
        let mut tale = tale();
        tale.told((0, 1), grant(11, 5), 1, was_granted(11, 5)).unwrap();
        tale
    }

    fn keep(&mut self, asked: u64, answered: u64, ttl: i64) -> Result<(), Broken> {
        let id = LeaseId(11);
        self.told((asked, answered), Request::LeaseKeepAlive { id }, 3, kept(ttl))
    }

    fn left(&mut self, at: u64, stable: i64, ttl: i64, keys: &[&str]) -> Result<(), Broken> {
        let request = LeaseTimeToLiveRequest { id: LeaseId(11), keys: true };
        let reply = LeaseTimeToLiveReply {
            revision: Revision(stable),
            id: LeaseId(11),
            ttl,
            granted_ttl: if ttl < 0 { 0 } else { 5 },
            keys: keys.iter().map(|key| Blob::from(key.as_bytes())).collect(),
        };
        let reply = Ok(Reply::LeaseTimeToLive(reply));
        let call = self.ask(at, Request::LeaseTimeToLive(request));
        (self.calls[call].invoked.after, self.calls[call].invoked.stable) = (stable, stable);
        self.answer(at, call, stable, reply)
    }

    fn put(&mut self, asked: u64, answered: u64, made: Option<i64>) -> Result<(), Broken> {
        let mut request = PutRequest::of(Bytes::from("a"), Bytes::new());
        request.lease = LeaseId(11);
        let answer = match made {
            Some(made) => Ok(Reply::Put(PutReply { revision: Revision(made), prev_kv: None })),
            None => Err(Refusal::LeaseNotFound),
        };
        self.told((asked, answered), Request::Put(request), 3, answer)
    }

    fn revoke(&mut self, asked: u64, answered: u64, stable: i64) -> Result<(), Broken> {
        let revision = Revision(stable);
        let reply = Ok(Reply::LeaseRevoke(LeaseRevokeReply { revision }));
        self.told((asked, answered), Request::LeaseRevoke { id: LeaseId(11) }, stable, reply)
    }
}

fn grant(id: i64, ttl: i64) -> Request {
    Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(id), ttl })
}

fn was_granted(id: i64, ttl: i64) -> Answer {
    let reply = LeaseGrantReply { revision: Revision(1), id: LeaseId(id), ttl };
    Ok(Reply::LeaseGrant(reply))
}

fn kept(ttl: i64) -> Answer {
    let reply = LeaseKeepAliveReply { revision: Revision(1), id: LeaseId(11), ttl };
    Ok(Reply::LeaseKeepAlive(reply))
}

fn is_found(told: Result<(), Broken>, words: &str) -> bool {
    let broken = told.expect_err(words);
    assert!(broken.contains(words), "{broken}");
    true
}

#[test]
fn a_lease_that_is_kept_ends_late_enough_and_takes_its_keys_along() {
    let mut tale = Tale::granted();
    tale.left(2, 2, 4, &["a"]).unwrap();
    tale.put(2, 2, Some(2)).unwrap();
    tale.keep(3, 4, 5).unwrap();
    tale.put(9, 10, None).unwrap();
    tale.keep(9, 10, 0).unwrap();
    tale.left(11, 3, -1, &[]).unwrap();
    tale.revoke(12, 13, 3).expect_err("it was gone before");
    assert!(tale.leases.is_used());
}

#[test]
fn an_end_without_a_cause_is_found() {
    for asked in [2, 4] {
        assert!(is_found(Tale::granted().put(asked, 4, None), "ns left"), "until 5 it is there");
    }
    Tale::granted().put(2, 6, None).unwrap();
    assert!(is_found(Tale::granted().keep(2, 3, 0), "ns left"));
    let mut renewed = Tale::granted();
    renewed.keep(4, 4, 5).unwrap();
    assert!(is_found(renewed.keep(7, 8, 0), "ns left"));
    // The renewal is heard of only after the end.
    let mut late = Tale::granted();
    let call = late.ask(4, Request::LeaseKeepAlive { id: LeaseId(11) });
    late.put(7, 8, None).unwrap();
    assert!(is_found(late.answer(9, call, 3, kept(5)), "before its time was over"));
    // Somebody wanted it.
    let mut revoked = Tale::granted();
    revoked.ask(2, Request::LeaseRevoke { id: LeaseId(11) });
    revoked.put(2, 3, None).unwrap();
    let mut early = tale();
    early.ask(0, Request::LeaseRevoke { id: LeaseId(11) });
    early.told((0, 1), grant(11, 5), 1, was_granted(11, 5)).unwrap();
    early.put(2, 3, None).unwrap();
    // A revision that only its end explains.
    let mut ended = Tale::granted();
    let told = ended.leases.ended(&[(3, LeaseId(11))], &ended.line);
    assert!(is_found(told, "ns left"), "the line saw it at 3");
    // A pause does not count.
    let mut paused = Tale::granted();
    let id = LeaseId(11);
    let call = paused.ask(2, Request::LeaseKeepAlive { id });
    paused.calls[call].answered = None;
    let now = Clock { step: 900, most: 3 * SECOND, ..clock(900) };
    let answered = Answered {
        step: 900,
        now: Nanos(900 * SECOND),
        answer: kept(0),
        stable: 3,
        compacting: -1,
        was_full: false,
    };
    paused.calls[call].answered = Some(answered);
    let told = paused.leases.answered(&paused.calls[call], &paused.line, now, 3);
    assert!(is_found(told, "ns left"));
}

#[test]
fn a_return_is_found() {
    let mut tale = Tale::granted();
    tale.revoke(2, 3, 3).unwrap();
    assert!(is_found(tale.keep(4, 4, 5), "was gone before"));
    assert!(is_found(tale.put(4, 4, Some(2)), "was gone before"));
    assert!(is_found(tale.left(4, 3, 2, &[]), "was gone before"));
    assert!(is_found(tale.leases.shown(&tale.line, 2), "was gone before revision 2"));
    let listed = LeaseLeasesReply { revision: Revision(3), leases: vec![LeaseId(11)] };
    let listed = Ok(Reply::LeaseLeases(listed));
    assert!(is_found(tale.told((4, 4), Request::LeaseLeases, 3, listed), "was gone before"));
    assert!(is_found(Tale::granted().revoke(2, 3, 2), "is gone, but not"), "a is there at 2");
    let mut unlisted = Tale::granted();
    let none =
        || Ok(Reply::LeaseLeases(LeaseLeasesReply { revision: Revision(3), leases: vec![] }));
    assert!(is_found(unlisted.told((3, 3), Request::LeaseLeases, 3, none()), "ns left"));
    assert!(is_found(Tale::granted().left(7, 2, -1, &[]), "is gone, but not"));
    assert!(is_found(
        tale.leases.shown(&ObservedLine::of(vec![vec![change("a", 2, 9)]]), 2),
        "nobody was"
    ));
}

#[test]
fn an_end_that_does_not_come_is_found() {
    let mut tale = Tale::granted();
    tale.left(7, 2, 0, &["a"]).unwrap();
    tale.leases.rest(clock(7));
    assert!(is_found(tale.left(8, 2, 0, &["a"]), "should have ended"));
    let mut kept = Tale::granted();
    kept.keep(5, 6, 5).unwrap();
    kept.leases.rest(clock(7));
    kept.left(8, 2, 3, &["a"]).unwrap();
    // Somebody may have renewed it who was not told.
    let mut unsure = Tale::granted();
    unsure.ask(5, Request::LeaseKeepAlive { id: LeaseId(11) });
    unsure.leases.rest(clock(7));
    unsure.left(8, 2, 3, &["a"]).unwrap();
    // After a restart it has its whole TTL again, and an election timeout; and no more.
    let mut crashed = Tale::granted();
    crashed.leases.crash(clock(3));
    crashed.leases.opened(4 * SECOND, clock(4));
    assert!(is_found(crashed.put(8, 8, None), "ns left"));
    crashed.leases.rest(clock(9));
    crashed.left(10, 2, 0, &["a"]).unwrap();
    crashed.leases.rest(clock(11));
    assert!(is_found(crashed.left(12, 2, 0, &["a"]), "should have ended"));
    let mut over = Tale::granted();
    over.leases.crash(clock(7));
    over.leases.opened(8 * SECOND, clock(8));
    over.put(9, 9, None).unwrap();
}

#[test]
fn what_is_said_of_a_lease_is_held_against_what_is_known() {
    assert!(is_found(Tale::granted().left(2, 2, 2, &["a"]), "3 seconds must be left"));
    assert!(is_found(Tale::granted().left(2, 2, 7, &["a"]), "more than its TTL"));
    assert!(is_found(Tale::granted().left(2, 2, 4, &[]), "it had the keys"));
    assert!(is_found(Tale::granted().left(2, 3, 4, &["a"]), "it had no keys but"));
    assert!(is_found(Tale::granted().keep(2, 3, 4), "it has a TTL of 5"));
    assert!(is_found(tale().keep(2, 3, 4), "nobody was granted"));
    assert!(is_found(tale().told((0, 1), grant(0, 0), 1, was_granted(7, 0)), "not what was"));
    assert!(is_found(tale().told((0, 1), grant(5, 1), 1, was_granted(7, 1)), "not what was"));
}

#[test]
fn a_number_is_granted_once_at_a_time() {
    let exists = || Err(Refusal::LeaseExist);
    Tale::granted().told((2, 2), grant(11, 5), 1, exists()).unwrap();
    let again = Tale::granted().told((2, 3), grant(11, 5), 1, was_granted(11, 5));
    assert!(is_found(again, "granted twice"));
    Tale::granted().told((2, 9), grant(11, 5), 1, was_granted(11, 5)).unwrap();
    assert!(is_found(tale().told((2, 3), grant(0, 5), 1, exists()), "that is taken"));
    let mut chosen = tale();
    chosen.told((0, 1), grant(0, 1), 1, was_granted(77, 1)).unwrap();
    assert!(is_found(chosen.told((2, 3), grant(0, 1), 1, was_granted(77, 1)), "before"));
    // Gone for good, so it may be granted again.
    let mut reborn = Tale::granted();
    reborn.revoke(2, 3, 3).unwrap();
    reborn.told((4, 5), grant(11, 5), 3, was_granted(11, 5)).unwrap();
    assert!(is_found(reborn.put(6, 6, None), "ns left"));
}

/// Seed 8810935: one that can never be granted was asked for and unanswered when the power went,
/// and its TTL of 285 years was believed of the lease that got the number afterwards.
#[test]
fn a_grant_that_is_certain_to_be_refused_is_no_rival() {
    let too_long = || grant(11, TTL_MAX + 1);
    let mut unanswered = tale();
    unanswered.ask(0, too_long());
    unanswered.leases.crash(clock(1));
    unanswered.leases.opened(2 * SECOND, clock(2));
    unanswered.told((3, 3), grant(11, 3), 1, was_granted(11, 3)).unwrap();
    assert!(is_found(unanswered.put(4, 5, None), "ns left"), "it is known like any other");
    unanswered.leases.crash(clock(5));
    unanswered.leases.opened(6 * SECOND, clock(6));
    unanswered.told((9, 9), grant(11, 3), 1, was_granted(11, 3)).unwrap();
    // Beside a lease that is there it changes nothing either, answered or not.
    for is_answered in [true, false] {
        let mut beside = Tale::granted();
        let call = beside.ask(2, too_long());
        if is_answered {
            beside.answer(3, call, 1, Err(Refusal::LeaseTtlTooLarge)).unwrap();
        }
        assert!(is_found(beside.put(3, 4, None), "ns left"));
        assert!(is_found(
            beside.told((3, 4), grant(11, 5), 1, was_granted(11, 5)),
            "granted twice"
        ));
    }
    let told = tale().told((0, 1), too_long(), 1, was_granted(11, TTL_MAX + 1));
    assert!(is_found(told, "it had to be refused"));
    assert_eq!(tale().leases.longest(), Tale::granted().leases.longest() - 5 * SECOND);
}

#[test]
fn a_refused_grant_leaves_no_rival() {
    let mut refused = tale();
    refused.told((0, 1), grant(11, 60), 1, Err(Refusal::NoSpace)).unwrap();
    refused.told((2, 2), grant(11, 5), 1, was_granted(11, 5)).unwrap();
    assert!(is_found(refused.put(3, 3, None), "ns left"));
    let mut beside = Tale::granted();
    beside.told((2, 2), grant(11, 60), 1, Err(Refusal::NoSpace)).unwrap();
    assert!(is_found(beside.put(3, 3, None), "ns left"));
}

/// Two grants of a number that cannot be told apart say nothing about a third.
#[test]
fn a_blurred_number_is_left_out() {
    let mut blurred = tale();
    blurred.ask(0, grant(11, 60));
    blurred.leases.crash(clock(1));
    blurred.leases.opened(2 * SECOND, clock(2));
    blurred.told((3, 3), grant(11, 1), 1, was_granted(11, 1)).unwrap();
    blurred.leases.crash(clock(4));
    blurred.leases.opened(5 * SECOND, clock(5));
    blurred.told((8, 8), grant(11, 1), 1, was_granted(11, 1)).unwrap();
}
