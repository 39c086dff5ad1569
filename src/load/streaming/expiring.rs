//! Leases that all end at about the same time, with a key each: what their end does to others.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::Facts;
use super::unary::{OUTSTANDING, ask_all};
use crate::load::keys::{KeyForm, prefix_end};
use crate::load::protobuf::{self, Range};
use crate::load::run::Plan;
use crate::load::wire::{Lost, Wires};
use crate::protocol::Method;
use crate::rt;
use crate::types::Nanos;

const PREFIX: &str = "expiring/";
const DIGITS: usize = 10;
/// The measured time begins so long before the leases end: their TTLs are whole seconds.
const LEAD: Duration = Duration::from_millis(700);
/// Time between the last grant and the end of all, at least: no server grants shorter than this.
const TTL_MIN: u64 = 3;

/// Leases that end at `end`.
pub(super) struct Expiring {
    count: u64,
    end: Nanos,
    facts: Facts,
}

impl Expiring {
    /// Grants `count` leases that end `after` now, and puts a key with each.
    pub(super) fn prepare(plan: &Plan, count: u64, after: Duration) -> Result<Expiring, String> {
        let end = Nanos(rt::now().0 + after.as_nanos() as u64);
        let began = rt::now();
        on_executor(plan, async move |wires| prepare(wires, count, end).await)?;
        let took = Duration::from_nanos(rt::now().0 - began.0);
        let rest = Duration::from_nanos(end.0.saturating_sub(rt::now().0));
        if rest < plan.warm_up + LEAD {
            return Err(format!(
                "granting {count} leases and putting their keys took {:.1} s: too long for \
                 --expire-after, of which {:.1} s are left",
                took.as_secs_f64(),
                rest.as_secs_f64(),
            ));
        }
        let mut facts = Facts::new();
        facts.insert("expiring leases".to_owned(), count as f64);
        Ok(Expiring { count, end, facts })
    }

    /// Sleeps until a run that begins then measures the end of the leases.
    pub(super) fn wait(&self, warm_up: Duration) {
        let lead = (warm_up + LEAD).as_nanos() as u64;
        let pause = self.end.0.saturating_sub(lead).saturating_sub(rt::now().0);
        std::thread::sleep(Duration::from_nanos(pause));
    }

    /// Returns how many leases are over by now.
    pub(super) fn facts(&self, plan: &Plan) -> Result<Facts, String> {
        let left = on_executor(plan, async |wires| count_keys(wires).await)?;
        let mut facts = self.facts.clone();
        facts.insert("leases that had expired at the end".to_owned(), (self.count - left) as f64);
        Ok(facts)
    }
}

async fn prepare(wires: &mut Wires, count: u64, end: Nanos) -> Result<u64, Lost> {
    let mut leases = vec![0; count as usize];
    let ttl = || {
        let rest_ns = end.0.saturating_sub(rt::now().0);
        ((rest_ns as f64 / 1e9).round() as u64).max(TTL_MIN)
    };
    ask_all(
        wires,
        Method::LeaseGrant,
        count,
        OUTSTANDING,
        |_, out| protobuf::lease_grant(out, ttl()),
        |number, answer| leases[number as usize] = protobuf::lease(answer).0,
    )
    .await?;
    let form = KeyForm::new(PREFIX, PREFIX.len() + DIGITS, count).map_err(Lost::new)?;
    let mut key = Vec::new();
    ask_all(
        wires,
        Method::Put,
        count,
        OUTSTANDING,
        |number, out| {
            form.write(number, &mut key);
            protobuf::put_with_lease(out, &key, b"until the end", leases[number as usize]);
        },
        |_, _| {},
    )
    .await?;
    Ok(count)
}

async fn count_keys(wires: &mut Wires) -> Result<u64, Lost> {
    let end = prefix_end(PREFIX.as_bytes());
    let range = Range { key: PREFIX.as_bytes(), end: &end, count_only: true, ..Range::default() };
    let mut left = 0;
    let learn = |_, answer: &[u8]| left = protobuf::count(answer);
    ask_all(wires, Method::Range, 1, 1, |_, out| range.write(out), learn).await?;
    Ok(left)
}

/// Runs something that needs a connection on a thread of its own.
fn on_executor<F>(plan: &Plan, body: F) -> Result<u64, String>
where
    F: AsyncFnOnce(&mut Wires) -> Result<u64, Lost> + Send + 'static,
{
    let (sender, result) = channel();
    let (protocol, address, cpus) = (plan.protocol, plan.endpoints[0], plan.cpus.clone());
    let run = move || async move {
        cpus.apply(0);
        let outcome = match Wires::connect(protocol, address, OUTSTANDING).await {
            Ok(mut wires) => body(&mut wires).await,
            Err(lost) => Err(lost),
        };
        // Received below, or the program is about to end.
        let _ = sender.send(outcome);
    };
    let settings = rt::ExecutorSettings { name: "leases".to_owned(), spin: Duration::ZERO };
    let executors = rt::start(&settings, vec![run]).map_err(|error| error.to_string())?;
    executors.join().map_err(|error| error.to_string())?;
    let outcome = result.recv().map_err(|_| "a thread ended early".to_owned())?;
    outcome.map_err(|lost| format!("expiring leases: {}", lost.0))
}
