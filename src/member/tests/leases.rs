//! Leases on a whole member: what is granted, kept alive, revoked and expires; and what a crash, a
//! pause or a race leaves of them.

use super::*;
use crate::line::message::Report;
use crate::types::placement::shard_of;
use crate::types::{
    GroupId, LeaseGrantRequest, LeaseId, LeaseTimeToLiveRequest, Revision, ShardId,
};
use crate::wal::{DiskOp, OpId, ReadDisk};

const SECOND: u64 = 1_000_000_000;
const TICK: u64 = SECOND / 10;

impl Host {
    fn grant(&mut self, core: usize, id: i64, ttl: i64) -> Result<(i64, i64), Refusal> {
        match self.call(core, grant(id, ttl))? {
            Reply::LeaseGrant(reply) => Ok((reply.id.0, reply.ttl)),
            other => panic!("{other:?}"),
        }
    }

    fn attach(&mut self, core: usize, key: &str, lease: i64) -> Result<i64, Refusal> {
        match self.call(core, attaching(key, lease))? {
            Reply::Put(reply) => Ok(reply.revision.0),
            other => panic!("{other:?}"),
        }
    }

    fn revoke(&mut self, core: usize, id: i64) -> Result<i64, Refusal> {
        match self.call(core, Request::LeaseRevoke { id: LeaseId(id) })? {
            Reply::LeaseRevoke(reply) => Ok(reply.revision.0),
            other => panic!("{other:?}"),
        }
    }

    fn keep_alive(&mut self, core: usize, id: i64) -> i64 {
        match self.call(core, Request::LeaseKeepAlive { id: LeaseId(id) }) {
            Ok(Reply::LeaseKeepAlive(reply)) if reply.id == LeaseId(id) => reply.ttl,
            other => panic!("{other:?}"),
        }
    }

    /// Seconds left, seconds granted, keys.
    fn left(&mut self, core: usize, id: i64) -> (i64, i64, Vec<String>) {
        match self.call(core, time_to_live(id)) {
            Ok(Reply::LeaseTimeToLive(reply)) if reply.id == LeaseId(id) => {
                let text = |key: &crate::types::Blob| String::from_utf8(key.to_vec()).unwrap();
                (reply.ttl, reply.granted_ttl, reply.keys.iter().map(text).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn leases(&mut self, core: usize) -> Vec<i64> {
        match self.call(core, Request::LeaseLeases) {
            Ok(Reply::LeaseLeases(reply)) => reply.leases.iter().map(|id| id.0).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn keys(&mut self, core: usize) -> Vec<String> {
        self.list(core, 0).into_iter().map(|(key, _, _)| key).collect()
    }

    fn tick(&mut self) {
        for core in &mut self.cores {
            core.tick(Nanos(self.now), 0x9e37_79b9_7f4a_7c15 ^ self.now);
        }
        self.run();
    }

    /// Lets time pass, in ticks.
    fn pass(&mut self, nanos: u64) {
        let end = self.now + nanos;
        while self.now < end {
            self.now = end.min(self.now + TICK);
            self.tick();
        }
    }

    /// Every shard knows which keys hang on which lease: as many, over all shards.
    fn attached(&self, lease: i64) -> usize {
        let shards = self.cores.iter().flat_map(Core::shards);
        shards.map(|shard| shard.store().lease_keys(LeaseId(lease)).count()).sum()
    }

    /// One step: every core takes a turn, then its mail is delivered and what `finishes` of its
    /// disk operations is done. Returns whether something happened.
    fn step(
        &mut self,
        in_flight: &mut Vec<(usize, GroupId, OpId, DiskOp)>,
        mut finishes: impl FnMut(GroupId, &DiskOp) -> bool,
    ) -> bool {
        let mut happened = false;
        for at in 0..self.cores.len() {
            self.cores[at].look();
            happened |= self.cores[at].turn(Nanos(self.now));
            let effects = std::mem::take(self.cores[at].effects());
            happened |= !effects.mail.is_empty();
            self.answers.extend(effects.answers.into_iter().map(|(t, a)| (t.0, a)));
            for (to, mail) in effects.mail {
                self.cores[usize::from(to.0)].receive(mail);
            }
            in_flight.extend(effects.disk.into_iter().map(|(group, id, op)| (at, group, id, op)));
        }
        for (at, group, id, op) in std::mem::take(in_flight) {
            if finishes(group, &op) {
                let outcome = self.disk.finish(op);
                self.cores[at].disk_done(group, id, outcome).expect("a good disk");
                happened = true;
            } else {
                in_flight.push((at, group, id, op));
            }
        }
        happened
    }

    /// The epoch ends, and the next begins: a group was lost for a moment.
    fn lose(&mut self) {
        self.cores[0].receive(Mail::Report(Report::Lost { shard: ShardId(0) }));
    }
}

fn grant(id: i64, ttl: i64) -> Request {
    Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(id), ttl })
}

fn time_to_live(id: i64) -> Request {
    Request::LeaseTimeToLive(LeaseTimeToLiveRequest { id: LeaseId(id), keys: true })
}

fn attaching(key: &str, lease: i64) -> Request {
    let Request::Put(put) = put(key, "v") else { unreachable!() };
    Request::Put(PutRequest { lease: LeaseId(lease), ..put })
}

fn attaching_op(key: &str, lease: i64) -> Op {
    let Request::Put(put) = attaching(key, lease) else { unreachable!() };
    Op::Put(put)
}

fn txn(success: Vec<Op>) -> Request {
    Request::Txn(TxnRequest { success, ..TxnRequest::default() })
}

#[test]
fn a_lease_takes_its_keys_along_at_one_revision() {
    for (cores, shards) in SHAPES {
        let mut host = Host::start(Disk::default(), cores, shards);
        let other = usize::from(cores) - 1;
        assert_eq!(host.grant(other, 7, 60), Ok((7, 60)));
        assert_eq!(host.grant(0, 8, 90), Ok((8, 90)));
        for i in 0..10 {
            assert_eq!(host.attach(other, &format!("k{i}"), 7), Ok(i + 2));
        }
        assert_eq!(host.attach(0, "other", 8), Ok(12));
        let keys: Vec<String> = (0..10).map(|i| format!("k{i}")).collect();
        assert_eq!(host.left(other, 7), (60, 60, keys.clone()));
        assert_eq!(host.leases(other), [7, 8]);
        assert_eq!(host.revoke(other, 7), Ok(13));
        assert_eq!(host.keys(0), ["other"]);
        assert_eq!(host.list(0, 12).len(), 11, "at one revision");
        assert_eq!(host.left(0, 7), (-1, 0, vec![]));
        assert_eq!(host.leases(0), [8]);
        assert_eq!(host.revoke(0, 7), Err(Refusal::LeaseNotFound));
        assert_eq!(host.attach(0, "k1", 7), Err(Refusal::LeaseNotFound));
        assert_eq!(host.attach(0, "k1", 8), Ok(14));
        assert_eq!(host.grant(0, 7, 5), Ok((7, 5)), "the number is free again");
        // Events of one revision are in the order of their keys, over all shards.
        let mut events = Vec::new();
        for shard in host.cores.iter().flat_map(Core::shards) {
            let all = KeyRange::all();
            let changes = shard.store().changes(&all, Revision(12), Revision(13), 9);
            events.extend(changes.into_iter().map(|c| (c.sub, c.key.to_vec(), c.put.is_none())));
        }
        events.sort();
        assert!(events.iter().all(|(sub, _, deleted)| sub.0 == 0 && *deleted));
        let found: Vec<&[u8]> = events.iter().map(|(_, key, _)| &key[..]).collect();
        assert_eq!(found, keys.iter().map(String::as_bytes).collect::<Vec<_>>());
    }
}

#[test]
fn a_lease_without_keys_takes_no_revision() {
    let mut host = Host::start(Disk::default(), 2, 3);
    host.put(0, "k", "v");
    host.grant(1, 7, 60).unwrap();
    assert_eq!(host.revoke(1, 7), Ok(2));
    host.grant(1, 7, 60).unwrap();
    host.attach(0, "k", 7).unwrap();
    host.put(0, "k", "v"); // Without a lease: detached.
    assert_eq!(host.attached(7), 0);
    assert_eq!(host.revoke(0, 7), Ok(4));
    assert_eq!(host.put(0, "k", "v"), 5);
}

#[test]
fn what_is_granted_is_as_etcd_grants_it() {
    let mut host = Host::start(Disk::default(), 2, 2);
    assert_eq!(host.grant(0, 7, 60), Ok((7, 60)));
    assert_eq!(host.grant(1, 7, 90), Err(Refusal::LeaseExist));
    assert_eq!(host.grant(1, -3, 0), Ok((-3, 2)), "one and a half election timeouts at least");
    assert_eq!(host.grant(1, 9, i64::MIN), Ok((9, 2)));
    assert_eq!(host.grant(1, 10, 9_000_000_000), Ok((10, 9_000_000_000)));
    assert_eq!(host.grant(1, 11, 9_000_000_001), Err(Refusal::LeaseTtlTooLarge));
    let chosen: Vec<i64> = (0..50).map(|i| host.grant(i % 2, 0, 60).unwrap().0).collect();
    assert!(chosen.iter().all(|id| *id > 0 && id >> 48 == 7), "{chosen:?}");
    let distinct: std::collections::BTreeSet<i64> = chosen.iter().copied().collect();
    assert_eq!(distinct.len(), 50);
    let mut host = Host::start(host.disk, 2, 2);
    assert!(!distinct.contains(&host.grant(0, 0, 60).unwrap().0));
    // Two at once: one of them is first.
    let both = [host.send(0, grant(77, 60)), host.send(1, grant(77, 60))];
    host.run();
    let answers = both.map(|ticket| host.answers.remove(&ticket).expect("an answer"));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.contains(&Err(Refusal::LeaseExist)));
}

#[test]
fn what_attaches_to_a_missing_lease_is_refused_as_a_whole() {
    for (cores, shards) in SHAPES {
        let mut host = Host::start(Disk::default(), cores, shards);
        host.grant(0, 7, 60).unwrap();
        host.put(0, "a", "v");
        let missing = || attaching_op("b", 8);
        let rest = || ["c", "d", "e", "f"].map(|key| attaching_op(key, 7));
        let refused = Err(Refusal::LeaseNotFound);
        assert_eq!(host.attach(0, "a", 8).map(drop), Err(Refusal::LeaseNotFound));
        assert_eq!(host.call(0, txn(vec![missing()])), refused);
        assert_eq!(host.call(0, txn([&rest()[..], &[missing()]].concat())), refused);
        let nested = Op::Txn(TxnRequest { success: vec![missing()], ..TxnRequest::default() });
        assert_eq!(host.call(0, txn([&rest()[..], &[nested]].concat())), refused);
        assert_eq!(host.keys(0), ["a"]);
        // What is not on the path is not looked at.
        let request =
            TxnRequest { success: rest().to_vec(), failure: vec![missing()], compare: vec![] };
        assert!(host.call(0, Request::Txn(request)).is_ok());
        assert_eq!(host.attached(7), 4);
    }
}

#[test]
fn keys_move_between_leases_and_detach() {
    let mut host = Host::start(Disk::default(), 2, 3);
    host.grant(0, 7, 60).unwrap();
    host.grant(0, 8, 60).unwrap();
    for key in ["a", "b", "c", "d"] {
        host.attach(0, key, 7).unwrap();
    }
    host.attach(1, "a", 8).unwrap();
    host.put(1, "b", "v");
    let Request::Put(keeping) = put("c", "w") else { unreachable!() };
    let keeping = PutRequest { ignore_lease: true, ..keeping };
    host.call(1, Request::Put(keeping)).unwrap();
    let range = KeyRange::single(Bytes::from("d"));
    let delete = DeleteRangeRequest { range, prev_kv: false };
    host.call(1, Request::DeleteRange(delete)).unwrap();
    assert_eq!(host.left(0, 7).2, ["c"]);
    assert_eq!(host.left(1, 8).2, ["a"]);
    let mut host = Host::start(host.disk, 1, 3);
    assert_eq!(host.left(0, 7).2, ["c"]);
    host.revoke(0, 7).unwrap();
    assert_eq!(host.keys(0), ["a", "b"]);
}

#[test]
fn a_lease_ends_by_itself_unless_it_is_kept_alive() {
    for (cores, shards) in SHAPES {
        let mut host = Host::start(Disk::default(), cores, shards);
        host.tick();
        let other = usize::from(cores) - 1;
        for (id, ttl) in [(1, 4), (2, 4), (3, 3)] {
            host.grant(other, id, ttl).unwrap();
            host.attach(0, &format!("k{id}"), id).unwrap();
        }
        assert_eq!(host.keep_alive(other, 9), 0, "there is none");
        host.pass(2 * SECOND);
        assert_eq!(host.keep_alive(0, 1), 4);
        assert_eq!(host.keep_alive(other, 1), 4);
        assert_eq!(host.leases(0), [3, 2, 1]);
        host.pass(SECOND - TICK);
        assert_eq!(host.keys(0), ["k1", "k2", "k3"]);
        assert_eq!(host.left(0, 3).0, 0, "less than a second");
        host.pass(TICK);
        assert_eq!(host.keys(0), ["k1", "k2"]);
        assert_eq!(host.left(0, 2).0, 1);
        host.pass(SECOND);
        assert_eq!(host.keys(0), ["k1"]);
        assert_eq!(host.keep_alive(other, 2), 0);
        assert_eq!(host.leases(0), [1]);
        host.pass(4 * SECOND);
        assert_eq!((host.keys(0).len(), host.leases(0).len()), (0, 0));
        assert_eq!(host.put(0, "next", "v"), 8, "three puts, three ends");
    }
}

#[test]
fn a_keep_alive_that_comes_too_late_is_answered_when_the_lease_is_gone() {
    let mut host = Host::start(Disk::default(), 2, 2);
    host.tick();
    host.grant(0, 1, 2).unwrap();
    host.attach(0, "k", 1).unwrap();
    host.pass(2 * SECOND - TICK);
    host.now += TICK; // Its deadline, and no tick yet.
    let late = [0, 1].map(|core| host.send(core, Request::LeaseKeepAlive { id: LeaseId(1) }));
    host.run();
    assert!(late.iter().all(|ticket| !host.answers.contains_key(ticket)));
    assert_eq!(host.keys(0), ["k"]);
    host.tick();
    assert!(host.keys(0).is_empty());
    for ticket in late {
        let Some(Ok(Reply::LeaseKeepAlive(reply))) = host.answers.remove(&ticket) else {
            panic!("an answer")
        };
        assert_eq!((reply.ttl, reply.revision.0), (0, 3));
    }
}

/// etcd #15247: a leader that wakes up after a while revokes everything.
#[test]
fn a_member_that_was_paused_revokes_nothing() {
    let mut host = Host::start(Disk::default(), 2, 2);
    host.tick();
    host.grant(0, 1, 5).unwrap();
    host.attach(0, "k", 1).unwrap();
    host.pass(SECOND);
    for _ in 0..3 {
        host.now += 3600 * SECOND;
        host.run(); // Turns come before the tick.
        host.tick();
        assert_eq!(host.left(1, 1), (4, 5, vec!["k".to_owned()]));
    }
    assert_eq!(host.keep_alive(1, 1), 5);
    host.pass(4 * SECOND);
    assert_eq!(host.keys(0), ["k"]);
    host.pass(2 * SECOND);
    assert!(host.keys(0).is_empty());
}

#[test]
fn leases_survive_a_restart_with_their_whole_ttl_and_an_election_timeout() {
    let mut host = Host::start(Disk::default(), 2, 3);
    host.tick();
    host.grant(0, 1, 5).unwrap();
    for key in ["a", "b", "c"] {
        host.attach(0, key, 1).unwrap();
    }
    host.pass(4 * SECOND);
    let mut host = Host::start(host.disk, 1, 3);
    host.tick();
    assert_eq!(host.left(0, 1).0, 6);
    assert_eq!(host.attach(0, "d", 1), Ok(5));
    host.pass(5 * SECOND);
    assert_eq!(host.keys(0).len(), 4);
    host.pass(SECOND + TICK);
    assert_eq!((host.keys(0).len(), host.leases(0).len()), (0, 0));
    let mut host = Host::start(host.disk, 1, 3);
    assert_eq!((host.keys(0).len(), host.leases(0).len()), (0, 0));
    assert_eq!(host.put(0, "next", "v"), 7);
}

#[test]
fn what_is_left_of_a_long_lease_is_written_down_if_the_gate_is_open() {
    for on in [false, true] {
        let config = LeaseConfig::of(10, TICK, on);
        let mut host = Host::start_with(Disk::default(), 2, 2, config);
        host.tick();
        for id in [1, 2] {
            host.grant(0, id, 1000).unwrap();
        }
        host.grant(0, 3, 300).unwrap();
        host.pass(301 * SECOND);
        assert_eq!(host.leases(0), [1, 2]);
        assert_eq!(host.keep_alive(0, 2), 1000, "written down first");
        assert_eq!(host.keep_alive(1, 2), 1000);
        let mut host = Host::start_with(host.disk, 2, 2, config);
        host.tick();
        assert_eq!(host.left(0, 1).0, if on { 701 } else { 1001 });
        assert_eq!(host.left(0, 2).0, 1001);
        assert_eq!(host.keep_alive(1, 1), 1000);
        let mut host = Host::start_with(host.disk, 2, 2, config);
        host.tick();
        assert_eq!(host.left(0, 1).0, 1001, "renewing it took the note back");
    }
}

/// Attachments that are not yet stable are not shown.
#[test]
fn the_keys_of_a_lease_are_those_that_stable_has_reached() {
    let mut host = Host::start(Disk::default(), 2, 2);
    host.grant(0, 1, 60).unwrap();
    let attaching = host.send(0, attaching("k", 1));
    let asking = host.send(1, time_to_live(1));
    let mut in_flight = Vec::new();
    while host.step(&mut in_flight, |_, _| false) {}
    assert!(host.answers.is_empty(), "nothing is durable");
    while host.step(&mut in_flight, |_, _| true) {}
    assert!(host.answers.remove(&attaching).is_some_and(|answer| answer.is_ok()));
    let Some(Ok(Reply::LeaseTimeToLive(reply))) = host.answers.remove(&asking) else {
        panic!("an answer")
    };
    assert_eq!(reply.keys.len(), 1);
}

#[test]
fn alarms_refuse_leases_as_etcd_does_and_stop_none_that_goes() {
    let mut host = Host::start(Disk::default(), 2, 2);
    host.tick();
    let alarm = |action, kind| {
        let (member, kind) = (MemberId(7), Some(kind));
        Request::Alarm(AlarmRequest { action, member, kind })
    };
    host.grant(0, 1, 2).unwrap();
    host.attach(0, "k", 1).unwrap();
    host.call(0, alarm(AlarmAction::Activate, AlarmKind::NoSpace)).unwrap();
    assert_eq!(host.grant(1, 2, 60), Err(Refusal::NoSpace));
    assert_eq!(host.revoke(1, 1), Ok(3));
    host.call(0, alarm(AlarmAction::Deactivate, AlarmKind::NoSpace)).unwrap();
    host.grant(0, 1, 2).unwrap();
    host.attach(0, "k", 1).unwrap();
    let revoking = host.send(0, Request::LeaseRevoke { id: LeaseId(1) });
    let mut in_flight = Vec::new();
    host.step(&mut in_flight, |_, _| false);
    let raising = host.send(0, alarm(AlarmAction::Activate, AlarmKind::Corrupt));
    while host.step(&mut in_flight, |_, _| true) {}
    assert!(host.answers.remove(&raising).is_some_and(|answer| answer.is_ok()));
    assert!(host.answers.remove(&revoking).is_some_and(|answer| answer.is_ok()));
    assert!(host.keys(0).is_empty());
    assert_eq!(host.grant(1, 2, 60), Err(Refusal::Corrupt));
    assert_eq!(host.revoke(1, 2), Err(Refusal::Corrupt));
}

/// A put that races a revoke is refused or deleted: no key is left behind.
#[test]
fn no_put_attaches_to_a_lease_that_ends() {
    for (cores, shards) in [(1, 1), (1, 3), (2, 2), (2, 5)] {
        let mut outcomes = [0, 0];
        for late in 0..24 {
            let mut host = Host::start(Disk::default(), cores, shards);
            host.grant(0, 1, 60).unwrap();
            host.attach(0, "first", 1).unwrap();
            let (mut in_flight, mut puts) = (Vec::new(), Vec::new());
            let mut revoking = 0;
            for i in 0..12 {
                if i == late / 2 {
                    revoking = host.send(0, Request::LeaseRevoke { id: LeaseId(1) });
                }
                let core = (i + late) % usize::from(cores);
                puts.push(host.send(core, attaching(&format!("k{i}"), 1)));
                let ops = (0..3).map(|k| attaching_op(&format!("t{i}-{k}"), 1)).collect();
                puts.push(host.send(core, txn(ops)));
                if late % 2 == 0 {
                    host.step(&mut in_flight, |_, _| true);
                }
            }
            while host.step(&mut in_flight, |_, _| true) {}
            host.run();
            assert!(host.answers.remove(&revoking).is_some_and(|answer| answer.is_ok()));
            for ticket in puts {
                match host.answers.remove(&ticket).expect("an answer") {
                    Ok(_) => outcomes[0] += 1,
                    Err(refusal) => {
                        assert_eq!(refusal, Refusal::LeaseNotFound);
                        outcomes[1] += 1;
                    }
                }
            }
            assert_eq!((host.keys(0), host.attached(1)), (vec![], 0), "{late}");
        }
        assert!(outcomes.iter().all(|count| *count > 100), "both happen: {outcomes:?}");
    }
}

/// A crash in every stage: going logged, the round logged on some shards, gone not logged. After
/// it, the lease is there with all its keys, or it is gone with all of them.
#[test]
fn a_crash_in_any_stage_of_a_revoke_leaves_no_key_without_its_lease() {
    let shards = 3;
    let mut outcomes = [0, 0];
    let mut before = Host::start(Disk::default(), 2, shards);
    before.grant(0, 1, 60).unwrap();
    for i in 0..8 {
        before.attach(0, &format!("k{i}"), 1).unwrap();
    }
    before.grant(0, 2, 60).unwrap();
    before.attach(0, "other", 2).unwrap();
    for held in 0u32..1 << (shards + 1) {
        for most in 0..12 {
            let mut host = Host::start(before.disk.clone(), 2, shards);
            let revoking = host.send(1, Request::LeaseRevoke { id: LeaseId(1) });
            let (mut in_flight, mut written) = (Vec::new(), 0);
            // The groups of `held` write `most` batches before the crash, the others all.
            let mut finishes = |group: GroupId, _: &DiskOp| {
                let is_held = held & 1 << group.0 != 0;
                written += u32::from(is_held);
                !is_held || written <= most
            };
            for _ in 0..40 {
                host.step(&mut in_flight, &mut finishes);
            }
            let answered = host.answers.remove(&revoking);
            let mut host = Host::start(host.disk, 1, shards);
            let (ttl, _, keys) = host.left(0, 1);
            assert!(answered.is_none() || ttl == -1, "an answered revoke is undone");
            match ttl {
                -1 => assert_eq!((host.keys(0), host.attached(1)), (vec!["other".into()], 0)),
                _ => assert_eq!((host.keys(0).len(), keys.len()), (9, 8)),
            }
            assert_eq!(host.leases(0).len(), if ttl == -1 { 1 } else { 2 }, "nothing half gone");
            outcomes[usize::from(ttl == -1)] += 1;
            // The number can be used again, and means another lease.
            if ttl == -1 {
                host.grant(0, 1, 60).unwrap();
                host.attach(0, "again", 1).unwrap();
                assert_eq!(host.left(0, 1).2, ["again"]);
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 5), "both happen: {outcomes:?}");
}

/// The epoch ends in every stage of a grant, a revoke, an expiry: what is not answered has an
/// unknown outcome, and the next epoch finishes what was begun.
#[test]
fn an_epoch_that_ends_leaves_no_lease_half_gone() {
    for steps in 0..25 {
        let mut host = Host::start(Disk::default(), 2, 3);
        host.tick();
        for id in [1, 2] {
            host.grant(0, id, 60).unwrap();
            for i in 0..4 {
                host.attach(0, &format!("k{id}-{i}"), id).unwrap();
            }
        }
        host.grant(0, 3, 2).unwrap();
        host.attach(0, "short", 3).unwrap();
        host.pass(2 * SECOND - TICK);
        host.now += TICK;
        host.cores.iter_mut().for_each(|core| core.tick(Nanos(host.now), 1));
        let asked = [
            host.send(0, grant(4, 60)),
            host.send(1, Request::LeaseRevoke { id: LeaseId(1) }),
            host.send(0, Request::LeaseRevoke { id: LeaseId(1) }),
            host.send(1, Request::LeaseKeepAlive { id: LeaseId(3) }),
        ];
        let mut in_flight = Vec::new();
        for _ in 0..steps {
            host.step(&mut in_flight, |_, _| true);
        }
        host.lose();
        while host.step(&mut in_flight, |_, _| true) {}
        host.run();
        let answers = asked.map(|ticket| host.answers.remove(&ticket).expect("an answer"));
        let revokes = [&answers[1], &answers[2]];
        let unknown = |answer: &&Answer| {
            matches!(answer, Err(Refusal::LeaderChanged | Refusal::LeaseNotFound))
        };
        assert!(revokes.iter().filter(|answer| unknown(answer)).count() >= 1, "{answers:?}");
        let told_gone = revokes.iter().any(|answer| **answer != Err(Refusal::LeaderChanged));
        let leases = host.leases(1);
        assert!(leases.contains(&2));
        assert_eq!(leases.contains(&4), host.grant(0, 4, 60).is_err());
        assert!(answers[0].is_err() || leases.contains(&4), "a grant is undone");
        assert!(!told_gone || !leases.contains(&1), "a revoke is undone");
        for id in [1, 2] {
            let expected = if leases.contains(&id) { 4 } else { 0 };
            assert_eq!(host.attached(id), expected, "after {steps} steps");
        }
        assert_eq!(host.attached(3), usize::from(leases.contains(&3)));
        assert_eq!(host.keys(0).len(), [1, 2, 3].map(|id| host.attached(id)).iter().sum::<usize>());
        host.pass(4 * SECOND);
        assert_eq!(host.attached(3), 0, "it expires in the next epoch");
        let mut host = Host::start(host.disk, 1, 3);
        assert!(!host.leases(0).contains(&3));
    }
}

/// More leases than a chunk of a checkpoint holds, more changes than make one due.
#[test]
fn many_leases_are_read_back_from_checkpoints() {
    let mut host = Host::start(Disk::default(), 2, 2);
    let count = 30_000;
    for first in (0..count).step_by(1000) {
        for id in first..first + 1000 {
            host.send(0, grant(id + 1, 60 + id));
        }
        host.run();
    }
    assert!(std::mem::take(&mut host.answers).values().all(Result::is_ok));
    host.attach(0, "k", 17).unwrap();
    assert!(!host.disk.list("group-000/checkpoint").unwrap().is_empty());
    for id in (2..=count).step_by(3) {
        host.send(1, Request::LeaseRevoke { id: LeaseId(id) });
    }
    host.run();
    assert!(std::mem::take(&mut host.answers).values().all(Result::is_ok));
    let before = host.leases(0);
    assert_eq!(before.len(), 20_000);
    let mut host = Host::start(host.disk, 2, 2);
    assert_eq!(host.leases(0), before);
    assert_eq!(host.attached(17), 0, "its lease was among them");
}

/// Leases that expire together do so in order, a batch at each tick, much faster than etcd's 1000 a
/// second, with puts in between.
#[test]
fn a_hundred_thousand_leases_expire_together_at_a_pace() {
    let mut host = Host::start(Disk::default(), 2, 2);
    host.tick();
    let count = 100_000;
    for first in (0..count).step_by(5000) {
        for id in first..first + 5000 {
            host.send(0, grant(id + 1, 10));
        }
        host.run();
    }
    for id in (1..=count).step_by(10) {
        host.send(1, attaching(&format!("k{id}"), id));
    }
    host.run();
    assert!(std::mem::take(&mut host.answers).values().all(Result::is_ok));
    host.pass(10 * SECOND - TICK);
    assert_eq!(host.leases(0).len(), count as usize);
    let (mut left, mut ticks) = (count as usize, 0);
    while left > 0 {
        host.pass(TICK);
        let now = host.leases(0);
        assert!(left - now.len() <= 500, "{} at one tick", left - now.len());
        assert!(now.is_sorted(), "the longest overdue first");
        left = now.len();
        ticks += 1;
        host.put(0, "p", "v");
    }
    assert!((200..250).contains(&ticks), "{ticks} ticks");
    assert_eq!(host.keys(0), ["p"]);
    let counters = host.cores[0].lease_counters().expect("the leader's core");
    assert_eq!((counters.granted, counters.expired), (100_000, 100_000));
    assert_eq!((counters.revoked, counters.ttls.sum), (100_000, 1_000_000));
    assert_eq!(counters.ttls.places[4], 100_000);
}

/// What a core asks of itself in the last moment of a turn: here the question to the leader, when a
/// shard has told its keys only because another one, behind it, has raised stable.
#[test]
fn a_lone_core_forgets_nothing_that_it_asks_itself() {
    let mut host = Host::start(Disk::default(), 1, 2);
    host.grant(0, 7, 60).unwrap();
    let key_of = |shard: u16| {
        let mut keys = (0..).map(|n| format!("k{n}"));
        let is_there = |key: &String| shard_of(key.as_bytes(), 2) == ShardId(shard);
        keys.find(is_there).expect("some key is there")
    };
    let mut in_flight = Vec::new();
    for shard in [1, 0] {
        host.send(0, attaching(&key_of(shard), 7));
        host.step(&mut in_flight, |_, _| false);
    }
    let asked = host.send(0, time_to_live(7));
    host.step(&mut in_flight, |_, _| false);
    for shard in [0, 1] {
        let group = GroupId::of(ShardId(shard));
        assert!(!host.answers.contains_key(&asked), "its keys are pending");
        while host.step(&mut in_flight, |of, _| of == group) {}
    }
    let Some(Ok(Reply::LeaseTimeToLive(reply))) = host.answers.remove(&asked) else {
        panic!("it was not answered");
    };
    assert_eq!(reply.keys.len(), 2);
}
