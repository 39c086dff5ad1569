//! Puts whose events watchers wait for.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use super::ledger::{Ledger, STAMP_BYTES, Stamp};
use super::turns::{Work, make_requests};
use super::{ROW_PUT, Shared};
use crate::chance::Chance;
use crate::load::keys::{Chooser, KeyForm};
use crate::load::protobuf;
use crate::load::run::Plan;
use crate::load::session::{Pace, Thread};
use crate::load::source::Found;
use crate::load::values::Values;
use crate::load::wire::{Answer, Wires};
use crate::protocol::Method;
use crate::rt::{WaitList, WaitPlace};
use crate::types::Nanos;

/// The time that a writer waits before it looks whether watchers of other threads have received its
/// put.
const LOOK_OTHERS: Duration = Duration::from_millis(1);
const LOOK_OWN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Default)]
struct Slot {
    busy: bool,
    stamp: Stamp,
    intended: Nanos,
    sent: Nanos,
}

/// One client that puts. In a closed loop a put is over when all its watchers have been told, in
/// an open one when it is answered.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Rc<Thread>,
    form: KeyForm,
    value_bytes: usize,
    values: Values,
    chooser: Chooser,
    chance: Chance,
    next: Stamp,
    /// The key of the next put, once it is chosen.
    chosen: Option<u64>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    under_way: usize,
    /// Slots whose puts are answered and not yet delivered to all; none in an open loop.
    spreading: Vec<u32>,
    is_closed_loop: bool,
    delivered: Rc<WaitList>,
    place: WaitPlace,
    look: Duration,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Writer {
    pub(super) fn new(
        (plan, values): (&Plan, &Values),
        (shared, thread, delivered): (Arc<Shared>, Rc<Thread>, Rc<WaitList>),
        client: usize,
    ) -> Writer {
        let family = &plan.workload.families[0];
        let chooser = Chooser::new(family.distribution, family.keys, client, plan.connections);
        Writer {
            shared,
            thread,
            form: family.form.clone(),
            value_bytes: family.value_bytes,
            values: values.clone(),
            chooser,
            chance: Chance::new(plan.seed ^ (client as u64) << 20),
            next: Stamp { writer: client as u16, number: 0 },
            chosen: None,
            slots: vec![Slot::default(); plan.outstanding as usize],
            free: (0..plan.outstanding).rev().collect(),
            under_way: 0,
            spreading: Vec::new(),
            is_closed_loop: plan.rate.is_none(),
            delivered,
            place: WaitPlace::default(),
            look: if plan.threads > 1 { LOOK_OTHERS } else { LOOK_OWN },
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Puts until the end.
    pub(super) async fn run(self, wires: Wires, pace: Pace) {
        let (shared, thread, look) = (self.shared.clone(), self.thread.clone(), self.look);
        make_requests(self, wires, thread, pace, look).await;
        ledger(&shared).writer_done();
    }
}

fn ledger(shared: &Shared) -> &Ledger {
    shared.ledger.as_ref().expect("writers have a ledger")
}

impl Work for Writer {
    const ROW: u16 = ROW_PUT;

    fn has_slot(&mut self, cx: &mut Context<'_>) -> bool {
        let Writer { spreading, slots, free, shared, .. } = self;
        let ledger = ledger(shared);
        spreading.retain(|&number| {
            let is_over = ledger.is_over(slots[number as usize].stamp);
            if is_over {
                free.push(number);
            }
            !is_over
        });
        if free.is_empty() && !spreading.is_empty() {
            // Woken when something has been delivered on this thread.
            self.delivered.wait(&mut self.place, cx);
        }
        !free.is_empty()
    }

    fn write(&mut self, wires: &mut Wires, intended: Nanos, now: Nanos) -> bool {
        let key = match self.chosen {
            Some(key) => key,
            None => *self.chosen.insert(self.chooser.next(&mut self.chance)),
        };
        self.form.write(key, &mut self.key);
        let Some(place) = wires.place(&self.key) else { return false };
        let (ledger, stamp) = (ledger(&self.shared), self.next);
        if !ledger.is_over(stamp) {
            // In an open loop the watchers lag behind by a whole ring.
            return false;
        }
        let slot = self.free.pop().expect("asked before");
        self.chosen = None;
        self.next.number += 1;
        ledger.open(stamp, key, intended);
        self.value.clear();
        self.value.extend_from_slice(&ledger.write(stamp));
        let rest = self.value_bytes - STAMP_BYTES;
        self.value.extend_from_slice(self.values.rest(stamp.number, rest));
        wires.send(place, slot, Method::Put, |out| protobuf::put(out, &self.key, &self.value));
        self.slots[slot as usize] = Slot { busy: true, stamp, intended, sent: now };
        self.under_way += 1;
        true
    }

    fn take(&mut self, answer: Answer<'_>, now: Nanos) {
        let mut recorder = self.thread.recorder.borrow_mut();
        let slot = self.slots.get_mut(answer.slot as usize).filter(|slot| slot.busy);
        let Some(slot) = slot else {
            return recorder.failed(ROW_PUT, 13, "an answer to nothing that was asked");
        };
        slot.busy = false;
        self.under_way -= 1;
        match answer.result {
            Ok(_) => {
                ledger(&self.shared).answered(slot.stamp, now);
                recorder.observed(ROW_PUT, slot.intended, slot.sent, now, Found::Hit);
            }
            Err((code, text)) => {
                ledger(&self.shared).failed(slot.stamp, now);
                recorder.failed(ROW_PUT, code as usize, text);
            }
        }
        match self.is_closed_loop {
            true => self.spreading.push(answer.slot),
            false => self.free.push(answer.slot),
        }
    }

    fn under_way(&self) -> usize {
        self.under_way
    }

    fn give_up(&mut self, code: usize, text: &str, now: Nanos) {
        for slot in self.slots.iter_mut().filter(|slot| slot.busy) {
            slot.busy = false;
            ledger(&self.shared).failed(slot.stamp, now);
            let times = (slot.intended, slot.sent, now);
            self.thread.recorder.borrow_mut().given_up(ROW_PUT, code, times, text);
        }
        self.under_way = 0;
    }
}
