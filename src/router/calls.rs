//! The requests of one core that are not answered yet.

use slab::Slab;

use crate::types::{Nanos, Ticket};

/// Calls under way, by a number that is never used twice.
#[derive(Debug)]
pub(super) struct Calls<T> {
    slots: Slab<Call<T>>,
    generation: u32,
}

/// One request under way.
#[derive(Debug)]
pub(super) struct Call<T> {
    pub ticket: Ticket,
    pub deadline: Option<Nanos>,
    pub started: Nanos,
    pub state: T,
    generation: u32,
}

impl<T> Calls<T> {
    pub fn new() -> Calls<T> {
        Calls { slots: Slab::new(), generation: 0 }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn open(
        &mut self,
        ticket: Ticket,
        deadline: Option<Nanos>,
        started: Nanos,
        state: T,
    ) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = self.slots.insert(Call { ticket, deadline, started, state, generation });
        number(slot, generation)
    }

    pub fn get_mut(&mut self, call: u64) -> Option<&mut Call<T>> {
        let found = self.slots.get_mut(call as u32 as usize);
        found.filter(|found| found.generation == (call >> 32) as u32)
    }

    pub fn close(&mut self, call: u64) -> Option<Call<T>> {
        self.get_mut(call)?;
        Some(self.slots.remove(call as u32 as usize))
    }

    /// The calls for which `wanted` holds, in no order that anything may depend on but their slot.
    pub fn find(&self, wanted: impl Fn(&Call<T>) -> bool) -> Vec<u64> {
        let matching = self.slots.iter().filter(|(_, call)| wanted(call));
        matching.map(|(slot, call)| number(slot, call.generation)).collect()
    }
}

fn number(slot: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | slot as u64
}
