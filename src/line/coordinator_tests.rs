//! What the coordinator orders, and when a request is finished.

use super::*;
use crate::types::{CoreId, DeleteRangeRequest, KeyRange, Op, PutRequest, Sub, TxnRequest};
use bytes::Bytes;

struct FakeLine(i64);

impl RoundLine for FakeLine {
    fn newest(&self) -> Revision {
        Revision(self.0)
    }

    fn stable(&self) -> Revision {
        Revision(self.0 - 3)
    }

    fn take(&mut self, count: u64) -> Revision {
        self.0 += count as i64;
        Revision(self.0 - count as i64 + 1)
    }
}

const EPOCH: Epoch = Epoch(5);

/// A txn that puts so many keys that every one of a few shards has some.
fn puts(call: u64, prefix: &str, prev_kv: bool) -> RoundRequest {
    let put = |key: String| PutRequest { prev_kv, ..PutRequest::of(key.into(), Bytes::new()) };
    let success = (0..9).map(|i| Op::Put(put(format!("{prefix}k{i}")))).collect();
    let txn = TxnRequest { success, ..TxnRequest::default() };
    let txn = RoundTxn::new(txn, ShardSet::all(2), 2);
    RoundRequest { origin: Origin { core: CoreId(0), call, part: 0 }, deadline: None, txn }
}

/// Freezes and executes the round that `effects` order, on shards of which `with_keys` says
/// whether a lease has keys there. Returns how many requests each shard was asked about, and what
/// it executed.
fn carry_out(
    coordinator: &mut Coordinator,
    line: &mut FakeLine,
    effects: &mut RoundEffects,
    with_keys: impl Fn(ShardId, LeaseId) -> bool,
) -> (Vec<usize>, Vec<(ShardId, Revision)>) {
    let (mut asked, mut executed) = (Vec::new(), Vec::new());
    while !effects.orders.is_empty() {
        for (shard, order) in std::mem::take(&mut effects.orders) {
            let report = match order {
                Order::Freeze { epoch, round, check, .. } => {
                    asked.push(check.len());
                    let verdict = |request: &RequestShare| match request.path.path().ops[..] {
                        [PathOp::Revoke(lease)] => with_keys(shard, lease),
                        _ => true,
                    };
                    let verdicts = check.iter().map(|c| (c.slot, Ok(verdict(c)))).collect();
                    let newest = Revision(40 + i64::from(shard.0));
                    let compares = Vec::new();
                    let refuses_puts = None;
                    Report::Frozen { shard, epoch, round, newest, compares, verdicts, refuses_puts }
                }
                Order::Execute { epoch, round, shares, reports } => {
                    executed.extend(shares.iter().map(|s| (shard, s.change.unwrap().0)));
                    if !reports {
                        continue;
                    }
                    let replies = shares.iter().map(|s| (s.slot, Vec::new())).collect();
                    Report::Executed { shard, epoch, round, replies }
                }
                _ => continue,
            };
            coordinator.report(report, line, effects);
        }
    }
    (asked, executed)
}

#[test]
fn leases_share_a_round_and_take_a_revision_each_if_they_have_keys() {
    let (mut coordinator, mut line) = (Coordinator::new(3), FakeLine(50));
    let mut effects = RoundEffects::default();
    coordinator.open(EPOCH);
    coordinator.revoke([7, 8, 9].map(LeaseId));
    coordinator.turn(Nanos(0), &mut line, &mut effects);
    // 7 has keys on two shards, 8 nowhere, 9 on one.
    let with_keys =
        |shard: ShardId, lease: LeaseId| matches!((shard.0, lease.0), (0 | 2, 7) | (1, 9));
    let (asked, executed) = carry_out(&mut coordinator, &mut line, &mut effects, with_keys);
    assert_eq!(asked, [3, 3, 3]);
    let revision = |number| Revision(number);
    let expected = [(0, 51), (1, 52), (2, 51)].map(|(s, r)| (ShardId(s), revision(r)));
    assert_eq!(executed, expected);
    effects.revoked.sort_by_key(|revoked| revoked.lease);
    let revoked: Vec<_> = effects.revoked.iter().map(|r| (r.lease.0, r.revision.0)).collect();
    assert_eq!(revoked, [(7, 51), (8, 47), (9, 52)], "8: what its round saw");
    assert!(effects.finished.is_empty() && !coordinator.is_busy());
}

#[test]
fn leases_and_requests_take_turns_and_share_no_round() {
    let (mut coordinator, mut line) = (Coordinator::new(2), FakeLine(50));
    let mut effects = RoundEffects::default();
    coordinator.open(EPOCH);
    let leases = 3 * ROUND_REQUESTS_MAX as i64;
    coordinator.revoke((1..=leases).map(LeaseId));
    for call in 0..2 {
        // All on the same keys, so that each waits for the one before.
        coordinator.submit(puts(call, "", true), &mut effects);
    }
    let mut rounds = Vec::new();
    for _ in 0..5 {
        coordinator.turn(Nanos(0), &mut line, &mut effects);
        let (asked, _) = carry_out(&mut coordinator, &mut line, &mut effects, |_, _| true);
        rounds.push((asked[0], effects.revoked.drain(..).count(), effects.finished.len()));
    }
    let many = ROUND_REQUESTS_MAX;
    assert_eq!(rounds, [(many, many, 0), (1, 0, 1), (many, many, 1), (1, 0, 2), (many, many, 2)]);
    // One that is too late takes nobody's turn.
    coordinator.revoke([LeaseId(1)]);
    coordinator.revoked_last = true;
    let request = RoundRequest { deadline: Some(Nanos(1)), ..puts(9, "", false) };
    coordinator.submit(request, &mut effects);
    coordinator.turn(Nanos(2), &mut line, &mut effects);
    assert!(coordinator.is_busy());
    coordinator.halt(&mut effects);
    assert_eq!(effects.finished.len(), 3, "nobody waits for the lease");
}

/// A coordinator of two shards that has one blind txn and one that asks for what was there,
/// and a report of each shard that it froze; shard 1 says `refuses`.
fn frozen(refuses: Option<Refusal>) -> (Coordinator, FakeLine, RoundEffects, Vec<Report>) {
    let (mut coordinator, mut line) = (Coordinator::new(2), FakeLine(50));
    let mut effects = RoundEffects::default();
    coordinator.open(EPOCH);
    coordinator.submit(puts(1, "blind", false), &mut effects);
    coordinator.submit(puts(2, "other", true), &mut effects);
    coordinator.turn(Nanos(0), &mut line, &mut effects);
    let reports = effects.orders.drain(..).map(|(shard, order)| {
        let Order::Freeze { epoch, round, check, .. } = order else { panic!("a freeze") };
        assert_eq!(check.iter().map(|request| request.slot).collect::<Vec<_>>(), [1], "not blind");
        let verdict = match &refuses {
            Some(refusal) if shard.0 == 1 => Err((Sub(0), refusal.clone())),
            _ => Ok(true),
        };
        Report::Frozen {
            shard,
            epoch,
            round,
            newest: Revision(40),
            compares: Vec::new(),
            verdicts: vec![(1, verdict)],
            refuses_puts: refuses.clone().filter(|_| shard.0 == 1),
        }
    });
    let reports = reports.collect();
    (coordinator, line, effects, reports)
}

#[test]
fn a_blind_txn_is_finished_when_it_is_ordered_and_another_when_its_shares_have_reported() {
    let (mut coordinator, mut line, mut effects, reports) = frozen(None);
    for report in reports {
        coordinator.report(report, &mut line, &mut effects);
    }
    let [finished] = &effects.finished[..] else { panic!("{effects:?}") };
    assert_eq!((finished.origin.call, finished.revision), (1, Revision(51)));
    assert!(finished.outcome.as_ref().is_ok_and(|executed| executed.shares.is_empty()));
    assert!(coordinator.is_busy());
    for (shard, order) in std::mem::take(&mut effects.orders) {
        let Order::Execute { epoch, round, shares, reports } = order else { panic!("{order:?}") };
        let both = ShardSet::all(2);
        let changes: Vec<_> = shares.iter().map(|share| share.change).collect();
        assert_eq!(changes, [Some((Revision(51), both)), Some((Revision(52), both))]);
        assert!(reports);
        let report = Report::Executed { shard, epoch, round, replies: vec![(1, Vec::new())] };
        coordinator.report(report, &mut line, &mut effects);
    }
    assert_eq!(effects.finished[1].revision, Revision(52));
    assert!(!coordinator.is_busy());
}

#[test]
fn a_shard_that_takes_no_puts_refuses_plain_txns_and_no_revision_is_taken() {
    let (mut coordinator, mut line, mut effects, reports) = frozen(Some(Refusal::NoSpace));
    for report in reports {
        coordinator.report(report, &mut line, &mut effects);
    }
    let outcomes = effects.finished.iter().map(|finished| finished.outcome.as_ref().err());
    assert_eq!(outcomes.collect::<Vec<_>>(), [Some(&Refusal::NoSpace); 2]);
    assert!(effects.orders.iter().all(|(_, order)| matches!(order, Order::Thaw { .. })));
    assert_eq!(line.newest(), Revision(50), "R5");
    assert!(!coordinator.is_busy());
}

/// A txn of a range delete for each number.
fn deletes(call: usize, numbers: impl Iterator<Item = usize>) -> RoundRequest {
    let key = |number: usize| Bytes::from(format!("{number:06}"));
    let success = numbers.map(|number| {
        let range = KeyRange::from_api(key(2 * number), key(2 * number + 1));
        Op::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
    });
    let txn = TxnRequest { success: success.collect(), ..TxnRequest::default() };
    let txn = RoundTxn::new(txn, ShardSet::all(2), 2);
    let origin = Origin { core: CoreId(0), call: call as u64, part: 0 };
    RoundRequest { origin, deadline: None, txn }
}

/// Carries out all `requests`; in how many rounds, and with how many looks at their keys.
fn looks_for(requests: impl Iterator<Item = RoundRequest>) -> (usize, u64) {
    let (mut coordinator, mut line) = (Coordinator::new(2), FakeLine(50));
    let mut effects = RoundEffects::default();
    coordinator.open(EPOCH);
    requests.for_each(|request| coordinator.submit(request, &mut effects));
    let mut rounds = 0;
    while coordinator.queued() > 0 {
        coordinator.turn(Nanos(0), &mut line, &mut effects);
        carry_out(&mut coordinator, &mut line, &mut effects, |_, _| true);
        rounds += 1;
    }
    (rounds, coordinator.looks())
}

#[test]
fn who_may_share_a_round_is_found_in_proportion_to_what_was_asked() {
    const TXNS: usize = 300;
    const DELETES: usize = 128;
    const OPS: u64 = (TXNS * DELETES) as u64;
    let own = |i: usize| i * DELETES..(i + 1) * DELETES;
    // Ranges of their own, all in a round or two.
    let (rounds, looks) = looks_for((0..TXNS).map(|i| deletes(i, own(i))));
    assert!(rounds <= 2 && looks <= 2 * OPS, "{rounds} rounds, {looks} looks");
    // All the same ranges: the first look says so.
    let (rounds, looks) = looks_for((0..TXNS).map(|i| deletes(i, own(0))));
    assert_eq!(rounds, TXNS);
    assert!(looks <= 3 * OPS, "{looks} looks");
    // Only the last range is the same, so that each look goes all the way.
    let last_same = |i: usize| deletes(i, own(i).chain([TXNS * DELETES]));
    let (rounds, looks) = looks_for((0..TXNS).map(last_same));
    assert_eq!(rounds, TXNS);
    let most = OPS * (2 + ROUND_LOOKS_FACTOR as u64) + (TXNS * ROUND_LOOKS_FREE) as u64;
    assert!(looks <= most, "{looks} looks of {most}");
}

#[test]
fn requests_overtake_one_that_has_to_wait() {
    let (mut coordinator, mut line) = (Coordinator::new(2), FakeLine(50));
    let mut effects = RoundEffects::default();
    coordinator.open(EPOCH);
    for (call, prefix) in ["same", "same", "same", "other"].into_iter().enumerate() {
        coordinator.submit(puts(call as u64, prefix, false), &mut effects);
    }
    coordinator.turn(Nanos(0), &mut line, &mut effects);
    carry_out(&mut coordinator, &mut line, &mut effects, |_, _| true);
    let finished: Vec<_> = effects.finished.drain(..).map(|one| one.origin.call).collect();
    assert_eq!(finished, [0, 3]);
    // Those that waited are the oldest.
    coordinator.submit(puts(9, "same", false), &mut effects);
    coordinator.turn(Nanos(0), &mut line, &mut effects);
    carry_out(&mut coordinator, &mut line, &mut effects, |_, _| true);
    let finished: Vec<_> = effects.finished.drain(..).map(|one| one.origin.call).collect();
    assert_eq!((finished, coordinator.queued()), (vec![1], 2));
}
