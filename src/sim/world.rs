//! One simulation: lives of a member between crashes, its clients, and who looks on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::call::{Answered, ClientCall, Invoked, header, kind};
use super::connections::Connections;
use super::damage::{self, Expected};
use super::disk::Disk;
use super::host::Host;
use super::leases::{Clock, Leases};
use super::line::{Broken, ObservedLine, Shown};
use super::plan::{Plan, TICK};
use super::stream::Moment;
use super::streams::Streams;
use super::trace::Trace;
use super::workload::{Known, Workload};
use super::{Left, Summary};
use crate::chance::Chance;
use crate::member::{RecoverError, Shared};
use crate::types::{AlarmAction, AlarmRequest, KeyRange, LeaseId, Nanos, Reply, Request, Ticket};
use crate::wal::OpenError;

/// The world of one simulation.
pub struct World {
    plan: Plan,
    left_out: Option<Left>,
    chance: Chance,
    disk: Disk,
    host: Option<Host>,
    connections: Connections,
    workload: Workload,
    line: ObservedLine,
    streams: Streams,
    leases: Leases,
    now: u64,
    /// Calls that wait for the leader's clock, and since when everything else sleeps: the answer
    /// that a lease is gone whose time is over comes only after it has ended.
    waiting: BTreeMap<u64, u64>,
    /// When the leader's core last ticked.
    leader_ticked: u64,
    /// The clock of leases, and the time of the last start.
    clock: Clock,
    booted: u64,
    /// Calls of this life, and of earlier ones that no epoch has settled.
    calls: Vec<ClientCall>,
    old: Vec<ClientCall>,
    /// Calls without an answer: number to place in `calls`.
    open: BTreeMap<u64, usize>,
    next: u64,
    known: Known,
    /// Every compaction that was asked for, with its call.
    compactions: Vec<(u64, i64)>,
    is_settled: bool,
    was_full: bool,
    /// Ticks since the disk was full, and of each core that has had any.
    ticks_with_room: u64,
    core_ticks: BTreeMap<usize, u64>,
    harmed: BTreeSet<String>,
    summary: Summary,
}

/// Steps in which a member must come to rest once its clients are gone.
const REST_STEPS: u64 = 40_000;
/// Calls from here on are the operator's, who waits for no answer.
const OPERATOR: u64 = 1 << 48;
/// Ticks of every core after which what a full disk refused has been tried again.
const RETRY_TICKS: u64 = 12;
/// Before the disk was ever full.
const TICKS_UNCOUNTED: u64 = 1 << 20;

impl World {
    /// Makes the world of a seed, before the first start.
    pub fn new(seed: u64, plan: Plan, left_out: Option<Left>, mut chance: Chance) -> World {
        let workload = Workload::draw(&mut chance);
        let leases = plan.config.leases;
        World {
            streams: Streams::new(plan.watchers, plan.config.watch_limits.stream_bytes),
            leases: Leases::new(leases.ttl_min, leases.election_timeout),
            clock: Clock::default(),
            booted: 0,
            leader_ticked: 0,
            waiting: BTreeMap::new(),
            plan,
            left_out,
            chance,
            disk: Disk::default(),
            host: None,
            connections: Connections::open(1, 1, 1),
            workload,
            line: ObservedLine::new(),
            now: 1_000_000_000,
            calls: Vec::new(),
            old: Vec::new(),
            open: BTreeMap::new(),
            next: 0,
            known: Known { newest: 1, compacted: -1 },
            compactions: Vec::new(),
            is_settled: false,
            was_full: false,
            ticks_with_room: TICKS_UNCOUNTED,
            core_ticks: BTreeMap::new(),
            harmed: BTreeSet::new(),
            summary: Summary { seed, ..Summary::default() },
        }
    }

    /// Runs `steps` steps, lets everything come to rest, crashes, and looks at what is left.
    pub fn run(&mut self, steps: u64, trace: &mut Trace) -> Result<Summary, Broken> {
        for step in 0..steps {
            self.begin_step(step, trace);
            self.step(trace)?;
        }
        self.rest(steps, trace)?;
        self.crash(trace);
        self.begin_step(trace.at() + 1, trace);
        self.boot(trace)?;
        self.rest(trace.at(), trace)?;
        let streams = &self.streams;
        let told = streams.kinds.iter().map(|(&kind, &count)| (kind.to_owned(), count));
        self.summary.kinds.extend(told);
        self.summary.events = streams.events;
        self.summary.revisions = self.line.newest();
        self.summary.digest = trace.digest();
        Ok(self.summary.clone())
    }

    fn begin_step(&mut self, step: u64, trace: &mut Trace) {
        trace.step(step);
        let nanos = self.chance.within(1_000, 300_000);
        self.pass(nanos);
        self.clock.step = step;
    }

    /// Time passes.
    fn pass(&mut self, nanos: u64) {
        self.now += nanos;
        self.clock.most += nanos;
    }

    fn step(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        if self.host.is_none() {
            return self.boot(trace);
        }
        if self.chance.one_in(self.plan.crash_every) {
            self.crash(trace);
            return Ok(());
        }
        if self.chance.one_in(self.plan.full_every) {
            self.disk.fill(!self.disk.full);
            trace.record(|| format!("the disk is full: {}", self.disk.full));
        }
        if self.chance.one_in(self.plan.cancel_every) {
            self.cancel(trace);
        }
        if self.chance.one_in(self.plan.busy_steps_per_tick) {
            self.tick(trace);
        }
        if self.chance.one_in(self.plan.pause_every) {
            // Longer than an election timeout: nobody can have renewed a lease meanwhile.
            let nanos = self.chance.within(1_100_000_000, 20_000_000_000);
            trace.record(|| format!("the process is paused for {nanos} ns"));
            self.now += nanos;
        }
        if self.chance.one_in(self.streams.every()) {
            self.watch(trace);
        }
        let host = self.host.as_ref().expect("it runs");
        let (runnable, in_flight) = (host.runnable().len(), host.in_flight());
        let idle = self.plan.sessions.saturating_sub(self.open.len());
        let weights = [
            self.plan.weights[0] * u64::from(runnable > 0),
            self.plan.weights[1] * u64::from(in_flight > 0),
            self.plan.weights[2] * u64::from(idle > 0),
            self.plan.weights[3],
        ];
        if runnable == 0 && in_flight == 0 {
            self.check_rest()?;
            if idle == 0 || self.chance.one_in(8) {
                self.tick(trace);
                return Ok(());
            }
        }
        match self.chance.weighed(&weights) {
            0 if runnable > 0 => self.run_core(trace),
            1 if in_flight > 0 => {
                let fails = self.chance.one_in(self.plan.fail_every);
                self.end_operation(fails, trace);
                Ok(())
            }
            2 if idle > 0 => self.submit(trace),
            _ => {
                self.tick(trace);
                Ok(())
            }
        }
    }

    fn boot(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        self.summary.lives += 1;
        self.booted = self.clock.most;
        let drawn = self.chance.within(1, 3) as u16;
        let cores = self.plan.cores.unwrap_or(drawn);
        if self.chance.one_in(self.plan.harm_every)
            && let Some(harm) = self.harm()
        {
            self.summary.harms += 1;
            trace.record(|| format!("harm: {}", harm.what));
            match (harm.expected, self.host(cores)) {
                (Expected::Refused, Err(RecoverError::Files(error))) if is_damage(&error) => {
                    trace.record(|| format!("refused: {error}"));
                    damage::undo(&mut self.disk, harm);
                }
                (Expected::Unharmed, Ok(_)) => {}
                (_, Ok(_)) => {
                    return Err(format!("D3: {}, and the start is not refused", harm.what));
                }
                (_, Err(error)) => {
                    return Err(format!("D3: {}, and the start is refused: {error}", harm.what));
                }
            }
        }
        let host = self.host(cores).map_err(|error| format!("the start is refused: {error}"))?;
        trace
            .record(|| format!("a member of {cores} cores and {} shards starts", self.plan.shards));
        let (budget, connections) = (self.plan.budget_bytes, self.plan.connections);
        self.connections = Connections::open(budget, connections, usize::from(cores));
        self.host = Some(host);
        // An alarm that a full disk raised is still there after a restart.
        (self.is_settled, self.was_full) = (false, self.was_full || self.disk.full);
        Ok(())
    }

    fn harm(&mut self) -> Option<damage::Harm> {
        damage::harm(&self.plan.config, &mut self.disk, &mut self.harmed, &mut self.chance)
    }

    fn host(&self, cores: u16) -> Result<Host, RecoverError> {
        let shared = Arc::new(Shared::new(cores, self.plan.shards));
        if let Some(left_out) = self.left_out {
            left_out.apply(&shared);
        }
        Host::start(&self.plan.config, cores, shared, self.plan.mailbox_batches, &self.disk)
    }

    fn crash(&mut self, trace: &mut Trace) {
        let Some(host) = self.host.take() else { return };
        trace.record(|| "the power goes".to_owned());
        self.summary.crashes += 1;
        let waits = [("FullMailbox", host.waits_for_room), ("FullBudget", self.connections.waits)];
        for (what, times) in waits.into_iter().filter(|(_, times)| *times > 0) {
            *self.summary.kinds.entry(what.to_owned()).or_default() += times;
        }
        host.crash(&mut self.disk, &mut self.chance);
        self.old.append(&mut self.calls);
        self.open.clear();
        self.waiting.clear();
        self.streams.crash();
        self.leases.crash(self.clock);
        self.clock.crash();
    }

    /// Returns the facts that are known now.
    fn moment<'a>(
        host: &Host,
        line: &'a ObservedLine,
        known: Known,
        compactions: &'a [(u64, i64)],
    ) -> Moment<'a> {
        let stable = host.shared.sequencer.stable().0;
        Moment { line, stable, compacted: known.compacted, compactions }
    }

    /// Somebody who watches does something.
    fn watch(&mut self, trace: &mut Trace) {
        let host = self.host.as_mut().expect("it runs");
        let at = World::moment(host, &self.line, self.known, &self.compactions);
        let knows = (&self.workload, self.known);
        self.streams.act(host, Nanos(self.now), at, knows, &mut self.chance, trace);
    }

    /// The leader's core does a step.
    fn leader_looks(&mut self, is_tick: bool) {
        let pause = self.plan.config.leases.election_timeout;
        self.clock.look(self.now, pause, is_tick);
    }

    fn run_core(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        let host = self.host.as_mut().expect("it runs");
        let at = self.chance.pick(&host.runnable());
        trace.number(at as u64);
        if at == usize::from(host.shared.leader_core().0) {
            self.leader_looks(false);
        }
        let host = self.host.as_mut().expect("it runs");
        if let Err(fatal) = host.run(at, Nanos(self.now), &mut self.chance, trace) {
            trace.record(|| format!("core {at} gives up: {fatal}"));
            self.crash(trace);
            return Ok(());
        }
        self.look(trace)
    }

    /// Checks what a turn has brought.
    fn look(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        let host = self.host.as_mut().expect("it runs");
        let answers = std::mem::take(&mut host.answers);
        let now = Shown { step: trace.at(), time: self.clock.most };
        let shown = self.line.newest();
        if !self.is_settled && host.shared.sequencer.is_open() {
            let cut = host.shared.sequencer.cut().0;
            trace.record(|| format!("an epoch opens at {cut}"));
            self.line.recovered(host, cut, now)?;
            self.line.settle(&self.old, cut)?;
            self.leases.ended(&self.line.take_lease_ends(), &self.line)?;
            self.leases.opened(self.booted, self.clock);
            self.line.compare_states(host)?;
            self.old.clear();
            self.is_settled = true;
        } else if self.is_settled {
            self.line.harvest(host, now)?;
        }
        for revision in shown + 1..=self.line.newest() {
            self.leases.shown(&self.line, revision)?;
        }
        let at = World::moment(host, &self.line, self.known, &self.compactions);
        self.streams.read(host, at, trace)?;
        let stable = host.shared.sequencer.stable().0;
        trace.number(stable as u64);
        for (ticket, answer) in answers {
            trace.answer(ticket, &answer);
            if ticket.0 >= OPERATOR {
                continue;
            }
            self.workload.saw(&answer);
            let Some(at) = self.open.remove(&ticket.0) else {
                return Err(format!("{ticket:?} is answered twice, or after its client left"));
            };
            self.connections.ended(ticket.0);
            self.summary.answers += 1;
            *self.summary.kinds.entry(kind(&answer)).or_default() += 1;
            if let Some(header) = header(&answer) {
                self.known.newest = self.known.newest.max(header);
            }
            let others = self.compactions.iter().filter(|(id, _)| *id != ticket.0);
            let compacting = others.map(|(_, revision)| *revision).max().unwrap_or(-1);
            let call = &mut self.calls[at];
            if let (Request::Compact(request), Ok(Reply::Compact(_))) = (&call.request, &answer) {
                self.known.compacted = self.known.compacted.max(request.revision);
            }
            call.answered = Some(Answered {
                step: trace.at(),
                now: Nanos(self.now),
                answer,
                stable,
                compacting,
                was_full: self.was_full,
            });
            self.leases.answered(&self.calls[at], &self.line, self.clock, stable)?;
        }
        Ok(())
    }

    fn end_operation(&mut self, fails: bool, trace: &mut Trace) {
        let host = self.host.as_mut().expect("it runs");
        host.end_operation(&mut self.disk, fails, &mut self.chance, trace);
        if self.disk.full {
            (self.was_full, self.ticks_with_room) = (true, 0);
            self.core_ticks.clear();
        }
    }

    fn submit(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        let Some((core, charge)) = self.connections.send(&mut self.chance) else {
            return Ok(());
        };
        self.next += 1;
        let id = self.next;
        let request = self.workload.request(&mut self.chance, id, self.known);
        let host = self.host.as_mut().expect("it runs");
        let with_deadline = self.chance.one_in(self.plan.deadline_every);
        let deadline = with_deadline.then(|| Nanos(self.now + self.chance.within(0, 30_000_000)));
        trace.record(|| format!("call {id} to core {core}: {request:?}"));
        if let Request::Compact(request) = &request {
            self.compactions.push((id, request.revision));
        }
        let invoked = Invoked {
            now: Nanos(self.now),
            after: self.known.newest,
            stable: host.shared.sequencer.stable().0,
            compacted: self.known.compacted,
        };
        self.leases.asked(id, &request, self.clock);
        self.open.insert(id, self.calls.len());
        self.connections.began(id, charge);
        self.calls.push(ClientCall {
            id,
            core,
            request: request.clone(),
            deadline,
            invoked,
            answered: None,
            canceled: false,
        });
        host.submit(core, Nanos(self.now), Ticket(id), request, deadline);
        self.look(trace)
    }

    fn cancel(&mut self, trace: &mut Trace) {
        let open: Vec<u64> = self.open.keys().copied().collect();
        if open.is_empty() {
            return;
        }
        let id = self.chance.pick(&open);
        let at = self.open.remove(&id).expect("just listed");
        self.connections.ended(id);
        let call = &mut self.calls[at];
        call.canceled = true;
        trace.record(|| format!("the client of call {id} leaves"));
        self.host.as_mut().expect("it runs").cancel(call.core, Ticket(id));
    }

    fn tick(&mut self, trace: &mut Trace) {
        let host = self.host.as_mut().expect("it runs");
        let cores = host.cores();
        let leader = usize::from(host.shared.leader_core().0);
        self.pass(TICK / cores as u64);
        let (at, entropy) = (self.chance.slot(cores), self.chance.number());
        trace.record(|| format!("core {at} ticks"));
        if at == leader {
            self.leader_looks(true);
            self.leader_ticked = self.now;
        }
        let host = self.host.as_mut().expect("it runs");
        host.tick(at, Nanos(self.now), entropy);
        if !self.disk.full {
            self.ticks_with_room += 1;
            *self.core_ticks.entry(at).or_default() += 1;
            self.disarm(trace);
        }
    }

    /// The operator: when the disk has room again, the alarm that a full one raised is taken back.
    fn disarm(&mut self, trace: &mut Trace) {
        let host = self.host.as_mut().expect("it runs");
        let alarms = host.shared.alarms();
        let Some(alarm) = alarms.first().filter(|_| self.ticks_with_room.is_multiple_of(8)) else {
            return;
        };
        self.next += 1;
        let request = Request::Alarm(AlarmRequest {
            action: AlarmAction::Deactivate,
            member: alarm.member,
            kind: Some(alarm.kind),
        });
        trace.record(|| format!("the operator disarms {alarm:?}"));
        host.submit(0, Nanos(self.now), Ticket(OPERATOR + self.next), request, None);
    }

    /// Whether every core has had time, so many times over, to try again what a full disk refused.
    fn has_retried(&self, times: u64) -> bool {
        let cores = self.host.as_ref().expect("it runs").cores();
        let ticks = |core| self.core_ticks.get(&core).copied().unwrap_or(0);
        self.ticks_with_room >= TICKS_UNCOUNTED
            || self.ticks_with_room >= times * RETRY_TICKS * cores as u64
                && (0..cores).all(|core| ticks(core) >= RETRY_TICKS)
    }

    /// Nobody runs and no operation is under way: nobody may be waiting either.
    fn check_rest(&mut self) -> Result<(), Broken> {
        let host = self.host.as_ref().expect("it runs");
        if self.disk.full || !self.has_retried(1) {
            return Ok(());
        }
        if !host.shared.sequencer.is_open() {
            return Err("everything sleeps, and no epoch is open".to_owned());
        }
        for (&id, &at) in &self.open {
            let call = &self.calls[at];
            // It may have come just after a tick.
            let since = *self.waiting.entry(id).or_insert(self.now);
            let waits_for_tick = matches!(call.request, Request::LeaseKeepAlive { .. });
            if !waits_for_tick || self.leader_ticked > since {
                return Err(format!("everything sleeps, and a client waits: {call:?}"));
            }
        }
        self.leases.rest(self.clock);
        self.streams.check_rest(World::moment(host, &self.line, self.known, &self.compactions))
    }

    /// The clients stop, the disk has room: everything must be answered, everybody be told of
    /// everything, and every lease end.
    fn rest(&mut self, from: u64, trace: &mut Trace) -> Result<(), Broken> {
        self.disk.fill(false);
        let mut stage = Stage::Answers;
        for step in from..from + REST_STEPS {
            self.begin_step(step, trace);
            if self.host.is_none() {
                self.boot(trace)?;
                continue;
            }
            let host = self.host.as_mut().expect("it runs");
            let at = World::moment(host, &self.line, self.known, &self.compactions);
            if self.is_settled {
                self.streams.rest(host, Nanos(self.now), at, trace);
            }
            self.streams.give_back(host);
            let (runnable, in_flight) = (host.runnable().len(), host.in_flight());
            if self.chance.one_in(self.plan.busy_steps_per_tick.max(60)) {
                self.tick(trace);
                continue;
            }
            if runnable == 0 && in_flight == 0 {
                if !self.has_retried(4) {
                    self.tick(trace);
                    continue;
                }
                self.check_rest()?;
                if !self.open.is_empty() {
                    self.tick(trace); // For the leader's clock.
                    continue;
                }
                self.connections.rest()?;
                match self.next_stage(stage, trace)? {
                    Some(next) => stage = next,
                    None => return self.check_logs(),
                }
                continue;
            }
            if runnable > 0 && (in_flight == 0 || self.chance.one_in(2)) {
                self.run_core(trace)?;
            } else {
                self.end_operation(false, trace);
            }
        }
        Err(format!("it does not come to rest in {REST_STEPS} steps"))
    }

    /// Everything sleeps: what else is there to wait for?
    fn next_stage(&mut self, stage: Stage, trace: &mut Trace) -> Result<Option<Stage>, Broken> {
        let host = self.host.as_mut().expect("it runs");
        let at = World::moment(host, &self.line, self.known, &self.compactions);
        Ok(Some(match stage {
            Stage::Answers => {
                self.streams.ask_for_progress(host, Nanos(self.now), at);
                Stage::Progress
            }
            Stage::Progress => {
                self.streams.check_progress(at.stable)?;
                if !self.leases.is_used() {
                    return Ok(None);
                }
                Stage::Expiry { until: self.clock.least + self.leases.longest() }
            }
            Stage::Expiry { until } if self.clock.ticked <= until => {
                self.tick(trace);
                stage
            }
            Stage::Expiry { .. } => {
                self.check_leases()?;
                return Ok(None);
            }
        }))
    }

    /// All time is over that anybody asked for: there are no leases, and no keys of any.
    fn check_leases(&self) -> Result<(), Broken> {
        let host = self.host.as_ref().expect("it runs");
        let left = host.shared.leases();
        if left > 0 {
            return Err(format!("{left} leases have not ended, and nobody keeps them"));
        }
        let all = self.line.shown().seen(&KeyRange::all(), self.line.newest());
        match all.iter().find(|kv| kv.lease != LeaseId::NONE) {
            None => Ok(()),
            Some(kv) => Err(format!("there are no leases, but {kv:?}")),
        }
    }

    /// A log that is at rest is no longer than what makes a checkpoint due, and some segments.
    fn check_logs(&self) -> Result<(), Broken> {
        let config = &self.plan.config;
        let bound = config.checkpoint_log_bytes + 2 * config.segment_bytes;
        for shard in self.host.as_ref().expect("it runs").shards() {
            let bytes = shard.replica().log_bytes();
            if bytes > bound {
                return Err(format!(
                    "the log of shard {} has {bytes} bytes and no checkpoint is taken: {:?}",
                    shard.id(),
                    shard.counters()
                ));
            }
        }
        Ok(())
    }
}

/// The progress of a member at rest.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Everything is answered, everybody is told of everything.
    Answers,
    /// Every request for progress got its reply.
    Progress,
    /// Leases end until the leader has ticked beyond that.
    Expiry { until: u64 },
}

fn is_damage(error: &OpenError) -> bool {
    matches!(error, OpenError::Damage(_) | OpenError::Missing { .. } | OpenError::Foreign { .. })
}
