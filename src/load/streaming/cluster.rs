//! Watchers as the API server of a Kubernetes cluster has them: one of each kind of object.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::Facts;
use super::idle::hold_one;
use super::watchers::{Interest, Watching};
use crate::load::run::Plan;
use crate::load::wire::{Lost, Wires};
use crate::rt;

/// Watchers that are there until this is dropped.
pub(super) struct ClusterWatchers {
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    executors: Option<rt::Executors>,
    count: usize,
}

impl ClusterWatchers {
    /// Creates them, on a thread and a connection of their own.
    pub(super) fn create(plan: &Plan) -> Result<ClusterWatchers, String> {
        let (stop, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (sender, created) = channel();
        let (plan, count) = (plan.clone(), plan.workload.families.len());
        let (wanted, seen) = (stop.clone(), events.clone());
        let body = move || hold(plan, wanted, seen, sender);
        let settings = rt::ExecutorSettings { name: "watchers".to_owned(), spin: Duration::ZERO };
        let executors = rt::start(&settings, vec![body]).map_err(|error| error.to_string())?;
        let held = ClusterWatchers { stop, events, executors: Some(executors), count };
        let created = created.recv().map_err(|_| "the watchers ended early".to_owned())?;
        created.map_err(|lost| format!("watchers: {}", lost.0))?;
        Ok(held)
    }

    /// What they have been told by now.
    pub(super) fn facts(&self) -> Facts {
        let events = self.events.load(Ordering::Relaxed) as f64;
        Facts::from([
            ("API server watchers".to_owned(), self.count as f64),
            ("events of API server watchers".to_owned(), events),
        ])
    }
}

impl Drop for ClusterWatchers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(executors) = self.executors.take() {
            // They end with the process at the latest.
            let _ = executors.join();
        }
    }
}

async fn hold(
    plan: Plan,
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    created: Sender<Result<(), Lost>>,
) {
    let result = create(&plan).await;
    let (all, answer) = match result {
        Ok(all) => (all, Ok(())),
        Err(lost) => (Vec::new(), Err(lost)),
    };
    // Nobody listens when the program is about to end.
    let _ = created.send(answer);
    let tasks: Vec<_> =
        all.into_iter().map(|one| rt::spawn(hold_one(one, stop.clone(), events.clone()))).collect();
    for task in tasks {
        task.await;
    }
}

async fn create(plan: &Plan) -> Result<Vec<Watching>, Lost> {
    let mut all = Vec::new();
    for (number, family) in plan.workload.families.iter().enumerate() {
        let form = family.form.clone();
        let open_digits = form.length() - form.prefix().len();
        let interest = Interest { form, open_digits, target_keys: family.keys };
        let address = plan.endpoints[number % plan.endpoints.len()];
        let wires = Wires::connect(plan.protocol, address, 1).await?;
        all.push(Watching::create(wires, 1, &interest, &[0]).await?.0);
    }
    Ok(all)
}
