//! The input of a connection, and the buffers that it is in.
//!
//! Requests are slices of what was read, so a buffer lives as long as the last of them, however
//! small. It is therefore charged whole: the intake and every request of the buffer share its
//! charge.

use std::rc::Rc;

use bytes::BytesMut;

use crate::budget::{Account, Charge};

/// A buffer begins with so many bytes at least, and ends with no more if its frames are small.
const CAPACITY_MIN: usize = 1 << 10;
const CAPACITY_KEPT: usize = 64 << 10;

/// Bytes that were read and not yet taken.
pub(super) struct Intake {
    account: Rc<Account>,
    bytes: BytesMut,
    /// The charge for the buffer of `bytes`.
    charge: Rc<Charge>,
    /// How large the next buffer is to be.
    next: usize,
}

impl Intake {
    /// Begins with what was read already.
    pub(super) fn new(account: &Rc<Account>, bytes: &[u8]) -> Intake {
        let charge = Rc::new(account.charge(0));
        let (account, empty) = (account.clone(), BytesMut::new());
        let mut intake = Intake { account, bytes: empty, charge, next: CAPACITY_MIN };
        // Into a buffer of its own, whose size is known.
        intake.push(bytes, 0);
        intake
    }

    pub(super) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Returns the charge of the buffer, which is held by every slice of it.
    pub(super) fn charge(&self) -> &Rc<Charge> {
        &self.charge
    }

    /// Bytes held for a frame that has begun and is not all there, when all others are taken.
    pub(super) fn begun(&self) -> usize {
        if self.bytes.is_empty() { 0 } else { self.charge.bytes() }
    }

    /// Appends what was read. `missing` more bytes make the frame whole that has begun, as far as
    /// that is known.
    pub(super) fn push(&mut self, piece: &[u8], missing: usize) {
        if piece.is_empty() {
            return;
        }
        let has_room = self.bytes.capacity() - self.bytes.len() >= piece.len();
        if !has_room && !self.bytes.try_reclaim(piece.len()) {
            self.grow(piece.len(), missing);
        }
        self.bytes.extend_from_slice(piece);
    }

    /// Another buffer: at most twice of what has come, so that no claim makes it large, and no
    /// larger than the frame that has begun.
    fn grow(&mut self, piece: usize, missing: usize) {
        let come = self.bytes.len() + piece;
        let whole = self.bytes.len() + missing.max(piece);
        let capacity = (2 * come).min(whole).max(come).max(self.next);
        self.next = (2 * self.next).min(CAPACITY_KEPT);
        let mut bytes = BytesMut::with_capacity(capacity);
        bytes.extend_from_slice(&self.bytes);
        self.bytes = bytes;
        self.charge = Rc::new(self.account.charge(self.bytes.capacity()));
    }

    /// All that has come is taken, as far as it is whole: a buffer that one large frame needed is
    /// given back.
    pub(super) fn settle(&mut self) {
        self.give_back_above(CAPACITY_KEPT);
    }

    /// The connection waits for its client: a buffer with nothing in it is given back unless it is
    /// small.
    pub(super) fn rest(&mut self) {
        self.give_back_above(CAPACITY_MIN);
    }

    /// Gives the buffer back if it has more than `kept` bytes. The rest of a buffer after slices
    /// were cut off says nothing of its size.
    fn give_back_above(&mut self, kept: usize) {
        if self.bytes.is_empty() && self.charge.bytes() > kept {
            self.bytes = BytesMut::new();
            self.charge = Rc::new(self.account.charge(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, CoreBudget};

    fn intake() -> (Rc<Account>, Intake) {
        let account = CoreBudget::new(Budget::new(1 << 30, 1)).open();
        let intake = Intake::new(&account, &[]);
        (account, intake)
    }

    #[test]
    fn a_slice_keeps_its_whole_buffer_charged() {
        let (account, mut intake) = intake();
        intake.push(&[1; 50_000], 0);
        let slice = (intake.bytes().split_to(1).freeze(), intake.charge().clone());
        intake.bytes().clear();
        intake.rest();
        assert!(account.held() >= 50_000, "{}", account.held());
        drop(slice);
        assert_eq!(account.held(), 0);
    }

    #[test]
    fn the_buffer_of_a_large_frame_goes_with_it() {
        let (account, mut intake) = intake();
        intake.push(&vec![1; 1 << 20], 1 << 20);
        assert!(intake.begun() >= 1 << 20);
        drop(intake.bytes().split_to(1 << 20).freeze());
        intake.settle();
        assert_eq!((intake.begun(), account.held()), (0, 0));
    }

    #[test]
    fn a_large_frame_is_held_about_once() {
        const WHOLE: usize = 1 << 20;
        let (account, mut intake) = intake();
        let mut come = 0;
        while come < WHOLE {
            let piece = (WHOLE - come).min(100_000);
            intake.push(&vec![7; piece], WHOLE - come);
            come += piece;
            assert!(account.held() <= 2 * come, "{} for {come}", account.held());
        }
        assert_eq!(intake.bytes().len(), WHOLE);
        assert!(account.held() <= WHOLE + 100_000, "{}", account.held());
    }

    #[test]
    fn a_claim_holds_nothing() {
        let (account, mut intake) = intake();
        intake.push(&[0; 16], 1 << 30);
        assert!(account.held() <= CAPACITY_MIN);
    }

    #[test]
    fn small_frames_that_are_done_with_use_one_buffer() {
        let (account, mut intake) = intake();
        for _ in 0..10_000 {
            intake.push(&[1; 700], 0);
            let taken = intake.bytes().split().freeze();
            drop(taken);
        }
        assert!(account.held() <= CAPACITY_KEPT, "{}", account.held());
    }
}
