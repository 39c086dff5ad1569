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

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::footprint::{Footprint, Looked, Touches};
use super::message::{
    CaseCompares, CaseExecute, CaseShare, CompareShare, Executed, Finished, Order, Report, RoundId,
    ShareReply, Verdict,
};
use super::routed::{Course, RoundTxn, RoutedPath, owners};
use crate::limits::{
    ROUND_BYTES_MAX, ROUND_LOOKS_FACTOR, ROUND_LOOKS_FREE, ROUND_QUEUE_MAX, ROUND_REQUESTS_MAX,
};
use crate::types::txn::{self, Path, PathOp};
use crate::types::{
    Cancellable, Epoch, LeaseId, Nanos, Origin, Refusal, RequestQueue, Revision, ShardId, ShardSet,
};

/// What the coordinator asks of the sequencer.
pub trait RoundLine {
    /// The newest revision handed out.
    fn newest(&self) -> Revision;
    /// The published stable.
    fn stable(&self) -> Revision;
    /// Hands out `count` revisions, the first of which is returned, for shards that are frozen.
    fn take(&mut self, count: u64) -> Revision;
}

/// A request for a round.
#[derive(Clone, Debug)]
pub struct Case {
    pub origin: Origin,
    pub deadline: Option<Nanos>,
    pub txn: RoundTxn,
}

impl Cancellable for Case {
    type Id = Origin;

    fn id(&self) -> Origin {
        self.origin
    }
}

/// What a step of the coordinator wants done.
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

/// The single coordinator of a lead member.
#[derive(Debug)]
pub struct Coordinator {
    shards: u16,
    epoch: Option<Epoch>,
    queue: RequestQueue<Case>,
    /// Leases that end; as many as the lead lets go at a time.
    revokes: VecDeque<LeaseId>,
    /// The last round that began was one of leases: the next is one of requests, if any wait.
    revoked_last: bool,
    next_round: RoundId,
    /// A request whose deletes the shards prepare; others that delete ranges wait behind it.
    preparing: Option<Preparing>,
    /// What was prepared has had its round, or will have none: what is left of it can go.
    abandons: bool,
    /// Of the round that is being gathered; kept for its memory.
    footprint: Footprint,
    /// Looks at the keys of requests so far: see `footprint`.
    looks: u64,
    /// The round that has shards frozen.
    open: Option<Round>,
    /// Rounds whose shares are being logged.
    executing: BTreeMap<RoundId, Round>,
}

/// See [`Coordinator::preparing`]. Once nobody is missing it is in the next round.
#[derive(Debug)]
struct Preparing {
    round: RoundId,
    missing: ShardSet,
    case: Case,
}

#[derive(Debug)]
struct Round {
    id: RoundId,
    stage: Stage,
    missing: ShardSet,
    involved: ShardSet,
    /// By shard: the newest revision that it held when it was frozen.
    newest: Vec<Revision>,
    /// Shards that take no puts.
    refusing: Vec<(ShardId, Refusal)>,
    cases: Vec<Entrant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Freezing,
    Checking,
    Executing,
}

/// Whose an entrant is.
#[derive(Clone, Copy, Debug)]
enum Caller {
    Client(Origin),
    /// The lead: this lease ends.
    Lease(LeaseId),
}

/// A request that takes part in a round.
#[derive(Debug)]
struct Entrant {
    caller: Caller,
    deadline: Option<Nanos>,
    course: Course,
    involved: ShardSet,
    /// Shards that have to prepare what it deletes.
    unprepared: ShardSet,
    /// By compare, then the shards' parts of its answer.
    compares: Vec<Vec<CompareShare>>,
    /// What it does, once its branches are chosen.
    path: Option<Arc<RoutedPath>>,
    /// For a plain path only those that refuse it.
    verdicts: Vec<(ShardId, Verdict)>,
    /// What was decided: the answer's header.
    revision: Revision,
    /// Who has not yet sent what its share came to: nobody has to for a plain path.
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
        let clients = |entrant: Entrant| match entrant.caller {
            Caller::Client(origin) => Some(origin),
            Caller::Lease(_) => None,
        };
        let entrants = rounds.flat_map(|round| round.cases).filter_map(clients);
        self.revokes.clear();
        let preparing = self.preparing.take().map(|preparing| preparing.case.origin);
        for origin in entrants.chain(preparing).chain(self.queue.take_all().map(|case| case.origin))
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
    pub fn submit(&mut self, case: Case, effects: &mut RoundEffects) {
        let outcome = if self.epoch.is_none() {
            Err(Refusal::LeaderChanged)
        } else if self.queue.len() >= ROUND_QUEUE_MAX {
            Err(Refusal::TooManyRequests)
        } else {
            self.queue.push_back(case);
            return;
        };
        effects.finished.push(Finished { origin: case.origin, revision: Revision::EMPTY, outcome });
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
        let preparing = self.preparing.take_if(|preparing| preparing.case.origin == origin);
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
        let cases = self.next_cases(now, effects);
        if cases.is_empty() {
            return;
        }
        let id = self.next_round;
        self.next_round = RoundId(id.0 + 1);
        let involved = cases.iter().fold(ShardSet::EMPTY, |all, case| all.union(case.involved));
        let round = Round {
            id,
            stage: Stage::Freezing,
            missing: involved,
            involved,
            newest: vec![Revision::EMPTY; usize::from(self.shards)],
            refusing: Vec::new(),
            cases,
        };
        let logged = |case: &Entrant| Touches::of(&case.course).logged_bytes();
        let bytes = round.cases.iter().map(logged).sum();
        let mut compares = round.compares(self.shards);
        for shard in involved.iter() {
            let order = Order::Freeze {
                epoch,
                round: id,
                bytes,
                compares: std::mem::take(&mut compares[usize::from(shard.0)]),
                check: round.shares_for(shard, |entrant| !entrant.is_guarded()),
                current: line.newest(),
            };
            effects.orders.push((shard, order));
        }
        self.open = Some(round);
    }

    /// Requests and leases take turns, if both wait.
    fn next_cases(&mut self, now: Nanos, effects: &mut RoundEffects) -> Vec<Entrant> {
        for leases in [!self.revoked_last, self.revoked_last] {
            let cases = if leases { self.gather_revokes() } else { self.gather(now, effects) };
            if !cases.is_empty() {
                self.revoked_last = leases;
                return cases;
            }
        }
        Vec::new()
    }

    fn gather_revokes(&mut self) -> Vec<Entrant> {
        let count = self.revokes.len().min(ROUND_REQUESTS_MAX);
        let shards = self.shards;
        self.revokes.drain(..count).map(|lease| Entrant::revoke(lease, shards)).collect()
    }

    /// Takes the requests of the next round off the queue, in order of arrival. One that conflicts
    /// with an earlier one is looked at again in later rounds; so that this does not add up, a
    /// round looks at no more of them than it takes of others.
    fn gather(&mut self, now: Nanos, effects: &mut RoundEffects) -> Vec<Entrant> {
        let mut cases: Vec<Entrant> = Vec::new();
        self.footprint.clear();
        let mut left = Vec::new();
        let (mut bytes, mut looks) = (0, ROUND_LOOKS_FREE);
        if let Some(case) = self.take_prepared() {
            self.queue.push_front(case);
            self.abandons = true;
        }
        let is_preparing = self.preparing.is_some();
        let footprint = &mut self.footprint;
        while let Some(case) = self.queue.pop_front() {
            if case.deadline.is_some_and(|deadline| deadline <= now) {
                let outcome = Err(Refusal::DeadlineExceeded);
                let origin = case.origin;
                effects.finished.push(Finished { origin, revision: Revision::EMPTY, outcome });
                continue;
            }
            if is_preparing && case.txn.course.deletes_ranges() {
                left.push(case);
                if left.len() == ROUND_REQUESTS_MAX {
                    break;
                }
                continue;
            }
            let touches = Touches::of(&case.txn.course);
            // The first waits for nobody, whatever it takes to see that.
            let most = if cases.is_empty() { usize::MAX } else { looks };
            let earlier = cases.iter().map(|entrant| Touches::of(&entrant.course));
            match footprint.look(touches, most, earlier) {
                Looked::Free(looked) => {
                    looks = looks.saturating_add(ROUND_LOOKS_FACTOR * looked);
                    self.looks += looked as u64;
                    bytes += touches.logged_bytes();
                    if bytes > ROUND_BYTES_MAX && !cases.is_empty() {
                        left.push(case);
                        break;
                    }
                    footprint.add(touches);
                    cases.push(Entrant::new(case));
                }
                Looked::Touched(looked) => {
                    looks = looks.saturating_sub(looked);
                    self.looks += looked as u64;
                    left.push(case);
                }
                Looked::Unknown => {
                    self.looks += looks as u64;
                    looks = 0;
                    left.push(case);
                }
            }
            let full = cases.len() == ROUND_REQUESTS_MAX || bytes >= ROUND_BYTES_MAX;
            if full || left.len() == ROUND_REQUESTS_MAX || looks == 0 {
                break;
            }
        }
        left.into_iter().rev().for_each(|case| self.queue.push_front(case));
        cases
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
            Report::Unprepared { shard, epoch, round, cases } => {
                let ours = self.epoch == Some(epoch);
                if let Some(open) = self.open.as_mut().filter(|open| ours && open.id == round) {
                    for case in cases {
                        open.cases[usize::from(case)].unprepared.insert(shard);
                    }
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
        let open = self.open.as_mut().expect("a round is open");
        open.stage = Stage::Checking;
        for entrant in open.cases.iter_mut().filter(|entrant| entrant.path.is_none()) {
            entrant.choose(self.shards);
        }
        for shard in open.involved.iter() {
            let shares = open.shares_for(shard, Entrant::is_guarded);
            if !shares.is_empty() {
                open.missing.insert(shard);
                let current = line.newest();
                effects
                    .orders
                    .push((shard, Order::Check { epoch, round: open.id, shares, current }));
            }
        }
        if open.missing.is_empty() {
            self.execute(line, effects);
        }
    }

    /// Nothing can be refused any more: take the revisions, have the shares logged.
    fn execute(&mut self, line: &mut impl RoundLine, effects: &mut RoundEffects) {
        let epoch = self.epoch.expect("a round has an epoch");
        let mut open = self.open.take().expect("a round is open");
        open.stage = Stage::Executing;
        open.judge_plain();
        self.put_off_unprepared(epoch, &mut open, effects);
        let stable = line.stable();
        let changing = open.cases.iter().filter(|case| !case.participants().is_empty()).count();
        let mut revision = if changing > 0 { line.take(changing as u64) } else { stable };
        let mut orders: Vec<Vec<CaseExecute>> = vec![Vec::new(); usize::from(self.shards)];
        for (number, entrant) in open.cases.iter_mut().enumerate() {
            let seen = entrant.involved.iter().map(|shard| open.newest[usize::from(shard.0)]);
            entrant.revision = seen.max().unwrap_or(stable).max(stable);
            if entrant.refusal().is_some() {
                continue;
            }
            let path = entrant.path.as_ref().expect("every path is chosen");
            entrant.revision = entrant.revision.max(path.looks_at()); // C11
            let participants = entrant.participants();
            if !participants.is_empty() {
                entrant.revision = revision;
                revision = revision.next();
            }
            for shard in path.owners().iter() {
                if entrant.is_revoke() && !participants.contains(shard) {
                    continue; // No key of the lease is there.
                }
                if !path.is_plain() {
                    entrant.missing.insert(shard);
                    open.missing.insert(shard);
                }
                let change =
                    participants.contains(shard).then_some((entrant.revision, participants));
                let execute = CaseExecute { case: number as u16, change, path: Arc::clone(path) };
                orders[usize::from(shard.0)].push(execute);
            }
        }
        for shard in open.involved.iter() {
            let shares = std::mem::take(&mut orders[usize::from(shard.0)]);
            let order = if shares.is_empty() {
                Order::Thaw { epoch, round: open.id }
            } else {
                let tells = open.missing.contains(shard);
                Order::Execute { epoch, round: open.id, shares, tells }
            };
            effects.orders.push((shard, order));
        }
        open.cases.iter_mut().for_each(|entrant| entrant.finish_if_whole(effects));
        if !open.missing.is_empty() {
            self.executing.insert(open.id, open);
        }
    }

    /// Takes out the cases that have to be prepared: one is, the others wait for another round.
    fn put_off_unprepared(&mut self, epoch: Epoch, open: &mut Round, effects: &mut RoundEffects) {
        let is_put_off =
            |entrant: &mut Entrant| !entrant.unprepared.is_empty() && entrant.refusal().is_none();
        let put_off: Vec<Entrant> = open.cases.extract_if(.., is_put_off).collect();
        for entrant in put_off.into_iter().rev() {
            let Entrant { caller, deadline, course, involved, unprepared, path, .. } = entrant;
            let Caller::Client(origin) = caller else { unreachable!("leases are not prepared") };
            let case = Case { origin, deadline, txn: RoundTxn { involved, course } };
            if self.preparing.is_some() {
                self.queue.push_front(case);
                continue;
            }
            let path = path.expect("every path is chosen");
            for shard in unprepared.iter() {
                let path = Arc::clone(&path);
                effects.orders.push((shard, Order::Prepare { epoch, round: open.id, path }));
            }
            let (round, missing) = (open.id, unprepared);
            self.preparing = Some(Preparing { round, missing, case });
            self.abandons = false;
        }
    }

    /// The request that was being prepared, if it is.
    fn take_prepared(&mut self) -> Option<Case> {
        let is_ready = |preparing: &mut Preparing| preparing.missing.is_empty();
        self.preparing.take_if(is_ready).map(|preparing| preparing.case)
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
            let entrant = &mut round.cases[usize::from(number)];
            assert!(entrant.missing.remove(shard), "a share was executed twice");
            entrant.replies.push(reply);
            entrant.finish_if_whole(effects);
        }
        // A share that reads much is told of by itself, when it has read.
        if round.cases.iter().all(|entrant| !entrant.missing.contains(shard)) {
            round.missing.remove(shard);
        }
        if round.missing.is_empty() {
            self.executing.remove(&id);
        }
    }
}

impl Round {
    /// By shard: the compares that concern it.
    fn compares(&self, shards: u16) -> Vec<Vec<CaseCompares>> {
        let mut found: Vec<Vec<CaseCompares>> = vec![Vec::new(); usize::from(shards)];
        for (case, entrant) in self.cases.iter().enumerate() {
            let Course::Guarded(txn) = &entrant.course else { continue };
            let case = case as u16;
            for (number, compare) in (0..).zip(txn::compares(txn)) {
                for shard in owners(&compare.range, shards).iter() {
                    let of_shard = &mut found[usize::from(shard.0)];
                    if of_shard.last().is_none_or(|last| last.case != case) {
                        of_shard.push(CaseCompares { case, compares: Vec::new() });
                    }
                    let last = of_shard.last_mut().expect("just pushed");
                    last.compares.push((number, compare.clone()));
                }
            }
        }
        found
    }

    /// The shares of `shard` that it has to check, of the entrants that are `wanted`.
    fn shares_for(&self, shard: ShardId, wanted: impl Fn(&Entrant) -> bool) -> Vec<CaseShare> {
        let mut found = Vec::new();
        for (case, entrant) in self.cases.iter().enumerate().filter(|(_, case)| wanted(case)) {
            let path = entrant.path.as_ref();
            let Some(path) = path.filter(|path| !path.is_plain()) else { continue };
            if path.owners().contains(shard) {
                found.push(CaseShare { case: case as u16, path: Arc::clone(path) });
            }
        }
        found
    }

    /// The verdict on plain paths: shards that take no puts refuse theirs, at their first.
    fn judge_plain(&mut self) {
        for (shard, refusal) in &self.refusing {
            for entrant in &mut self.cases {
                let path = entrant.path.as_ref().filter(|path| path.is_plain());
                if let Some((sub, _)) = path.and_then(|path| path.ops_of(*shard).next()) {
                    entrant.verdicts.push((*shard, Err((sub, refusal.clone()))));
                }
            }
        }
    }

    fn take_compares(&mut self, answers: Vec<(u16, Vec<(u32, CompareShare)>)>) {
        for (case, compares) in answers {
            for (number, share) in compares {
                self.cases[usize::from(case)].compares[number as usize].push(share);
            }
        }
    }

    fn take_verdicts(&mut self, shard: ShardId, verdicts: Vec<(u16, Verdict)>) {
        for (case, verdict) in verdicts {
            self.cases[usize::from(case)].verdicts.push((shard, verdict));
        }
    }
}

impl Entrant {
    fn new(case: Case) -> Entrant {
        let (compares, path) = match &case.txn.course {
            Course::Known(path) => (Vec::new(), Some(Arc::clone(path))),
            Course::Guarded(txn) => (vec![Vec::new(); txn::compares(txn).len()], None),
        };
        Entrant {
            caller: Caller::Client(case.origin),
            deadline: case.deadline,
            unprepared: ShardSet::EMPTY,
            involved: case.txn.involved,
            course: case.txn.course,
            compares,
            path,
            verdicts: Vec::new(),
            revision: Revision::EMPTY,
            missing: ShardSet::EMPTY,
            replies: Vec::new(),
        }
    }

    fn revoke(lease: LeaseId, shards: u16) -> Entrant {
        let path = Arc::new(RoutedPath::new(Path::of(PathOp::Revoke(lease)), shards));
        Entrant {
            caller: Caller::Lease(lease),
            deadline: None,
            unprepared: ShardSet::EMPTY,
            involved: ShardSet::all(shards),
            course: Course::Known(Arc::clone(&path)),
            compares: Vec::new(),
            path: Some(path),
            verdicts: Vec::new(),
            revision: Revision::EMPTY,
            missing: ShardSet::EMPTY,
            replies: Vec::new(),
        }
    }

    fn is_revoke(&self) -> bool {
        matches!(self.caller, Caller::Lease(_))
    }

    /// Whether what it does depends on compares.
    fn is_guarded(&self) -> bool {
        matches!(self.course, Course::Guarded(_))
    }

    fn choose(&mut self, shards: u16) {
        let Course::Guarded(txn) = &self.course else { unreachable!("its path was known") };
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
        let plain = self.path.as_ref().filter(|path| path.is_plain());
        if let Some(path) = plain {
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
