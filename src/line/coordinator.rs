//! Rounds: they give a request that writes and touches several shards its one revision.
//!
//! ```text
//!            Freeze ──▶ shards ──▶ Frozen      compares answered on the state before the txn
//!  queue ──▶ Check  ──▶ shards ──▶ Checked     refused? changes anything? (with Freeze if known)
//!            take revisions: one for each request that changes something
//!            Execute ─▶ shards ──▶ Executed    each logs its share with the participants, thaws
//! ```
//!
//! The leader has one coordinator, so there is no deadlock. A round carries a batch of requests,
//! none of which touches a key that an earlier one of it may change. From the freeze to the thaw a
//! frozen shard evaluates no write, so a revision taken in between is above everything the shard
//! has logged (R7 gives R2), and its frozen floor keeps stable below it. The next round may freeze
//! while the shares of this one are still being logged: orders reach a shard in order.
//!
//! Everything about blind puts (see `routed`) is known when their shards are frozen: they are part
//! of no check, and finished as soon as they are ordered, since their answer waits for stable and
//! so for their shards.
//!
//! Leases that end have rounds of their own: no put that may attach a key shares one with them. All
//! keys of a lease go at one revision; one without keys takes none. Nothing refuses that, and no
//! client waits for it, so it comes back as [`Revoked`].
//!
//! A round never waits for a disk. The shards release nothing; the router that has the call answers
//! when stable reaches the revision.

mod request;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use request::RoundRequest;
use request::{Large, Preparing};

use super::footprint::{Footprint, Looked, Touches};
use super::message::{
    CompareShare, Executed, Finished, Order, Report, RequestCompares, RequestExecute, RequestShare,
    RoundId, ShareReply, Verdict,
};
use super::routed::{RoundPlan, RoundTxn, RoutedPath, owners};
use crate::limits::{
    ROUND_BYTES_MAX, ROUND_LOOKS_FACTOR, ROUND_LOOKS_FREE, ROUND_QUEUE_MAX, ROUND_REQUESTS_MAX,
};
use crate::types::txn::{self, Path, PathOp};
use crate::types::{
    Epoch, LeaseId, Nanos, Origin, Refusal, RequestQueue, Revision, ShardId, ShardSet,
};

/// The part of the sequencer that the coordinator uses.
pub trait RoundLine {
    /// The newest revision handed out.
    fn newest(&self) -> Revision;
    /// The published stable.
    fn stable(&self) -> Revision;
    /// Hands out `count` revisions, the first of which is returned, for shards that are frozen.
    fn take(&mut self, count: u64) -> Revision;
}

/// The effects of a step of the coordinator.
#[derive(Debug, Default)]
pub struct RoundEffects {
    pub orders: Vec<(ShardId, Order)>,
    pub finished: Vec<Finished>,
    pub revoked: Vec<Revoked>,
}

/// The keys of a lease are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub lease: LeaseId,
    /// Final when stable reaches it: of the deletion, or of what the round saw if there was no key.
    pub revision: Revision,
}

/// The single coordinator of a leader.
#[derive(Debug)]
pub struct Coordinator {
    shards: u16,
    epoch: Option<Epoch>,
    queue: RequestQueue<RoundRequest>,
    /// Leases that end; as many as the leader lets go at a time.
    revokes: VecDeque<LeaseId>,
    /// Those of them that have so many keys that they have to be prepared one by one.
    large_revokes: VecDeque<LeaseId>,
    /// The last round that began was one of leases: the next is one of requests, if any wait.
    revoked_last: bool,
    next_round: RoundId,
    /// What the shards prepare; other requests that delete or compare ranges wait behind it.
    preparing: Option<Preparing>,
    /// The prepared request has had its round, or will have none: the shards may drop what is left
    /// of it.
    abandons: bool,
    /// The footprint of the round that is being gathered; kept for its memory.
    footprint: Footprint,
    /// Looks at the keys of requests so far: see `footprint`.
    looks: u64,
    /// The round that has shards frozen.
    open: Option<Round>,
    /// Rounds whose shares are being logged.
    executing: BTreeMap<RoundId, Round>,
}

#[derive(Debug)]
struct Round {
    id: RoundId,
    stage: Stage,
    missing: ShardSet,
    involved: ShardSet,
    /// The newest revision that each shard held when it was frozen, by shard.
    newest: Vec<Revision>,
    /// Shards that take no puts.
    refusing: Vec<(ShardId, Refusal)>,
    requests: Vec<ActiveRequest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Freezing,
    Checking,
    Executing,
}

/// The origin of a round request.
#[derive(Clone, Copy, Debug)]
enum Caller {
    Client(Origin),
    /// The leader: this lease ends.
    Lease(LeaseId),
}

/// A round request that takes part in the round under way.
#[derive(Debug)]
struct ActiveRequest {
    caller: Caller,
    deadline: Option<Nanos>,
    plan: RoundPlan,
    involved: ShardSet,
    /// Shards that have to prepare what it compares or deletes.
    unprepared: ShardSet,
    /// It does not fit this round.
    is_late: bool,
    /// By compare, then the shards' parts of its answer.
    compares: Vec<Vec<CompareShare>>,
    /// The path that it takes, once its branches are chosen.
    path: Option<Arc<RoutedPath>>,
    /// The verdicts of the shards; for a blind path only those that refuse it.
    verdicts: Vec<(ShardId, Verdict)>,
    /// The revision that was decided: the answer's header.
    revision: Revision,
    /// The shards that have not yet sent the result of their share; for a blind path no shard has
    /// to.
    missing: ShardSet,
    replies: Vec<ShareReply>,
}

impl Coordinator {
    /// Closed until [`Coordinator::open`].
    pub fn new(shards: u16) -> Coordinator {
        Coordinator {
            shards,
            epoch: None,
            queue: RequestQueue::default(),
            revokes: VecDeque::new(),
            large_revokes: VecDeque::new(),
            revoked_last: false,
            next_round: RoundId(1),
            preparing: None,
            abandons: false,
            footprint: Footprint::default(),
            looks: 0,
            open: None,
            executing: BTreeMap::new(),
        }
    }

    /// The epoch is open: rounds may begin.
    pub fn open(&mut self, epoch: Epoch) {
        assert!(self.open.is_none() && self.executing.is_empty(), "rounds outlived their epoch");
        self.epoch = Some(epoch);
    }

    /// The epoch is over: what is under way has an unknown outcome.
    pub fn halt(&mut self, effects: &mut RoundEffects) {
        self.epoch = None;
        let rounds =
            self.open.take().into_iter().chain(std::mem::take(&mut self.executing).into_values());
        let clients = |request: ActiveRequest| match request.caller {
            Caller::Client(origin) => Some(origin),
            Caller::Lease(_) => None,
        };
        let requests = rounds.flat_map(|round| round.requests).filter_map(clients);
        self.revokes.clear();
        self.large_revokes.clear();
        let preparing = self.preparing.take().and_then(|preparing| preparing.what.origin());
        for origin in
            requests.chain(preparing).chain(self.queue.take_all().map(|request| request.origin))
        {
            let outcome = Err(Refusal::LeaderChanged);
            effects.finished.push(Finished { origin, revision: Revision::EMPTY, outcome });
        }
    }

    /// Whether a round has shards frozen or shares are being logged: the core polls, not parks.
    pub fn is_busy(&self) -> bool {
        self.open.is_some() || !self.executing.is_empty()
    }

    /// Requests waiting for a round.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Looks at keys and ranges that it has taken to find requests that can share a round.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// Takes a request; one too many is refused.
    pub fn submit(&mut self, request: RoundRequest, effects: &mut RoundEffects) {
        let outcome = if self.epoch.is_none() {
            Err(Refusal::LeaderChanged)
        } else if self.queue.len() >= ROUND_QUEUE_MAX {
            Err(Refusal::TooManyRequests)
        } else {
            self.queue.push_back(request);
            return;
        };
        effects.finished.push(Finished {
            origin: request.origin,
            revision: Revision::EMPTY,
            outcome,
        });
    }

    /// Takes leases of which it is certain that nothing is attached to them any more. Each comes
    /// back once, unless the epoch ends before.
    pub fn revoke(&mut self, leases: impl IntoIterator<Item = LeaseId>) {
        assert!(self.epoch.is_some(), "leases end in an open epoch");
        self.revokes.extend(leases);
    }

    /// The client left: drop its request if no round has it yet.
    pub fn cancel(&mut self, origin: Origin) {
        self.queue.cancel(origin);
        let preparing = self.preparing.take_if(|it| it.what.origin() == Some(origin));
        self.abandons |= preparing.is_some();
    }

    /// Begins the next round if none has shards frozen.
    pub fn turn(&mut self, now: Nanos, line: &mut impl RoundLine, effects: &mut RoundEffects) {
        let Some(epoch) = self.epoch else { return };
        if self.open.is_some() {
            return;
        }
        if std::mem::take(&mut self.abandons) {
            let shards = (0..self.shards).map(ShardId);
            effects.orders.extend(shards.map(|shard| (shard, Order::Abandon { epoch })));
        }
        let requests = self.next_cases(now, effects);
        if requests.is_empty() {
            return;
        }
        let id = self.next_round;
        self.next_round = RoundId(id.0 + 1);
        let involved =
            requests.iter().fold(ShardSet::EMPTY, |all, request| all.union(request.involved));
        let round = Round {
            id,
            stage: Stage::Freezing,
            missing: involved,
            involved,
            newest: vec![Revision::EMPTY; usize::from(self.shards)],
            refusing: Vec::new(),
            requests,
        };
        let logged = |request: &ActiveRequest| Touches::of(&request.plan).logged_bytes();
        let bytes = round.requests.iter().map(logged).sum();
        let mut compares = round.compares(self.shards);
        for shard in involved.iter() {
            let order = Order::Freeze {
                epoch,
                round: id,
                bytes,
                compares: std::mem::take(&mut compares[usize::from(shard.0)]),
                check: round.shares_for(shard, |request| !request.is_conditional()),
                current: line.newest(),
            };
            effects.orders.push((shard, order));
        }
        self.open = Some(round);
    }

    /// Requests and leases take turns, if both wait.
    fn next_cases(&mut self, now: Nanos, effects: &mut RoundEffects) -> Vec<ActiveRequest> {
        for leases in [!self.revoked_last, self.revoked_last] {
            let requests = if leases { self.gather_revokes() } else { self.gather(now, effects) };
            if !requests.is_empty() {
                self.revoked_last = leases;
                return requests;
            }
        }
        Vec::new()
    }

    fn gather_revokes(&mut self) -> Vec<ActiveRequest> {
        match self.take_prepared(|what| matches!(what, Large::Lease(_))) {
            Some(Large::Lease(lease)) => self.revokes.push_front(lease),
            _ if self.preparing.is_none() => {
                let next = self.large_revokes.pop_front();
                next.into_iter().for_each(|lease| self.revokes.push_front(lease));
            }
            _ => {}
        }
        let count = self.revokes.len().min(ROUND_REQUESTS_MAX);
        let shards = self.shards;
        self.revokes.drain(..count).map(|lease| ActiveRequest::revoke(lease, shards)).collect()
    }

    /// Takes the requests of the next round off the queue, in order of arrival. One that conflicts
    /// with an earlier one is looked at again in later rounds; so that this does not add up, a
    /// round looks at no more of them than it takes of others.
    fn gather(&mut self, now: Nanos, effects: &mut RoundEffects) -> Vec<ActiveRequest> {
        let mut requests: Vec<ActiveRequest> = Vec::new();
        self.footprint.clear();
        let mut left = Vec::new();
        let (mut bytes, mut looks) = (0, ROUND_LOOKS_FREE);
        if let Some(Large::Request(request)) =
            self.take_prepared(|it| matches!(it, Large::Request(_)))
        {
            self.queue.push_front(request);
        }
        let is_preparing = self.preparing.is_some();
        let footprint = &mut self.footprint;
        while let Some(request) = self.queue.pop_front() {
            if request.deadline.is_some_and(|deadline| deadline <= now) {
                let outcome = Err(Refusal::DeadlineExceeded);
                let origin = request.origin;
                effects.finished.push(Finished { origin, revision: Revision::EMPTY, outcome });
                continue;
            }
            if is_preparing && request.txn.plan.takes_ranges() {
                left.push(request);
                if left.len() == ROUND_REQUESTS_MAX {
                    break;
                }
                continue;
            }
            let touches = Touches::of(&request.txn.plan);
            // The first waits for nobody, whatever it takes to see that.
            let most = if requests.is_empty() { usize::MAX } else { looks };
            let earlier = requests.iter().map(|request| Touches::of(&request.plan));
            match footprint.look(touches, most, earlier) {
                Looked::Free(looked) => {
                    looks = looks.saturating_add(ROUND_LOOKS_FACTOR * looked);
                    self.looks += looked as u64;
                    bytes += touches.logged_bytes();
                    if bytes > ROUND_BYTES_MAX && !requests.is_empty() {
                        left.push(request);
                        break;
                    }
                    footprint.add(touches);
                    requests.push(ActiveRequest::new(request));
                }
                Looked::Touched(looked) => {
                    looks = looks.saturating_sub(looked);
                    self.looks += looked as u64;
                    left.push(request);
                }
                Looked::Unknown => {
                    self.looks += looks as u64;
                    looks = 0;
                    left.push(request);
                }
            }
            let full = requests.len() == ROUND_REQUESTS_MAX || bytes >= ROUND_BYTES_MAX;
            if full || left.len() == ROUND_REQUESTS_MAX || looks == 0 {
                break;
            }
        }
        left.into_iter().rev().for_each(|request| self.queue.push_front(request));
        requests
    }

    /// Takes a shard's report; those of another epoch or round are dropped.
    pub fn report(
        &mut self,
        report: Report,
        line: &mut impl RoundLine,
        effects: &mut RoundEffects,
    ) {
        match report {
            Report::Frozen { shard, epoch, round, newest, compares, verdicts, refuses_puts } => {
                let Some(open) = self.round_in(epoch, round, Stage::Freezing) else { return };
                assert!(open.missing.remove(shard), "a shard froze twice");
                open.newest[usize::from(shard.0)] = newest;
                open.refusing.extend(refuses_puts.map(|refusal| (shard, refusal)));
                open.take_compares(compares);
                open.take_verdicts(shard, verdicts);
                if open.missing.is_empty() {
                    self.check(line, effects);
                }
            }
            Report::PutOff { shard, epoch, round, unprepared, later } => {
                let ours = self.epoch == Some(epoch);
                if let Some(open) = self.open.as_mut().filter(|open| ours && open.id == round) {
                    open.put_off(shard, &unprepared, &later);
                }
            }
            Report::Prepared { shard, epoch, round } => {
                let ours = self.epoch == Some(epoch);
                let preparing = self.preparing.as_mut();
                if let Some(preparing) = preparing.filter(|it| ours && it.round == round) {
                    preparing.missing.remove(shard);
                }
            }
            Report::Checked { shard, epoch, round, verdicts } => {
                let Some(open) = self.round_in(epoch, round, Stage::Checking) else { return };
                assert!(open.missing.remove(shard), "a shard checked twice");
                open.take_verdicts(shard, verdicts);
                if open.missing.is_empty() {
                    self.execute(line, effects);
                }
            }
            Report::Executed { shard, epoch, round, replies } => {
                if self.epoch == Some(epoch) {
                    self.executed(shard, round, replies, effects);
                }
            }
            Report::Led { .. }
            | Report::Opened { .. }
            | Report::Lost { .. }
            | Report::Compacted { .. }
            | Report::CompactedPhysically { .. } => unreachable!("not a report of a round"),
        }
    }

    fn round_in(&mut self, epoch: Epoch, round: RoundId, stage: Stage) -> Option<&mut Round> {
        let ours = self.epoch == Some(epoch);
        self.open.as_mut().filter(|open| ours && open.id == round && open.stage == stage)
    }

    /// Every compare is answered: pick the branches, have the paths checked that were not known.
    fn check(&mut self, line: &mut impl RoundLine, effects: &mut RoundEffects) {
        let epoch = self.epoch.expect("a round has an epoch");
        let mut open = self.open.take().expect("a round is open");
        open.stage = Stage::Checking;
        // Those of which some compare is not decided.
        let undecided =
            |request: &mut ActiveRequest| request.path.is_none() && request.is_put_off();
        let undecided = open.requests.extract_if(.., undecided).collect();
        self.put_off(epoch, open.id, undecided, effects);
        for request in open.requests.iter_mut().filter(|request| request.path.is_none()) {
            request.choose(self.shards);
        }
        for shard in open.involved.iter() {
            let shares = open.shares_for(shard, ActiveRequest::is_conditional);
            if !shares.is_empty() {
                open.missing.insert(shard);
                let current = line.newest();
                effects
                    .orders
                    .push((shard, Order::Check { epoch, round: open.id, shares, current }));
            }
        }
        let is_checked = open.missing.is_empty();
        self.open = Some(open);
        if is_checked {
            self.execute(line, effects);
        }
    }

    /// Nothing can be refused any more: take the revisions, have the shares logged.
    fn execute(&mut self, line: &mut impl RoundLine, effects: &mut RoundEffects) {
        let epoch = self.epoch.expect("a round has an epoch");
        let mut open = self.open.take().expect("a round is open");
        open.stage = Stage::Executing;
        open.judge_blind();
        let is_put_off =
            |request: &mut ActiveRequest| request.is_put_off() && request.refusal().is_none();
        let put_off = open.requests.extract_if(.., is_put_off).collect();
        self.put_off(epoch, open.id, put_off, effects);
        let stable = line.stable();
        let changing =
            open.requests.iter().filter(|request| !request.participants().is_empty()).count();
        let mut revision = if changing > 0 { line.take(changing as u64) } else { stable };
        let mut orders: Vec<Vec<RequestExecute>> = vec![Vec::new(); usize::from(self.shards)];
        for (number, request) in open.requests.iter_mut().enumerate() {
            let seen = request.involved.iter().map(|shard| open.newest[usize::from(shard.0)]);
            request.revision = seen.max().unwrap_or(stable).max(stable);
            if request.refusal().is_some() {
                continue;
            }
            let path = request.path.as_ref().expect("every path is chosen");
            request.revision = request.revision.max(path.looks_at()); // C11
            let participants = request.participants();
            if !participants.is_empty() {
                request.revision = revision;
                revision = revision.next();
            }
            for shard in path.owners().iter() {
                if request.is_revoke() && !participants.contains(shard) {
                    continue; // No key of the lease is there.
                }
                if !path.is_blind() {
                    request.missing.insert(shard);
                    open.missing.insert(shard);
                }
                let change =
                    participants.contains(shard).then_some((request.revision, participants));
                let execute =
                    RequestExecute { slot: number as u16, change, path: Arc::clone(path) };
                orders[usize::from(shard.0)].push(execute);
            }
        }
        for shard in open.involved.iter() {
            let shares = std::mem::take(&mut orders[usize::from(shard.0)]);
            let order = if shares.is_empty() {
                Order::Thaw { epoch, round: open.id }
            } else {
                let reports = open.missing.contains(shard);
                Order::Execute { epoch, round: open.id, shares, reports }
            };
            effects.orders.push((shard, order));
        }
        open.requests.iter_mut().for_each(|request| request.finish_if_whole(effects));
        if !open.missing.is_empty() {
            self.executing.insert(open.id, open);
        }
    }

    /// Has one of the requests prepared that have to be, if nothing else is; the others wait for
    /// another round.
    fn put_off(
        &mut self,
        epoch: Epoch,
        round: RoundId,
        requests: Vec<ActiveRequest>,
        effects: &mut RoundEffects,
    ) {
        for request in requests.into_iter().rev() {
            let ActiveRequest { caller, deadline, plan, involved, unprepared, path, .. } = request;
            let compares = plan.range_compares();
            let what = match caller {
                Caller::Client(origin) => Large::Request(RoundRequest {
                    origin,
                    deadline,
                    txn: RoundTxn { involved, plan },
                }),
                Caller::Lease(lease) => Large::Lease(lease),
            };
            let is_small = unprepared.is_empty();
            if is_small || self.preparing.is_some() {
                match what {
                    Large::Request(request) => self.queue.push_front(request),
                    Large::Lease(lease) if is_small => self.revokes.push_front(lease),
                    Large::Lease(lease) => self.large_revokes.push_front(lease),
                }
                continue;
            }
            for shard in unprepared.iter() {
                let (compares, path) = (Arc::clone(&compares), path.clone());
                let order = Order::Prepare { epoch, round, compares, path };
                effects.orders.push((shard, order));
            }
            self.preparing = Some(Preparing { round, missing: unprepared, what });
            self.abandons = false;
        }
    }

    /// What was being prepared, if it is and it is `wanted`: its round is the next.
    fn take_prepared(&mut self, wanted: impl Fn(&Large) -> bool) -> Option<Large> {
        let is_ready = |it: &mut Preparing| it.missing.is_empty() && wanted(&it.what);
        let preparing = self.preparing.take_if(is_ready)?;
        self.abandons = true;
        Some(preparing.what)
    }

    fn executed(
        &mut self,
        shard: ShardId,
        id: RoundId,
        replies: Vec<(u16, ShareReply)>,
        effects: &mut RoundEffects,
    ) {
        let Some(round) = self.executing.get_mut(&id) else { return };
        for (number, reply) in replies {
            let request = &mut round.requests[usize::from(number)];
            assert!(request.missing.remove(shard), "a share was executed twice");
            request.replies.push(reply);
            request.finish_if_whole(effects);
        }
        // A share that reads much is told of by itself, when it has read.
        if round.requests.iter().all(|request| !request.missing.contains(shard)) {
            round.missing.remove(shard);
        }
        if round.missing.is_empty() {
            self.executing.remove(&id);
        }
    }
}

impl Round {
    /// Returns the compares that concern each shard, by shard.
    fn compares(&self, shards: u16) -> Vec<Vec<RequestCompares>> {
        let mut found: Vec<Vec<RequestCompares>> = vec![Vec::new(); usize::from(shards)];
        for (slot, request) in self.requests.iter().enumerate() {
            let RoundPlan::Conditional(txn) = &request.plan else { continue };
            let slot = slot as u16;
            for (number, compare) in (0..).zip(txn::compares(txn)) {
                for shard in owners(&compare.range, shards).iter() {
                    let of_shard = &mut found[usize::from(shard.0)];
                    if of_shard.last().is_none_or(|last| last.slot != slot) {
                        of_shard.push(RequestCompares { slot, compares: Vec::new() });
                    }
                    let last = of_shard.last_mut().expect("just pushed");
                    last.compares.push((number, compare.clone()));
                }
            }
        }
        found
    }

    /// The shares of `shard` that it has to check, of the requests that are `wanted`.
    fn shares_for(
        &self,
        shard: ShardId,
        wanted: impl Fn(&ActiveRequest) -> bool,
    ) -> Vec<RequestShare> {
        let mut found = Vec::new();
        for (slot, request) in
            self.requests.iter().enumerate().filter(|(_, request)| wanted(request))
        {
            let path = request.path.as_ref();
            let Some(path) = path.filter(|path| !path.is_blind()) else { continue };
            if path.owners().contains(shard) {
                found.push(RequestShare { slot: slot as u16, path: Arc::clone(path) });
            }
        }
        found
    }

    /// The verdict on blind paths: shards that take no puts refuse theirs, at their first.
    fn judge_blind(&mut self) {
        for (shard, refusal) in &self.refusing {
            for request in &mut self.requests {
                let path = request.path.as_ref().filter(|path| path.is_blind());
                if let Some((sub, _)) = path.and_then(|path| path.ops_of(*shard).next()) {
                    request.verdicts.push((*shard, Err((sub, refusal.clone()))));
                }
            }
        }
    }

    fn put_off(&mut self, shard: ShardId, unprepared: &[u16], later: &[u16]) {
        for &request in unprepared {
            self.requests[usize::from(request)].unprepared.insert(shard);
        }
        later.iter().for_each(|&request| self.requests[usize::from(request)].is_late = true);
    }

    fn take_compares(&mut self, answers: Vec<(u16, Vec<(u32, CompareShare)>)>) {
        for (slot, compares) in answers {
            for (number, share) in compares {
                self.requests[usize::from(slot)].compares[number as usize].push(share);
            }
        }
    }

    fn take_verdicts(&mut self, shard: ShardId, verdicts: Vec<(u16, Verdict)>) {
        for (slot, verdict) in verdicts {
            self.requests[usize::from(slot)].verdicts.push((shard, verdict));
        }
    }
}

impl ActiveRequest {
    fn new(request: RoundRequest) -> ActiveRequest {
        let (compares, path) = match &request.txn.plan {
            RoundPlan::Unconditional(path) => (Vec::new(), Some(Arc::clone(path))),
            RoundPlan::Conditional(txn) => (vec![Vec::new(); txn::compares(txn).len()], None),
        };
        ActiveRequest {
            caller: Caller::Client(request.origin),
            deadline: request.deadline,
            unprepared: ShardSet::EMPTY,
            is_late: false,
            involved: request.txn.involved,
            plan: request.txn.plan,
            compares,
            path,
            verdicts: Vec::new(),
            revision: Revision::EMPTY,
            missing: ShardSet::EMPTY,
            replies: Vec::new(),
        }
    }

    fn revoke(lease: LeaseId, shards: u16) -> ActiveRequest {
        let path = Arc::new(RoutedPath::new(Path::of(PathOp::Revoke(lease)), shards));
        ActiveRequest {
            caller: Caller::Lease(lease),
            deadline: None,
            unprepared: ShardSet::EMPTY,
            is_late: false,
            involved: ShardSet::all(shards),
            plan: RoundPlan::Unconditional(Arc::clone(&path)),
            compares: Vec::new(),
            path: Some(path),
            verdicts: Vec::new(),
            revision: Revision::EMPTY,
            missing: ShardSet::EMPTY,
            replies: Vec::new(),
        }
    }

    fn is_put_off(&self) -> bool {
        self.is_late || !self.unprepared.is_empty()
    }

    fn is_revoke(&self) -> bool {
        matches!(self.caller, Caller::Lease(_))
    }

    /// Whether what it does depends on compares.
    fn is_conditional(&self) -> bool {
        matches!(self.plan, RoundPlan::Conditional(_))
    }

    fn choose(&mut self, shards: u16) {
        let RoundPlan::Conditional(txn) = &self.plan else { unreachable!("its path was known") };
        let holds: Vec<bool> = self
            .compares
            .iter()
            .map(|shares| CompareShare::combine(shares.iter().copied()))
            .collect();
        self.path = Some(Arc::new(RoutedPath::new(txn::choose(txn, &holds), shards)));
    }

    /// Why it is refused, if it is: the first operation, in the request's order, that fails.
    fn refusal(&self) -> Option<&Refusal> {
        let refused = self.verdicts.iter().filter_map(|(_, verdict)| verdict.as_ref().err());
        refused.min_by_key(|(sub, _)| *sub).map(|(_, refusal)| refusal)
    }

    /// The shards that log something, unless it is refused.
    fn participants(&self) -> ShardSet {
        let mut participants = ShardSet::EMPTY;
        if self.refusal().is_some() {
            return participants;
        }
        let blind = self.path.as_ref().filter(|path| path.is_blind());
        if let Some(path) = blind {
            participants = path.owners();
        } else {
            let changing = self.verdicts.iter().filter(|(_, verdict)| *verdict == Ok(true));
            changing.for_each(|(shard, _)| participants.insert(*shard));
        }
        participants
    }

    fn finish_if_whole(&mut self, effects: &mut RoundEffects) {
        if !self.missing.is_empty() {
            return;
        }
        let origin = match self.caller {
            Caller::Client(origin) => origin,
            Caller::Lease(lease) => {
                assert!(self.refusal().is_none(), "nothing refuses that lease {lease} ends");
                effects.revoked.push(Revoked { lease, revision: self.revision });
                return;
            }
        };
        let outcome = match self.refusal() {
            Some(refusal) => Err(refusal.clone()),
            None => {
                let path = self.path.take().expect("a request finishes once");
                Ok(Executed { path, shares: std::mem::take(&mut self.replies) })
            }
        };
        effects.finished.push(Finished { origin, revision: self.revision, outcome });
    }
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
