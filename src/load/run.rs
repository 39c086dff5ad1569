//! Starts the threads of a run, opens all at once, and gathers what they count.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::acks::AckLog;
use super::affinity::Cpus;
use super::record::{Attempts, Clock, Recorder, Rest, Row};
use super::session::{Pace, Session, Thread};
use super::source::{Source, Verify};
use super::streaming::{Facts, Shared, StreamClients};
use super::values::Values;
use super::wire::{Lost, Protocol, Wires};
use super::workload::Workload;
use crate::chance::Chance;
use crate::rt;
use crate::types::Nanos;

/// The interval at which a thread looks whether all are ready.
const GATE_PAUSE: Duration = Duration::from_millis(1);
/// From "all are ready" to the first request.
const GATE_LEAD: Duration = Duration::from_millis(5);
/// "No end": far enough for any run that ends by count.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// An interval has some length, however short the run was.
const LENGTH_MIN: Duration = Duration::from_micros(1);

/// Everything about a run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) protocol: Protocol,
    pub(super) endpoints: Vec<SocketAddr>,
    /// Clients; a client of frames has one socket per core of the server.
    pub(super) connections: usize,
    /// Requests under way per client, at most.
    pub(super) outstanding: u32,
    pub(super) threads: usize,
    pub(super) cpus: Cpus,
    /// Requests per second of all clients together; none is a closed loop.
    pub(super) rate: Option<f64>,
    pub(super) poisson: bool,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) drain: Duration,
    pub(super) interval: Duration,
    /// Ends after so many requests instead of after `duration`.
    pub(super) requests: Option<u64>,
    pub(super) seed: u64,
    pub(super) verify: Verify,
    pub(super) workload: Arc<Workload>,
    pub(super) acks: Option<PathBuf>,
}

/// One interval, all threads together.
#[derive(Clone, Debug)]
pub(super) struct Interval {
    /// Since the measured time began.
    pub(super) start: Duration,
    pub(super) length: Duration,
    /// After the end: latencies and errors count, answers do not.
    pub(super) is_drain: bool,
    pub(super) rows: Vec<Row>,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Per row of the workload, drain included.
    pub(super) rows: Vec<Row>,
    /// As in [`Rest::service`].
    pub(super) service: Vec<hdrhistogram::Histogram<u64>>,
    pub(super) unsent: u64,
    pub(super) answered_in_all: u64,
    /// Answers that came after the end.
    pub(super) late: u64,
    pub(super) texts: Vec<Option<String>>,
    pub(super) attempts: Attempts,
    /// Per server, empty if there is one.
    pub(super) endpoints: Vec<Row>,
    /// How long the last answers were waited for.
    pub(super) drained: Duration,
    /// Processor time of this process per second of measured time.
    pub(super) cpus_used: f64,
    /// The time that was measured.
    pub(super) seconds: f64,
    pub(super) facts: Facts,
}

enum Event {
    Ready,
    Failed(String),
    Piece(u32, Vec<Row>),
    Done { rest: Box<Rest>, cpus_used: Option<f64>, facts: Facts },
}

/// Makes the run. `each` sees every interval as it ends, in order.
pub(super) fn drive(plan: &Plan, mut each: impl FnMut(&Interval)) -> Result<Outcome, String> {
    let gate = Arc::new(AtomicU64::new(0));
    let (sender, events) = channel();
    let longest = plan.workload.families.iter().map(|family| family.value_bytes).max();
    let values = Values::new(longest.unwrap_or(0));
    let shared = Arc::new(Shared::new(plan));
    let mut bodies = Vec::new();
    for thread in 0..plan.threads {
        let body = Body {
            plan: plan.clone(),
            thread,
            values: values.clone(),
            shared: shared.clone(),
            gate: gate.clone(),
            events: sender.clone(),
        };
        bodies.push(move || body.run());
    }
    drop(sender);
    let settings = rt::ExecutorSettings { name: "load".to_owned(), spin: Duration::ZERO };
    let executors = rt::start(&settings, bodies).map_err(|error| error.to_string())?;
    let outcome = gather(plan, &gate, &events, &mut each);
    executors.join().map_err(|error| error.to_string())?;
    outcome
}

/// A gate that says to go home.
const CLOSED: u64 = u64::MAX;

/// Until every thread is connected and has prepared what it needs.
fn wait_until_ready(plan: &Plan, events: &Receiver<Event>) -> Result<(), String> {
    let mut failed = None;
    for _ in 0..plan.threads {
        match events.recv() {
            Ok(Event::Ready) => {}
            Ok(Event::Failed(reason)) => failed = Some(reason),
            Ok(_) | Err(_) => failed = Some("a thread ended early".to_owned()),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn gather(
    plan: &Plan,
    gate: &AtomicU64,
    events: &Receiver<Event>,
    each: &mut impl FnMut(&Interval),
) -> Result<Outcome, String> {
    if let Err(reason) = wait_until_ready(plan, events) {
        gate.store(CLOSED, Ordering::Release);
        return Err(reason);
    }
    gate.store(rt::now().0 + GATE_LEAD.as_nanos() as u64, Ordering::Release);
    let rows = plan.workload.rows().len();
    let mut failed = None;
    let mut outcome = Outcome::empty(plan, rows);
    let (began, cpu) = (rt::now(), processor_time());
    let mut open: BTreeMap<u32, (usize, Vec<Row>)> = BTreeMap::new();
    // What is in no interval yet when a thread ends.
    let mut rest_of_all = vec![Row::new(); rows];
    let mut next = 0;
    let mut close = |index: u32, rows: Vec<Row>, outcome: &mut Outcome| {
        add_rows(&mut outcome.rows, &rows);
        each(&plan.interval_of(index, rows));
        index + 1
    };
    while let Ok(event) = events.recv() {
        match event {
            Event::Ready => {}
            Event::Failed(reason) => failed = Some(reason),
            Event::Piece(index, piece) => {
                let entry = open.entry(index).or_insert_with(|| (0, vec![Row::new(); rows]));
                entry.0 += 1;
                add_rows(&mut entry.1, &piece);
                if entry.0 == plan.threads {
                    let (_, rows) = open.remove(&index).expect("just there");
                    next = close(index, rows, &mut outcome);
                }
            }
            Event::Done { rest, cpus_used, facts } => {
                add_rows(&mut rest_of_all, &rest.drain);
                outcome.add(*rest, cpus_used);
                for (name, value) in facts {
                    *outcome.facts.entry(name).or_default() += value;
                }
            }
        }
    }
    // Of runs that end by count: some threads had ended before these intervals did.
    for (index, (_, rows)) in open {
        next = close(index, rows, &mut outcome);
    }
    if let Some(reason) = failed {
        return Err(reason);
    }
    let wall = Duration::from_nanos(rt::now().0 - began.0);
    outcome.end(plan, wall, processor_time() - cpu);
    if rest_of_all.iter().any(Row::has_any) {
        each(&plan.last_interval(next, wall, rest_of_all));
    }
    Ok(outcome)
}

impl Plan {
    fn interval_of(&self, index: u32, rows: Vec<Row>) -> Interval {
        let start = self.interval * index;
        let length = match self.requests {
            Some(_) => self.interval,
            None => self.interval.min(self.duration.saturating_sub(start)),
        };
        Interval { start, length, is_drain: false, rows }
    }

    /// What the threads had not handed over when they ended, `wall` after the run began: the drain,
    /// or the last interval of a run that ends by count, which is number `next`.
    fn last_interval(&self, next: u32, wall: Duration, rows: Vec<Row>) -> Interval {
        let is_drain = self.requests.is_none();
        let start = if is_drain { self.duration } else { self.interval * next };
        let before = if is_drain { GATE_LEAD + self.warm_up } else { Duration::ZERO };
        let length = wall.saturating_sub(before + start).max(LENGTH_MIN);
        Interval { start, length, is_drain, rows }
    }
}

fn add_rows(sum: &mut [Row], rows: &[Row]) {
    for (sum, row) in sum.iter_mut().zip(rows) {
        sum.add(row);
    }
}

impl Outcome {
    /// Returns the outcome of a run in which nothing has happened.
    pub(super) fn empty(plan: &Plan, rows: usize) -> Outcome {
        Outcome {
            rows: vec![Row::new(); rows],
            service: Vec::new(),
            unsent: 0,
            answered_in_all: 0,
            late: 0,
            texts: Vec::new(),
            attempts: Attempts::default(),
            endpoints: Vec::new(),
            drained: Duration::ZERO,
            cpus_used: 0.0,
            seconds: plan.duration.as_secs_f64(),
            facts: Facts::new(),
        }
    }

    fn add(&mut self, rest: Rest, cpus_used: Option<f64>) {
        add_rows(&mut self.rows, &rest.drain);
        self.unsent += rest.unsent;
        self.answered_in_all += rest.answered_in_all;
        self.late += rest.late;
        self.attempts.add(rest.attempts);
        match self.endpoints.is_empty() {
            true => self.endpoints = rest.endpoints,
            false => add_rows(&mut self.endpoints, &rest.endpoints),
        }
        if self.service.is_empty() {
            self.service = rest.service;
        } else {
            for (sum, service) in self.service.iter_mut().zip(&rest.service) {
                sum.add(service).expect("equal bounds");
            }
        }
        if self.texts.is_empty() {
            self.texts = rest.texts;
        } else {
            for (text, other) in self.texts.iter_mut().zip(rest.texts) {
                *text = text.take().or(other);
            }
        }
        self.cpus_used = cpus_used.unwrap_or(self.cpus_used);
    }

    /// The run is over, `wall` after it began.
    fn end(&mut self, plan: &Plan, wall: Duration, processor_time: Duration) {
        if plan.requests.is_some() {
            self.seconds = wall.as_secs_f64();
            self.cpus_used = processor_time.as_secs_f64() / self.seconds;
        } else {
            self.drained = wall.saturating_sub(GATE_LEAD + plan.warm_up + plan.duration);
        }
    }
}

/// The clients of a thread, and those that live on streams.
type Prepared = (Vec<(usize, Wires)>, Option<StreamClients>);

/// What is known before a run begins.
#[derive(Default)]
struct Before {
    facts: Facts,
    attempts: Attempts,
    /// Which server each client is connected to.
    servers: BTreeMap<usize, usize>,
}

/// The work of one thread.
struct Body {
    plan: Plan,
    thread: usize,
    values: Values,
    shared: Arc<Shared>,
    gate: Arc<AtomicU64>,
    events: Sender<Event>,
}

impl Body {
    async fn run(self) {
        // That nobody listens any more means that the run is over.
        let say = |event| drop(self.events.send(event));
        self.plan.cpus.apply(self.thread);
        let mut before = Before::default();
        let (wires, stream_clients) = match self.prepare(&mut before).await {
            Ok(prepared) => prepared,
            Err(lost) => return say(Event::Failed(lost.0)),
        };
        let acks = match &self.plan.acks {
            None => None,
            Some(path) => match AckLog::create(path, self.thread) {
                Ok(log) => Some(RefCell::new(log)),
                Err(error) => {
                    return say(Event::Failed(format!("{}: {error}", path.display())));
                }
            },
        };
        say(Event::Ready);
        let Before { mut facts, attempts, servers } = before;
        let start = loop {
            match self.gate.load(Ordering::Acquire) {
                0 => rt::sleep(GATE_PAUSE).await,
                CLOSED => return,
                start => break Nanos(start),
            }
        };
        let thread = Rc::new(self.thread_state(start, acks));
        thread.recorder.borrow_mut().not_connected(attempts);
        let cpus_used = Rc::new(Cell::new(None));
        let ticker = rt::spawn(tick(
            thread.clone(),
            self.plan.interval,
            self.events.clone(),
            cpus_used.clone(),
        ));
        let lead = Duration::from_nanos(start.0.saturating_sub(rt::now().0));
        rt::sleep(lead).await;
        match stream_clients {
            None => self.serve(&thread, wires, &servers, start).await,
            Some(stream_clients) => {
                let pace = |client| self.pace(client, start);
                let about = (&self.plan, &self.values);
                match stream_clients.serve(about, &self.shared, &thread, wires, pace).await {
                    Ok(known) => facts.extend(known),
                    Err(lost) => return say(Event::Failed(lost.0)),
                }
            }
        }
        match self.plan.requests {
            None => ticker.await,
            Some(_) => drop(ticker.cancel().await),
        }
        let Ok(thread) = Rc::try_unwrap(thread) else {
            return say(Event::Failed("a client outlived its thread".to_owned()));
        };
        if let Some(acks) = &thread.acks
            && let Err(error) = acks.borrow_mut().flush()
        {
            return say(Event::Failed(format!("the log of acknowledged changes: {error}")));
        }
        facts.extend(thread.source.borrow().facts());
        let rest = Box::new(thread.recorder.into_inner().finish());
        let cpus_used = if self.thread == 0 { cpus_used.get() } else { None };
        say(Event::Done { rest, cpus_used, facts });
    }

    /// Connects the clients of this thread, and does what comes before the run.
    async fn prepare(&self, before: &mut Before) -> Result<Prepared, Lost> {
        let plan = &self.plan;
        let mut wires = Vec::new();
        for client in self.clients() {
            wires.push((client, self.connect(client, before).await?));
        }
        let Some(streaming) = plan.workload.streaming else { return Ok((wires, None)) };
        let (stream_clients, known) =
            StreamClients::prepare(plan, self.thread, streaming, &mut wires).await?;
        before.facts.extend(known);
        Ok((wires, Some(stream_clients)))
    }

    /// Connects a client to its server, or to the next one that is there.
    async fn connect(&self, client: usize, before: &mut Before) -> Result<Wires, Lost> {
        let plan = &self.plan;
        let mut last = Lost::new("there is no server");
        for number in 0..plan.endpoints.len() {
            let server = (client + number) % plan.endpoints.len();
            match Wires::connect(plan.protocol, plan.endpoints[server], plan.outstanding).await {
                Ok(wires) => {
                    before.servers.insert(client, server);
                    return Ok(wires);
                }
                Err(lost) => {
                    before.attempts.add(Attempts { failed: 1, text: Some(lost.0.clone()) });
                    last = lost;
                }
            }
        }
        Err(last)
    }

    /// The clients of this thread.
    fn clients(&self) -> impl Iterator<Item = usize> + use<> {
        (self.thread..self.plan.connections).step_by(self.plan.threads)
    }

    fn thread_state(&self, start: Nanos, acks: Option<RefCell<AckLog>>) -> Thread {
        let plan = &self.plan;
        let after = |from: Nanos, time: Duration| Nanos(from.0 + time.as_nanos() as u64);
        let measured_from = after(start, plan.warm_up);
        let end = match plan.requests {
            None => after(measured_from, plan.duration),
            Some(_) => after(measured_from, FOREVER),
        };
        let clock = Clock { measured_from, end, drained: after(end, plan.drain) };
        let workload = plan.workload.clone();
        let rows = workload.rows().len();
        let source = Source::new(
            workload,
            self.values.clone(),
            (plan.seed, plan.verify),
            self.thread,
            plan.threads,
        );
        let mut recorder = Recorder::new(clock, rows, plan.rate.is_some());
        recorder.tell_apart(plan.endpoints.len());
        let (threads, thread) = (plan.threads as u64, self.thread as u64);
        let budget = plan.requests.map(|all| all / threads + u64::from(thread < all % threads));
        Thread {
            source: RefCell::new(source),
            recorder: RefCell::new(recorder),
            acks,
            clock,
            budget: Cell::new(budget.unwrap_or(u64::MAX)),
        }
    }

    async fn serve(
        &self,
        thread: &Rc<Thread>,
        wires: Vec<(usize, Wires)>,
        servers: &BTreeMap<usize, usize>,
        start: Nanos,
    ) {
        let plan = &self.plan;
        let mut tasks = Vec::new();
        for (client, wires) in wires {
            let session = Session::new(
                thread.clone(),
                (plan.protocol, wires),
                (plan.endpoints.clone(), servers.get(&client).copied().unwrap_or(0)),
                plan.outstanding,
                self.pace(client, start),
            );
            tasks.push(rt::spawn(session.run()));
        }
        for task in tasks {
            task.await;
        }
    }

    fn pace(&self, client: usize, start: Nanos) -> Pace {
        let Some(rate) = self.plan.rate else { return Pace::Closed };
        let gap_ns = 1e9 * self.plan.connections as f64 / rate;
        // Clients take turns instead of all sending at once.
        let offset = gap_ns * client as f64 / self.plan.connections as f64;
        let chance = Chance::new(self.plan.seed ^ (client as u64) << 32);
        Pace::Open { gap_ns, poisson: self.plan.poisson, next: start.0 as f64 + offset, chance }
    }
}

/// Ends the intervals of a thread, and measures the process's processor time over all of them.
async fn tick(
    thread: Rc<Thread>,
    interval: Duration,
    events: Sender<Event>,
    cpus_used: Rc<Cell<Option<f64>>>,
) {
    let until = async |time: Nanos| {
        rt::sleep(Duration::from_nanos(time.0.saturating_sub(rt::now().0))).await;
    };
    let Clock { measured_from, end, .. } = thread.clock;
    until(measured_from).await;
    let (began, cpu) = (rt::now(), processor_time());
    for index in 0.. {
        let boundary =
            Nanos(measured_from.0 + (u64::from(index) + 1) * interval.as_nanos() as u64).min(end);
        until(boundary).await;
        let rows = thread.recorder.borrow_mut().cut();
        let _ = events.send(Event::Piece(index, rows));
        if let Some(acks) = &thread.acks
            && let Err(error) = acks.borrow_mut().flush()
        {
            let _ = events.send(Event::Failed(format!("the log of acknowledged changes: {error}")));
        }
        if boundary >= end {
            break;
        }
    }
    let wall = Duration::from_nanos(rt::now().0 - began.0);
    let cpu = processor_time().saturating_sub(cpu);
    cpus_used.set(Some(cpu.as_secs_f64() / wall.as_secs_f64().max(1e-9)));
}

/// User and system time of this process.
pub(super) fn processor_time() -> Duration {
    // SAFETY: `usage` is valid for writes, and an all-zero `rusage` is a sound value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) != 0 {
            return Duration::ZERO;
        }
        usage
    };
    let time = |time: libc::timeval| {
        Duration::new(time.tv_sec as u64, (time.tv_usec as u32).saturating_mul(1000))
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
