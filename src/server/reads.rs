//! Reads of one connection whose answers may be large.
//!
//! A request of forty bytes may have a million keys gathered, and what it comes to shows only then.
//! What the last ones came to is known, so such reads are let in as long as those under way, if
//! they are like them, gather no more than [`CONNECTION_GATHERED_BYTES_MAX`] together. One is let
//! in whatever it may come to.

use std::cell::Cell;
use std::rc::Rc;

use crate::budget::{Account, Charge};
use crate::limits::{CONNECTION_GATHERED_BYTES_MAX, READ_BYTES_SUPPOSED};

/// The reads of one connection.
pub(super) struct Reads {
    under_way: Cell<usize>,
    /// Bytes that the next one is supposed to come to.
    supposed: Cell<usize>,
}

impl Default for Reads {
    fn default() -> Reads {
        Reads { under_way: Cell::new(0), supposed: Cell::new(READ_BYTES_SUPPOSED) }
    }
}

impl Reads {
    /// Whether another one may begin.
    pub(super) fn has_room(&self) -> bool {
        let under_way = self.under_way.get();
        under_way == 0
            || (under_way + 1).saturating_mul(self.supposed.get()) <= CONNECTION_GATHERED_BYTES_MAX
    }

    /// One begins; until it is answered, the connection holds what it is supposed to come to.
    pub(super) fn begin(self: &Rc<Reads>, account: &Rc<Account>) -> Reading {
        self.under_way.set(self.under_way.get() + 1);
        Reading { reads: self.clone(), _charge: account.charge(self.supposed.get()) }
    }
}

/// A read under way.
pub(super) struct Reading {
    reads: Rc<Reads>,
    _charge: Charge,
}

impl Reading {
    /// It is answered, and has gathered so many bytes.
    pub(super) fn came_to(self, bytes: usize) {
        let supposed = bytes.max(self.reads.supposed.get() / 2).max(1);
        self.reads.supposed.set(supposed);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.reads.under_way.set(self.reads.under_way.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, CoreBudget};

    fn account() -> Rc<Account> {
        CoreBudget::new(Budget::new(1 << 30, 1)).open()
    }

    /// Counts the reads that begin before there is no room.
    fn room(reads: &Rc<Reads>, account: &Rc<Account>) -> usize {
        let mut begun = Vec::new();
        while reads.has_room() && begun.len() < 1_000_000 {
            begun.push(reads.begin(account));
        }
        begun.len()
    }

    #[test]
    fn large_ones_come_one_by_one_and_small_ones_many_at_a_time() {
        let (account, reads) = (account(), Rc::<Reads>::default());
        let at_first = room(&reads, &account);
        assert_eq!(at_first, CONNECTION_GATHERED_BYTES_MAX / READ_BYTES_SUPPOSED);
        reads.begin(&account).came_to(56 << 20);
        assert_eq!(room(&reads, &account), 1);
        for _ in 0..26 {
            reads.begin(&account).came_to(500);
        }
        assert!(room(&reads, &account) > 10_000);
        assert_eq!(account.held(), 0);
    }

    #[test]
    fn one_under_way_is_charged() {
        let (account, reads) = (account(), Rc::<Reads>::default());
        reads.begin(&account).came_to(3 << 20);
        let reading = reads.begin(&account);
        assert_eq!(account.held(), 3 << 20);
        drop(reading);
        assert_eq!(account.held(), 0);
    }
}
