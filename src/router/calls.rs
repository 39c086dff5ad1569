//! The requests of one core that are not answered yet.

use slab::Slab;

use crate::types::{Nanos, Ticket};

/// Calls under way, by a number that is never used twice.
#[derive(Debug)]
pub(super) struct Calls<T> {
    slots: Slab<PendingCall<T>>,
    generation: u32,
    /// The call that a place of a ticket was last given to.
    by_place: Vec<u64>,
}

/// One request under way.
#[derive(Debug)]
pub(super) struct PendingCall<T> {
    pub ticket: Ticket,
    pub deadline: Option<Nanos>,
    pub started: Nanos,
    pub state: T,
    generation: u32,
}

impl<T> Calls<T> {
    pub fn new() -> Calls<T> {
        Calls { slots: Slab::new(), generation: 0, by_place: Vec::new() }
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
        let slot = self.slots.insert(PendingCall { ticket, deadline, started, state, generation });
        let number = number(slot, generation);
        let place = ticket.place();
        if place >= self.by_place.len() {
            self.by_place.resize(place + 1, 0);
        }
        self.by_place[place] = number;
        number
    }

    /// The call with this ticket, if it is under way.
    pub fn of(&mut self, ticket: Ticket) -> Option<u64> {
        let number = *self.by_place.get(ticket.place())?;
        self.get_mut(number).filter(|call| call.ticket == ticket).map(|_| number)
    }

    pub fn get_mut(&mut self, call: u64) -> Option<&mut PendingCall<T>> {
        let found = self.slots.get_mut(call as u32 as usize);
        found.filter(|found| found.generation == (call >> 32) as u32)
    }

    pub fn close(&mut self, call: u64) -> Option<PendingCall<T>> {
        self.get_mut(call)?;
        Some(self.slots.remove(call as u32 as usize))
    }

    /// The calls for which `wanted` holds, in no order that anything may depend on but their slot.
    pub fn find(&self, wanted: impl Fn(&PendingCall<T>) -> bool) -> Vec<u64> {
        let matching = self.slots.iter().filter(|(_, call)| wanted(call));
        matching.map(|(slot, call)| number(slot, call.generation)).collect()
    }
}

fn number(slot: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | slot as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_by_its_ticket_until_it_is_closed() {
        let mut calls = Calls::new();
        let ticket = |generation: u64, place: u64| Ticket(generation << 32 | place);
        let mut open = |ticket| calls.open(ticket, None, Nanos(0), ());
        let (first, second) = (open(ticket(1, 7)), open(ticket(2, 0)));
        assert_eq!(calls.of(ticket(1, 7)), Some(first));
        assert_eq!(calls.of(ticket(2, 0)), Some(second));
        assert_eq!(calls.of(ticket(3, 7)), None, "a later one of the same place");
        assert_eq!(calls.of(ticket(1, 8)), None);
        assert!(calls.close(first).is_some());
        assert_eq!(calls.of(ticket(1, 7)), None);
        let third = calls.open(ticket(3, 7), None, Nanos(0), ());
        assert_eq!(calls.of(ticket(3, 7)), Some(third));
        assert_eq!(calls.of(ticket(1, 7)), None);
    }
}
