//! The work that a connection may have a core do before all others have a turn.
//!
//! A client that sends without a pause always has more to be read. Work is therefore counted, in
//! bytes read and frames taken, and a connection whose turn is over goes on only after the
//! executor has looked at its sockets: every other connection, the core's loop and the timers have
//! had their turn by then.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::limits::{CONNECTION_TURN_WORK, FRAME_WORK};
use crate::observe::CoreMetrics;
use crate::rt;

/// The rest of one connection's turn. It begins whole.
pub(super) struct Turn {
    left: Cell<usize>,
    figures: Arc<CoreMetrics>,
}

impl Turn {
    /// Makes the turn of a connection of the core with these figures.
    pub(super) fn new(figures: &Arc<CoreMetrics>) -> Turn {
        Turn { left: Cell::new(CONNECTION_TURN_WORK), figures: figures.clone() }
    }

    /// Another turn begins.
    pub(super) fn begin(&self) {
        self.left.set(CONNECTION_TURN_WORK);
    }

    /// Counts `bytes` that were read.
    pub(super) fn read(&self, bytes: usize) {
        self.left.set(self.left.get().saturating_sub(bytes));
    }

    /// Counts `frames` that were taken, whatever they asked for.
    pub(super) fn took(&self, frames: usize) {
        self.read(frames.saturating_mul(FRAME_WORK));
    }

    pub(super) fn is_over(&self) -> bool {
        self.left.get() == 0
    }

    /// If the turn is over: lets everybody else have theirs, and begins another.
    pub(super) async fn give_way(&self) {
        if self.is_over() {
            self.figures.turns_over.add(1);
            rt::give_way().await;
            self.begin();
        }
    }

    /// Ready while something of the turn is left. If nothing is, the task is woken when others
    /// have had their turn; it calls [`Turn::begin`] then.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_over() {
            return Poll::Ready(());
        }
        self.figures.turns_over.add(1);
        rt::wake_after_others(cx);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_over_after_its_bytes_or_its_frames() {
        let turn = Turn::new(&Arc::new(CoreMetrics::new(0)));
        turn.read(CONNECTION_TURN_WORK - 1);
        assert!(!turn.is_over());
        turn.read(1);
        assert!(turn.is_over());
        turn.begin();
        turn.took(CONNECTION_TURN_WORK / FRAME_WORK - 1);
        assert!(!turn.is_over());
        turn.took(usize::MAX);
        assert!(turn.is_over());
    }
}
