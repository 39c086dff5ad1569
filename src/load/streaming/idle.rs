//! Watchers of keys that nobody changes: what they cost the server, and everybody else.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::task::Poll;
use std::time::Duration;

use super::watchers::{Interest, Watching};
use super::{Facts, StreamWorkload, scrape};
use crate::load::keys::KeyForm;
use crate::load::run::{Outcome, Plan};
use crate::load::summary::{Gathered, Summary};
use crate::load::wire::{Lost, Wires};
use crate::rt;

/// The prefix of their keys; other workloads' keys do not have it, unless told to.
const PREFIX: &str = "idle/";
const DIGITS: usize = 10;
/// The interval at which they look whether they are still wanted.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Watchers that are held until this is dropped.
pub(super) struct IdleWatchers {
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    executors: Option<rt::Executors>,
    facts: Facts,
}

impl IdleWatchers {
    /// Creates them, on a thread of their own.
    pub(super) fn create(
        plan: &Plan,
        watchers: u64,
        connections: usize,
        streams: usize,
    ) -> Result<IdleWatchers, String> {
        let address = plan.endpoints[0];
        let before = scrape::resident_bytes(address)?;
        let (stop, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (sender, created) = channel();
        let holding = Holding {
            plan: plan.clone(),
            watchers,
            connections,
            streams,
            stop: stop.clone(),
            events: events.clone(),
        };
        let settings = rt::ExecutorSettings { name: "idle".to_owned(), spin: Duration::ZERO };
        let bodies = vec![move || holding.hold(sender)];
        let executors = rt::start(&settings, bodies).map_err(|error| error.to_string())?;
        let mut held =
            IdleWatchers { stop, events, executors: Some(executors), facts: Facts::new() };
        let created = created.recv().map_err(|_| "the idle watchers ended early".to_owned())?;
        let per_second = created.map_err(|lost| format!("idle watchers: {}", lost.0))?;
        let with = scrape::resident_bytes(address)?;
        held.facts = Facts::from([
            ("idle watchers".to_owned(), watchers as f64),
            ("idle watchers created per second".to_owned(), per_second),
            ("server bytes before idle watchers".to_owned(), before),
            ("server bytes with idle watchers".to_owned(), with),
            ("server bytes per idle watcher".to_owned(), (with - before) / watchers as f64),
        ]);
        Ok(held)
    }

    /// Returns the facts that are known of them by now.
    pub(super) fn facts(&self) -> Facts {
        let mut facts = self.facts.clone();
        let events = self.events.load(Ordering::Relaxed);
        if events > 0 {
            facts.insert("events of idle watchers".to_owned(), events as f64);
        }
        facts
    }
}

impl Drop for IdleWatchers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(executors) = self.executors.take() {
            // They end with the process at the latest.
            let _ = executors.join();
        }
    }
}

struct Holding {
    plan: Plan,
    watchers: u64,
    connections: usize,
    streams: usize,
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
}

impl Holding {
    async fn hold(self, created: Sender<Result<f64, Lost>>) {
        self.plan.cpus.apply(0);
        let result = self.create().await;
        let (all, answer) = match result {
            Ok((all, per_second)) => (all, Ok(per_second)),
            Err(lost) => (Vec::new(), Err(lost)),
        };
        // Nobody listens when the program is about to end.
        let _ = created.send(answer);
        let tasks: Vec<_> = all
            .into_iter()
            .map(|one| rt::spawn(hold_one(one, self.stop.clone(), self.events.clone())))
            .collect();
        for task in tasks {
            task.await;
        }
    }

    async fn create(&self) -> Result<(Vec<Watching>, f64), Lost> {
        let digits = PREFIX.len() + DIGITS;
        let form = KeyForm::new(PREFIX, digits, self.watchers).map_err(Lost::new)?;
        let interest = Interest { form, open_digits: 0, target_keys: 1 };
        let mut all = Vec::new();
        let mut rates = 0.0;
        for client in 0..self.connections {
            let targets: Vec<u64> =
                (client as u64..self.watchers).step_by(self.connections).collect();
            let address = self.plan.endpoints[client % self.plan.endpoints.len()];
            let wires = Wires::connect(self.plan.protocol, address, 1).await?;
            let (one, per_second) =
                Watching::create(wires, self.streams, &interest, &targets).await?;
            all.push(one);
            rates += per_second;
        }
        // One client after the other: the mean of their rates.
        Ok((all, rates / self.connections as f64))
    }
}

/// Answers what must be answered; a connection that is lost shows in what the others measure.
pub(super) async fn hold_one(
    mut watching: Watching,
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
) {
    while !stop.load(Ordering::Acquire) {
        let turn = poll_fn(|cx| match watching.poll_idle(cx) {
            Ok(count) => {
                events.fetch_add(count, Ordering::Relaxed);
                Poll::Pending
            }
            Err(lost) => Poll::Ready(lost),
        });
        if let Some(lost) = rt::within(LOOK_PAUSE, turn).await {
            eprintln!("braid-load: idle watchers: {}", lost.0);
            return;
        }
    }
}

/// The workload `idle-watchers`: creates them, holds them, says what they take.
pub(in crate::load) fn measure_idle(name: &str, plan: &Plan) -> Result<Option<Summary>, String> {
    let Some(StreamWorkload::Idle { watchers, connections, streams }) = plan.workload.streaming
    else {
        return Ok(None);
    };
    let held = IdleWatchers::create(plan, watchers, connections, streams)?;
    std::thread::sleep(plan.duration);
    let mut facts = held.facts();
    let resident = scrape::resident_bytes(plan.endpoints[0])?;
    facts.insert("server bytes at the end".to_owned(), resident);
    let outcome = Outcome { facts, ..Outcome::empty(plan, 1) };
    Ok(Some(Summary::new(name, plan, &outcome, Gathered::default())))
}
